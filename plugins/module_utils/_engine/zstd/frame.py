# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What stands in front of a zstd frame's content and its blocks.

Source: RFC 8878, sections 3.1.1.1 (frame header), 3.1.1.2 (blocks) and 3.1.2 (skippable frames).
"""

from __future__ import annotations

import typing as t

from ..limits import KIB, MAX_DECODER_MEMORY

MAGIC = b"\x28\xb5\x2f\xfd"
SKIPPABLE_MAGIC = 0x184D2A50
"""the last four bits are free"""
MAX_HEADER = 18
"""bytes, with the magic number"""
MAX_BLOCK = 128 * KIB
"""Block_Maximum_Size, unless the window is smaller"""


class ZstdError(Exception):
    """The data is damaged; the message says how."""


class ZstdLimit(ZstdError):
    """The frame wants a larger window than is allowed."""


class ZstdUnsupported(ZstdError):
    """The frame is sound, and cannot be decompressed here."""


class Frame(t.NamedTuple):
    """A frame's header, or a skippable frame's."""

    header: int
    """bytes up to the first block"""
    window: int
    """Window_Size, bytes"""
    content: int | None = None
    """Frame_Content_Size, bytes"""
    checksum: bool = False
    skip: int | None = None
    """bytes to be skipped behind the header; None for a frame with blocks"""

    @property
    def max_block(self) -> int:
        return min(self.window, MAX_BLOCK)


class Block(t.NamedTuple):
    """A block's header."""

    last: bool
    kind: int
    size: int
    """of the content, for raw and RLE blocks; else of what is stored"""
    stored: int
    """bytes that follow the header"""


BLOCK_HEADER = 3
RAW, RLE, COMPRESSED = 0, 1, 2


def parse_block(data: bytes, start: int, most: int) -> Block | None:
    """The block header at ``start``; None while it is not complete.

    :param most: largest size allowed
    :raises ZstdError: the type is reserved, or the block is longer
    """
    if len(data) < start + BLOCK_HEADER:
        return None
    header = int.from_bytes(data[start : start + BLOCK_HEADER], "little")
    kind, size = header >> 1 & 3, header >> 3
    if kind > COMPRESSED or size > most:
        raise ZstdError("a block has a reserved type, or is longer than it may be")
    return Block(bool(header & 1), kind, size, 1 if kind == RLE else size)


def parse_frame(data: bytes) -> Frame | None:
    """The header that the data begins with; None while it is not complete.

    :raises ZstdError: this is no frame
    :raises ZstdLimit: the window is above MAX_DECODER_MEMORY
    :raises ZstdUnsupported: the frame needs a dictionary
    """
    if not MAGIC.startswith(data[:4]):
        return _parse_skippable(data)
    if len(data) < 5:
        return None
    descriptor = data[4]
    single_segment = descriptor >> 5 & 1
    content_bytes = (single_segment, 2, 4, 8)[descriptor >> 6]
    dictionary_bytes = (0, 1, 2, 4)[descriptor & 3]
    at = 6 - single_segment  # behind the window descriptor
    header = at + dictionary_bytes + content_bytes
    if descriptor & 8:
        raise ZstdError("a reserved bit of the frame header is set")
    if len(data) < header:
        return None
    if any(data[at : at + dictionary_bytes]):
        raise ZstdUnsupported("the zstd data needs a dictionary")
    content = None
    if content_bytes:
        content = int.from_bytes(data[header - content_bytes : header], "little") + (256 if content_bytes == 2 else 0)
    if single_segment:
        window = content or 0
    else:
        base = 1 << (10 + (data[5] >> 3))
        window = base + (base >> 3) * (data[5] & 7)
    if window > MAX_DECODER_MEMORY:
        raise ZstdLimit(f"the frame needs a window of {window} bytes")
    return Frame(header, window, content, bool(descriptor & 4))


def _parse_skippable(data: bytes) -> Frame | None:
    magic = SKIPPABLE_MAGIC.to_bytes(4, "little")
    if data[0] & 0xF0 != magic[0] or not magic[1:].startswith(data[1:4]):
        raise ZstdError("this is no zstd frame")
    return Frame(8, 0, skip=int.from_bytes(data[4:8], "little")) if len(data) >= 8 else None
