# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The superblock of ext2, ext3 and ext4: what the file system is, and how it is laid out.

Sources: Linux, Documentation/filesystems/ext4/super.rst; the checks are those of its fs/ext4/super.c; how the three are told
apart: util-linux, libblkid, superblocks/ext.c.
"""

from __future__ import annotations

import dataclasses

from ...crc32c import crc32c
from ...errors import CorruptImage, ImageError, InvalidImage, UnsupportedImage
from ...storage.base import Storage
from ...structure import Fields
from ..base import Signature
from ..named.values import FILESYSTEM, OTHER, identifier, text
from .layout import (
    BIGALLOC,
    BIT64,
    BTREE_DIR,
    CLEAN,
    CRC32C,
    CSUM_SEED,
    ERRORS,
    FILETYPE,
    GDT_CSUM,
    GROUP_DESCRIPTOR,
    HAS_JOURNAL,
    INODE,
    JOURNAL_DEV,
    LARGE_DIR,
    LARGE_FILE,
    MAGIC,
    META_BG,
    METADATA_CSUM,
    READ,
    RECOVER,
    REFUSED,
    SPARSE_SUPER,
    SUPERBLOCK,
    SUPERBLOCK_OFFSET,
    TEST_FILESYSTEM,
)

MAX_LOG_BLOCK_SIZE = 6
"""64 KiB"""
MIN_DESC_64, MAX_DESC = 64, 1024
"""bytes of a group descriptor with 64bit"""
NOT_REPLAYED = (
    "the journal of the file system was not replayed, as the volume was in use or not unmounted cleanly: "
    "the newest changes may be missing, and what was being written then may be damaged"
)


@dataclasses.dataclass(frozen=True)
class Superblock:
    """A superblock that was checked."""

    fields: Fields
    block_size: int
    """bytes"""
    blocks: int
    groups: int
    desc_size: int
    """bytes of a group descriptor"""
    inode_size: int
    """bytes"""
    first_inode: int
    """the first that is not reserved"""
    seed: int
    """what checksums of metadata start with"""

    @property
    def size(self) -> int:
        """bytes"""
        return self.blocks * self.block_size

    @property
    def has_checksums(self) -> bool:
        """Whether all metadata have CRC-32C."""
        return self.ro_compat(METADATA_CSUM)

    @property
    def has_group_checksums(self) -> bool:
        """Whether group descriptors, and nothing else, have the older CRC-16."""
        return self.ro_compat(GDT_CSUM) and not self.has_checksums

    @property
    def has_large_directories(self) -> bool:
        """Whether a directory can have 4 GiB and more."""
        return self.incompat(LARGE_DIR)

    def compat(self, feature: int) -> bool:
        """Whether a bit of s_feature_compat is set."""
        return bool(self.fields.s_feature_compat & feature)

    def incompat(self, feature: int) -> bool:
        """Whether a bit of s_feature_incompat is set."""
        return bool(self.fields.s_feature_incompat & feature)

    def ro_compat(self, feature: int) -> bool:
        """Whether a bit of s_feature_ro_compat is set."""
        return bool(self.fields.s_feature_ro_compat & feature)


def checksum(seed: int, data: bytes | memoryview) -> int:
    """CRC-32C as ext4 has it: neither the first nor the last value is inverted."""
    return crc32c(data, seed ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def read_superblock(storage: Storage) -> Superblock:
    """The superblock of a volume.

    :raises InvalidImage: there is none of ext2, ext3 or ext4
    :raises CorruptImage: it is damaged
    :raises UnsupportedImage: it has features that are not known; the message names them
    """
    data = storage.read_at(SUPERBLOCK_OFFSET, SUPERBLOCK.size)
    fields = _fields(data)
    if fields is None:
        raise InvalidImage("this is no ext2, ext3 or ext4 file system", path=storage.name)
    refused = fields.s_feature_incompat & ~sum(READ)
    names = ", ".join(REFUSED.get(1 << bit, f"the unknown feature {1 << bit:#x}") for bit in range(32) if refused >> bit & 1)
    if refused:
        raise UnsupportedImage(f"the {_type(fields)} file system has features that are not read: {names}", path=storage.name)
    metadata_csum = fields.s_feature_ro_compat & METADATA_CSUM
    if metadata_csum and fields.s_checksum_type != CRC32C:
        raise UnsupportedImage(f"the ext4 file system has checksums of the unknown type {fields.s_checksum_type}", path=storage.name)
    if not _is_sound(data, fields):
        raise _corrupt(storage, "the checksum of the superblock is wrong")
    return _checked(storage, fields)


def identify(storage: Storage) -> Signature | None:
    """What blkid says of a volume with ext2, ext3, ext4 or their journal; None when it has none of them.

    A superblock with a wrong checksum, which blkid passes over, is told with a warning.
    """
    try:
        data = storage.read_at(SUPERBLOCK_OFFSET, SUPERBLOCK.size)
    except ImageError:
        return None
    fields = _fields(data)
    return None if fields is None else _signature(storage, data, fields)


def signature(storage: Storage, superblock: Superblock) -> Signature:
    """The same of a superblock that was read."""
    return _signature(storage, b"", superblock.fields)


def _signature(storage: Storage, data: bytes, fields: Fields) -> Signature:
    kind = _type(fields)
    size = _blocks(fields) << 10 + fields.s_log_block_size
    warnings = []
    if data and not _is_sound(data, fields):
        warnings.append("the checksum of the superblock is wrong")
    if fields.s_feature_incompat & RECOVER:
        warnings.append(NOT_REPLAYED)
    if fields.s_state & ERRORS:
        warnings.append(f"the {kind} file system is marked as having errors: e2fsck was not run since they were found")
    if not fields.s_state & CLEAN and kind != "jbd":
        warnings.append(f"the {kind} file system was not unmounted cleanly: it may be inconsistent")
    if size > storage.size and kind != "jbd":
        warnings.append(f"the {kind} file system has {size} bytes, its volume only {storage.size}")
    version = f"{fields.s_rev_level}.{fields.s_minor_rev_level}"
    usage = OTHER if kind == "jbd" else FILESYSTEM
    return Signature(kind, usage, text(fields.s_volume_name), identifier(fields.s_uuid), version, size, tuple(warnings))


def _fields(data: bytes) -> Fields | None:
    """The fields of what is a superblock, damaged or not. The magic number alone is too short to tell."""
    if len(data) < SUPERBLOCK.size:
        return None
    fields = SUPERBLOCK.unpack(data)
    if fields.s_magic != MAGIC or fields.s_log_block_size > MAX_LOG_BLOCK_SIZE or not _blocks(fields):
        return None
    return fields


def _blocks(fields: Fields) -> int:
    high = fields.s_blocks_count_hi if fields.s_feature_incompat & BIT64 else 0
    return int(high << 32 | fields.s_blocks_count_lo)


def _type(fields: Fields) -> str:
    """blkid's rule: ext3 is what has a journal, ext4 what has a feature that ext3 does not know."""
    if fields.s_feature_incompat & JOURNAL_DEV:
        return "jbd"
    known = not fields.s_feature_ro_compat & ~(SPARSE_SUPER | LARGE_FILE | BTREE_DIR) and not fields.s_feature_incompat & ~(FILETYPE | RECOVER | META_BG)
    if known and fields.s_feature_compat & HAS_JOURNAL:
        return "ext3"
    if known and not fields.s_feature_incompat & RECOVER:
        return "ext2"
    return "ext4dev" if fields.s_flags & TEST_FILESYSTEM else "ext4"


def _is_sound(data: bytes, fields: Fields) -> bool:
    if not fields.s_feature_ro_compat & METADATA_CSUM or fields.s_checksum_type != CRC32C:
        return True
    return checksum(0xFFFFFFFF, data[:-4]) == fields.s_checksum


def _checked(storage: Storage, fields: Fields) -> Superblock:
    """The checks of fs/ext4/super.c, as far as they matter to who reads."""
    block_size = 1024 << fields.s_log_block_size
    blocks = _blocks(fields)
    inode_size, first_inode = (fields.s_inode_size, fields.s_first_ino) if fields.s_rev_level else (INODE.size, 11)
    if inode_size < INODE.size or inode_size > block_size or inode_size & (inode_size - 1):
        raise _corrupt(storage, f"inodes cannot have {inode_size} bytes")
    desc_size = GROUP_DESCRIPTOR.size
    if fields.s_feature_incompat & BIT64:
        desc_size = fields.s_desc_size
        if not MIN_DESC_64 <= desc_size <= MAX_DESC or desc_size & (desc_size - 1):
            raise _corrupt(storage, f"group descriptors cannot have {desc_size} bytes")
    bits = block_size * 8  # of a bitmap, which is one block
    ratio = 1
    if fields.s_feature_ro_compat & BIGALLOC:
        if not fields.s_log_block_size <= fields.s_log_cluster_size <= 20:
            raise _corrupt(storage, f"clusters cannot have 2^{fields.s_log_cluster_size} KiB")
        ratio = 1 << fields.s_log_cluster_size - fields.s_log_block_size
    if not 0 < fields.s_blocks_per_group <= bits * ratio or not 0 < fields.s_inodes_per_group <= bits:
        raise _corrupt(storage, f"a block group cannot have {fields.s_blocks_per_group} blocks and {fields.s_inodes_per_group} inodes")
    if fields.s_first_data_block >= blocks:
        raise _corrupt(storage, f"its {blocks} blocks end before the first one with data, {fields.s_first_data_block}")
    groups = -(-(blocks - fields.s_first_data_block) // fields.s_blocks_per_group)
    if not 0 < fields.s_inodes_count <= groups * fields.s_inodes_per_group:
        raise _corrupt(storage, f"{groups} block groups with {fields.s_inodes_per_group} inodes each cannot have {fields.s_inodes_count} of them")
    seed = fields.s_checksum_seed if fields.s_feature_incompat & CSUM_SEED else checksum(0xFFFFFFFF, fields.s_uuid)
    return Superblock(fields, block_size, blocks, groups, desc_size, inode_size, first_inode, seed)


def _corrupt(storage: Storage, what: str) -> CorruptImage:
    return CorruptImage(f"the superblock of ext is damaged: {what}", path=storage.name, offset=SUPERBLOCK_OFFSET)
