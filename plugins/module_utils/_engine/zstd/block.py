# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Compressed blocks. Source: RFC 8878, sections 3.1.1.3 (compressed blocks), 3.1.1.4 (sequence execution), 3.1.1.5 (repeat offsets)."""

from __future__ import annotations

from . import huffman
from .frame import Frame, ZstdError
from .sequences import Table, read_tables

_CHUNK = 32
"""bytes of the bitstream that are looked at as one number; a sequence has 89 bits at most"""
_ENOUGH = 96


class BlockDecoder:
    """Decompresses the blocks of a frame one after the other.

    :ivar out: the content, of which the window has to stay; blocks are added to it
    """

    def __init__(self, frame: Frame) -> None:
        self.out = bytearray()
        self._window = frame.window
        self._most = frame.max_block
        self._tree: huffman.Tree | None = None
        self._tables: tuple[Table, ...] = ()
        self._offsets = 1, 4, 8

    def decode(self, data: bytes) -> None:
        """Add the content of a compressed block.

        :raises ZstdError: the block is damaged
        """
        literals, at = self._literals(data)
        if len(literals) > self._most:
            raise ZstdError("a block has more literals than it may have bytes")
        count, at = _sequence_count(data, at)
        if count:
            self._tables, at = read_tables(data, at, self._tables)
            self._execute(data, at, count, literals)
        elif at != len(data):
            raise ZstdError("something follows the end of a block")
        else:
            self.out += literals

    def _literals(self, data: bytes) -> tuple[bytes, int]:
        """The literals, and the offset behind their section."""
        if len(data) < 2:
            raise ZstdError("a compressed block is too short")
        kind, form = data[0] & 3, data[0] >> 2 & 3
        if kind < 2:
            at = (1, 2, 1, 3)[form]
            size = int.from_bytes(data[:at], "little") >> (3 if at == 1 else 4)
            if at + (1 if kind else size) > len(data) or size > self._most:
                raise ZstdError("the literals are longer than their block")
            return (bytes(data[at : at + 1]) * size, at + 1) if kind else (data[at : at + size], at + size)
        at = (3, 3, 4, 5)[form]
        bits = (10, 10, 14, 18)[form]
        sizes = int.from_bytes(data[:at], "little") >> 4
        size, end = sizes & (1 << bits) - 1, at + (sizes >> bits)
        if end > len(data) or size > self._most:
            raise ZstdError("the literals are longer than their block")
        if kind == 2:
            self._tree, at = huffman.read_tree(data, at, end)
        elif self._tree is None:
            raise ZstdError("the Huffman tree of an earlier block is to be used, and there is none")
        return huffman.decode(self._tree, data[at:end], size, 4 if form else 1), end

    def _execute(self, data: bytes, start: int, count: int, literals: bytes) -> None:
        """Decode and execute the sequences whose bitstream is ``data`` from ``start`` on."""
        if start >= len(data) or not data[-1]:
            raise ZstdError("the bitstream of the sequences has no end")
        (literals_accuracy, literals_steps), (offset_accuracy, offset_steps), (match_accuracy, match_steps) = self._tables
        out, window = self.out, self._window
        limit = len(out) + self._most
        used = 0  # literals
        first, second, third = self._offsets
        end, begin = len(data), max(len(data) - _CHUNK, start)
        chunk = int.from_bytes(data[begin:end], "little")
        left = chunk.bit_length() - 1 - literals_accuracy - offset_accuracy - match_accuracy  # bits of the chunk not used yet
        if left < 0:
            raise ZstdError("the bitstream of the sequences is cut off")
        states = chunk >> left
        match_step = match_steps[states & (1 << match_accuracy) - 1]
        states >>= match_accuracy
        offset_step = offset_steps[states & (1 << offset_accuracy) - 1]
        literals_step = literals_steps[states >> offset_accuracy & (1 << literals_accuracy) - 1]
        while True:
            count -= 1
            literal_length, literals_extra, literals_mask, literals_base, literals_bits, literals_base_mask = literals_step
            offset, offset_extra, offset_mask, offset_base, offset_bits, offset_base_mask = offset_step
            match_length, match_extra, match_mask, match_base, match_bits, match_base_mask = match_step
            if left < _ENOUGH and begin > start:
                end, begin = begin, max(begin - _CHUNK, start)
                chunk = (chunk & (1 << left) - 1) << 8 * (end - begin) | int.from_bytes(data[begin:end], "little")
                left += 8 * (end - begin)
            left -= literals_extra + offset_extra + match_extra
            if count:
                left -= literals_bits + offset_bits + match_bits
                if left < 0:
                    raise ZstdError("the bitstream of the sequences is cut off")
                bits = chunk >> left
                offset_step = offset_steps[offset_base + (bits & offset_base_mask)]
                bits >>= offset_bits
                match_step = match_steps[match_base + (bits & match_base_mask)]
                bits >>= match_bits
                literals_step = literals_steps[literals_base + (bits & literals_base_mask)]
                bits >>= literals_bits
            elif left or begin > start:
                raise ZstdError("the bitstream of the sequences has not the length that it should have")
            else:
                bits = chunk
            if literals_extra:
                literal_length += bits & literals_mask
                bits >>= literals_extra
            if match_extra:
                match_length += bits & match_mask
                bits >>= match_extra
            offset += bits & offset_mask

            if offset > 3:
                offset -= 3
                first, second, third = offset, first, second
            else:
                if not literal_length:
                    offset += 1
                if offset == 1:
                    offset = first
                elif offset == 2:
                    offset = second
                    first, second = second, first
                else:
                    offset = third if offset == 3 else first - 1
                    first, second, third = offset, first, second

            if literal_length:
                out += literals[used : used + literal_length]
                used += literal_length
            size = len(out)
            if not 0 < offset <= size or offset > window or size + match_length > limit or used > len(literals):
                raise ZstdError("a sequence reaches out of the window, the block or its literals")
            if offset >= match_length:
                out += out[size - offset : size - offset + match_length]
            else:
                out += (out[size - offset :] * (match_length // offset + 1))[:match_length]
            if not count:
                break
        self._offsets = first, second, third
        if len(out) + len(literals) - used > limit:
            raise ZstdError("a block is longer than it may be")
        out += literals[used:]


def _sequence_count(data: bytes, at: int) -> tuple[int, int]:
    """Number_of_Sequences, and the offset behind it."""
    head = data[at : at + 3]
    if head and head[0] < 128:
        return head[0], at + 1
    if len(head) >= 2 and head[0] < 255:
        return (head[0] - 128 << 8) + head[1], at + 2
    if len(head) == 3:
        return int.from_bytes(head[1:], "little") + 0x7F00, at + 3
    raise ZstdError("the number of sequences is missing")
