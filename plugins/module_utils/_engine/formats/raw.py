# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Raw: the guest's bytes as they are. Source of the block-device rules: qemu's block/raw-format.c, file-posix.c."""

from __future__ import annotations

import typing as t

from ..extents import DATA, HOLE, Extent
from ..limits import KIB
from ..storage.base import Storage
from .base import ImageInfo, Reader, Target, Writer, check_virtual_size, whole_sectors

if t.TYPE_CHECKING:  # pragma: no cover
    from ..storage.sink import Sink


class RawReader(Reader):
    """Any bytes. A guest sees whole sectors: what is missing in the last one reads as zeros, as in qemu."""

    format = "raw"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self.virtual_size = check_virtual_size(whole_sectors(storage.size), storage.name)

    def describe(self) -> ImageInfo:
        return ImageInfo(self.format, self.virtual_size)

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        position, end = self.range(start, length)
        for offset, size in self.storage.data_ranges(position, end):
            if offset > position:
                yield Extent(position, offset - position, HOLE)
            yield Extent(offset, size, DATA, self.storage, offset)
            position = offset + size
        if position < end:
            yield Extent(position, end - position, HOLE)


class RawWriter(Writer):
    """A sparse file. 4 KiB is the block size of the usual file systems: smaller holes save nothing."""

    unit = 4 * KIB

    def __init__(self, sink: Sink, virtual_size: int, target: Target) -> None:
        # An ISO is copied byte by byte; a disk has whole sectors, whatever it comes from.
        super().__init__(sink, virtual_size if target.format == "iso" else whole_sectors(virtual_size), target)

    def write(self, start: int, data: t.Any) -> None:
        self.sink.write_at(start, data)

    def finish(self) -> None:
        self.sink.truncate(self.virtual_size)
