# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Where a disk has data, in the guest's address space: sums, and a map of equal parts to draw."""

from __future__ import annotations

import dataclasses

from ..extents import COMPRESSED, DATA, HOLE, ZERO
from ..formats.base import Reader

COLUMNS = 512
KINDS = (DATA, COMPRESSED, ZERO, HOLE)


@dataclasses.dataclass
class Allocation:
    """What a disk is made of. All numbers are guest bytes, but for ``stored``."""

    size: int
    part: int
    """bytes of each part, but for the last"""
    totals: dict[str, int]
    """by KINDS, which together are the disk"""
    stored: int
    """bytes that data and compressed take in the image"""
    parts: dict[str, list[int]]
    """bytes in each part, by ``data``, ``compressed`` and ``zero``; the rest is hole"""

    @property
    def content(self) -> int:
        """Bytes that may be something else than zeros."""
        return self.totals[DATA] + self.totals[COMPRESSED]

    def length(self, number: int) -> int:
        """Bytes of a part."""
        return min(self.part, self.size - number * self.part)


def allocation(reader: Reader, columns: int = COLUMNS) -> Allocation:
    """Walk the tables of an image once.

    Costs a step for each run of one kind and each part that it touches, whatever the size of the disk.

    :param columns: parts at most; they are of whole sectors
    :raises CorruptImage: a table contradicts the specification, or data is missing
    :raises UnsupportedImage: the content cannot be read
    """
    size = reader.virtual_size
    part = max(512, -(-size // columns // 512) * 512)
    count = -(-size // part)
    totals = dict.fromkeys(KINDS, 0)
    parts = {kind: [0] * count for kind in (DATA, COMPRESSED, ZERO)}
    stored = 0
    for extent in reader.extents():
        kind, start, end = extent.kind, extent.start, extent.end
        totals[kind] += extent.length
        if kind == DATA:
            stored += extent.length
        elif kind == COMPRESSED and extent.stored is not None:
            stored += extent.stored.length
        if kind == HOLE:
            continue
        row = parts[kind]
        number = start // part
        while start < end:
            edge = min(end, (number + 1) * part)
            row[number] += edge - start
            start, number = edge, number + 1
    return Allocation(size, part, totals, stored, parts)
