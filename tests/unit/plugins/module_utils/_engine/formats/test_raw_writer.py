# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw, sparse and preallocated, as qemu-img makes it with the same option."""

from __future__ import annotations

import errno
import os
import random
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import SpaceError, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats import registry
from ansible_collections.vmimage.prep.plugins.module_utils._engine.produce import produce
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink

MIB = 1 << 20


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """Data that neither begins nor ends at a block, a hole longer than a piece of zeros, a last block that is not whole."""
    path = tmp_path_factory.mktemp("disk") / "disk.raw"
    chance = random.Random(4)
    with open(path, "wb") as file:
        for at in (5000, 100_000, 3 * MIB + 123):
            file.seek(at)
            file.write(chance.randbytes(20_000))
        file.truncate(5 * MIB + 512)
    return path


def convert(source, path, **options):
    with open_source(Request(str(source))) as opened, Sink(path) as sink:
        produce(opened, registry.target("raw", None, False, options), sink)
        sink.commit()


@pytest.mark.parametrize("preallocation", ["off", "falloc", "full"])
def test_content_and_room(disk, tmp_path, qemu_img, preallocation):
    convert(disk, tmp_path / "ours", preallocation=preallocation)
    done = subprocess.run([qemu_img, "convert", "-f", "raw", "-O", "raw", "-o", f"preallocation={preallocation}", disk, tmp_path / "theirs"], check=False)
    assert done.returncode == 0
    assert (tmp_path / "ours").read_bytes() == disk.read_bytes()
    room = {name: os.stat(tmp_path / name).st_blocks * 512 for name in ("ours", "theirs")}
    if preallocation == "off":
        assert room["ours"] <= room["theirs"] < MIB
    else:
        assert min(room.values()) >= 5 * MIB + 512


def test_full_is_written_zeros(disk, tmp_path):
    """Not only reserved: no hole, no unwritten extent is left that would have to be made into data later."""
    written = []

    class Recorder(Sink):
        def write_at(self, offset, data):
            written.append((offset, offset + len(data)))
            super().write_at(offset, data)

    with open_source(Request(str(disk))) as opened, Recorder(tmp_path / "x") as sink:
        produce(opened, registry.target("raw", None, False, {"preallocation": "full"}), sink)
    assert written[0][0] == 0
    assert written[-1][1] == 5 * MIB + 512
    assert all(end == start for (_first, end), (start, _last) in zip(written, written[1:]))


@pytest.mark.parametrize("value", ["metadata", "on", "", "FULL"])
def test_other_values_are_refused(value):
    with pytest.raises(UnsupportedImage, match="preallocation is off, falloc or full"):
        registry.target("raw", None, False, {"preallocation": value})


def test_a_full_disk_is_told_before_anything_is_written(disk, tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(Sink, "write_at", full)
    with pytest.raises(SpaceError, match="reserve 5243392 bytes"):
        convert(disk, tmp_path / "x", preallocation="falloc")
    assert os.listdir(tmp_path) == []
