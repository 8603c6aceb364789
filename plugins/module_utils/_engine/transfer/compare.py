# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Whether two images, of any formats, show the guest the same bytes."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ..formats.base import Reader
from ..progress import Progress, silent
from .cells import CELL, Buffers, Cell, cells, in_order, load, pairs, thread_count


@dataclasses.dataclass
class Difference:
    """The first difference between two disks."""

    offset: int
    """guest offset of the first differing byte"""
    reason: str
    """one sentence part, as "content differs at guest offset 0x10000"."""


def compare(first: Reader, second: Reader, *, progress: Progress = silent, threads: int | None = None) -> Difference | None:
    """The first difference in content, or None.

    As with ``qemu-img compare`` a larger disk is the same as a smaller one when all bytes behind the smaller one's end
    are zero.

    :raises ImageError: one of them cannot be read
    :raises BusyError: one of them was changed meanwhile
    """
    total = max(first.virtual_size, second.virtual_size)
    threads = thread_count() if threads is None else threads
    progress("compare", 0, total)
    sequential = first.storage.sequential or second.storage.sequential
    buffers = Buffers()
    tasks = (functools.partial(_differ, pair, buffers) for pair in pairs(cells(first), cells(second)))
    for start, offset in in_order(tasks, 1 if sequential else threads):
        progress("compare", min(start + CELL, total), total)
        if offset is not None:
            return Difference(offset, f"content differs at guest offset {offset:#x}")
    first.require_unchanged()
    second.require_unchanged()
    return None


_Pair = tuple[int, t.Optional[Cell], t.Optional[Cell]]


def _differ(pair: _Pair, buffers: Buffers) -> tuple[int, int | None]:
    """(cell start, guest offset of the first difference in it or None)"""
    start, first, second = pair
    a, b = buffers.take(), buffers.take()
    load(first or Cell(start, []), a)
    load(second or Cell(start, []), b)
    offset = None if a == b else start + _first_difference(a, b)
    buffers.give_back(a)
    buffers.give_back(b)
    return start, offset


def _first_difference(a: bytearray, b: bytearray) -> int:
    low, high = 0, len(a)  # it is in [low, high)
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low
