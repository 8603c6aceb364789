# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Refcounts against references, as ``qemu-img check`` does it. Source: qemu, docs/interop/qcow2.rst, "Host cluster management"."""

from __future__ import annotations

import array
import collections
import sys

from ...errors import CorruptImage, LimitExceeded
from ...limits import MIB
from ..base import CheckResult
from . import layout
from .reader import Qcow2Reader, read_table

MAX_CHECKED_CLUSTERS = 1 << 27
"""256 MiB of counters, were all of them in use: an 8 TiB file with the usual clusters"""
MAX_CHECKED_TABLES = 256 * MIB
"""bytes of the L1 tables of all snapshots together"""
MAX_MESSAGES = 20
MANY = 0xFFFF
"""More references than this are counted as this."""


def check_refcounts(reader: Qcow2Reader, result: CheckResult) -> None:
    """Add to ``result`` every host cluster whose refcount differs from the number of references to it.

    A refcount that is too small is a corruption (a writer would overwrite live data), one that is too large a leak.

    :raises LimitExceeded: the file has too many clusters to count, or the snapshots too large tables
    """
    header = reader.header
    clusters = -(-reader.storage.size // header.cluster_size)
    if clusters > MAX_CHECKED_CLUSTERS:
        raise LimitExceeded(f"the file has {clusters} clusters; {MAX_CHECKED_CLUSTERS} is the most that can be checked", path=reader.storage.name)
    used = _References(reader, clusters)
    found = _Differences(header)
    try:
        blocks = used.count_all()
        for index in sorted({*blocks, *used.counts}):
            if index * used.per_block < clusters:
                found.compare(used, index, blocks.get(index, 0))
    except CorruptImage as error:
        result.corruptions.append(str(error))
        return
    found.report(result)


class _References:
    """How often each host cluster is referred to: counters for those parts of the file only that are referred to at all."""

    def __init__(self, reader: Qcow2Reader, clusters: int) -> None:
        self.reader = reader
        self.clusters = clusters
        header = reader.header
        self.per_block = header.cluster_size * 8 >> header.refcount_order
        """clusters that one refcount block counts"""
        self.counts: dict[int, array.array[int]] = {}
        """by the number of the refcount block"""
        self._zeros = array.array("H", bytes(2 * min(self.per_block, clusters)))
        self._ones = array.array("H", [1]) * len(self._zeros)

    def count_all(self) -> dict[int, int]:
        """Count; the offsets of the refcount blocks by their numbers."""
        header, storage = self.reader.header, self.reader.storage
        self._range(0, header.cluster_size, "the header")
        self._range(header.refcount_table_offset, header.refcount_table_clusters * header.cluster_size, "the refcount table")
        blocks = self._refcount_blocks()
        for block in blocks.values():
            self._range(block, header.cluster_size, "a refcount block")
        tables = collections.Counter([(header.l1_table_offset, header.l1_size)] if header.l1_size else [])
        tables.update((snapshot["l1_table_offset"], snapshot["l1_size"]) for snapshot in self.reader.snapshots if snapshot["l1_size"])
        for offset, size in tables:
            storage.require(offset, size * 8, "an L1 table")
            if size * 8 > layout.MAX_L1_BYTES:
                raise CorruptImage(f"an L1 table has {size} entries", path=storage.name, offset=offset)
        if sum(size * 8 for _offset, size in tables) > MAX_CHECKED_TABLES:
            raise LimitExceeded(f"the snapshots have more than {MAX_CHECKED_TABLES} bytes of L1 tables; that is too much to check", path=storage.name)
        second: collections.Counter[int] = collections.Counter()
        for (offset, size), times in tables.items():
            self._first_level(offset, size, times, second)
        for offset, times in second.items():
            self._second_level(offset, times)
        if self.reader.snapshots:
            self._range(header.snapshots_offset, self._snapshot_table_size(), "the snapshot table")
        return blocks

    def wanted(self, index: int) -> array.array[int]:
        """The counters of one refcount block, for as many clusters as the file has there."""
        return self.counts.get(index, self._zeros)[: self.clusters - index * self.per_block]

    def _refcount_blocks(self) -> dict[int, int]:
        header, storage = self.reader.header, self.reader.storage
        table = read_table(storage, header.refcount_table_offset, header.refcount_table_clusters * header.cluster_size // 8, "the refcount table")
        blocks = {index: block for index, block in enumerate(table) if block}
        for block in blocks.values():
            if block % header.cluster_size:
                raise CorruptImage(f"refcount block offset {block:#x} is not aligned to a cluster", path=storage.name, offset=header.refcount_table_offset)
        return blocks

    def _snapshot_table_size(self) -> int:
        position = self.reader.header.snapshots_offset
        for _index in range(self.reader.header.nb_snapshots):
            entry = layout.SNAPSHOT.unpack(self.reader.storage.read_exact(position, layout.SNAPSHOT.size, "a snapshot table entry"))
            position += -(-(layout.SNAPSHOT.size + entry.extra_data_size + entry.id_str_size + entry.name_size) // 8) * 8
        return position - self.reader.header.snapshots_offset

    def _first_level(self, offset: int, size: int, times: int, second: collections.Counter[int]) -> None:
        """Count an L1 table that is named ``times`` times, and add to ``second`` the L2 tables that it names."""
        header, storage = self.reader.header, self.reader.storage
        self._range(offset, size * 8, "an L1 table", times)
        active = (offset, size) == (header.l1_table_offset, header.l1_needed)
        for entry in filter(None, self.reader.l1_table() if active else read_table(storage, offset, size, "an L1 table")):
            if entry & layout.OFFSET_MASK:
                second[entry & layout.OFFSET_MASK] += times

    def _second_level(self, table: int, times: int) -> None:
        """Count an L2 table that is named ``times`` times, and what it names."""
        header, storage = self.reader.header, self.reader.storage
        cluster = header.cluster_size
        self._range(table, cluster, "an L2 table", times)
        shift = 62 - (header.cluster_bits - 8)
        elsewhere = header.incompatible_features & layout.DATA_FILE
        start = end = 0  # data clusters that lie one behind the other are counted together
        for entry in filter(None, self.reader.l2_table(table)):
            if entry & layout.COMPRESSED_FLAG:
                offset = entry & ((1 << shift) - 1)
                sectors = (entry & (layout.COMPRESSED_FLAG - 1)) >> shift
                length = (sectors + 1) * 512 - (offset & 511)
                self._range(offset, min(length, storage.size - offset), "a compressed cluster", times)
                continue
            offset = entry & layout.OFFSET_MASK
            if not offset or elsewhere:
                continue
            if offset != end:
                self._range(start, end - start, "a data cluster", times)
                start = offset
            end = offset + cluster
        self._range(start, end - start, "a data cluster", times)

    def _range(self, offset: int, length: int, what: str, times: int = 1) -> None:
        """Count ``times`` references to the clusters of a range."""
        bits = self.reader.header.cluster_bits
        if not length:
            return
        first, last = offset >> bits, (offset + length - 1) >> bits
        if length < 0 or last >= self.clusters:
            raise CorruptImage(f"{what} lies behind the end of the file", path=self.reader.storage.name, offset=offset)
        while first <= last:
            block, start = divmod(first, self.per_block)
            end = min(self.per_block, start + last + 1 - first)
            counts = self.counts.get(block)
            if counts is None:
                counts = self.counts[block] = self._zeros[:]
            if times == 1 and end - start > 1 and counts[start:end] == self._zeros[: end - start]:
                counts[start:end] = self._ones[: end - start]
            else:
                for cluster in range(start, end):
                    counts[cluster] = min(MANY, counts[cluster] + times)
            first += end - start


class _Differences:
    """Clusters whose refcount is not the number of references to them."""

    def __init__(self, header: layout.Header) -> None:
        self.header = header
        self.corruptions: list[str] = []
        self.leaks: list[str] = []
        self.more = {"corruptions": 0, "leaks": 0}

    def compare(self, used: _References, index: int, block: int) -> None:
        """The refcount block ``index`` at the offset ``block`` (0: there is none) with what was counted."""
        base = index * used.per_block
        wanted = used.wanted(index)
        width = 1 << self.header.refcount_order
        length = -(-len(wanted) * width // 8)
        data = used.reader.storage.read_exact(block, length, "a refcount block") if block else bytes(length)
        if width == 16 and data == _big_endian(wanted):
            return
        for cluster, (have, want) in enumerate(zip(_unpack_refcounts(data, width), wanted), base):
            if have == want or (want == MANY and have > MANY):
                continue
            text = f"cluster {cluster} has refcount {have} and {want} references"
            if have < want:
                self._note("corruptions", text)
            elif not self.header.bitmaps:  # what only a bitmap uses is not counted here, so it would look like a leak
                self._note("leaks", text)

    def _note(self, kind: str, text: str) -> None:
        kept = self.corruptions if kind == "corruptions" else self.leaks
        if len(kept) < MAX_MESSAGES:
            kept.append(text)
        else:
            self.more[kind] += 1

    def report(self, result: CheckResult) -> None:
        for kind, found, kept in (("corruptions", self.corruptions, result.corruptions), ("leaks", self.leaks, result.leaks)):
            kept += found
            if self.more[kind]:
                kept.append(f"and {self.more[kind]} more")


def _big_endian(counts: array.array[int]) -> bytes:
    if sys.byteorder == "little":
        counts = counts[:]
        counts.byteswap()
    return counts.tobytes()


def _unpack_refcounts(data: bytes, width: int) -> list[int]:
    if width >= 8:
        size = width // 8
        return [int.from_bytes(data[at : at + size], "big") for at in range(0, len(data), size)]
    mask = (1 << width) - 1  # entries below a byte begin at its least significant bit
    return [byte >> shift & mask for byte in data for shift in range(0, 8, width)]
