# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""btrfs' trees of one volume: the root tree, and those of its subvolumes."""

from __future__ import annotations

import typing as t

from ...errors import CorruptImage, LimitExceeded
from ...storage.base import Storage
from . import items
from .btree import LAST, Blocks, BTree, check_level
from .chunks import ChunkMap
from .superblock import Superblock, read_superblock

MAX_SUBVOLUMES = 100_000
"""that are listed; snapper keeps some hundred snapshots"""
MAX_DEPTH = 200
"""directories below each other on the way to a subvolume"""
_DEFAULT = b"default"


class Forest:
    """All trees of a file system.

    :raises CorruptImage: the superblock, the chunks or the root tree are damaged
    :raises UnsupportedImage: a feature is not known, or other devices are needed
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.name = storage.name
        self.superblock = read_superblock(storage)
        self.warnings = list(self.superblock.signature.warnings)
        self.chunks = _read_chunks(storage, self.superblock, self.warnings)
        self._blocks = Blocks(storage, self.superblock, self.chunks, self.warnings)
        fields = self.superblock.fields
        self._roots = BTree(self._blocks, fields.root, fields.root_level, fields.generation)
        self._trees: dict[int, BTree | None] = {}

    def tree(self, subvolume: int) -> BTree | None:
        """The files of a subvolume; None when there is no such subvolume.

        :raises CorruptImage: the root tree is damaged
        """
        if subvolume not in self._trees:
            if len(self._trees) >= MAX_SUBVOLUMES:
                self._trees.clear()
            self._trees[subvolume] = self._open(subvolume)
        return self._trees[subvolume]

    def default(self) -> int:
        """The subvolume that is mounted when none is asked for.

        :raises CorruptImage: the root tree is damaged
        """
        data = self._roots.find((self.superblock.fields.root_dir_objectid, items.DIR_ITEM, items.name_hash(_DEFAULT)))
        for entry in items.entries(data or b"", self.name):
            if entry.name == _DEFAULT and entry.key_type == items.ROOT_ITEM:
                return entry.objectid
        return items.FS_TREE

    def is_reference(self, parent: int, directory: int, name: bytes, child: int) -> bool:
        """Whether a directory entry is where a subvolume hangs; in a snapshot of what it hangs in, the same entry is not.

        :raises CorruptImage: the root tree is damaged
        """
        data = self._roots.find((parent, items.ROOT_REF, child))
        return data is not None and items.reference(items.ROOT_REFERENCE, data, self.name) == (directory, name)

    def subvolumes(self) -> list[tuple[int, bytes]]:
        """(number, path) of all subvolumes but the topmost, by number. The path begins at the topmost subvolume.

        :raises CorruptImage: a tree is damaged, or subvolumes lie in each other
        :raises LimitExceeded: there are too many, or they lie too deep
        """
        hung: dict[int, tuple[int, int, bytes]] = {}
        for (child, kind, parent), data in self._roots.items((items.FIRST_FREE, 0, 0), (items.LAST_FREE, LAST, LAST)):
            if kind == items.ROOT_BACKREF:
                hung[child] = (parent, *items.reference(items.ROOT_REFERENCE, data, self.name))
                if len(hung) > MAX_SUBVOLUMES:
                    raise LimitExceeded(f"more than {MAX_SUBVOLUMES} subvolumes", path=self.name)
        return [(child, self._path(child, hung)) for child in sorted(hung)]

    def _path(self, child: int, hung: t.Mapping[int, tuple[int, int, bytes]]) -> bytes:
        parts: list[bytes] = []
        while child != items.FS_TREE:
            if child not in hung:
                raise CorruptImage(f"subvolume {child} hangs nowhere", path=self.name)
            child, directory, name = hung[child]
            parts.append(name)
            tree = self.tree(child)
            while directory != items.FIRST_FREE and tree is not None:
                directory, name = self._parent(tree, directory)
                parts.append(name)
                if len(parts) > MAX_DEPTH:
                    break
            if len(parts) > MAX_DEPTH:
                raise LimitExceeded(f"a subvolume lies below more than {MAX_DEPTH} directories, or in itself", path=self.name)
        return b"/".join(parts[::-1])

    def _parent(self, tree: BTree, directory: int) -> tuple[int, bytes]:
        for (_inode, _kind, parent), data in tree.items((directory, items.INODE_REF, 0), (directory, items.INODE_REF, LAST)):
            return parent, items.reference(items.INODE_REFERENCE, data, self.name)[1]
        raise CorruptImage(f"directory {directory} hangs nowhere", path=self.name)

    def _open(self, subvolume: int) -> BTree | None:
        if subvolume != items.FS_TREE and not items.FIRST_FREE <= subvolume <= items.LAST_FREE:
            return None
        found = None
        for _key, data in self._roots.items((subvolume, items.ROOT_ITEM, 0), (subvolume, items.ROOT_ITEM, LAST)):
            found = data  # the last one counts
        if found is None:
            return None
        if len(found) < items.ROOT.size:
            raise CorruptImage(f"the root item of subvolume {subvolume} has {len(found)} bytes", path=self.name)
        root = items.ROOT.unpack(found)
        if not root.refs:  # It was deleted, and its blocks are being freed.
            return None
        return BTree(self._blocks, root.bytenr, check_level(root.level, self.name), root.generation)


def _read_chunks(storage: Storage, superblock: Superblock, warnings: list[str]) -> ChunkMap:
    """The chunks: those that the superblock names lead to the tree of all."""
    fields = superblock.fields
    chunks = ChunkMap(superblock.device.devid, storage.name)
    array = fields.sys_chunk_array[: fields.sys_chunk_array_size]
    position = 0
    while position < len(array):
        if position + items.DISK_KEY.size > len(array):
            raise CorruptImage("the superblock's system chunks end inside one", path=storage.name, offset=fields.bytenr)
        key = items.DISK_KEY.unpack(array, position)
        position += items.DISK_KEY.size
        if key.key_type != items.CHUNK_ITEM:
            raise CorruptImage(f"the superblock's system chunks have a key of type {key.key_type}", path=storage.name, offset=fields.bytenr)
        position += chunks.add(key.offset, array[position:])
    chunks.settle()
    tree = BTree(Blocks(storage, superblock, chunks, warnings), fields.chunk_root, fields.chunk_root_level, fields.chunk_root_generation)
    for (_objectid, _kind, logical), data in tree.items((items.FIRST_CHUNK_TREE, items.CHUNK_ITEM, 0), (items.FIRST_CHUNK_TREE, items.CHUNK_ITEM, LAST)):
        chunks.add(logical, data)
    chunks.settle()
    return chunks
