# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The volume of an ext file system: its blocks, and its block groups with their tables of inodes.

Source: Linux, Documentation/filesystems/ext4, blockgroup.rst and group_descr.rst; fs/ext4/super.c for where descriptors lie.
"""

from __future__ import annotations

import struct

from ...errors import CorruptImage
from ...storage.base import Storage
from .layout import (
    GROUP_DESCRIPTOR,
    INODE_TABLE_HI_OFFSET,
    INODE_UNINIT,
    META_BG,
    SPARSE_SUPER,
    SPARSE_SUPER2,
    SUPERBLOCK_OFFSET,
)
from .superblock import Superblock, checksum

_CHECKSUM_OFFSET = GROUP_DESCRIPTOR.size - 2


class Volume:
    """Where things lie.

    :param storage: the volume
    :param superblock: its superblock
    """

    def __init__(self, storage: Storage, superblock: Superblock) -> None:
        self.storage = storage
        self.superblock = superblock
        self.block_size = superblock.block_size
        self._tables: dict[int, int] = {}

    def offset(self, block: int, count: int, what: str) -> int:
        """Where blocks begin, in bytes.

        :raises CorruptImage: they are not in the file system
        """
        if block <= self.superblock.fields.s_first_data_block or block + count > self.superblock.blocks:
            raise self.corrupt(f"{what} names the blocks {block} to {block + count - 1} of {self.superblock.blocks}")
        return block * self.block_size

    def read_block(self, block: int, what: str) -> bytes:
        """One block.

        :raises CorruptImage: it is not in the file system, or not on the volume
        """
        return self.storage.read_exact(self.offset(block, 1, what), self.block_size, what)

    def inode_offset(self, number: int) -> int:
        """Where an inode lies, in bytes.

        :raises CorruptImage: there is none of this number, or its group is damaged
        """
        fields = self.superblock.fields
        if not 0 < number <= fields.s_inodes_count:
            raise self.corrupt(f"there is no inode {number}, only {fields.s_inodes_count}")
        group, index = divmod(number - 1, fields.s_inodes_per_group)
        if group not in self._tables:
            self._tables[group] = self._inode_table(group)
        return self._tables[group] + index * self.superblock.inode_size

    def corrupt(self, what: str, offset: int | None = None) -> CorruptImage:
        """What to raise; ``what`` is wrong."""
        return CorruptImage(f"ext: {what}", path=self.storage.name, offset=offset)

    def _inode_table(self, group: int) -> int:
        superblock = self.superblock
        offset = self._descriptor_offset(group)
        what = f"the descriptor of block group {group}"
        data = self.storage.read_exact(offset, superblock.desc_size, what)
        descriptor = GROUP_DESCRIPTOR.unpack(data)
        if not self._is_sound(group, data, descriptor.bg_checksum):
            raise self.corrupt(f"the checksum of {what} is wrong", offset)
        if descriptor.bg_flags & INODE_UNINIT and (superblock.has_checksums or superblock.has_group_checksums):
            raise self.corrupt(f"{what} says that no inode of it is in use, and a file is there", offset)
        block = descriptor.bg_inode_table_lo
        if superblock.desc_size > GROUP_DESCRIPTOR.size:
            block |= struct.unpack_from("<I", data, INODE_TABLE_HI_OFFSET)[0] << 32
        blocks = -(-superblock.fields.s_inodes_per_group * superblock.inode_size // self.block_size)
        return self.offset(block, blocks, what)

    def _descriptor_offset(self, group: int) -> int:
        superblock = self.superblock
        fields = superblock.fields
        per_block = self.block_size // superblock.desc_size
        number, index = divmod(group, per_block)
        if superblock.incompat(META_BG) and number >= fields.s_first_meta_bg:
            # Each metablock group has its own, in its first block group and behind the copy of the superblock there.
            first = number * per_block
            block = fields.s_first_data_block + first * fields.s_blocks_per_group + self._has_superblock(first)
            if not number and self.block_size == SUPERBLOCK_OFFSET and not fields.s_first_data_block:
                block += 1  # with bigalloc, block 0 is before the superblock
        else:
            block = SUPERBLOCK_OFFSET // self.block_size + 1 + number
        return int(block) * self.block_size + index * superblock.desc_size

    def _has_superblock(self, group: int) -> bool:
        fields = self.superblock.fields
        if self.superblock.compat(SPARSE_SUPER2):
            return group in (0, fields.s_backup_bgs_0, fields.s_backup_bgs_1)
        return group <= 1 or not self.superblock.ro_compat(SPARSE_SUPER) or any(_is_power(group, base) for base in (3, 5, 7))

    def _is_sound(self, group: int, data: bytes, expected: int) -> bool:
        superblock = self.superblock
        number = struct.pack("<I", group)
        before, after = data[:_CHECKSUM_OFFSET], data[_CHECKSUM_OFFSET + 2 :]
        if superblock.has_checksums:
            return checksum(superblock.seed, b"".join((number, before, b"\0\0", after))) & 0xFFFF == expected
        if superblock.has_group_checksums:
            return _crc16(b"".join((superblock.fields.s_uuid, number, before, after))) == expected
        return True


def _is_power(number: int, base: int) -> bool:
    while number % base == 0:
        number //= base
    return number == 1


def _crc16(data: bytes) -> int:
    """CRC-16, reflected, as Linux has it in lib/crc16.c; the first value is 0xFFFF."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _bit in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value
