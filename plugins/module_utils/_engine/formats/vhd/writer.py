# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Writes VHD images, dynamic and fixed. See layout.py for the source of the rules."""

from __future__ import annotations

import struct
import typing as t

from ...identity import ContentIdentity
from ...limits import KIB, MIB, SECTOR
from ...storage.sink import Sink
from ..base import Target, Writer, whole_sectors
from .layout import (
    DYNAMIC,
    DYNAMIC_HEADER,
    FEATURE_RESERVED,
    FIXED,
    FOOTER,
    FOOTER_CHECKSUM,
    FOOTER_COOKIE,
    HEADER_CHECKSUM,
    HEADER_COOKIE,
    NO_OFFSET,
    VERSION,
    checksum,
    geometry,
)
from .options import Options

_TABLE = FOOTER.size + DYNAMIC_HEADER.size
"""offset of the block allocation table: behind the footer's copy and the dynamic disk header"""
_BITMAP = b"\xff" * SECTOR
"""sector bitmap of a block, all sectors are there: for 2 MiB; of smaller blocks the first part of it counts"""
_ALIGN = 4 * KIB
"""The blocks' data begins at a multiple of this, as Windows 8 and later place it."""

# Readers take the disk's size from the geometry for some creators: qemu before 8 for all but a few, which rounds 10 MiB
# down. "win " is one for which all of them (qemu 7.2, too) take the current size, and which Azure and Hyper-V know.
_CREATOR = {"creator_application": b"win ", "creator_version": 0x000A0000, "creator_host_os": b"Wi2k"}


class VhdWriter(Writer):
    """A VHD. Fixed: the raw disk and a footer. Dynamic: blocks of 2 MiB or 512 KiB.

    The disk has the exact size (in sectors) unless ``force_size`` is ``off``: then it grows to what a geometry covers, as
    qemu-img does by default. That default is not ours: the size is then no whole MiB any more, which Azure refuses.

    Dynamic blocks are appended as they are first touched. What is not written of a block stays a hole of the file.

    :raises LimitExceeded: the disk is larger than a VHD can be
    """

    unit = 64 * KIB
    identity: ContentIdentity

    def __init__(self, sink: Sink, virtual_size: int, target: Target) -> None:
        options = Options.of(target)
        super().__init__(sink, options.disk_size(virtual_size, sink.name), target)
        self._fixed = target.subformat == "fixed"
        self._block = options.block_size
        purpose = f"vhd {target.subformat}" if self._block == 2 * MIB else f"vhd {target.subformat} {self._block}"
        self.identity = ContentIdentity(purpose, self.virtual_size)
        self._blocks = -(-self.virtual_size // self._block)
        self._table = bytearray(b"\xff" * whole_sectors(4 * self._blocks))
        self._last = -1
        """the guest block that was allocated last, and ``_data``, where its data begins in the file"""
        self._data = 0
        self._end = _TABLE + len(self._table)
        """where the file's blocks end"""

    def write(self, start: int, data: t.Any) -> None:
        if self._fixed:
            self.sink.write_at(start, data)
            return
        view = memoryview(data)
        while len(view):
            block, within = divmod(start, self._block)
            if block != self._last:
                self._allocate(block)
            part = view[: self._block - within]
            self.sink.write_at(self._data + within, part)
            start += len(part)
            view = view[len(part) :]

    def _allocate(self, block: int) -> None:
        self._last = block
        self._data = -(-(self._end + len(_BITMAP)) // _ALIGN) * _ALIGN
        self._end = self._data + self._block
        bitmap = self._data - len(_BITMAP)
        struct.pack_into(">I", self._table, 4 * block, bitmap // SECTOR)
        self.sink.write_at(bitmap, _BITMAP)

    def finish(self) -> None:
        footer = self._footer()
        if self._fixed:
            self.sink.write_at(self.virtual_size, footer)
            return
        self.sink.write_at(0, footer + self._header() + self._table)
        self.sink.write_at(self._end, footer)

    def _footer(self) -> bytes:
        cylinders, heads, sectors_per_track = geometry(self.virtual_size // SECTOR)
        return _with_checksum(
            FOOTER.pack(
                cookie=FOOTER_COOKIE,
                features=FEATURE_RESERVED,
                file_format_version=VERSION,
                data_offset=NO_OFFSET if self._fixed else FOOTER.size,
                time_stamp=0,  # seconds since 2000; a real one would make each run's bytes different
                **_CREATOR,
                original_size=self.virtual_size,
                current_size=self.virtual_size,
                cylinders=cylinders,
                heads=heads,
                sectors_per_track=sectors_per_track,
                disk_type=FIXED if self._fixed else DYNAMIC,
                checksum=0,
                unique_id=self.identity.uuid("unique_id"),
                saved_state=0,
            ),
            FOOTER_CHECKSUM,
        )

    def _header(self) -> bytes:
        return _with_checksum(
            DYNAMIC_HEADER.pack(
                cookie=HEADER_COOKIE,
                data_offset=NO_OFFSET,
                table_offset=_TABLE,
                header_version=VERSION,
                max_table_entries=self._blocks,
                block_size=self._block,
                checksum=0,
                parent_unique_id=bytes(16),
                parent_time_stamp=0,
                parent_unicode_name=b"",
                parent_locators=b"",
            ),
            HEADER_CHECKSUM,
        )


def _with_checksum(structure: bytes, offset: int) -> bytes:
    return structure[:offset] + checksum(structure, offset).to_bytes(4, "big") + structure[offset + 4 :]
