# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The content of an XFS file as a storage."""

from __future__ import annotations

import array
import bisect
import typing as t

from ...errors import CorruptImage
from ...storage.base import Storage
from .blocks import Blocks
from .inodes import Extent

MAX_FILE = 1 << 63
"""bytes"""


class Content(Storage):
    """Bytes that lie in extents; what lies between them is a hole.

    :param blocks: the file system
    :param extents: in the order of the file
    :param size: bytes of the file
    :param what: names the file in messages
    :raises CorruptImage: an extent lies behind the largest file
    """

    def __init__(self, blocks: Blocks, extents: t.Iterable[Extent], size: int, what: str) -> None:
        self.name = f"{blocks.storage.name}, {what}"
        self._what = what
        self.size = size
        self.sequential = blocks.storage.sequential
        self._storage = blocks.storage
        # Three numbers for each run, as a file may have a million of them.
        self._starts, self._ends, self._places = array.array("Q"), array.array("Q"), array.array("Q")
        unit = blocks.superblock.block_size
        for extent in extents:
            if extent.unwritten:
                continue
            start, length = extent.startoff * unit, extent.blockcount * unit
            if start + length > MAX_FILE:
                raise CorruptImage(f"XFS: {what} has an extent behind the end of the largest file", path=self._storage.name)
            place = blocks.offset(extent.startblock, extent.blockcount, what)
            if self._ends and self._ends[-1] == start and self._places[-1] + start - self._starts[-1] == place:
                self._ends[-1] += length
            else:
                self._starts.append(start)
                self._ends.append(start + length)
                self._places.append(place)

    def runs(self, start: int, end: int) -> t.Iterator[tuple[int, int, int]]:
        """The runs with data in a range: offset in the file, length, offset on the volume; all bytes.

        The end of the file does not matter.
        """
        for index in range(bisect.bisect_right(self._ends, start), len(self._ends)):
            first, last = max(start, self._starts[index]), min(end, self._ends[index])
            if first >= end:
                return
            yield first, last - first, self._places[index] + first - self._starts[index]

    def read_at(self, offset: int, length: int) -> bytes:
        """:raises CorruptImage: the volume ends before the data"""
        end = min(offset + length, self.size)
        parts = []
        at = offset
        for start, count, place in self.runs(offset, end):
            if start > at:
                parts.append(bytes(start - at))
            parts.append(self._storage.read_exact(place, count, self._what))
            at = start + count
        if end > at:
            parts.append(bytes(end - at))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def data_ranges(self, start: int = 0, end: int | None = None) -> t.Iterator[tuple[int, int]]:
        for first, count, _place in self.runs(start, self.size if end is None else min(end, self.size)):
            yield first, count

    def allocated(self) -> int:
        return sum(self._ends) - sum(self._starts)

    def changed(self) -> bool:
        return self._storage.changed()
