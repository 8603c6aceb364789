# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Inodes, and the data that lie in an inode itself.

Source: Linux, Documentation/filesystems/ext4, inodes.rst, attributes.rst and inlinedata.rst.
"""

from __future__ import annotations

import dataclasses
import stat
import struct

from ...structure import Fields
from .layout import (
    FLAG_ENCRYPT,
    FLAG_EXTENTS,
    FLAG_INLINE_DATA,
    I_CHECKSUM_HI_OFFSET,
    I_CHECKSUM_LO_OFFSET,
    I_EXTRA_ISIZE_OFFSET,
    I_GENERATION_OFFSET,
    INODE,
    ROOT_INODE,
    XATTR_ENTRY,
    XATTR_MAGIC,
    XATTR_SYSTEM,
)
from .superblock import checksum
from .volume import Volume


@dataclasses.dataclass(frozen=True)
class Inode:
    """A file of any kind."""

    number: int
    fields: Fields
    size: int
    """bytes of the content"""
    data: bytes
    """the whole inode"""
    offset: int
    """of the inode on the volume"""
    seed: int
    """what checksums of the file's own metadata start with"""

    @property
    def type(self) -> int:
        """The bits of S_IFMT."""
        return stat.S_IFMT(self.fields.i_mode)

    @property
    def is_inline(self) -> bool:
        """Whether the content lies in the inode."""
        return self.has(FLAG_INLINE_DATA)

    @property
    def is_encrypted(self) -> bool:
        """Whether content, names or target are encrypted."""
        return self.has(FLAG_ENCRYPT)

    @property
    def is_fast_symlink(self) -> bool:
        """Whether a link's target stands where the map of the blocks would be."""
        return self.type == stat.S_IFLNK and self.size < len(self.fields.i_block) and not self.has(FLAG_INLINE_DATA | FLAG_EXTENTS)

    def has(self, flag: int) -> bool:
        """Whether one of these bits of i_flags is set."""
        return bool(self.fields.i_flags & flag)


def read_inode(volume: Volume, number: int) -> Inode:
    """An inode that is in use.

    :raises CorruptImage: it is not, or it is damaged
    """
    superblock = volume.superblock
    offset = volume.inode_offset(number)
    if number != ROOT_INODE and number < superblock.first_inode:
        raise volume.corrupt(f"a directory names inode {number}, which is reserved", offset)
    data = volume.storage.read_exact(offset, superblock.inode_size, f"inode {number}")
    fields = INODE.unpack(data)
    seed = 0
    if superblock.has_checksums:
        seed = checksum(superblock.seed, struct.pack("<I", number) + data[I_GENERATION_OFFSET : I_GENERATION_OFFSET + 4])
        _verify(volume, number, data, seed, offset)
    if not fields.i_links_count or not fields.i_mode:
        raise volume.corrupt(f"a directory names inode {number}, which is not in use", offset)
    # Directories have other things in these bits, unless the file system is one for large directories.
    is_long = stat.S_ISREG(fields.i_mode) or (stat.S_ISDIR(fields.i_mode) and superblock.has_large_directories)
    size = fields.i_size_high << 32 | fields.i_size_lo if is_long else fields.i_size_lo
    if size > volume.block_size << 32:
        raise volume.corrupt(f"inode {number} has {size} bytes, more than a file can have", offset)
    return Inode(number, fields, size, data, offset, seed)


def inline_parts(volume: Volume, inode: Inode) -> tuple[bytes, bytes]:
    """What the inode itself holds of a file: in place of the map, and in the attribute ``system.data``.

    :raises CorruptImage: the attributes are damaged
    """
    first = inode.fields.i_block
    try:
        return first, _attribute(inode.data, b"data")
    except ValueError:
        raise volume.corrupt(f"the attributes of inode {inode.number} are damaged", inode.offset) from None


def inline_content(volume: Volume, inode: Inode) -> bytes:
    """All that a file holds in its inode; zeros where it is longer than what was stored, as Linux has it.

    :raises CorruptImage: the attributes are damaged, or the file is longer than a block
    """
    if inode.size > volume.block_size:
        raise volume.corrupt(f"inode {inode.number} is said to hold {inode.size} bytes of content", inode.offset)
    return b"".join(inline_parts(volume, inode))[: inode.size].ljust(inode.size, b"\0")


def _verify(volume: Volume, number: int, data: bytes, seed: int, offset: int) -> None:
    """:raises CorruptImage: the checksum is wrong"""
    low = struct.unpack_from("<H", data, I_CHECKSUM_LO_OFFSET)[0]
    cleared = bytearray(data)
    cleared[I_CHECKSUM_LO_OFFSET : I_CHECKSUM_LO_OFFSET + 2] = b"\0\0"
    expected, bits = low, 0xFFFF
    if len(data) > INODE.size and struct.unpack_from("<H", data, I_EXTRA_ISIZE_OFFSET)[0] >= I_CHECKSUM_HI_OFFSET + 2 - INODE.size:
        cleared[I_CHECKSUM_HI_OFFSET : I_CHECKSUM_HI_OFFSET + 2] = b"\0\0"
        expected, bits = low | struct.unpack_from("<H", data, I_CHECKSUM_HI_OFFSET)[0] << 16, 0xFFFFFFFF
    if checksum(seed, bytes(cleared)) & bits != expected:
        raise volume.corrupt(f"the checksum of inode {number} is wrong", offset)


def _attribute(data: bytes, name: bytes) -> bytes:
    """The value of an attribute ``system.NAME`` in an inode; empty when there is none.

    :raises ValueError: the attributes are damaged
    """
    if len(data) < I_EXTRA_ISIZE_OFFSET + 2:
        return b""
    start = INODE.size + struct.unpack_from("<H", data, I_EXTRA_ISIZE_OFFSET)[0]
    if start + 4 > len(data) or struct.unpack_from("<I", data, start)[0] != XATTR_MAGIC:
        return b""
    first = at = start + 4
    while at + 4 <= len(data) and data[at : at + 4] != b"\0\0\0\0":
        if at + XATTR_ENTRY.size > len(data):
            raise ValueError
        entry = XATTR_ENTRY.unpack(data, at)
        at += XATTR_ENTRY.size
        if entry.e_name_index == XATTR_SYSTEM and data[at : at + entry.e_name_len] == name:
            value = data[first + entry.e_value_offs : first + entry.e_value_offs + entry.e_value_size]
            if len(value) != entry.e_value_size or entry.e_value_inum:
                raise ValueError
            return value
        at += -(-entry.e_name_len // 4) * 4
    return b""
