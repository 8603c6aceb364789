# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The legacy frame of LZ4, which the Linux kernel and ramdisks are packed in ("lz4 -l").

Source: lz4_Frame_format.md, "Legacy frame"; lz4_Block_format.md.
"""

from __future__ import annotations

import typing as t

from ..errors import CorruptImage
from ..limits import MIB
from ..storage.base import Storage

MAGIC = b"\x02\x21\x4c\x18"
BLOCK = 8 * MIB
"""bytes that a block holds; the last one may hold fewer"""
_MOST_PACKED = BLOCK + BLOCK // 255 + 16
"""LZ4_COMPRESSBOUND: what cannot be packed grows that much"""
_LEAST_MATCH = 4


def read_legacy(storage: Storage, offset: int) -> t.Iterator[bytes]:
    """The content of a legacy frame, block by block. A size that no block can have ends it: something else follows.

    :param offset: bytes up to the magic number
    :raises CorruptImage: a block is damaged, or cut off
    """
    offset += len(MAGIC)
    while True:
        stored = storage.read_at(offset, 4)
        size = int.from_bytes(stored, "little")
        if stored == MAGIC:  # another frame
            offset += len(MAGIC)
            continue
        if len(stored) < 4 or not 0 < size <= _MOST_PACKED:
            return
        packed = storage.read_exact(offset + 4, size, "an LZ4 block")
        try:
            yield decompress_block(packed, BLOCK)
        except ValueError as error:
            raise CorruptImage(f"damaged lz4 data ({error})", path=storage.name, offset=offset) from None
        offset += 4 + size


def decompress_block(packed: bytes, most: int) -> bytes:
    """The content of one block.

    :param most: bytes that it may have
    :raises ValueError: the block is damaged, or holds more
    """
    out = bytearray()
    at, end = 0, len(packed)
    while at < end:
        token = packed[at]
        at += 1
        length = token >> 4
        if length == 15:
            length, at = _long(packed, at, length)
        if at + length > end or len(out) + length > most:
            raise ValueError("a literal is too long")
        out += packed[at : at + length]
        at += length
        if at == end:  # the last sequence has no match
            return bytes(out)
        distance = int.from_bytes(packed[at : at + 2], "little")
        at += 2
        length = token & 15
        if length == 15:
            length, at = _long(packed, at, length)
        length += _LEAST_MATCH
        if not 0 < distance <= len(out) or len(out) + length > most:
            raise ValueError("a match is outside of the block")
        start = len(out) - distance
        if length <= distance:
            out += out[start : start + length]
        else:  # the match overlaps what it writes: its bytes repeat
            out += (bytes(out[start:]) * (length // distance + 1))[:length]
    raise ValueError("the block ends in the middle")


def _long(packed: bytes, at: int, length: int) -> tuple[int, int]:
    """A length that goes on: bytes are added up to the first one that is not 255."""
    while True:
        if at >= len(packed):
            raise ValueError("the block ends in a length")
        length += packed[at]
        at += 1
        if packed[at - 1] != 255:
            return length, at
