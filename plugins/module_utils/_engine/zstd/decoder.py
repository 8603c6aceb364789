# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Decompression of a zstd frame in plain Python, for nodes that have nothing better. Source: RFC 8878, section 3.1.1 (frames)."""

from __future__ import annotations

from .block import BlockDecoder
from .frame import BLOCK_HEADER, COMPRESSED, MAX_HEADER, RLE, Frame, ZstdError, parse_block, parse_frame
from .xxh64 import XXH64


class Decompressor:
    """One frame, with the interface of the standard library's ZstdDecompressor.

    Memory: the window, a block and what was fed; and once more the window while Python moves it.
    """

    def __init__(self) -> None:
        self._input = b""
        self._at = 0  # next byte of it
        self._frame: Frame | None = None
        self._skip = 0  # bytes of a skippable frame still to come
        self._blocks: BlockDecoder | None = None
        self._hash: XXH64 | None = None
        self._given = 0  # bytes of the block decoder's output that were given
        self._produced = 0  # bytes of content so far
        self._last = self._complete = False  # the last block was decoded; and the checksum was seen
        self.eof = False
        self.needs_input = True

    @property
    def unused_data(self) -> bytes:
        return self._input[self._at :] if self.eof else b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Up to ``max_length`` bytes of content.

        :raises ZstdError: the data is damaged
        """
        self._input = self._input[self._at :] + data
        self._at = 0
        parts = []
        missing = max_length
        while True:
            part = self._take(missing)
            parts.append(part)
            missing -= len(part)
            if self._complete or not missing or not self._advance():
                break
        self.eof = self._complete and not (self._blocks and self._given < len(self._blocks.out))
        self.needs_input = not self._complete and missing > 0
        return b"".join(parts)

    def _take(self, most: int) -> bytes:
        """Content that was not given yet; what no later block can refer to is let go."""
        if self._blocks is None or self._frame is None:
            return b""
        out = self._blocks.out
        part = bytes(out[self._given : self._given + most])
        self._given += len(part)
        superfluous = self._given - self._frame.window
        if superfluous > 0:
            del out[:superfluous]
            self._given -= superfluous
        return part

    def _advance(self) -> bool:
        """Go on by a header, a block or a checksum; False when more input is needed for it."""
        if self._frame is None:
            return self._begin()
        available = len(self._input) - self._at
        if self._blocks is None:
            step = min(self._skip, available)
            self._skip -= step
            self._at += step
            self._complete = not self._skip
            return self._complete
        if not self._last:
            return self._block(self._frame, self._blocks)
        if available < 4:
            return False
        if self._hash is not None and self._hash.digest() & 0xFFFFFFFF != int.from_bytes(self._input[self._at : self._at + 4], "little"):
            raise ZstdError("the checksum does not agree with the content")
        self._at += 4
        self._complete = True
        return True

    def _begin(self) -> bool:
        self._frame = parse_frame(self._input[self._at : self._at + MAX_HEADER])
        if self._frame is None:
            return False
        self._at += self._frame.header
        if self._frame.skip is not None:
            self._skip = self._frame.skip
        else:
            self._blocks = BlockDecoder(self._frame)
            self._hash = XXH64() if self._frame.checksum else None
        return True

    def _block(self, frame: Frame, blocks: BlockDecoder) -> bool:
        block = parse_block(self._input, self._at, frame.max_block)
        start = self._at + BLOCK_HEADER
        if block is None or len(self._input) < start + block.stored:
            return False
        self._at = start + block.stored
        data = self._input[start : self._at]
        before = len(blocks.out)
        if block.kind == COMPRESSED:
            blocks.decode(data)
        else:
            blocks.out += data * block.size if block.kind == RLE else data
        self._produced += len(blocks.out) - before
        if self._hash is not None:
            self._hash.update(bytes(blocks.out[before:]))
        if frame.content is not None and (self._produced > frame.content or (block.last and self._produced < frame.content)):
            raise ZstdError("the content has not the size that the frame declares")
        self._last = block.last
        self._complete = block.last and self._hash is None
        return True
