# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Reads XFS, versions 4 and 5.

Source: "XFS Filesystem Structure"; each module names the sections.
"""

from __future__ import annotations

import dataclasses
import itertools
import stat
import typing as t

from ...errors import CorruptImage, UnsupportedImage
from ...storage.base import Storage
from ..base import DIRECTORY, FILE, OTHER, SYMLINK, Filesystem, Key, Node
from . import directories, log, symlinks
from .blocks import Blocks
from .content import Content
from .inodes import FLAG_REALTIME, Inode, extents, read_inode
from .superblock import read_superblock, signature

KINDS = {stat.S_IFREG: FILE, stat.S_IFDIR: DIRECTORY, stat.S_IFLNK: SYMLINK}
UNCLEAN = "the XFS file system was not unmounted cleanly: its log was not replayed, so files written last may be missing or incomplete"
FOLD = bytes(byte + 32 if 0x41 <= byte <= 0x5A or (0xC0 <= byte <= 0xDE and byte != 0xD7) else byte for byte in range(256))
"""How Linux compares names in a file system made with ``-n version=ci``: xfs_ascii_ci_xfrm()"""
KEPT_DIRECTORIES, MAX_KEPT_NAMES = 8, 20_000
"""Directories in which names were looked for are kept in memory: paths that are asked for begin the same"""


class Xfs(Filesystem):
    """An XFS file system. Keys are the numbers of inodes.

    :param storage: the volume
    :raises InvalidImage: there is no XFS superblock
    :raises CorruptImage: the superblock or the place of the log is damaged
    :raises UnsupportedImage: a version or feature is not known; the message names it
    """

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        superblock = read_superblock(storage)
        self._blocks = Blocks(storage, superblock)
        self._directories: dict[Key, dict[bytes, Key]] = {}
        self.size = superblock.size
        self.warnings += superblock.warnings
        if superblock.size <= storage.size and log.is_clean(self._blocks) is False:
            self.warnings.append(UNCLEAN)
        self.signature = dataclasses.replace(signature(superblock), warnings=tuple(self.warnings))

    @property
    def root(self) -> Node:
        node = self.node(self._blocks.superblock.root_inode)
        if node.kind != DIRECTORY:
            raise CorruptImage("XFS: the root directory is no directory", path=self.storage.name)
        return node

    def node(self, key: Key) -> Node:
        inode = read_inode(self._blocks, t.cast(int, key))
        return Node(key, KINDS.get(inode.type, OTHER), inode.size, inode.fields.di_mode & 0o7777, inode)

    def listing(self, directory: Node) -> t.Iterator[tuple[bytes, Key]]:
        return directories.names(self._blocks, t.cast(Inode, directory.detail))

    def child(self, directory: Node, name: bytes) -> Key | None:
        known = self._directories.get(directory.key)
        if known is None:
            known = {self._folded(found): key for found, key in itertools.islice(self.listing(directory), MAX_KEPT_NAMES + 1)}
            if len(known) > MAX_KEPT_NAMES:
                return next((key for found, key in self.listing(directory) if self._folded(found) == self._folded(name)), None)
            if len(self._directories) >= KEPT_DIRECTORIES:
                del self._directories[next(iter(self._directories))]
            self._directories[directory.key] = known
        return known.get(self._folded(name))

    def _folded(self, name: bytes) -> bytes:
        return name.translate(FOLD) if self._blocks.superblock.folds_case else name

    def content(self, file: Node) -> Storage:
        """:raises UnsupportedImage: the file lies on the realtime device"""
        inode = t.cast(Inode, file.detail)
        if inode.fields.di_flags & FLAG_REALTIME:
            raise UnsupportedImage(f"XFS: inode {inode.number} lies on the realtime device, which is not read", path=self.storage.name)
        return Content(self._blocks, extents(self._blocks, inode), inode.size, f"inode {inode.number}")

    def target(self, link: Node) -> bytes:
        return symlinks.target(self._blocks, t.cast(Inode, link.detail))
