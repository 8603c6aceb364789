# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The guest's disk as a storage, so that volumes and file systems are read the same way whatever image they lie in."""

from __future__ import annotations

import collections
import typing as t

from ..extents import DATA
from ..formats.base import Reader
from ..limits import KIB
from ..storage.base import Storage

BLOCK = 64 * KIB
"""Read and kept as one: file systems ask for many small structures that lie near each other."""
KEPT = 256
"""blocks in memory, 16 MiB"""


class DiskStorage(Storage):
    """The bytes that the guest sees on a disk.

    :param reader: an image whose content can be given; not closed with this one
    """

    def __init__(self, reader: Reader) -> None:
        reader.require_readable()
        self._reader = reader
        self.name = reader.storage.name
        self.size = reader.virtual_size
        self.sequential = reader.storage.sequential
        self._blocks: collections.OrderedDict[int, bytes] = collections.OrderedDict()

    def read_at(self, offset: int, length: int) -> bytes:
        """:raises ImageError: the image is damaged there"""
        end = min(offset + length, self.size)
        if offset < 0 or offset >= end:
            return b""
        if end - offset > BLOCK:
            return self._reader.read_at(offset, end - offset)
        first, last = offset // BLOCK, (end - 1) // BLOCK
        if first == last:
            return self._block(first)[offset % BLOCK : offset % BLOCK + end - offset]
        return self._block(first)[offset % BLOCK :] + self._block(last)[: end - last * BLOCK]

    def read_into(self, offset: int, buffer: memoryview, what: str) -> None:
        """:raises ImageError: the image is damaged there"""
        self.require(offset, len(buffer), what)
        for extent in self._reader.extents(offset, len(buffer)):
            part = buffer[extent.start - offset : extent.end - offset]
            if extent.kind == DATA and extent.storage is not None:
                extent.storage.read_into(extent.offset, part, what)
            else:
                part[:] = self._reader.read_extent(extent)

    def data_ranges(self, start: int = 0, end: int | None = None) -> t.Iterator[tuple[int, int]]:
        end = self.size if end is None else min(end, self.size)
        for extent in self._reader.extents(start, max(0, end - start)):
            if not extent.is_zero:
                yield extent.start, extent.length

    def changed(self) -> bool:
        return self._reader.storage.changed()

    def _block(self, number: int) -> bytes:
        found = self._blocks.pop(number, None)
        if found is None:
            found = self._reader.read_at(number * BLOCK, BLOCK)
            if len(self._blocks) >= KEPT:
                self._blocks.popitem(last=False)
        self._blocks[number] = found
        return found
