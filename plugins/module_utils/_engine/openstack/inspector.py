# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What OpenStack's services see in a file: the formats that it answers to, and which of their safety checks fail.

Glance, Nova, Cinder and Ironic all run oslo.utils' imageutils/format_inspector.py (version 10.2), which reads a stream once and keeps a few
regions of it. This says the same of a file that can be read in any order, by reading only those regions.
"""

from __future__ import annotations

import dataclasses
import struct
import typing as t

from ..formats.probes import optical
from ..formats.qcow2.layout import HEADER_V2, HEADER_V3, MAGIC
from ..limits import SECTOR
from ..storage.base import Storage
from ..structure import Structure
from .inspector_vhdx import see_vhdx
from .inspector_vmdk import Unseeable, see_vmdk
from .sighting import Failure, Sighting

KNOWN_FEATURES = 0b1111
"""bits of qcow2's incompatible_features that oslo.utils knows: dirty, corrupt, external data file, compression type"""
DATA_FILE = 1 << 2

_PARTITION = struct.Struct("<B3sB3sII")
_PROTECTIVE = 0xEE
_FAT_COPIES, _FAT_MEDIA = (0x10, 2), (0x15, 0xF8)
_LUKS = Structure(">", ("magic", "6s"), ("version", "H"))
_LUKS_HEADER = 592
"""bytes of LUKS1's header with its eight key slots"""


@dataclasses.dataclass(frozen=True)
class Inspection:
    """All that the inspectors say together."""

    sightings: tuple[Sighting, ...]
    """none: nothing that they know, which they call ``raw``"""
    failed: bool = False
    """an inspector gives up in a way that nobody expects, and the others are not asked"""

    @property
    def formats(self) -> tuple[str, ...]:
        return tuple(sighting.format for sighting in self.sightings) or ("raw",)


def inspect(storage: Storage) -> Inspection:
    """What the inspectors say.

    :param storage: the file as it would be uploaded; or a guest's disk, as it would be written by a service
    :raises ImageError: it cannot be read
    """
    head = storage.read_at(0, SECTOR)
    try:
        seen = [see(storage, head) for see in (_see_qcow2, _see_vhd, see_vhdx, see_vmdk, _see_vdi, _see_qed, _see_iso, _see_partitions, _see_luks)]
    except Unseeable:
        return Inspection((), failed=True)
    return Inspection(tuple(sighting for sighting in seen if sighting is not None))


def _see_qcow2(_storage: Storage, head: bytes) -> Sighting | None:
    """Version 1, too, which is then refused."""
    if len(head) < SECTOR or not head.startswith(MAGIC):
        return None
    header = HEADER_V2.unpack(head)
    features = HEADER_V3.unpack(head, HEADER_V2.size).incompatible_features
    failures = []
    if header.backing_file_offset:
        failures.append(Failure("backing_file", "it has a backing file"))
    if features & DATA_FILE:
        failures.append(Failure("data_file", "its data lies in another file"))
    if header.version not in (2, 3):
        failures.append(Failure("unknown_features", f"it is version {header.version} of the format, and only 2 and 3 are taken"))
    elif header.version == 3 and features & ~KNOWN_FEATURES:
        failures.append(Failure("unknown_features", "it has features that are not known, such as extended L2 entries"))
    return Sighting("qcow2", failures=tuple(failures))


def _see_vhd(_storage: Storage, head: bytes) -> Sighting | None:
    """Only the copy of the footer at the beginning, which a fixed VHD has not."""
    return Sighting("vhd", whole=len(head) == SECTOR) if head.startswith(b"conectix") else None


def _see_vdi(_storage: Storage, head: bytes) -> Sighting | None:
    return Sighting("vdi") if len(head) == SECTOR and head.startswith(b"\x7f\x10\xda\xbe", 64) else None


def _see_qed(_storage: Storage, head: bytes) -> Sighting | None:
    return Sighting("qed", failures=(Failure("banned", "QED images are not taken"),)) if len(head) == SECTOR and head.startswith(b"QED\0") else None


def _see_iso(storage: Storage, _head: bytes) -> Sighting | None:
    """ISO 9660 or UDF, by the first volume descriptor alone."""
    descriptor = storage.read_at(optical.FIRST, optical.SECTOR)
    return Sighting("iso") if len(descriptor) == optical.SECTOR and descriptor[1:6] in (b"CD001", b"NSR02", b"NSR03") else None


def _see_partitions(_storage: Storage, head: bytes) -> Sighting | None:
    """Any boot record, but for that of most FAT file systems."""
    if len(head) < SECTOR or head[510:] != b"\x55\xaa" or all(head[at] == value for at, value in (_FAT_COPIES, _FAT_MEDIA)):
        return None
    reason = _why_unsafe([_PARTITION.unpack_from(head, 446 + 16 * index) for index in range(4)])
    return Sighting("gpt", failures=() if reason is None else (Failure("mbr", reason),))


def _why_unsafe(entries: list[tuple[t.Any, ...]]) -> str | None:
    for boot, start, kind, _end, first, _count in entries:
        if boot not in (0, 0x80):
            return "a partition in its boot record has an impossible boot flag"
        if kind == _PROTECTIVE and (start != b"\0\2\0" or first != 1):
            return "the partition that protects its GPT does not begin at sector 1 (0/0/2)"
    used = [index for index, entry in enumerate(entries) if entry[2]]
    if used != [0] and any(entry[2] == _PROTECTIVE for entry in entries):
        return "its boot record has partitions beside the one that protects the GPT"
    return None if used else "its boot record has no partition"


def _see_luks(storage: Storage, head: bytes) -> Sighting | None:
    if not head.startswith(b"LUKS\xba\xbe"):
        return None
    if storage.size < _LUKS_HEADER:
        return Sighting("luks", whole=False)
    version = _LUKS.unpack(head).version
    return Sighting("luks", failures=() if version == 1 else (Failure("version", f"it is version {version} of LUKS, and only 1 is taken"),))
