# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Writing VHDX, dynamic and fixed, laid out as Hyper-V does. Source: [MS-VHDX].

Order in the file: header section, log (empty), metadata region, block allocation table, blocks as they are first written.
"""

from __future__ import annotations

import struct
import typing as t

from ...identity import ContentIdentity
from ...limits import KIB, MIB, SECTOR
from ..base import Target, Writer
from . import layout
from .bat import BLOCK_ZERO, ENTRY_SIZE, FULLY_PRESENT
from .crc32c import seal
from .metadata import Metadata, build_metadata
from .options import Options

if t.TYPE_CHECKING:  # pragma: no cover
    from ...storage.sink import Sink

CREATOR = "vmimage.prep"
PHYSICAL_SECTOR_SIZE = 4096
"""bytes: Hyper-V's, whatever the logical sectors are"""

_LOG_OFFSET = 1 * MIB
_METADATA_LENGTH = 1 * MIB


class VhdxWriter(Writer):
    """Subformats ``dynamic`` and ``fixed``; for the options see options.py.

    A block of a dynamic disk gets its place when it is first written to; what is not written of it stays a hole in the
    file. As guest offsets only rise, blocks that follow each other on the disk do so in the file, and the table can be
    written piece by piece.
    """

    unit = 64 * KIB
    identity: ContentIdentity

    def __init__(self, sink: Sink, virtual_size: int, target: Target) -> None:
        options = Options.of(target)
        size = options.disk_size(virtual_size, sink.name)
        super().__init__(sink, size, target)
        fixed = target.subformat == "fixed"
        block = self._block_size = options.block_for(size)
        sector = options.logical_sector_size
        self._metadata = Metadata(block, fixed, size, layout.NO_GUID, sector, PHYSICAL_SECTOR_SIZE, None)
        self.identity = ContentIdentity(f"vhdx {target.subformat} {block}" + (f" {sector}" if sector != SECTOR else ""), size)
        self._ratio = self._metadata.chunk_ratio
        self._bat_length = max(1, -(-self._metadata.bat_entries * ENTRY_SIZE // MIB)) * MIB
        self._log_length = options.log_size
        self._metadata_offset = _LOG_OFFSET + self._log_length
        self._bat_offset = self._metadata_offset + _METADATA_LENGTH
        self._end = self._bat_offset + self._bat_length
        """where the next block goes: host offset in bytes"""
        self._next_block = 0
        """the first block that has no place yet"""
        self._chunk = 0
        self._empty = [BLOCK_ZERO if options.block_state_zero else 0] * self._ratio
        self._entries = self._empty[:]
        """the table's entries for the blocks of one chunk: what lies between two entries for sector bitmaps"""
        if fixed:
            self._allocate(0, self._metadata.payload_blocks)

    def write(self, start: int, data: t.Any) -> None:
        first = start // self._block_size
        last = -(-(start + len(data)) // self._block_size)
        if last > self._next_block:
            self._allocate(max(first, self._next_block), last)
        # From the first block written to here up to the last that has a place, all lie one behind the other.
        host = self._end - (self._next_block - first) * self._block_size
        self.sink.write_at(host + start % self._block_size, data)

    def _allocate(self, first: int, last: int) -> None:
        """Give the blocks ``first`` to ``last`` their places, one behind the other."""
        while first < last:
            chunk, index = divmod(first, self._ratio)
            self._flush(chunk)
            count = min(last - first, self._ratio - index)
            end = self._end + count * self._block_size
            self._entries[index : index + count] = range(self._end | FULLY_PRESENT, end, self._block_size)
            self._end = end
            first += count
        self._next_block = last

    def _flush(self, following: int) -> None:
        """Write the table's entries of the chunks before ``following``, unless they are all zeros (not present), as the file is there."""
        for chunk in range(self._chunk, following if self._empty[0] else min(self._chunk + 1, following)):
            count = min(self._ratio, self._metadata.payload_blocks - chunk * self._ratio)
            if any(self._entries):
                data = struct.pack(f"<{count}Q", *self._entries[:count])
                self.sink.write_at(self._bat_offset + chunk * (self._ratio + 1) * ENTRY_SIZE, data)
                self._entries = self._empty[:]
        self._chunk = following

    def finish(self) -> None:
        self._flush(-(-self._metadata.payload_blocks // self._ratio))
        metadata = self._metadata._replace(virtual_disk_id=self.identity.uuid("virtual disk id"))
        self.sink.write_at(self._metadata_offset, build_metadata(metadata))
        table = self._region_table()
        for offset in layout.REGION_TABLE_OFFSETS:
            self.sink.write_at(offset, table)
        for number, offset in enumerate(layout.HEADER_OFFSETS, 1):
            self.sink.write_at(offset, self._header(number))
        creator = CREATOR.encode("utf-16-le")
        self.sink.write_at(0, layout.FILE_TYPE_IDENTIFIER.pack(signature=layout.FILE_SIGNATURE, creator=creator))
        self.sink.truncate(self._end)

    def _header(self, sequence_number: int) -> bytes:
        return seal(
            layout.HEADER.pack(
                signature=layout.HEADER_SIGNATURE,
                checksum=0,
                sequence_number=sequence_number,
                file_write_guid=self.identity.uuid("file write guid"),
                data_write_guid=self.identity.uuid("data write guid"),
                log_guid=layout.NO_GUID,
                log_version=0,
                version=1,
                log_length=self._log_length,
                log_offset=_LOG_OFFSET,
            )
        )

    def _region_table(self) -> bytes:
        table = layout.REGION_TABLE_HEADER.pack(signature=layout.REGION_SIGNATURE, checksum=0, entry_count=2)
        for guid, offset, length in (
            (layout.METADATA_REGION, self._metadata_offset, _METADATA_LENGTH),
            (layout.BAT_REGION, self._bat_offset, self._bat_length),
        ):
            table += layout.REGION_TABLE_ENTRY.pack(guid=guid, file_offset=offset, length=length, required=1)
        return seal(table.ljust(layout.REGION_TABLE_SIZE, b"\0"))
