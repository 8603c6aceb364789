# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The block allocation table (BAT): where the blocks of the disk lie. Source: [MS-VHDX] 2.5 "BAT"."""

from __future__ import annotations

import array
import sys
import typing as t

from ...errors import CorruptImage
from ...extents import DATA, HOLE, ZERO, Extent
from ...limits import MIB
from .layout import MAX_FILE_SIZE, Area
from .metadata import Metadata

if t.TYPE_CHECKING:  # pragma: no cover
    from ...storage.base import Storage

ENTRY_SIZE = 8
STATE_MASK = 0x7
RESERVED_MASK = 0xFFFF8
FULLY_PRESENT = 6
PARTIALLY_PRESENT = 7
# 5 is what a draft of the specification (0.95) called unmapped. Blocks that are undefined (1) or unmapped (3) may read
# as anything: as zeros, then.
UNALLOCATED = {0: HOLE, 1: HOLE, 2: ZERO, 3: HOLE, 5: HOLE}

_PIECE = 1 << 16
"""payload entries read in one go: the BAT of 64 TiB in 1 MiB blocks has 512 MiB"""


class Claims:
    """Which mebibytes of the file are taken: no two blocks, and no block and a structure, may share one.

    :param storage: the image
    :param areas: what its structures take
    """

    def __init__(self, storage: Storage, areas: t.Iterable[Area]) -> None:
        self._path = storage.name
        # One byte for each, zero pages that only take memory where something is claimed.
        self._taken = bytearray(-(-min(storage.size, MAX_FILE_SIZE) // MIB))
        for area in areas:
            self.claim(area.offset, area.length, area.name)

    def claim(self, offset: int, length: int, name: str) -> None:
        """:raises CorruptImage: a part of the range (bytes, inside the file, aligned to 1 MiB) was claimed before"""
        first, end = offset // MIB, min((offset + length) // MIB, len(self._taken))
        if self._taken.find(1, first, end) >= 0:
            raise CorruptImage(f"{name} overlaps another block or a structure of the image", path=self._path, offset=offset)
        self._taken[first:end] = b"\1" * (end - first)


def walk(storage: Storage, bat: Area, metadata: Metadata, claims: Claims, start: int, end: int) -> t.Iterator[Extent]:
    """The blocks that cover the guest range ``start`` to ``end`` (bytes) of a disk without a parent, in runs.

    :raises CorruptImage: an entry contradicts the specification, or a block overlaps something or ends behind the file
    """
    block = metadata.block_size
    last = -(-end // block)
    for first in range(start // block, last, _PIECE):
        yield from _runs(storage, bat, metadata, claims, first, min(first + _PIECE, last))


def _payload_entries(storage: Storage, bat: Area, ratio: int, first: int, last: int) -> array.array[int]:
    """The entries of the payload blocks ``first`` to ``last``, without those of sector bitmap blocks between them."""
    begin, end = first + first // ratio, last + (last - 1) // ratio
    raw = storage.read_exact(bat.offset + begin * ENTRY_SIZE, (end - begin) * ENTRY_SIZE, bat.name)
    entries = array.array("Q", raw)
    if sys.byteorder == "big":
        entries.byteswap()
    # Without a parent there are no bitmaps; what old versions of qemu left in these entries means nothing.
    del entries[ratio - first % ratio :: ratio + 1]
    return entries


def _runs(storage: Storage, bat: Area, metadata: Metadata, claims: Claims, first: int, last: int) -> t.Iterator[Extent]:
    block, size, ratio = metadata.block_size, metadata.virtual_disk_size, metadata.chunk_ratio
    entries = _payload_entries(storage, bat, ratio, first, last)
    raw = entries.tobytes()
    count = len(entries)
    index = 0
    while index < count:
        entry = entries[index]
        state = entry & STATE_MASK
        guest = (first + index) * block
        if entry & RESERVED_MASK or (state != FULLY_PRESENT and state not in UNALLOCATED):
            number = first + index
            wrong = "reserved bits set" if entry & RESERVED_MASK else f"the state {state}, which it cannot have without a parent"
            where = bat.offset + (number + number // ratio) * ENTRY_SIZE
            raise CorruptImage(f"the entry {entry:#018x} of block {number} has {wrong}", path=storage.name, offset=where)
        if state != FULLY_PRESENT:
            run = index + _repeats(raw, index, count)
            yield Extent(guest, min((run - index) * block, size - guest), UNALLOCATED[state])
            index = run
            continue
        run, expected = index + 1, entry + block
        while run < count and entries[run] == expected:
            run += 1
            expected += block
        offset = entry & ~STATE_MASK
        length = min((run - index) * block, size - guest)
        storage.require(offset, length, f"the data of guest offset {guest:#x}")
        claims.claim(offset, (run - index) * block, f"the data of guest offset {guest:#x}")
        yield Extent(guest, length, DATA, storage, offset)
        index = run


def _repeats(raw: bytes, index: int, count: int) -> int:
    """How many of the entries from ``index`` to ``count`` are the same as the first, found by comparing ever longer runs."""
    position, step = index + 1, 1
    while step:
        begin, end = position * ENTRY_SIZE, (position + step) * ENTRY_SIZE
        # Entries are all the same when they equal themselves moved by one.
        if position + step <= count and raw[begin:end] == raw[begin - ENTRY_SIZE : end - ENTRY_SIZE]:
            position += step
            step *= 2
        else:
            step //= 2
    return position - index
