# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""btrfs, read-only, on one device."""

from __future__ import annotations

import copy
import stat
import typing as t

from ...errors import CorruptImage, InvalidImage, LimitExceeded, printable
from ...storage.base import Storage
from .. import base
from . import items
from .btree import LAST, BTree
from .content import FileContent
from .forest import Forest

MAX_NAMES = 5_000_000
"""in one directory, as many as a walk visits"""
MAX_TARGET = 4095
"""bytes of a symbolic link's target: PATH_MAX without its NUL"""
_KINDS = {stat.S_IFREG: base.FILE, stat.S_IFDIR: base.DIRECTORY, stat.S_IFLNK: base.SYMLINK}
_MAX_SIZE = (1 << 63) - 1


class Btrfs(base.Filesystem):
    """A subvolume of a btrfs, and the subvolumes that are mounted in it.

    A file's key is (subvolume, inode).

    :param subvolume: the one at the root, as ``subvolume()`` takes it; None for the default subvolume
    :raises CorruptImage: a structure contradicts the specification
    :raises UnsupportedImage: a feature is not known, or other devices are needed
    :raises InvalidImage: there is no such subvolume
    """

    def __init__(self, storage: Storage, subvolume: str | int | None = None) -> None:
        super().__init__(storage)
        self._forest = Forest(storage)
        self.signature = self._forest.superblock.signature
        self.size: int = self._forest.superblock.device.total_bytes
        self.warnings = self._forest.warnings
        self.top = self._forest.default()
        """number of the subvolume at the root"""
        if subvolume is not None:
            self.top = self.subvolume(subvolume).top
        self._tree(self.top)

    def subvolume(self, which: str | int) -> Btrfs:
        """The same file system with another subvolume at its root, as ``mount -o subvol=`` and ``subvolid=`` have it.

        :param which: a path from the topmost subvolume, not through symbolic links; or a number, 5 or 0 for the topmost one
        :raises InvalidImage: there is no such subvolume
        :raises CorruptImage: a tree is damaged
        """
        other = copy.copy(self)
        if isinstance(which, int):
            other.top = which or items.FS_TREE
            if self._forest.tree(other.top) is None:
                raise self._no_subvolume(str(which))
            return other
        other.top = items.FS_TREE
        key: base.Key | None = other.root.key
        for part in which.split("/"):
            if part in ("", "."):
                continue
            node = self.node(key)
            key = self.child(node, part.encode("utf-8", "surrogateescape")) if node.kind == base.DIRECTORY else None
            if key is None:
                raise self._no_subvolume(which)
        other.top, inode = t.cast("tuple[int, int]", key)
        if inode != items.FIRST_FREE:
            raise self._no_subvolume(which)
        return other

    def subvolumes(self) -> list[tuple[int, str]]:
        """(number, path from the topmost subvolume) of all subvolumes but that one, by number.

        :raises CorruptImage: a tree is damaged
        :raises LimitExceeded: there are too many
        """
        return [(number, path.decode("utf-8", "surrogateescape")) for number, path in self._forest.subvolumes()]

    @property
    def root(self) -> base.Node:
        node = self.node((self.top, items.FIRST_FREE))
        if node.kind != base.DIRECTORY:
            raise self._damaged(f"the root of subvolume {self.top} is no directory")
        return node

    def listing(self, directory: base.Node) -> t.Iterator[tuple[bytes, base.Key]]:
        subvolume, inode = self._key(directory.key)
        if inode == items.EMPTY_SUBVOLUME:
            return
        count = 0
        for _item, data in self._tree(subvolume).items((inode, items.DIR_INDEX, 0), (inode, items.DIR_INDEX, LAST)):
            for entry in items.entries(data, self.storage.name):
                count += 1
                if count > MAX_NAMES:
                    raise LimitExceeded(f"a directory has more than {MAX_NAMES} names", path=self.storage.name)
                yield entry.name, self._target_of(subvolume, inode, entry)

    def child(self, directory: base.Node, name: bytes) -> base.Key | None:
        subvolume, inode = self._key(directory.key)
        if inode == items.EMPTY_SUBVOLUME:
            return None
        data = self._tree(subvolume).find((inode, items.DIR_ITEM, items.name_hash(name)))
        for entry in items.entries(data or b"", self.storage.name):
            if entry.name == name:
                return self._target_of(subvolume, inode, entry)
        return None

    def node(self, key: base.Key) -> base.Node:
        subvolume, inode = self._key(key)
        if inode == items.EMPTY_SUBVOLUME:
            return base.Node(key, base.DIRECTORY, 0, 0o755)
        data = self._tree(subvolume).find((inode, items.INODE_ITEM, 0))
        if data is None or len(data) < items.INODE.size:
            raise self._damaged(f"subvolume {subvolume} has no inode {inode}, or it is cut")
        item = items.INODE.unpack(data)
        if item.size > _MAX_SIZE:
            raise self._damaged(f"inode {inode} of subvolume {subvolume} has {item.size} bytes")
        return base.Node(key, _KINDS.get(stat.S_IFMT(item.mode), base.OTHER), item.size, stat.S_IMODE(item.mode))

    def content(self, file: base.Node) -> Storage:
        subvolume, inode = self._key(file.key)
        return FileContent(self._forest, self._tree(subvolume), inode, file.size, self.storage.name)

    def target(self, link: base.Node) -> bytes:
        if not 0 < link.size <= MAX_TARGET:
            raise self._damaged(f"a symbolic link has a target of {link.size} bytes")
        found = self.content(link).read_exact(0, link.size, "a symbolic link")
        if b"\0" in found:
            raise self._damaged("a symbolic link has a target that no path can be")
        return found

    def _target_of(self, subvolume: int, inode: int, entry: items.Entry) -> base.Key:
        if entry.key_type == items.INODE_ITEM:
            return subvolume, entry.objectid
        if self._forest.is_reference(subvolume, inode, entry.name, entry.objectid) and self._forest.tree(entry.objectid) is not None:
            return entry.objectid, items.FIRST_FREE
        return subvolume, items.EMPTY_SUBVOLUME

    def _tree(self, subvolume: int) -> BTree:
        tree = self._forest.tree(subvolume)
        if tree is None:
            raise self._damaged(f"subvolume {subvolume} is missing")
        return tree

    def _key(self, key: base.Key) -> tuple[int, int]:
        return t.cast("tuple[int, int]", key)

    def _no_subvolume(self, which: str) -> InvalidImage:
        names = [path for _number, path in self.subvolumes()[:10]]
        return InvalidImage(
            f"the btrfs has no subvolume {printable(which)}",
            path=self.storage.name,
            hint=f"Its subvolumes are {', '.join(map(printable, names))}" if names else "It has no subvolumes",
        )

    def _damaged(self, message: str) -> CorruptImage:
        return CorruptImage(message, path=self.storage.name)
