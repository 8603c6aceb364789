# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The content of a file as a storage, where a file system says in which runs of the volume it lies."""

from __future__ import annotations

import array
import bisect
import typing as t

from ..errors import LimitExceeded
from ..storage.base import Storage

MAX_RUNS = 2_000_000
"""of one file: 48 MB of numbers"""


class Run(t.NamedTuple):
    """Bytes of a file that lie together on the volume."""

    start: int
    """in the file"""
    length: int
    place: int
    """offset on the volume"""


class Mapped(Storage):
    """Bytes that lie in runs of another storage; what no run holds is a hole and reads as zeros.

    :param storage: the volume
    :param runs: gives the runs in the order of the file; asked when something is read, and kept
    :param size: bytes of the file, whatever the runs hold
    :param name: for messages
    """

    def __init__(self, storage: Storage, runs: t.Callable[[], t.Iterable[Run]], size: int, name: str) -> None:
        self.name = name
        self.size = size
        self.sequential = storage.sequential
        self._storage = storage
        self._runs = runs
        self._map: tuple[t.Sequence[int], t.Sequence[int], t.Sequence[int]] | None = None

    def read_at(self, offset: int, length: int) -> bytes:
        """:raises CorruptImage: the runs are damaged, or the volume ends before the data"""
        end = min(offset + length, self.size)
        parts = []
        for run in self._between(offset, end):
            if run.start > offset:
                parts.append(bytes(run.start - offset))
            parts.append(self._storage.read_exact(run.place, run.length, self.name))
            offset = run.start + run.length
        if end > offset:
            parts.append(bytes(end - offset))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def data_ranges(self, start: int = 0, end: int | None = None) -> t.Iterator[tuple[int, int]]:
        for run in self._between(start, self.size if end is None else min(end, self.size)):
            yield run.start, run.length

    def allocated(self) -> int:
        return sum(length for _start, length in self.data_ranges())

    def changed(self) -> bool:
        return self._storage.changed()

    def _between(self, start: int, end: int) -> t.Iterator[Run]:
        """What the runs have of a range of the file."""
        if self._map is None:
            self._map = self._load()
        starts, ends, places = self._map
        for index in range(bisect.bisect_right(ends, start), len(ends)):
            first, last = max(start, starts[index]), min(end, ends[index])
            if first >= last:
                return
            yield Run(first, last - first, places[index] + first - starts[index])

    def _load(self) -> tuple[t.Sequence[int], t.Sequence[int], t.Sequence[int]]:
        """Starts, ends and places of all runs: numbers in arrays, as there may be many. Those that join become one."""
        starts, ends, places = array.array("Q"), array.array("Q"), array.array("Q")
        for start, length, place in self._runs():
            if ends and ends[-1] == start and places[-1] + start - starts[-1] == place:
                ends[-1] += length
                continue
            if len(starts) >= MAX_RUNS:
                raise LimitExceeded(f"the file lies in more than {MAX_RUNS} pieces", path=self.name)
            starts.append(start)
            ends.append(start + length)
            places.append(place)
        return starts, ends, places
