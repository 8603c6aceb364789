# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Creation options of VHD. Sources: qemu, block/vpc.c (``force_size``); Windows, New-VHD (``block_size``)."""

from __future__ import annotations

import typing as t

from ...errors import LimitExceeded
from ...limits import GIB, KIB, MIB, SECTOR
from .. import options
from ..base import Target, whole_sectors
from .layout import MAX_DISK, MAX_GEOMETRY, geometry

BLOCK_SIZES = (512 * KIB, 2 * MIB)
"""What Windows makes and takes."""
_MOST_SECTORS = MAX_GEOMETRY[0] * MAX_GEOMETRY[1] * MAX_GEOMETRY[2]


class Options(t.NamedTuple):
    """The options of one image."""

    force_size: bool
    """the disk has the size that is asked for; else it grows to the next one that a geometry covers exactly"""
    block_size: int
    """bytes; of dynamic disks"""

    @classmethod
    def of(cls, target: Target) -> Options:
        """:raises UnsupportedImage: an option has a value that is not possible"""
        wanted = "512K or 2M"
        block = options.size(target, "block_size", 2 * MIB, wanted)
        if block not in BLOCK_SIZES:
            raise options.impossible(target, "block_size", wanted)
        return cls(options.switch(target, "force_size"), block)

    def disk_size(self, size: int, path: str) -> int:
        """The bytes that the guest is to see.

        :param size: of the source, bytes
        :raises LimitExceeded: a VHD cannot hold as much
        """
        sectors = whole_sectors(size) // SECTOR
        if not self.force_size and sectors < _MOST_SECTORS:
            sectors = _covered(sectors)
        if sectors * SECTOR > MAX_DISK:
            raise LimitExceeded(f"a VHD holds at most {MAX_DISK // GIB} GiB ({MAX_DISK} bytes); the disk has {size} bytes", path=path, hint="Choose vhdx")
        return sectors * SECTOR


def _covered(sectors: int) -> int:
    """The least sectors from ``sectors`` on that a geometry covers exactly; the largest geometry covers any size."""
    wanted = sectors
    while True:
        cylinders, heads, per_track = geometry(wanted)
        covered = cylinders * heads * per_track
        if covered >= sectors:
            return sectors if covered == _MOST_SECTORS else covered
        wanted += 1
