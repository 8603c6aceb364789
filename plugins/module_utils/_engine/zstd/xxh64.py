# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The checksum behind a frame's content. Source: xxHash fast digest algorithm 0.1.1, section "XXH64 algorithm description"."""

from __future__ import annotations

import struct

_MASK = (1 << 64) - 1
_P1, _P2, _P3, _P4, _P5 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_STRIPES = struct.Struct("<4Q")


class XXH64:
    """The hash with seed 0, of data that comes in pieces."""

    def __init__(self) -> None:
        self._lanes = (_P1 + _P2) & _MASK, _P2, 0, -_P1 & _MASK
        self._rest = b""
        self._length = 0

    def update(self, data: bytes) -> None:
        self._length += len(data)
        data = self._rest + data
        whole = len(data) & ~31
        a, b, c, d = self._lanes
        p1, p2, mask = _P1, _P2, _MASK
        for first, second, third, fourth in _STRIPES.iter_unpack(memoryview(data)[:whole]):
            a = (a + first * p2) & mask
            a = ((a << 31 & mask) | a >> 33) * p1 & mask
            b = (b + second * p2) & mask
            b = ((b << 31 & mask) | b >> 33) * p1 & mask
            c = (c + third * p2) & mask
            c = ((c << 31 & mask) | c >> 33) * p1 & mask
            d = (d + fourth * p2) & mask
            d = ((d << 31 & mask) | d >> 33) * p1 & mask
        self._lanes = a, b, c, d
        self._rest = data[whole:]

    def digest(self) -> int:
        value = _P5
        if self._length >= 32:
            value = sum(_rotate(lane, bits) for lane, bits in zip(self._lanes, (1, 7, 12, 18)))
            for lane in self._lanes:
                value = ((value ^ _round(0, lane)) * _P1 + _P4) & _MASK
        value = (value + self._length) & _MASK
        rest = self._rest
        eights = len(rest) & ~7
        for at in range(0, eights, 8):
            value = (_rotate(value ^ _round(0, int.from_bytes(rest[at : at + 8], "little")), 27) * _P1 + _P4) & _MASK
        if len(rest) - eights >= 4:
            value ^= int.from_bytes(rest[eights : eights + 4], "little") * _P1 & _MASK
            value = (_rotate(value, 23) * _P2 + _P3) & _MASK
            eights += 4
        for byte in rest[eights:]:
            value = _rotate(value ^ byte * _P5 & _MASK, 11) * _P1 & _MASK
        value = (value ^ value >> 33) * _P2 & _MASK
        value = (value ^ value >> 29) * _P3 & _MASK
        return value ^ value >> 32


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> 64 - bits) & _MASK


def _round(lane: int, value: int) -> int:
    return _rotate((lane + value * _P2) & _MASK, 31) * _P1 & _MASK
