# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What the kinds of data files with grains have in common.

Source of the kinds: VMware, "Virtual Disk Format 5.0".
"""

from __future__ import annotations

import abc
import re
import typing as t

from ...errors import CorruptImage
from ...extents import COMPRESSED, DATA, Extent
from ...storage.base import Storage

_NOT_ZERO = re.compile(b"[^\\0]")


class GrainFile(abc.ABC):
    """A file with grains. A disk is one of them, or several, each with its own part of the guest range.

    ``__init__(storage)`` reads and checks the header; it raises one of errors.py.
    """

    storage: Storage
    size: int
    """bytes that the guest sees of it"""
    grain: int
    """bytes of a grain"""
    compressed = False
    dirty = False
    """not closed cleanly by its last writer"""

    @property
    def rescued(self) -> int:
        """Grain tables so far that only one of the two grain directories has."""
        return 0

    @abc.abstractmethod
    def extents(self, start: int, end: int) -> t.Iterator[Extent]:
        """Runs that cover ``start`` to ``end`` (bytes, within the file's part), beginning and ending at a grain or the end.

        :raises CorruptImage: a table contradicts the specification or names bytes that are not there
        """

    @abc.abstractmethod
    def metadata(self) -> t.Iterator[tuple[int, int]]:
        """The (offset, length) ranges of the file that hold headers and tables."""

    def end_of_grains(self) -> int | None:
        """Where in the file the last grain can end (bytes); None where what no table names can be free on purpose."""
        return self.storage.size


class Budget:
    """Counts the bytes that the tables of a file name in one walk: together they cannot be more than there are.

    No two grains share their bytes. Were it not looked at, a small file could stand for a huge disk.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._left = storage.size

    def spend(self, offset: int, length: int) -> None:
        """:raises CorruptImage: the ``length`` bytes at ``offset`` are more than can be left"""
        self._left -= length
        if self._left < 0:
            raise CorruptImage("several table entries name the same grain or table", path=self._storage.name, offset=offset)

    def watch(self, extents: t.Iterable[Extent]) -> t.Iterator[Extent]:
        """:raises CorruptImage: the bytes that the extents name are more than can be left"""
        for extent in extents:
            if extent.kind == DATA or extent.kind == COMPRESSED:
                self.spend(extent.offset, extent.stored.length if extent.stored else extent.length)
            yield extent


def end_of_zeros(raw: bytes, width: int, index: int, last: int) -> int:
    """The first entry from ``index`` on, up to ``last``, that is not zero."""
    found = _NOT_ZERO.search(raw, index * width, last * width)
    return found.start() // width if found else last
