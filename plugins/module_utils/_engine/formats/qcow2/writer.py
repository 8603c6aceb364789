# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Writing qcow2. Source: qemu, docs/interop/qcow2.rst; the compressed stream's 4 KiB window: qemu, block/qcow2-threads.c."""

from __future__ import annotations

import array
import sys
import typing as t
import zlib

from ...errors import UnsupportedImage
from ...limits import KIB, MIB
from ..base import Target, Writer, whole_sectors
from . import layout

if t.TYPE_CHECKING:  # pragma: no cover
    from ...storage.sink import Sink

_LEVEL = 5
"""With a window of 4 KiB, level 6 (qemu-img's) takes a third longer and saves a thousandth"""
_WRITE_TABLES = 1 * MIB
"""L2 tables are written in pieces of this many bytes"""


class Qcow2Writer(Writer):
    """Uncompressed clusters, appended in guest order.

    Layout: header, data and L2 tables as they come, L1 table, refcount blocks, refcount table. Everything is written
    once; the tables' places are known when the data is, and the header comes last.
    """

    def __init__(self, sink: Sink, virtual_size: int, target: Target) -> None:
        super().__init__(sink, whole_sectors(virtual_size), target)
        self._version = _version(target)
        self._bits = _cluster_bits(target)
        self.unit = 1 << self._bits
        self._l2_entries = self.unit // 8
        span = self.unit * self._l2_entries
        tables = max(1, -(-self.virtual_size // span))
        if tables * 8 > layout.MAX_L1_BYTES:
            raise UnsupportedImage(f"a disk of {virtual_size} bytes needs larger clusters than {self.unit} bytes (option cluster_size)")
        self._l1 = array.array("Q", bytes(8 * tables))
        self._table: array.array[int] | None = None
        self._table_index = -1
        self._end = self.unit  # the first cluster is the header's

    def write(self, start: int, data: t.Any) -> None:
        offset = self._end
        clusters = -(-len(data) // self.unit)
        self._end += clusters * self.unit  # first of all: a table that is finished on the way goes behind the data
        self.sink.write_at(offset, data)
        self._map(start >> self._bits, clusters, offset)

    def _map(self, first: int, clusters: int, offset: int) -> None:
        """Enter consecutive host clusters for consecutive guest clusters."""
        while clusters:
            table = self._table_for(first // self._l2_entries)
            slot = first % self._l2_entries
            count = min(clusters, self._l2_entries - slot)
            table[slot : slot + count] = array.array("Q", range(offset | layout.COPIED, (offset + count * self.unit) | layout.COPIED, self.unit))
            first, clusters, offset = first + count, clusters - count, offset + count * self.unit

    def _table_for(self, index: int) -> array.array[int]:
        """The L2 table of an L1 slot; the guest order is rising, so an earlier one is finished."""
        if index != self._table_index:
            self._flush_table()
            self._table = array.array("Q", bytes(self.unit))
            self._table_index = index
        return t.cast("array.array[int]", self._table)

    def _flush_table(self) -> None:
        if self._table is not None:
            self._end = _align(self._end, self.unit)
            self.sink.write_at(self._end, to_big_endian(self._table))
            self._l1[self._table_index] = self._end | layout.COPIED
            self._end += self.unit
            self._table = None

    def finish(self) -> None:
        self._flush_table()
        self._end = _align(self._end, self.unit)
        l1_offset = self._end
        self.sink.write_at(l1_offset, to_big_endian(self._l1))
        self._end = _align(l1_offset + len(self._l1) * 8, self.unit)
        table_offset, table_clusters = self._write_refcounts()
        self.sink.write_at(0, self._header(l1_offset, table_offset, table_clusters))
        self.sink.truncate(self._end)

    def _write_refcounts(self) -> tuple[int, int]:
        """Refcount blocks and table behind everything else; they count themselves, too."""
        per_block = self.unit // 2  # 16-bit refcounts
        used = self._end >> self._bits
        blocks = table = 0
        while True:
            total = used + blocks + table
            more_blocks = -(-total // per_block)
            more_table = -(-more_blocks * 8 // self.unit)
            if (more_blocks, more_table) == (blocks, table):
                break
            blocks, table = more_blocks, more_table
        counts = self._counts(used)
        counts.extend(array.array("H", [1]) * (blocks + table))
        counts.extend(array.array("H", bytes(2 * (blocks * per_block - len(counts)))))
        if sys.byteorder == "little":
            counts.byteswap()
        raw = counts.tobytes()
        for at in range(0, len(raw), _WRITE_TABLES):
            self.sink.write_at(self._end + at, raw[at : at + _WRITE_TABLES])
        table_offset = self._end + blocks * self.unit
        self.sink.write_at(table_offset, to_big_endian(array.array("Q", range(self._end, table_offset, self.unit))))
        self._end = table_offset + table * self.unit
        return table_offset, table

    def _counts(self, used: int) -> array.array[int]:
        """Refcounts of the clusters written so far: each is used once."""
        return array.array("H", [1]) * used

    def _header(self, l1_offset: int, table_offset: int, table_clusters: int) -> bytes:
        fixed = layout.HEADER_V2.pack(
            magic=layout.MAGIC,
            version=self._version,
            backing_file_offset=0,
            backing_file_size=0,
            cluster_bits=self._bits,
            size=self.virtual_size,
            crypt_method=0,
            l1_size=len(self._l1),
            l1_table_offset=l1_offset,
            refcount_table_offset=table_offset,
            refcount_table_clusters=table_clusters,
            nb_snapshots=0,
            snapshots_offset=0,
        )
        if self._version == 2:
            return fixed + layout.EXTENSION.pack(type=layout.EXT_END, length=0)
        more = layout.HEADER_V3.pack(incompatible_features=0, compatible_features=0, autoclear_features=0, refcount_order=4, header_length=112)
        compression = bytes(8)  # zlib, and padding up to a multiple of 8
        return fixed + more + compression + _feature_names() + layout.EXTENSION.pack(type=layout.EXT_END, length=0)


class CompressedQcow2Writer(Qcow2Writer):
    """Every cluster deflated, packed one after the other; one that does not shrink is stored as it is."""

    compresses = True

    def __init__(self, sink: Sink, virtual_size: int, target: Target) -> None:
        super().__init__(sink, virtual_size, target)
        self._shift = 62 - (self._bits - 8)
        self._shared = array.array("H", [1])  # refcounts of the clusters so far: compressed ones share clusters
        self._pending: list[bytes] = []
        self._pending_size = 0

    def encode(self, data: bytes) -> bytes:
        """The cluster deflated, or as it is when that would not be smaller.

        Window of 4 KiB: other readers than qemu's allocate no more for it.
        """
        if len(data) < self.unit:
            data = bytes(data) + bytes(self.unit - len(data))
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, -12)
        packed = packer.compress(data) + packer.flush()
        return packed if len(packed) < self.unit else bytes(data)

    def write(self, start: int, data: t.Any) -> None:
        index = start >> self._bits
        table = self._table_for(index // self._l2_entries)
        length = len(data)
        if length == self.unit:
            offset = _align(self._end, self.unit)
            self._append(bytes(offset - self._end))
            table[index % self._l2_entries] = offset | layout.COPIED
        else:
            offset = self._end
            sectors = ((offset + length - 1) >> 9) - (offset >> 9)
            table[index % self._l2_entries] = offset | sectors << self._shift | layout.COMPRESSED_FLAG
        self._count(offset, length)
        self._append(data)

    def _count(self, offset: int, length: int) -> None:
        """One more reference to each cluster that the range touches."""
        first, last = offset >> self._bits, (offset + length - 1) >> self._bits
        if last >= len(self._shared):
            self._shared.extend(array.array("H", bytes(2 * (last + 1 - len(self._shared)))))
        for cluster in range(first, last + 1):
            self._shared[cluster] += 1

    def _append(self, data: bytes) -> None:
        """Collect small pieces: one system call for each MiB, not for each cluster."""
        self._pending.append(data)
        self._pending_size += len(data)
        self._end += len(data)
        if self._pending_size >= MIB:
            self._flush_pending()

    def _flush_pending(self) -> None:
        if self._pending:
            data = b"".join(self._pending)
            self.sink.write_at(self._end - len(data), data)
            self._pending, self._pending_size = [], 0

    def _flush_table(self) -> None:
        if self._table is not None:
            self._flush_pending()
            self._count(_align(self._end, self.unit), self.unit)
        super()._flush_table()

    def _counts(self, used: int) -> array.array[int]:
        counts = self._shared
        counts.extend(array.array("H", [1]) * (used - len(counts)))  # the L1 table
        return counts


def to_big_endian(entries: array.array[int]) -> bytes:
    if sys.byteorder == "little":
        entries = entries[:]
        entries.byteswap()
    return entries.tobytes()


def _align(offset: int, unit: int) -> int:
    return -(-offset // unit) * unit


def _version(target: Target) -> int:
    versions = {"1.1": 3, "v3": 3, "0.10": 2, "v2": 2}
    try:
        return versions[target.options["compat"]]
    except KeyError:
        raise UnsupportedImage(f"qcow2 option compat is 1.1 or 0.10, not {target.options['compat']!r}") from None


def _cluster_bits(target: Target) -> int:
    text = target.options["cluster_size"]
    factor = {"K": KIB, "M": MIB}.get(text[-1:].upper(), 1)
    digits = text[:-1] if factor > 1 else text
    size = int(digits) * factor if digits.isascii() and digits.isdigit() and len(digits) < 10 else 0
    if size not in [1 << bits for bits in range(9, 22)]:
        raise UnsupportedImage(f"qcow2 option cluster_size is a power of two from 512 to 2M, not {text!r}")
    return size.bit_length() - 1


def _feature_names() -> bytes:
    """The table that lets an older reader name what it does not know. Source: qcow2.rst, "Feature name table"."""
    rows = [(0, bit, name) for bit, name in layout.INCOMPATIBLE.items()]
    rows += [(1, 0, "lazy refcounts"), (2, 0, "bitmaps"), (2, 1, "raw external data")]
    table = b"".join(bytes((kind, bit)) + name.encode("ascii").ljust(46, b"\0") for kind, bit, name in rows)
    return layout.EXTENSION.pack(type=layout.EXT_FEATURE_NAMES, length=len(table)) + table
