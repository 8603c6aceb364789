# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Tables of integers that say where blocks lie, read in runs: the loop that matters is not in Python."""

from __future__ import annotations

import array
import sys

_FIRST_STEP = 8


def table(raw: bytes, typecode: str, order: str) -> array.array[int]:
    """The entries of a part of a table.

    :param raw: as it is stored
    :param typecode: the array module's
    :param order: ``little`` or ``big``
    """
    entries = array.array(typecode, raw)
    if sys.byteorder != order:
        entries.byteswap()
    return entries


def run_end(entries: array.array[int], index: int, last: int, step: int) -> int:
    """Where the run ends that begins at ``index``: each of its entries is ``step`` above the one before; ``last`` at most.

    Ever longer pieces are compared as long as they go on, ever shorter ones then.
    """
    end, width = index + 1, _FIRST_STEP
    largest = (1 << 8 * entries.itemsize) - 1
    while width:
        stop = end + width
        if stop <= last and _goes_on(entries, end, stop, step, largest):
            end = stop
            width *= 2
        else:
            width //= 2
    return end


def _goes_on(entries: array.array[int], start: int, stop: int, step: int, largest: int) -> bool:
    if not step:
        return entries[start:stop] == entries[start - 1 : stop - 1]
    value = entries[start - 1] + step
    end = value + (stop - start) * step
    # The last one first: it seldom fits by chance, and tells before anything is made.
    return end - step <= largest and entries[stop - 1] == end - step and entries[start:stop] == array.array(entries.typecode, range(value, end, step))
