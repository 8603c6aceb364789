# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""MBR partition tables and the chain of extended boot records (EBR), as Linux and util-linux read them.

Sources: UEFI specification 2.10, section 5.2 (MBR, protective MBR); Linux, block/partitions/msdos.c (the chain and its
numbers). Whether a first sector is a partition table at all is detection's to say (formats/probes/content.py).
"""

from __future__ import annotations

import struct
import typing as t

from ..formats.probes.content import PARTITION, is_mbr
from ..structure import Fields
from .table import Disk, Partition, PartitionTable
from .types import MBR_TYPES

GPT_PROTECTIVE = 0xEE
EXTENDED = (0x05, 0x0F, 0x85)
MAX_LOGICAL = 252
"""Linux' most partitions of a disk (DISK_MAX_PARTS) without the four primary ones"""

_ID, _TABLE, _SIGNATURE = 440, 446, b"\x55\xaa"


def entries(sector: bytes) -> list[Fields] | None:
    """The four entries of a first sector; None when it has no partition table."""
    if not is_mbr(sector, None):
        return None
    return _entries(sector)


def is_protective(found: list[Fields] | None) -> bool:
    """Whether the MBR says that there is a GPT. Linux wants the entry to begin at sector 1."""
    return any(entry.OSType == GPT_PROTECTIVE and entry.StartingLBA == 1 for entry in found or ())


def read_mbr(disk: Disk, sector: bytes, found: list[Fields], sector_size: int) -> PartitionTable:
    """The partition table of a first sector, with all logical partitions.

    :param sector: the disk's first bytes
    :param found: its entries
    :param sector_size: bytes of a sector
    :raises ImageError: the image is damaged where an EBR lies
    """
    table = PartitionTable("dos", sector_size, disk_id(sector), primary_partitions(sector, found, sector_size))
    extended = next((part for part in table.partitions if part.kind == "extended"), None)
    if extended is not None:
        for number, (start, entry) in enumerate(_logical(disk, table, extended.start, sector_size), start=5):
            table.partitions.append(_partition(number, start, entry, sector_size, table.id, "logical"))
        for partition in table.partitions:
            if partition.kind == "logical" and not extended.start < partition.start <= partition.end <= extended.end:
                table.warn(f"the logical partition {partition.number} does not lie in the extended one")
    return table


def primary_partitions(sector: bytes, found: list[Fields], sector_size: int) -> list[Partition]:
    """The partitions that stand in the MBR itself."""
    identity = disk_id(sector)
    used = [(number, entry) for number, entry in enumerate(found, start=1) if entry.SizeInLBA]
    kinds = ["extended" if entry.OSType in EXTENDED else "primary" for _number, entry in used]
    return [_partition(number, entry.StartingLBA, entry, sector_size, identity, kind) for (number, entry), kind in zip(used, kinds)]


def disk_id(sector: bytes) -> str | None:
    """The disk's signature as sfdisk shows it."""
    value = struct.unpack_from("<I", sector, _ID)[0]
    return f"{value:#010x}" if value else None


def _entries(sector: bytes) -> list[Fields]:
    return [PARTITION.unpack(sector, _TABLE + index * PARTITION.size) for index in range(4)]


def _partition(number: int, start: int, entry: Fields, sector_size: int, identity: str | None, kind: str) -> Partition:
    """:param start: sector of the disk"""
    return Partition(
        number,
        start * sector_size,
        entry.SizeInLBA * sector_size,
        f"{entry.OSType:x}",
        MBR_TYPES.get(entry.OSType),
        kind=kind,
        uuid=f"{identity[2:]}-{number:02x}" if identity else None,
        bootable=entry.BootIndicator == 0x80,
    )


def _logical(disk: Disk, table: PartitionTable, first: int, sector_size: int) -> t.Iterator[tuple[int, Fields]]:
    """The logical partitions as (sector, entry), link by link: each EBR has one, and names the next EBR.

    A link counts from the extended partition, a partition from its EBR.

    :param first: where the extended partition begins, bytes
    """
    seen: set[int] = set()
    here = first
    while here not in seen:
        seen.add(here)
        if len(seen) > MAX_LOGICAL:
            table.warn(f"there are more than {MAX_LOGICAL} logical partitions; the others are left out")
            return
        if here + sector_size > disk.size:
            table.warn(f"the chain of logical partitions leads to byte {here}, behind the end of the disk")
            return
        if not disk.reaches(here, sector_size):
            table.warn("logical partitions are left out, as the image would have to be decompressed up to them")
            return
        record = disk.read(here, sector_size)
        if record[510:512] != _SIGNATURE:
            table.warn(f"the chain of logical partitions breaks off at byte {here}: no signature there")
            return
        found = _entries(record)
        entry = next((entry for entry in found if entry.SizeInLBA and entry.OSType not in (0, *EXTENDED)), None)
        if entry is not None:
            yield here // sector_size + entry.StartingLBA, entry
        link = next((entry for entry in found if entry.SizeInLBA and entry.OSType in EXTENDED), None)
        if link is None:
            return
        here = first + link.StartingLBA * sector_size
    table.warn(f"the chain of logical partitions comes back to byte {here}: a loop")
