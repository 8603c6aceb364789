# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The Python package zstandard. Source: its documentation, "Decompressing data". Its decoders take no bound on what they
give: they are fed one block at a time, which is never more than Block_Maximum_Size.
"""

from __future__ import annotations

import typing as t

from .frame import BLOCK_HEADER, MAX_HEADER, Frame, parse_block, parse_frame


class Decompressor:
    """One frame, with the interface of the standard library's ZstdDecompressor.

    :param inner: the package's decoder of one frame: ``decompress(data)`` gives all that the data holds
    """

    def __init__(self, inner: t.Any) -> None:
        self._inner = inner
        self._input = b""
        self._at = 0  # next byte of it
        self._frame: Frame | None = None
        self._skip = 0  # bytes of a skippable frame still to come
        self._last = False  # the last block was fed
        self._pending = b""
        self.eof = False
        self.needs_input = True

    @property
    def unused_data(self) -> bytes:
        return self._input[self._at :] if self.eof else b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Up to ``max_length`` bytes of content.

        :raises zstandard.ZstdError: the package finds damage
        :raises ZstdError: a block's header is damaged
        """
        self._input = self._input[self._at :] + data
        self._at = 0
        parts = []
        missing = max_length
        complete = False
        while True:
            part, self._pending = self._pending[:missing], self._pending[missing:]
            parts.append(part)
            missing -= len(part)
            complete = self._frame is not None and (bool(self._inner.eof) or self._skipped())
            if complete or not missing or not self._advance():
                break
        self.eof = complete and not self._pending
        self.needs_input = not complete and missing > 0
        return b"".join(parts)

    def _skipped(self) -> bool:
        return self._frame is not None and self._frame.skip is not None and not self._skip

    def _advance(self) -> bool:
        """Feed what comes next; False when more input is needed for it."""
        if self._frame is None:
            self._frame = parse_frame(self._input[self._at : self._at + MAX_HEADER])
            if self._frame is None:
                return False
            self._skip = self._frame.skip or 0
            if self._frame.skip is not None:
                self._at += self._frame.header
                return True
            return self._feed(self._frame.header)
        if self._frame.skip is not None:
            step = min(self._skip, len(self._input) - self._at)
            self._skip -= step
            self._at += step
            return step > 0
        if self._last:
            return self._feed(4)
        block = parse_block(self._input, self._at, self._frame.max_block)
        if block is None or not self._feed(BLOCK_HEADER + block.stored):
            return False
        self._last = block.last
        return True

    def _feed(self, length: int) -> bool:
        if len(self._input) - self._at < length:
            return False
        self._pending = self._inner.decompress(self._input[self._at : self._at + length])
        self._at += length
        return True
