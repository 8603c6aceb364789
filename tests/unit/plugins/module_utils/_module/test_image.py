# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How modules open their source."""

from __future__ import annotations

import os
import types

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._module.image import request
from ansible_collections.vmimage.prep.plugins.module_utils._module.run import SOURCE


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        ({}, "tmpdir"),
        ({"dest": "disk.qcow2"}, "."),
        ({"dest": "out/disk.qcow2"}, "out"),
        ({"dest": "out"}, "out"),  # of a module that writes several files: only this folder has to be writable
        ({"dest": "/dev/mapper/disk", "dest_device": True}, "tmpdir"),  # devices lie in memory
    ],
)
def test_where_a_compressed_image_is_unpacked(tmp_path, monkeypatch, options, folder):
    monkeypatch.chdir(tmp_path)
    os.mkdir("out")
    params = {**dict.fromkeys(SOURCE), "src": "disk.qcow2.xz", **options}
    found = request(types.SimpleNamespace(params=params, tmpdir=str(tmp_path / "tmpdir"))).spool_folder
    assert os.path.realpath(found) == os.path.realpath(tmp_path / folder)
