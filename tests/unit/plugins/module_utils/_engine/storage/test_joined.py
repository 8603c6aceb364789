# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pieces read as one: the bytes that were cut are the judge."""

from __future__ import annotations

import os
import random

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.joined import JoinedStorage

MIB = 1 << 20


def cut(data, sizes):
    """The pieces of ``data``; the last gets what is left."""
    parts, at = [], 0
    for size in sizes:
        parts.append(data[at : at + size])
        at += size
    return [*parts, data[at:]]


@pytest.mark.parametrize("seed", range(10))
def test_random_reads(seed):
    dice = random.Random(seed)
    data = dice.randbytes(dice.randrange(1, 30_000))
    pieces = cut(data, [dice.choice((0, 0, 1, 511, 512, 4096)) for _piece in range(dice.randrange(12))])
    storage = JoinedStorage([Memory(piece) for piece in pieces], "whole")
    assert storage.size == len(data)
    for _round in range(200):
        offset = dice.randrange(len(data) + 20)
        length = dice.choice((0, 1, 512, 5000, 100_000))
        assert storage.read_at(offset, length) == data[offset : offset + length], (offset, length)
        length = min(length, max(0, len(data) - offset))
        if length:
            buffer = bytearray(length)
            storage.read_into(offset, memoryview(buffer), "data")
            assert buffer == data[offset : offset + length]
    assert b"".join(data[offset : offset + length] for offset, length in storage.data_ranges()) == data


def test_no_pieces_and_empty_ones():
    for parts in ([], [Memory(b"")], [Memory(b""), Memory(b"")]):
        storage = JoinedStorage(parts, "nothing")
        assert (storage.size, storage.read_at(0, 10), list(storage.data_ranges()), storage.allocated()) == (0, b"", [], 0)


def test_reading_behind_the_end():
    storage = JoinedStorage([Memory(b"abc"), Memory(b"def")], "whole")
    assert storage.read_at(6, 1) == b""
    assert storage.read_at(4, 10) == b"ef"
    with pytest.raises(CorruptImage, match="ends at byte 7"):
        storage.read_into(5, memoryview(bytearray(2)), "a table")


def test_the_holes_of_the_pieces(tmp_path):
    parts = []
    for number in range(3):
        with open(tmp_path / str(number), "wb") as file:
            file.truncate(4 * MIB)
            os.pwrite(file.fileno(), b"x" * 65536, (number + 1) * MIB)
        parts.append(FileStorage(tmp_path / str(number)))
    storage = JoinedStorage(parts, "whole")
    assert list(storage.data_ranges()) == [(MIB, 65536), (6 * MIB, 65536), (11 * MIB, 65536)]
    assert list(storage.data_ranges(MIB + 10, 6 * MIB + 100)) == [(MIB + 10, 65526), (6 * MIB, 100)]
    assert list(storage.data_ranges(7 * MIB, 11 * MIB)) == []
    assert storage.allocated() == sum(os.stat(tmp_path / str(number)).st_blocks * 512 for number in range(3)) < MIB
    assert not storage.changed()
    os.utime(tmp_path / "1", (1, 1))
    assert storage.changed()
    storage.close()
    storage.close()


def test_one_sequential_piece_makes_it_sequential():
    parts = [Memory(b"a"), Memory(b"b")]
    assert not JoinedStorage(parts, "whole").sequential
    parts[1].sequential = True
    assert JoinedStorage(parts, "whole").sequential
