# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Which blocks a file has: trees of extents (ext4), or lists of blocks (ext2, ext3).

Source: Linux, Documentation/filesystems/ext4, ifork.rst and blockmap.rst.
"""

from __future__ import annotations

import struct
import typing as t

from ..mapped import Run
from .inodes import Inode
from .layout import EXTENT_HEADER, EXTENT_MAGIC, EXTENT_SIZE, FLAG_EXTENTS, MAX_EXTENT_DEPTH, MAX_WRITTEN
from .superblock import checksum
from .volume import Volume

_DIRECT = 12
"""blocks that the inode itself lists"""


def runs(volume: Volume, inode: Inode) -> t.Iterator[Run]:
    """The parts of a file with data, in the order of the file, up to its size or beyond. What was reserved and not written is a hole.

    :raises CorruptImage: the map is damaged
    """
    unit = volume.block_size
    mapper = _Extents(volume, inode).runs() if inode.has(FLAG_EXTENTS) else _Blocks(volume, inode).runs()
    for logical, count, physical in mapper:
        yield Run(logical * unit, count * unit, physical * unit)


class _Map:
    """What both kinds of map have in common: each block of a map is met only once, so that no loop is endless."""

    def __init__(self, volume: Volume, inode: Inode) -> None:
        self.volume = volume
        self.inode = inode
        self.what = f"the map of inode {inode.number}"
        self._met: set[int] = set()

    def read(self, block: int) -> bytes:
        if block in self._met:
            raise self.volume.corrupt(f"{self.what} has block {block} twice", self.inode.offset)
        self._met.add(block)
        return self.volume.read_block(block, self.what)


class _Extents(_Map):
    """A tree whose leaves hold extents: runs of blocks."""

    _position = 0
    """the first block of the file that has not been spoken of"""

    def runs(self) -> t.Iterator[tuple[int, int, int]]:
        root = self.inode.fields.i_block
        depth = EXTENT_HEADER.unpack(root).eh_depth
        if depth > MAX_EXTENT_DEPTH:
            raise self.volume.corrupt(f"{self.what} has {depth} levels", self.inode.offset)
        return self._node(root, depth)

    def _node(self, node: bytes, depth: int) -> t.Iterator[tuple[int, int, int]]:
        """The runs below a node: first block in the file, number of blocks, first block on the volume."""
        header = EXTENT_HEADER.unpack(node)
        if header.eh_magic != EXTENT_MAGIC or header.eh_depth != depth or not header.eh_entries <= header.eh_max <= len(node) // EXTENT_SIZE - 1:
            raise self.volume.corrupt(f"{self.what} is damaged", self.inode.offset)
        entries = node[EXTENT_SIZE : EXTENT_SIZE * (1 + header.eh_entries)]
        if not depth:
            yield from self._leaf(entries)
            return
        for block, leaf_lo, leaf_hi, _unused in struct.iter_unpack("<IIHH", entries):
            self._advance(block, block)
            yield from self._node(self._child(leaf_hi << 32 | leaf_lo), depth - 1)

    def _leaf(self, entries: bytes) -> t.Iterator[tuple[int, int, int]]:
        for block, length, start_hi, start_lo in struct.iter_unpack("<IHHI", entries):
            is_written = length <= MAX_WRITTEN
            count = length if is_written else length - MAX_WRITTEN
            self._advance(block, block + count)
            if not count:
                raise self.volume.corrupt(f"{self.what} has an extent without blocks", self.inode.offset)
            if is_written:
                start = start_hi << 32 | start_lo
                self.volume.offset(start, count, self.what)
                yield block, count, start

    def _advance(self, block: int, end: int) -> None:
        if block < self._position or end > 1 << 32:
            raise self.volume.corrupt(f"{self.what} is not in the order of the file", self.inode.offset)
        self._position = end

    def _child(self, block: int) -> bytes:
        node = self.read(block)
        if self.volume.superblock.has_checksums:
            tail = EXTENT_SIZE * (1 + EXTENT_HEADER.unpack(node).eh_max)
            if tail + 4 > len(node) or struct.unpack_from("<I", node, tail)[0] != checksum(self.inode.seed, node[:tail]):
                raise self.volume.corrupt(f"the checksum of {self.what} is wrong", block * self.volume.block_size)
        return node


class _Blocks(_Map):
    """Lists of blocks: 12 in the inode, then lists in blocks, lists of lists, and lists of these."""

    def runs(self) -> t.Iterator[tuple[int, int, int]]:
        pointers = struct.unpack("<15I", self.inode.fields.i_block)
        needed = -(-self.inode.size // self.volume.block_size)
        yield from self._data(pointers[:_DIRECT], 0, needed)
        logical = _DIRECT
        for level, pointer in enumerate(pointers[_DIRECT:], 1):
            yield from self._lists((pointer,), level, logical, needed)
            logical += (self.volume.block_size // 4) ** level

    def _lists(self, pointers: t.Sequence[int], level: int, logical: int, needed: int) -> t.Iterator[tuple[int, int, int]]:
        """The runs below pointers to lists.

        :param level: 0 when they point to data
        :param logical: the first block of the file that they lead to
        :param needed: blocks of the file; no more is looked at
        """
        if not level:
            yield from self._data(pointers, logical, needed)
            return
        per_list = self.volume.block_size // 4
        for pointer in pointers:
            if logical >= needed:
                return
            if pointer:
                yield from self._lists(struct.unpack(f"<{per_list}I", self.read(pointer)), level - 1, logical, needed)
            logical += per_list**level

    def _data(self, pointers: t.Sequence[int], logical: int, needed: int) -> t.Iterator[tuple[int, int, int]]:
        pointers = pointers[: max(0, needed - logical)]
        if pointers and pointers[0] and pointers == tuple(range(pointers[0], pointers[0] + len(pointers))):
            self.volume.offset(pointers[0], len(pointers), self.what)
            yield logical, len(pointers), pointers[0]  # a file that lies together, without a loop
            return
        at = 0
        while at < len(pointers):
            first = pointers[at]
            count = 1
            while at + count < len(pointers) and pointers[at + count] == (first + count if first else 0):
                count += 1
            if first:
                self.volume.offset(first, count, self.what)
                yield logical + at, count, first
            at += count
