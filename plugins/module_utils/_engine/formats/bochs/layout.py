# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Bochs' redologs on disk: a header, the catalog, then extents, each behind the bitmap of its sectors. Little endian.

Sources: Bochs, iodev/hdimage/hdimage.h (redolog_header_t); qemu, block/bochs.c, for what is accepted. All sizes are bytes.
"""

from __future__ import annotations

from ...limits import MIB
from ...structure import Structure

MAGIC = b"Bochs Virtual HD Image"
REDOLOG = b"Redolog"
GROWING = b"Growing"
SUBTYPES = (GROWING, b"Undoable", b"Volatile")
"""The first is a disk of its own, the others hold what was written over another disk, which they do not name."""
VERSION_1, VERSION_2 = 0x00010000, 0x00020000

HEADER_SIZE = 512
"""The structures below and padding"""

_FIELDS = (
    ("magic", "32s"),
    ("type", "16s"),
    ("subtype", "16s"),
    ("version", "I"),
    ("header", "I"),
    ("catalog", "I"),
    ("bitmap", "I"),
    ("extent", "I"),
)
HEADER_1 = Structure("<", *_FIELDS, ("disk", "Q"))
HEADER_2 = Structure("<", *_FIELDS, ("timestamp", "I"), ("disk", "Q"))
"""``header``: where the catalog begins; ``catalog``: its entries; ``bitmap`` and ``extent``: size of each"""

NOT_ALLOCATED = 0xFFFFFFFF

MAX_CATALOG = 1 << 20
MAX_EXTENT = 8 * MIB
"""What bximage makes for its largest disk, of 8 TiB"""
