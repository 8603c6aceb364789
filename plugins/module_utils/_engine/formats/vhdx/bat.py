# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The block allocation table (BAT): where the blocks of the disk lie. Source: [MS-VHDX] 2.5 "BAT"."""

from __future__ import annotations

import array
import mmap
import re
import typing as t

from ...errors import CorruptImage
from ...extents import DATA, HOLE, ZERO, Extent
from ...limits import MIB
from ..entries import run_end, table
from .layout import MAX_FILE_SIZE, Area
from .metadata import Metadata

if t.TYPE_CHECKING:  # pragma: no cover
    from ...storage.base import Storage

ENTRY_SIZE = 8
STATE_MASK = 0x7
RESERVED_MASK = 0xFFFF8
BLOCK_ZERO = 2
FULLY_PRESENT = 6
PARTIALLY_PRESENT = 7
# 5 is what a draft of the specification (0.95) called unmapped. Blocks that are undefined (1) or unmapped (3) may read
# as anything: as zeros, then.
UNALLOCATED = {0: HOLE, 1: HOLE, 2: ZERO, 3: HOLE, 5: HOLE}
UNALLOCATED_OVER_PARENT = {0: HOLE, 1: ZERO, 2: ZERO, 3: ZERO, 5: ZERO}
"""Only what is not present at all (0) is in the parent."""

_PIECE = 1 << 16
"""payload entries read in one go: the BAT of 64 TiB in 1 MiB blocks has 512 MiB"""


class Claims:
    """Which mebibytes of the file are taken: no two blocks, and no block and a structure, may share one.

    :param storage: the image
    :param areas: what its structures take
    """

    def __init__(self, storage: Storage, areas: t.Iterable[Area]) -> None:
        self._path = storage.name
        # One byte for each, in pages that only take memory where something is claimed.
        self._taken = mmap.mmap(-1, max(1, -(-min(storage.size, MAX_FILE_SIZE) // MIB)), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        for area in areas:
            self.claim(area.offset, area.length, area.name)

    def claim(self, offset: int, length: int, name: str) -> None:
        """:raises CorruptImage: a part of the range (bytes, inside the file, aligned to 1 MiB) was claimed before"""
        first, end = offset // MIB, min((offset + length) // MIB, len(self._taken))
        if self._taken.find(b"\1", first, end) >= 0:
            raise CorruptImage(f"{name} overlaps another block or a structure of the image", path=self._path, offset=offset)
        self._taken[first:end] = b"\1" * (end - first)

    def keep(self, offset: int, length: int) -> None:
        """As :meth:`claim`, but the range may be taken already, or lie behind the end of the file."""
        first, end = offset // MIB, min((offset + length) // MIB, self.size)
        self._taken[first:end] = b"\1" * (end - first)

    @property
    def size(self) -> int:
        """Mebibytes of the file."""
        return len(self._taken)

    def taken(self, first: int) -> memoryview:
        """One byte for each mebibyte of the file from ``first`` on, 0 where it is free."""
        return memoryview(self._taken)[first:]


def walk(storage: Storage, bat: Area, metadata: Metadata, claims: Claims, start: int, end: int) -> t.Iterator[Extent]:
    """The blocks that cover the guest range ``start`` to ``end`` (bytes), in runs; holes of a differencing disk are in its parent.

    :raises CorruptImage: an entry contradicts the specification, or a block overlaps something or ends behind the file
    """
    block = metadata.block_size
    last = -(-end // block)
    bitmaps = None if metadata.parent is None else _Bitmaps(storage, bat, metadata, claims)
    for first in range(start // block, last, _PIECE):
        yield from _runs(storage, bat, metadata, claims, bitmaps, first, min(first + _PIECE, last))


def kept(storage: Storage, bat: Area, metadata: Metadata) -> t.Iterator[tuple[int, int]]:
    """The (offset, length) ranges that the table names without that they are read: of blocks given up, and of sector bitmaps."""
    ratio, blocks = metadata.chunk_ratio, metadata.payload_blocks
    for first in range(0, blocks, _PIECE):
        entries = _payload_entries(storage, bat, ratio, first, min(first + _PIECE, blocks))
        if entries is not None and not (entries[0] <= STATE_MASK and run_end(entries, 0, len(entries), 0) == len(entries)):
            yield from ((entry & ~STATE_MASK, metadata.block_size) for entry in entries if entry > STATE_MASK and entry & STATE_MASK in UNALLOCATED)
    if metadata.parent is not None:
        for chunk in range(-(-blocks // ratio)):
            entry = int.from_bytes(storage.read_exact(bat.offset + (chunk * (ratio + 1) + ratio) * ENTRY_SIZE, ENTRY_SIZE, bat.name), "little")
            if entry & STATE_MASK == FULLY_PRESENT:
                yield entry & ~STATE_MASK, MIB


def _payload_entries(storage: Storage, bat: Area, ratio: int, first: int, last: int) -> array.array[int] | None:
    """The entries of the payload blocks ``first`` to ``last``, without those of sector bitmap blocks between them; None where all are 0 for sure."""
    begin, end = first + first // ratio, last + (last - 1) // ratio
    offset, length = bat.offset + begin * ENTRY_SIZE, (end - begin) * ENTRY_SIZE
    if next(storage.data_ranges(offset, offset + length), None) is None:
        return None  # a hole of the file: the table of an empty disk is nothing else
    entries = table(storage.read_exact(offset, length, bat.name), "Q", "little")
    # Those of bitmaps are looked up one by one. Without a parent there are none; what old versions of qemu left there means nothing.
    del entries[ratio - first % ratio :: ratio + 1]
    return entries


class _Bitmaps:
    """The sector bitmap blocks of a differencing disk ([MS-VHDX] 2.4, 2.5.1.2): one for each chunk of payload blocks."""

    def __init__(self, storage: Storage, bat: Area, metadata: Metadata, claims: Claims) -> None:
        self._storage = storage
        self._bat = bat
        self._metadata = metadata
        self._claims = claims
        self._places: dict[int, int] = {}
        """offset of the bitmap block by chunk"""

    def runs(self, number: int, offset: int) -> t.Iterator[Extent]:
        """A partially present payload block at a file offset: its own sectors, and holes for the parent's."""
        metadata = self._metadata
        block, sector = metadata.block_size, metadata.logical_sector_size
        guest = number * block
        count = min(block, metadata.virtual_disk_size - guest) // sector
        chunk, inside = divmod(number, metadata.chunk_ratio)
        place = self._place(chunk, guest) + inside * (block // sector // 8)
        raw = self._storage.read_exact(place, -(-count // 8), "a sector bitmap")
        bits = f"{int.from_bytes(raw, 'little'):0{8 * len(raw)}b}"[::-1][:count]  # the lowest bit of a byte comes first
        for run in re.finditer("0+|1+", bits):
            start, size = run.start() * sector, len(run[0]) * sector
            if run[0][0] == "1":
                yield Extent(guest + start, size, DATA, self._storage, offset + start)
            else:
                yield Extent(guest + start, size, HOLE)

    def _place(self, chunk: int, guest: int) -> int:
        if chunk not in self._places:
            ratio = self._metadata.chunk_ratio
            where = self._bat.offset + (chunk * (ratio + 1) + ratio) * ENTRY_SIZE
            entry = int.from_bytes(self._storage.read_exact(where, ENTRY_SIZE, self._bat.name), "little")
            if entry & RESERVED_MASK or entry & STATE_MASK != FULLY_PRESENT:
                raise CorruptImage(
                    f"the block of guest offset {guest:#x} needs a sector bitmap, whose entry is {entry:#018x}", path=self._storage.name, offset=where
                )
            offset = entry & ~STATE_MASK
            self._storage.require(offset, MIB, "a sector bitmap block")
            self._claims.claim(offset, MIB, "a sector bitmap block")
            self._places[chunk] = offset
        return self._places[chunk]


def _runs(storage: Storage, bat: Area, metadata: Metadata, claims: Claims, bitmaps: _Bitmaps | None, first: int, last: int) -> t.Iterator[Extent]:
    block, size, ratio = metadata.block_size, metadata.virtual_disk_size, metadata.chunk_ratio
    unallocated = UNALLOCATED if bitmaps is None else UNALLOCATED_OVER_PARENT
    entries = _payload_entries(storage, bat, ratio, first, last)
    if entries is None:
        yield Extent(first * block, min((last - first) * block, size - first * block), unallocated[0])
        return
    count = len(entries)
    index = 0
    while index < count:
        entry = entries[index]
        state = entry & STATE_MASK
        guest = (first + index) * block
        partial = state == PARTIALLY_PRESENT and bitmaps is not None
        if entry & RESERVED_MASK or not (partial or state == FULLY_PRESENT or state in unallocated):
            number = first + index
            wrong = "reserved bits set" if entry & RESERVED_MASK else f"the state {state}, which it cannot have"
            where = bat.offset + (number + number // ratio) * ENTRY_SIZE
            raise CorruptImage(f"the entry {entry:#018x} of block {number} has {wrong}", path=storage.name, offset=where)
        if state in unallocated:
            run = run_end(entries, index, count, 0)
            yield Extent(guest, min((run - index) * block, size - guest), unallocated[state])
            index = run
            continue
        run = index + 1 if partial else run_end(entries, index, count, block)
        offset = entry & ~STATE_MASK
        length = min((run - index) * block, size - guest)
        storage.require(offset, length, f"the data of guest offset {guest:#x}")
        claims.claim(offset, (run - index) * block, f"the data of guest offset {guest:#x}")
        if partial and bitmaps is not None:
            yield from bitmaps.runs(first + index, offset)
        else:
            yield Extent(guest, length, DATA, storage, offset)
        index = run
