# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Parallels' expandable images on disk: a header, the block allocation table (BAT), the data. Little endian.

Source: qemu, docs/interop/parallels.rst, sections "Header", "BAT" and "Format Extension"; limits from block/parallels.c.
Offsets and sizes are sectors of 512 bytes unless a name says otherwise.
"""

from __future__ import annotations

from ...limits import MAX_VIRTUAL_SIZE, MIB
from ...structure import Structure

OLD, EXTENDED = b"WithoutFreeSpace", b"WithouFreSpacExt"
"""The one counts the BAT's offsets in sectors and the disk in 32 bits, the other in clusters and in 64 bits."""
VERSION = 2

HEADER = Structure(
    "<",
    ("magic", "16s"),
    ("version", "I"),
    ("heads", "I"),
    ("cylinders", "I"),
    ("tracks", "I"),
    ("nb_bat_entries", "I"),
    ("nb_sectors", "Q"),
    ("in_use", "I"),
    ("data_off", "I"),
    ("flags", "I"),
    ("ext_off", "Q"),
)
"""``tracks`` is the size of a cluster."""

IN_USE, CLOSED = 0x746F6E59, 0x312E3276
"""Values of ``in_use``; 0 comes from a program that does not know the field."""
EMPTY_IMAGE = 1
"""bit of ``flags``"""

MAX_CLUSTER = (2**31 - 1) // 513
MAX_BAT = MAX_VIRTUAL_SIZE // MIB
"""Most entries that a BAT may have here: the largest disk in usual clusters, a table of 256 MiB"""
MAX_FILE_CLUSTERS = 1 << 26
"""Most clusters that the file may have: one byte of memory each"""

EXTENSION_MAGIC = 0xAB234CEF23DCEA87
EXTENSION = Structure("<", ("magic", "Q"), ("m_CheckSum", "16s"))
FEATURE = Structure("<", ("magic", "Q"), ("flags", "Q"), ("data_size", "I"), ("_", "I"))
"""Followed by ``data_size`` bytes and padding to 8 bytes"""
END_OF_FEATURES, DIRTY_BITMAP = 0, 0x20385FAE252CB34A
MAX_EXTENSION = 1 * MIB
"""bytes of a format extension that are looked at"""
