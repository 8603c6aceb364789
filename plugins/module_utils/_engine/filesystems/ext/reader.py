# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Reads ext2, ext3 and ext4. What is in the journal and not yet in its place is not seen.

Source: Linux, Documentation/filesystems/ext4; each module names the pages.
"""

from __future__ import annotations

import stat
import typing as t
import unicodedata

from ...errors import CorruptImage, UnsupportedImage
from ...storage.base import Memory, Storage
from ..base import DIRECTORY, FILE, OTHER, SYMLINK, Filesystem, Key, Node
from ..mapped import Mapped
from . import directories
from .inodes import Inode, inline_content, read_inode
from .layout import FLAG_CASEFOLD, ROOT_INODE
from .mapping import runs
from .superblock import read_superblock, signature
from .volume import Volume

KINDS = {stat.S_IFREG: FILE, stat.S_IFDIR: DIRECTORY, stat.S_IFLNK: SYMLINK}
MAX_TARGET = 4096
"""bytes of a symbolic link: what a path can have"""


class Ext(Filesystem):
    """An ext2, ext3 or ext4 file system. Keys are the numbers of inodes.

    :param storage: the volume
    :raises InvalidImage: there is no superblock of ext
    :raises CorruptImage: the superblock is damaged
    :raises UnsupportedImage: a feature is not known; the message names it
    """

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        superblock = read_superblock(storage)
        self._volume = Volume(storage, superblock)
        self.signature = signature(storage, superblock)
        self.size = superblock.size
        self.warnings += self.signature.warnings

    @property
    def root(self) -> Node:
        node = self.node(ROOT_INODE)
        if node.kind != DIRECTORY:
            raise CorruptImage("ext: the root directory is no directory", path=self.storage.name)
        return node

    def node(self, key: Key) -> Node:
        inode = read_inode(self._volume, t.cast(int, key))
        return Node(key, KINDS.get(inode.type, OTHER), inode.size, inode.fields.i_mode & 0o7777, inode)

    def listing(self, directory: Node) -> t.Iterator[tuple[bytes, Key]]:
        """:raises UnsupportedImage: the names are encrypted"""
        inode = self._readable(directory)
        return directories.names(self._volume, inode, lambda: self._mapped(inode))

    def child(self, directory: Node, name: bytes) -> Key | None:
        found = super().child(directory, name)
        if found is None and t.cast(Inode, directory.detail).has(FLAG_CASEFOLD):
            folded = _fold(name)
            found = next((key for other, key in self.listing(directory) if _fold(other) == folded), None)
        return found

    def content(self, file: Node) -> Storage:
        inode = self._readable(file)
        if inode.is_inline:
            return Memory(inline_content(self._volume, inode), self._name(inode))
        return self._mapped(inode)

    def target(self, link: Node) -> bytes:
        """:raises UnsupportedImage: it is encrypted"""
        inode = self._readable(link)
        if not 0 < inode.size <= MAX_TARGET:
            raise self._volume.corrupt(f"the symbolic link in inode {inode.number} has {inode.size} bytes", inode.offset)
        if inode.is_fast_symlink:
            return t.cast(bytes, inode.fields.i_block[: inode.size])
        return self.content(link).read_exact(0, inode.size, f"the target of inode {inode.number}")

    def _readable(self, node: Node) -> Inode:
        inode = t.cast(Inode, node.detail)
        if inode.is_encrypted:
            raise UnsupportedImage(f"ext4: inode {inode.number} is encrypted", path=self.storage.name)
        return inode

    def _mapped(self, inode: Inode) -> Storage:
        return Mapped(self.storage, lambda: runs(self._volume, inode), inode.size, self._name(inode))

    def _name(self, inode: Inode) -> str:
        return f"{self.storage.name}, inode {inode.number}"


def _fold(name: bytes) -> str | bytes:
    """A name as directories compare it that do not tell upper from lower case. Linux keeps to Unicode 12.1; nearly all of it is the same."""
    try:
        return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name.decode("utf-8")).casefold())
    except UnicodeDecodeError:
        return name
