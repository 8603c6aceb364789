# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Writing compressed qcow2. Source: qemu, docs/interop/qcow2.rst, "Compressed Clusters Descriptor", and block/qcow2-threads.c."""

from __future__ import annotations

import array
import typing as t

from ...codecs import compressor, zstd_compress
from ...limits import KIB, MIB
from ..base import Target
from . import layout
from .writer import Qcow2Writer

if t.TYPE_CHECKING:  # pragma: no cover
    from ...storage.sink import Sink

_LEVEL, _WINDOW = 5, -12
"""With a window of 4 KiB, level 6 (qemu-img's) takes a third longer and saves a thousandth"""
_ZSTD_LEVEL = 3
"""libzstd's default, and so qemu-img's"""
_LARGE_GAP = 4 * KIB
"""what is left free is a hole in the file from this size on; smaller ones are written with what is around them"""


class CompressedQcow2Writer(Qcow2Writer):
    """Every cluster compressed, packed one after the other; one that does not shrink is stored as it is.

    A host cluster takes no more compressed ones than its refcount can count: with ``refcount_bits=1`` each has its own.

    :raises UnsupportedImage: the options ask for zstd, and nothing on this node compresses with it
    """

    compresses = True

    def __init__(self, sink: Sink, virtual_size: int, target: Target) -> None:
        super().__init__(sink, virtual_size, target)
        self._shift = 62 - (self._bits - 8)
        self._shared = array.array("H", [1])  # refcounts of the clusters so far: compressed ones share clusters
        self._most = min((1 << (1 << self.options.refcount_order)) - 1, 0xFFFF)
        self._pending: list[bytes] = []
        self._pending_size = 0
        self._deflate = compressor(target.compressor, _LEVEL, _WINDOW)
        if self.options.zstd:
            zstd_compress(b"", _ZSTD_LEVEL)

    def encode(self, data: t.Any) -> bytes:
        """The cluster compressed, or as it is when that would not be smaller.

        Deflated with a window of 4 KiB: other readers than qemu's allocate no more for it.
        """
        whole = bytes(data) + bytes(self.unit - len(data)) if len(data) < self.unit else data
        if self.options.zstd:
            packed = zstd_compress(bytes(whole), _ZSTD_LEVEL)
        else:
            packed = self._deflate(whole)
        return packed if len(packed) < self.unit else bytes(whole)

    def write(self, start: int, data: t.Any) -> None:
        index = start >> self._bits
        table = self._table_for(index // self._l2_entries)
        slot = index % self._l2_entries * self._words
        length = len(data)
        if length == self.unit:
            offset = self._skip_to_cluster()
            table[slot] = offset | layout.COPIED
            if self._words == 2:
                table[slot + 1] = layout.ALL_SUBCLUSTERS
        else:
            offset = self._end
            if offset & (self.unit - 1) and self._shared[offset >> self._bits] >= self._most:
                offset = self._skip_to_cluster()
            sectors = ((offset + length - 1) >> 9) - (offset >> 9)
            table[slot] = offset | sectors << self._shift | layout.COMPRESSED_FLAG
        self._count(offset, length)
        self._append(data)

    def _store_zeros(self, start: int, end: int) -> None:
        zeros = self.encode(bytes(self.unit))
        for at in range(start, end, self.unit):
            self.write(at, zeros)

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

    def _skip_to_cluster(self) -> int:
        """Go on with the next host cluster, unless the last one ends here; its offset."""
        gap = -self._end % self.unit
        if gap < _LARGE_GAP:
            self._append(bytes(gap))
        else:
            self._flush_pending()
            self._end += gap
        return self._end

    def _flush_pending(self) -> None:
        if self._pending:
            data = b"".join(self._pending)
            self.sink.write_at(self._end - len(data), data)
            self._pending, self._pending_size = [], 0

    def _flush_table(self) -> None:
        if self._table is not None:
            self._flush_pending()
            self._align()
            self._count(self._end, self.unit)
        super()._flush_table()

    def _counts(self) -> array.array[int]:
        return self._shared
