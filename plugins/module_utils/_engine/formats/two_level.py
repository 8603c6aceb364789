# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What qcow (version 1) and QED have in common: an L1 table of L2 tables of clusters, and nothing that counts references.

Sources: qemu, block/qcow.c and docs/interop/qed_spec.rst, section "Tables".
"""

from __future__ import annotations

import abc
import array
import re
import sys
import typing as t
from bisect import bisect_left

from ..errors import CorruptImage, LimitExceeded
from ..extents import HOLE, Extent, merge, skip_holes
from ..limits import MIB
from ..storage.base import Storage
from .base import CheckResult, Reader

MAX_L1_ENTRIES = 512 * MIB // 8
"""A qcow of 64 TiB with the usual clusters has half as many"""
MAX_L2_TABLES = 1 << 20
"""L2 tables that are in use: 2 TiB of data in a qcow with the usual clusters"""
MAX_CHECKED_RANGES = 1 << 20
"""Tables and runs of clusters that a check may have to sort"""
_PIECE = 1 << 16
"""entries of a table read at once (512 KiB)"""
_NOT_ZERO = re.compile(b"[^\\0]")


class TwoLevelReader(Reader):
    """The walk through the tables; a format says what an entry of an L2 table means.

    A subclass calls :meth:`set_tables` when it has checked its header.
    """

    order: str
    """byte order of the tables, as :data:`sys.byteorder` says it"""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self._indexes = array.array("Q")
        self._offsets = array.array("Q")
        self._known = False

    def set_tables(self, l1_offset: int, l2_entries: int, cluster_size: int, first: int, l1_size: int | None = None) -> None:
        """Where the tables are. ``virtual_size`` is set already.

        :param l1_offset: host offset of the L1 table, bytes
        :param l2_entries: entries of one L2 table
        :param cluster_size: bytes
        :param first: where the header ends and tables and clusters may begin (host offset, bytes)
        :param l1_size: bytes of the L1 table, where they are more than the disk needs
        :raises LimitExceeded: the L1 table is too large
        :raises CorruptImage: it is not inside the file, lies in the header, or is too small
        """
        self.l1_offset, self.l2_entries, self.cluster_size, self.first = l1_offset, l2_entries, cluster_size, first
        self.l1_entries = -(-self.virtual_size // (l2_entries * cluster_size))
        """entries that the disk needs; there may be more"""
        if self.l1_entries > MAX_L1_ENTRIES:
            raise LimitExceeded(f"the L1 table has {self.l1_entries} entries; {MAX_L1_ENTRIES} is the most that is taken", path=self.storage.name)
        if l1_offset < first:
            raise CorruptImage(f"the L1 table begins inside the header ({first} bytes)", path=self.storage.name, offset=l1_offset)
        self.l1_size = 8 * self.l1_entries if l1_size is None else l1_size
        if self.l1_size < 8 * self.l1_entries:
            raise CorruptImage(f"the L1 table cannot hold a disk of {self.virtual_size} bytes", path=self.storage.name, offset=l1_offset)
        self.storage.require(l1_offset, self.l1_size, "the L1 table")

    @abc.abstractmethod
    def runs(self, guest: int, entries: array.array[int], where: int) -> t.Iterator[Extent]:
        """What some entries of an L2 table mean, in runs; the last cluster of the disk may reach beyond its end.

        :param guest: guest offset of the first entry's cluster, bytes
        :param where: host offset of the first entry
        :raises CorruptImage: an entry contradicts the specification or names bytes behind the end of the file
        """

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        self.require_readable()
        start, end = self.range(start, length)
        if start < end:
            yield from merge(skip_holes(self.over_parent((extent.clip(start, end) for extent in self._own(start, end)), end)))

    def check(self) -> CheckResult:
        """The general check; then whether anything is used twice, which no such format has a reason for."""
        result = super().check()
        if not result.corruptions:
            ranges = sorted(self._used())
            for (one, length, what), (other, _length, that) in zip(ranges, ranges[1:]):
                if one + length > other:
                    result.corruptions.append(f"{what} at byte {one:#x} and {that} at {other:#x} overlap")
                    break
            else:
                self.check_gaps(ranges, result)
        return result

    def check_gaps(self, ranges: list[tuple[int, int, str]], result: CheckResult) -> None:
        """Look at what nothing uses, where the format allows no such thing.

        :param ranges: (host offset, bytes, what) of all that is used, in order and without overlaps
        """

    def _own(self, start: int, end: int) -> t.Iterator[Extent]:
        """The runs of the image itself that cover ``start`` to ``end``, beginning at a cluster and bounded by the disk."""
        self._read_l1()
        cluster, size = self.cluster_size, self.virtual_size
        span = self.l2_entries * cluster
        position = start // cluster * cluster
        number = bisect_left(self._indexes, position // span)
        while position < end:
            base = self._indexes[number] * span if number < len(self._indexes) else size
            if position < base:
                yield Extent(position, base - position, HOLE)
                position = base
                continue
            last = -(-(min(end, base + span) - base) // cluster)
            for index in range((position - base) // cluster, last, _PIECE):
                where = self._offsets[number] + 8 * index
                entries = self.table(where, min(_PIECE, last - index), "an L2 table")
                yield from (extent.clip(0, size) for extent in self.runs(base + index * cluster, entries, where))
            position = base + span
            number += 1

    def _read_l1(self) -> None:
        """Once, before the first extent is given: the L2 tables lie in the file, and on no other one, nor on the L1 table.

        Two parts of the disk with one L2 table cannot both be right; and few bytes would stand for a large disk.
        """
        if self._known:
            return
        name, size = self.storage.name, 8 * self.l2_entries
        indexes, offsets = array.array("Q"), array.array("Q")
        for piece in range(0, self.l1_entries, _PIECE):
            entries = self.table(self.l1_offset + 8 * piece, min(_PIECE, self.l1_entries - piece), "the L1 table")
            if entries.tobytes() != bytes(8 * len(entries)):
                found = [index for index, entry in enumerate(entries) if entry]
                indexes.extend(piece + index for index in found)
                offsets.extend(entries[index] for index in found)
            if len(offsets) > MAX_L2_TABLES:
                raise LimitExceeded(f"the L1 table names more than {MAX_L2_TABLES} L2 tables", path=name, offset=self.l1_offset)
        tables = sorted(offsets)
        if tables:
            self.storage.require(tables[-1], size, "an L2 table")
        for one, other in zip(tables, tables[1:]):
            if other - one < size:
                raise CorruptImage("two entries of the L1 table name the same bytes", path=name, offset=other)
        if tables and tables[0] < self.first:
            raise CorruptImage("an L2 table lies in the header", path=name, offset=tables[0])
        before = bisect_left(tables, self.l1_offset + self.l1_size)
        if before and tables[before - 1] + size > self.l1_offset:
            raise CorruptImage("an L2 table lies on the L1 table", path=name, offset=tables[before - 1])
        self._indexes, self._offsets, self._known = indexes, offsets, True

    def _used(self) -> list[tuple[int, int, str]]:
        """(host offset, bytes, what) of all that the image uses, in no order; clusters that lie one behind the other together."""
        ranges = [(self.l1_offset, self.l1_size, "the L1 table")]
        ranges += ((offset, 8 * self.l2_entries, "an L2 table") for offset in self._offsets)
        start = end = 0
        for extent in self._own(0, self.virtual_size):
            if extent.is_zero:
                continue
            if extent.offset != end:
                ranges.append((start, end - start, "clusters"))
                start = extent.offset
            length = -(-extent.length // self.cluster_size) * self.cluster_size if extent.stored is None else extent.stored.length
            end = extent.offset + length
            if len(ranges) > MAX_CHECKED_RANGES:
                raise LimitExceeded(f"the image is in more than {MAX_CHECKED_RANGES} pieces: too many to check", path=self.storage.name)
        return [*ranges, (start, end - start, "clusters")]

    def table(self, offset: int, count: int, what: str) -> array.array[int]:
        """``count`` entries of the table at a host offset.

        :raises CorruptImage: they are not inside the file
        """
        entries = array.array("Q", self.storage.read_exact(offset, 8 * count, what))
        if sys.byteorder != self.order:
            entries.byteswap()
        return entries


def run_end(entries: array.array[int], index: int, step: int) -> int:
    """Where the entries from ``index`` on do not go on in steps of ``step`` any more."""
    count, expected = len(entries), entries[index] + step
    if not expected:
        found = _NOT_ZERO.search(t.cast(bytes, entries), index * 8)
        return found.start() // 8 if found else count
    after = index + 1
    while after < count and entries[after] == expected:
        after += 1
        expected += step
    return after
