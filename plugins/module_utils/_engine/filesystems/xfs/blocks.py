# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Blocks of XFS: found by their number, and proved by what version 5 writes into each of them.

Source: "XFS Filesystem Structure", section "Metadata Integrity".
"""

from __future__ import annotations

from ...crc32c import crc32c
from ...errors import CorruptImage
from ...storage.base import Storage
from ...structure import Fields
from .superblock import SECTOR, Superblock


class Blocks:
    """The blocks of a file system.

    :param storage: the volume
    :param superblock: its geometry
    """

    def __init__(self, storage: Storage, superblock: Superblock) -> None:
        self.storage = storage
        self.superblock = superblock
        self.sealed = superblock.version == 5
        """Structures have checksums and say whose they are."""

    def offset(self, number: int, count: int, what: str) -> int:
        """Where a run of blocks begins, in bytes.

        :raises CorruptImage: there is no such run
        """
        found = self.superblock.block_offset(number, count)
        if found is None:
            raise CorruptImage(f"XFS: {what} lies in blocks that there are not ({number:#x}, {count} of them)", path=self.storage.name)
        return found

    def read(self, number: int, count: int, what: str) -> tuple[int, bytes]:
        """The content of a run of blocks, with its offset in bytes.

        :raises CorruptImage: there is no such run
        """
        offset = self.offset(number, count, what)
        return offset, self.storage.read_exact(offset, count * self.superblock.block_size, what)

    def check_seal(self, data: bytes, crc_offset: int, uuid: bytes, offset: int, what: str) -> None:
        """Make sure of a version 5 structure's checksum and file system.

        :param data: the whole structure
        :param crc_offset: where in it the checksum lies, which is little endian
        :param uuid: the file system's identity that it holds
        :param offset: where it lies, for the message
        :raises CorruptImage: it is damaged, or belongs to another file system
        """
        computed = crc32c(b"".join((data[:crc_offset], bytes(4), data[crc_offset + 4 :])))
        if computed != int.from_bytes(data[crc_offset : crc_offset + 4], "little"):
            raise CorruptImage(f"XFS: {what} is damaged (checksum)", path=self.storage.name, offset=offset)
        if uuid != self.superblock.meta_uuid:
            raise CorruptImage(f"XFS: {what} belongs to another file system", path=self.storage.name, offset=offset)

    def check_block(self, data: bytes, header: Fields, crc_offset: int, owner: int, offset: int, what: str) -> None:
        """Make sure of a version 5 block: as ``check_seal``, and that it is the block of this place and of this inode.

        :param header: its fields ``blkno``, ``uuid`` and ``owner`` are looked at
        :param owner: the number of the inode
        """
        self.check_seal(data, crc_offset, header.uuid, offset, what)
        if header.blkno * SECTOR != offset or header.owner != owner:
            raise CorruptImage(f"XFS: {what} says that it is another one", path=self.storage.name, offset=offset)
