# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""A disk of another size than its image has: grown with zeros, or cut where nothing is lost."""

from __future__ import annotations

import typing as t

from ..errors import LimitExceeded, UnsupportedImage
from ..extents import HOLE, Extent
from ..formats.base import CheckResult, ImageInfo, Reader, Reference
from ..limits import MAX_VIRTUAL_SIZE, SECTOR
from ..progress import Progress, silent
from .cells import ZEROS, Buffers, cells, load


def size_for(size: int, *, virtual_size: int | None = None, align: int = 1, minimum: int = 0) -> int:
    """The size that a disk is to have, in bytes.

    :param size: the disk's own
    :param virtual_size: the one that is asked for, instead of its own
    :param align: the result is a multiple of this, rounded up
    :param minimum: and at least this
    :raises UnsupportedImage: no possible size
    :raises LimitExceeded: larger than the engine allows
    """
    for name, value, least in (("align", align, 1), ("virtual_size", virtual_size, SECTOR)):
        if value is not None and value < least:
            raise UnsupportedImage(f"{name} is at least {least} bytes, not {value}")
    if virtual_size is not None and virtual_size % SECTOR:
        raise UnsupportedImage(f"virtual_size is a multiple of {SECTOR} bytes, which {virtual_size} is not")
    wanted = max(size if virtual_size is None else virtual_size, minimum)
    wanted = -(-wanted // align) * align
    if wanted > MAX_VIRTUAL_SIZE:
        raise LimitExceeded(f"a disk of {wanted} bytes is asked for; {MAX_VIRTUAL_SIZE} is the most that is written")
    return wanted


def resize(reader: Reader, size: int, *, progress: Progress = silent) -> Reader:
    """The disk with another size. What is added reads as zeros; what is cut off has to be zeros.

    :param size: bytes
    :raises UnsupportedImage: there is data behind the new end
    :raises ImageError: the disk cannot be read there
    """
    if size == reader.virtual_size:
        return reader
    if size < reader.virtual_size:
        _require_zeros(reader, size, progress)
    return Resized(reader, size)


def _require_zeros(reader: Reader, start: int, progress: Progress) -> None:
    reader.require_readable()
    buffers = Buffers()
    for cell in cells(reader, start):
        progress("shrink", cell.start - start, reader.virtual_size - start)
        buffer = buffers.take()
        load(cell, buffer)
        first = max(0, start - cell.start)
        rest = memoryview(buffer)[first:]
        if rest != memoryview(ZEROS)[first:]:
            at = cell.start + first + next(index for index, byte in enumerate(rest) if byte)
            raise UnsupportedImage(
                f"the disk cannot be cut to {start} bytes: there is data behind that, at guest offset {at:#x}",
                path=reader.storage.name,
                hint="Shrink its partitions and file systems first; the second copy of a GPT at the end counts, too",
            )
        buffers.give_back(buffer)


class Resized(Reader):
    """Another reader's disk, cut or continued with zeros.

    :param reader: whose content it is; closed with this one
    :param size: bytes
    """

    def __init__(self, reader: Reader, size: int) -> None:
        super().__init__(reader.storage)
        self._reader = reader
        self.format = reader.format
        self.virtual_size = size
        self.followed = reader.followed

    def describe(self) -> ImageInfo:
        return self._reader.describe()

    def references(self) -> list[Reference]:
        return self._reader.references()

    def unreadable_reason(self) -> str | None:
        return self._reader.unreadable_reason()

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        start, end = self.range(start, length)
        inside = min(end, self._reader.virtual_size)
        if start < inside:
            yield from self._reader.extents(start, inside - start)
        if end > max(start, inside):
            yield Extent(max(start, inside), end - max(start, inside), HOLE)

    def check(self) -> CheckResult:
        return self._reader.check()
