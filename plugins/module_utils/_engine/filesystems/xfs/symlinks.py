# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Symbolic links of XFS, in the inode or in blocks.

Source: "XFS Filesystem Structure", section "Symbolic Links".
"""

from __future__ import annotations

from ...errors import CorruptImage
from ...structure import Structure
from .blocks import Blocks
from .inodes import FORMAT_LOCAL, Inode, extents

MAX_TARGET = 1024
"""XFS_SYMLINK_MAXLEN, bytes"""
HEADER_V5 = Structure(">", ("sl_magic", "4s"), ("sl_offset", "I"), ("sl_bytes", "I"), ("_", "4s"), ("uuid", "16s"), ("owner", "Q"), ("blkno", "Q"), ("_", "8s"))
"""xfs_dsymlink_hdr, before the text in each extent of version 5"""
CRC_OFFSET = 12


def target(blocks: Blocks, inode: Inode) -> bytes:
    """The text of a symbolic link.

    :raises CorruptImage: it is damaged, or longer than XFS has it
    """
    size = inode.size
    if not 1 <= size <= MAX_TARGET:
        raise CorruptImage(f"XFS: the symbolic link of inode {inode.number} has an impossible size ({size} bytes)", path=blocks.storage.name)
    if inode.fields.di_format == FORMAT_LOCAL:
        text = inode.fork[:size]
    else:
        text = _remote(blocks, inode)
    if len(text) != size or b"\0" in text:
        raise CorruptImage(f"XFS: the symbolic link of inode {inode.number} is damaged", path=blocks.storage.name)
    return text


def _remote(blocks: Blocks, inode: Inode) -> bytes:
    text = b""
    what = f"the symbolic link of inode {inode.number}"
    most = -(-(MAX_TARGET + HEADER_V5.size) // blocks.superblock.block_size) + 1
    for extent in extents(blocks, inode):
        if extent.blockcount > most:
            break
        offset, data = blocks.read(extent.startblock, extent.blockcount, what)
        if blocks.sealed:
            header = HEADER_V5.unpack(data)
            if header.sl_magic != b"XSLM" or header.sl_offset != len(text):
                raise CorruptImage(f"XFS: {what} is damaged", path=blocks.storage.name, offset=offset)
            blocks.check_block(data, header, CRC_OFFSET, inode.number, offset, what)
            data = data[HEADER_V5.size : HEADER_V5.size + header.sl_bytes]
        text += data
        if len(text) >= inode.size:
            break
    return text[: inode.size]
