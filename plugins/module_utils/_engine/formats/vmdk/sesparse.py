# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The data file of a newer ESX snapshot, ``-sesparse.vmdk``: space-efficient sparse, SESPARSE in descriptors.

Sources, as VMware has not published it: qemu, block/vmdk.c (VMDKSESparseConstHeader, vmdk_open_se_sparse,
get_cluster_offset); the field names are those of VMware's open-vmdk. Little endian, 64 bits; offsets and sizes in the
headers are in sectors of 512 bytes.
"""

from __future__ import annotations

import re
import typing as t

from ...errors import CorruptImage, InvalidImage, UnsupportedImage
from ...extents import DATA, HOLE, ZERO, Extent
from ...limits import KIB, SECTOR
from ...storage.base import Storage
from ...structure import Fields, Structure
from ..base import check_virtual_size
from ..entries import run_end, table
from .grains import Budget, GrainFile, end_of_zeros

MAGIC = b"\xbe\xba\xfe\xca\0\0\0\0"
VOLATILE_MAGIC = b"\xfe\xca\xfe\xca\0\0\0\0"
VERSION = 0x0000000200000001
CONST_HEADER = Structure(
    "<",
    ("constMagic", "8s"),
    ("version", "Q"),
    ("capacity", "Q"),
    ("grainSize", "Q"),
    ("grainTableSize", "Q"),
    ("flags", "Q"),
    ("reserved", "32s"),
    ("volatileHeaderOffset", "Q"),
    ("volatileHeaderSize", "Q"),
    ("journalHeaderOffset", "Q"),
    ("journalHeaderSize", "Q"),
    ("journalOffset", "Q"),
    ("journalSize", "Q"),
    ("grainDirectoryOffset", "Q"),
    ("grainDirectorySize", "Q"),
    ("grainTablesOffset", "Q"),
    ("grainTablesSize", "Q"),
    ("freeBitmapOffset", "Q"),
    ("freeBitmapSize", "Q"),
    ("backMapOffset", "Q"),
    ("backMapSize", "Q"),
    ("grainOffset", "Q"),
    ("grainSizeAll", "Q"),
    ("pad", "304s"),
)
VOLATILE_HEADER = Structure("<", ("volatileMagic", "8s"), ("freeGTNumber", "Q"), ("nextTxnSeqNumber", "Q"), ("replayJournal", "Q"), ("pad", "480s"))

GRAIN_SECTORS = 8
GT_SECTORS = 64
GT_BYTES = GT_SECTORS * SECTOR
GTES_PER_GT = GT_BYTES // 8

_PIECE = 64 * KIB // 8
"""entries of the grain directory that are read at once: 128 GiB of disk"""
_GD_ALLOCATED = 0x10000000
"""upper half of a grain directory entry; the lower is the number of the grain table"""
_UNMAPPED, _ZERO, _ALLOCATED = 1, 2, 3
"""what the highest four bits of a grain table entry say"""
_ZEROS = re.compile(rb"(?:.{7}[\x10-\x2f])+", re.DOTALL)
"""entries of grains that read as zeros: unmapped by the guest, or zero; what else they hold does not matter"""
_STEP = 1 << 48
"""from the entry of a grain to that of the grain behind it, but for every 4096th: the number's low 12 bits are on top"""


class SeSparseExtent(GrainFile):
    """An seSparse file: where in it the guest's bytes are. A hole is what it does not have, but its parent may.

    :param storage: the file
    :raises InvalidImage: not an seSparse file
    :raises UnsupportedImage: it has to be repaired from its journal, or a version or layout that is not known
    :raises CorruptImage: fields contradict each other or the size of the file
    :raises LimitExceeded: the disk is too large
    """

    grain = GRAIN_SECTORS * SECTOR

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        fields = self._fields = _read_header(storage)
        self.size = check_virtual_size(fields.capacity * SECTOR, storage.name)
        self._tables = -(-self.size // (self.grain * GTES_PER_GT))
        if self._tables * 8 > fields.grainDirectorySize * SECTOR:
            raise CorruptImage(f"the grain directory is too small for {fields.capacity} sectors", path=storage.name, offset=136)
        storage.require(fields.grainDirectoryOffset * SECTOR, self._tables * 8, "the grain directory")
        if not all(fields[name] for name in ("grainDirectoryOffset", "grainTablesOffset", "grainOffset")):
            raise CorruptImage("a table or the grains lie in the header", path=storage.name, offset=128)

    def extents(self, start: int, end: int) -> t.Iterator[Extent]:
        if start >= end:
            return
        span = self.grain * GTES_PER_GT
        budget, tables = Budget(self.storage), Budget(self.storage)
        last = -(-end // span)
        for piece in range(start // span, last, _PIECE):
            count = min(_PIECE, last - piece)
            raw = self._directory(piece, count)
            entries = table(raw, "Q", "little")
            index = 0
            while index < count:
                base = (piece + index) * span
                if not raw or not entries[index]:
                    index = end_of_zeros(raw, 8, index, count) if raw else count
                    yield Extent(base, min((piece + index) * span, self.size) - base, HOLE)
                    continue
                offset = self._table_offset(piece + index, entries[index])
                tables.spend(offset, GT_BYTES)
                limit = min(base + span, self.size)
                grains = self.storage.read_exact(offset, GT_BYTES, f"grain table {piece + index}")
                first, behind = max(0, start - base) // self.grain, -(-(min(end, limit) - base) // self.grain)
                yield from budget.watch(self._grains(grains, offset, base, first, behind))
                index += 1

    def metadata(self) -> t.Iterator[tuple[int, int]]:
        for name in ("volatileHeader", "journalHeader", "journal", "grainDirectory", "freeBitmap", "backMap"):
            yield self._fields[f"{name}Offset"] * SECTOR, self._fields[f"{name}Size"] * SECTOR
        yield 0, SECTOR
        for piece in range(0, self._tables, _PIECE):
            raw = self._directory(piece, min(_PIECE, self._tables - piece))
            for index, entry in enumerate(table(raw, "Q", "little"), piece):
                if entry:
                    yield self._table_offset(index, entry), GT_BYTES

    def end_of_grains(self) -> int | None:
        return None  # a bitmap says which are free

    def _directory(self, index: int, count: int) -> bytes:
        """Some entries of the grain directory; nothing where they lie in a hole of the file."""
        offset = self._fields.grainDirectoryOffset * SECTOR + index * 8
        if next(self.storage.data_ranges(offset, offset + count * 8), None) is None:
            return b""
        return self.storage.read_exact(offset, count * 8, "the grain directory")

    def _table_offset(self, index: int, entry: int) -> int:
        fields = self._fields
        number = entry & 0xFFFFFFFF
        if entry >> 32 != _GD_ALLOCATED or (number + 1) * GT_SECTORS > fields.grainTablesSize:
            where = fields.grainDirectoryOffset * SECTOR + index * 8
            raise CorruptImage(f"grain directory entry {index} ({entry:#x}) names no grain table", path=self.storage.name, offset=where)
        return int(fields.grainTablesOffset * SECTOR + number * GT_BYTES)

    def _grains(self, raw: bytes, place: int, base: int, first: int, last: int) -> t.Iterator[Extent]:
        """The grains ``first`` to ``last`` of the table ``raw`` at byte ``place``, whose guest range begins at byte ``base``."""
        fields, entries = self._fields, table(raw, "Q", "little")
        index = first
        while index < last:
            entry, guest = entries[index], base + index * self.grain
            kind, offset = entry >> 60, 0
            if not entry:
                run, what = end_of_zeros(raw, 8, index, last), HOLE
            elif kind in (_UNMAPPED, _ZERO):
                zeros = _ZEROS.match(raw, index * 8, last * 8)
                run, what = (zeros.end() // 8 if zeros else index + 1), ZERO
            else:
                number = (entry >> 48 & 0xFFF) | (entry & 0xFFFFFFFFFFFF) << 12
                run, what = run_end(entries, index, min(last, index + 4096 - (number & 0xFFF)), _STEP), DATA
                offset = (fields.grainOffset + number * GRAIN_SECTORS) * SECTOR
                if kind != _ALLOCATED or (number + run - index) * GRAIN_SECTORS > fields.grainSizeAll:
                    where = place + index * 8
                    raise CorruptImage(f"the table entry of guest offset {guest:#x} ({entry:#x}) names no grain", path=self.storage.name, offset=where)
            length = min(base + run * self.grain, self.size) - guest
            if what == DATA:
                self.storage.require(offset, length, f"the data of guest offset {guest:#x}")
                yield Extent(guest, length, DATA, self.storage, offset)
            else:
                yield Extent(guest, length, what)
            index = run


def _read_header(storage: Storage) -> Fields:
    path = storage.name
    fields = CONST_HEADER.unpack(storage.read_exact(0, SECTOR, "the seSparse header"))
    if fields.constMagic != MAGIC:
        raise InvalidImage("not an seSparse extent", path=path, offset=0)
    if fields.version != VERSION:
        raise UnsupportedImage(f"seSparse extents of version {fields.version:#x} are not supported", path=path, offset=8)
    if (fields.grainSize, fields.grainTableSize) != (GRAIN_SECTORS, GT_SECTORS):
        raise UnsupportedImage(
            f"seSparse with grains of {fields.grainSize} and tables of {fields.grainTableSize} sectors is not supported", path=path, offset=24
        )
    if fields.flags or any(fields.reserved) or any(fields.pad):
        raise UnsupportedImage("the seSparse header has flags or fields that are not known", path=path, offset=40)
    where = fields.volatileHeaderOffset * SECTOR
    volatile = VOLATILE_HEADER.unpack(storage.read_exact(where, SECTOR, "the volatile header"))
    if volatile.volatileMagic != VOLATILE_MAGIC:
        raise CorruptImage("the volatile header lacks its magic number", path=path, offset=where)
    if volatile.replayJournal:
        raise UnsupportedImage(
            "not closed cleanly: its journal would have to be replayed, which is not supported",
            path=path,
            offset=where + 24,
            hint="Have ESXi do it: open the disk there once, with vmkfstools -x check or in a virtual machine",
        )
    if any(volatile.pad):
        raise UnsupportedImage("the volatile header has fields that are not known", path=path, offset=where + 32)
    return fields
