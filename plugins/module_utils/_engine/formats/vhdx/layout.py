# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The first mebibyte of a VHDX file: identifier, headers, region tables. Source: [MS-VHDX] 2.1 "Layout", 2.2 "Header Section"."""

from __future__ import annotations

import typing as t
import uuid

from ...errors import CorruptImage, InvalidImage, LimitExceeded, UnsupportedImage
from ...limits import KIB, MAX_VIRTUAL_SIZE, MIB
from ...structure import Fields, Structure
from .crc32c import is_sealed

if t.TYPE_CHECKING:  # pragma: no cover
    from ...storage.base import Storage

FILE_TYPE_IDENTIFIER = Structure("<", ("signature", "8s"), ("creator", "512s"))
HEADER = Structure(
    "<",
    ("signature", "4s"),
    ("checksum", "I"),
    ("sequence_number", "Q"),
    ("file_write_guid", "16s"),
    ("data_write_guid", "16s"),
    ("log_guid", "16s"),
    ("log_version", "H"),
    ("version", "H"),
    ("log_length", "I"),
    ("log_offset", "Q"),
    ("_", "4016s"),
)
REGION_TABLE_HEADER = Structure("<", ("signature", "4s"), ("checksum", "I"), ("entry_count", "I"), ("_", "I"))
REGION_TABLE_ENTRY = Structure("<", ("guid", "16s"), ("file_offset", "Q"), ("length", "I"), ("required", "I"))

FILE_SIGNATURE = b"vhdxfile"
HEADER_SIGNATURE = b"head"
REGION_SIGNATURE = b"regi"
HEADER_OFFSETS = (64 * KIB, 128 * KIB)
REGION_TABLE_OFFSETS = (192 * KIB, 256 * KIB)
REGION_TABLE_SIZE = 64 * KIB
MAX_ENTRIES = 2047
"""of a region table, and of the metadata table"""
MAX_FILE_SIZE = 2 * MAX_VIRTUAL_SIZE
"""bytes; far above what the blocks, tables and log of the largest disk take together"""

NO_GUID = bytes(16)


def guid(text: str) -> bytes:
    """A GUID as Microsoft's structures hold it."""
    return uuid.UUID(text).bytes_le


def guid_text(raw: bytes) -> str:
    """The usual notation of a GUID, lower case without braces."""
    return str(uuid.UUID(bytes_le=raw))


BAT_REGION = guid("2DC27766-F623-4200-9D64-115E9BFD4A08")
METADATA_REGION = guid("8B7CA206-4790-4B9A-B8FE-575F050F886E")


class Area(t.NamedTuple):
    """A run of the file that belongs to one structure."""

    offset: int
    """bytes"""
    length: int
    """bytes"""
    name: str


def utf16(raw: bytes) -> str:
    """A text up to its first NUL; what is no UTF-16 becomes a replacement character."""
    return raw.decode("utf-16-le", "replace").partition("\0")[0]


def read_creator(storage: Storage) -> str:
    """Check the file type identifier; the program that made the file, as it calls itself.

    :raises InvalidImage: not VHDX at all
    """
    head = storage.read_at(0, FILE_TYPE_IDENTIFIER.size)
    if not head.startswith(FILE_SIGNATURE):
        raise InvalidImage("is not a VHDX image (no 'vhdxfile' at its start)", path=storage.name)
    if storage.size > MAX_FILE_SIZE:
        raise LimitExceeded(f"a VHDX file of {storage.size} bytes; {MAX_FILE_SIZE} is the most that is taken", path=storage.name)
    raw: bytes = FILE_TYPE_IDENTIFIER.unpack(storage.read_exact(0, FILE_TYPE_IDENTIFIER.size, "the file type identifier")).creator
    return utf16(raw)


def read_header(storage: Storage, warnings: list[str]) -> Fields:
    """The current header: the sound one, or of two sound ones that with the higher sequence number (2.2.2).

    :param warnings: told when one of the two is damaged
    :raises CorruptImage: no sound header, two that contradict each other, or a log outside the file
    """
    sound = []
    for number, offset in enumerate(HEADER_OFFSETS, 1):
        data = storage.read_exact(offset, HEADER.size, f"header {number}")
        if data.startswith(HEADER_SIGNATURE) and is_sealed(data):
            sound.append(HEADER.unpack(data))
        else:
            warnings.append(f"header {number} of two is damaged; the other one is used")
    if not sound:
        raise CorruptImage("both headers are damaged (signature or checksum)", path=storage.name, offset=HEADER_OFFSETS[0])
    header = max(sound, key=lambda fields: fields.sequence_number)
    # Disk2vhd writes the same header twice. Different ones with one number leave open which of them counts.
    if any(other != header and other.sequence_number == header.sequence_number for other in sound):
        raise CorruptImage("two different headers have the same sequence number", path=storage.name, offset=HEADER_OFFSETS[0])
    if header.version != 1:
        raise UnsupportedImage(f"VHDX version {header.version} is not known (version 1 is)", path=storage.name)
    if header.log_offset % MIB or header.log_length % MIB or (header.log_length and header.log_offset < MIB):
        raise CorruptImage(f"the log at {header.log_offset:#x} with {header.log_length} bytes is not aligned to 1 MiB", path=storage.name)
    storage.require(header.log_offset, header.log_length, "the log")
    return header


def is_sound_table(table: bytes) -> bool:
    """A region table has its signature and its checksum."""
    return table.startswith(REGION_SIGNATURE) and is_sealed(table)


def read_regions(storage: Storage, warnings: list[str]) -> dict[bytes, Area]:
    """The regions by GUID, from the first region table, or from the second when the first is damaged (2.2.3).

    :param warnings: told when the first table is damaged
    :raises CorruptImage: no sound table, or regions that are misplaced or named twice
    :raises UnsupportedImage: a required region of an unknown kind
    """
    for offset in REGION_TABLE_OFFSETS:
        table = storage.read_exact(offset, REGION_TABLE_SIZE, "a region table")
        if is_sound_table(table):
            break
        warnings.append("a region table is damaged; its copy is used")
    else:
        raise CorruptImage("both region tables are damaged (signature or checksum)", path=storage.name, offset=REGION_TABLE_OFFSETS[0])
    count = REGION_TABLE_HEADER.unpack(table).entry_count
    if count > MAX_ENTRIES:
        raise CorruptImage(f"the region table has {count} entries, above its room of {MAX_ENTRIES}", path=storage.name, offset=offset)
    regions: dict[bytes, Area] = {}
    for index in range(count):
        where = REGION_TABLE_HEADER.size + index * REGION_TABLE_ENTRY.size
        entry = REGION_TABLE_ENTRY.unpack(table, where)
        name = {BAT_REGION: "the block allocation table", METADATA_REGION: "the metadata region"}.get(entry.guid)
        if name is None:
            name = f"the region {guid_text(entry.guid)}"
            if entry.required & 1:
                raise UnsupportedImage(f"{name} is required to read the image, and unknown", path=storage.name, offset=offset + where)
        if entry.guid in regions:
            raise CorruptImage(f"{name} is named twice", path=storage.name, offset=offset + where)
        if entry.file_offset < MIB or entry.file_offset % MIB or entry.length % MIB or not entry.length:
            raise CorruptImage(f"{name} at {entry.file_offset:#x} with {entry.length} bytes is not aligned to 1 MiB", path=storage.name, offset=offset + where)
        storage.require(entry.file_offset, entry.length, name)
        regions[entry.guid] = Area(entry.file_offset, entry.length, name)
    for wanted, name in ((BAT_REGION, "block allocation table"), (METADATA_REGION, "metadata region")):
        if wanted not in regions:
            raise CorruptImage(f"the region table names no {name}", path=storage.name, offset=offset)
    return regions


def require_apart(areas: t.Iterable[Area], path: str) -> None:
    """:raises CorruptImage: two of the areas overlap"""
    last = Area(0, 0, "")
    for area in sorted(areas):
        if area.offset < last.offset + last.length:
            raise CorruptImage(f"{area.name} overlaps {last.name}", path=path, offset=area.offset)
        last = area
