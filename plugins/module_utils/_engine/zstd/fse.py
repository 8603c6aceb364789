# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Finite state entropy tables. Source: RFC 8878, sections 4.1 (FSE) and 3.1.1.3.2.2 (default distributions)."""

from __future__ import annotations

import typing as t

from .frame import ZstdError

MIN_ACCURACY = 5


class Cell(t.NamedTuple):
    """A state: the symbol it stands for, and how the next state is found."""

    symbol: int
    bits: int
    """bits to be read for the next state, and added to"""
    base: int


def read_table(data: bytes, start: int, max_accuracy: int, max_symbol: int) -> tuple[list[Cell], int]:
    """The table that is described at ``start``, and the offset behind its description.

    :param max_accuracy: largest Accuracy_Log allowed
    :param max_symbol: largest symbol allowed
    :raises ZstdError: the description is damaged
    """
    accuracy, counts, end = _read_distribution(data, start, max_accuracy, max_symbol)
    return build_table(accuracy, counts), end


def _read_distribution(data: bytes, start: int, max_accuracy: int, max_symbol: int) -> tuple[int, list[int], int]:
    # No description is longer: 256 symbols, each with no more than max_accuracy + 1 bits and a repeat flag.
    stream = int.from_bytes(data[start : start + 512], "little")
    available = 8 * min(len(data) - start, 512)
    accuracy = (stream & 15) + MIN_ACCURACY
    if accuracy > max_accuracy or not available:
        raise ZstdError("an FSE table has a wrong accuracy")
    at = 4
    left = 1 << accuracy
    counts: list[int] = []
    while left > 0:
        bits = (left + 1).bit_length()
        value = stream >> at & (1 << bits) - 1
        short = (1 << bits) - 2 - left  # values below take one bit less
        low = value & (1 << bits - 1) - 1
        if low < short:
            value, at = low, at + bits - 1
        else:
            at += bits
            if value >= 1 << bits - 1:
                value -= short
        count = value - 1
        counts.append(count)
        left -= abs(count)
        if not count:
            repeat = 3
            while repeat == 3:
                repeat = stream >> at & 3
                at += 2
                counts.extend([0] * repeat)
                if len(counts) > max_symbol + 1 or at > available:
                    break
        if len(counts) > max_symbol + 1 or at > available:
            raise ZstdError("the description of an FSE table is damaged")
    return accuracy, counts, start + (at + 7) // 8


def build_table(accuracy: int, counts: t.Sequence[int]) -> list[Cell]:
    """The decoding table of a distribution that adds up to ``1 << accuracy``."""
    size = 1 << accuracy
    symbols = [0] * size
    last = size - 1
    for symbol, count in enumerate(counts):
        if count == -1:
            symbols[last] = symbol
            last -= 1
    step = (size >> 1) + (size >> 3) + 3
    position = 0
    for symbol, count in enumerate(counts):
        for _time in range(count):
            symbols[position] = symbol
            position = (position + step) & (size - 1)
            while position > last:
                position = (position + step) & (size - 1)
    following = [abs(count) for count in counts]
    table = []
    for symbol in symbols:
        number = following[symbol]
        following[symbol] = number + 1
        bits = accuracy + 1 - number.bit_length()
        table.append(Cell(symbol, bits, (number << bits) - size))
    return table
