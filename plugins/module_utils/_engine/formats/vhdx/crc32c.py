# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""CRC-32C, which the standard library lacks. Source: RFC 3720, appendix B.4 (Castagnoli polynomial, reflected)."""

from __future__ import annotations

import functools
import struct

_POLYNOMIAL = 0x82F63B78


@functools.lru_cache(maxsize=1)
def _tables() -> list[list[int]]:
    """Eight tables: ``[k][byte]`` is the effect of a byte that has k more bytes behind it. Made at first use only."""
    first = []
    for byte in range(256):
        for _bit in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        first.append(byte)
    tables = [first]
    for _more in range(7):
        tables.append([value >> 8 ^ first[value & 0xFF] for value in tables[-1]])
    return tables


def crc32c(data: bytes) -> int:
    """The checksum of ``data``, eight bytes a step: some 15 MB/s, which is 5 ms for a region table."""
    t0, t1, t2, t3, t4, t5, t6, t7 = _tables()
    crc = 0xFFFFFFFF
    whole = len(data) & ~7
    for low, high in struct.iter_unpack("<II", memoryview(data)[:whole]):
        low ^= crc
        crc = (
            t7[low & 0xFF]
            ^ t6[low >> 8 & 0xFF]
            ^ t5[low >> 16 & 0xFF]
            ^ t4[low >> 24]
            ^ t3[high & 0xFF]
            ^ t2[high >> 8 & 0xFF]
            ^ t1[high >> 16 & 0xFF]
            ^ t0[high >> 24]
        )
    for byte in data[whole:]:
        crc = crc >> 8 ^ t0[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def seal(data: bytes) -> bytes:
    """A VHDX structure with its checksum (4 bytes at 4, counted as zeros) filled in. Source: MS-VHDX, section 2.2.2."""
    return b"".join((data[:4], struct.pack("<I", _structure_checksum(data)), data[8:]))


def is_sealed(data: bytes) -> bool:
    """Whether the checksum in a VHDX structure agrees with its bytes."""
    return bool(struct.unpack_from("<I", data, 4)[0] == _structure_checksum(data))


def _structure_checksum(data: bytes) -> int:
    return crc32c(b"".join((data[:4], bytes(4), data[8:])))
