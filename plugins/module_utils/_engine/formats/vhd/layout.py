# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""VHD on disk. Big endian.

Source: Microsoft, "Virtual Hard Disk Image Format Specification", version 1.0 (2006), sections "Hard Disk Footer Format",
"Dynamic Disk Header Format", "Block Allocation Table and Data Blocks" and the appendix "CHS Calculation". Field names are
the specification's. Sizes are bytes unless sectors (512 bytes) are said. The batmap is XenServer's (blktap, include/vhd.h).
"""

from __future__ import annotations

from ...limits import KIB, MIB, SECTOR
from ...structure import Fields, Structure

FOOTER = Structure(
    ">",
    ("cookie", "8s"),
    ("features", "I"),
    ("file_format_version", "I"),
    ("data_offset", "Q"),
    ("time_stamp", "I"),
    ("creator_application", "4s"),
    ("creator_version", "I"),
    ("creator_host_os", "4s"),
    ("original_size", "Q"),
    ("current_size", "Q"),
    ("cylinders", "H"),
    ("heads", "B"),
    ("sectors_per_track", "B"),
    ("disk_type", "I"),
    ("checksum", "I"),
    ("unique_id", "16s"),
    ("saved_state", "B"),
    ("_", "427s"),
)

DYNAMIC_HEADER = Structure(
    ">",
    ("cookie", "8s"),
    ("data_offset", "Q"),
    ("table_offset", "Q"),
    ("header_version", "I"),
    ("max_table_entries", "I"),
    ("block_size", "I"),
    ("checksum", "I"),
    ("parent_unique_id", "16s"),
    ("parent_time_stamp", "I"),
    ("_", "I"),
    ("parent_unicode_name", "512s"),
    ("parent_locators", "192s"),
    ("_", "256s"),
)

PARENT_LOCATOR = Structure(
    ">",
    ("platform_code", "4s"),
    ("platform_data_space", "I"),
    ("platform_data_length", "I"),
    ("_", "I"),
    ("platform_data_offset", "Q"),
)

BATMAP = Structure(
    ">",
    ("cookie", "8s"),
    ("batmap_offset", "Q"),
    ("batmap_size", "I"),
    ("batmap_version", "I"),
    ("checksum", "I"),
)
"""XenServer's, in the sector behind the table: where a bitmap lies, ``batmap_size`` sectors long, of the blocks that are whole."""

FOOTER_COOKIE = b"conectix"
HEADER_COOKIE = b"cxsparse"
BATMAP_COOKIE = b"tdbatmap"
FOOTER_CHECKSUM = 64
HEADER_CHECKSUM = 36
"""Where the checksum lies in the footer, and in the dynamic disk header."""
VERSION = 0x00010000
NO_OFFSET = 0xFFFFFFFFFFFFFFFF
FEATURE_RESERVED = 0x00000002
"""Must always be set."""

FIXED, DYNAMIC, DIFFERENCING = 2, 3, 4
TYPES = {FIXED: "fixed", DYNAMIC: "dynamic", DIFFERENCING: "differencing"}

UNUSED = 0xFFFFFFFF
"""Entry of the block allocation table (a sector number of the file): not allocated."""

BLOCK = 2 * MIB
"""The specification's usual block size."""
MIN_BLOCK = 8 * SECTOR
"""A byte of sector bitmap; on what is stored for less, readers do not agree."""
MAX_DISK = 0xFF000000 * SECTOR
"""Largest disk, 2040 GiB: what Windows and qemu take; sector numbers of the table have 32 bits."""
MAX_TABLE = 16 * MIB
"""Largest block allocation table taken, in bytes: 2040 GiB in blocks of 512 KiB."""
MAX_LOCATOR = 64 * KIB

MAX_GEOMETRY = (65535, 16, 255)
"""Cylinders, heads, sectors per track that stand for "at least that"."""


def checksum(structure: bytes, offset: int) -> int:
    """One's complement of the sum of all bytes, with the checksum's own four bytes at ``offset`` counted as zeros."""
    return ~(sum(structure) - sum(structure[offset : offset + 4])) & 0xFFFFFFFF


def looks_like_footer(data: bytes) -> bool:
    """Whether 512 bytes are a VHD footer: the cookie and the right checksum. Cheap; for detection, too."""
    return (
        len(data) == FOOTER.size
        and data[: len(FOOTER_COOKIE)] == FOOTER_COOKIE
        and int.from_bytes(data[FOOTER_CHECKSUM : FOOTER_CHECKSUM + 4], "big") == checksum(data, FOOTER_CHECKSUM)
    )


def geometry_size(footer: Fields) -> int:
    """Bytes that the footer's geometry covers."""
    return int(footer.cylinders * footer.heads * footer.sectors_per_track * SECTOR)


def disk_size(footer: Fields) -> int:
    """Bytes that the guest sees.

    The footer has two answers, which differ where the size is no product of a geometry. Virtual PC, and qemu when it
    signs as ``qemu``, show the guest the geometry; all others the current size. qemu 10 (block/vpc.c) reads it the
    same way. The largest geometry only says that the disk is large.
    """
    by_geometry = geometry_size(footer)
    if (
        footer.creator_application in (b"vpc ", b"qemu")
        and (footer.cylinders, footer.heads, footer.sectors_per_track) != MAX_GEOMETRY
        and 0 < by_geometry < footer.current_size
    ):
        return by_geometry
    return int(footer.current_size)


def geometry(sectors: int) -> tuple[int, int, int]:
    """Cylinders, heads, sectors per track for a disk (appendix "CHS Calculation")."""
    total = min(sectors, 65535 * 16 * 255)
    if total >= 65535 * 16 * 63:
        return total // 255 // 16, 16, 255
    cylinders_times_heads = total // 17
    heads = max(4, -(-cylinders_times_heads // 1024))
    if cylinders_times_heads < heads * 1024 and heads <= 16:
        return cylinders_times_heads // heads, heads, 17
    cylinders_times_heads = total // 31
    if cylinders_times_heads < 16 * 1024:
        return cylinders_times_heads // 16, 16, 31
    return total // 63 // 16, 16, 63
