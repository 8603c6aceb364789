# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""ISO 9660 images: described, checked for being whole, and passed through byte by byte.

Sources: ECMA-119 (4th edition), section 8 (volume descriptors); SUSP 1.12, section 5.3 (SP).
"""

from __future__ import annotations

import typing as t

from ...errors import CorruptImage
from ...extents import Extent
from ...storage.base import Storage
from ..base import CheckResult, ImageInfo
from ..probes.content import PARTITION_TABLES, content_matches
from ..probes.optical import SECTOR, identifiers
from ..raw import RawReader
from .boot import catalog_entries, disk_firmware
from .layout import DIRECTORY_RECORD, HEAD, joliet_volume, primary_volume, text, volume_descriptors


class IsoReader(RawReader):
    """An optical disc's image. The guest sees the file's bytes as they are.

    :raises CorruptImage: the primary volume descriptor is missing or cannot be right
    """

    format = "iso"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self.virtual_size = storage.size  # copied as it is: nothing is padded
        self._head = storage.read_at(0, HEAD)
        self._descriptors = list(volume_descriptors(self._head))
        _offset, self.primary = primary_volume(storage, self._descriptors)
        self.volume_size: int = self.primary.volume_space_size * self.primary.logical_block_size
        """bytes that the volume says it has; the file may be longer (padding, an appended partition)"""
        self._is_truncated = storage.size < self.volume_size

    def describe(self) -> ImageInfo:
        info = ImageInfo(self.format, self.virtual_size)
        if self._is_truncated:
            info.warnings.append(self._truncated().message)
        info.writer = text(self.primary.application_identifier) or None
        tables = [match.format for match in content_matches(self._head, self.virtual_size) if match.format in PARTITION_TABLES]
        entries = catalog_entries(self.storage, self._descriptors, info.warnings)
        specific: dict[str, t.Any] = {
            "volume_identifier": text(self.primary.volume_identifier),
            "system_identifier": text(self.primary.system_identifier),
            "publisher_identifier": text(self.primary.publisher_identifier),
            "creation_date": text(self.primary.creation_date[:16]),
            "volume_space_size": self.primary.volume_space_size,
            "logical_block_size": self.primary.logical_block_size,
            "volume_size": self.volume_size,
            "appended_size": max(0, self.storage.size - self.volume_size),
            "joliet": joliet_volume(self._descriptors) is not None,
            "rock_ridge": self._rock_ridge(),
            "udf": any(name.startswith(b"NSR") for name in identifiers(self._head)),
            "el_torito": entries,
            "hybrid": tables,
            "boot": {
                "cd": [platform for platform in ("bios", "efi") if any(entry["bootable"] and entry["platform"] == platform for entry in entries)],
                "disk": disk_firmware(self.storage, self._head) if tables else [],
            },
        }
        info.format_specific = specific
        if entries and not tables:
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
