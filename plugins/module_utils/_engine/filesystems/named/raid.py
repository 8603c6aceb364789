# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Members of Linux' software RAID (md). Source: Linux, include/uapi/linux/raid/md_p.h; where the superblocks lie: md(4)."""

from __future__ import annotations

import struct

from ...limits import KIB
from ...storage.base import Storage
from ...structure import Structure
from ..base import Signature
from .values import RAID, identifier, text

MD_SB_MAGIC = 0xA92B4EFC
_TYPE = "linux_raid_member"
# The first version is written in the byte order of the machine; of interest are little-endian ones.
MDP_SUPERBLOCK_0 = Structure(
    "<",
    ("md_magic", "I"),
    ("major_version", "I"),
    ("minor_version", "I"),
    ("patch_version", "I"),
    ("gvalid_words", "I"),
    ("set_uuid0", "I"),
    ("ctime", "I"),
    ("level", "I"),
    ("size", "I"),
    ("_", "16s"),
    ("set_uuid1", "I"),
    ("set_uuid2", "I"),
    ("set_uuid3", "I"),
)
MDP_SUPERBLOCK_1 = Structure(
    "<",
    ("magic", "I"),
    ("major_version", "I"),
    ("feature_map", "I"),
    ("_", "4s"),
    ("set_uuid", "16s"),
    ("set_name", "32s"),
    ("_", "64s"),
    ("data_offset", "Q"),
    ("data_size", "Q"),
    ("super_offset", "Q"),
    ("_", "64s"),
    ("sb_csum", "I"),
    ("max_dev", "I"),
    ("_", "32s"),
)
_RESERVED = 64 * KIB
_MAX_DEV = 1920
"""as many as fit the kernel's 4 KiB superblock"""


def identify(storage: Storage) -> Signature | None:
    """A member of a RAID; None when it is none. What lies at the end of a compressed stream is not looked for."""
    end = 0 if storage.sequential else storage.size
    if end > _RESERVED:
        found = _version_0(storage, end // _RESERVED * _RESERVED - _RESERVED)
        if found:
            return found
    places = [("1.1", 0), ("1.2", 4 * KIB)]
    if end > _RESERVED:
        places.insert(0, ("1.0", end // (4 * KIB) * (4 * KIB) - 8 * KIB))
    for version, offset in places:
        data = storage.read_at(offset, 4 * KIB)
        if len(data) < MDP_SUPERBLOCK_1.size:
            continue
        block = MDP_SUPERBLOCK_1.unpack(data)
        if block.magic == MD_SB_MAGIC and block.major_version == 1 and block.super_offset * 512 == offset and _is_intact(data, block.max_dev, block.sb_csum):
            return Signature(_TYPE, RAID, text(block.set_name), identifier(block.set_uuid), version)
    return None


def _version_0(storage: Storage, offset: int) -> Signature | None:
    data = storage.read_at(offset, MDP_SUPERBLOCK_0.size)
    if len(data) < MDP_SUPERBLOCK_0.size:
        return None
    block = MDP_SUPERBLOCK_0.unpack(data)
    if block.md_magic != MD_SB_MAGIC or block.size * KIB > offset:
        return None
    uuid = struct.pack(">4I", block.set_uuid0, block.set_uuid1, block.set_uuid2, block.set_uuid3)
    return Signature(_TYPE, RAID, uuid=identifier(uuid), version=f"{block.major_version}.{block.minor_version}.{block.patch_version}")


def _is_intact(data: bytes, max_dev: int, expected: int) -> bool:
    """Whether the checksum is right: 32-bit words added up, what overflows added again."""
    if max_dev > _MAX_DEV:
        return False
    used = data[: MDP_SUPERBLOCK_1.size + 2 * max_dev]
    words = len(used) // 4
    total = sum(struct.unpack_from(f"<{words}I", used)) - expected
    if len(used) % 4:
        total += int(struct.unpack_from("<H", used, words * 4)[0])
    return (total & 0xFFFFFFFF) + (total >> 32) & 0xFFFFFFFF == expected
