# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The codes of sequences, and the tables that tell them. Source: RFC 8878, section 3.1.1.3.2 (sequences section)."""

from __future__ import annotations

import functools
import typing as t

from . import fse
from .frame import ZstdError


class Step(t.NamedTuple):
    """All that a state says: the value's code resolved, and how the next state is found."""

    value: int
    """what the extra bits are added to"""
    extra: int
    """number of extra bits"""
    mask: int
    base: int
    """what the bits of the next state are added to"""
    bits: int
    """number of bits for the next state"""
    base_mask: int


class Table(t.NamedTuple):
    """A decoding table."""

    accuracy: int
    steps: list[Step]


class Kind(t.NamedTuple):
    """One of the three kinds of codes."""

    name: str
    codes: tuple[tuple[int, int], ...]
    """(baseline, number of extra bits) for each code"""
    max_accuracy: int
    accuracy: int
    """of the default distribution"""
    distribution: tuple[int, ...]


def _codes(first: int, plain: int, extra: t.Sequence[int]) -> tuple[tuple[int, int], ...]:
    """``plain`` codes for one value each from ``first`` on, then one for each number of extra bits, without gaps."""
    codes = [(first + number, 0) for number in range(plain)]
    value = first + plain
    for bits in extra:
        codes.append((value, bits))
        value += 1 << bits
    return tuple(codes)


_LITERALS = [1, 1, 1, 1, 2, 2, 3, 3, 4, 6, *range(7, 17)]
_MATCHES = [1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, *range(7, 17)]
LITERALS_LENGTH = Kind("literals length", _codes(0, 16, _LITERALS), 9, 6, (4, 3, *[2] * 11, 1, 1, 1, *[2] * 9, 3, 2, *[1] * 5, *[-1] * 4))
OFFSET = Kind("offset", tuple((1 << code, code) for code in range(32)), 8, 5, (*[1] * 6, 2, 2, 2, *[1] * 15, *[-1] * 5))
MATCH_LENGTH = Kind("match length", _codes(3, 32, _MATCHES), 9, 6, (1, 4, 3, *[2] * 6, *[1] * 37, *[-1] * 7))
KINDS = (LITERALS_LENGTH, OFFSET, MATCH_LENGTH)
"""in the order of their modes and descriptions"""

_PREDEFINED, _RLE, _COMPRESSED = 0, 1, 2


def _resolved(kind: Kind, cells: list[fse.Cell]) -> Table:
    steps = []
    for symbol, bits, base in cells:
        value, extra = kind.codes[symbol]
        steps.append(Step(value, extra, (1 << extra) - 1, base, bits, (1 << bits) - 1))
    return Table(len(cells).bit_length() - 1, steps)


@functools.cache
def _default(kind: Kind) -> Table:
    return _resolved(kind, fse.build_table(kind.accuracy, kind.distribution))


def read_tables(data: bytes, at: int, previous: tuple[Table, ...]) -> tuple[tuple[Table, ...], int]:
    """The tables of a block, and the offset of the bitstream behind their descriptions.

    :param at: offset of the byte with the modes
    :param previous: the last block's tables; empty if there was none
    :raises ZstdError: a description is damaged
    """
    modes = data[at] if at < len(data) else 3
    if modes & 3:
        raise ZstdError("the modes of the sequences are missing, or a reserved bit is set")
    at += 1
    tables = []
    for number, kind in enumerate(KINDS):
        mode = modes >> 6 - 2 * number & 3
        if mode == _PREDEFINED:
            tables.append(_default(kind))
        elif mode == _RLE:
            if at >= len(data) or data[at] >= len(kind.codes):
                raise ZstdError(f"the {kind.name} code is wrong")
            tables.append(_resolved(kind, [fse.Cell(data[at], 0, 0)]))
            at += 1
        elif mode == _COMPRESSED:
            cells, at = fse.read_table(data, at, kind.max_accuracy, len(kind.codes) - 1)
            tables.append(_resolved(kind, cells))
        elif previous:
            tables.append(previous[number])
        else:
            raise ZstdError(f"the {kind.name} table of an earlier block is to be used, and there is none")
    return tuple(tables), at
