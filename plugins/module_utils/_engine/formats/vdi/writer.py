# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Writes VDI 1.1 images, dynamic and fixed, laid out as VirtualBox does. See layout.py for the source of the rules."""

from __future__ import annotations

import struct
import typing as t
import uuid

from ...errors import UnsupportedImage
from ...identity import ContentIdentity
from ...limits import KIB, MIB, SECTOR
from ...storage.sink import Sink
from .. import options
from ..base import Target, Writer, check_virtual_size, whole_sectors
from .layout import BLOCK, DYNAMIC, FIXED, FREE, HEADER_1, HEADER_1PLUS_SIZE, LCHS_GEOMETRY, NO_UUID, PREHEADER, SIGNATURE, VERSION_1_1

_ALIGN = 1 * MIB
"""VirtualBox aligns the map and the blocks to this; qemu takes any multiple of 512"""
_PIECE = 1 << 18
"""entries of the block map written at once (1 MiB)"""


def check_options(target: Target) -> None:
    """``static`` is qemu-img's word for the subformat ``fixed`` (qemu, block/vdi.c), and chooses it where none is given.

    :raises UnsupportedImage: another value than on and off, or ``on`` with another subformat
    """
    if options.switch(target, "static") and target.subformat != "fixed":
        raise UnsupportedImage(f"vdi option static=on makes the subformat fixed, not {target.subformat}")


class VdiWriter(Writer):
    """A VDI of 1 MiB blocks.

    Dynamic: blocks are appended as they are first touched; as the guest range rises, neighbours in the guest are
    neighbours in the file and a run of any length is one write. Fixed: the blocks lie in guest order.
    What is not written of a block stays a hole of the file, but the file's length covers it.
    """

    unit = 64 * KIB
    identity: ContentIdentity

    def __init__(self, sink: Sink, virtual_size: int, target: Target) -> None:
        super().__init__(sink, check_virtual_size(whole_sectors(virtual_size), sink.name), target)
        self._fixed = target.subformat == "fixed"
        self._blocks = -(-self.virtual_size // BLOCK)
        self._data = _ALIGN + -(-4 * self._blocks // _ALIGN) * _ALIGN
        self.identity = ContentIdentity(f"vdi {target.subformat}", self.virtual_size)
        self._runs: list[tuple[int, int]] = [(0, self._blocks)] if self._fixed else []
        """allocated guest blocks (first, count), in the order of the file"""
        self._allocated = self._blocks if self._fixed else 0

    def write(self, start: int, data: t.Any) -> None:
        host = start if self._fixed else self._allocate(start, len(data))
        self.sink.write_at(self._data + host, data)

    def _allocate(self, start: int, length: int) -> int:
        """Make room for a guest range; its offset in bytes from the first block of the file."""
        first, end = start // BLOCK, -(-(start + length) // BLOCK)
        last, count = self._runs.pop() if self._runs else (first, 0)
        known = first < last + count  # the run's first block is the last one that was written before
        index = self._allocated - known
        self._allocated = index + end - first
        if first <= last + count:
            self._runs.append((last, end - last))
        else:
            self._runs += [(last, count), (first, end - first)]
        return index * BLOCK + start % BLOCK

    def finish(self) -> None:
        position = _ALIGN
        for entries in self._map():
            self.sink.write_at(position, entries)
            position += len(entries)
        self.sink.write_at(0, self._header())
        self.sink.truncate(self._data + self._allocated * BLOCK)

    def _map(self) -> t.Iterator[bytes]:
        """The block map in pieces."""
        position = index = 0
        for first, count in [*self._runs, (self._blocks, 0)]:
            for piece in range(position, first, _PIECE):
                yield FREE.to_bytes(4, "little") * min(_PIECE, first - piece)
            for piece in range(index, index + count, _PIECE):
                entries = range(piece, min(piece + _PIECE, index + count))
                yield struct.pack(f"<{len(entries)}I", *entries)
            position, index = first + count, index + count

    def _header(self) -> bytes:
        preheader = PREHEADER.pack(szFileInfo=b"<<< vmimage.prep Virtual Disk Image >>>\n", u32Signature=SIGNATURE, u32Version=VERSION_1_1)
        # The legacy geometry and the LCHS geometry are "not calculated" (zeros): VirtualBox fills them in when it attaches the disk.
        header = HEADER_1.pack(
            cbHeader=HEADER_1PLUS_SIZE,
            u32Type=FIXED if self._fixed else DYNAMIC,
            fFlags=0,
            szComment=b"",
            offBlocks=_ALIGN,
            offData=self._data,
            cCylinders=0,
            cHeads=0,
            cSectors=0,
            cbSector=SECTOR,
            u32Dummy=0,
            cbDisk=self.virtual_size,
            cbBlock=BLOCK,
            cbBlockExtra=0,
            cBlocks=self._blocks,
            cBlocksAllocated=self._allocated,
            uuidCreate=self._uuid("uuidCreate"),
            uuidModify=self._uuid("uuidModify"),  # VirtualBox refuses a null UUID in either
            uuidLinkage=NO_UUID,
            uuidParentModify=NO_UUID,
        )
        return preheader + header + LCHS_GEOMETRY.pack(cCylinders=0, cHeads=0, cSectors=0, cbSector=SECTOR)

    def _uuid(self, use: str) -> bytes:
        return uuid.UUID(bytes=self.identity.uuid(use)).bytes_le
