# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Reads VHD images: dynamic, fixed and, with their parents, differencing. See layout.py for the source of the rules."""

from __future__ import annotations

import array
import heapq
import re
import typing as t
import uuid
from bisect import bisect_left

from ...errors import CorruptImage, LimitExceeded, UnsupportedImage, printable
from ...extents import DATA, HOLE, Extent, merge, skip_holes, within
from ...limits import SECTOR
from ...storage.base import Storage
from ...structure import Fields
from ..base import CheckResult, ImageInfo, Reader, Reference, check_virtual_size
from ..entries import run_end, table
from .check import find_leaks
from .description import WRITERS, footer_facts, header_facts, read_batmap
from .footer import find_footer
from .layout import (
    DIFFERENCING,
    DYNAMIC_HEADER,
    FIXED,
    FOOTER,
    HEADER_CHECKSUM,
    HEADER_COOKIE,
    MAX_LOCATOR,
    MAX_TABLE,
    MIN_BLOCK,
    PARENT_LOCATOR,
    TYPES,
    UNUSED,
    VERSION,
    checksum,
    disk_size,
)

if t.TYPE_CHECKING:  # pragma: no cover
    from ..chain import Files

_PIECE = 1 << 16
"""entries of the block allocation table read at once (256 KiB)"""
_GLANCE = 1 << 10
"""blocks: who asks for so few of a disk with a large table does not have the whole table checked"""

_LOCATOR_CODECS = {b"W2ku": "utf-16-le", b"W2ru": "utf-16-le", b"Wi2k": "cp1252", b"Wi2r": "cp1252", b"MacX": "utf-8"}
"""platform codes whose data is a name; ``Mac`` holds an alias record"""


class VhdReader(Reader):
    """A VHD image. The content of a differencing disk is given when its parent may be read.

    :raises InvalidImage: no footer
    :raises CorruptImage: footer or header are damaged, or contradict each other or the size of the file
    :raises AmbiguousImage: footers of two different disks
    :raises UnsupportedImage: a version or type that nothing here reads
    :raises LimitExceeded: the disk or its table is too large
    """

    format = "vhd"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self._footer, self._end, self._warnings, self._damage = find_footer(storage)
        self.virtual_size = check_virtual_size(disk_size(self._footer), storage.name)
        self._header: Fields | None = None
        if self._footer.disk_type != FIXED:
            self._header = self._read_header()
            self._block = self._header.block_size
            if self._block < MIN_BLOCK or self._block & (self._block - 1):
                raise CorruptImage(f"VHD block size of {self._block} bytes is not a power of two of at least {MIN_BLOCK}", path=storage.name)
            self._blocks = -(-self.virtual_size // self._block)
            """table entries that the disk needs; there may be more"""
            self._bitmap = -(-self._block // SECTOR // 8 // SECTOR) * SECTOR
            """bytes of the sector bitmap in front of each block's data"""
            self._check_table()
        self._sectors: array.array[int] | None = None
        """where the blocks are, in rising order; known when the table has been checked"""
        self._locators: list[tuple[Fields, str | None]] = []
        """those in use, with the name that they hold"""
        self._references = self._read_references()

    def _read_header(self) -> Fields:
        offset = self._footer.data_offset
        raw = self.storage.read_exact(offset, DYNAMIC_HEADER.size, "VHD dynamic disk header")
        header = DYNAMIC_HEADER.unpack(raw)
        if header.cookie != HEADER_COOKIE or header.checksum != checksum(raw, HEADER_CHECKSUM):
            raise CorruptImage("VHD dynamic disk header is damaged (cookie or checksum)", path=self.storage.name, offset=offset)
        if header.header_version != VERSION:
            raise UnsupportedImage(f"VHD dynamic disk header version {header.header_version:#010x} is not supported", path=self.storage.name)
        return header

    def _check_table(self) -> None:
        header, name = t.cast(Fields, self._header), self.storage.name
        if header.max_table_entries < self._blocks:
            raise CorruptImage(f"VHD of {self.virtual_size} bytes has a table for {header.max_table_entries} blocks of {self._block} bytes only", path=name)
        if 4 * self._blocks > MAX_TABLE:
            raise LimitExceeded(f"VHD block allocation table has {4 * self._blocks} bytes; {MAX_TABLE} is the most that is taken", path=name)
        self.storage.require(header.table_offset, 4 * header.max_table_entries, "VHD block allocation table")
        regions = sorted(self._metadata())
        for (_start, end), (start, _end) in zip(regions, regions[1:]):
            if start < end:
                raise CorruptImage("VHD header, table and footer overlap", path=name, offset=start)

    def _metadata(self) -> list[tuple[int, int]]:
        """Byte ranges (start, end) that are no blocks; the footer at the end of the file is not among them."""
        header, offset = t.cast(Fields, self._header), self._footer.data_offset
        return [
            (0, FOOTER.size),
            (offset, offset + DYNAMIC_HEADER.size),
            (header.table_offset, header.table_offset + 4 * self._blocks),
        ]

    def describe(self) -> ImageInfo:
        footer, header = self._footer, self._header
        specific = footer_facts(footer)
        application = specific["creator_application"]
        info = ImageInfo(
            self.format,
            self.virtual_size,
            subformat=TYPES[footer.disk_type],
            cluster_size=header.block_size if header else None,
            writer=WRITERS.get(application, application) or None,
            references=self.references(),
            format_specific=specific,
            warnings=list(self._warnings),
        )
        if header:
            specific.update(header_facts(header, footer.disk_type))
            batmap = read_batmap(self.storage, header)
            if batmap:
                specific["batmap"] = {"batmap_offset": batmap.batmap_offset, "batmap_size": batmap.batmap_size}
        if self._locators:
            specific["parent_locators"] = [
                {
                    "platform_code": printable(locator.platform_code.rstrip(b" \0")),
                    "platform_data_space": locator.platform_data_space,
                    "platform_data_length": locator.platform_data_length,
                    "platform_data_offset": locator.platform_data_offset,
                    "name": name if name is None else printable(name),
                }
                for locator, name in self._locators
            ]
        if footer.saved_state:
            info.warnings.append("the virtual machine was saved, not shut down (saved_state): the file systems inside may be inconsistent")
        return info

    def references(self) -> list[Reference]:
        """The parent of a differencing disk, under each name that the image has for it."""
        return self._references

    def _read_references(self) -> list[Reference]:
        if self._header is None or self._footer.disk_type != DIFFERENCING:
            return []
        names = [_text(self._header.parent_unicode_name, "utf-16-be")]
        for position in range(0, len(self._header.parent_locators), PARENT_LOCATOR.size):
            locator = PARENT_LOCATOR.unpack(self._header.parent_locators, position)
            codec = _LOCATOR_CODECS.get(locator.platform_code)
            if codec is None:
                if locator.platform_code.strip(b"\0"):
                    self._locators.append((locator, None))
                continue
            if locator.platform_data_length > MAX_LOCATOR:
                raise CorruptImage(f"VHD parent locator has {locator.platform_data_length} bytes", path=self.storage.name)
            data = self.storage.read_exact(locator.platform_data_offset, locator.platform_data_length, "VHD parent locator")
            names.append(_text(data, codec))
            self._locators.append((locator, names[-1]))
        return [Reference("parent", name, self.format) for name in dict.fromkeys(names) if name]

    def follow(self, files: Files) -> None:
        if self._header is None or self._footer.disk_type != DIFFERENCING:
            return
        parent = t.cast(VhdReader, files.image([reference.name for reference in self._references], self.format, moved=True))
        wanted, found = self._header.parent_unique_id, parent._footer.unique_id
        if found != wanted:
            raise CorruptImage(
                f"the parent of the differencing VHD has the identifier {uuid.UUID(bytes=wanted)}, "
                f"'{printable(parent.storage.name)}' has {uuid.UUID(bytes=found)}",
                path=self.storage.name,
            )
        self.parent = parent

    def unreadable_reason(self) -> str | None:
        if self._footer.disk_type != DIFFERENCING or self.parent is not None:
            return None
        name = f" '{printable(self._references[0].name)}'" if self._references else ""
        return f"the VHD holds only the differences to its parent{name}; merge them first (Hyper-V's Merge-VHD does)"

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        self.require_readable()
        start, end = self.range(start, length)
        if start < end:
            whole = [Extent(0, self.virtual_size, DATA, self.storage, 0)]
            parts = whole if self._header is None else self._dynamic(start, end)
            yield from merge(skip_holes(self.over_parent(within(parts, start, end), end)))

    def _dynamic(self, start: int, end: int) -> t.Iterator[Extent]:
        """Without a parent the sector bitmaps are not asked: all writers seen set them whole, and all readers but one ignore them."""
        block, size = self._block, self.virtual_size
        begin, last = start // block, -(-end // block)
        glance = self._blocks > _PIECE and last - begin <= _GLANCE
        if not glance:
            self._check_blocks()
        for first, entries in self._pieces(begin, last):
            if glance:
                self._check_apart(array.array("I", sorted(_used(entries))))
            index = 0
            while index < len(entries):
                number, sector = first + index, entries[index]
                length = min(block, size - number * block)
                if sector == UNUSED:
                    after = run_end(entries, index, len(entries), 0)
                    yield Extent(number * block, min((after - index) * block, size - number * block), HOLE)
                    index = after
                    continue
                index += 1
                if self.parent is not None:
                    yield from self._own_sectors(number * block, length, sector * SECTOR)
                else:
                    yield Extent(number * block, length, DATA, self.storage, sector * SECTOR + self._bitmap)

    def _own_sectors(self, guest: int, length: int, offset: int) -> t.Iterator[Extent]:
        """A block of a differencing disk: what its sector bitmap has a 1 for is in it, the rest in the parent.

        :param offset: where the block begins in the file, with its bitmap
        """
        count = length // SECTOR
        bitmap = self.storage.read_exact(offset, -(-count // 8), "VHD sector bitmap")
        bits = f"{int.from_bytes(bitmap, 'big'):0{8 * len(bitmap)}b}"[:count]  # the highest bit of a byte comes first
        for run in re.finditer("0+|1+", bits):
            start, size = run.start() * SECTOR, len(run[0]) * SECTOR
            if run[0][0] == "1":
                yield Extent(guest + start, size, DATA, self.storage, offset + self._bitmap + start)
            else:
                yield Extent(guest + start, size, HOLE)

    def _check_blocks(self) -> None:
        """Once, before the first extent is given: each block lies in the file, and on no other block or structure.

        Two entries with one block cannot both be right, so the disk would be wrong.
        """
        if self._sectors is not None:
            return
        found = array.array("I")
        for _first, entries in self._pieces(0, self._blocks):
            found.extend(_used(entries))
        sectors = array.array("I", sorted(found))
        self._check_apart(sectors)
        self._sectors = sectors

    def _check_apart(self, sectors: array.array[int]) -> None:
        """:raises CorruptImage: a block is not inside the file, or on another block or structure

        :param sectors: where the blocks begin, in rising order
        """
        name = self.storage.name
        # All blocks are whole, also one that reaches beyond the disk's end: where bytes are missing, the file was cut.
        stride = self._bitmap + self._block
        if sectors and sectors[-1] * SECTOR + stride > self._end:
            raise CorruptImage(
                f"VHD block ends at byte {sectors[-1] * SECTOR + stride}, behind the blocks' end ({self._end}): truncated, or a damaged table",
                path=name,
                offset=sectors[-1] * SECTOR,
            )
        for one, other in zip(sectors, sectors[1:]):
            if (other - one) * SECTOR < stride:
                raise CorruptImage("VHD block allocation table has two entries for the same bytes", path=name, offset=other * SECTOR)
        for start, end in self._metadata():
            before = bisect_left(sectors, -(-end // SECTOR))
            if before and sectors[before - 1] * SECTOR + stride > start:
                raise CorruptImage("VHD block lies on a header or on the table", path=name, offset=sectors[before - 1] * SECTOR)

    def check(self) -> CheckResult:
        """The general check; a footer that is lost; and blocks that nothing names. No other tool checks a VHD.

        A lost footer is a corruption: other readers take the file for something else, or refuse it.
        """
        result = super().check()
        result.corruptions += self._damage
        if self._sectors is not None and not result.corruptions:
            stride = self._bitmap + self._block
            taken = self._metadata()
            taken += [(locator.platform_data_offset, locator.platform_data_offset + locator.platform_data_length) for locator, _name in self._locators]
            header = t.cast(Fields, self._header)
            entries = min(t.cast(int, header.max_table_entries), MAX_TABLE // 4)
            taken.append((header.table_offset, header.table_offset + 4 * entries))
            batmap = read_batmap(self.storage, header)
            if batmap:
                taken += [(batmap.offset, batmap.offset + SECTOR), (batmap.batmap_offset, batmap.batmap_offset + batmap.batmap_size * SECTOR)]
            behind = array.array("I")
            for _first, piece in self._pieces(self._blocks, entries):
                behind.extend(_used(piece))
            blocks = ((sector * SECTOR, sector * SECTOR + stride) for sector in heapq.merge(self._sectors, sorted(behind)))
            find_leaks(heapq.merge(sorted(taken), blocks), self._end, stride, len(behind), result)
        return result

    def _pieces(self, first: int, end: int) -> t.Iterator[tuple[int, array.array[int]]]:
        """Entries ``first`` to ``end`` of the block allocation table, in pieces, each with its first entry's number."""
        offset = t.cast(Fields, self._header).table_offset
        for piece in range(first, end, _PIECE):
            count = min(_PIECE, end - piece)
            raw = self.storage.read_exact(offset + 4 * piece, 4 * count, "VHD block allocation table")
            yield piece, table(raw, "I", "big")


def _used(entries: array.array[int]) -> t.Iterable[int]:
    empty = not entries or (entries[0] == UNUSED and run_end(entries, 0, len(entries), 0) == len(entries))
    return () if empty else (entry for entry in entries if entry != UNUSED)


def _text(stored: bytes, codec: str) -> str:
    return stored.decode(codec, "replace").partition("\0")[0]
