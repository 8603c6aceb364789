# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Check of the space in files with grains: nothing lies on something else, and nothing lies idle."""

from __future__ import annotations

import typing as t

from ...errors import CorruptImage
from ...extents import COMPRESSED, DATA
from ...limits import SECTOR
from ..base import CheckResult
from .grains import GrainFile
from .layout import GRAIN_MARKER

_KEPT = 1 << 19
"""ranges that are gathered before neighbours are joined: in a file that is full, one is left"""


def check_space(files: t.Iterable[GrainFile], result: CheckResult) -> None:
    """Add what is wrong with the use of the files' space to ``result``, once all extents were found to be sound.

    ``rescued`` of a file counts the grain tables that the check before this one came upon.
    """
    files = list(files)
    rescued = sum(file.rescued for file in files)
    if rescued:
        result.corruptions.append(f"{rescued} grain tables are in only one of the two grain directories; other readers may read zeros in their place")
    if result.corruptions:
        return
    for file in files:
        try:
            used = _used(file)
        except CorruptImage as error:
            result.corruptions.append(str(error))
            continue
        if used.shared:
            result.corruptions.append(
                f"{file.storage.name}: two tables or grains have the same place (at byte {used.first_shared:#x}; {used.shared} bytes in all have)"
            )
            continue
        idle = _idle(file, used)
        if idle:
            result.leaks.append(f"{file.storage.name}: {idle} grains are named by no table")


class _Ranges:
    """Ranges of a file in sectors."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []
        self._new: list[tuple[int, int]] = []
        self.shared = 0
        """bytes that lie in more than one"""
        self.first_shared = 0

    def add(self, offset: int, length: int) -> None:
        """:param offset: bytes, as ``length``; both are rounded to whole sectors"""
        if length:
            self._new.append((offset // SECTOR, -(-(offset + length) // SECTOR)))
        if len(self._new) >= max(_KEPT, len(self._ranges)):
            self.joined()

    def joined(self) -> list[tuple[int, int]]:
        """The (first, end) sectors of all ranges, in order, neighbours as one."""
        joined: list[tuple[int, int]] = []
        for first, end in sorted(self._ranges + self._new):
            if joined and first <= joined[-1][1]:
                if first < joined[-1][1]:
                    self.first_shared = self.first_shared if self.shared else first * SECTOR
                    self.shared += (min(joined[-1][1], end) - first) * SECTOR
                joined[-1] = joined[-1][0], max(joined[-1][1], end)
            else:
                joined.append((first, end))
        self._ranges, self._new = joined, []
        return joined


def _used(file: GrainFile) -> _Ranges:
    used = _Ranges()
    for offset, length in file.metadata():
        used.add(offset, length)
    for extent in file.extents(0, file.size):
        if extent.kind == DATA:
            used.add(extent.offset, -(-extent.length // file.grain) * file.grain)
        elif extent.kind == COMPRESSED and extent.stored is not None:
            used.add(extent.offset - GRAIN_MARKER.size, GRAIN_MARKER.size + extent.stored.length)
    used.joined()
    return used


def _idle(file: GrainFile, used: _Ranges) -> int:
    """How many grains no table names, as far as there is room for them."""
    last = file.end_of_grains()
    if last is None:
        return 0
    idle = position = 0
    for first, end in [*used.joined(), (last // SECTOR, last // SECTOR)]:
        gap = (first - position) * SECTOR
        if gap > 0:
            idle += _marks_a_grain(file, position * SECTOR) if file.compressed else gap // file.grain
        position = max(position, end)
    return idle


def _marks_a_grain(file: GrainFile, offset: int) -> bool:
    """Whether a compressed grain lies at ``offset``, or one of the other markers."""
    raw = file.storage.read_at(offset, GRAIN_MARKER.size)
    marker = GRAIN_MARKER.unpack(raw.ljust(GRAIN_MARKER.size, b"\0"))
    return bool(0 < marker.size <= 2 * file.grain and marker.lba * SECTOR < file.size)
