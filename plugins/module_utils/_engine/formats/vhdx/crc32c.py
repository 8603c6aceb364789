# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The seal on VHDX's structures. Source: MS-VHDX, section 2.2.2 (the CRC-32C is in the engine's crc32c.py)."""

from __future__ import annotations

import struct

from ...crc32c import crc32c


def seal(data: bytes) -> bytes:
    """A VHDX structure with its checksum (4 bytes at 4, counted as zeros) filled in. Source: MS-VHDX, section 2.2.2."""
    return b"".join((data[:4], struct.pack("<I", _structure_checksum(data)), data[8:]))


def is_sealed(data: bytes) -> bool:
    """Whether the checksum in a VHDX structure agrees with its bytes."""
    return bool(struct.unpack_from("<I", data, 4)[0] == _structure_checksum(data))


def _structure_checksum(data: bytes) -> int:
    return crc32c(b"".join((data[:4], bytes(4), data[8:])))
