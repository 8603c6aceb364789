# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""A hosted sparse extent, plain or stream-optimized: where in its file the guest's bytes are."""

from __future__ import annotations

import typing as t

from ...codecs import ZLIB
from ...errors import CorruptImage
from ...extents import COMPRESSED, DATA, HOLE, ZERO, Extent, Stored
from ...limits import SECTOR
from ...storage.base import Storage
from ..entries import run_end
from . import layout
from .grains import Budget, GrainFile, end_of_zeros
from .tables import GrainTables, Piece, little_endian


class SparseExtent(GrainFile):
    """A hosted sparse extent.

    :param storage: the extent's file
    :raises ImageError: as layout.read_header
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.header = layout.read_header(storage)
        self.size = self.header.capacity * SECTOR
        self.grain = self.header.grain
        self.compressed = self.header.compressed
        self.dirty = self.header.unclean_shutdown
        self.tables = GrainTables(storage, self.header)

    @property
    def rescued(self) -> int:
        return self.tables.rescued

    def metadata(self) -> t.Iterator[tuple[int, int]]:
        front = self.header.first_grain
        yield 0, front * SECTOR
        for sector, count in self.tables.places():
            if sector >= front:
                yield sector * SECTOR, count * SECTOR

    def extents(self, start: int, end: int) -> t.Iterator[Extent]:
        if start >= end:
            return
        header, budget = self.header, Budget(self.storage)
        span = header.grain * layout.GTES_PER_GT
        for piece in self.tables.pieces(start // span, -(-end // span)):
            base = piece.first * span
            piece_end = min(base + piece.tables * span, self.size)
            if piece.raw is None:
                yield Extent(base, piece_end - base, HOLE)
                continue
            first = max(0, start - base) // header.grain
            last = -(-(min(end, piece_end) - base) // header.grain)
            yield from budget.watch(self._grains(piece, base, first, last))

    def _grains(self, piece: Piece, base: int, first: int, last: int) -> t.Iterator[Extent]:
        """The grains ``first`` to ``last`` of some tables whose guest range begins at byte ``base``."""
        header, grain, sectors = self.header, self.header.grain, self.header.grain_size
        first_grain = header.first_grain
        raw = piece.raw or b""
        entries = little_endian(raw)
        zeroed = header.flags & layout.FLAG_ZEROED_GRAIN
        index = first
        while index < last:
            entry = entries[index]
            guest = base + index * grain
            run = index + 1
            if entry == 0:
                run = end_of_zeros(raw, 4, run, last)
                yield Extent(guest, self._bounded(guest, (run - index) * grain), HOLE)
            elif entry == layout.GTE_ZEROED and zeroed:
                run = run_end(entries, index, last, 0)
                yield Extent(guest, self._bounded(guest, (run - index) * grain), ZERO)
            elif entry < first_grain:
                where = piece.sector * SECTOR + index * 4
                raise CorruptImage(f"the grain at guest offset {guest:#x} lies in the metadata (sector {entry})", path=self.storage.name, offset=where)
            elif header.compressed:
                yield self._compressed(guest, entry * SECTOR)
            else:
                if run < last and entries[run] == entry + sectors:
                    run = run_end(entries, index, last, sectors)
                length = self._bounded(guest, (run - index) * grain)
                self.storage.require(entry * SECTOR, length, f"the data of guest offset {guest:#x}")
                yield Extent(guest, length, DATA, self.storage, entry * SECTOR)
            index = run

    def _compressed(self, guest: int, offset: int) -> Extent:
        """One compressed grain; its marker says what it is, so a table that points elsewhere is found out."""
        storage, grain = self.storage, self.header.grain
        raw = storage.read_exact(offset, layout.GRAIN_MARKER.size, "a grain marker")
        marker = layout.GRAIN_MARKER.unpack(raw)
        if marker.lba * SECTOR != guest:
            raise CorruptImage(
                f"the table puts the grain of guest offset {guest:#x} where the grain marker says sector {marker.lba}", path=storage.name, offset=offset
            )
        # What does not shrink grows a little; qemu allows two grains, too.
        if not 0 < marker.size <= 2 * grain:
            raise CorruptImage(f"the grain marker gives a size of {marker.size} bytes", path=storage.name, offset=offset + 8)
        storage.require(offset + len(raw), marker.size, "a compressed grain")
        # Some writers compress the disk's last grain only as far as the disk goes, others fill it up.
        length = self._bounded(guest, grain)
        return Extent(guest, length, COMPRESSED, storage, offset + len(raw), Stored(ZLIB, marker.size, length, 0))

    def _bounded(self, guest: int, length: int) -> int:
        return min(length, self.size - guest)
