# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The names in a directory. Hashed trees are read as the linear directories that they are, too.

Source: Linux, Documentation/filesystems/ext4, directory.rst and inlinedata.rst.
"""

from __future__ import annotations

import struct
import typing as t

from ...errors import LimitExceeded
from ...limits import KIB, MIB
from ...storage.base import Storage
from .inodes import Inode, inline_parts
from .layout import DIRENT_TAIL, DIRENT_TAIL_SIZE, FILETYPE, FLAG_INDEX
from .superblock import checksum
from .volume import Volume

MAX_DIRECTORY = 256 * MIB
"""bytes of a directory that are looked at"""
MAX_NAMES = 1_000_000
"""in one directory: blocks can be in it many times, so that its size does not bound what it may cost"""
_HEADER = struct.Struct("<IHBB")
_AT_ONCE = 256 * KIB
_MAX_REC_LEN = 65536


def names(volume: Volume, inode: Inode, content: t.Callable[[], Storage]) -> t.Iterator[tuple[bytes, int]]:
    """The names with the numbers of their inodes, without ``.`` and ``..``.

    :param content: gives the bytes of a directory that does not lie in its inode
    :raises CorruptImage: the directory is damaged
    :raises LimitExceeded: it is too large
    """
    if inode.size > MAX_DIRECTORY:
        raise LimitExceeded(f"ext: directory {inode.number} has {inode.size} bytes, {MAX_DIRECTORY} are looked at", path=volume.storage.name)
    for count, entry in enumerate(_all(volume, inode, content)):
        if count >= MAX_NAMES:
            raise LimitExceeded(f"ext: directory {inode.number} has more than {MAX_NAMES} names", path=volume.storage.name)
        yield entry


def _all(volume: Volume, inode: Inode, content: t.Callable[[], Storage]) -> t.Iterator[tuple[bytes, int]]:
    if inode.is_inline:
        first, second = inline_parts(volume, inode)
        yield from _entries(volume, inode, first[4:])  # the number of the directory above comes first
        yield from _entries(volume, inode, second)
        return
    size = volume.block_size
    if inode.size % size:
        raise volume.corrupt(f"directory {inode.number} does not end with a block", inode.offset)
    storage = content()
    for start in range(0, inode.size, _AT_ONCE):
        data = storage.read_exact(start, min(_AT_ONCE, inode.size - start), f"directory {inode.number}")
        for at in range(0, len(data), size):
            block = data[at : at + size]
            if volume.superblock.has_checksums:
                _verify(volume, inode, block, start + at)
            yield from _entries(volume, inode, block)


def _entries(volume: Volume, inode: Inode, block: bytes) -> t.Iterator[tuple[bytes, int]]:
    """The names in a block, or in a part of the inode."""
    has_type = volume.superblock.incompat(FILETYPE)
    at, end = 0, len(block)
    while at < end:
        if at + _HEADER.size > end:
            raise _damaged(volume, inode)
        number, rec_len, name_len, kind = _HEADER.unpack_from(block, at)
        if end == _MAX_REC_LEN and rec_len in (0, _MAX_REC_LEN - 1):
            rec_len = _MAX_REC_LEN
        if not has_type:
            name_len |= kind << 8
        if rec_len % 4 or rec_len < _HEADER.size + name_len or at + rec_len > end:
            raise _damaged(volume, inode)
        if number:
            name = block[at + _HEADER.size : at + _HEADER.size + name_len]
            if name not in (b".", b".."):
                if not name or b"/" in name or b"\0" in name:
                    raise _damaged(volume, inode)
                yield name, number
        elif rec_len < _HEADER.size:
            raise _damaged(volume, inode)
        at += rec_len


def _verify(volume: Volume, inode: Inode, block: bytes, at: int) -> None:
    """:raises CorruptImage: the checksum is wrong. The blocks of an index are passed over, as they hold no names."""
    if inode.has(FLAG_INDEX):
        number, rec_len = struct.unpack_from("<IH", block)
        if not at or (not number and rec_len in (len(block), 0, _MAX_REC_LEN - 1)):
            return
    tail = len(block) - DIRENT_TAIL_SIZE
    if block[tail : tail + len(DIRENT_TAIL)] != DIRENT_TAIL or struct.unpack_from("<I", block, len(block) - 4)[0] != checksum(inode.seed, block[:tail]):
        raise volume.corrupt(f"the checksum of directory {inode.number} is wrong in its block {at // len(block)}", inode.offset)


def _damaged(volume: Volume, inode: Inode) -> Exception:
    return volume.corrupt(f"directory {inode.number} is damaged", inode.offset)
