# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Writing monolithicSparse, and the file format that its grains are in.

Source: VMware, "Virtual Disk Format 5.0", section "Hosted Sparse Extents".
"""

from __future__ import annotations

import array
import typing as t

from ...errors import UnsupportedImage
from ...identity import ContentIdentity
from ...limits import SECTOR
from ..base import Target, Writer, whole_sectors
from . import descriptor, layout
from .tables import little_endian

if t.TYPE_CHECKING:  # pragma: no cover
    from ...storage.sink import Sink

_DESCRIPTOR_SECTORS = 20
"""room for those who edit the descriptor in place, as all writers leave it"""

GRAIN_BYTES = layout.GRAIN * SECTOR


class SparseFile:
    """One hosted sparse extent: grains, appended in guest order, behind tables whose place and size are known from the start.

    Layout, as VMware and qemu have it: header, descriptor, redundant grain directory and its tables, grain directory and
    its tables, grains. The tables of what is never written stay holes.

    :param sink: the extent's file
    :param sectors: what the guest sees of it
    :param embedded: the disk is this one file, and its descriptor is in it
    :param zeroed_grain: a later writer may mark grains as zeros
    """

    def __init__(self, sink: Sink, sectors: int, *, embedded: bool, zeroed_grain: bool) -> None:
        self._sink = sink
        self._sectors = sectors
        self._descriptor = (1, _DESCRIPTOR_SECTORS) if embedded else (0, 0)
        self._zeroed_grain = zeroed_grain
        tables = -(-sectors // (layout.GRAIN * layout.GTES_PER_GT))
        directory = -(-tables * 4 // SECTOR)
        self._rgd = 1 + self._descriptor[1]
        self._gd = self._rgd + directory + tables * layout.GT_SECTORS
        # The sectors of the tables, in both copies.
        self._redundant = array.array("I", range(self._rgd + directory, self._gd, layout.GT_SECTORS))
        self._primary = array.array("I", range(self._gd + directory, self._gd + directory + tables * layout.GT_SECTORS, layout.GT_SECTORS))
        behind = self._gd + directory + tables * layout.GT_SECTORS
        self._over_head = -(-behind // layout.GRAIN) * layout.GRAIN
        self.end = self._over_head
        """sector behind the last grain"""
        self._table = array.array("I", bytes(layout.GT_BYTES))
        self._table_index = 0

    def write(self, start: int, data: t.Any) -> None:
        """Append whole grains.

        :param start: bytes into the extent, a multiple of a grain
        :raises UnsupportedImage: the tables cannot point that far
        """
        grains = -(-len(data) // GRAIN_BYTES)
        check_room(self.end + grains * layout.GRAIN)
        self._sink.write_at(self.end * SECTOR, data)
        self._map(start // GRAIN_BYTES, grains)

    def _map(self, grain: int, count: int) -> None:
        """Enter the next ``count`` grains of the file for consecutive grains of the guest."""
        while count:
            index, slot = divmod(grain, layout.GTES_PER_GT)
            if index != self._table_index:
                self._flush_table()
                self._table_index = index
            run = min(count, layout.GTES_PER_GT - slot)
            after = self.end + run * layout.GRAIN
            self._table[slot : slot + run] = array.array("I", range(self.end, after, layout.GRAIN))
            grain, count, self.end = grain + run, count - run, after

    def _flush_table(self) -> None:
        """Write the table of the guest range so far; what comes is above it."""
        if any(self._table):
            raw = little_endian(self._table.tobytes()).tobytes()
            for directory in (self._redundant, self._primary):
                self._sink.write_at(directory[self._table_index] * SECTOR, raw)
            self._table = array.array("I", bytes(layout.GT_BYTES))

    def finish(self, text: bytes = b"") -> None:
        """Write tables and header.

        :param text: the embedded descriptor
        """
        self._flush_table()
        self._sink.write_at(self._rgd * SECTOR, little_endian(self._redundant.tobytes()).tobytes())
        self._sink.write_at(self._gd * SECTOR, little_endian(self._primary.tobytes()).tobytes())
        self._sink.write_at(0, self._header() + descriptor.pad(text))
        # Whole grains, also where the disk ends inside the last one.
        self._sink.truncate(self.end * SECTOR)

    def _header(self) -> bytes:
        return descriptor.pad(
            layout.SPARSE_EXTENT_HEADER.pack(
                magicNumber=layout.MAGIC,
                version=2 if self._zeroed_grain else 1,
                flags=layout.FLAG_NEWLINE_TEST | layout.FLAG_REDUNDANT | (layout.FLAG_ZEROED_GRAIN if self._zeroed_grain else 0),
                capacity=self._sectors,
                grainSize=layout.GRAIN,
                descriptorOffset=self._descriptor[0],
                descriptorSize=self._descriptor[1],
                numGTEsPerGT=layout.GTES_PER_GT,
                rgdOffset=self._rgd,
                gdOffset=self._gd,
                overHead=self._over_head,
                uncleanShutdown=0,
                endLineChars=layout.END_LINE_CHARS,
                compressAlgorithm=0,
            )
        )


class SparseWriter(Writer):
    """monolithicSparse: the whole disk is one extent."""

    unit = GRAIN_BYTES
    identity: ContentIdentity

    def __init__(self, sink: Sink, virtual_size: int, target: Target) -> None:
        super().__init__(sink, whole_sectors(virtual_size), target)
        self._options = descriptor.Options.of(target)
        self.identity = ContentIdentity("vmdk monolithicSparse", self.virtual_size)
        self._sectors = capacity(self.virtual_size)
        self._file = SparseFile(sink, self._sectors, embedded=True, zeroed_grain=self._options.zeroed_grain)

    def write(self, start: int, data: t.Any) -> None:
        self._file.write(start, data)

    def finish(self) -> None:
        self._file.finish(descriptor.build("monolithicSparse", self._sectors, self._options, self.identity))


def capacity(virtual_size: int) -> int:
    """Sectors of the disk.

    :raises UnsupportedImage: none at all: readers take such a header for one that only carries a descriptor
    """
    if not virtual_size:
        raise UnsupportedImage("a VMDK cannot hold an empty disk (0 bytes)")
    return virtual_size // SECTOR


def check_room(end: int) -> None:
    """:raises UnsupportedImage: the file would have grown to ``end`` sectors, behind what the tables can point to"""
    if end > layout.MAX_SECTORS:
        raise UnsupportedImage("a VMDK file holds at most 2 TiB; the disk has more data than that", hint="Choose raw or qcow2")
