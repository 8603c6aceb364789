# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Reads QED images. See layout.py for the source of the rules."""

from __future__ import annotations

import array
import typing as t

from ...errors import CorruptImage, InvalidImage, UnsupportedImage, printable
from ...extents import DATA, HOLE, ZERO, Extent
from ...limits import SECTOR
from ...storage.base import Storage
from ..base import CheckResult, ImageInfo, Reference, check_virtual_size
from ..two_level import TwoLevelReader, run_end
from . import layout

if t.TYPE_CHECKING:  # pragma: no cover
    from ..chain import Files

_MESSAGES = 20


class QedReader(TwoLevelReader):
    """A QED image. The content of an overlay is given when its backing file may be read.

    :raises InvalidImage: no QED signature
    :raises UnsupportedImage: it has features that nothing here knows
    :raises CorruptImage: the header contradicts itself or the size of the file
    :raises LimitExceeded: the disk or its L1 table is too large
    """

    format = "qed"
    order = "little"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self._header = header = layout.HEADER.unpack(storage.read_at(0, layout.HEADER.size).ljust(layout.HEADER.size, b"\0"))
        if header.magic != layout.MAGIC:
            raise InvalidImage("not a QED image: no signature", path=storage.name, offset=0)
        storage.require(0, layout.HEADER.size, "the header")
        self._check_header()
        self.virtual_size = check_virtual_size(header.image_size, storage.name)
        self._end = storage.size // header.cluster_size * header.cluster_size
        """where the last whole cluster ends"""
        self._backing = self._read_backing_name()
        table = header.table_size * header.cluster_size
        if header.l1_table_offset % header.cluster_size:
            raise CorruptImage(f"the L1 table offset {header.l1_table_offset:#x} is not aligned to a cluster", path=storage.name, offset=40)
        self.set_tables(header.l1_table_offset, table // 8, header.cluster_size, header.header_size * header.cluster_size, table)

    def _check_header(self) -> None:
        header, name = self._header, self.storage.name
        unknown = header.features & ~(layout.BACKING_FILE | layout.NEED_CHECK | layout.BACKING_FORMAT_NO_PROBE)
        if unknown:
            raise UnsupportedImage(f"the image has features that are not known ({unknown:#x})", path=name, offset=16)
        cluster, table = header.cluster_size, header.table_size
        if not layout.MIN_CLUSTER <= cluster <= layout.MAX_CLUSTER or cluster & (cluster - 1):
            raise CorruptImage(f"cluster size of {cluster} bytes is not a power of two from 4 KiB to 64 MiB", path=name, offset=4)
        if not 1 <= table <= layout.MAX_TABLE or table & (table - 1):
            raise CorruptImage(f"table size of {table} clusters is not a power of two from 1 to {layout.MAX_TABLE}", path=name, offset=8)
        if not header.header_size:
            raise CorruptImage("the header says that it has no clusters", path=name, offset=12)
        if header.image_size % SECTOR:
            raise CorruptImage(f"the disk size of {header.image_size} bytes is no multiple of {SECTOR}", path=name, offset=48)

    def _read_backing_name(self) -> str | None:
        header = self._header
        if not header.features & layout.BACKING_FILE or not header.backing_filename_size:
            return None
        offset, size = header.backing_filename_offset, header.backing_filename_size
        if size > layout.MAX_BACKING_NAME or offset + size > header.header_size * header.cluster_size or offset < layout.HEADER.size:
            raise CorruptImage(f"the backing file name ({size} bytes at {offset}) does not lie behind the header", path=self.storage.name, offset=56)
        return self.storage.read_exact(offset, size, "the backing file name").decode("utf-8", "surrogateescape")

    def describe(self) -> ImageInfo:
        header = self._header
        return ImageInfo(
            self.format,
            self.virtual_size,
            cluster_size=header.cluster_size,
            dirty=bool(header.features & layout.NEED_CHECK),
            references=self.references(),
            format_specific={
                "table_size": header.table_size,
                "header_size": header.header_size,
                "compat_features": header.compat_features,
                "autoclear_features": header.autoclear_features,
            },
        )

    def references(self) -> list[Reference]:
        return [] if self._backing is None else [Reference("backing", self._backing, self._backing_format())]

    def _backing_format(self) -> str | None:
        return "raw" if self._header.features & layout.BACKING_FORMAT_NO_PROBE else None

    def follow(self, files: Files) -> None:
        if self._backing is not None:
            self.parent = files.image([self._backing], self._backing_format())

    def unreadable_reason(self) -> str | None:
        if self._backing is None or self.parent is not None:
            return None
        name = printable(self._backing)
        return f"the image is an overlay; the rest of its data lies in the backing file, '{name}'; merge them first (qemu-img convert does)"

    def runs(self, guest: int, entries: array.array[int], where: int) -> t.Iterator[Extent]:
        storage, cluster = self.storage, self.cluster_size
        index = 0
        while index < len(entries):
            entry, start = entries[index], guest + index * cluster
            if entry <= layout.ZERO_CLUSTER:
                after = run_end(entries, index, 0)
                yield Extent(start, (after - index) * cluster, ZERO if entry else HOLE)
            else:
                after = run_end(entries, index, cluster)
                length = (after - index) * cluster
                if entry % cluster or entry < self.first:
                    what = "is not aligned to a cluster" if entry % cluster else "lies in the header"
                    raise CorruptImage(f"the offset {entry:#x} of a cluster {what}", path=storage.name, offset=where + 8 * index)
                storage.require(entry, length, f"the data of guest offset {start:#x}")
                yield Extent(start, length, DATA, storage, entry)
            index = after

    def check_gaps(self, ranges: list[tuple[int, int, str]], result: CheckResult) -> None:
        cluster, position = self.cluster_size, self.first
        for offset, length, _what in [*ranges, (self._end, 0, "")]:
            if offset > position:
                if len(result.leaks) == _MESSAGES:
                    result.leaks.append("and more")
                    return
                result.leaks.append(f"{(offset - position) // cluster} clusters at byte {position:#x} are not used")
            position = max(position, offset + length)
