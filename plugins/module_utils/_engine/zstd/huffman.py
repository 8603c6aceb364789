# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Huffman-coded literals. Source: RFC 8878, sections 4.2 (Huffman coding) and 3.1.1.3.1 (literals section)."""

from __future__ import annotations

import typing as t

from . import fse
from .frame import ZstdError

MAX_BITS = 11
_MAX_WEIGHTS = 255
_CHUNK = 32
"""bytes of a bitstream that are looked at as one number: shifting a long one takes time"""


class Tree(t.NamedTuple):
    """What the next bits mean: tables over all values of ``bits`` bits."""

    bits: int
    symbols: bytes
    lengths: bytes


def read_tree(data: bytes, start: int, end: int) -> tuple[Tree, int]:
    """The tree that is described at ``start``, and the offset behind its description.

    :param end: offset that the description must not cross
    :raises ZstdError: the description is damaged
    """
    if start >= end:
        raise ZstdError("a Huffman tree is missing")
    head, start = data[start], start + 1
    if head >= 128:
        count = head - 127
        behind = start + (count + 1) // 2
        packed = data[start:behind]
        weights = [half for byte in packed for half in (byte >> 4, byte & 15)][:count]
    else:
        behind = start + head
        weights = _read_weights(data[start:behind]) if behind <= end else []
    if behind > end:
        raise ZstdError("a Huffman tree is cut off")
    return _build(weights), behind


def _read_weights(data: bytes) -> list[int]:
    """Weights that two states take turns to tell, up to the end of the bitstream."""
    table, start = fse.read_table(data, 0, 6, 255)
    stream = int.from_bytes(data[start:], "little")
    if start >= len(data) or not data[-1]:
        raise ZstdError("the bitstream of a Huffman tree has no end")
    accuracy = len(table).bit_length() - 1
    left = stream.bit_length() - 1 - 2 * accuracy
    if left < 0:
        raise ZstdError("the bitstream of a Huffman tree is cut off")
    state, other = stream >> left + accuracy & len(table) - 1, stream >> left & len(table) - 1
    weights = []
    while True:
        cell = table[state]
        weights.append(cell.symbol)
        left -= cell.bits
        if left < 0:
            weights.append(table[other].symbol)
            break
        if len(weights) >= _MAX_WEIGHTS:
            raise ZstdError("a Huffman tree has too many weights")
        state, other = other, cell.base + (stream >> left & (1 << cell.bits) - 1)
    if len(weights) > _MAX_WEIGHTS:
        raise ZstdError("a Huffman tree has too many weights")
    return weights


def _build(weights: list[int]) -> Tree:
    """The tables of a tree; the last symbol's weight is what is missing to a power of two."""
    total = sum(1 << weight >> 1 for weight in weights)
    bits = total.bit_length()
    missing = (1 << bits) - total
    if not total or bits > MAX_BITS or missing & missing - 1:
        raise ZstdError("the weights of a Huffman tree are wrong")
    weights = [*weights, missing.bit_length()]
    if weights.count(1) < 2:  # an odd number does not add up
        raise ZstdError("the weights of a Huffman tree are wrong")
    symbols, lengths = bytearray(), bytearray()
    for weight in range(1, bits + 1):
        width = 1 << weight - 1
        for symbol, own in enumerate(weights):
            if own == weight:
                symbols += bytes((symbol,)) * width
        lengths += bytes((bits + 1 - weight,)) * (len(symbols) - len(lengths))
    return Tree(bits, bytes(symbols), bytes(lengths))


def decode(tree: Tree, data: bytes, size: int, streams: int) -> bytes:
    """The literals of one or four bitstreams.

    :param size: of all literals, in bytes
    :raises ZstdError: the streams do not hold exactly that many
    """
    if streams == 1:
        return _decode_stream(tree, data, size)
    if size < 6 or len(data) < 10:
        raise ZstdError("literals in four streams are too short")
    ends = [6]
    for at in (0, 2, 4):
        ends.append(ends[-1] + int.from_bytes(data[at : at + 2], "little"))
    ends.append(len(data))
    if ends[3] > ends[4]:
        raise ZstdError("a stream of literals is cut off")
    each = (size + 3) // 4
    sizes = (each, each, each, size - 3 * each)
    if sizes[3] < 0:
        raise ZstdError("literals in four streams are too short")
    return b"".join([_decode_stream(tree, data[ends[number] : ends[number + 1]], wanted) for number, wanted in enumerate(sizes)])


def _decode_stream(tree: Tree, data: bytes, size: int) -> bytes:
    """All symbols of a bitstream, which is read from its end; it has to be used up when the last one is found."""
    if not data or not data[-1]:
        raise ZstdError("a stream of literals has no end")
    bits, symbols, lengths = tree
    mask = (1 << bits) - 1
    out = bytearray()
    append = out.append
    start = max(len(data) - _CHUNK, 0)
    chunk = int.from_bytes(data[start:], "little")
    left = chunk.bit_length() - 1  # bits of the chunk not used yet
    while True:
        limit = left - bits
        while limit >= 0:
            index = chunk >> limit & mask
            append(symbols[index])
            limit -= lengths[index]
        left = limit + bits
        if not start:
            break
        end, start = start, max(start - _CHUNK, 0)
        chunk = (chunk & (1 << left) - 1) << 8 * (end - start) | int.from_bytes(data[start:end], "little")
        left += 8 * (end - start)
    while left > 0:  # less than the longest code: zeros fill it up
        index = chunk << bits - left & mask
        append(symbols[index])
        left -= lengths[index]
    if left or len(out) != size:
        raise ZstdError("a stream of literals has not the length that it should have")
    return bytes(out)
