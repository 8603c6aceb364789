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

from ...errors import UnsupportedImage
from ...identity import ContentIdentity
from ...limits import GIB, KIB, MIB, TIB
from ..base import Target, Writer, whole_sectors
from . import layout
from .bat import ENTRY_SIZE, FULLY_PRESENT
from .crc32c import seal
from .metadata import MAX_BLOCK_SIZE, MIN_BLOCK_SIZE, Metadata, build_metadata

if t.TYPE_CHECKING:  # pragma: no cover
    from ...storage.sink import Sink

MAX_SIZE = 64 * TIB
CREATOR = "vmimage.prep"

_LOG_OFFSET, _LOG_LENGTH = 1 * MIB, 1 * MIB
_METADATA_OFFSET, _METADATA_LENGTH = 2 * MIB, 1 * MIB
_BAT_OFFSET = 3 * MIB
# qemu's choice of a block size: (largest disk, block size).
_BLOCK_SIZES = ((1 * GIB, 8 * MIB), (100 * GIB, 16 * MIB), (32 * TIB, 32 * MIB), (MAX_SIZE, 64 * MIB))


def block_size(option: str, virtual_size: int) -> int:
    """Bytes of a block, from the option ``block_size``: bytes, or a number with K, M or G; 0 leaves the choice to us.

    :raises UnsupportedImage: no number, or not a power of two from 1 MiB to 256 MiB
    """
    unit = {"K": KIB, "M": MIB, "G": GIB}.get(option[-1:].upper(), 1)
    digits = option[:-1] if unit > 1 else option
    size = int(digits) * unit if digits.isascii() and digits.isdigit() and len(digits) < 20 else -1
    if size == 0:
        return next(block for largest, block in _BLOCK_SIZES if virtual_size <= largest)
    if not MIN_BLOCK_SIZE <= size <= MAX_BLOCK_SIZE or size & (size - 1):
        raise UnsupportedImage(f"vhdx cannot have a block_size of {option!r} (a power of two from 1M to 256M, or 0 for the usual size)")
    return size


class VhdxWriter(Writer):
    """Subformats ``dynamic`` and ``fixed``; option ``block_size``.

    A block of a dynamic disk gets its place when it is first written to; what is not written of it stays a hole in the
    file. As guest offsets only rise, blocks that follow each other on the disk do so in the file, and the table can be
    written piece by piece.
    """

    unit = 64 * KIB
    identity: ContentIdentity

    def __init__(self, sink: Sink, virtual_size: int, target: Target) -> None:
        super().__init__(sink, virtual_size, target)
        # qemu does not open an empty disk with the empty table that belongs to it.
        if not 0 < virtual_size <= MAX_SIZE:
            raise UnsupportedImage(f"vhdx cannot hold a disk of {virtual_size} bytes (from 1 to {MAX_SIZE})", path=sink.name)
        size = whole_sectors(virtual_size)
        fixed = target.subformat == "fixed"
        self._block_size = block_size(target.options["block_size"], size)
        self._metadata = Metadata(self._block_size, fixed, size, layout.NO_GUID, 512, 4096, None)
        self.identity = ContentIdentity(f"vhdx {target.subformat} {self._block_size}", size)
        self._ratio = self._metadata.chunk_ratio
        self._bat_length = max(1, -(-self._metadata.bat_entries * ENTRY_SIZE // MIB)) * MIB
        self._end = _BAT_OFFSET + self._bat_length
        """where the next block goes: host offset in bytes"""
        self._next_block = 0
        """the first block that has no place yet"""
        self._chunk = 0
        self._entries = [0] * self._ratio
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
            if chunk != self._chunk:
                self._flush()
                self._chunk = chunk
            count = min(last - first, self._ratio - index)
            end = self._end + count * self._block_size
            self._entries[index : index + count] = range(self._end | FULLY_PRESENT, end, self._block_size)
            self._end = end
            first += count
        self._next_block = last

    def _flush(self) -> None:
        """Write the table's entries of the current chunk, unless they are all zeros (not present), as the file is there."""
        count = min(self._ratio, self._metadata.payload_blocks - self._chunk * self._ratio)
        if any(self._entries):
            data = struct.pack(f"<{count}Q", *self._entries[:count])
            self.sink.write_at(_BAT_OFFSET + self._chunk * (self._ratio + 1) * ENTRY_SIZE, data)
            self._entries = [0] * self._ratio

    def finish(self) -> None:
        self._flush()
        metadata = self._metadata._replace(virtual_disk_id=self.identity.uuid("virtual disk id"))
        self.sink.write_at(_METADATA_OFFSET, build_metadata(metadata))
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
                log_length=_LOG_LENGTH,
                log_offset=_LOG_OFFSET,
            )
        )

    def _region_table(self) -> bytes:
        table = layout.REGION_TABLE_HEADER.pack(signature=layout.REGION_SIGNATURE, checksum=0, entry_count=2)
        for guid, offset, length in (
            (layout.METADATA_REGION, _METADATA_OFFSET, _METADATA_LENGTH),
            (layout.BAT_REGION, _BAT_OFFSET, self._bat_length),
        ):
            table += layout.REGION_TABLE_ENTRY.pack(guid=guid, file_offset=offset, length=length, required=1)
        return seal(table.ljust(layout.REGION_TABLE_SIZE, b"\0"))
