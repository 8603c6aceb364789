# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The bytes of a file on btrfs. Source: btrfs documentation, "On-disk Format", EXTENT_DATA; Linux, uapi/linux/btrfs_tree.h."""

from __future__ import annotations

import collections
import typing as t

from ...errors import CorruptImage, UnsupportedImage
from ...storage.base import Storage
from . import items
from .btree import LAST, BTree
from .compression import MAX_EXTENT, decompress
from .forest import Forest

_KEPT = 8
"""decompressed extents in memory, 1 MiB"""


class Extent(t.NamedTuple):
    """A run of a file that is not a hole."""

    start: int
    """in the file, and its ``end``"""
    end: int
    compression: int
    inline: bytes | None
    """the data itself as it is stored, or None where it lies on the disk:"""
    disk_bytenr: int
    """the logical address of the whole extent"""
    disk_num_bytes: int
    ram_bytes: int
    """what the whole extent holds"""
    offset: int
    """of the run in what the extent holds"""


class FileContent(Storage):
    """A file's content. Where it lies is looked up as it is read; the tree's blocks are kept for that.

    :param inode: its number in the subvolume that ``tree`` is of
    :param size: bytes
    :param name: for messages
    """

    def __init__(self, forest: Forest, tree: BTree, inode: int, size: int, name: str) -> None:
        self._forest = forest
        self._tree = tree
        self._inode = inode
        self._sectorsize: int = forest.superblock.fields.sectorsize
        self._plain: collections.OrderedDict[int, bytes] = collections.OrderedDict()
        self.size = size
        self.name = name
        self.sequential = forest.storage.sequential

    def read_at(self, offset: int, length: int) -> bytes:
        """:raises ImageError: it is damaged there, or in a form that is not known"""
        end = min(offset + length, self.size)
        if offset < 0 or offset >= end:
            return b""
        parts = []
        position = offset
        for extent in self._extents(offset, end):
            start, stop = max(offset, extent.start), min(end, extent.end)
            if start > position:
                parts.append(bytes(start - position))
            parts.append(self._read(extent, start, stop))
            position = stop
        if position < end:
            parts.append(bytes(end - position))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def data_ranges(self, start: int = 0, end: int | None = None) -> t.Iterator[tuple[int, int]]:
        """:raises ImageError: where it lies is damaged, or in a form that is not known"""
        end = self.size if end is None else min(end, self.size)
        begin = stop = start
        for extent in self._extents(start, end):
            if extent.start > stop:
                if stop > begin:
                    yield begin, stop - begin
                begin = extent.start
            stop = min(end, extent.end)
        if stop > begin:
            yield begin, stop - begin

    def changed(self) -> bool:
        return self._forest.storage.changed()

    def _extents(self, start: int, end: int) -> t.Iterator[Extent]:
        """The runs that have a part between two offsets, in order; what lies between them is a hole.

        :raises CorruptImage: they overlap, or contradict themselves
        :raises UnsupportedImage: they are encrypted
        """
        covered = 0
        for (inode, kind, offset), data in self._tree.items(
            (self._inode, items.EXTENT_DATA, start), (self._inode, items.EXTENT_DATA, max(start, end - 1)), floor=True
        ):
            if (inode, kind) != (self._inode, items.EXTENT_DATA):  # the item before the first of this file
                continue
            if offset < covered:
                raise self._damaged(f"two extents hold what is at {offset}")
            extent, covered = self._extent(offset, data)
            if extent is not None and extent.end > start and extent.start < end:
                yield extent

    def _extent(self, start: int, data: bytes) -> tuple[Extent | None, int]:
        """A run of the file, or None for a hole; and its end."""
        if len(data) < items.FILE_EXTENT.size:
            raise self._damaged(f"the extent at {start} is cut")
        item = items.FILE_EXTENT.unpack(data)
        if item.encryption or item.other_encoding:
            raise UnsupportedImage("the file is encrypted, or encoded in an unknown way", path=self.name)
        if item.type == items.INLINE:
            inline = data[items.FILE_EXTENT.size :]
            size = item.ram_bytes if item.compression else len(inline)
            if start or size > MAX_EXTENT:
                raise self._damaged(f"the inline extent at {start} has {size} bytes")
            return Extent(0, size, item.compression, inline, 0, len(inline), size, 0), size
        if item.type not in (items.REGULAR, items.PREALLOC) or len(data) < items.FILE_EXTENT.size + items.FILE_EXTENT_ON_DISK.size:
            raise self._damaged(f"the extent at {start} is of type {item.type} and has {len(data)} bytes")
        place = items.FILE_EXTENT_ON_DISK.unpack(data, items.FILE_EXTENT.size)
        end = start + place.num_bytes
        if not place.num_bytes or end > LAST:
            raise self._damaged(f"the extent at {start} has {place.num_bytes} bytes")
        if not place.disk_bytenr or item.type == items.PREALLOC:
            return None, end
        if place.offset + place.num_bytes > item.ram_bytes or not item.compression and place.offset + place.num_bytes > place.disk_num_bytes:
            raise self._damaged(f"the extent at {start} is longer than what it is a part of")
        if item.compression and max(item.ram_bytes, place.disk_num_bytes) > MAX_EXTENT:
            raise self._damaged(f"the compressed extent at {start} has {place.disk_num_bytes} bytes, and {item.ram_bytes} in memory")
        return Extent(start, end, item.compression, None, place.disk_bytenr, place.disk_num_bytes, item.ram_bytes, place.offset), end

    def _read(self, extent: Extent, start: int, stop: int) -> bytes:
        """The bytes between two offsets of the file that lie in the run."""
        begin, end = start - extent.start + extent.offset, stop - extent.start + extent.offset
        if extent.compression:
            return self._decompressed(extent)[begin:end]
        if extent.inline is not None:
            return extent.inline[begin:end]
        return self._stored(extent.disk_bytenr + begin, end - begin)

    def _decompressed(self, extent: Extent) -> bytes:
        found = self._plain.pop(extent.disk_bytenr, None)
        if found is None:
            data = self._stored(extent.disk_bytenr, extent.disk_num_bytes) if extent.inline is None else extent.inline
            found = decompress(extent.compression, data, extent.ram_bytes, self._sectorsize, self.name)
            if len(self._plain) >= _KEPT:
                self._plain.popitem(last=False)
        self._plain[extent.disk_bytenr] = found
        return found

    def _stored(self, logical: int, length: int) -> bytes:
        storage = self._forest.storage
        parts = [storage.read_exact(place, size, "a file's extent") for place, size in self._forest.chunks.runs(logical, length)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _damaged(self, message: str) -> CorruptImage:
        return CorruptImage(f"inode {self._inode}: {message}", path=self.name)
