# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The chunks of a UDIF: read out of its block tables, checked, and put in the order of the disk. See layout.py for the source."""

from __future__ import annotations

import collections
import struct
import typing as t

from ...errors import CorruptImage, LimitExceeded
from ...limits import SECTOR
from ...storage.base import Storage
from ...structure import Fields
from .layout import CHUNK, CODECS, COMMENT, END, IGNORE, MAX_CHUNK, MAX_CHUNK_SECTORS, MAX_XML, RAW, TABLE, TABLE_SIGNATURE, ZERO
from .plist import block_tables


class Chunk(t.NamedTuple):
    """A run of the disk that is stored in one piece. All in bytes; sorted by where it begins."""

    start: int
    """guest offset"""
    length: int
    """guest bytes"""
    type: int
    offset: int
    """host offset"""
    stored: int
    """bytes there"""

    @property
    def end(self) -> int:
        return self.start + self.length

    @property
    def is_stored(self) -> bool:
        return self.type not in (ZERO, IGNORE)


class Table(t.NamedTuple):
    """A block table."""

    name: str
    header: Fields
    chunks: list[Chunk]
    """in the order of the disk"""


def read_tables(storage: Storage, trailer: Fields, end: int) -> list[Table]:
    """All block tables, checked.

    :param trailer: the image's
    :param end: where the trailer begins, bytes; everything else lies before it
    :raises CorruptImage: a table is damaged, or the chunks overlap, leave gaps, or lie outside the file
    :raises LimitExceeded: the property list or a chunk is too large
    """
    if trailer.xml_length > MAX_XML:
        raise LimitExceeded(f"the property list of the disk image has {trailer.xml_length} bytes; {MAX_XML} is the most that is read", path=storage.name)
    if trailer.xml_offset + trailer.xml_length > end:
        raise CorruptImage("the property list of the disk image does not end before the trailer", path=storage.name, offset=trailer.xml_offset)
    xml = storage.read_exact(trailer.xml_offset, trailer.xml_length, "property list")
    tables = [_table(storage, name, data, trailer.data_fork_offset) for name, data in block_tables(xml, storage.name) if data.startswith(TABLE_SIGNATURE)]
    chunks = sorted(chunk for table in tables for chunk in table.chunks)
    _check_disk(storage, chunks, trailer.sector_count * SECTOR)
    _check_file(storage, chunks, trailer, end)
    return tables


def in_order(tables: list[Table]) -> list[Chunk]:
    return sorted(chunk for table in tables for chunk in table.chunks)


def types(chunks: list[Chunk]) -> dict[int, int]:
    """How many chunks there are of each type."""
    return dict(sorted(collections.Counter(chunk.type for chunk in chunks).items()))


def _table(storage: Storage, name: str, data: bytes, fork: int) -> Table:
    if len(data) < TABLE.size:
        raise CorruptImage(f"a block table of the disk image has {len(data)} bytes instead of at least {TABLE.size}", path=storage.name)
    header = TABLE.unpack(data)
    if header.number_of_chunks * CHUNK.size > len(data) - TABLE.size:
        raise CorruptImage(f"a block table of the disk image is too short for its {header.number_of_chunks} chunks", path=storage.name)
    entries = memoryview(data)[TABLE.size : TABLE.size + header.number_of_chunks * CHUNK.size]
    first, base = header.sector_number, fork + header.data_offset
    chunks = []
    for kind, _comment, sector, sectors, offset, length in struct.iter_unpack(">IIQQQQ", entries):
        if kind == END:
            break
        if kind == COMMENT or not sectors:
            continue
        chunk = Chunk((first + sector) * SECTOR, sectors * SECTOR, kind, base + offset, length)
        if chunk.is_stored:
            _check_chunk(storage, chunk)
        chunks.append(chunk)
    return Table(name, header, sorted(chunks))


def _check_chunk(storage: Storage, chunk: Chunk) -> None:
    if chunk.length > MAX_CHUNK_SECTORS * SECTOR or chunk.stored > MAX_CHUNK:
        # A chunk that is not compressed is read in pieces, so it may have any size.
        if chunk.type != RAW:
            raise LimitExceeded(
                f"a chunk of the disk image has {chunk.length} bytes, stored as {chunk.stored}; {MAX_CHUNK} is the most that is taken",
                path=storage.name,
                offset=chunk.offset,
            )
    if chunk.type == RAW and chunk.stored != chunk.length:
        raise CorruptImage(f"a raw chunk of {chunk.length} bytes has {chunk.stored} in the file", path=storage.name, offset=chunk.offset)
    if chunk.type in CODECS and not chunk.stored:
        raise CorruptImage("a compressed chunk has no bytes in the file", path=storage.name, offset=chunk.offset)


def _check_disk(storage: Storage, chunks: list[Chunk], size: int) -> None:
    """Each sector of the disk belongs to one chunk."""
    position = 0
    for chunk in chunks:
        if chunk.start != position:
            problem = "no chunk holds" if chunk.start > position else "two chunks hold"
            raise CorruptImage(f"{problem} the sector {min(position, chunk.start) // SECTOR} of the disk", path=storage.name)
        position = chunk.end
    if position != size:
        raise CorruptImage(f"the disk has {size // SECTOR} sectors, its chunks {position // SECTOR}", path=storage.name)


def _check_file(storage: Storage, chunks: list[Chunk], trailer: Fields, end: int) -> None:
    """Each byte of the file belongs to one chunk, and none to the property list: or a small file stands for a huge disk."""
    spans = sorted((chunk.offset, chunk.stored) for chunk in chunks if chunk.is_stored)
    spans.append((end, storage.size - end))
    spans.append((trailer.xml_offset, trailer.xml_length))
    spans.sort()
    position = 0
    for offset, length in spans:
        if offset < position:
            raise CorruptImage(
                "a chunk of the disk image lies in what another one, the property list or the trailer occupies", path=storage.name, offset=offset
            )
        position = offset + length
    storage.require(0, position, "the data of the disk image")
