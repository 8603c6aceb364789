# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The two-level mapping of guest to host clusters. Source: qemu, docs/interop/qcow2.rst, "Cluster mapping" and "Extended L2 Entries"."""

from __future__ import annotations

import array
import itertools
import operator
import re
import sys
import typing as t

from ...codecs import DEFLATE, ZSTD
from ...errors import CorruptImage, LimitExceeded
from ...extents import COMPRESSED, DATA, HOLE, ZERO, Extent, Stored
from ...limits import MIB
from ...storage.base import Storage
from . import layout

if t.TYPE_CHECKING:  # pragma: no cover
    from .layout import Header

_PIECE = 2 * MIB
"""bytes of a table read at once: the largest L2 table"""
_NOT_ZERO = re.compile(b"[^\\0]")
_ALIKE = {layout.ALL_SUBCLUSTERS: DATA, layout.ALL_SUBCLUSTERS << layout.SUBCLUSTERS: ZERO, 0: HOLE}
"""bitmaps of clusters whose subclusters are all of one kind"""


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


def require_own_tables(l1: array.array[int], storage: Storage, offset: int) -> None:
    """Two parts of the disk with one L2 table cannot both be right; and few bytes would stand for a large disk.

    :raises CorruptImage: two entries of the L1 table at ``offset`` are the same
    """
    tables = sorted(entry & layout.OFFSET_MASK for entry in filter(None, l1) if entry & layout.OFFSET_MASK)
    if not all(map(operator.ne, tables, itertools.islice(tables, 1, None))):
        raise CorruptImage("two entries of the L1 table name the same L2 table", path=storage.name, offset=offset)


def subcluster_runs(bitmap: int) -> t.Iterator[tuple[int, int, str]]:
    """First subcluster, number and kind of each run of subclusters of one kind."""
    zeros = bitmap >> layout.SUBCLUSTERS
    first = 0
    while first < layout.SUBCLUSTERS:
        bit = 1 << first
        if bitmap & bit:
            kind, same = DATA, bitmap & layout.ALL_SUBCLUSTERS
        elif zeros & bit:
            kind, same = ZERO, zeros
        else:
            kind, same = HOLE, ~(bitmap | zeros) & layout.ALL_SUBCLUSTERS
        others = ~(same >> first)
        count = (others & -others).bit_length() - 1  # ones below the lowest zero
        yield first, count, kind
        first += count


class Mapping:
    """One L1 table and the L2 tables below it: of the active state, or of a snapshot.

    :param storage: the qcow2 file
    :param size: the disk's, bytes
    :param l1_table_offset: bytes
    :param l1_size: entries; where the disk needs more, nothing is allocated there
    :raises CorruptImage, LimitExceeded: there can be no such L1 table
    """

    def __init__(self, storage: Storage, header: Header, size: int, l1_table_offset: int, l1_size: int) -> None:
        self.storage = storage
        self.header = header
        self.size = size
        self.l1_table_offset = l1_table_offset
        self.l1_size = l1_size
        self.data: Storage | None = None if header.data_elsewhere else storage
        """where the data clusters are"""
        self._l1: array.array[int] | None = None
        if l1_size * 8 > layout.MAX_L1_BYTES:
            raise LimitExceeded(f"an L1 table has {l1_size} entries; {layout.MAX_L1_BYTES // 8} is the most that is taken", path=storage.name)
        if l1_size and (l1_table_offset % header.cluster_size or not l1_table_offset):
            raise CorruptImage(f"the L1 table offset {l1_table_offset:#x} is not aligned to a cluster", path=storage.name)
        if l1_size:
            storage.require(l1_table_offset, l1_size * 8, "the L1 table")

    def l1_table(self) -> array.array[int]:
        """The L1 table, as far as the disk goes.

        :raises CorruptImage: two of its entries are the same
        """
        if self._l1 is None:
            needed = self.header.l1_entries(self.size)
            self._l1 = read_table(self.storage, self.l1_table_offset, min(needed, self.l1_size), "the L1 table")
            self._l1.frombytes(bytes(8 * (needed - len(self._l1))))
            require_own_tables(self._l1, self.storage, self.l1_table_offset)
        return self._l1

    def l2_tables(self) -> t.Iterator[int]:
        """The offsets of the L2 tables, in guest order."""
        return filter(None, (entry & layout.OFFSET_MASK for entry in filter(None, self.l1_table())))

    def l2_table(self, offset: int) -> array.array[int]:
        """The L2 table at a host offset: its entries, each followed by its bitmap if they are extended ones.

        :raises CorruptImage: it is not inside the file
        """
        return read_table(self.storage, offset, self.header.cluster_size // 8, "an L2 table")

    def l2_entries(self, offset: int) -> array.array[int]:
        """The entries alone, without bitmaps.

        :raises CorruptImage: the table is not inside the file
        """
        table = self.l2_table(offset)
        return table[::2] if self.header.extended_l2 else table

    def clusters(self, start: int, end: int) -> t.Iterator[Extent]:
        """Runs that cover the guest offsets ``start`` to ``end``, beginning at a cluster and bounded by the disk.

        :raises CorruptImage: a table contradicts the specification or names bytes behind the end of the file
        """
        header = self.header
        walk = self._extended if header.extended_l2 else self._standard
        span = 1 << (header.cluster_bits + header.l2_bits)
        l1 = self.l1_table()
        position = start
        while position < end:
            index = position // span
            base = index * span
            entry = l1[index]
            table_end = min(base + span, self.size)
            if not entry:
                table_end = min(zeros_end(l1, index, -(-end // span)) * span, self.size)
                yield Extent(base, table_end - base, HOLE)
            else:
                where = self.l1_table_offset + index * 8
                offset = entry & layout.OFFSET_MASK
                if offset & (header.cluster_size - 1):
                    raise CorruptImage(f"L2 table offset {offset:#x} is not aligned to a cluster", path=self.storage.name, offset=where)
                self._check_reserved(entry, layout.L1_RESERVED, where, "L1")
                if offset:
                    first = (position - base) >> header.cluster_bits
                    last = (min(end, table_end) - base + header.cluster_size - 1) >> header.cluster_bits
                    yield from walk(base, offset, first, last)
                else:
                    yield Extent(base, table_end - base, HOLE)
            position = table_end

    def _standard(self, base: int, table_offset: int, first: int, last: int) -> t.Iterator[Extent]:
        """The clusters ``first`` to ``last`` of one L2 table whose guest range begins at ``base``."""
        bits, cluster = self.header.cluster_bits, self.header.cluster_size
        table = self.l2_table(table_offset)
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
                yield self._compressed(entry, guest, where)
                index += 1
                continue
            zero = entry & layout.ZERO_FLAG if self.header.version == 3 else 0
            offset = self._host_offset(entry ^ zero, guest, where, not zero)
            # Follow the run as long as the next entry is just the next cluster with the same flags: one extent, no loop above.
            step = cluster if offset or not zero else 0  # zeros with an offset: room is reserved there
            run, expected = index + 1, entry + step
            while run < last and table[run] == expected:
                run += 1
                expected += step
            yield self._run(guest, (run - index) << bits, ZERO if zero else DATA, offset)
            index = run

    def _extended(self, base: int, table_offset: int, first: int, last: int) -> t.Iterator[Extent]:
        """As :meth:`_standard`, where each entry has a bitmap of the cluster's 32 subclusters."""
        bits, cluster = self.header.cluster_bits, self.header.cluster_size
        table = self.l2_table(table_offset)
        entries, bitmaps = table[::2], table[1::2]
        index = first
        while index < last:
            entry, bitmap = entries[index], bitmaps[index]
            guest = base + (index << bits)
            if not entry and not bitmap:
                run = min(zeros_end(table, 2 * index, 2 * last) // 2, last)
                yield Extent(guest, self._bounded(guest, (run - index) << bits), HOLE)
                index = run
                continue
            where = table_offset + index * 16
            if entry & layout.COMPRESSED_FLAG:
                if bitmap:
                    raise CorruptImage("a compressed cluster has a bitmap of subclusters", path=self.storage.name, offset=where)
                yield self._compressed(entry, guest, where)
                index += 1
                continue
            if bitmap >> layout.SUBCLUSTERS & bitmap:
                raise CorruptImage("a subcluster is said to have data and to be zeros", path=self.storage.name, offset=where)
            allocated = bool(bitmap & layout.ALL_SUBCLUSTERS)
            offset = self._host_offset(entry, guest, where, allocated)
            if allocated and not entry:
                raise CorruptImage("subclusters have data and the cluster no offset", path=self.storage.name, offset=where)
            kind = _ALIKE.get(bitmap)
            if kind is None:
                yield from self._mixed(guest, offset, bitmap)
                index += 1
                continue
            step = cluster if offset or allocated else 0
            run, expected = index + 1, entry + step
            while run < last and entries[run] == expected and bitmaps[run] == bitmap:
                run += 1
                expected += step
            yield self._run(guest, (run - index) << bits, kind, offset)
            index = run

    def _mixed(self, guest: int, offset: int, bitmap: int) -> t.Iterator[Extent]:
        """One cluster whose subclusters are of different kinds."""
        size = self.header.cluster_size // layout.SUBCLUSTERS
        for first, count, kind in subcluster_runs(bitmap):
            moved = first * size
            if guest + moved >= self.size:
                break
            yield self._run(guest + moved, count * size, kind, offset + moved)

    def _run(self, guest: int, length: int, kind: str, offset: int) -> Extent:
        length = self._bounded(guest, length)
        if kind != DATA:
            return Extent(guest, length, kind)
        data = t.cast(Storage, self.data)
        data.require(offset, length, f"the data of guest offset {guest:#x}")
        return Extent(guest, length, DATA, data, offset)

    def _compressed(self, entry: int, guest: int, where: int) -> Extent:
        header, storage = self.header, self.storage
        if header.data_elsewhere:
            raise CorruptImage("a compressed cluster in an image whose data is in another file", path=storage.name, offset=where)
        offset, length = header.compressed_range(entry)
        if header.cluster_bits == 9 and offset >> 56:
            raise CorruptImage(f"compressed cluster offset {offset:#x} is too large", path=storage.name, offset=where)
        # The last sectors may run past the end of the file, the first byte may not.
        storage.require(offset, 1, "a compressed cluster")
        stored = Stored(ZSTD if header.compression_type else DEFLATE, length, header.cluster_size, 0)
        return Extent(guest, self._bounded(guest, header.cluster_size), COMPRESSED, storage, offset, stored)

    def _host_offset(self, entry: int, guest: int, where: int, has_data: bool) -> int:
        """The offset in a standard entry without the zero flag, checked."""
        header, name = self.header, self.storage.name
        self._check_reserved(entry, layout.L2_RESERVED | layout.ZERO_FLAG, where, "L2")
        offset = entry & layout.OFFSET_MASK
        if offset & (header.cluster_size - 1):
            raise CorruptImage(f"data cluster offset {offset:#x} is not aligned to a cluster", path=name, offset=where)
        if header.data_elsewhere:
            if has_data and offset != guest:
                raise CorruptImage(f"the data of guest offset {guest:#x} is said to be at {offset:#x} of the data file", path=name, offset=where)
        elif has_data and entry and not offset:
            raise CorruptImage("an L2 entry has the COPIED flag but no offset", path=name, offset=where)
        return offset

    def _bounded(self, guest: int, length: int) -> int:
        return min(length, self.size - guest)

    def _check_reserved(self, entry: int, mask: int, where: int, table: str) -> None:
        if entry & mask:
            raise CorruptImage(f"{table} entry {entry:#018x} has reserved bits set", path=self.storage.name, offset=where)
