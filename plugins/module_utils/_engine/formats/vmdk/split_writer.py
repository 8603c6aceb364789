# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Writing the disks whose data lies in files beside their descriptor: monolithicFlat, twoGbMaxExtentFlat, twoGbMaxExtentSparse.

Source: VMware, "Virtual Disk Format 5.0", sections "The Descriptor File" and "Simple Extents"; names and sizes as in
names.py. The descriptor is the only file whose bytes follow the name of the result: it has to name the others.
"""

from __future__ import annotations

import abc
import os
import typing as t

from ...identity import ContentIdentity
from ...limits import KIB, SECTOR
from ..base import Target, Writer, whole_sectors
from . import descriptor
from .names import MONOLITHIC_FLAT, SPLIT_SIZE, SPLIT_SPARSE, extent_names
from .sparse_writer import GRAIN_BYTES, SparseFile, capacity

if t.TYPE_CHECKING:  # pragma: no cover
    from ...storage.sink import Sink


def create(sink: Sink, virtual_size: int, target: Target) -> Writer:
    """The writer of a disk in several files.

    :param sink: the descriptor's; those of the other files are got from it
    :param target: its subformat is one of names.IN_SEVERAL_FILES
    :raises UnsupportedImage: an empty disk, or a name that cannot stand in a descriptor
    :raises LimitExceeded: there would be too many files
    :raises AccessError: something else already has the name of one of the files
    """
    return (SplitSparseWriter if target.subformat == SPLIT_SPARSE else FlatWriter)(sink, virtual_size, target)


class _FilesWriter(Writer):
    """Cuts the disk into files of one size."""

    identity: ContentIdentity

    def __init__(self, sink: Sink, virtual_size: int, target: Target) -> None:
        super().__init__(sink, whole_sectors(virtual_size), target)
        self._options = descriptor.Options.of(target)
        self._create_type = target.subformat or ""
        self._sectors = capacity(self.virtual_size)
        self.identity = ContentIdentity(f"vmdk {self._create_type}", self.virtual_size)
        self._names = extent_names(sink.name, self._create_type, self.virtual_size)
        sink.reserve(len(self._names))
        self._sinks = [sink.beside(name) for name in self._names]
        self._span = self.virtual_size if self._create_type == MONOLITHIC_FLAT else SPLIT_SIZE

    def write(self, start: int, data: t.Any) -> None:
        view = memoryview(data)
        while len(view):
            number, inside = divmod(start, self._span)
            length = min(len(view), self._span - inside)
            self._write(number, inside, view[:length])
            start, view = start + length, view[length:]

    @abc.abstractmethod
    def _write(self, number: int, start: int, data: memoryview) -> None:
        """Write to one of the files, at the offset ``start`` (bytes) of its part of the disk."""

    def finish(self) -> None:
        lines = [self._line(name, self._size(number)) for number, name in enumerate(self._names)]
        encoding = None if os.path.basename(self.sink.name).isascii() else "UTF-8"
        self.sink.write_at(0, descriptor.build(self._create_type, self._sectors, self._options, self.identity, lines, encoding))

    @abc.abstractmethod
    def _line(self, name: str, size: int) -> descriptor.ExtentLine: ...

    def _size(self, number: int) -> int:
        """Bytes of the disk in one of the files."""
        return min(self._span, self.virtual_size - number * self._span)


class FlatWriter(_FilesWriter):
    """The guest's bytes as they are, in sparse files."""

    unit = 4 * KIB

    def _write(self, number: int, start: int, data: memoryview) -> None:
        self._sinks[number].write_at(start, data)

    def finish(self) -> None:
        for number, sink in enumerate(self._sinks):
            sink.truncate(self._size(number))
        super().finish()

    def _line(self, name: str, size: int) -> descriptor.ExtentLine:
        return descriptor.ExtentLine("RW", size // SECTOR, "FLAT", name, 0)


class SplitSparseWriter(_FilesWriter):
    """A sparse extent in each of the files. As in those by VMware, there is no room for a descriptor in them."""

    unit = GRAIN_BYTES

    def __init__(self, sink: Sink, virtual_size: int, target: Target) -> None:
        super().__init__(sink, virtual_size, target)
        self._files = [
            SparseFile(part, self._size(number) // SECTOR, embedded=False, zeroed_grain=self._options.zeroed_grain) for number, part in enumerate(self._sinks)
        ]

    def _write(self, number: int, start: int, data: memoryview) -> None:
        self._files[number].write(start, data)

    def finish(self) -> None:
        for file in self._files:
            file.finish()
        super().finish()

    def _line(self, name: str, size: int) -> descriptor.ExtentLine:
        return descriptor.ExtentLine("RW", size // SECTOR, "SPARSE", name)
