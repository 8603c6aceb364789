# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpacking into a file: the same bytes, holes for zeros, and what the operating system may say to it."""

from __future__ import annotations

import errno
import os
import random

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError, CorruptImage, SpaceError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.spool import spool

MIB = 1 << 20
GRAIN = 65536


def spooled(folder, data):
    with open(folder / "spool", "w+b") as file:
        storage = spool(Memory(data), file.fileno())
    return storage, folder / "spool"  # the caller's descriptor is closed; the storage has its own


@pytest.mark.parametrize("seed", range(6))
def test_the_same_bytes(tmp_path, seed):
    dice = random.Random(seed)
    parts = [
        dice.choice((bytes, dice.randbytes, lambda count: b"x" + bytes(count - 1)))(dice.choice((1, 511, GRAIN, GRAIN - 1, MIB, 2 * MIB))) for _part in range(8)
    ]
    data = b"".join(parts)
    storage, path = spooled(tmp_path, data)
    assert storage.read_at(0, len(data) + 1) == path.read_bytes() == data
    assert storage.size == len(data)
    storage.close()


def test_zeros_become_holes(tmp_path):
    data = bytes(3 * MIB) + b"x" * GRAIN + bytes(2 * MIB) + b"y" * 10 + bytes(MIB + 100)
    storage, path = spooled(tmp_path, data)
    assert path.read_bytes() == data
    assert os.stat(path).st_blocks * 512 <= 4 * GRAIN
    assert sum(length for _offset, length in storage.data_ranges()) <= 4 * GRAIN
    storage.close()


@pytest.mark.parametrize("size", [0, 1, MIB, 5 * MIB])
def test_nothing_but_zeros(tmp_path, size):
    storage, path = spooled(tmp_path, bytes(size))
    assert (storage.size, os.stat(path).st_size, os.stat(path).st_blocks, list(storage.data_ranges())) == (size, size, 0, [])
    storage.close()


def test_it_tells_how_far_it_is(tmp_path):
    told = []
    with open(tmp_path / "spool", "w+b") as file:
        spool(Memory(bytes(2 * MIB + 5)), file.fileno(), progress=lambda *step: told.append(step)).close()
    assert told == [("decompress", done, 2 * MIB + 5) for done in (MIB, 2 * MIB, 2 * MIB + 5)]


@pytest.mark.parametrize(("code", "error"), [(errno.ENOSPC, SpaceError), (errno.EDQUOT, SpaceError), (errno.EFBIG, SpaceError), (errno.EIO, AccessError)])
@pytest.mark.parametrize("name", ["pwrite", "ftruncate"])
def test_what_the_system_may_say(tmp_path, monkeypatch, fault_call, name, code, error):
    fault_call(monkeypatch, name, 2 if name == "pwrite" else 1, code)
    with open(tmp_path / "spool", "w+b") as file, pytest.raises(error, match="decompress into a temporary file"):
        spool(Memory(b"x" * 3 * MIB), file.fileno())


def test_short_writes(tmp_path, monkeypatch):
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: real(fd, data[:1000], offset))
    data = random.Random(1).randbytes(200_000)
    storage, path = spooled(tmp_path, data)
    assert path.read_bytes() == data
    storage.close()


class Changed(Memory):
    """A file that is changed, and cut, meanwhile."""

    def allocated(self):
        return 42

    def changed(self):
        return True


def test_what_is_known_of_the_file_stays_known(tmp_path):
    with open(tmp_path / "spool", "w+b") as file:
        storage = spool(Changed(b"abc", "there!inside"), file.fileno())
        assert (storage.name, storage.allocated(), storage.changed(), storage.sequential) == ("there!inside", 42, True, False)
        storage.close()
        cut = Changed(b"abc")
        cut.size = 5
        with pytest.raises(CorruptImage, match="cut while it is read"):
            spool(cut, file.fileno())
