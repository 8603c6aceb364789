# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Chains of clusters: what a FAT is there for. Source: Microsoft's FAT specification (fatgen103), section 4."""

from __future__ import annotations

import array
import bisect
import sys
import typing as t

from ...errors import CorruptImage, LimitExceeded
from ...limits import KIB
from ...storage.base import Storage
from .layout import MAX_FRAGMENTS

_PAGE = 64 * KIB
_PAGES = 32
"""pages of a FAT that are kept, 2 MiB"""
_STEPS = (4096, 64)
"""Clusters that follow each other are found so many at a time."""


class FatTable:
    """A FAT. FAT12 and FAT16 are one page, at most 128 KiB; FAT32 is read page by page.

    :param bits: of an entry: 12, 16 or 32
    :param clusters: data clusters of the volume; they are numbered from 2
    :param start: where the FAT lies on the volume, bytes
    """

    def __init__(self, storage: Storage, bits: int, clusters: int, start: int) -> None:
        self._storage = storage
        self._bits = bits
        self._start = start
        self._clusters = clusters
        self._end = clusters + 2
        self._per_page = _PAGE // 4 if bits == 32 else self._end
        self._pages: dict[int, array.array[int]] = {}
        self._bad = (1 << min(bits, 28)) - 9  # FF7, FFF7, 0FFFFFF7

    def runs(self, first: int) -> t.Iterator[tuple[int, int]]:
        """A chain as runs of clusters that follow each other: (first cluster, how many).

        :param first: the chain's first cluster
        :raises CorruptImage: it leads out of the volume, to a free or a bad cluster, or into itself
        :raises LimitExceeded: it has more fragments than are looked at
        """
        cluster, mark, count, total = first, -1, 0, 0
        while True:
            if not 2 <= cluster < self._end:
                raise self._damaged(f"a chain leads to cluster {cluster}, of {self._clusters}", cluster)
            # Brent's way to find a circle: the place that is remembered moves on with every power of two.
            if cluster == mark or total > self._clusters:
                raise self._damaged("a chain of clusters leads into itself", cluster)
            if not count & (count - 1):
                mark = cluster
            count += 1
            if count > MAX_FRAGMENTS:
                raise LimitExceeded(f"a file has more than {MAX_FRAGMENTS} fragments", path=self._storage.name)
            length, following = self._run(cluster)
            total += length
            yield cluster, length
            if following > self._bad:
                return
            if following == self._bad:
                raise self._damaged("a chain leads to a bad cluster", cluster)
            cluster = following

    def _run(self, first: int) -> tuple[int, int]:
        """How many clusters follow each other from ``first`` on, and what the last one's entry says."""
        length, following = 0, first
        while following == first + length and following < self._end:
            number, start = divmod(following, self._per_page)
            page, base, at = self._page(number), number * self._per_page, start
            for step in _STEPS:
                while at + step <= len(page) and page[at : at + step] == array.array(page.typecode, range(base + at + 1, base + at + step + 1)):
                    at += step
            last = len(page) - 1
            while at < last and page[at] == base + at + 1:
                at += 1
            at = min(at, last)  # behind the page when all of it was whole steps
            length += at - start + 1
            following = page[at] & 0x0FFFFFFF
        return length, following

    def _page(self, number: int) -> array.array[int]:
        page = self._pages.get(number)
        if page is None:
            first = number * self._per_page
            count = min(self._per_page, self._end - first)
            offset = self._start + first * self._bits // 8
            data = self._storage.read_exact(offset, -(-count * self._bits // 8), "the FAT")
            page = _unpack_12(data, count) if self._bits == 12 else array.array("H" if self._bits == 16 else "I", data)
            if sys.byteorder == "big" and self._bits != 12:
                page.byteswap()
            if len(self._pages) >= _PAGES:
                self._pages.clear()
            self._pages[number] = page
        return page

    def _damaged(self, message: str, cluster: int) -> CorruptImage:
        return CorruptImage(message, path=self._storage.name, offset=self._start + cluster * self._bits // 8)


class ChainStorage(Storage):
    """A file's content: runs of clusters of the volume one behind the other.

    :param runs: (offset on the volume, bytes); together at least ``size``
    :param size: bytes of the file
    """

    def __init__(self, volume: Storage, runs: t.Iterable[tuple[int, int]], size: int, name: str) -> None:
        self._volume = volume
        self.size = size
        self.name = name
        self.sequential = volume.sequential
        self._starts = array.array("Q")  # in the file
        self._places = array.array("Q")  # on the volume
        at = 0
        for offset, length in runs:
            self._starts.append(at)
            self._places.append(offset)
            at += length

    def read_at(self, offset: int, length: int) -> bytes:
        found = [self._volume.read_exact(place, count, self.name) for place, count in self._cut(offset, offset + length)]
        return found[0] if len(found) == 1 else b"".join(found)

    def data_ranges(self, start: int = 0, end: int | None = None) -> t.Iterator[tuple[int, int]]:
        end = self.size if end is None else end
        if self.sequential:
            yield from super().data_ranges(start, end)
            return
        at = start
        for place, count in self._cut(start, end):
            for found, length in self._volume.data_ranges(place, place + count):
                yield found - place + at, length
            at += count

    def changed(self) -> bool:
        return self._volume.changed()

    def _cut(self, start: int, end: int) -> t.Iterator[tuple[int, int]]:
        """Where a range of the file lies: (offset on the volume, bytes)."""
        end = min(end, self.size)
        index = bisect.bisect_right(self._starts, start) - 1
        while start < end:
            limit = self._starts[index + 1] if index + 1 < len(self._starts) else self.size
            count = min(limit, end) - start
            yield self._places[index] + start - self._starts[index], count
            start += count
            index += 1


def _unpack_12(data: bytes, count: int) -> array.array[int]:
    """Entries of one and a half bytes."""
    data += bytes(-len(data) % 3)
    page = array.array("H", bytes(2 * (len(data) // 3 * 2)))
    for at in range(0, len(data), 3):
        both = data[at] | data[at + 1] << 8 | data[at + 2] << 16
        page[at // 3 * 2] = both & 0xFFF
        page[at // 3 * 2 + 1] = both >> 12
    return page[:count]
