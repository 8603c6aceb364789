# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What LVM2 writes on a physical volume: its label, and the areas with the metadata of the volume group.

Sources: lvm2, lib/label/label.h (label_header), lib/format_text/layout.h (pv_header, mda_header, raw_locn), lib/misc/crc.c.
Little endian; offsets and sizes are bytes of the physical volume.
"""

from __future__ import annotations

import dataclasses
import struct
import typing as t
import zlib

from ...errors import CorruptImage, LimitExceeded
from ...limits import MIB, SECTOR
from ...storage.base import Storage
from ...structure import Structure

LABEL_HEADER = Structure("<", ("id", "8s"), ("sector_xl", "Q"), ("crc_xl", "I"), ("offset_xl", "I"), ("type", "8s"))
PV_HEADER = Structure("<", ("pv_uuid", "32s"), ("device_size_xl", "Q"))
DISK_LOCN = "<QQ"
"""offset, size; a list of them ends with zeros. There are two: where data lies, where metadata lies"""
MDA_HEADER = Structure("<", ("checksum_xl", "I"), ("magic", "16s"), ("version", "I"), ("start", "Q"), ("size", "Q"))
RAW_LOCN = Structure("<", ("offset", "Q"), ("size", "Q"), ("checksum", "I"), ("flags", "I"))
"""The first one behind the header is what was committed."""

LABEL_ID, LABEL_TYPE = b"LABELONE", b"LVM2 001"
FMTT_MAGIC = b" LVM2 x[5A%r0N*>"
LABEL_SCAN_SECTORS = 4
INITIAL_CRC = 0xF597A6CF
RAW_LOCN_IGNORED = 1
_CRC_START = 20
"""of a label: the checksum covers what follows it"""

MAX_AREAS = 4
"""Metadata areas looked at; LVM makes one or two."""
MAX_METADATA = 2 * MIB
"""Text of one volume group; LVM's usual area has 1 MiB and must hold it twice."""
MAX_METADATA_IN_ALL = 8 * MIB
"""Texts that differ, of all physical volumes looked at."""


@dataclasses.dataclass(frozen=True)
class Label:
    """The label of a physical volume."""

    uuid: str
    """as LVM prints it, with hyphens"""
    size: int
    """bytes of the device when it was made a physical volume"""
    areas: tuple[tuple[int, int], ...]
    """(offset, size) of the metadata areas"""


def read_label(storage: Storage) -> Label | None:
    """The label in one of the first four sectors of 512 bytes; None when there is none with a right checksum."""
    head = storage.read_at(0, LABEL_SCAN_SECTORS * SECTOR)
    for number in range(len(head) // SECTOR):
        sector = head[number * SECTOR : (number + 1) * SECTOR]
        if not sector.startswith(LABEL_ID):
            continue
        header = LABEL_HEADER.unpack(sector)
        if header.type == LABEL_TYPE and header.sector_xl == number and header.crc_xl == crc(sector[_CRC_START:]):
            if LABEL_HEADER.size <= header.offset_xl <= SECTOR - PV_HEADER.size:
                physical = PV_HEADER.unpack(sector, header.offset_xl)
                return Label(format_uuid(physical.pv_uuid), physical.device_size_xl, tuple(_areas(sector, header.offset_xl + PV_HEADER.size)))
    return None


def read_metadata(storage: Storage, offset: int, size: int) -> bytes | None:
    """The text that was committed last to a metadata area; None when nothing was, or the area is not used.

    :param offset: of the area, from the label
    :param size: bytes of the area
    :raises CorruptImage: the area is not where the label says, or damaged
    :raises LimitExceeded: the text is too long
    """
    sector = storage.read_exact(offset, SECTOR, "the header of LVM's metadata area")
    header = MDA_HEADER.unpack(sector)
    if header.magic != FMTT_MAGIC or header.version != 1 or header.checksum_xl != crc(sector[4:]):
        raise CorruptImage("the header of LVM's metadata area is damaged", path=storage.name, offset=offset)
    if header.start != offset or header.size != size or size <= SECTOR:
        raise CorruptImage("LVM's metadata area is not where its header says", path=storage.name, offset=offset)
    committed = RAW_LOCN.unpack(sector, MDA_HEADER.size)
    if not committed.offset or not committed.size or committed.flags & RAW_LOCN_IGNORED:
        return None
    if committed.size > MAX_METADATA:
        raise LimitExceeded(f"LVM's metadata has {committed.size} bytes, {MAX_METADATA} are read", path=storage.name, offset=offset)
    if not SECTOR <= committed.offset < size or committed.size > size - SECTOR:
        raise CorruptImage("LVM's metadata is not inside its area", path=storage.name, offset=offset)
    what = "LVM's metadata"
    first = min(committed.size, size - committed.offset)
    text = storage.read_exact(offset + committed.offset, first, what)
    if first < committed.size:  # a ring: it goes on behind the header
        text += storage.read_exact(offset + SECTOR, committed.size - first, what)
    if crc(text) != committed.checksum:
        raise CorruptImage("LVM's metadata is damaged: its checksum is wrong", path=storage.name, offset=offset + committed.offset)
    return text


def crc(data: bytes) -> int:
    """LVM's checksum: the usual CRC-32, but for what it begins and ends with."""
    return zlib.crc32(data, INITIAL_CRC ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def format_uuid(stored: bytes) -> str:
    """An identifier of 32 characters as LVM prints it: in groups of 6, 4, 4, 4, 4, 4, 6."""
    text = stored.decode("ascii", "replace")
    return "-".join((text[:6], *(text[at : at + 4] for at in range(6, 26, 4)), text[26:]))


def _areas(sector: bytes, at: int) -> t.Iterator[tuple[int, int]]:
    """The metadata areas: what the second list names."""
    lists = 0
    while lists < 2 and at + 16 <= len(sector):
        offset, size = struct.unpack_from(DISK_LOCN, sector, at)
        at += 16
        if not offset and not size:
            lists += 1
        elif lists == 1:
            yield offset, size
