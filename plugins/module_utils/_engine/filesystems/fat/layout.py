# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What a FAT volume is made of. Source: Microsoft's FAT specification (fatgen103), sections 3 (BPB), 6 and 7 (directories)."""

from __future__ import annotations

from ...limits import MIB
from ...structure import Structure

BOOT_SECTOR = Structure(
    "<",
    ("BS_jmpBoot", "3s"),
    ("BS_OEMName", "8s"),
    ("BPB_BytsPerSec", "H"),
    ("BPB_SecPerClus", "B"),
    ("BPB_RsvdSecCnt", "H"),
    ("BPB_NumFATs", "B"),
    ("BPB_RootEntCnt", "H"),
    ("BPB_TotSec16", "H"),
    ("BPB_Media", "B"),
    ("BPB_FATSz16", "H"),
    ("_", "8s"),
    ("BPB_TotSec32", "I"),
)
# What follows it on FAT12 and FAT16, and on FAT32.
EXTENDED_16 = Structure("<", ("_", "B"), ("BS_Reserved1", "B"), ("BS_BootSig", "B"), ("BS_VolID", "I"), ("BS_VolLab", "11s"), ("BS_FilSysType", "8s"))
EXTENDED_32 = Structure(
    "<",
    ("BPB_FATSz32", "I"),
    ("BPB_ExtFlags", "H"),
    ("BPB_FSVer", "H"),
    ("BPB_RootClus", "I"),
    ("_", "16s"),
    ("_", "B"),
    ("BS_Reserved1", "B"),
    ("BS_BootSig", "B"),
    ("BS_VolID", "I"),
    ("BS_VolLab", "11s"),
    ("BS_FilSysType", "8s"),
)
EXTENDED_AT = BOOT_SECTOR.size
DIRTY = 1
"""of BS_Reserved1: mounted for writing, and not unmounted since (Linux and Windows NT)"""
MIRRORING_OFF, ACTIVE_FAT = 0x80, 0x0F
"""of BPB_ExtFlags: only one FAT is kept up to date, and which"""

DIRECTORY_ENTRY = Structure(
    "<",
    ("DIR_Name", "11s"),
    ("DIR_Attr", "B"),
    ("DIR_NTRes", "B"),
    ("_", "7s"),
    ("DIR_FstClusHI", "H"),
    ("_", "4s"),
    ("DIR_FstClusLO", "H"),
    ("DIR_FileSize", "I"),
)
LONG_NAME_ENTRY = Structure(
    "<",
    ("LDIR_Ord", "B"),
    ("LDIR_Name1", "10s"),
    ("LDIR_Attr", "B"),
    ("LDIR_Type", "B"),
    ("LDIR_Chksum", "B"),
    ("LDIR_Name2", "12s"),
    ("_", "2s"),
    ("LDIR_Name3", "4s"),
)
READ_ONLY, VOLUME_ID, DIRECTORY, LONG_NAME, LONG_NAME_MASK = 0x01, 0x08, 0x10, 0x0F, 0x3F
"""of DIR_Attr"""
LOWER_BASE, LOWER_EXTENSION = 0x08, 0x10
"""of DIR_NTRes: how Windows NT and Linux store a short name in lower case"""
LAST_LONG_ENTRY = 0x40
"""of LDIR_Ord"""
FREE, END, KANJI = 0xE5, 0x00, 0x05
"""first byte of DIR_Name: no longer used; nothing used from here on; stands for a real E5"""

MAX_FAT12, MAX_FAT16, MAX_FAT32 = 0xFF4, 0xFFF4, 0x0FFFFFF6
"""most clusters, as Linux and blkid have it"""
MAX_DIRECTORY = 2 * MIB
"""65536 entries, the most that the specification allows"""
MAX_FRAGMENTS = 1 << 20
"""runs of clusters of one file; they are kept in memory"""
