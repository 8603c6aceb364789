# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""CRC-32 over runs of zeros of any length, which a disk image has many of."""

from __future__ import annotations

import functools
import zlib

_POLYNOMIAL = 0xEDB88320
_ONE = 0x80000000
"""the polynomial 1: CRC-32 keeps its bits reflected"""
_ZEROS = bytes(1 << 16)


def append_zeros(crc: int, count: int) -> int:
    """The CRC-32 of a message with ``count`` zero bytes more, in the time of the number's bits.

    A CRC is the remainder of a polynomial; a zero bit behind the message multiplies it by x.

    :param crc: of the message, as zlib.crc32 gives it
    """
    if count <= len(_ZEROS):
        return zlib.crc32(_ZEROS[:count], crc)
    remainder, bits = crc ^ 0xFFFFFFFF, 8 * count
    for square in _squares():
        if bits & 1:
            remainder = _multiply(remainder, square)
        bits >>= 1
    return remainder ^ 0xFFFFFFFF


@functools.lru_cache(maxsize=1)
def _squares() -> list[int]:
    """x, x², x⁴ … for any number of bits that can be asked for."""
    squares = [_ONE >> 1]
    for _exponent in range(67):
        squares.append(_multiply(squares[-1], squares[-1]))
    return squares


def _multiply(left: int, right: int) -> int:
    """Product of two polynomials modulo CRC-32's."""
    product = 0
    bit = _ONE
    while bit:
        if left & bit:
            product ^= right
        right = right >> 1 ^ (_POLYNOMIAL if right & 1 else 0)
        bit >>= 1
    return product
