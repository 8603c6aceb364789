# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""A file of which only the parts with data are stored, one behind the other, as archives keep sparse files."""

from __future__ import annotations

import array
import bisect
import typing as t

from .base import Storage


class SparseMap:
    """Where the stored bytes belong. All numbers are bytes below 2^63; a run takes 16 bytes of memory."""

    def __init__(self) -> None:
        self._offsets = array.array("q")
        """where each run begins in the file"""
        self._stored = array.array("q", [0])
        """where each run begins in what is stored, and, as the last, where that ends"""

    @property
    def stored(self) -> int:
        """Bytes of all runs."""
        return self._stored[-1]

    @property
    def end(self) -> int:
        """Where the last run ends in the file; 0 when there is none."""
        return self._offsets[-1] + self._stored[-1] - self._stored[-2] if self._offsets else 0

    def __len__(self) -> int:
        return len(self._offsets)

    def __iter__(self) -> t.Iterator[tuple[int, int]]:
        """The runs: offset in the file, length."""
        for index, offset in enumerate(self._offsets):
            yield offset, self._stored[index + 1] - self._stored[index]

    def add(self, offset: int, length: int) -> None:
        """Put a run behind the others. The caller has made sure that it does not begin before their end."""
        if not length:
            return
        if self._offsets and offset == self.end:
            self._stored[-1] += length
        else:
            self._offsets.append(offset)
            self._stored.append(self._stored[-1] + length)

    def cut(self, start: int, end: int) -> t.Iterator[tuple[int, int, int]]:
        """The runs between two offsets of the file: offset in the file, length, offset in what is stored."""
        for index in range(max(0, bisect.bisect_right(self._offsets, start) - 1), len(self._offsets)):
            offset, stored = self._offsets[index], self._stored[index]
            if offset >= end:
                return
            first = max(start, offset)
            last = min(end, offset + self._stored[index + 1] - stored)
            if last > first:
                yield first, last - first, stored + first - offset


class SparseStorage(Storage):
    """The file as it was before its holes were left out.

    :param parent: what is stored; closed together with this one
    :param runs: where it belongs; as many bytes as ``parent`` has
    :param size: bytes of the file
    :param name: for messages
    """

    def __init__(self, parent: Storage, runs: SparseMap, size: int, name: str) -> None:
        self._parent = parent
        self._runs = runs
        self.size = size
        self.name = name
        self.sequential = parent.sequential

    def read_at(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size)
        parts: list[bytes] = []
        for start, count, stored in self._runs.cut(offset, end):
            if start > offset:
                parts.append(bytes(start - offset))
            parts.append(self._parent.read_exact(stored, count, "a part of a sparse file"))
            offset = start + count
        if end > offset:
            parts.append(bytes(end - offset))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def read_into(self, offset: int, buffer: memoryview, what: str) -> None:
        self.require(offset, len(buffer), what)
        done = 0
        for start, count, stored in self._runs.cut(offset, offset + len(buffer)):
            at = start - offset
            buffer[done:at] = bytes(at - done)
            done = at + count
            self._parent.read_into(stored, buffer[at:done], what)
        buffer[done:] = bytes(len(buffer) - done)

    def data_ranges(self, start: int = 0, end: int | None = None) -> t.Iterator[tuple[int, int]]:
        end = self.size if end is None else min(end, self.size)
        for offset, length, stored in self._runs.cut(start, end):
            for first, count in self._parent.data_ranges(stored, stored + length):
                yield offset + first - stored, count

    def allocated(self) -> int:
        return self._runs.stored

    def changed(self) -> bool:
        return self._parent.changed()

    def close(self) -> None:
        self._parent.close()
