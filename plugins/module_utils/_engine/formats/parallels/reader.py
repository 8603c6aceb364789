# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Reads Parallels' expandable images (``.hds``). See layout.py for the source of the rules.

Whether such a file is a disk of its own or the newest part of one with snapshots stands only in the DiskDescriptor.xml
of its folder: an image file does not say.
"""

from __future__ import annotations

import struct
import typing as t

from ...errors import CorruptImage, InvalidImage, LimitExceeded, UnsupportedImage
from ...extents import DATA, HOLE, Extent, merge, skip_holes
from ...limits import SECTOR
from ...storage.base import Storage
from ..base import CheckResult, ImageInfo, Reader, check_virtual_size
from . import layout

_PIECE = 1 << 16
"""entries of the BAT read at once (256 KiB)"""


class ParallelsReader(Reader):
    """An expandable image of Parallels Desktop, Virtuozzo or qemu, with either signature.

    :raises InvalidImage: no signature
    :raises UnsupportedImage: another version
    :raises CorruptImage: the header contradicts itself or the size of the file
    :raises LimitExceeded: the disk, its BAT or its clusters are too large
    """

    format = "parallels"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self._header = header = layout.HEADER.unpack(storage.read_at(0, layout.HEADER.size).ljust(layout.HEADER.size, b"\0"))
        name = storage.name
        if header.magic not in (layout.OLD, layout.EXTENDED):
            raise InvalidImage("not a Parallels image: no signature", path=name, offset=0)
        storage.require(0, layout.HEADER.size, "the header")
        if header.version != layout.VERSION:
            raise UnsupportedImage(f"version {header.version} of Parallels images is not known", path=name, offset=16)
        if not 0 < header.tracks <= layout.MAX_CLUSTER:
            raise CorruptImage(f"clusters of {header.tracks} sectors; 1 to {layout.MAX_CLUSTER} are possible", path=name, offset=28)
        if header.nb_bat_entries > layout.MAX_BAT:
            raise LimitExceeded(f"the BAT has {header.nb_bat_entries} entries; {layout.MAX_BAT} is the most that is taken", path=name, offset=32)
        self._old = header.magic == layout.OLD
        self._cluster = header.tracks * SECTOR
        self._unit = SECTOR if self._old else self._cluster
        """bytes that the BAT counts in"""
        sectors = header.nb_sectors & 0xFFFFFFFF if self._old else header.nb_sectors
        self.virtual_size = check_virtual_size(sectors * SECTOR, name)
        self._needed = -(-self.virtual_size // self._cluster)
        """BAT entries that the disk needs; there may be more"""
        if header.nb_bat_entries < self._needed:
            raise CorruptImage(f"the BAT has {header.nb_bat_entries} entries; the disk needs {self._needed}", path=name, offset=32)
        self._bat_end = layout.HEADER.size + 4 * header.nb_bat_entries
        storage.require(layout.HEADER.size, 4 * header.nb_bat_entries, "the BAT")
        self._highest: int | None = None
        """where the last allocated cluster ends in the file (0: none is), known when the BAT has been checked"""

    def describe(self) -> ImageInfo:
        header = self._header
        info = ImageInfo(
            self.format,
            self.virtual_size,
            subformat=header.magic.decode("ascii"),
            cluster_size=self._cluster,
            dirty=header.in_use == layout.IN_USE,
            format_specific={"heads": header.heads, "cylinders": header.cylinders, "data_off": header.data_off, "flags": header.flags},
        )
        if header.in_use not in (0, layout.IN_USE, layout.CLOSED):
            info.warnings.append(f"the header's field in_use has the value {header.in_use:#x}, which is not allowed")
        if header.flags & layout.EMPTY_IMAGE:
            info.warnings.append("the header's flag for an empty image is set; the BAT decides what is in it")
        if header.ext_off:
            self._describe_extension(info)
        return info

    def _describe_extension(self, info: ImageInfo) -> None:
        """Count the dirty bitmaps of backup programs. Extensions say nothing of the content."""
        offset = min(self._header.ext_off * SECTOR, self.storage.size)
        data = self.storage.read_at(offset, min(self._cluster, layout.MAX_EXTENSION))
        if len(data) < layout.EXTENSION.size or layout.EXTENSION.unpack(data).magic != layout.EXTENSION_MAGIC:
            info.warnings.append("the format extension that the header names is damaged")
            return
        position, bitmaps, unknown = layout.EXTENSION.size, 0, 0
        while position + layout.FEATURE.size <= len(data):
            feature = layout.FEATURE.unpack(data, position)
            if feature.magic == layout.END_OF_FEATURES:
                break
            bitmaps += feature.magic == layout.DIRTY_BITMAP
            unknown += feature.magic != layout.DIRTY_BITMAP
            position += layout.FEATURE.size + -(-feature.data_size // 8) * 8
        info.format_specific["bitmaps"] = bitmaps
        if unknown:
            info.warnings.append(f"{unknown} format extensions are not known")

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        self.require_readable()
        self._check_bat()
        start, end = self.range(start, length)
        if start < end:
            runs = self._runs(start // self._cluster, -(-end // self._cluster))
            yield from merge(skip_holes(self._extent(*run).clip(start, end) for run in runs))

    def check(self) -> CheckResult:
        """As ``qemu-img check``: an image that was not closed counts as damaged, space behind the last cluster as a leak."""
        result = super().check()
        if self._header.in_use == layout.IN_USE:
            result.corruptions.append("the image was not closed by its last writer")
        start, sound = self._data_start()
        if not sound:
            result.corruptions.append(f"the data offset of {self._header.data_off} sectors is wrong")
        size = self.storage.size
        if self._highest is not None:
            end = self._highest or max(start, self._cluster if self._needed else 0)
            if end > size and self._highest:
                result.corruptions.append(f"the last cluster ends at byte {end}, behind the end of the file ({size} bytes)")
            elif size > end:
                result.leaks.append(f"{size - end} bytes behind the last cluster are not used")
        return result

    def _data_start(self) -> tuple[int, bool]:
        """Where the data begin (host offset, bytes), and whether the header is right about it."""
        minimum = -(-self._bat_end // self._unit) * self._unit
        given = self._header.data_off * SECTOR
        if not given and self._old:
            return minimum, True
        sound = minimum <= given <= self.storage.size
        return (given if sound else minimum), sound

    def _extent(self, first: int, count: int, entry: int) -> Extent:
        start = first * self._cluster
        length = min(count * self._cluster, self.virtual_size - start)
        return Extent(start, length, DATA, self.storage, entry * self._unit) if entry else Extent(start, length, HOLE)

    def _check_bat(self) -> None:
        """Once, before the first extent is given: each cluster lies in the file, and belongs to one BAT entry.

        Two entries with one cluster cannot both be right, so the disk would be wrong.
        """
        if self._highest is not None:
            return
        storage, cluster = self.storage, self._cluster
        clusters = -(-storage.size // cluster)
        if clusters > layout.MAX_FILE_CLUSTERS:
            raise LimitExceeded(f"the file has {clusters} clusters; {layout.MAX_FILE_CLUSTERS} is the most that is taken", path=storage.name)
        used = bytearray()
        shift = None
        highest = 0
        for first, count, entry in self._runs(0, self._needed):
            if not entry:
                continue
            where, offset = layout.HEADER.size + 4 * first, entry * self._unit
            if offset < self._bat_end:
                raise CorruptImage(f"BAT entry {first} names a cluster on the header or on the BAT", path=storage.name, offset=where)
            extent = self._extent(first, count, entry)
            storage.require(offset, extent.length, f"the data of guest offset {extent.start:#x}")
            if shift is None:
                shift, used = offset % cluster, bytearray(clusters)
            if offset % cluster != shift:
                raise CorruptImage(f"BAT entry {first} names a cluster that is not aligned to the others", path=storage.name, offset=where)
            index = offset // cluster
            if used.count(1, index, index + count):
                raise CorruptImage(f"BAT entry {first} or one behind it names a cluster that another entry names, too", path=storage.name, offset=where)
            used[index : index + count] = b"\x01" * count
            highest = max(highest, offset + count * cluster)
        self._highest = highest

    def _runs(self, first: int, end: int) -> t.Iterator[tuple[int, int, int]]:
        """BAT entries ``first`` to ``end`` as runs (first entry, count, value of the first).

        In a run all entries are zero, or the clusters follow each other in the file.
        """
        follows = self._cluster // self._unit
        for piece in range(first, end, _PIECE):
            count = min(_PIECE, end - piece)
            raw = self.storage.read_exact(layout.HEADER.size + 4 * piece, 4 * count, "the BAT")
            if raw == bytes(len(raw)):
                yield piece, count, 0
                continue
            entries = struct.unpack(f"<{count}I", raw)
            position = 0
            while position < count:
                value = entries[position]
                step = follows if value else 0
                expected = value + step
                after = position + 1
                while after < count and entries[after] == expected:
                    expected += step
                    after += 1
                yield piece + position, after - position, value
                position = after
