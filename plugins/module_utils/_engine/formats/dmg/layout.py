# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""UDIF on disk (Apple's .dmg): chunks of the disk, an XML property list with tables of them, a trailer. Big endian.

Apple publishes nothing; names and rules are those of libmodi's documentation ("Mac OS disk image types", Joachim Metz)
and qemu's block/dmg.c (dmg_open, dmg_read_mish_block). Sectors have 512 bytes.
"""

from __future__ import annotations

from ... import codecs
from ...limits import MIB, SECTOR
from ...structure import Structure

SIGNATURE = b"koly"
VERSION = 4
TRAILER = Structure(
    ">",
    ("signature", "4s"),
    ("version", "I"),
    ("header_size", "I"),
    ("flags", "I"),
    ("running_data_fork_offset", "Q"),
    ("data_fork_offset", "Q"),
    ("data_fork_length", "Q"),
    ("rsrc_fork_offset", "Q"),
    ("rsrc_fork_length", "Q"),
    ("segment_number", "I"),
    ("segment_count", "I"),
    ("segment_id", "16s"),
    ("data_checksum_type", "I"),
    ("data_checksum_size", "I"),
    ("data_checksum", "128s"),
    ("xml_offset", "Q"),
    ("xml_length", "Q"),
    ("_", "120s"),
    ("master_checksum_type", "I"),
    ("master_checksum_size", "I"),
    ("master_checksum", "128s"),
    ("image_variant", "I"),
    ("sector_count", "Q"),
    ("_", "12s"),
)

TABLE_SIGNATURE = b"mish"
TABLE = Structure(
    ">",
    ("signature", "4s"),
    ("version", "I"),
    ("sector_number", "Q"),
    ("sector_count", "Q"),
    ("data_offset", "Q"),
    ("buffers_needed", "I"),
    ("block_descriptors", "I"),
    ("_", "24s"),
    ("checksum_type", "I"),
    ("checksum_size", "I"),
    ("checksum", "128s"),
    ("number_of_chunks", "I"),
)
CHUNK = Structure(">", ("type", "I"), ("comment", "I"), ("sector", "Q"), ("sectors", "Q"), ("offset", "Q"), ("length", "Q"))
"""``sector`` counts from the table's ``sector_number``, ``offset`` from its ``data_offset`` in the data fork."""

CRC32 = 2
"""checksum type; the first four bytes of the field are the value"""

ZERO, RAW, IGNORE = 0, 1, 2
COMMENT, END = 0x7FFFFFFE, 0xFFFFFFFF
LZFSE = 0x80000007
CODECS = {0x80000004: codecs.ADC, 0x80000005: codecs.ZLIB, 0x80000006: codecs.BZIP2, 0x80000008: codecs.LZMA}
"""compressed chunk types that can be read"""
NAMES = {ZERO: "zero", RAW: "raw", IGNORE: "ignore", LZFSE: "lzfse", **CODECS}
SUBFORMATS = {"adc": "UDCO", "zlib": "UDZO", "bzip2": "UDBZ", "lzfse": "ULFO", "lzma": "ULMO"}
"""hdiutil's names of the variants; without compression it is UDRO"""

MAX_XML = 16 * MIB
"""qemu's ceiling of the property list"""
MAX_CHUNK = 64 * MIB
"""qemu's ceiling of a chunk's stored and decompressed bytes (DMG_LENGTHS_MAX, DMG_SECTORCOUNTS_MAX)"""
MAX_CHUNK_SECTORS = MAX_CHUNK // SECTOR
