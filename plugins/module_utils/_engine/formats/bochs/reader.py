# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Reads Bochs' growing images. See layout.py for the source of the rules."""

from __future__ import annotations

import array
import re
import sys
import typing as t

from ...errors import CorruptImage, InvalidImage, LimitExceeded, UnsupportedImage, printable
from ...extents import DATA, HOLE, Extent, merge, skip_holes, within
from ...limits import SECTOR
from ...storage.base import Storage
from ..base import ImageInfo, Reader, check_virtual_size, whole_sectors
from . import layout

_ALLOCATED = re.compile(b"[^\\xff]")
"""a byte of a catalog entry that is not NOT_ALLOCATED"""
_RUNS = re.compile("0+|1+")


class BochsReader(Reader):
    """A redolog of Bochs. Those that are not growing images hold only changes and are only described.

    :raises InvalidImage: no signature
    :raises UnsupportedImage: another version or type
    :raises CorruptImage: the header contradicts itself or the size of the file
    :raises LimitExceeded: disk, catalog or extents are too large
    """

    format = "bochs"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        raw = storage.read_at(0, layout.HEADER_SIZE).ljust(layout.HEADER_SIZE, b"\0")
        self._header = header = layout.HEADER_2.unpack(raw)
        name = storage.name
        if _text(header.magic) != layout.MAGIC:
            raise InvalidImage("not a Bochs image: no signature", path=name, offset=0)
        storage.require(0, layout.HEADER_SIZE, "the header")
        self._subtype = _text(header.subtype)
        if _text(header.type) != layout.REDOLOG or self._subtype not in layout.SUBTYPES:
            kind = f"{printable(_text(header.type))} {printable(self._subtype)}"
            raise UnsupportedImage(f"Bochs images of the type '{kind}' are not known", path=name, offset=32)
        if header.version not in (layout.VERSION_1, layout.VERSION_2):
            raise UnsupportedImage(f"version {header.version >> 16} of Bochs images is not known", path=name, offset=64)
        if header.version == layout.VERSION_1:
            self._header = header = layout.HEADER_1.unpack(raw)
        self._check_header()
        self.virtual_size = whole_sectors(check_virtual_size(header.disk, name))
        self._extents = -(-self.virtual_size // header.extent)
        """catalog entries that the disk needs; there may be more"""
        if header.catalog < self._extents:
            raise CorruptImage(f"the catalog has {header.catalog} entries; the disk needs {self._extents}", path=name, offset=72)
        self._data = header.header + 4 * header.catalog
        self._bitmap = whole_sectors(header.bitmap)
        self._catalog: array.array[int] | None = None

    def _check_header(self) -> None:
        header, name = self._header, self.storage.name
        if header.header < layout.HEADER_SIZE:
            raise CorruptImage(f"the catalog begins at byte {header.header}, inside the header", path=name, offset=68)
        if header.catalog > layout.MAX_CATALOG:
            raise LimitExceeded(f"the catalog has {header.catalog} entries; {layout.MAX_CATALOG} is the most that is taken", path=name, offset=72)
        if not SECTOR <= header.extent <= layout.MAX_EXTENT or header.extent & (header.extent - 1):
            raise CorruptImage(f"extents of {header.extent} bytes; a power of two from 512 bytes to 8 MiB is possible", path=name, offset=80)
        if not -(-header.extent // SECTOR // 8) <= header.bitmap <= layout.MAX_EXTENT:
            raise CorruptImage(f"bitmaps of {header.bitmap} bytes do not fit extents of {header.extent} bytes", path=name, offset=76)
        self.storage.require(header.header, 4 * header.catalog, "the catalog")

    def describe(self) -> ImageInfo:
        header = self._header
        specific = {"version": header.version >> 16, "catalog": header.catalog, "bitmap": header.bitmap}
        return ImageInfo(self.format, self.virtual_size, subformat=self._subtype.decode("ascii"), cluster_size=header.extent, format_specific=specific)

    def unreadable_reason(self) -> str | None:
        if self._subtype == layout.GROWING:
            return None
        return "the redolog holds only what was written over another disk; merge it first (bximage commits it)"

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        self.require_readable()
        catalog = self._read_catalog()
        start, end = self.range(start, length)
        if start < end:
            size = self._header.extent
            parts = self._parts(catalog, start // size, -(-end // size))
            yield from merge(skip_holes(within(parts, start, end)))

    def _parts(self, catalog: array.array[int], first: int, end: int) -> t.Iterator[Extent]:
        size = self._header.extent
        while first < end:
            guest = first * size
            if catalog[first] == layout.NOT_ALLOCATED:
                found = _ALLOCATED.search(t.cast(bytes, catalog), first * 4)
                first = found.start() // 4 if found else end
                yield Extent(guest, min(first * size, self.virtual_size) - guest, HOLE)
            else:
                yield from self._sectors(guest, min(size, self.virtual_size - guest), self._offset(catalog[first]))
                first += 1

    def _sectors(self, guest: int, length: int, offset: int) -> t.Iterator[Extent]:
        """One extent: the sectors that its bitmap has a 1 for, and holes.

        :param offset: where the extent begins in the file, with its bitmap
        """
        count = length // SECTOR
        bitmap = self.storage.read_exact(offset, -(-count // 8), "the bitmap of an extent")
        bits = f"{int.from_bytes(bitmap, 'little'):0{8 * len(bitmap)}b}"[::-1][:count]  # the lowest bit of a byte comes first
        for run in _RUNS.finditer(bits):
            start, size = run.start() * SECTOR, len(run[0]) * SECTOR
            if run[0][0] == "0":
                yield Extent(guest + start, size, HOLE)
                continue
            where = offset + self._bitmap + start
            self.storage.require(where, size, f"the data of guest offset {guest + start:#x}")
            yield Extent(guest + start, size, DATA, self.storage, where)

    def _offset(self, entry: int) -> int:
        return self._data + entry * (self._bitmap + self._header.extent)

    def _read_catalog(self) -> array.array[int]:
        """The part of the catalog that the disk needs.

        :raises CorruptImage: an extent is not inside the file, or belongs to two entries: they cannot both be right
        """
        if self._catalog is None:
            storage = self.storage
            catalog = array.array("I", storage.read_exact(self._header.header, 4 * self._extents, "the catalog"))
            if sys.byteorder == "big":
                catalog.byteswap()
            used = sorted(entry for entry in catalog if entry != layout.NOT_ALLOCATED)
            if used:
                storage.require(self._offset(used[-1]), self._bitmap, "the bitmap of an extent")
            for one, other in zip(used, used[1:]):
                if one == other:
                    raise CorruptImage(f"two entries of the catalog name extent {one}", path=storage.name, offset=self._header.header)
            self._catalog = catalog
        return self._catalog


def _text(stored: bytes) -> bytes:
    return stored.partition(b"\0")[0]
