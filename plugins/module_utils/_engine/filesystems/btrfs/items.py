# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The items in btrfs' trees. Source: btrfs documentation, "Btree Items" and "On-disk Format"; Linux, uapi/linux/btrfs_tree.h."""

from __future__ import annotations

import typing as t

from ...crc32c import crc32c
from ...errors import CorruptImage, printable
from ...structure import Structure

INODE_ITEM, INODE_REF = 1, 12
DIR_ITEM, DIR_INDEX = 84, 96
EXTENT_DATA = 108
ROOT_ITEM, ROOT_BACKREF, ROOT_REF = 132, 144, 156
CHUNK_ITEM = 228
"""types of keys"""

FS_TREE = 5
"""The subvolume that holds all others."""
FIRST_CHUNK_TREE = 256
FIRST_FREE = 256
"""The first subvolume's number, and the inode of every subvolume's root directory."""
LAST_FREE = (1 << 64) - 256
EMPTY_SUBVOLUME = 2
"""The inode that the kernel gives to a directory that stands for a subvolume which is not in this snapshot."""

_DISK_KEY = (("objectid", "Q"), ("key_type", "B"), ("offset", "Q"))
DISK_KEY = Structure("<", *_DISK_KEY)
INODE = Structure(
    "<",
    ("generation", "Q"),
    ("transid", "Q"),
    ("size", "Q"),
    ("nbytes", "Q"),
    ("block_group", "Q"),
    ("nlink", "I"),
    ("uid", "I"),
    ("gid", "I"),
    ("mode", "I"),
    ("rdev", "Q"),
    ("flags", "Q"),
    ("sequence", "Q"),
    ("_", "32s"),
    ("times", "48s"),
)
DIR_ENTRY = Structure("<", *_DISK_KEY, ("transid", "Q"), ("data_len", "H"), ("name_len", "H"), ("type", "B"))
ROOT = Structure(
    "<",
    ("inode", "160s"),
    ("generation", "Q"),
    ("root_dirid", "Q"),
    ("bytenr", "Q"),
    ("byte_limit", "Q"),
    ("bytes_used", "Q"),
    ("last_snapshot", "Q"),
    ("flags", "Q"),
    ("refs", "I"),
    ("drop_progress", "17s"),
    ("drop_level", "B"),
    ("level", "B"),
)
"""What every version of it has; newer ones are longer."""
ROOT_REFERENCE = Structure("<", ("dirid", "Q"), ("sequence", "Q"), ("name_len", "H"))
INODE_REFERENCE = Structure("<", ("index", "Q"), ("name_len", "H"))
FILE_EXTENT = Structure(
    "<",
    ("generation", "Q"),
    ("ram_bytes", "Q"),
    ("compression", "B"),
    ("encryption", "B"),
    ("other_encoding", "H"),
    ("type", "B"),
)
"""Inline data follows; or else:"""
FILE_EXTENT_ON_DISK = Structure("<", ("disk_bytenr", "Q"), ("disk_num_bytes", "Q"), ("offset", "Q"), ("num_bytes", "Q"))
INLINE, REGULAR, PREALLOC = range(3)
NO_COMPRESSION, ZLIB, LZO, ZSTD = range(4)

NAME_MAX = 255


class Entry(t.NamedTuple):
    """A name in a directory."""

    name: bytes
    objectid: int
    key_type: int
    """INODE_ITEM for a file of the same subvolume, ROOT_ITEM for another subvolume"""


def entries(data: bytes, where: str) -> list[Entry]:
    """The names of a DIR_INDEX, which has one, or of a DIR_ITEM, which has all that share a hash.

    :param where: the image, for messages
    :raises CorruptImage: it ends inside one, or a name is none
    """
    found = []
    position = 0
    while position < len(data):
        if position + DIR_ENTRY.size > len(data):
            raise CorruptImage("a directory ends inside an entry", path=where)
        entry = DIR_ENTRY.unpack(data, position)
        position += DIR_ENTRY.size
        name = data[position : position + entry.name_len]
        position += entry.name_len + entry.data_len
        if position > len(data):
            raise CorruptImage("a directory ends inside an entry", path=where)
        if not 0 < len(name) <= NAME_MAX or name in (b".", b"..") or b"/" in name or b"\0" in name:
            raise CorruptImage(f"a directory has the name {printable(name)!r}, which no file can have", path=where)
        if entry.key_type not in (INODE_ITEM, ROOT_ITEM):
            raise CorruptImage(f"the name {printable(name)} leads to a key of type {entry.key_type}", path=where)
        found.append(Entry(name, entry.objectid, entry.key_type))
    return found


def name_hash(name: bytes) -> int:
    """The offset of a name's DIR_ITEM key: CRC-32C that begins with ~1 and is not inverted at the end."""
    return crc32c(name, 1) ^ 0xFFFFFFFF


def reference(form: Structure, data: bytes, where: str) -> tuple[int, bytes]:
    """The first number and the name of a reference to a directory entry.

    :param form: ROOT_REFERENCE or INODE_REFERENCE
    :raises CorruptImage: it is too short
    """
    if len(data) < form.size:
        raise CorruptImage("a reference to a directory is too short", path=where)
    found = form.unpack(data)
    name = data[form.size : form.size + found.name_len]
    if len(name) != found.name_len or not 0 < len(name) <= NAME_MAX:
        raise CorruptImage("a reference to a directory has a name that ends behind it", path=where)
    return found[form.names[0]], name
