# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Cutting a disk into pieces that threads can work on, and getting their results back in order."""

from __future__ import annotations

import collections
import concurrent.futures
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


def cells(reader: Reader) -> t.Iterator[Cell]:
    """The cells of a disk in rising order, without those that are all zero by the image's own tables.

    :raises CorruptImage: as Reader.extents
    """
    start = -1
    found: list[Extent] = []
    for extent in reader.extents():
        if extent.is_zero:
            continue
        position = extent.start
        while position < extent.end:
            cell = position - position % CELL
            if cell != start:
                if found:
                    yield Cell(start, found)
                start, found = cell, []
            end = min(extent.end, cell + CELL)
            found.append(extent.clip(position, end))
            position = end
    if found:
        yield Cell(start, found)


def load(cell: Cell, virtual_size: int, unit: int) -> tuple[int, bytes | bytearray]:
    """The guest bytes of a cell: from the first unit that an extent touches to the last, zeros between the extents.

    :param unit: alignment in bytes; only the disk's end may cut it
    :return: guest offset and bytes
    """
    first, last = cell.extents[0], cell.extents[-1]
    start = first.start - first.start % unit
    end = min(-(-last.end // unit) * unit, virtual_size)
    if first is last and (start, end) == (first.start, first.end):
        return start, _bytes_of(first)
    buffer = bytearray(end - start)
    for extent in cell.extents:
        buffer[extent.start - start : extent.end - start] = _bytes_of(extent)
    return start, buffer


def _bytes_of(extent: Extent) -> bytes:
    if extent.stored is not None:
        return read_compressed(extent)
    if extent.storage is None:
        raise AssertionError("an extent with data needs a storage")
    return extent.storage.read_exact(extent.offset, extent.length, "data")


def runs(data: bytes | bytearray, unit: int) -> t.Iterator[tuple[int, int]]:
    """The (start, end) of the longest runs of units in ``data`` that are not all zero; the last unit may be short."""
    size = len(data)
    zero = ZEROS[:unit]
    begin = -1
    full = size - size % unit
    starts_with = data.startswith
    for at in range(0, full, unit):
        # startswith() compares in place: no slice, no copy, and it stops at the first byte that is not zero.
        if starts_with(zero, at):
            if begin >= 0:
                yield begin, at
                begin = -1
        elif begin < 0:
            begin = at
    if full < size and not starts_with(zero[: size - full], full):
        if begin < 0:
            begin = full
        full = size
    if begin >= 0:
        yield begin, full


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
