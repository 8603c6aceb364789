# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""A file that is stored in pieces: chunks of a package, read as the one that was cut."""

from __future__ import annotations

import bisect
import itertools
import typing as t

from .base import Storage


class JoinedStorage(Storage):
    """Storages one behind the other.

    :param parts: in order; closed together with this one
    :param name: for messages
    """

    def __init__(self, parts: t.Sequence[Storage], name: str) -> None:
        self.name = name
        self._parts = parts
        self._starts = [0, *itertools.accumulate(part.size for part in parts)]
        self.size = self._starts.pop()
        self.sequential = any(part.sequential for part in parts)

    def read_at(self, offset: int, length: int) -> bytes:
        found = [part.read_at(start, count) for part, start, count in self._cut(offset, min(length, self.size - offset))]
        return found[0] if len(found) == 1 else b"".join(found)

    def read_into(self, offset: int, buffer: memoryview, what: str) -> None:
        self.require(offset, len(buffer), what)
        done = 0
        for part, start, count in self._cut(offset, len(buffer)):
            part.read_into(start, buffer[done : done + count], what)
            done += count

    def data_ranges(self, start: int = 0, end: int | None = None) -> t.Iterator[tuple[int, int]]:
        end = self.size if end is None else min(end, self.size)
        at = start
        for part, first, count in self._cut(start, end - start):
            for offset, length in part.data_ranges(first, first + count):
                yield at + offset - first, length
            at += count

    def allocated(self) -> int:
        return sum(part.allocated() for part in self._parts)

    def changed(self) -> bool:
        return any(part.changed() for part in self._parts)

    def close(self) -> None:
        for part in self._parts:
            part.close()

    def _cut(self, offset: int, length: int) -> t.Iterator[tuple[Storage, int, int]]:
        """The parts that a range lies in: part, offset in it, bytes."""
        index = bisect.bisect_right(self._starts, offset) - 1
        while length > 0 and index < len(self._parts):
            part = self._parts[index]
            start = offset - self._starts[index]
            count = min(length, part.size - start)
            if count > 0:
                yield part, start, count
            offset += count
            length -= count
            index += 1
