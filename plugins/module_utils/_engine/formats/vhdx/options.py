# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Creation options of VHDX, with qemu-img's names and meaning (qemu, block/vhdx.c), and the sector size that qemu-img lacks.

Source of ``logical_sector_size``: [MS-VHDX] 2.6.2.4.
"""

from __future__ import annotations

import typing as t

from ...errors import UnsupportedImage
from ...limits import GIB, MIB, SECTOR, TIB
from .. import options
from ..base import Target, whole_sectors
from .metadata import MAX_BLOCK_SIZE, MIN_BLOCK_SIZE, SECTOR_SIZES

MAX_SIZE = 64 * TIB
MAX_LOG_SIZE = 4 * GIB - MIB
"""bytes: what the header's 32 bits hold"""
# qemu's choice of a block size: (largest disk, block size).
_BLOCK_SIZES = ((1 * GIB, 8 * MIB), (100 * GIB, 16 * MIB), (32 * TIB, 32 * MIB), (MAX_SIZE, 64 * MIB))


class Options(t.NamedTuple):
    """The options of one image."""

    block_size: int
    """bytes; 0 leaves the choice to us"""
    log_size: int
    """bytes"""
    block_state_zero: bool
    """blocks that hold nothing are marked as zeros.

    Else they are marked as not present, as in what Hyper-V creates: every reader gives zeros for these, too, and the
    table of an empty disk is a hole of the file. To the specification a block that is not present may hold anything."""
    logical_sector_size: int
    """bytes"""

    @classmethod
    def of(cls, target: Target) -> Options:
        """:raises UnsupportedImage: an option has a value that is not possible"""
        wanted = "a power of two from 1M to 256M, or 0 for the usual size"
        block = options.size(target, "block_size", MAX_BLOCK_SIZE, wanted)
        if block and (block < MIN_BLOCK_SIZE or block & (block - 1)):
            raise options.impossible(target, "block_size", wanted)
        wanted = "a multiple of 1M below 4G, or 0 for 1M"
        log = options.size(target, "log_size", MAX_LOG_SIZE, wanted)
        if log % MIB:
            raise options.impossible(target, "log_size", wanted)
        if target.options["logical_sector_size"] not in map(str, SECTOR_SIZES):
            raise options.impossible(target, "logical_sector_size", "512 or 4096")
        return cls(block, log or MIB, options.switch(target, "block_state_zero"), int(target.options["logical_sector_size"]))

    def disk_size(self, size: int, path: str) -> int:
        """The bytes that the guest is to see.

        :param size: of the source, bytes
        :raises UnsupportedImage: a VHDX cannot hold such a disk
        """
        # qemu does not open an empty disk with the empty table that belongs to it.
        if not 0 < size <= MAX_SIZE:
            raise UnsupportedImage(f"vhdx cannot hold a disk of {size} bytes (from 1 to {MAX_SIZE})", path=path)
        if self.logical_sector_size != SECTOR and size % self.logical_sector_size:
            raise UnsupportedImage(
                f"a disk of {size} bytes does not consist of sectors of {self.logical_sector_size} bytes (option logical_sector_size)", path=path
            )
        return whole_sectors(size)

    def block_for(self, size: int) -> int:
        """Bytes of a block of a disk with ``size`` bytes."""
        return self.block_size or next(block for largest, block in _BLOCK_SIZES if size <= largest)
