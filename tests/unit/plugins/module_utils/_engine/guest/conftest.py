# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests made of a dictionary: what is read in them is tested without a file system."""

from __future__ import annotations

import types

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.base import DIRECTORY, FILE, SYMLINK, Filesystem, Node, Signature
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.tree import Tree
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.roots import GuestVolume
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory, Storage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.zeros import ZeroStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.table import Partition
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.volumes import Volume

LINUX = ("0FC63DAF-8483-4772-8E79-3D69D8477DE4", "Linux filesystem")


class DictFilesystem(Filesystem):
    """A file system of (path → content); the directories on the way to a path are there by themselves.

    The content is bytes, a text, ``"-> target"`` for a symbolic link, None for a directory, or a Storage.
    """

    def __init__(self, files, kind="ext4", uuid=None, label=None):
        super().__init__(Memory(b"", kind))
        self.signature = Signature(kind, "filesystem", label, uuid)
        self.size = 0
        self.folds = kind == "vfat"
        self.entries = {(): {}}
        for path, content in files.items():
            parts = tuple(path.strip("/").split("/"))
            for depth in range(1, len(parts)):
                self.entries.setdefault(parts[:depth], {})
            self.entries[parts] = {} if content is None else content
        for parts in [key for key in self.entries if key]:
            self.entries[parts[:-1]][parts[-1]] = parts

    @property
    def root(self):
        return self.node(())

    def listing(self, directory):
        for name, parts in self.entries[directory.key].items():
            yield name.encode("utf-8", "surrogateescape"), parts

    def node(self, key):
        entry = self.entries[key]
        if isinstance(entry, dict):
            return Node(key, DIRECTORY, 0, 0o755)
        if isinstance(entry, Storage):
            return Node(key, FILE, entry.size, 0o644)
        if isinstance(entry, str) and entry.startswith("-> "):
            return Node(key, SYMLINK, len(entry) - 3, 0o777)
        return Node(key, FILE, len(_bytes(entry)), 0o644)

    def content(self, file):
        entry = self.entries[file.key]
        return entry if isinstance(entry, Storage) else Memory(_bytes(entry), "/".join(file.key))

    def target(self, link):
        return self.entries[link.key][3:].encode()

    def child(self, directory, name):
        if not self.folds:
            return super().child(directory, name)
        return next((key for found, key in self.listing(directory) if found.lower() == name.lower()), None)


def _bytes(entry):
    return entry.encode() if isinstance(entry, str) else entry


@pytest.fixture
def dict_filesystem():
    """dict_filesystem({path: content}, kind="ext4", uuid=None, label=None) gives a Filesystem."""
    return DictFilesystem


@pytest.fixture
def guest_tree():
    """guest_tree({path: content}, uuid="…", mounts={"/boot": filesystem}) gives a Tree; contents as DictFilesystem has them.

    Instead of a file system a mount may be a dictionary of its files.
    """

    def guest_tree(files, kind="ext4", uuid="11111111-0000-0000-0000-000000000001", label=None, mounts=None):
        mounted = {path: DictFilesystem(made) if isinstance(made, dict) else made for path, made in (mounts or {}).items()}
        folders = dict.fromkeys(mounted)  # what is mounted on has to be there
        return Tree(DictFilesystem({**folders, **files}, kind, uuid, label), mounted)

    return guest_tree


@pytest.fixture
def partition():
    """partition(number, files, type) gives a volume with a file system."""

    def partition(number, files, kind=LINUX, filesystem="ext4", uuid=None, label=None):
        found = DictFilesystem(files, filesystem, uuid or f"uuid-{number}", label)
        part = Partition(number, number << 20, 1 << 20, *kind, uuid=f"part-{number}", name=f"name {number}")
        return GuestVolume(Volume(f"vda{number}", ZeroStorage(1 << 20, f"vda{number}"), part), found.signature, found, None)

    return partition


@pytest.fixture
def logical():
    """logical(name, files) gives a logical volume with a file system."""

    def logical(name, files, filesystem="ext4"):
        found = DictFilesystem(files, filesystem, f"uuid-{name}")
        return GuestVolume(Volume(name, ZeroStorage(1 << 20, name), None, types.SimpleNamespace(name=name)), found.signature, found, None)

    return logical
