# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Refcounts against references, as ``qemu-img check`` does it. Source: qemu, docs/interop/qcow2.rst, "Host cluster management"."""

from __future__ import annotations

import array
import typing as t

from ...errors import CorruptImage, LimitExceeded
from ..base import CheckResult
from . import layout
from .snapshots import read_snapshots

if t.TYPE_CHECKING:  # pragma: no cover
    from .reader import Qcow2Reader

MAX_CHECKED_CLUSTERS = 1 << 27
"""256 MiB of counters: an 8 TiB file with the usual clusters"""
MAX_MESSAGES = 20


def check_refcounts(reader: Qcow2Reader, result: CheckResult) -> None:
    """Add to ``result`` every host cluster whose refcount differs from the number of references to it.

    A refcount that is too small is a corruption (a writer would overwrite live data), one that is too large a leak.

    :raises LimitExceeded: the file has too many clusters to count
    """
    header = reader.header
    clusters = -(-reader.storage.size // header.cluster_size)
    if clusters > MAX_CHECKED_CLUSTERS:
        raise LimitExceeded(f"the file has {clusters} clusters; {MAX_CHECKED_CLUSTERS} is the most that can be checked", path=reader.storage.name)
    used = _References(reader, clusters)
    try:
        used.count_all()
        stored = _read_refcounts(reader, clusters)
    except CorruptImage as error:
        result.corruptions.append(str(error))
        return
    corruptions = leaks = 0
    for cluster in range(clusters):
        have, want = stored[cluster], used.counts[cluster]
        if have == want:
            continue
        if have < want:
            corruptions += 1
            if corruptions <= MAX_MESSAGES:
                result.corruptions.append(f"cluster {cluster} has refcount {have} and {want} references")
        elif not header.bitmaps:  # what only a bitmap uses is not counted here, so it would look like a leak
            leaks += 1
            if leaks <= MAX_MESSAGES:
                result.leaks.append(f"cluster {cluster} has refcount {have} and {want} references")
    for found, kept in ((corruptions, result.corruptions), (leaks, result.leaks)):
        if found > MAX_MESSAGES:
            kept.append(f"and {found - MAX_MESSAGES} more")


class _References:
    """How often each host cluster is referred to."""

    def __init__(self, reader: Qcow2Reader, clusters: int) -> None:
        self.reader = reader
        self.counts = array.array("I", bytes(4 * clusters))

    def count_all(self) -> None:
        header = self.reader.header
        self._range(0, header.cluster_size, "the header")
        self._range(header.refcount_table_offset, header.refcount_table_clusters * header.cluster_size, "the refcount table")
        for block in _refcount_blocks(self.reader):
            if block:
                self._range(block, header.cluster_size, "a refcount block")
        self._tables(header.l1_table_offset, header.l1_size)
        snapshots = read_snapshots(self.reader.storage, header)
        for snapshot in snapshots:
            self._tables(snapshot["l1_table_offset"], snapshot["l1_size"])
        if snapshots:
            self._range(header.snapshots_offset, self._snapshot_table_size(), "the snapshot table")

    def _snapshot_table_size(self) -> int:
        position = self.reader.header.snapshots_offset
        for _index in range(self.reader.header.nb_snapshots):
            entry = layout.SNAPSHOT.unpack(self.reader.storage.read_exact(position, layout.SNAPSHOT.size, "a snapshot table entry"))
            position += -(-(layout.SNAPSHOT.size + entry.extra_data_size + entry.id_str_size + entry.name_size) // 8) * 8
        return position - self.reader.header.snapshots_offset

    def _tables(self, l1_offset: int, l1_size: int) -> None:
        from .reader import big_endian

        header, storage = self.reader.header, self.reader.storage
        if not l1_size:
            return
        if l1_size * 8 > layout.MAX_L1_BYTES:
            raise CorruptImage(f"an L1 table has {l1_size} entries", path=storage.name, offset=l1_offset)
        self._range(l1_offset, l1_size * 8, "an L1 table")
        shift = 62 - (header.cluster_bits - 8)
        for l1_entry in big_endian(storage.read_exact(l1_offset, l1_size * 8, "an L1 table")):
            table = l1_entry & layout.OFFSET_MASK
            if not table:
                continue
            self._range(table, header.cluster_size, "an L2 table")
            for entry in filter(None, big_endian(storage.read_exact(table, header.cluster_size, "an L2 table"))):
                if entry & layout.COMPRESSED_FLAG:
                    offset = entry & ((1 << shift) - 1)
                    sectors = (entry & (layout.COMPRESSED_FLAG - 1)) >> shift
                    length = (sectors + 1) * 512 - (offset & 511)
                    self._range(offset, min(length, storage.size - offset), "a compressed cluster")
                elif entry & layout.OFFSET_MASK and not header.incompatible_features & layout.DATA_FILE:
                    self._range(entry & layout.OFFSET_MASK, header.cluster_size, "a data cluster")

    def _range(self, offset: int, length: int, what: str) -> None:
        bits = self.reader.header.cluster_bits
        first, last = offset >> bits, (offset + length - 1) >> bits
        if offset < 0 or last >= len(self.counts):
            raise CorruptImage(f"{what} lies behind the end of the file", path=self.reader.storage.name, offset=offset)
        for cluster in range(first, last + 1):
            self.counts[cluster] += 1


def _refcount_blocks(reader: Qcow2Reader) -> array.array[int]:
    from .reader import big_endian

    header = reader.header
    return big_endian(reader.storage.read_exact(header.refcount_table_offset, header.refcount_table_clusters * header.cluster_size, "the refcount table"))


def _read_refcounts(reader: Qcow2Reader, clusters: int) -> array.array[int]:
    """The stored refcount of every host cluster of the file."""
    header = reader.header
    width = 1 << header.refcount_order
    per_block = header.cluster_size * 8 // width
    counts = array.array("Q", bytes(8 * clusters))
    for index, block in enumerate(_refcount_blocks(reader)):
        base = index * per_block
        if not block or base >= clusters:
            continue
        if block % header.cluster_size:
            raise CorruptImage(f"refcount block offset {block:#x} is not aligned to a cluster", path=reader.storage.name, offset=header.refcount_table_offset)
        data = reader.storage.read_exact(block, header.cluster_size, "a refcount block")
        values = _unpack_refcounts(data, width)[: clusters - base]
        counts[base : base + len(values)] = array.array("Q", values)
    return counts


def _unpack_refcounts(data: bytes, width: int) -> list[int]:
    if width >= 8:
        size = width // 8
        return [int.from_bytes(data[at : at + size], "big") for at in range(0, len(data), size)]
    mask = (1 << width) - 1  # entries below a byte begin at its least significant bit
    return [byte >> shift & mask for byte in data for shift in range(0, 8, width)]
