# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""LUKS on disk. Big endian. Sources: "LUKS1 On-Disk Format Specification" 1.2.3, figures 1 and 2; "LUKS2 On-Disk Format
Specification" 1.1.1, sections 2.1 (binary header) and 3 (JSON area). Offsets of LUKS1 count in sectors of 512 bytes.
"""

from __future__ import annotations

from ...limits import MIB
from ...structure import Structure

MAGIC = b"LUKS\xba\xbe"
SECOND_MAGIC = b"SKUL\xba\xbe"
"""begins LUKS2's second header"""

VERSION = Structure(">", ("magic", "6s"), ("version", "H"))
"""What both versions begin with."""

HEADER_1 = Structure(
    ">",
    ("magic", "6s"),
    ("version", "H"),
    ("cipher_name", "32s"),
    ("cipher_mode", "32s"),
    ("hash_spec", "32s"),
    ("payload_offset", "I"),
    ("key_bytes", "I"),
    ("mk_digest", "20s"),
    ("mk_digest_salt", "32s"),
    ("mk_digest_iter", "I"),
    ("uuid", "40s"),
)
KEY_SLOT = Structure(">", ("active", "I"), ("iterations", "I"), ("salt", "32s"), ("key_material_offset", "I"), ("stripes", "I"))
"""Eight of them follow the header of LUKS1."""
KEY_SLOTS = 8
SLOT_ACTIVE = 0x00AC71F3
SLOT_INACTIVE = 0x0000DEAD

HEADER_2 = Structure(
    ">",
    ("magic", "6s"),
    ("version", "H"),
    ("hdr_size", "Q"),
    ("seqid", "Q"),
    ("label", "48s"),
    ("csum_alg", "32s"),
    ("salt", "64s"),
    ("uuid", "40s"),
    ("subsystem", "48s"),
    ("hdr_offset", "Q"),
    ("_", "184s"),
    ("csum", "64s"),
)
CSUM_OFFSET = HEADER_2.size - 64
BINARY_SIZE = 4096
"""Bytes from the header to its JSON area."""
HEADER_2_SIZES = tuple(0x4000 << power for power in range(9))
"""What hdr_size may be (section 2.1): 16 KiB to 4 MiB. The second header lies behind the first, so it begins at one of these."""

MAX_OBJECTS = 32
"""Keyslots, tokens and segments that LUKS2 may have (cryptsetup's lib/luks2/luks2.h)."""
MAX_JSON_ELEMENTS = 100_000
"""A full header has some thousand; parsing 4 MiB of brackets would take a hundred times as much memory."""
MAX_KEY_BYTES = 1 * MIB
"""More is no key, whatever the cipher."""


def text(stored: bytes) -> str:
    """A field that is filled up with zeros, as text."""
    return stored.partition(b"\0")[0].decode("utf-8", "backslashreplace")
