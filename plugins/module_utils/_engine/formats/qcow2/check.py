# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Refcounts against references, as ``qemu-img check`` does it. Source: qemu, docs/interop/qcow2.rst, "Host cluster management"."""

from __future__ import annotations

import array
import sys

from ...errors import CorruptImage
from ...storage.base import Storage
from ..base import CheckResult
from . import layout
from .mapping import read_table, require_own_tables
from .references import MANY, References
from .snapshots import SnapshotTable

MAX_MESSAGES = 20


def check_refcounts(storage: Storage, header: layout.Header, snapshots: SnapshotTable, result: CheckResult) -> None:
    """Add to ``result`` every host cluster whose refcount differs from the number of references to it.

    A refcount that is too small is a corruption (a writer would overwrite live data), one that is too large a leak. A
    COPIED flag of the active tables that contradicts the refcount is a corruption, too.

    :raises LimitExceeded: the file has too many clusters to count, or the snapshots or bitmaps too large tables
    """
    used = References(storage, header, snapshots)
    found = _Differences(used)
    try:
        blocks = used.count_all()
        for index in sorted({*blocks, *used.counts}):
            if index * used.per_block < used.clusters:
                found.compare(index, blocks.get(index, 0))
        if header.l1_size:
            found.compare_flags()
    except CorruptImage as error:
        result.corruptions.append(str(error))
        return
    found.report(result)


class _Differences:
    """Clusters whose refcount, or whose COPIED flag, is not what the references to them ask for."""

    def __init__(self, used: References) -> None:
        self.used = used
        self.header = used.header
        self.storage = used.storage
        self.have: dict[int, array.array[int]] = {}
        """the refcounts of those refcount blocks that differ from what was counted"""
        self.found: dict[str, list[str]] = {"corruptions": [], "leaks": []}
        self.more = {"corruptions": 0, "leaks": 0}

    def compare(self, index: int, block: int) -> None:
        """The refcount block ``index`` at the offset ``block`` (0: there is none) with what was counted."""
        used = self.used
        base = index * used.per_block
        wanted = used.wanted(index)
        width = 1 << self.header.refcount_order
        length = -(-len(wanted) * width // 8)
        data = self.storage.read_exact(block, length, "a refcount block") if block else bytes(length)
        if width == 16 and data == _big_endian(wanted):
            return
        refcounts = _unpack_refcounts(data, width)
        if refcounts[: len(wanted)] == wanted:
            return
        self.have[index] = refcounts
        for cluster, (have, want) in enumerate(zip(refcounts, wanted), base):
            if have == want or (want == MANY and have > MANY):
                continue
            self._note("corruptions" if have < want else "leaks", f"cluster {cluster} has refcount {have} and {want} references")

    def compare_flags(self) -> None:
        """The COPIED flags of the active L1 table and its L2 tables: set exactly where the refcount is 1.

        :raises CorruptImage: two parts of the disk have one L2 table
        """
        header, storage = self.header, self.storage
        cluster, elsewhere = header.cluster_size, header.data_elsewhere
        l1 = read_table(storage, header.l1_table_offset, header.l1_size, "the L1 table")
        require_own_tables(l1, storage, header.l1_table_offset)
        for top in filter(None, l1):
            table = top & layout.OFFSET_MASK
            self._flag(top, cluster)
            entries = read_table(storage, table, cluster // 8, "an L2 table")
            start = expected = 0  # neighbours with the same flags are looked at together
            for entry in filter(None, entries[::2] if header.extended_l2 else entries):
                if entry == expected:
                    expected += cluster
                    continue
                if entry & layout.COMPRESSED_FLAG or not entry & layout.OFFSET_MASK:
                    continue
                if elsewhere:
                    if not entry & layout.COPIED:
                        self._note("corruptions", f"L2 entry {entry:#018x} has data in another file, but not the COPIED flag")
                    continue
                self._flag(start, expected - start)
                start, expected = entry, entry + cluster
            self._flag(start, expected - start)

    def _flag(self, entry: int, length: int) -> None:
        """The flag of an entry, and of those behind it that name the clusters behind it, up to ``length`` bytes."""
        if not length:
            return
        bits = self.header.cluster_bits
        first = (entry & layout.OFFSET_MASK) >> bits
        wrong = 0
        for block, start, end in self.used.pieces(first, first + (length >> bits) - 1):
            counts = self.have.get(block) or self.used.counts[block]
            ones = counts[start:end].count(1)
            wrong += end - start - ones if entry & layout.COPIED else ones
        if wrong:
            says = "is" if entry & layout.COPIED else "is not"
            self._note("corruptions", f"{wrong} of {length >> bits} clusters from {first} on: the COPIED flag says that the refcount {says} 1")

    def _note(self, kind: str, text: str) -> None:
        if len(self.found[kind]) < MAX_MESSAGES:
            self.found[kind].append(text)
        else:
            self.more[kind] += 1

    def report(self, result: CheckResult) -> None:
        """Add all that was found to ``result``."""
        for kind, kept in (("corruptions", result.corruptions), ("leaks", result.leaks)):
            kept += self.found[kind]
            if self.more[kind]:
                kept.append(f"and {self.more[kind]} more")


def _big_endian(counts: array.array[int]) -> bytes:
    if sys.byteorder == "little":
        counts = counts[:]
        counts.byteswap()
    return counts.tobytes()


def _unpack_refcounts(data: bytes, width: int) -> array.array[int]:
    if width < 8:
        mask = (1 << width) - 1  # entries below a byte begin at its least significant bit
        return array.array("H", [byte >> shift & mask for byte in data for shift in range(0, 8, width)])
    size = width // 8
    values = [int.from_bytes(data[at : at + size], "big") for at in range(0, len(data), size)]
    return array.array("H" if width <= 16 else "Q", values)
