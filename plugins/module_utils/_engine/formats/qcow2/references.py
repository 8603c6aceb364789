# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Who refers to which host cluster. Source: qemu, docs/interop/qcow2.rst, "Host cluster management" and what each section refers to."""

from __future__ import annotations

import array
import collections
import typing as t

from ...errors import CorruptImage, LimitExceeded
from ...limits import MIB
from ...storage.base import Storage
from . import layout
from .bitmaps import read_bitmaps
from .mapping import read_table
from .snapshots import SnapshotTable

MAX_CHECKED_CLUSTERS = 1 << 27
"""256 MiB of counters, were all of them in use: an 8 TiB file with the usual clusters"""
MAX_CHECKED_TABLES = 256 * MIB
"""bytes of the L1 tables of all snapshots together"""
MAX_BITMAP_TABLES = 32 * MIB
"""bytes of the tables of all bitmaps together"""
MANY = 0xFFFF
"""More references than this are counted as this."""


class References:
    """How often each host cluster is referred to: counters for those parts of the file only that are referred to at all.

    :raises LimitExceeded: the file has too many clusters to count
    """

    def __init__(self, storage: Storage, header: layout.Header, snapshots: SnapshotTable) -> None:
        self.storage = storage
        self.header = header
        self.snapshots = snapshots
        self.clusters = -(-storage.size // header.cluster_size)
        """of the file"""
        if self.clusters > MAX_CHECKED_CLUSTERS:
            raise LimitExceeded(f"the file has {self.clusters} clusters; {MAX_CHECKED_CLUSTERS} is the most that can be checked", path=storage.name)
        self.per_block = header.cluster_size * 8 >> header.refcount_order
        """clusters that one refcount block counts"""
        self.counts: dict[int, array.array[int]] = {}
        """by the number of the refcount block"""
        self._zeros = array.array("H", bytes(2 * min(self.per_block, self.clusters)))
        self._ones = array.array("H", [1]) * len(self._zeros)

    def count_all(self) -> dict[int, int]:
        """Count; the offsets of the refcount blocks by their numbers.

        :raises CorruptImage: a structure contradicts the specification, or lies behind the end of the file
        :raises LimitExceeded: the snapshots' or bitmaps' tables are too large
        """
        header = self.header
        self._range(0, header.cluster_size, "the header")
        self._range(header.refcount_table_offset, header.refcount_table_clusters * header.cluster_size, "the refcount table")
        self._range(header.crypto_offset, header.crypto_length, "the encryption's header")
        second: collections.Counter[int] = collections.Counter()
        for (offset, size), times in self._l1_tables().items():
            self._first_level(offset, size, times, second)
        for offset, times in second.items():
            self._second_level(offset, times)
        if header.nb_snapshots:
            self._range(header.snapshots_offset, self.snapshots.size, "the snapshot table")
        self._bitmaps()
        return self._refcount_blocks()

    def wanted(self, index: int) -> array.array[int]:
        """The counters of one refcount block, for as many clusters as the file has there."""
        return self.counts.get(index, self._zeros)[: self.clusters - index * self.per_block]

    def pieces(self, first: int, last: int) -> t.Iterator[tuple[int, int, int]]:
        """The clusters ``first`` to ``last`` (included) by refcount blocks: its number, and where they begin and end in it."""
        while first <= last:
            block, start = divmod(first, self.per_block)
            end = min(self.per_block, start + last + 1 - first)
            yield block, start, end
            first += end - start

    def _refcount_blocks(self) -> dict[int, int]:
        header, storage = self.header, self.storage
        table = read_table(storage, header.refcount_table_offset, header.refcount_table_clusters * header.cluster_size // 8, "the refcount table")
        blocks = {index: block for index, block in enumerate(table) if block}
        for block in blocks.values():
            if block % header.cluster_size:
                raise CorruptImage(f"refcount block offset {block:#x} is not aligned to a cluster", path=storage.name, offset=header.refcount_table_offset)
            self._range(block, header.cluster_size, "a refcount block")
        for block in blocks.values():
            index, at = divmod(block >> header.cluster_bits, self.per_block)
            if self.counts[index][at] != 1:
                raise CorruptImage("a refcount block is used for something else, too", path=storage.name, offset=block)
        return blocks

    def _l1_tables(self) -> collections.Counter[tuple[int, int]]:
        """Offset and entries of all L1 tables, each with the number of those who name it."""
        header, storage, snapshots = self.header, self.storage, self.snapshots.entries
        if snapshots and header.data_elsewhere:
            raise CorruptImage("snapshots in an image whose data is in another file", path=storage.name, offset=60)
        if header.version == 3 and not all(snapshot.complete for snapshot in snapshots):
            raise CorruptImage("a snapshot does not tell the size of its disk", path=storage.name, offset=header.snapshots_offset)
        tables = collections.Counter([(header.l1_table_offset, header.l1_size)] if header.l1_size else [])
        tables.update((snapshot.l1_table_offset, snapshot.l1_size) for snapshot in snapshots if snapshot.l1_size)
        for offset, size in tables:
            if offset % header.cluster_size:
                raise CorruptImage(f"the L1 table offset {offset:#x} is not aligned to a cluster", path=storage.name, offset=header.snapshots_offset)
            if size * 8 > layout.MAX_L1_BYTES:
                raise CorruptImage(f"an L1 table has {size} entries", path=storage.name, offset=offset)
            storage.require(offset, size * 8, "an L1 table")
        if sum(size * 8 for _offset, size in tables) > MAX_CHECKED_TABLES:
            raise LimitExceeded(f"the snapshots have more than {MAX_CHECKED_TABLES} bytes of L1 tables; that is too much to check", path=storage.name)
        return tables

    def _first_level(self, offset: int, size: int, times: int, second: collections.Counter[int]) -> None:
        """Count an L1 table that is named ``times`` times, and add to ``second`` the L2 tables that it names."""
        self._range(offset, size * 8, "an L1 table", times)
        for entry in filter(None, read_table(self.storage, offset, size, "an L1 table")):
            if entry & (layout.L1_RESERVED | (layout.OFFSET_MASK & (self.header.cluster_size - 1))):
                raise CorruptImage(f"L1 entry {entry:#018x} has reserved bits set or is not aligned", path=self.storage.name, offset=offset)
            if not entry & layout.OFFSET_MASK:
                raise CorruptImage("an L1 entry has the COPIED flag but no offset", path=self.storage.name, offset=offset)
            second[entry & layout.OFFSET_MASK] += times

    def _second_level(self, table: int, times: int) -> None:
        """Count an L2 table that is named ``times`` times, and what it names."""
        header, storage = self.header, self.storage
        cluster, elsewhere = header.cluster_size, header.data_elsewhere
        self._range(table, cluster, "an L2 table", times)
        entries = read_table(storage, table, cluster // 8, "an L2 table")
        if header.extended_l2:
            bitmaps, entries = entries[1::2], entries[::2]
            self._subclusters(table, entries, bitmaps)
        reserved = layout.L2_RESERVED | (layout.OFFSET_MASK & (cluster - 1))
        if header.version == 2 or header.extended_l2:
            reserved |= layout.ZERO_FLAG
        start = end = 0  # data clusters that lie one behind the other are counted together
        for entry in filter(None, entries):
            if entry & layout.COMPRESSED_FLAG:
                if entry & layout.COPIED or elsewhere:
                    raise CorruptImage(f"L2 entry {entry:#018x}: no compressed cluster can be like that", path=storage.name, offset=table)
                offset, length = header.compressed_range(entry)
                self._range(offset, min(length, storage.size - offset), "a compressed cluster", times)
                continue
            if entry & reserved:
                raise CorruptImage(f"L2 entry {entry:#018x} has reserved bits set or is not aligned", path=storage.name, offset=table)
            offset = entry & layout.OFFSET_MASK
            if not offset or elsewhere:
                continue
            if offset != end:
                self._range(start, end - start, "a data cluster", times)
                start = offset
            end = offset + cluster
        self._range(start, end - start, "a data cluster", times)

    def _subclusters(self, table: int, entries: array.array[int], bitmaps: array.array[int]) -> None:
        named = layout.OFFSET_MASK | (layout.COPIED if self.header.data_elsewhere else 0)
        for entry, bitmap in zip(entries, bitmaps):
            if not bitmap:
                continue
            nowhere = bitmap & layout.ALL_SUBCLUSTERS and not entry & named
            if nowhere or bitmap >> layout.SUBCLUSTERS & bitmap or entry & layout.COMPRESSED_FLAG:
                raise CorruptImage(f"subclusters {bitmap:#018x} contradict themselves or L2 entry {entry:#018x}", path=self.storage.name, offset=table)

    def _bitmaps(self) -> None:
        header, storage = self.header, self.storage
        if not header.bitmaps or not header.autoclear_features & layout.AUTOCLEAR_BITMAPS:
            return
        tables = collections.Counter((bitmap.table_offset, bitmap.table_size) for bitmap in read_bitmaps(storage, header))
        if sum(size * 8 for _offset, size in tables) > MAX_BITMAP_TABLES:
            raise LimitExceeded(f"the bitmaps have more than {MAX_BITMAP_TABLES} bytes of tables; that is too much to check", path=storage.name)
        self._range(header.bitmap_directory_offset, header.bitmap_directory_size, "the bitmap directory")
        for (offset, size), times in tables.items():
            self._range(offset, size * 8, "a bitmap table", times)
            for entry in filter(None, read_table(storage, offset, size, "a bitmap table")):
                data = entry & layout.OFFSET_MASK
                if entry & layout.BITMAP_TABLE_RESERVED or data % header.cluster_size or (data and entry & 1):
                    raise CorruptImage(f"bitmap table entry {entry:#018x} has reserved bits set or is not aligned", path=storage.name, offset=offset)
                if data:
                    self._range(data, header.cluster_size, "a cluster of a bitmap", times)

    def _range(self, offset: int, length: int, what: str, times: int = 1) -> None:
        """Count ``times`` references to the clusters of a range."""
        bits = self.header.cluster_bits
        if not length:
            return
        first, last = offset >> bits, (offset + length - 1) >> bits
        if length < 0 or last >= self.clusters:
            raise CorruptImage(f"{what} lies behind the end of the file", path=self.storage.name, offset=offset)
        for block, start, end in self.pieces(first, last):
            counts = self.counts.get(block)
            if counts is None:
                counts = self.counts[block] = self._zeros[:]
            if times == 1 and end - start > 1 and counts[start:end] == self._zeros[: end - start]:
                counts[start:end] = self._ones[: end - start]
            else:
                for cluster in range(start, end):
                    counts[cluster] = min(MANY, counts[cluster] + times)
