# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Cutting a disk into pieces that threads can work on, and getting their results back in order."""

from __future__ import annotations

import collections
import concurrent.futures
import heapq
import itertools
import os
import typing as t

from ..extents import Extent
from ..formats.base import Reader, read_compressed
from ..limits import MIB

CELL = 2 * MIB
"""Guest bytes in a piece: a multiple of every format's unit, large enough that handing it to a thread costs nothing"""

ZEROS = bytes(CELL)

Result = t.TypeVar("Result")


class Cell(t.NamedTuple):
    """A piece of the guest disk that may hold something else than zeros."""

    start: int
    """guest offset, a multiple of CELL"""
    extents: list[Extent]
    """what is not known to be zero in it, clipped to the cell, in rising order"""


def cells(reader: Reader, start: int = 0, length: int | None = None) -> t.Iterator[Cell]:
    """The cells of a disk in rising order, without those that are all zero by the image's own tables.

    :param start: guest offset, bytes; what lies before it is left out
    :param length: bytes; what lies behind is left out. Up to the end of the disk when None
    :raises CorruptImage: as Reader.extents
    """
    current = -1
    found: list[Extent] = []
    for extent in reader.extents(start, length):
        if extent.is_zero:
            continue
        position = extent.start
        while position < extent.end:
            cell = position - position % CELL
            if cell != current:
                if found:
                    yield Cell(current, found)
                current, found = cell, []
            end = min(extent.end, cell + CELL)
            found.append(extent.clip(position, end))
            position = end
    if found:
        yield Cell(current, found)


def pairs(first: t.Iterable[Cell], second: t.Iterable[Cell]) -> t.Iterator[tuple[int, Cell | None, Cell | None]]:
    """The cells of two disks side by side, in rising order: guest offset, and None for one that is all zero by its tables."""
    marked = heapq.merge(((cell.start, 0, cell) for cell in first), ((cell.start, 1, cell) for cell in second), key=lambda item: item[:2])
    for start, group in itertools.groupby(marked, key=lambda item: item[0]):
        found: dict[int, Cell] = {side: cell for _start, side, cell in group}
        yield start, found.get(0), found.get(1)


class Buffers:
    """Buffers of a cell's size, used again and again: fresh memory costs more than reading into it."""

    def __init__(self) -> None:
        self._free: list[bytearray] = []

    def take(self) -> bytearray:
        """A buffer of CELL bytes with any content. Safe in threads (list operations are atomic)."""
        try:
            return self._free.pop()
        except IndexError:
            return bytearray(CELL)

    def give_back(self, buffer: bytearray) -> None:
        self._free.append(buffer)


def load(cell: Cell, buffer: bytearray) -> None:
    """Fill a buffer with all guest bytes of a cell, zeros where no extent is; the cell's first byte is the buffer's.

    :raises CorruptImage: the content cannot be had
    """
    view = memoryview(buffer)
    position = 0
    for extent in cell.extents:
        start = extent.start - cell.start
        if start > position:
            view[position:start] = ZEROS[: start - position]
        position = start + extent.length
        if extent.stored is not None:
            view[start:position] = read_compressed(extent)
        elif extent.storage is not None:
            extent.storage.read_into(extent.offset, view[start:position], "data")
    if position < CELL:
        view[position:] = ZEROS[: CELL - position]


def runs(data: bytearray, start: int, end: int, unit: int) -> t.Iterator[tuple[int, int]]:
    """The longest runs of units between ``start`` and ``end`` (of ``data``) that are not all zero.

    :param start: a multiple of ``unit``; ``end`` may cut the last unit
    :return: (start, end) offsets in ``data``
    """
    zero = ZEROS[:unit]
    starts_with = data.startswith
    begin = -1
    for at in range(start, end, unit):
        # startswith() compares in place: no slice, no copy, and it stops at the first byte that is not zero.
        if starts_with(zero if at + unit <= end else ZEROS[: end - at], at):
            if begin >= 0:
                yield begin, at
                begin = -1
        elif begin < 0:
            begin = at
    if begin >= 0:
        yield begin, end


def differing(data: bytearray, below: bytearray, start: int, end: int, unit: int) -> t.Iterator[tuple[int, int, bool]]:
    """The longest runs of units that differ from those of ``below``, apart by whether they are all zero.

    :param start: a multiple of ``unit``; ``end`` may cut the last unit
    :return: (start, end, whether it is zero) in ``data``
    """
    view = memoryview(below)
    starts_with = data.startswith
    begin, zero = -1, False
    for at in range(start, end, unit):
        stop = min(at + unit, end)
        same = starts_with(view[at:stop], at)
        now = not same and starts_with(ZEROS[: stop - at], at)
        if begin >= 0 and (same or now != zero):
            yield begin, at, zero
            begin = -1
        if begin < 0 and not same:
            begin, zero = at, now
    if begin >= 0:
        yield begin, end, zero


def thread_count() -> int:
    """How many threads (de)compress: one for each processor that this process may use."""
    try:
        return max(1, len(os.sched_getaffinity(0)))
    except AttributeError:  # not on this system
        return os.cpu_count() or 1


def in_order(tasks: t.Iterable[t.Callable[[], Result]], threads: int) -> t.Iterator[Result]:
    """Run tasks in threads and give their results in the order of the tasks.

    Only a few are under way at once, so memory is bounded by them. An exception comes out at its place in the order.
    """
    if threads <= 1:
        for task in tasks:
            yield task()
        return
    waiting: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="vmimage")
    try:
        for task in tasks:
            waiting.append(pool.submit(task))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown(wait=True)
