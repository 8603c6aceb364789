# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""LZO1X decompressed. Source: Linux, Documentation/staging/lzo.rst ("LZO stream format as understood by Linux's LZO decompressor").

Instructions copy what came out before; up to three literals may follow each of them, or a long run of literals the last.
"""

from __future__ import annotations


def decompress(data: bytes, size: int) -> bytes:
    """The content of a stream of bitstream version 0.

    :param data: the whole stream
    :param size: bytes that it may hold
    :raises ValueError: the stream is damaged, or holds more
    """
    try:
        return _decompress(data, size)
    except IndexError:
        raise ValueError("the data ends inside an instruction") from None


def _decompress(data: bytes, size: int) -> bytes:
    out = bytearray()
    position = state = 0
    if data[0] > 17:  # a first run of literals, in a form of its own
        position, length = 1, data[0] - 17
        state = min(length, 4)
        out += data[1 : 1 + length]
        position += length
    while True:
        code = data[position]
        position += 1
        if code >= 64:
            length = (code >> 5) + 1
            distance = (data[position] << 3 | code >> 2 & 7) + 1
            position += 1
            state = code & 3
        elif code >= 16:
            mask = 31 if code >= 32 else 7
            length = code & mask
            if not length:
                length, position = _long(data, position, mask)
            length += 2
            pair = data[position] | data[position + 1] << 8
            position += 2
            distance = (pair >> 2) + 1
            state = pair & 3
            if code < 32:
                distance += 0x3FFF + ((code & 8) << 11)
                if distance == 0x4000:
                    break
        elif state == 0:
            length = code
            if not length:
                length, position = _long(data, position, 15)
            length += 3
            out += data[position : position + length]
            position += length
            state = 4
            if len(out) > size or position > len(data):
                raise ValueError("a run of literals does not end")
            continue
        else:
            distance = (data[position] << 2 | code >> 2) + 1
            length = 2
            if state == 4:
                distance += 0x800
                length = 3
            position += 1
            state = code & 3
        start = len(out) - distance
        if start < 0:
            raise ValueError("a copy begins before the first byte")
        if len(out) + length + state > size:
            raise ValueError(f"the content is longer than {size} bytes")
        piece = out[start : start + length]
        # A copy may reach into what it writes itself: the piece is repeated then.
        out += piece if distance >= length else (piece * (length // distance + 1))[:length]
        if state:
            out += data[position : position + state]
            position += state
    return bytes(out)


def _long(data: bytes, position: int, base: int) -> tuple[int, int]:
    """A length that did not fit its instruction, and where the data goes on."""
    start = position
    while not data[position]:
        position += 1
    return base + (position - start) * 255 + data[position], position + 1
