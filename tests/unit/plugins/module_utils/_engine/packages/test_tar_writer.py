# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tar archives that we write: GNU tar, bsdtar and Python's tarfile are the judges."""

from __future__ import annotations

import io
import subprocess
import tarfile

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import InvalidImage, LimitExceeded
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.tar import members
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.tar_writer import NewMember, tar_storage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.zeros import ZeroStorage

GIB = 1 << 30


def archive(files, mtime=0):
    storage = tar_storage([NewMember(name, Memory(data)) for name, data in files.items()], mtime, "new.tar")
    return storage.read_exact(0, storage.size, "all")


FILES = {"a-vmlinuz": b"k" * 513, "empty": b"", "ami-x/image": bytes(512), "n" * 100: b"last"}


def test_python_s_tarfile():
    data = archive(FILES, mtime=1700000000)
    assert len(data) % 10240 == 0
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = tar.getmembers()
        assert {member.name: tar.extractfile(member).read() for member in found} == FILES
        assert {(member.mtime, member.uid, member.gid, member.mode, member.uname, member.gname) for member in found} == {(1700000000, 0, 0, 0o644, "", "")}
        assert tar.format == tarfile.GNU_FORMAT or tar.pax_headers == {}


@pytest.mark.parametrize("tar", ["tar", "bsdtar"])
def test_other_programs(program, tmp_path, tar):
    (tmp_path / "new.tar").write_bytes(archive(FILES))
    done = subprocess.run([program(tar), "-xvf", "new.tar"], cwd=tmp_path, check=True, capture_output=True)
    assert b"implausibly" not in done.stderr  # what GNU tar says of times that it does not believe
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == FILES


@pytest.mark.parametrize("tar", ["tar", "bsdtar"])
@pytest.mark.parametrize("size", [8 * GIB - 1, 8 * GIB, 9 * GIB])
def test_large_files(program, tmp_path, tar, size):
    storage = tar_storage([NewMember("large", ZeroStorage(size, "zeros")), NewMember("small", Memory(b"behind"))], 0, "new.tar")
    with open(tmp_path / "new.tar", "wb") as file:
        file.truncate(storage.size)
        for offset, length in storage.data_ranges():
            file.seek(offset)
            file.write(storage.read_exact(offset, length, "data"))
    listed = subprocess.run([program(tar), "-tvf", "new.tar"], cwd=tmp_path, check=True, stdout=subprocess.PIPE).stdout.decode()
    assert f" {size} " in listed
    small = subprocess.run([program(tar), "-xOf", "new.tar", "small"], cwd=tmp_path, check=True, stdout=subprocess.PIPE).stdout
    assert small == b"behind"
    assert [(member.name, member.size) for member in members(storage)] == [("large", size), ("small", 6)]


def test_what_does_not_fit():
    with pytest.raises(InvalidImage, match="100 bytes"):
        archive({"n" * 101: b""})
    for mtime in (-1, 8 * GIB):
        with pytest.raises(LimitExceeded, match="time"):
            archive({}, mtime)
