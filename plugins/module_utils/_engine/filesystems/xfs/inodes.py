# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Inodes of XFS, and where the data of a file lies.

Source: "XFS Filesystem Structure", sections "On-disk Inode" and "Data Extents"; the large extent counters (nrext64) from
Linux, fs/xfs/libxfs/xfs_format.h.
"""

from __future__ import annotations

import stat
import struct
import typing as t

from ...errors import CorruptImage, LimitExceeded
from ...structure import Fields, Structure
from .blocks import Blocks

INODE = Structure(
    ">",
    ("di_magic", "2s"),
    ("di_mode", "H"),
    ("di_version", "B"),
    ("di_format", "B"),
    ("_", "18s"),  # di_onlink to di_projid_hi
    ("di_big_nextents", "Q"),
    ("_", "24s"),  # di_atime, di_mtime, di_ctime
    ("di_size", "Q"),
    ("_", "12s"),  # di_nblocks, di_extsize
    ("di_nextents", "I"),
    ("_", "H"),  # di_anextents
    ("di_forkoff", "B"),
    ("_", "7s"),  # di_aformat, di_dmevmask, di_dmstate
    ("di_flags", "H"),
    ("_", "8s"),  # di_gen, di_next_unlinked
)
"""The core of versions 1 and 2"""
INODE_V3 = Structure(
    ">",
    ("di_crc", "I"),
    ("_", "16s"),  # di_changecount, di_lsn
    ("di_flags2", "Q"),
    ("_", "24s"),  # di_cowextsize, di_pad2, di_crtime
    ("di_ino", "Q"),
    ("di_uuid", "16s"),
)
"""What version 3 has behind the core"""
CRC_OFFSET = INODE.size
FORMAT_LOCAL, FORMAT_EXTENTS, FORMAT_BTREE = 1, 2, 3
FLAG_REALTIME = 1 << 0
FLAG2_NREXT64 = 1 << 4
"""``di_big_nextents`` is the number of extents, not ``di_nextents``"""

RECORD = 16
"""bytes of an extent: 1 bit unwritten, 54 startoff, 52 startblock, 21 blockcount"""
BTREE = Structure(">", ("bb_magic", "4s"), ("bb_level", "H"), ("bb_numrecs", "H"), ("_", "16s"))
BTREE_V5 = Structure(
    ">", ("bb_magic", "4s"), ("bb_level", "H"), ("bb_numrecs", "H"), ("_", "16s"), ("blkno", "Q"), ("_", "Q"), ("uuid", "16s"), ("owner", "Q"), ("_", "8s")
)
BTREE_CRC_OFFSET = 64
ROOT = Structure(">", ("bb_level", "H"), ("bb_numrecs", "H"))
"""The B+tree's root in the inode: xfs_bmdr_block"""
MAX_LEVELS = 9
"""Linux, XFS_BTREE_MAXLEVELS"""
MAX_EXTENTS = 1_000_000
"""extents of one file that are looked at"""


class Extent(t.NamedTuple):
    """A run of blocks of a file."""

    startoff: int
    """the first block's number in the file"""
    startblock: int
    blockcount: int
    unwritten: bool
    """allocated, but it reads as zeros"""


class Inode(t.NamedTuple):
    """An inode's core, and the data fork behind it."""

    number: int
    fields: Fields
    fork: bytes

    @property
    def size(self) -> int:
        """Bytes of the file's content."""
        return t.cast(int, self.fields.di_size)

    @property
    def type(self) -> int:
        """The type bits of the mode."""
        return stat.S_IFMT(self.fields.di_mode)


def read_inode(blocks: Blocks, number: int) -> Inode:
    """The inode of a number.

    :raises CorruptImage: there is no such inode, it is free or damaged
    """
    storage, superblock = blocks.storage, blocks.superblock
    what = f"inode {number}"
    offset = superblock.inode_offset(number)
    if offset is None:
        raise CorruptImage(f"XFS: {what} is named, but there is no such place", path=storage.name)
    data = storage.read_exact(offset, superblock.inode_size, what)
    fields = INODE.unpack(data)
    start = INODE.size
    if fields.di_magic != b"IN" or fields.di_version not in ((3,) if blocks.sealed else (1, 2)):
        raise CorruptImage(f"XFS: {what} is no inode", path=storage.name, offset=offset)
    if blocks.sealed:
        fields.update(INODE_V3.unpack(data, start))
        start += INODE_V3.size
        blocks.check_seal(data, CRC_OFFSET, fields.di_uuid, offset, what)
        if fields.di_ino != number:
            raise CorruptImage(f"XFS: {what} says that it is another one ({fields.di_ino})", path=storage.name, offset=offset)
    end = start + 8 * fields.di_forkoff if fields.di_forkoff else len(data)
    if fields.di_mode == 0 or fields.di_size >> 63 or end > len(data):
        raise CorruptImage(f"XFS: {what} is free or damaged", path=storage.name, offset=offset)
    return Inode(number, fields, data[start:end])


def extents(blocks: Blocks, inode: Inode) -> t.Iterator[Extent]:
    """Where the content of a file lies, in the order of the file. All blocks are inside the file system.

    :raises CorruptImage: the list or the B+tree is damaged
    :raises LimitExceeded: there are too many
    """
    fields = inode.fields
    announced = fields.di_big_nextents if blocks.sealed and fields.di_flags2 & FLAG2_NREXT64 else fields.di_nextents
    if announced > MAX_EXTENTS:
        raise LimitExceeded(f"XFS: inode {inode.number} has {announced} extents, {MAX_EXTENTS} are looked at", path=blocks.storage.name)
    if fields.di_format == FORMAT_EXTENTS:
        if announced * RECORD > len(inode.fork):
            raise CorruptImage(f"XFS: inode {inode.number} has no room for its {announced} extents", path=blocks.storage.name)
        pieces: t.Iterable[bytes] = (inode.fork[: announced * RECORD],)
    elif fields.di_format == FORMAT_BTREE:
        pieces = _leaves(blocks, inode)
    else:
        raise CorruptImage(f"XFS: inode {inode.number} keeps its data in a way that its type does not have ({fields.di_format})", path=blocks.storage.name)
    return _ordered(blocks, inode, pieces, announced)


def _ordered(blocks: Blocks, inode: Inode, pieces: t.Iterable[bytes], announced: int) -> t.Iterator[Extent]:
    block_offset = blocks.superblock.block_offset
    end = found = 0
    for piece in pieces:
        found += len(piece) // RECORD
        if found > announced:
            break
        for high, low in struct.iter_unpack(">QQ", piece):
            extent = Extent(high >> 9 & 0x3FFFFFFFFFFFFF, (high & 0x1FF) << 43 | low >> 21, low & 0x1FFFFF, bool(high >> 63))
            # The order bounds the walk, too: no block of the tree is of use twice.
            if extent.startoff < end or extent.blockcount == 0 or block_offset(extent.startblock, extent.blockcount) is None:
                raise CorruptImage(f"XFS: inode {inode.number} has an impossible extent ({', '.join(map(str, extent))})", path=blocks.storage.name)
            end = extent.startoff + extent.blockcount
            yield extent
    if found != announced:
        raise CorruptImage(f"XFS: inode {inode.number} has another number of extents than the {announced} that it counts", path=blocks.storage.name)


def _leaves(blocks: Blocks, inode: Inode) -> t.Iterator[bytes]:
    """The records of the B+tree's leaves, from left to right."""
    root = ROOT.unpack(inode.fork) if len(inode.fork) >= ROOT.size else Fields(bb_level=0, bb_numrecs=0)
    if not 1 <= root.bb_level <= MAX_LEVELS:
        raise CorruptImage(f"XFS: inode {inode.number} has an impossible B+tree of extents", path=blocks.storage.name)
    pending = [(child, root.bb_level - 1) for child in _pointers(blocks, inode, inode.fork, ROOT.size, root.bb_numrecs)]
    layout, magic = (BTREE_V5, b"BMA3") if blocks.sealed else (BTREE, b"BMAP")
    what = f"a block of the extents of inode {inode.number}"
    while pending:
        number, level = pending.pop()
        offset, data = blocks.read(number, 1, what)
        header = layout.unpack(data)
        if header.bb_magic != magic or header.bb_level != level or header.bb_numrecs == 0:
            raise CorruptImage(f"XFS: {what} is damaged", path=blocks.storage.name, offset=offset)
        if blocks.sealed:
            blocks.check_block(data, header, BTREE_CRC_OFFSET, inode.number, offset, what)
        if level:
            pending += [(child, level - 1) for child in _pointers(blocks, inode, data, layout.size, header.bb_numrecs)]
        elif layout.size + header.bb_numrecs * RECORD > len(data):
            raise CorruptImage(f"XFS: {what} has more extents than room", path=blocks.storage.name, offset=offset)
        else:
            yield data[layout.size : layout.size + header.bb_numrecs * RECORD]


def _pointers(blocks: Blocks, inode: Inode, data: bytes, start: int, count: int) -> tuple[int, ...]:
    """The blocks below a node, the last first. Its keys have half of the room behind the header, its pointers the other half."""
    most = (len(data) - start) // 16
    if not 1 <= count <= most:
        raise CorruptImage(f"XFS: inode {inode.number} has a damaged B+tree of extents", path=blocks.storage.name)
    return t.cast("tuple[int, ...]", struct.unpack_from(f">{count}Q", data, start + 8 * most))[::-1]
