# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Directories of XFS: names with the numbers of their inodes, in the inode itself or in blocks.

Only the entries are read: the hashes and free lists of larger directories, which lie behind them, are of use to whoever
looks for one name in many, or writes.

Source: "XFS Filesystem Structure", section "Directories".
"""

from __future__ import annotations

import typing as t

from ...errors import CorruptImage, LimitExceeded, printable
from ...limits import GIB, MIB
from ...structure import Structure
from .blocks import Blocks
from .content import Content
from .inodes import FORMAT_LOCAL, Inode, extents

LEAF_OFFSET = 32 * GIB
"""Where the hashes begin in a directory, in bytes: XFS_DIR2_LEAF_OFFSET"""
MAX_DIRECTORY = 256 * MIB
"""bytes of entries of one directory that are looked at"""

BLOCK_HEADER = Structure(">", ("magic", "4s"), ("_", "12s"))
BLOCK_HEADER_V5 = Structure(">", ("magic", "4s"), ("_", "4s"), ("blkno", "Q"), ("_", "Q"), ("uuid", "16s"), ("owner", "Q"), ("_", "16s"))
"""xfs_dir2_data_hdr, xfs_dir3_data_hdr"""
CRC_OFFSET = 4
MAGICS = {False: (b"XD2B", b"XD2D"), True: (b"XDB3", b"XDD3")}
"""Of version 5 and not: the only block of a directory, which has its hashes behind the entries; a block of entries"""
UNUSED = b"\xff\xff"
"""``freetag`` in the place of an inode's number"""
ALIGNMENT = 8


def names(blocks: Blocks, inode: Inode) -> t.Iterator[tuple[bytes, int]]:
    """The names in a directory and their inodes' numbers, without ``.`` and ``..``.

    :raises CorruptImage: it is damaged
    :raises LimitExceeded: it is too large
    """
    if inode.fields.di_format == FORMAT_LOCAL:
        return _short_form(blocks, inode)
    return _blocks(blocks, inode)


def _short_form(blocks: Blocks, inode: Inode) -> t.Iterator[tuple[bytes, int]]:
    fork = inode.fork[: inode.size]
    if len(fork) < 6 or inode.size > len(inode.fork):
        raise CorruptImage(f"XFS: directory {inode.number} has an impossible size ({inode.size} bytes)", path=blocks.storage.name)
    width = 8 if fork[1] else 4
    at = 2 + width
    after = (1 if blocks.superblock.has_ftype else 0) + width
    for _entry in range(fork[0]):
        end = at + 3 + fork[at] + after if at < len(fork) else len(fork) + 1
        if end > len(fork):
            raise CorruptImage(f"XFS: directory {inode.number} has an entry that is not whole", path=blocks.storage.name)
        yield _checked(blocks, inode, fork[at + 3 : at + 3 + fork[at]]), int.from_bytes(fork[end - width : end], "big")
        at = end


def _blocks(blocks: Blocks, inode: Inode) -> t.Iterator[tuple[bytes, int]]:
    size = blocks.superblock.directory_block_size
    content = Content(blocks, extents(blocks, inode), LEAF_OFFSET, f"directory {inode.number}")
    at = total = 0
    for start, length, _place in content.runs(0, LEAF_OFFSET):
        at = max(at, start - start % size)
        while at < start + length:
            total += size
            if total > MAX_DIRECTORY:
                raise LimitExceeded(f"XFS: directory {inode.number} has more than {MAX_DIRECTORY} bytes of entries", path=blocks.storage.name)
            yield from _block(blocks, inode, content, at)
            at += size
    if total == 0:
        raise CorruptImage(f"XFS: directory {inode.number} has no entries, not even itself", path=blocks.storage.name)


def _block(blocks: Blocks, inode: Inode, content: Content, at: int) -> t.Iterator[tuple[bytes, int]]:
    what = f"a block of directory {inode.number}"
    size = blocks.superblock.directory_block_size
    start, _length, place = next(content.runs(at, at + size), (-1, 0, 0))
    data = content.read_exact(at, size, what)
    layout = BLOCK_HEADER_V5 if blocks.sealed else BLOCK_HEADER
    header = layout.unpack(data)
    if start != at or header.magic not in MAGICS[blocks.sealed]:
        raise CorruptImage(f"XFS: {what} is damaged", path=blocks.storage.name, offset=place)
    if blocks.sealed:
        blocks.check_block(data, header, CRC_OFFSET, inode.number, place, what)
    end = len(data)
    if header.magic == MAGICS[blocks.sealed][0]:  # xfs_dir2_block_tail: how many hashes of 8 bytes there are before it
        end -= 8 + 8 * int.from_bytes(data[-8:-4], "big")
    yield from _entries(blocks, inode, data, layout.size, end, place)


def _entries(blocks: Blocks, inode: Inode, data: bytes, at: int, end: int, place: int) -> t.Iterator[tuple[bytes, int]]:
    # An entry: inumber 8, namelen 1, name, ftype 1 where there is one, up to a tag 2 that is its own place in the block.
    what = f"a block of directory {inode.number}"
    fixed = 8 + 1 + (1 if blocks.superblock.has_ftype else 0) + 2
    while at < end:
        if data[at : at + 2] == UNUSED:
            length = int.from_bytes(data[at + 2 : at + 4], "big")
        else:
            length = -(-(fixed + data[at + 8]) // ALIGNMENT) * ALIGNMENT if at + 8 < end else 0
        behind = at + length
        if length < ALIGNMENT or length % ALIGNMENT or behind > end or int.from_bytes(data[behind - 2 : behind], "big") != at:
            raise CorruptImage(f"XFS: {what} has an entry that is not whole", path=blocks.storage.name, offset=place + at)
        if data[at : at + 2] != UNUSED:
            name = _checked(blocks, inode, data[at + 9 : at + 9 + data[at + 8]])
            if name not in (b".", b".."):
                yield name, int.from_bytes(data[at : at + 8], "big")
        at = behind
    if at != end:
        raise CorruptImage(f"XFS: {what} has hashes where its entries are", path=blocks.storage.name, offset=place)


def _checked(blocks: Blocks, inode: Inode, name: bytes) -> bytes:
    if not name or b"/" in name or b"\0" in name:
        raise CorruptImage(f"XFS: directory {inode.number} has an impossible name ({printable(name)!r})", path=blocks.storage.name)
    return name
