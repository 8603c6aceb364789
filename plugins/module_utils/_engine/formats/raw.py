# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Raw: the guest's bytes as they are. Source of the block-device rules: qemu's block/raw-format.c, file-posix.c."""

from __future__ import annotations

import typing as t

from ..errors import printable
from ..extents import DATA, HOLE, Extent
from ..limits import KIB, MIB
from ..storage.base import Storage
from .base import ImageInfo, Reader, Target, Writer, check_virtual_size, whole_sectors
from .options import impossible

if t.TYPE_CHECKING:  # pragma: no cover
    from ..storage.sink import Sink

_ZEROS = memoryview(bytes(MIB))


class RawReader(Reader):
    """Any bytes. A guest sees whole sectors: what is missing in the last one reads as zeros, as in qemu."""

    format = "raw"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self.virtual_size = check_virtual_size(whole_sectors(storage.size), storage.name)

    def describe(self) -> ImageInfo:
        info = ImageInfo(self.format, self.virtual_size)
        if self.storage.name.endswith(".vmdk"):
            from .vmdk.siblings import descriptor_of

            disk = descriptor_of(self.storage)
            if disk:
                info.warnings.append(f"this is a data file of the VMDK '{printable(disk)}': name that instead, or parts of the disk may be missing")
        return info

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        position, end = self.range(start, length)
        for offset, size in self.storage.data_ranges(position, end):
            if offset > position:
                yield Extent(position, offset - position, HOLE)
            yield Extent(offset, size, DATA, self.storage, offset)
            position = offset + size
        if position < end:
            yield Extent(position, end - position, HOLE)


def preallocation(target: Target) -> str:
    """The creation option: ``off`` (zeros are holes), ``falloc`` (room is reserved for all) or ``full`` (zeros are written).

    :raises UnsupportedImage: another value
    """
    value = target.options.get("preallocation", "off")
    if value not in ("off", "falloc", "full"):
        raise impossible(target, "preallocation", "off, falloc or full")
    return value


class RawWriter(Writer):
    """A sparse file, unless it is to be preallocated. 4 KiB is the block size of the usual file systems: smaller holes save nothing."""

    unit = 4 * KIB

    def __init__(self, sink: Sink, virtual_size: int, target: Target) -> None:
        # An ISO is copied byte by byte; a disk has whole sectors, whatever it comes from.
        super().__init__(sink, virtual_size if target.format == "iso" else whole_sectors(virtual_size), target)
        wanted = preallocation(target)
        self._full = wanted == "full"
        self._written = 0
        if wanted != "off" and self.virtual_size:
            sink.allocate(0, self.virtual_size)  # a full disk is told before anything is written

    def write(self, start: int, data: t.Any) -> None:
        if self._full:
            self._fill(start)
            self._written = start + len(data)
        self.sink.write_at(start, data)

    def write_zeros(self, start: int, length: int) -> None:
        """On a device, where there may be something else."""
        for offset in range(start, start + length, len(_ZEROS)):
            self.sink.write_at(offset, _ZEROS[: start + length - offset])

    def _fill(self, end: int) -> None:
        """Write zeros where nothing was written up to ``end`` (bytes)."""
        for start in range(self._written, end, len(_ZEROS)):
            self.sink.write_at(start, _ZEROS[: end - start])

    def finish(self) -> None:
        if self._full:
            self._fill(self.virtual_size)
        self.sink.truncate(self.virtual_size)
