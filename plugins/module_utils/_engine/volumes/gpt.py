# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""GUID partition tables. Source: UEFI specification 2.10, section 5.3 (header, entries; tables 5.5 to 5.8). Little endian."""

from __future__ import annotations

import typing as t
import uuid
import zlib

from ..limits import MIB
from ..structure import Fields, Structure
from .table import Disk, Partition, PartitionTable, text_of
from .types import GPT_TYPES

SIGNATURE = b"EFI PART"
HEADER = Structure(
    "<",
    ("Signature", "8s"),
    ("Revision", "I"),
    ("HeaderSize", "I"),
    ("HeaderCRC32", "I"),
    ("_", "4s"),
    ("MyLBA", "Q"),
    ("AlternateLBA", "Q"),
    ("FirstUsableLBA", "Q"),
    ("LastUsableLBA", "Q"),
    ("DiskGUID", "16s"),
    ("PartitionEntryLBA", "Q"),
    ("NumberOfPartitionEntries", "I"),
    ("SizeOfPartitionEntry", "I"),
    ("PartitionEntryArrayCRC32", "I"),
)
ENTRY = Structure(
    "<",
    ("PartitionTypeGUID", "16s"),
    ("UniquePartitionGUID", "16s"),
    ("StartingLBA", "Q"),
    ("EndingLBA", "Q"),
    ("Attributes", "Q"),
    ("PartitionName", "72s"),
)
_CRC = slice(16, 20)
MAX_ENTRIES = 1 * MIB
"""Bytes of all entries. Usual are 16 KiB."""
_ATTRIBUTES = {0: "RequiredPartition", 1: "NoBlockIOProtocol", 2: "LegacyBIOSBootable"}
_OWN_ATTRIBUTES = range(48, 64)
"""bits whose meaning the partition's type gives"""


class _Damaged(Exception):
    """This copy of the table cannot be used, and why."""


class _Copy(t.NamedTuple):
    header: Fields
    entries: bytes


def read_gpt(disk: Disk, sector_size: int, protective: bool) -> PartitionTable | None:
    """The GPT of a disk, or None when there is none with sectors of that size.

    The backup at the end of the disk stands in for a damaged table, but only where the MBR says that there is a GPT: or
    what is left of an earlier use of the disk would be taken for it.

    :param protective: the MBR says that there is a GPT
    :raises ImageError: the image is damaged where a table lies
    """
    last = disk.size // sector_size - 1
    primary, problem = _try(disk, sector_size, 1)
    if primary is None and not protective:
        return None
    place = last if primary is None else primary.header.AlternateLBA
    backup, backup_problem = _try(disk, sector_size, place)
    used = primary or backup
    if used is None:
        return None
    header = used.header
    table = PartitionTable(
        "gpt",
        sector_size,
        _guid(header.DiskGUID),
        _partitions(used, sector_size),
        usable_start=header.FirstUsableLBA * sector_size,
        usable_end=(header.LastUsableLBA + 1) * sector_size,
        used_backup=primary is None,
    )
    if primary is None:
        table.warn(f"the GPT is damaged ({problem}); its backup is used")
    elif backup is None:
        table.warn(f"the backup of the GPT is damaged or missing ({backup_problem})")
    elif place != last:
        table.warn("the backup of the GPT does not lie at the end of the disk: was the disk made larger?")
    if primary is not None and backup is not None and _essence(primary) != _essence(backup):
        table.warn("the GPT and its backup say different things; the first is used")
    for partition in table.partitions:
        if not partition.length:
            table.warn(f"partition {partition.number} ends before it begins")
        elif partition.start < header.FirstUsableLBA * sector_size or partition.end > (header.LastUsableLBA + 1) * sector_size:
            table.warn(f"partition {partition.number} does not lie in what the GPT says is usable")
    return table


def has_signature(head: bytes, sector_size: int) -> bool:
    """Whether a GPT begins in the disk's second sector, sound or not."""
    return head.startswith(SIGNATURE, sector_size)


def _try(disk: Disk, sector_size: int, lba: int) -> tuple[_Copy | None, str]:
    try:
        return _copy(disk, sector_size, lba), ""
    except _Damaged as reason:
        return None, str(reason)


def _copy(disk: Disk, sector_size: int, lba: int) -> _Copy:
    """One of the two tables, with both checksums verified."""
    at = lba * sector_size
    raw = _read(disk, at, sector_size)
    header = HEADER.unpack(raw)
    if header.Signature != SIGNATURE:
        raise _Damaged("no signature")
    if not HEADER.size <= header.HeaderSize <= sector_size:
        raise _Damaged(f"a header of {header.HeaderSize} bytes")
    summed = bytearray(raw[: header.HeaderSize])
    summed[_CRC] = bytes(4)
    if zlib.crc32(summed) != header.HeaderCRC32:
        raise _Damaged("checksum of the header")
    if header.MyLBA != lba:
        raise _Damaged("the header belongs to another sector")
    size = header.SizeOfPartitionEntry
    length = header.NumberOfPartitionEntries * size
    if size < ENTRY.size or size % 8 or length > MAX_ENTRIES:
        raise _Damaged(f"{header.NumberOfPartitionEntries} entries of {size} bytes")
    entries = _read(disk, header.PartitionEntryLBA * sector_size, length)
    if zlib.crc32(entries) != header.PartitionEntryArrayCRC32:
        raise _Damaged("checksum of the entries")
    return _Copy(header, entries)


def _read(disk: Disk, at: int, length: int) -> bytes:
    if at <= 0 or at + length > disk.size:
        raise _Damaged("not on the disk")
    if not disk.reaches(at, length):
        raise _Damaged("not looked at, as the image would have to be decompressed up to it")
    return disk.read(at, length)


def _essence(copy: _Copy) -> tuple[t.Any, ...]:
    """What both tables have to agree in."""
    header = copy.header
    return header.DiskGUID, header.FirstUsableLBA, header.LastUsableLBA, copy.entries


def _partitions(copy: _Copy, sector_size: int) -> list[Partition]:
    size = copy.header.SizeOfPartitionEntry
    found = []
    for number, at in enumerate(range(0, len(copy.entries), size), start=1):
        if copy.entries.startswith(bytes(16), at):  # not used
            continue
        entry = ENTRY.unpack(copy.entries, at)
        kind = _guid(entry.PartitionTypeGUID)
        attributes = _attributes(entry.Attributes)
        found.append(
            Partition(
                number,
                entry.StartingLBA * sector_size,
                max(0, entry.EndingLBA + 1 - entry.StartingLBA) * sector_size,
                kind,
                GPT_TYPES.get(kind),
                name=text_of(entry.PartitionName),
                uuid=_guid(entry.UniquePartitionGUID),
                bootable="LegacyBIOSBootable" in attributes,
                attributes=attributes,
            )
        )
    return found


def _attributes(bits: int) -> list[str]:
    named = [name for bit, name in _ATTRIBUTES.items() if bits >> bit & 1]
    return named + [f"GUID:{bit}" for bit in _OWN_ATTRIBUTES if bits >> bit & 1]


def _guid(stored: bytes) -> str:
    return str(uuid.UUID(bytes_le=stored)).upper()
