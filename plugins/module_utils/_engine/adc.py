# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""ADC, Apple's own compression of early disk images, decompressed.

Nothing is published by Apple; the rules are those of the "UDIF" chapter of libmodi's documentation ("Mac OS disk image
types", Joachim Metz). A byte tells what follows: bit 7, up to 128 literal bytes; bit 6, a copy of 4 to 67 bytes with two
bytes of distance; else a copy of 3 to 18 bytes with ten bits of distance.
"""

from __future__ import annotations


def decompress(data: bytes, size: int) -> bytes:
    """The first ``size`` bytes that the stream holds; fewer where it ends before.

    :raises ValueError: the stream is damaged: it copies what is not there, or ends inside an instruction
    """
    out = bytearray()
    position, end = 0, len(data)
    while position < end and len(out) < size:
        code = data[position]
        if code & 0x80:
            length = (code & 0x7F) + 1
            literal = data[position + 1 : position + 1 + length]
            if len(literal) < length:
                raise ValueError("the data ends inside a literal")
            out += literal
            position += 1 + length
            continue
        width = 3 if code & 0x40 else 2
        if position + width > end:
            raise ValueError("the data ends inside a copy")
        if code & 0x40:
            length = (code & 0x3F) + 4
            distance = (data[position + 1] << 8 | data[position + 2]) + 1
        else:
            length = (code >> 2 & 0x0F) + 3
            distance = ((code & 3) << 8 | data[position + 1]) + 1
        if distance > len(out):
            raise ValueError("a copy begins before the first byte")
        start = len(out) - distance
        piece = out[start : start + length]
        # A copy may reach into what it writes itself: the piece is repeated then.
        out += piece if distance >= length else (piece * (length // distance + 1))[:length]
        position += width
    return bytes(out[:size])
