# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Partition tables, boot sectors and file systems: what a raw disk (or a hybrid ISO) holds. Only named, not followed.

Sources: UEFI specification, chapter 5 (GPT, MBR); Microsoft's FAT specification, section 3; Linux,
Documentation/arch/x86/boot.rst; qemu does not look at any of these.
"""

from __future__ import annotations

import struct
import zlib

from ...structure import Structure
from .match import CONTENT, OTHER, Match

PARTITION_TABLES = ("mbr", "gpt", "apm")

PARTITION = Structure("<", ("BootIndicator", "B"), ("_", "3s"), ("OSType", "B"), ("_", "3s"), ("StartingLBA", "I"), ("SizeInLBA", "I"))
_MBR_TABLE = 446

# (format, description, offset, magic)
_VOLUMES = (
    ("ntfs", "an NTFS file system", 3, b"NTFS    "),
    ("exfat", "an exFAT file system", 3, b"EXFAT   "),
    ("bitlocker", "a BitLocker volume", 3, b"-FVE-FS-"),
    ("xfs", "an XFS file system", 0, b"XFSB"),
    ("btrfs", "a Btrfs file system", 0x10040, b"_BHRfS_M"),
    ("swap", "Linux swap space", 4086, b"SWAPSPACE2"),
)


def content_matches(head: bytes, size: int | None) -> list[Match]:
    """Partition tables first, then file systems.

    :param head: the first bytes of the content
    :param size: bytes of the content; None when not known
    """
    found = []
    for sector in (512, 4096):
        if head.startswith(b"EFI PART", sector):
            intact = _gpt_is_intact(head, sector)
            text = f"a GPT partition table with {sector}-byte sectors" if intact else "a damaged GPT partition table"
            found.append(Match("gpt", CONTENT, text, 100 if intact else 60))
    if is_mbr(head, size):
        found.append(Match("mbr", CONTENT, "an MBR partition table", 80))
    if _apm(head):
        found.append(Match("apm", CONTENT, "an Apple partition map", 80))
    for name, text, offset, magic in _VOLUMES:
        if head.startswith(magic, offset):
            found.append(Match(name, CONTENT, text, 90))
    if _fat(head):
        found.append(Match("fat", CONTENT, "a FAT file system", 80))
    if _ext(head):
        found.append(Match("ext", CONTENT, "an ext2/3/4 file system", 80))
    if any(head.startswith(b"LABELONE", at) and head.startswith(b"LVM2 001", at + 24) for at in (0, 512, 1024, 1536)):
        found.append(Match("lvm2", CONTENT, "an LVM2 physical volume", 100))
    return found


def kernel_matches(head: bytes) -> list[Match]:
    """A Linux kernel of the x86 boot protocol: it ends its first sector like a boot sector and is no disk."""
    if is_bzimage(head):
        return [Match("linux-kernel", OTHER, "a Linux kernel (bzImage)", 95)]
    return []


def is_bzimage(head: bytes) -> bool:
    return head.startswith(b"HdrS", 0x202)


def is_mbr(head: bytes, size: int | None) -> bool:
    """Whether the first sector holds a partition table that can be believed.

    55 AA alone says nothing: FAT, NTFS and BitLocker volumes and kernels have it too. The four entries must be sane.
    """
    if len(head) < 512 or head[510:512] != b"\x55\xaa" or is_bzimage(head) or _fat(head):
        return False
    if head[3:11] in (b"NTFS    ", b"EXFAT   ", b"-FVE-FS-"):
        return False
    used = 0
    for index in range(4):
        entry = PARTITION.unpack(head, _MBR_TABLE + index * PARTITION.size)
        if entry.BootIndicator not in (0, 0x80):
            return False
        if entry.OSType == 0 and entry.SizeInLBA == 0:
            continue
        # A hybrid ISO's partition begins at 0. A lone boot sector (a backup of one) names ranges that it does not have.
        outside = size is not None and size > 512 and entry.StartingLBA * 512 >= size
        if entry.OSType == 0 or entry.SizeInLBA == 0 or outside:
            return False
        used += 1
    return used > 0


def _gpt_is_intact(head: bytes, sector: int) -> bool:
    """Whether the header's own checksum is right."""
    if len(head) < 2 * sector:
        return False
    header_size, checksum = struct.unpack_from("<II", head, sector + 12)
    if not 92 <= header_size <= sector:
        return False
    header = bytearray(head[sector : sector + header_size])
    header[16:20] = bytes(4)
    return zlib.crc32(header) == checksum


def _apm(head: bytes) -> bool:
    if head[:2] != b"ER" or len(head) < 4:
        return False
    block = struct.unpack_from(">H", head, 2)[0]
    return block in (512, 1024, 2048, 4096) and (head.startswith(b"PM\0\0", block) or head.startswith(b"PM\0\0", 512))


def _fat(head: bytes) -> bool:
    """A BIOS parameter block that can be right (Microsoft's FAT specification, section 3.1)."""
    if len(head) < 512 or head[0] not in (0xEB, 0xE9):
        return False
    sector, per_cluster, reserved, fats = struct.unpack_from("<HBHB", head, 11)
    per_fat16 = struct.unpack_from("<H", head, 22)[0]
    per_fat32 = struct.unpack_from("<I", head, 36)[0]
    return (
        sector in (512, 1024, 2048, 4096)
        and per_cluster in (1, 2, 4, 8, 16, 32, 64, 128)
        and reserved > 0
        and fats in (1, 2)
        and head[21] >= 0xF0
        and (per_fat16 or per_fat32) > 0
    )


def _ext(head: bytes) -> bool:
    if len(head) < 2048 or head[1080:1082] != b"\x53\xef":
        return False
    inodes, blocks = struct.unpack_from("<II", head, 1024)
    log_block_size = struct.unpack_from("<I", head, 1048)[0]
    return inodes > 0 and blocks > 0 and log_block_size <= 6
