# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""How oslo.utils' inspector sees VHDX images: in the order of the file, and only once.

A damaged table ends its curiosity, and the image is taken; a table that lies before the place where it is known of is never seen, and
the image is refused.
"""

from __future__ import annotations

from ..formats.vhdx import layout, metadata as meta
from ..storage.base import Storage
from .sighting import CHUNK, Sighting

_TABLE = layout.REGION_TABLE_OFFSETS[0]


class _Region:
    """A range of the file that is kept as it streams by."""

    def __init__(self, offset: int, length: int) -> None:
        self.offset = offset
        self.length = length
        self.data = b""

    @property
    def complete(self) -> bool:
        return len(self.data) == self.length

    def feed(self, position: int, chunk: bytes) -> None:
        if self.complete:
            return
        if position <= self.offset <= position + len(chunk) or self.offset <= position <= self.offset + self.length:
            self.data = (self.data + chunk[max(0, self.offset - position) :])[: self.length]


def see_vhdx(storage: Storage, head: bytes) -> Sighting | None:
    """:param head: the first sector"""
    if not head.startswith(layout.FILE_SIGNATURE):
        return None
    table = storage.read_at(_TABLE, layout.REGION_TABLE_SIZE)
    if len(table) < layout.REGION_TABLE_SIZE:
        return Sighting("vhdx", whole=False)
    offset = _metadata_offset(table)
    return Sighting("vhdx") if offset is None else _follow(storage, _Region(offset, meta.TABLE_SIZE))


def _metadata_offset(table: bytes) -> int | None:
    """Where the first region table says that the metadata is; None when it does not, or is damaged."""
    header = layout.REGION_TABLE_HEADER.unpack(table)
    if header.signature != layout.REGION_SIGNATURE or header.entry_count > layout.MAX_ENTRIES:
        return None
    for index in range(header.entry_count):
        entry = layout.REGION_TABLE_ENTRY.unpack(table, layout.REGION_TABLE_HEADER.size + index * layout.REGION_TABLE_ENTRY.size)
        if entry.guid == layout.METADATA_REGION:
            return int(entry.file_offset)
    return None


def _follow(storage: Storage, metadata: _Region) -> Sighting:
    """Read on from the region table as the stream goes by, but for what is of no interest."""
    size: _Region | None = None
    position = _TABLE
    metadata.feed(position, storage.read_at(position, CHUNK))
    position += CHUNK
    while True:
        wanted = size or metadata
        position = max(position, wanted.offset - wanted.offset % CHUNK)
        chunk = storage.read_at(position, CHUNK) if position < storage.size else b""
        for region in (metadata, size):
            if region is not None:
                region.feed(position, chunk)
        if size is None and len(metadata.data) >= meta.METADATA_TABLE_HEADER.size:
            if not metadata.data.startswith(meta.SIGNATURE):
                return Sighting("vhdx", whole=metadata.complete)
            size = _size_region(metadata)
            if size is not None:
                metadata.length = len(metadata.data)
                size.feed(position, chunk)
        wanted = size or metadata
        if wanted.complete or not chunk or position > wanted.offset + wanted.length:
            # The size is a number of 64 bits; one of another length is an error when it is asked for.
            return Sighting("vhdx", whole=wanted.complete and metadata.complete, sized=size is None or size.length == meta.VIRTUAL_DISK_SIZE.size)
        position += len(chunk)


def _size_region(metadata: _Region) -> _Region | None:
    """Where the size of the disk stands; None when the table is not there yet, or does not say."""
    header, entry = meta.METADATA_TABLE_HEADER, meta.METADATA_TABLE_ENTRY
    count = header.unpack(metadata.data).entry_count
    if len(metadata.data) < header.size + count * entry.size:
        return None
    for index in range(count):
        item = entry.unpack(metadata.data, header.size + index * entry.size)
        if item.item_id == meta.SIZE_ITEM:
            return _Region(metadata.offset + item.offset, min(item.length, meta.TABLE_SIZE))
    return None
