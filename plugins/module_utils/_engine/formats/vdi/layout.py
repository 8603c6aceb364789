# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""VDI on disk: a pre-header, a header, the block map, the blocks. Little endian.

There is no published specification; names and rules are those of VirtualBox' VDICore.h and VDI.cpp
(VDIPREHEADER, VDIHEADER0, VDIHEADER1, VDIHEADER1PLUS). All sizes and offsets are bytes.
"""

from __future__ import annotations

import uuid

from ...limits import MAX_VIRTUAL_SIZE, MIB
from ...structure import Structure

SIGNATURE = 0xBEDA107F
SIGNATURE_OFFSET = 64

VERSION_0 = 0x00000002
"""The only version before 1.1 that VirtualBox reads."""
VERSION_1_1 = 0x00010001

DYNAMIC, FIXED, UNDO, DIFFERENCING = 1, 2, 3, 4
TYPES = {DYNAMIC: "dynamic", FIXED: "fixed", UNDO: "undo", DIFFERENCING: "differencing"}

FREE = 0xFFFFFFFF
"""Block map entry: not allocated. Zeros, or in an image with a parent the parent's block."""
ZERO = 0xFFFFFFFE
"""Block map entry: reads as zeros."""

BLOCK = 1 * MIB
"""VirtualBox' usual block, and the only size that qemu reads."""
MAX_BLOCKS = MAX_VIRTUAL_SIZE // BLOCK
"""Most entries that a block map may have here: the largest disk in usual blocks, a map of 256 MiB."""

NO_UUID = bytes(16)

PREHEADER = Structure("<", ("szFileInfo", "64s"), ("u32Signature", "I"), ("u32Version", "I"))

HEADER_0 = Structure(
    "<",
    ("u32Type", "I"),
    ("fFlags", "I"),
    ("szComment", "256s"),
    ("cCylinders", "I"),
    ("cHeads", "I"),
    ("cSectors", "I"),
    ("cbSector", "I"),
    ("cbDisk", "Q"),
    ("cbBlock", "I"),
    ("cBlocks", "I"),
    ("cBlocksAllocated", "I"),
    ("uuidCreate", "16s"),
    ("uuidModify", "16s"),
    ("uuidLinkage", "16s"),
)
"""Follows the pre-header in version 0; the map follows at once, then the blocks."""

HEADER_1 = Structure(
    "<",
    ("cbHeader", "I"),
    ("u32Type", "I"),
    ("fFlags", "I"),
    ("szComment", "256s"),
    ("offBlocks", "I"),
    ("offData", "I"),
    ("cCylinders", "I"),
    ("cHeads", "I"),
    ("cSectors", "I"),
    ("cbSector", "I"),
    ("u32Dummy", "I"),
    ("cbDisk", "Q"),
    ("cbBlock", "I"),
    ("cbBlockExtra", "I"),
    ("cBlocks", "I"),
    ("cBlocksAllocated", "I"),
    ("uuidCreate", "16s"),
    ("uuidModify", "16s"),
    ("uuidLinkage", "16s"),
    ("uuidParentModify", "16s"),
)

LCHS_GEOMETRY = Structure("<", ("cCylinders", "I"), ("cHeads", "I"), ("cSectors", "I"), ("cbSector", "I"))
"""What VDIHEADER1PLUS has behind VDIHEADER1."""

HEADER_1PLUS_SIZE = HEADER_1.size + LCHS_GEOMETRY.size


def uuid_text(stored: bytes) -> str:
    """An identifier as VirtualBox shows it. RTUUID is stored with its first three fields in little endian."""
    return str(uuid.UUID(bytes_le=stored))
