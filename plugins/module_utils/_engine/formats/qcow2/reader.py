# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Reading qcow2. Source: qemu, docs/interop/qcow2.rst, sections "L1/L2 tables" and "Compressed Clusters Descriptor"."""

from __future__ import annotations

import array
import itertools
import operator
import re
import sys
import typing as t

from ...codecs import DEFLATE, ZSTD
from ...errors import CorruptImage, printable
from ...extents import COMPRESSED, DATA, HOLE, ZERO, Extent, Stored, merge, skip_holes
from ...limits import MIB
from ...storage.base import Storage
from ..base import CheckResult, ImageInfo, Reader, Reference
from . import layout
from .snapshots import read_snapshots

if t.TYPE_CHECKING:  # pragma: no cover
    from ..chain import Files

_TABLES_FOR_DESCRIPTION = 8
_PIECE = 2 * MIB
"""bytes of a table read at once: the largest L2 table"""
_NOT_ZERO = re.compile(b"[^\\0]")


def read_table(storage: Storage, offset: int, count: int, what: str) -> array.array[int]:
    """A table of ``count`` 64-bit big-endian entries as integers; ``what`` names it for messages.

    :raises CorruptImage: it is not inside the storage
    """
    storage.require(offset, 8 * count, what)
    entries = array.array("Q")
    for at in range(0, 8 * count, _PIECE):
        entries.frombytes(storage.read_exact(offset + at, min(_PIECE, 8 * count - at), what))
    if sys.byteorder == "little":
        entries.byteswap()
    return entries


def zeros_end(table: array.array[int], index: int, last: int) -> int:
    """Where the entries from ``index`` on are not zero any more; at most ``last``."""
    found = _NOT_ZERO.search(t.cast(bytes, table), index * 8, last * 8)
    return found.start() // 8 if found else last


class Qcow2Reader(Reader):
    """A qcow2 image, version 2 or 3: its active state."""

    format = "qcow2"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self.header = layout.read_header(storage)
        self.virtual_size = self.header.size
        self._data: Storage | None = None if self.header.incompatible_features & layout.DATA_FILE else storage
        """where the data clusters are"""
        self._l1: array.array[int] | None = None
        self.snapshots = read_snapshots(storage, self.header)

    def describe(self) -> ImageInfo:
        header = self.header
        specific: dict[str, t.Any] = {
            "compat": "1.1" if header.version == 3 else "0.10",
            "compression_type": layout.COMPRESSION_NAMES[header.compression_type],
            "refcount_bits": 1 << header.refcount_order,
        }
        if header.version == 3:
            specific["lazy_refcounts"] = bool(header.compatible_features & layout.COMPATIBLE_LAZY_REFCOUNTS)
            specific["corrupt"] = bool(header.incompatible_features & layout.CORRUPT)
            specific["extended_l2"] = bool(header.incompatible_features & layout.EXTENDED_L2)
        if header.crypt_method:
            specific["encrypt_format"] = "luks" if header.crypt_method == 2 else "aes"
        if header.bitmaps:
            specific["bitmaps"] = header.bitmaps
        return ImageInfo(
            format=self.format,
            virtual_size=self.virtual_size,
            cluster_size=header.cluster_size,
            compressed=self._is_compressed(),
            encrypted=bool(header.crypt_method),
            dirty=bool(header.incompatible_features & layout.DIRTY),
            snapshots=self.snapshots,
            references=self.references(),
            format_specific=specific,
        )

    def references(self) -> list[Reference]:
        found = []
        if self.header.backing_file is not None:
            found.append(Reference("backing", self.header.backing_file, self.header.backing_format))
        if self.header.data_file is not None or self.header.incompatible_features & layout.DATA_FILE:
            found.append(Reference("data_file", self.header.data_file or "", "raw"))
        return found

    def follow(self, files: Files) -> None:
        header = self.header
        if header.crypt_method or header.incompatible_features & layout.EXTENDED_L2:
            return
        if self._data is None and header.data_file:
            self._data = files.open(header.data_file)
        if header.backing_file is not None:
            self.parent = files.image([header.backing_file], header.backing_format or None)

    def unreadable_reason(self) -> str | None:
        header = self.header
        if header.crypt_method:
            return f"the content is encrypted ({'LUKS' if header.crypt_method == 2 else 'AES'}); decrypt it with qemu-img first"
        if self._data is None:
            return f"the data lies in another file, {self._named(header.data_file)}"
        if header.backing_file is not None and self.parent is None:
            name = self._named(header.backing_file)
            return f"the image is an overlay; the rest of its data lies in the backing file, {name}; merge them first (qemu-img convert does)"
        if header.incompatible_features & layout.EXTENDED_L2:
            return "extended L2 entries are not supported yet; rewrite the image with qemu-img convert -o extended_l2=off"
        return None

    def _named(self, name: str | None) -> str:
        return f"'{printable(name)}'" if name else "which it does not name"

    def _is_compressed(self) -> bool | None:
        """Whether any cluster is compressed, by the first tables alone: an image is compressed as a whole or not at all."""
        if self.unreadable_reason() is not None:
            return False
        stored = False
        tables = (entry & layout.OFFSET_MASK for entry in filter(None, self.l1_table()))
        for offset in itertools.islice(filter(None, tables), _TABLES_FOR_DESCRIPTION):
            for entry in filter(None, self.l2_table(offset)):
                if entry & layout.COMPRESSED_FLAG:
                    return True
                stored = True
        return False if stored else None

    def l1_table(self) -> array.array[int]:
        """The active L1 table, as far as the disk goes.

        :raises CorruptImage: two of its entries are the same
        """
        if self._l1 is None:
            self._l1 = read_table(self.storage, self.header.l1_table_offset, self.header.l1_needed, "the L1 table")
            self._require_own_tables(self._l1)
        return self._l1

    def _require_own_tables(self, l1: array.array[int]) -> None:
        """Two parts of the disk with one L2 table cannot both be right; and few bytes would stand for a large disk."""
        tables = sorted(entry & layout.OFFSET_MASK for entry in filter(None, l1) if entry & layout.OFFSET_MASK)
        if not all(map(operator.ne, tables, itertools.islice(tables, 1, None))):
            raise CorruptImage("two entries of the L1 table name the same L2 table", path=self.storage.name, offset=self.header.l1_table_offset)

    def l2_table(self, offset: int) -> array.array[int]:
        """The L2 table at a host offset.

        :raises CorruptImage: it is not inside the file
        """
        return read_table(self.storage, offset, self.header.cluster_size // 8, "an L2 table")

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        self.require_readable()
        start, end = self.range(start, length)
        yield from merge(skip_holes(self.over_parent((extent.clip(start, end) for extent in merge(self._clusters(start, end))), end)))

    def _clusters(self, start: int, end: int) -> t.Iterator[Extent]:
        """Runs that cover ``start`` to ``end``, beginning at a cluster and bounded by the disk."""
        header = self.header
        span = 1 << (header.cluster_bits + header.l2_bits)
        l1 = self.l1_table()
        position = start
        while position < end:
            index = position // span
            entry = l1[index]
            table_end = min((index + 1) * span, self.virtual_size)
            if not entry:
                table_end = min(zeros_end(l1, index, -(-end // span)) * span, self.virtual_size)
                yield Extent(index * span, table_end - index * span, HOLE)
            elif not entry & layout.OFFSET_MASK:
                self._check_reserved(entry, layout.L1_RESERVED, header.l1_table_offset + index * 8, "L1")
                yield Extent(index * span, table_end - index * span, HOLE)
            else:
                offset = entry & layout.OFFSET_MASK
                if offset & (header.cluster_size - 1):
                    raise CorruptImage(
                        f"L2 table offset {offset:#x} is not aligned to a cluster", path=self.storage.name, offset=header.l1_table_offset + index * 8
                    )
                self._check_reserved(entry, layout.L1_RESERVED, header.l1_table_offset + index * 8, "L1")
                first = (position - index * span) >> header.cluster_bits
                last = (min(end, table_end) - index * span + header.cluster_size - 1) >> header.cluster_bits
                yield from self._table(index * span, offset, first, last)
            position = table_end

    def _table(self, base: int, table_offset: int, first: int, last: int) -> t.Iterator[Extent]:
        """The clusters ``first`` to ``last`` of one L2 table whose guest range begins at ``base``."""
        header, storage, data = self.header, self.storage, t.cast(Storage, self._data)
        elsewhere = data is not storage
        bits, cluster = header.cluster_bits, header.cluster_size
        table = self.l2_table(table_offset)
        zero_allowed = header.version == 3
        shift = 62 - (bits - 8)
        index = first
        while index < last:
            entry = table[index]
            guest = base + (index << bits)
            if entry == 0:
                run = zeros_end(table, index, last)
                yield Extent(guest, self._bounded(guest, (run - index) << bits), HOLE)
                index = run
                continue
            where = table_offset + index * 8
            if entry & layout.COMPRESSED_FLAG:
                if elsewhere:
                    raise CorruptImage("a compressed cluster in an image whose data is in another file", path=storage.name, offset=where)
                offset = entry & ((1 << shift) - 1)
                sectors = (entry & (layout.COMPRESSED_FLAG - 1)) >> shift
                if bits == 9 and offset >> 56:
                    raise CorruptImage(f"compressed cluster offset {offset:#x} is too large", path=storage.name, offset=where)
                stored = (sectors + 1) * 512 - (offset & 511)
                # The last sectors may run past the end of the file, the first byte may not.
                storage.require(offset, 1, "a compressed cluster")
                codec = ZSTD if header.compression_type else DEFLATE
                yield Extent(guest, self._bounded(guest, cluster), COMPRESSED, storage, offset, Stored(codec, stored, cluster, 0))
                index += 1
                continue
            self._check_reserved(entry, layout.L2_RESERVED | (0 if zero_allowed else layout.ZERO_FLAG), where, "L2")
            offset = entry & layout.OFFSET_MASK
            if offset & (cluster - 1):
                raise CorruptImage(f"data cluster offset {offset:#x} is not aligned to a cluster", path=storage.name, offset=where)
            if entry & layout.ZERO_FLAG:
                run, expected, step = index + 1, entry, cluster if offset else 0  # with an offset: room is reserved there
                while run < last and table[run] == expected + step:
                    run += 1
                    expected += step
                yield Extent(guest, self._bounded(guest, (run - index) << bits), ZERO)
                index = run
                continue
            if elsewhere and offset != guest:
                raise CorruptImage(f"the data of guest offset {guest:#x} is said to be at {offset:#x} of the data file", path=storage.name, offset=where)
            if not offset and not elsewhere:
                raise CorruptImage("an L2 entry has the COPIED flag but no offset", path=storage.name, offset=where)
            # Follow the run as long as the next entry is just the next cluster with the same flags: one extent, no loop above.
            run, expected = index + 1, entry + cluster
            while run < last and table[run] == expected:
                run += 1
                expected += cluster
            length = self._bounded(guest, (run - index) << bits)
            data.require(offset, length, f"the data of guest offset {guest:#x}")
            yield Extent(guest, length, DATA, data, offset)
            index = run

    def _bounded(self, guest: int, length: int) -> int:
        return min(length, self.virtual_size - guest)

    def _check_reserved(self, entry: int, mask: int, where: int, table: str) -> None:
        if entry & mask:
            raise CorruptImage(f"{table} entry {entry:#018x} has reserved bits set", path=self.storage.name, offset=where)

    def check(self) -> CheckResult:
        from .check import check_refcounts

        result = super().check()
        if not result.corruptions:
            check_refcounts(self, result)
        return result
