# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""btrfs' trees: tree blocks, checked and kept, and what lies between two keys.

Source: btrfs documentation, "On-disk Format", "Header", "Leaf node", "Internal node"; what the kernel makes sure of when it
reads a block (Linux, fs/btrfs/disk-io.c, btrfs_validate_extent_buffer).
"""

from __future__ import annotations

import bisect
import collections
import struct
import typing as t

from ...errors import CorruptImage
from ...limits import MIB
from ...storage.base import Storage
from ...structure import Structure
from .checksum import is_intact
from .chunks import ChunkMap
from .superblock import MAX_LEVEL, Superblock

HEADER = Structure(
    "<",
    ("csum", "32s"),
    ("fsid", "16s"),
    ("bytenr", "Q"),
    ("flags", "Q"),
    ("chunk_tree_uuid", "16s"),
    ("generation", "Q"),
    ("owner", "Q"),
    ("nritems", "I"),
    ("level", "B"),
)
_ITEM = struct.Struct("<QBQII")
"""btrfs_item: key (objectid, type, offset), offset of the data behind the header, size of the data"""
_KEY_PTR = struct.Struct("<QBQQQ")
"""btrfs_key_ptr: key, blockptr, generation"""
KEPT = 2 * MIB
"""bytes of tree blocks in memory; with what is made of them, some ten times as much"""

Key = tuple[int, int, int]
LAST = (1 << 64) - 1
"""the largest objectid or offset"""


class Block(t.NamedTuple):
    """A tree block that was found to be good."""

    level: int
    entries: list[tuple[int, int, int, int, int]]
    """of a leaf _ITEM, else _KEY_PTR; in the order of their keys"""
    data: bytes
    """of a leaf what lies behind its header, else nothing"""


class Blocks:
    """Reads tree blocks.

    :param warnings: what was found on the way is added
    """

    def __init__(self, storage: Storage, superblock: Superblock, chunks: ChunkMap, warnings: list[str]) -> None:
        self._storage = storage
        self._uuid = superblock.tree_uuid
        self._csum_type = superblock.fields.csum_type
        self._size = superblock.fields.nodesize
        self._chunks = chunks
        self._warnings = warnings
        self._kept: collections.OrderedDict[int, tuple[int, Block]] = collections.OrderedDict()

    def read(self, bytenr: int, level: int, generation: int, first: Key | None) -> Block:
        """The block at a logical address, if it is what was pointed to.

        :param first: its first key, where the pointer tells
        :raises CorruptImage: it is another one, or damaged, and so is its copy
        """
        found = self._kept.pop(bytenr, None)
        if found is None:
            found = self._read(bytenr, level, generation, first)
            if len(self._kept) >= KEPT // self._size:
                self._kept.popitem(last=False)
        self._kept[bytenr] = found
        written, block = found
        if (written, block.level) != (generation, level) or first is not None and (not block.entries or block.entries[0][:3] != first):
            raise self._damaged(bytenr, None, "is not the one that was pointed to")
        return block

    def _read(self, bytenr: int, level: int, generation: int, first: Key | None) -> tuple[int, Block]:
        problem: CorruptImage | None = None
        for place in self._chunks.copies(bytenr, self._size):
            try:
                raw = self._storage.read_exact(place, self._size, "a tree block")
                block = self._parse(raw, bytenr, place, level, generation)
            except CorruptImage as error:
                problem = problem or error
                continue
            if problem is not None:
                warning = "tree blocks are damaged; their second copies were read. btrfs scrub repairs them"
                if warning not in self._warnings:
                    self._warnings.append(warning)
            return generation, block
        raise problem or self._damaged(bytenr, None, "is nowhere")

    def _parse(self, raw: bytes, bytenr: int, place: int, level: int, generation: int) -> Block:
        header = HEADER.unpack(raw)
        if not is_intact(raw, self._csum_type):
            raise self._damaged(bytenr, place, "does not agree with its checksum")
        if header.bytenr != bytenr or header.fsid != self._uuid:
            raise self._damaged(bytenr, place, "says that it belongs elsewhere")
        if header.level != level:
            raise self._damaged(bytenr, place, f"is of level {header.level} instead of {level}")
        if header.generation != generation:
            raise self._damaged(bytenr, place, f"is of generation {header.generation} instead of {generation}")
        form = _KEY_PTR if level else _ITEM
        room = self._size - HEADER.size
        count = header.nritems
        if count > room // form.size or level and not count:
            raise self._damaged(bytenr, place, f"cannot have {count} entries")
        body = raw[HEADER.size :]
        entries: list[t.Any] = list(form.iter_unpack(memoryview(body)[: count * form.size]))
        if any(before[:3] >= after[:3] for before, after in zip(entries, entries[1:])):
            raise self._damaged(bytenr, place, "has keys in no order")
        if level:
            return Block(level, entries, b"")
        if any(offset < count * form.size or offset + size > room for _objectid, _type, _offset, offset, size in entries):
            raise self._damaged(bytenr, place, "has items that do not lie in it")
        return Block(0, entries, body)

    def _damaged(self, bytenr: int, place: int | None, message: str) -> CorruptImage:
        return CorruptImage(f"the tree block of logical address {bytenr:#x} {message}", path=self._storage.name, offset=place)


class BTree:
    """A tree of items by key (objectid, type, offset).

    :param bytenr: logical address of its topmost block, and that block's ``level`` and ``generation``
    """

    def __init__(self, blocks: Blocks, bytenr: int, level: int, generation: int) -> None:
        self._blocks = blocks
        self._top = bytenr, level, generation

    def find(self, key: Key) -> bytes | None:
        """The item of a key; None if there is none.

        :raises CorruptImage: a block on the way is damaged
        """
        return next((data for _key, data in self.items(key, key)), None)

    def items(self, first: Key, last: Key, *, floor: bool = False) -> t.Iterator[tuple[Key, bytes]]:
        """The items with keys from ``first`` to ``last``, in order.

        Every pointer names the first key of its block, and keys ascend: no block is visited twice, so that this ends.

        :param floor: begin with the item before, if there is none of the key ``first``
        :raises CorruptImage: a block is damaged; items before it have been given
        """
        path: list[t.Iterator[tuple[int, int, int, int, int]]] = []
        block = self._blocks.read(*self._top, None)
        while True:
            entries = block.entries
            if block.level or floor:
                start = max(0, bisect.bisect_left(entries, (*first[:2], first[2] + 1)) - 1)
            else:
                start = bisect.bisect_left(entries, first)
            if block.level:
                path.append(iter(entries[start:]))
            else:
                for index in range(start, len(entries)):
                    objectid, kind, offset, at, size = entries[index]
                    key = (objectid, kind, offset)
                    if key > last:
                        return
                    yield key, block.data[at : at + size]
            pointer = None
            while path and pointer is None:
                pointer = next(path[-1], None)
                if pointer is None:
                    path.pop()
            if pointer is None or pointer[:3] > last:
                return
            level = self._top[1] - len(path)
            block = self._blocks.read(pointer[3], level, pointer[4], pointer[:3])


def check_level(level: int, name: str) -> int:
    """A tree's level as a root item has it.

    :raises CorruptImage: no tree is that high
    """
    if level >= MAX_LEVEL:
        raise CorruptImage(f"a tree of level {level}", path=name)
    return level
