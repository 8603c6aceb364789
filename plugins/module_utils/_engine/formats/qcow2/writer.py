# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Writing qcow2. Source: qemu, docs/interop/qcow2.rst; what the creation options do to a file: qemu, block/qcow2.c."""

from __future__ import annotations

import array
import typing as t

from ...errors import UnsupportedImage
from ...limits import MIB
from ..base import Target, Writer, whole_sectors
from . import layout
from .header_writer import make_header
from .options import read_options
from .refcounts import to_big_endian, write_refcounts

if t.TYPE_CHECKING:  # pragma: no cover
    from ...storage.sink import Sink

_ZEROS = bytes(2 * MIB)
"""as many zeros as are written at once; no cluster is larger"""
_ALLOCATED, _READS_AS_ZEROS = 0, layout.SUBCLUSTERS
"""where the subclusters' bits begin in the second word of an extended L2 entry"""


def create(sink: Sink, virtual_size: int, target: Target) -> Writer:
    """The writer for a target's options.

    :raises UnsupportedImage: they are not possible, or not for a disk of that size
    """
    if target.compress:
        from .compressed_writer import CompressedQcow2Writer

        return CompressedQcow2Writer(sink, virtual_size, target)
    return (ExtendedQcow2Writer if read_options(target).extended_l2 else Qcow2Writer)(sink, virtual_size, target)


class Qcow2Writer(Writer):
    """Uncompressed clusters, appended in guest order.

    Layout: header, data and L2 tables as they come, L1 table, refcount blocks, refcount table. Everything is written
    once; the tables' places are known when the data is, and the header comes last. With preallocation every guest
    cluster gets its host cluster, in guest order, too: those without content are filled with what the file system
    gives for nothing, or with zeros.
    """

    def __init__(self, sink: Sink, virtual_size: int, target: Target) -> None:
        super().__init__(sink, whole_sectors(virtual_size), target)
        self.options = read_options(target)
        self._bits = self.options.cluster_bits
        self._cluster = self.unit = self.options.cluster_size
        self._words = 2 if self.options.extended_l2 else 1
        """64-bit words of an L2 entry"""
        self._l2_entries = self._cluster // (8 * self._words)
        tables = max(1, -(-self.virtual_size // (self._cluster * self._l2_entries)))
        if tables * 8 > layout.MAX_L1_BYTES:
            raise UnsupportedImage(f"a disk of {virtual_size} bytes needs larger clusters than {self._cluster} bytes (option cluster_size)")
        self._l1 = array.array("Q", bytes(8 * tables))
        self._table: array.array[int] | None = None
        self._table_index = -1
        self._end = self._cluster  # the first cluster is the header's
        self._next = 0
        """the guest cluster behind the last one that has a host cluster"""
        self._all = -(-self.virtual_size // self._cluster)
        if self.options.preallocation in ("falloc", "full"):
            sink.allocate(0, (1 + self._all + tables) * self._cluster)

    def write(self, start: int, data: t.Any) -> None:
        first = start >> self._bits
        self._reserve(first)
        offset, clusters = self._take(len(data))
        self.sink.write_at(offset, data)
        self._map(first, clusters, offset)

    def write_zeros(self, start: int, length: int) -> None:
        if self.options.preallocation != "off":
            return  # there is no backing file, and what is allocated reads as zeros
        if self.options.version == 2:
            self._store_zeros(start, start + length)
            return
        for slot, count, _done in self._slots(start >> self._bits, -(-length >> self._bits)):
            table = t.cast("array.array[int]", self._table)
            if self._words == 1:
                table[slot : slot + count] = array.array("Q", [layout.ZERO_FLAG]) * count
            else:
                table[2 * slot + 1 : 2 * (slot + count) : 2] = array.array("Q", [layout.ALL_SUBCLUSTERS << _READS_AS_ZEROS]) * count

    def _store_zeros(self, start: int, end: int) -> None:
        """Version 2 cannot say that a cluster reads as zeros: they are data."""
        for at in range(start, end, len(_ZEROS)):
            self.write(at, memoryview(_ZEROS)[: end - at])

    def _take(self, length: int) -> tuple[int, int]:
        """Host clusters at the end of the file for so many bytes: offset, number."""
        offset, clusters = self._end, -(-length // self._cluster)
        self._end += clusters * self._cluster  # before they are entered: a table that is finished on the way goes behind
        return offset, clusters

    def _reserve(self, until: int) -> None:
        """With preallocation: host clusters for all guest clusters before ``until`` that have none."""
        count = until - self._next
        if self.options.preallocation == "off" or count <= 0:
            return
        offset, clusters = self._take(count * self._cluster)
        if self.options.preallocation == "full":
            for at in range(offset, self._end, len(_ZEROS)):
                self.sink.write_at(at, memoryview(_ZEROS)[: self._end - at])
        self._map(self._next, clusters, offset)

    def _map(self, first: int, clusters: int, offset: int) -> None:
        """Enter consecutive host clusters for consecutive guest clusters."""
        for slot, count, done in self._slots(first, clusters):
            begin = offset + done * self._cluster | layout.COPIED
            entries = array.array("Q", range(begin, begin + count * self._cluster, self._cluster))
            t.cast("array.array[int]", self._table)[slot * self._words : (slot + count) * self._words : self._words] = entries
        self._next = first + clusters

    def _slots(self, first: int, clusters: int) -> t.Iterator[tuple[int, int, int]]:
        """Guest clusters by the L2 tables that map them: slot in the current table, number of clusters, clusters before them."""
        done = 0
        while done < clusters:
            index, slot = divmod(first + done, self._l2_entries)
            count = min(clusters - done, self._l2_entries - slot)
            self._table_for(index)
            yield slot, count, done
            done += count

    def _table_for(self, index: int) -> array.array[int]:
        """The L2 table of an L1 slot; the guest order is rising, so an earlier one is finished."""
        if index != self._table_index:
            self._flush_table()
            self._table = array.array("Q", bytes(self._cluster))
            self._table_index = index
        return t.cast("array.array[int]", self._table)

    def _flush_table(self) -> None:
        if self._table is not None:
            self._align()
            self.sink.write_at(self._end, to_big_endian(self._table))
            self._l1[self._table_index] = self._end | layout.COPIED
            self._end += self._cluster
            self._table = None

    def _align(self) -> None:
        self._end = -(-self._end // self._cluster) * self._cluster

    def finish(self) -> None:
        self._reserve(self._all)
        self._flush_table()
        self._align()
        l1_offset = self._end
        self.sink.write_at(l1_offset, to_big_endian(self._l1))
        self._end = l1_offset + len(self._l1) * 8
        self._align()
        table = write_refcounts(self.sink, self._end, self._counts(), self.options)
        self._end = table[0] + table[1] * self._cluster
        self.sink.write_at(0, make_header(self.options, self.virtual_size, (l1_offset, len(self._l1)), table))
        self.sink.truncate(self._end)

    def _counts(self) -> array.array[int]:
        """Refcounts of the first clusters; those behind are used once, and that are all of them here."""
        return array.array("H")


class ExtendedQcow2Writer(Qcow2Writer):
    """Clusters of which only those subclusters are written, and said to be there, that hold something."""

    def __init__(self, sink: Sink, virtual_size: int, target: Target) -> None:
        super().__init__(sink, virtual_size, target)
        self.unit = self._cluster // layout.SUBCLUSTERS
        self._host = 0
        """the host cluster of the guest cluster before ``_next``"""

    def write(self, start: int, data: t.Any) -> None:
        for begin, end in self._by_table(start, start + len(data)):
            self._write_part(begin, end, memoryview(data)[begin - start : end - start])

    def _write_part(self, start: int, end: int, data: memoryview) -> None:
        first = start >> self._bits
        self._reserve(first)
        if first < self._next:  # the cluster has begun before
            piece = min(end, self._next << self._bits)
            self.sink.write_at(self._host + (start & (self._cluster - 1)), data[: piece - start])
            self._mark(start, piece, _ALLOCATED)
            data, start = data[piece - start :], piece
        if start < end:
            within = start & (self._cluster - 1)
            offset, clusters = self._take(within + end - start)
            self.sink.write_at(offset + within, data)
            self._map(start >> self._bits, clusters, offset)
            self._mark(start, end, _ALLOCATED)

    def write_zeros(self, start: int, length: int) -> None:
        for begin, end in self._by_table(start, start + length):
            self._reserve(-(-end >> self._bits))
            self._mark(begin, end, _READS_AS_ZEROS)

    def _map(self, first: int, clusters: int, offset: int) -> None:
        super()._map(first, clusters, offset)
        self._host = offset + (clusters - 1) * self._cluster

    def _by_table(self, start: int, end: int) -> t.Iterator[tuple[int, int]]:
        """A guest range cut where another L2 table begins: one that is finished takes no more bits."""
        span = self._cluster * self._l2_entries
        while start < end:
            stop = min(end, (start // span + 1) * span)
            yield start, stop
            start = stop

    def _mark(self, start: int, end: int, kind: int) -> None:
        """Set a bit for each subcluster of a guest range that one L2 table maps."""
        table = self._table_for((start >> self._bits) // self._l2_entries)
        at, stop = start // self.unit, -(-end // self.unit)
        while at < stop:
            cluster, bit = divmod(at, layout.SUBCLUSTERS)
            slot = cluster % self._l2_entries
            whole = 0 if bit else (stop - at) // layout.SUBCLUSTERS
            if whole:
                table[2 * slot + 1 : 2 * (slot + whole) : 2] = array.array("Q", [layout.ALL_SUBCLUSTERS << kind]) * whole
                at += whole * layout.SUBCLUSTERS
            else:
                count = min(layout.SUBCLUSTERS - bit, stop - at)
                table[2 * slot + 1] |= ((1 << count) - 1) << (bit + kind)
                at += count
