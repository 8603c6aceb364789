# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files with their holes left out: the whole file in memory is the judge."""

from __future__ import annotations

import os
import random

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sparse import SparseMap, SparseStorage

MIB = 1 << 20


def sparse_map(*runs):
    found = SparseMap()
    for offset, length in runs:
        found.add(offset, length)
    return found


@pytest.mark.parametrize("seed", range(10))
def test_random_reads(seed):
    dice = random.Random(seed)
    whole, stored, runs, end = bytearray(), b"", SparseMap(), 0
    for _run in range(dice.randrange(12)):
        hole, length = dice.choice((0, 1, 512, 3000)), dice.choice((0, 1, 511, 4096))
        data = dice.randbytes(length)
        runs.add(len(whole) + hole, length)
        whole += bytes(hole) + data
        stored += data
    whole += bytes(dice.choice((0, 1, 5000)))
    storage = SparseStorage(Memory(stored), runs, len(whole), "whole")
    assert (storage.size, storage.allocated(), runs.stored) == (len(whole), len(stored), len(stored))
    for _round in range(300):
        offset = dice.randrange(len(whole) + 20)
        length = dice.choice((0, 1, 512, 5000, 100_000))
        assert storage.read_at(offset, length) == whole[offset : offset + length], (offset, length)
        length = max(0, min(length, len(whole) - offset))
        if length:
            buffer = bytearray(b"\xff" * length)
            storage.read_into(offset, memoryview(buffer), "data")
            assert buffer == whole[offset : offset + length]
        end = min(offset + length, len(whole))
        shown = bytearray(len(whole))
        for start, count in storage.data_ranges(offset, end):
            assert offset <= start < start + count <= end
            shown[start : start + count] = whole[start : start + count]
        assert shown[offset:end] == whole[offset:end]


def test_the_map():
    runs = sparse_map((0, 0), (10, 5), (15, 5), (20, 0), (30, 1))
    assert (list(runs), len(runs), runs.stored, runs.end) == ([(10, 10), (30, 1)], 2, 11, 31)
    assert list(runs.cut(12, 31)) == [(12, 8, 2), (30, 1, 10)]
    assert list(runs.cut(20, 30)) == list(runs.cut(31, 99)) == list(runs.cut(15, 15)) == []
    empty = SparseMap()
    assert (list(empty), len(empty), empty.stored, empty.end, list(empty.cut(0, 9))) == ([], 0, 0, 0, [])


def test_nothing_but_a_hole():
    storage = SparseStorage(Memory(b""), SparseMap(), 1 << 40, "hole")
    assert (storage.read_at(5 << 30, 1000), list(storage.data_ranges()), storage.allocated()) == (bytes(1000), [], 0)
    assert storage.read_at((1 << 40) - 5, 100) == bytes(5)
    assert storage.read_at(1 << 40, 1) == storage.read_at(1 << 41, 1) == b""


def test_ranges_outside_and_a_parent_that_is_cut():
    storage = SparseStorage(Memory(b"abc"), sparse_map((2, 5)), 9, "whole")
    assert storage.read_at(0, 5) == b"\0\0abc"
    with pytest.raises(CorruptImage, match="a part of a sparse file"):
        storage.read_at(0, 9)
    with pytest.raises(CorruptImage, match="ends at byte 10"):
        storage.read_into(2, memoryview(bytearray(8)), "data")


def test_holes_of_the_stored_bytes_are_holes_too(tmp_path):
    with open(tmp_path / "stored", "wb") as file:
        file.truncate(4 * MIB)
        os.pwrite(file.fileno(), b"x" * 65536, 1 * MIB)
        os.pwrite(file.fileno(), b"x" * 65536, 3 * MIB)
    storage = SparseStorage(FileStorage(tmp_path / "stored"), sparse_map((0, 2 * MIB), (10 * MIB, 2 * MIB)), 20 * MIB, "whole")
    assert list(storage.data_ranges()) == [(MIB, 65536), (11 * MIB, 65536)]
    assert list(storage.data_ranges(MIB + 10, 11 * MIB + 20)) == [(MIB + 10, 65526), (11 * MIB, 20)]
    assert not storage.changed()
    os.utime(tmp_path / "stored", (1, 1))
    assert storage.changed()
    storage.close()
    storage.close()


def test_a_sequential_parent_makes_it_sequential():
    parent = Memory(b"a")
    assert not SparseStorage(parent, sparse_map((0, 1)), 1, "whole").sequential
    parent.sequential = True
    assert SparseStorage(parent, sparse_map((0, 1)), 1, "whole").sequential
