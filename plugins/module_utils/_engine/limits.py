# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Bounds on what an untrusted image may make the engine allocate, loop over or write.

All sizes are bytes. A format's own ceilings (the specification's or qemu's, whichever is lower) stand beside its layout.
"""

from __future__ import annotations

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
TIB = 1 << 40

SECTOR = 512

MAX_VIRTUAL_SIZE = 64 * TIB
"""Largest guest disk: VHDX's ceiling, and more than Glance or Nova take."""

MAX_TABLE = 64 * MIB
"""Largest mapping table read in one piece (qemu: L1 32 MiB; a 2 TiB VHD's BAT is 4 MiB, a 64 TiB VHDX's 512 MiB is read in parts)."""

MAX_DESCRIPTOR = 1 * MIB
"""Largest text descriptor (VMDK), as in oslo.utils' inspector."""

MAX_OVF = 4 * MIB
"""Largest OVF descriptor, manifest or certificate (the largest seen in the field has 493 KiB)."""

MAX_XML_DEPTH = 64
MAX_XML_ELEMENTS = 100_000

MAX_ARCHIVE_MEMBERS = 100_000
MAX_TAR_EXTENSION = 1 * MIB
"""Largest pax header or GNU long name."""

MAX_DECODER_MEMORY = 128 * MIB
"""Dictionary or window that a compressed stream may ask for (zstd(1) refuses more, too)."""

MAX_REFERENCE_DEPTH = 32
"""Images that name each other in a chain: as many as VMware allows snapshots"""
