# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders of random files, and what our reader finds of them."""

from __future__ import annotations

import hashlib
import importlib
import sys
from pathlib import Path

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.tree import Tree

TOOLS = Path(__file__).resolve().parents[5] / "tools"


@pytest.fixture(scope="session")
def trees():
    """The module that makes random folders: build_tree(folder, seed) and contents(folder)."""
    if str(TOOLS) not in sys.path:
        sys.path.insert(0, str(TOOLS))
    return importlib.import_module("build_tree")


@pytest.fixture
def read_all():
    """read_all(filesystem) gives what build_tree.contents() gives of a folder: all names, with hashes and link targets."""

    def read_all(filesystem):
        found = {}
        for place in Tree(filesystem).walk():
            name = place.path[1:]
            if place.node.kind == "symlink":
                found[name] = f"-> {filesystem.target(place.node).decode('utf-8', 'surrogateescape')}"
            elif place.node.kind == "directory":
                found[name] = "/"
            elif place.node.kind == "file":
                storage = filesystem.content(place.node)
                digest = hashlib.sha256()
                for at in range(0, storage.size, 1 << 20):
                    digest.update(storage.read_exact(at, min(1 << 20, storage.size - at), name))
                found[name] = digest.hexdigest()
        return found

    return read_all
