# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What the file systems have in common: read-only, on a Storage that shows the volume, whatever image it lies in."""

from __future__ import annotations

import abc
import dataclasses
import typing as t

from ..storage.base import Storage

FILE = "file"
DIRECTORY = "directory"
SYMLINK = "symlink"
OTHER = "other"
"""a device node, FIFO or socket: named, without content"""

Key = t.Hashable
"""What a file system finds a file by: an inode's number, a place on the disk. The same key is the same file (hard links)."""


@dataclasses.dataclass(frozen=True)
class Node:
    """A file of any kind."""

    key: Key
    kind: str
    """``file``, ``directory``, ``symlink`` or ``other``"""
    size: int
    """bytes of the content, or of a symbolic link's target"""
    mode: int
    """POSIX permission bits (07777); what the mount would show by default where the file system has none"""
    detail: t.Any = dataclasses.field(default=None, compare=False, repr=False)
    """the file system's own: what it needs to give the content"""


@dataclasses.dataclass(frozen=True)
class Signature:
    """What a volume holds, in the words of blkid(8)."""

    type: str
    """blkid's TYPE: ``ext4``, ``xfs``, ``btrfs``, ``vfat``, ``iso9660``, ``LVM2_member``, ``crypto_LUKS``, ``swap``, ``ntfs`` …"""
    usage: str
    """blkid's USAGE: ``filesystem``, ``raid`` (LVM2 too), ``crypto`` or ``other`` (swap)"""
    label: str | None = None
    uuid: str | None = None
    """as blkid prints it: ``ABCD-1234`` for FAT"""
    version: str | None = None
    size: int | None = None
    """bytes that the file system says it has, where it says; the volume may be larger"""
    warnings: tuple[str, ...] = ()
    """what is not as it should be: a journal that has to be replayed, an unclean unmount …"""


class Filesystem(abc.ABC):
    """A file system that can be read.

    ``__init__(storage)`` reads the superblock and what else is needed to find the root directory.

    :raises CorruptImage: a structure contradicts the specification
    :raises UnsupportedImage: a feature is not known; the message names it
    """

    signature: Signature
    size: int
    """bytes of the volume that the file system occupies"""
    warnings: list[str]
    """what was found on the way and does not keep files from being read"""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.warnings = []

    @property
    @abc.abstractmethod
    def root(self) -> Node:
        """The root directory.

        :raises CorruptImage: it is damaged, or no directory
        """

    @abc.abstractmethod
    def listing(self, directory: Node) -> t.Iterator[tuple[bytes, Key]]:
        """The names in a directory with the keys of their files, in the order of the disk, without ``.`` and ``..``.

        :raises CorruptImage: the directory is damaged; names before the damage may have been given
        :raises LimitExceeded: it has more names than are looked at
        """

    @abc.abstractmethod
    def node(self, key: Key) -> Node:
        """The file of a key that ``listing`` gave.

        :raises CorruptImage: it is damaged
        """

    @abc.abstractmethod
    def content(self, file: Node) -> Storage:
        """The bytes of a regular file. Holes are not in its ``data_ranges``.

        :raises CorruptImage: where it lies is not known for damage, which may show only when it is read
        :raises UnsupportedImage: it is encrypted, or compressed in a way that this node cannot read
        """

    @abc.abstractmethod
    def target(self, link: Node) -> bytes:
        """Where a symbolic link points to.

        :raises CorruptImage: it is damaged, or longer than a path can be
        """

    def child(self, directory: Node, name: bytes) -> Key | None:
        """The key of one name in a directory; None when it is not there. Names compare as the file system does it.

        :raises CorruptImage: the directory is damaged
        """
        return next((key for found, key in self.listing(directory) if found == name), None)
