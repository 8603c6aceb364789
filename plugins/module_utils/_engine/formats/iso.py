# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""ISO 9660 images: described, checked for being whole, and passed through byte by byte.

Sources: ECMA-119 (4th edition), section 8 (volume descriptors) and 9.1 (directory records); "El Torito" Bootable CD-ROM
Format Specification 1.0, section 2; Joliet Specification, section "SVD"; SUSP 1.12, section 5.3 (SP).
"""

from __future__ import annotations

import typing as t

from ..errors import CorruptImage
from ..extents import Extent
from ..limits import KIB
from ..storage.base import Storage
from ..structure import Fields, Structure
from .base import CheckResult, ImageInfo
from .probes.content import PARTITION_TABLES, content_matches
from .probes.optical import FIRST, SECTOR, identifiers
from .raw import RawReader

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
)
BOOT_RECORD = Structure("<", ("type", "B"), ("standard_identifier", "5s"), ("version", "B"), ("boot_system_identifier", "32s"), ("_", "32s"), ("catalog", "I"))
DIRECTORY_RECORD = Structure("<", ("length", "B"), ("_", "B"), ("extent", "I"), ("_", "4s"), ("data_length", "I"), ("_", "19s"))
BOOT_ENTRY = Structure(
    "<", ("boot_indicator", "B"), ("media_type", "B"), ("load_segment", "H"), ("system_type", "B"), ("_", "B"), ("sector_count", "H"), ("load_rba", "I")
)

BOOT, PRIMARY, SUPPLEMENTARY, TERMINATOR = 0, 1, 2, 255
_DESCRIPTORS = 48
"""Descriptors looked at; real images have fewer than ten."""
_HEAD = FIRST + _DESCRIPTORS * SECTOR
_JOLIET = (b"%/@", b"%/C", b"%/E")
_BOOTABLE = 0x88
_PLATFORMS = {0: "bios", 1: "powerpc", 2: "mac", 0xEF: "efi"}
_CATALOG = 2 * KIB


class IsoReader(RawReader):
    """An optical disc's image. The guest sees the file's bytes as they are.

    :raises CorruptImage: the primary volume descriptor is missing or cannot be right
    """

    format = "iso"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self.virtual_size = storage.size  # copied as it is: nothing is padded
        head = storage.read_at(0, _HEAD)
        self._head = head
        self._descriptors = list(_volume_descriptors(head))
        primary = [VOLUME_DESCRIPTOR.unpack(data) for data in self._descriptors if data[0] == PRIMARY]
        if not primary:
            raise CorruptImage("the ISO image has no primary volume descriptor", path=storage.name, offset=FIRST)
        self.primary: Fields = primary[0]
        block = self.primary.logical_block_size
        if block not in (512, 1024, 2048):
            raise CorruptImage(f"the ISO image's blocks of {block} bytes are not possible", path=storage.name, offset=FIRST + 128)
        self.volume_size: int = self.primary.volume_space_size * block
        """bytes that the volume says it has; the file may be longer (padding, an appended partition)"""
        self._is_truncated = storage.size < self.volume_size

    def describe(self) -> ImageInfo:
        info = ImageInfo(self.format, self.virtual_size)
        if self._is_truncated:
            info.warnings.append(self._truncated().message)
        info.writer = _text(self.primary.application_identifier) or None
        tables = [match.format for match in content_matches(self._head, self.virtual_size) if match.format in PARTITION_TABLES]
        specific: dict[str, t.Any] = {
            "volume_identifier": _text(self.primary.volume_identifier),
            "system_identifier": _text(self.primary.system_identifier),
            "publisher_identifier": _text(self.primary.publisher_identifier),
            "creation_date": _text(self.primary.creation_date[:16]),
            "volume_space_size": self.primary.volume_space_size,
            "logical_block_size": self.primary.logical_block_size,
            "joliet": self._joliet(),
            "rock_ridge": self._rock_ridge(),
            "udf": any(name.startswith(b"NSR") for name in identifiers(self._head)),
            "el_torito": self._boot_entries(info.warnings),
            "hybrid": tables,
        }
        info.format_specific = specific
        if specific["el_torito"] and not tables:
            info.warnings.append("the image boots as a CD only, not as a disk: it has no partition table")
        return info

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        if self._is_truncated:
            raise self._truncated()
        return super().extents(start, length)

    def check(self) -> CheckResult:
        return CheckResult([str(self._truncated())] if self._is_truncated else [])

    def _truncated(self) -> CorruptImage:
        return CorruptImage(
            f"the ISO image is truncated: its volume has {self.volume_size} bytes, the file {self.storage.size}",
            path=self.storage.name,
            offset=self.storage.size,
        )

    def _joliet(self) -> bool:
        supplementary = [VOLUME_DESCRIPTOR.unpack(data) for data in self._descriptors if data[0] == SUPPLEMENTARY]
        return any(fields.escape_sequences.startswith(_JOLIET) for fields in supplementary)

    def _rock_ridge(self) -> bool:
        """Whether the root directory's own record (``.``) carries POSIX attributes behind the SUSP mark."""
        root = DIRECTORY_RECORD.unpack(self.primary.root_directory_record)
        data = self.storage.read_at(root.extent * self.primary.logical_block_size, min(root.data_length, SECTOR))
        if len(data) < 34 + 7 or data[34:36] != b"SP" or data[38:40] != b"\xbe\xef":
            return False
        area = data[34 : data[0]]
        while len(area) >= 4 and area[2] >= 4:
            if area[:2] in (b"RR", b"PX", b"ER"):
                return True
            area = area[area[2] :]
        return False

    def _boot_entries(self, warnings: list[str]) -> list[dict[str, t.Any]]:
        """The El Torito catalog: what boots, on which platform."""
        for data in self._descriptors:
            record = BOOT_RECORD.unpack(data)
            if record.type == BOOT and record.boot_system_identifier.rstrip(b"\0 ") == b"EL TORITO SPECIFICATION":
                catalog = self.storage.read_at(record.catalog * SECTOR, _CATALOG)
                # The words of the validation entry add up to zero.
                words = [int.from_bytes(catalog[at : at + 2], "little") for at in range(0, 32, 2)]
                if len(catalog) < 64 or catalog[0] != 1 or sum(words) & 0xFFFF:
                    warnings.append("the El Torito boot catalog is damaged")
                    return []
                return list(_catalog_entries(catalog))
        return []


def _volume_descriptors(head: bytes) -> t.Iterator[bytes]:
    """The ISO 9660 descriptors from sector 16 up to the terminator, 2048 bytes each."""
    for offset in range(FIRST, len(head) - SECTOR + 1, SECTOR):
        data = head[offset : offset + SECTOR]
        if data[1:6] != b"CD001" or data[0] == TERMINATOR:
            return
        yield data


def _catalog_entries(catalog: bytes) -> t.Iterator[dict[str, t.Any]]:
    platform = catalog[1]
    left = 1  # the default entry follows the validation entry without a header
    for offset in range(32, len(catalog), 32):
        raw = catalog[offset : offset + 32]
        if not left:
            if raw[0] not in (0x90, 0x91):  # a section's header; 0x91: the last one
                return
            platform, left = raw[1], int.from_bytes(raw[2:4], "little")
            continue
        if raw[0] == 0x44:  # more of the entry before
            continue
        entry = BOOT_ENTRY.unpack(raw)
        left -= 1
        yield {
            "platform": _PLATFORMS.get(platform, f"{platform:#04x}"),
            "bootable": entry.boot_indicator == _BOOTABLE,
            "emulation": bool(entry.media_type & 0x0F),
            "load_rba": entry.load_rba,
            "sector_count": entry.sector_count,
        }


def _text(field: bytes) -> str:
    """A padded text. ISO 9660 allows few characters; real ones hold anything."""
    return field.split(b"\0")[0].decode("utf-8", "backslashreplace").strip()
