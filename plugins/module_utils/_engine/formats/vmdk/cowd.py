# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The data file of an ESX snapshot, ``-delta.vmdk``, and of disks of old: COWD, which descriptors call VMFSSPARSE.

Sources: VMware, "Virtual Disk Format 5.0", section "ESXi Host Sparse Extents"; the flags are named in VMware's open-vmdk,
vmware_vmdk.h. Little endian; offsets and sizes are in sectors of 512 bytes.
"""

from __future__ import annotations

import array
import typing as t

from ...errors import CorruptImage, InvalidImage, LimitExceeded, UnsupportedImage
from ...extents import DATA, HOLE, Extent
from ...limits import SECTOR
from ...storage.base import Storage
from ...structure import Structure
from ..base import check_virtual_size
from ..entries import run_end
from .grains import Budget, GrainFile, end_of_zeros
from .layout import MAX_GRAIN
from .tables import little_endian

MAGIC = b"COWD"
HEADER = Structure(
    "<",
    ("magicNumber", "4s"),
    ("version", "I"),
    ("flags", "I"),
    ("numSectors", "I"),
    ("grainSize", "I"),
    ("gdOffset", "I"),
    ("numGDEntries", "I"),
    ("freeSector", "I"),
    ("cylinders", "I"),  # from here on the parent's file name, where the flag ROOT is not set
    ("heads", "I"),
    ("sectors", "I"),
    ("_", "1016s"),
    ("generation", "I"),
    ("name", "60s"),
    ("description", "512s"),
    ("savedGeneration", "I"),
    ("_", "8s"),
    ("uncleanShutdown", "I"),
)
HEADER_SECTORS = 4

FLAG_ROOT = 1 << 0
FLAG_INCONSISTENT = 1 << 2

GTES_PER_GT = 4096
GT_BYTES = GTES_PER_GT * 4


class CowdExtent(GrainFile):
    """A COWD file: where in it the guest's bytes are. A hole is what it does not have, but its parent may.

    :param storage: the file
    :raises InvalidImage: not a COWD file
    :raises UnsupportedImage: a version that is not known
    :raises CorruptImage: fields contradict the specification, each other or the size of the file
    :raises LimitExceeded: a grain is too large
    """

    def __init__(self, storage: Storage) -> None:
        path = self._path = storage.name
        self.storage = storage
        fields = HEADER.unpack(storage.read_exact(0, HEADER_SECTORS * SECTOR, "the COWD header"))
        if fields.magicNumber != MAGIC:
            raise InvalidImage("not a COWD (vmfsSparse) extent", path=path, offset=0)
        if fields.version != 1:
            raise UnsupportedImage(f"COWD (vmfsSparse) extents of version {fields.version} are not supported", path=path, offset=4)
        if fields.flags & FLAG_INCONSISTENT:
            raise CorruptImage("the header says that the metadata is inconsistent", path=path, offset=8)
        if not fields.grainSize or fields.grainSize & (fields.grainSize - 1):
            raise CorruptImage(f"grain size {fields.grainSize} (sectors) is no power of two", path=path, offset=16)
        if fields.grainSize > MAX_GRAIN:
            raise LimitExceeded(f"grains of {fields.grainSize} sectors are too large ({MAX_GRAIN} is the most that is taken)", path=path, offset=16)
        self.size = check_virtual_size(fields.numSectors * SECTOR, path)
        self.grain = fields.grainSize * SECTOR
        self.dirty = bool(fields.uncleanShutdown)
        self.is_root = bool(fields.flags & FLAG_ROOT) and _fits(fields.cylinders, fields.heads, fields.sectors, fields.numSectors)
        """a whole disk: deltas of ESX have the flag ROOT, too, but no geometry"""
        self._tables = -(-self.size // (self.grain * GTES_PER_GT))
        if not self._tables <= fields.numGDEntries:
            raise CorruptImage(f"a grain directory of {fields.numGDEntries} entries is too small for {fields.numSectors} sectors", path=path, offset=24)
        self._gd = fields.gdOffset
        self._first = self._gd + -(-fields.numGDEntries * 4 // SECTOR)
        """the lowest sector where a table or a grain can be"""
        if self._gd < HEADER_SECTORS:
            raise CorruptImage("the grain directory lies in the header", path=path, offset=20)
        storage.require(self._gd * SECTOR, (self._first - self._gd) * SECTOR, "the grain directory")
        self._free = fields.freeSector
        self._directory: tuple[bytes, array.array[int]] | None = None

    def extents(self, start: int, end: int) -> t.Iterator[Extent]:
        if start >= end:
            return
        span = self.grain * GTES_PER_GT
        raw, entries = self._read_directory()
        budget, tables = Budget(self.storage), Budget(self.storage)
        index, last = start // span, -(-end // span)
        while index < last:
            base = index * span
            sector = entries[index]
            if not sector:
                index = end_of_zeros(raw, 4, index, last)
                yield Extent(base, min(index * span, self.size) - base, HOLE)
                continue
            table = self._read_table(index, sector)
            tables.spend(sector * SECTOR, GT_BYTES)
            limit = min(base + span, self.size)
            first, behind = max(0, start - base) // self.grain, -(-(min(end, limit) - base) // self.grain)
            yield from budget.watch(self._grains(table, sector, base, first, behind))
            index += 1

    def metadata(self) -> t.Iterator[tuple[int, int]]:
        yield 0, self._first * SECTOR
        for sector in self._read_directory()[1]:
            if sector:
                yield sector * SECTOR, GT_BYTES

    def end_of_grains(self) -> int | None:
        # The file grows by more than it needs at the moment.
        return min(self._free * SECTOR, self.storage.size)

    def _read_directory(self) -> tuple[bytes, array.array[int]]:
        """The entries for all of the disk, as bytes and as integers; at most 4 MiB."""
        if self._directory is None:
            raw = self.storage.read_exact(self._gd * SECTOR, self._tables * 4, "the grain directory")
            self._directory = raw, little_endian(raw)
        return self._directory

    def _read_table(self, index: int, sector: int) -> bytes:
        if sector < self._first:
            where = self._gd * SECTOR + index * 4
            raise CorruptImage(f"grain table {index} lies in the metadata (sector {sector})", path=self._path, offset=where)
        return self.storage.read_exact(sector * SECTOR, GT_BYTES, f"grain table {index}")

    def _grains(self, raw: bytes, sector: int, base: int, first: int, last: int) -> t.Iterator[Extent]:
        """The grains ``first`` to ``last`` of the table ``raw`` at ``sector``, whose guest range begins at byte ``base``."""
        step = self.grain // SECTOR
        entries = little_endian(raw)
        index = first
        while index < last:
            entry, guest = entries[index], base + index * self.grain
            if not entry:
                run = end_of_zeros(raw, 4, index, last)
                yield Extent(guest, min(base + run * self.grain, self.size) - guest, HOLE)
            elif entry < self._first:
                where = sector * SECTOR + index * 4
                raise CorruptImage(f"the grain at guest offset {guest:#x} lies in the metadata (sector {entry})", path=self._path, offset=where)
            else:
                run = run_end(entries, index, last, step)
                length = min(base + run * self.grain, self.size) - guest
                self.storage.require(entry * SECTOR, length, f"the data of guest offset {guest:#x}")
                yield Extent(guest, length, DATA, self.storage, entry * SECTOR)
            index = run


def _fits(cylinders: int, heads: int, sectors: int, size: int) -> bool:
    """Whether a geometry is that of a disk of ``size`` sectors, up to a last cylinder that is not whole."""
    track = heads * sectors
    return track > 0 and size - track < cylinders * track <= size
