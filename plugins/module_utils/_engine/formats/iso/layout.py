# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What an ISO 9660 volume is made of.

Sources: ECMA-119 (4th edition), sections 8 (volume descriptors) and 9.1 (directory records); Joliet Specification,
section "SVD".
"""

from __future__ import annotations

import typing as t

from ...errors import CorruptImage
from ...storage.base import Storage
from ...structure import Fields, Structure
from ..probes.optical import FIRST, SECTOR

# Numbers are stored twice, little and big endian; the little-endian one is what Linux and qemu's guests go by.
VOLUME_DESCRIPTOR = Structure(
    "<",
    ("type", "B"),
    ("standard_identifier", "5s"),
    ("version", "B"),
    ("_", "B"),
    ("system_identifier", "32s"),
    ("volume_identifier", "32s"),
    ("_", "8s"),
    ("volume_space_size", "I"),
    ("_", "4s"),
    ("escape_sequences", "32s"),
    ("volume_set_size", "I"),
    ("volume_sequence_number", "I"),
    ("logical_block_size", "H"),
    ("_", "26s"),
    ("root_directory_record", "34s"),
    ("_", "128s"),
    ("publisher_identifier", "128s"),
    ("data_preparer_identifier", "128s"),
    ("application_identifier", "128s"),
    ("_", "111s"),
    ("creation_date", "17s"),
    ("modification_date", "17s"),
)
BOOT_RECORD = Structure("<", ("type", "B"), ("standard_identifier", "5s"), ("version", "B"), ("boot_system_identifier", "32s"), ("_", "32s"), ("catalog", "I"))
DIRECTORY_RECORD = Structure(
    "<",
    ("length", "B"),
    ("extended_attribute_length", "B"),
    ("extent", "I"),
    ("_", "4s"),
    ("data_length", "I"),
    ("_", "4s"),
    ("_", "7s"),
    ("flags", "B"),
    ("file_unit_size", "B"),
    ("interleave_gap_size", "B"),
    ("_", "4s"),
    ("identifier_length", "B"),
)
ROOT_RECORD = 156
"""where the root directory's record lies in a volume descriptor (section 8.4.18)"""

BOOT, PRIMARY, SUPPLEMENTARY, TERMINATOR = 0, 1, 2, 255
MAX_DESCRIPTORS = 48
"""Descriptors looked at; real images have fewer than ten."""
HEAD = FIRST + MAX_DESCRIPTORS * SECTOR
"""bytes from the beginning in which all of them lie"""
JOLIET = (b"%/@", b"%/C", b"%/E")
"""escape sequences of a supplementary descriptor whose names are UCS-2, levels 1 to 3"""
BLOCK_SIZES = (512, 1024, 2048)


class Descriptor(t.NamedTuple):
    """A volume descriptor: 2048 bytes, and where they lie."""

    offset: int
    data: bytes


def volume_descriptors(head: bytes) -> t.Iterator[Descriptor]:
    """The ISO 9660 descriptors from sector 16 up to the terminator.

    :param head: the image's first bytes
    """
    for offset in range(FIRST, min(HEAD, len(head)) - SECTOR + 1, SECTOR):
        data = head[offset : offset + SECTOR]
        if data[1:6] != b"CD001" or data[0] == TERMINATOR:
            return
        yield Descriptor(offset, data)


def primary_volume(storage: Storage, descriptors: t.Sequence[Descriptor]) -> tuple[int, Fields]:
    """The first primary volume descriptor: where it lies, and its fields.

    :raises CorruptImage: it is missing or cannot be right
    """
    found = next((descriptor for descriptor in descriptors if descriptor.data[0] == PRIMARY), None)
    if found is None:
        raise CorruptImage("the ISO image has no primary volume descriptor", path=storage.name, offset=FIRST)
    fields = VOLUME_DESCRIPTOR.unpack(found.data)
    if fields.logical_block_size not in BLOCK_SIZES:
        raise CorruptImage(f"the ISO image's blocks of {fields.logical_block_size} bytes are not possible", path=storage.name, offset=FIRST + 128)
    return found.offset, fields


def joliet_volume(descriptors: t.Sequence[Descriptor]) -> tuple[int, Fields] | None:
    """The Joliet descriptor: where it lies, and its fields; None when there is none."""
    for offset, data in descriptors:
        if data[0] == SUPPLEMENTARY:
            fields = VOLUME_DESCRIPTOR.unpack(data)
            if fields.escape_sequences.startswith(JOLIET) and fields.logical_block_size in BLOCK_SIZES:
                return offset, fields
    return None


def text(field: bytes) -> str:
    """A padded text. ISO 9660 allows few characters; real ones hold anything."""
    return field.split(b"\0")[0].decode("utf-8", "backslashreplace").strip()
