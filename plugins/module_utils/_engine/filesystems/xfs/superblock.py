# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The superblock of XFS: what the file system is, and how numbers of blocks and inodes lead to bytes.

Source: "XFS Filesystem Structure", sections "Superblocks", "Inode Numbers" and "Metadata Integrity"; newer feature bits and
the checks from Linux, fs/xfs/libxfs/xfs_format.h and xfs_sb.c.
"""

from __future__ import annotations

import dataclasses
import uuid as uuids

from ...crc32c import crc32c
from ...errors import CorruptImage, ImageError, InvalidImage, UnsupportedImage
from ...storage.base import Storage
from ...structure import Fields, Structure
from ..base import Signature

MAGIC = b"XFSB"
SECTOR = 512
"""A basic block: what the disk addresses in headers count, whatever the size of a sector is"""
MAX_SECTOR = 32768

SUPERBLOCK = Structure(
    ">",
    ("sb_magicnum", "4s"),
    ("sb_blocksize", "I"),
    ("sb_dblocks", "Q"),
    ("_", "16s"),  # sb_rblocks, sb_rextents
    ("sb_uuid", "16s"),
    ("sb_logstart", "Q"),
    ("sb_rootino", "Q"),
    ("_", "20s"),  # sb_rbmino, sb_rsumino, sb_rextsize
    ("sb_agblocks", "I"),
    ("sb_agcount", "I"),
    ("_", "I"),  # sb_rbmblocks
    ("sb_logblocks", "I"),
    ("sb_versionnum", "H"),
    ("sb_sectsize", "H"),
    ("sb_inodesize", "H"),
    ("sb_inopblock", "H"),
    ("sb_fname", "12s"),
    ("sb_blocklog", "B"),
    ("sb_sectlog", "B"),
    ("sb_inodelog", "B"),
    ("sb_inopblog", "B"),
    ("sb_agblklog", "B"),
    ("_", "B"),  # sb_rextslog
    ("sb_inprogress", "B"),
    ("_", "65s"),  # sb_imax_pct to sb_width: counters, quotas, alignment
    ("sb_dirblklog", "B"),
    ("_", "7s"),  # sb_logsectlog, sb_logsectsize, sb_logsunit
    ("sb_features2", "I"),
    ("sb_bad_features2", "I"),
    # Version 5 only, up to the end.
    ("_", "8s"),  # sb_features_compat, sb_features_ro_compat: no matter for a reader
    ("sb_features_incompat", "I"),
    ("_", "I"),  # sb_features_log_incompat
    ("sb_crc", "4s"),
    ("_", "20s"),  # sb_spino_align, sb_pquotino, sb_lsn
    ("sb_meta_uuid", "16s"),
)
CRC_OFFSET = 224

VERSION_NUMBERS = 0x000F
VERSION_DIRV2 = 0x2000
VERSION_BORG = 0x4000
"""names are compared without case"""
VERSION_MOREBITS = 0x8000
FEATURES2_FTYPE = 0x200
FEATURES2_KNOWN = 0x02 | 0x08 | 0x80 | FEATURES2_FTYPE
"""lazy counters, attributes 2, 32-bit project identifiers"""

INCOMPAT_FTYPE, INCOMPAT_META_UUID, INCOMPAT_NEEDSREPAIR = 1 << 0, 1 << 2, 1 << 4
INCOMPAT_READ = 0x1FF
"""What is read: ftype, spinodes, meta_uuid, bigtime, needsrepair, nrext64, exchange, parent, metadir.
The last three say what else there is (a log item, extended attributes, a second tree for the file system's own files)."""
INCOMPAT_NAMES = {9: "zoned", 10: "zone_gaps"}

MIN_AG_BLOCKS = 64


@dataclasses.dataclass(frozen=True)
class Superblock:
    """The geometry of a file system, checked."""

    version: int
    """4 or 5"""
    label: str | None
    uuid: bytes
    meta_uuid: bytes
    """what version 5 writes into every structure"""
    block_size: int
    """bytes"""
    blocks: int
    ag_blocks: int
    ag_block_bits: int
    """of a block's number: its place in the allocation group"""
    inode_size: int
    """bytes"""
    inode_bits: int
    """of an inode's number: its place in the block"""
    directory_block_size: int
    """bytes"""
    root_inode: int
    log_start: int
    """number of a block; 0 for a log on a device of its own"""
    log_blocks: int
    has_ftype: bool
    """names in directories are followed by a type of file"""
    folds_case: bool
    warnings: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes of the volume."""
        return self.blocks * self.block_size

    def block_offset(self, number: int, count: int = 1) -> int | None:
        """Where a run of blocks begins, in bytes; None when there is no such run in one allocation group."""
        group, block = number >> self.ag_block_bits, number & ((1 << self.ag_block_bits) - 1)
        first = group * self.ag_blocks + block
        if block + count > self.ag_blocks or first + count > self.blocks:
            return None
        return first * self.block_size

    def inode_offset(self, number: int) -> int | None:
        """Where an inode begins, in bytes; None when there is no such place."""
        start = self.block_offset(number >> self.inode_bits)
        return None if start is None else start + (number & ((1 << self.inode_bits) - 1)) * self.inode_size


def identify(storage: Storage) -> Signature | None:
    """The signature of an XFS file system; None when there is none.

    What is wrong with its superblock stands in the warnings.
    """
    head = storage.read_at(0, SUPERBLOCK.size)
    if len(head) < SUPERBLOCK.size or not head.startswith(MAGIC):
        return None
    try:
        return signature(read_superblock(storage))
    except ImageError as error:
        fields = SUPERBLOCK.unpack(head)
        return Signature("xfs", "filesystem", _label(fields), _uuid(fields.sb_uuid), warnings=(error.message,))


def signature(superblock: Superblock) -> Signature:
    """What blkid says of a file system, and its size."""
    return Signature("xfs", "filesystem", superblock.label, _uuid(superblock.uuid), size=superblock.size, warnings=superblock.warnings)


def read_superblock(storage: Storage) -> Superblock:
    """The superblock at the start of a volume.

    :raises InvalidImage: there is none
    :raises CorruptImage: it contradicts itself, or its checksum is wrong
    :raises UnsupportedImage: it names a version or a feature that is not known
    """
    data = storage.read_at(0, MAX_SECTOR)
    if len(data) < SUPERBLOCK.size or not data.startswith(MAGIC):
        raise InvalidImage("no XFS superblock", path=storage.name, offset=0)
    fields = SUPERBLOCK.unpack(data)
    version = fields.sb_versionnum & VERSION_NUMBERS
    warnings = []
    if version == 5:
        _check_seal(fields, data, storage)
        unknown = fields.sb_features_incompat & ~INCOMPAT_READ
        if unknown:
            names = (INCOMPAT_NAMES.get(bit, f"bit {bit}") for bit in range(32) if unknown >> bit & 1)
            raise UnsupportedImage(f"XFS with an incompatible feature that is not supported: {', '.join(names)}", path=storage.name, offset=0)
        has_ftype = bool(fields.sb_features_incompat & INCOMPAT_FTYPE)
        if fields.sb_features_incompat & INCOMPAT_NEEDSREPAIR:
            warnings.append("the XFS file system is marked as in need of repair (xfs_repair): Linux does not mount it")
    elif version == 4 and fields.sb_versionnum & VERSION_DIRV2:
        features = fields.sb_features2 | fields.sb_bad_features2 if fields.sb_versionnum & VERSION_MOREBITS else 0
        if features & ~FEATURES2_KNOWN:
            raise UnsupportedImage(f"XFS version 4 with unknown features ({features & ~FEATURES2_KNOWN:#x})", path=storage.name, offset=0)
        has_ftype = bool(features & FEATURES2_FTYPE)
    else:
        raise UnsupportedImage(f"XFS of version {version} ({fields.sb_versionnum:#x}); 4 and 5 are supported", path=storage.name, offset=0)
    _check_geometry(fields, version, storage)
    size = fields.sb_dblocks * fields.sb_blocksize
    if size > storage.size:
        warnings.append(f"the XFS file system has {size} bytes, its volume only {storage.size}: truncated")
    return Superblock(
        version=version,
        label=_label(fields),
        uuid=fields.sb_uuid,
        meta_uuid=fields.sb_meta_uuid if version == 5 and fields.sb_features_incompat & INCOMPAT_META_UUID else fields.sb_uuid,
        block_size=fields.sb_blocksize,
        blocks=fields.sb_dblocks,
        ag_blocks=fields.sb_agblocks,
        ag_block_bits=fields.sb_agblklog,
        inode_size=fields.sb_inodesize,
        inode_bits=fields.sb_inopblog,
        directory_block_size=fields.sb_blocksize << fields.sb_dirblklog,
        root_inode=fields.sb_rootino,
        log_start=fields.sb_logstart,
        log_blocks=fields.sb_logblocks,
        has_ftype=has_ftype,
        folds_case=bool(fields.sb_versionnum & VERSION_BORG),
        warnings=tuple(warnings),
    )


def _check_seal(fields: Fields, data: bytes, storage: Storage) -> None:
    size = fields.sb_sectsize
    if not SECTOR <= size <= len(data):
        raise CorruptImage(f"XFS superblock: impossible size of a sector ({size} bytes)", path=storage.name, offset=0)
    if crc32c(b"".join((data[:CRC_OFFSET], bytes(4), data[CRC_OFFSET + 4 : size]))) != int.from_bytes(fields.sb_crc, "little"):
        raise CorruptImage("the XFS superblock is damaged (checksum)", path=storage.name, offset=0)


def _check_geometry(fields: Fields, version: int, storage: Storage) -> None:
    """As Linux does it: xfs_validate_sb_common()."""

    def require(good: bool, what: str) -> None:
        if not good:
            raise CorruptImage(f"XFS superblock: {what}", path=storage.name, offset=0)

    require(fields.sb_inprogress == 0, "the file system was not made to its end")
    require(9 <= fields.sb_blocklog <= 16 and fields.sb_blocksize == 1 << fields.sb_blocklog, "impossible size of a block")
    require(9 <= fields.sb_sectlog <= 15 and fields.sb_sectsize == 1 << fields.sb_sectlog, "impossible size of a sector")
    smallest = 9 if version == 5 else 8
    require(smallest <= fields.sb_inodelog <= 11 and fields.sb_inodesize == 1 << fields.sb_inodelog, "impossible size of an inode")
    require(
        fields.sb_inopblog == fields.sb_blocklog - fields.sb_inodelog and fields.sb_inopblock == 1 << fields.sb_inopblog,
        "impossible number of inodes in a block",
    )
    require(fields.sb_blocklog + fields.sb_dirblklog <= 16, "impossible size of a directory's block")
    require(fields.sb_agblocks >= MIN_AG_BLOCKS and fields.sb_agblklog == (fields.sb_agblocks - 1).bit_length(), "impossible size of an allocation group")
    least, most = (fields.sb_agcount - 1) * fields.sb_agblocks, fields.sb_agcount * fields.sb_agblocks
    require(least < fields.sb_dblocks <= most, "the number of blocks and that of allocation groups contradict each other")


def _label(fields: Fields) -> str | None:
    return fields.sb_fname.split(b"\0")[0].decode("utf-8", "replace") or None


def _uuid(value: bytes) -> str:
    return str(uuids.UUID(bytes=value))
