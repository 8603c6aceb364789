# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What an ISO image boots from: the El Torito catalog as a CD, a partition table as a disk.

Sources: "El Torito" Bootable CD-ROM Format Specification 1.0, section 2; UEFI specification 2.10, sections 5.2 (MBR),
5.3 (GPT) and 13.3.2.1 (its use of El Torito).
"""

from __future__ import annotations

import struct
import typing as t

from ...limits import KIB, MIB, SECTOR
from ...storage.base import Storage
from ...structure import Fields, Structure
from ..probes.content import PARTITION, content_matches
from ..probes.optical import SECTOR as CD_SECTOR
from .layout import BOOT, BOOT_RECORD, Descriptor

BOOT_ENTRY = Structure(
    "<", ("boot_indicator", "B"), ("media_type", "B"), ("load_segment", "H"), ("system_type", "B"), ("_", "B"), ("sector_count", "H"), ("load_rba", "I")
)
_BOOTABLE = 0x88
_PLATFORMS = {0: "bios", 1: "powerpc", 2: "mac", 0xEF: "efi"}
_EMULATED = {1: 1200 * KIB, 2: 1440 * KIB, 3: 2880 * KIB}
"""bytes of the floppy disks that may be emulated"""
_CATALOG = 2 * KIB
_HEADER, _LAST_HEADER, _EXTENSION = 0x90, 0x91, 0x44

_MBR_CODE = 440
_MBR_TABLE = 446
_GPT_ENTRIES = 64
"""entries of a GPT that are looked at; ISO images have fewer than ten"""


def catalog_entries(storage: Storage, descriptors: t.Sequence[Descriptor], warnings: list[str]) -> list[dict[str, t.Any]]:
    """The El Torito catalog: what boots, on which platform.

    :param warnings: where damage is told
    """
    for _offset, data in descriptors:
        record = BOOT_RECORD.unpack(data)
        if record.type != BOOT or record.boot_system_identifier.rstrip(b"\0 ") != b"EL TORITO SPECIFICATION":
            continue
        catalog = storage.read_at(record.catalog * CD_SECTOR, _CATALOG)
        # The words of the validation entry add up to zero.
        words = [int.from_bytes(catalog[at : at + 2], "little") for at in range(0, 32, 2)]
        if len(catalog) < 64 or catalog[0] != 1 or sum(words) & 0xFFFF:
            warnings.append("the El Torito boot catalog is damaged")
            return []
        return [_described(storage, platform, entry, warnings) for platform, entry in _entries(catalog)]
    return []


def disk_firmware(storage: Storage, head: bytes) -> list[str]:
    """With which firmware the image boots as a disk, as far as its first sectors tell: ``bios``, ``efi``.

    BIOS runs the code of the first sector. UEFI looks for a FAT file system in a partition.

    :param head: the image's first bytes
    """
    found = []
    if head[510:512] == b"\x55\xaa" and any(head[:_MBR_CODE]):
        found.append("bios")
    if any(is_fat(storage, start * SECTOR) for start in _partition_starts(head)):
        found.append("efi")
    return found


def is_fat(storage: Storage, offset: int) -> bool:
    """Whether a FAT file system begins at a place (bytes). Of a compressed stream only its beginning is looked at."""
    if storage.sequential and offset > MIB:
        return False
    return any(match.format == "fat" for match in content_matches(storage.read_at(offset, SECTOR), None))


def _entries(catalog: bytes) -> t.Iterator[tuple[str, Fields]]:
    """The entries of a catalog, each with its platform."""
    platform = catalog[1]
    left = 1  # the default entry follows the validation entry without a header
    for offset in range(32, len(catalog), 32):
        raw = catalog[offset : offset + 32]
        if not left:
            if raw[0] not in (_HEADER, _LAST_HEADER):
                return
            platform, left = raw[1], int.from_bytes(raw[2:4], "little")
            continue
        if raw[0] == _EXTENSION:  # more of the entry before
            continue
        left -= 1
        yield _PLATFORMS.get(platform, f"{platform:#04x}"), BOOT_ENTRY.unpack(raw)


def _described(storage: Storage, platform: str, entry: Fields, warnings: list[str]) -> dict[str, t.Any]:
    offset, bootable = entry.load_rba * CD_SECTOR, entry.boot_indicator == _BOOTABLE
    size = _EMULATED.get(entry.media_type & 0x0F) or max(entry.sector_count * SECTOR, _fat_size(storage, offset))
    if bootable and offset + max(size, 1) > storage.size:
        warnings.append(f"the El Torito boot image for {platform} ends behind the end of the file")
    return {
        "platform": platform,
        "bootable": bootable,
        "emulation": bool(entry.media_type & 0x0F),
        "load_rba": entry.load_rba,
        "sector_count": entry.sector_count,
        "offset": offset,
        "bytes": size,
    }


def _fat_size(storage: Storage, offset: int) -> int:
    """Bytes of the FAT file system that a boot image for UEFI is; 0 when it is none.

    The catalog has 16 bits for the number of sectors: 0 or 1 mean "up to the end of the disc", and no more than 32 MiB fit.
    """
    if not is_fat(storage, offset):
        return 0
    boot = storage.read_at(offset, SECTOR)
    small, large = struct.unpack_from("<H", boot, 19)[0], struct.unpack_from("<I", boot, 32)[0]
    return int.from_bytes(boot[11:13], "little") * (small or large)


def _partition_starts(head: bytes) -> t.Iterator[int]:
    """First sectors of the partitions that firmware may look into: those of a GPT, and of an MBR the ESP."""
    if head[510:512] == b"\x55\xaa":
        for index in range(4):
            entry = PARTITION.unpack(head, _MBR_TABLE + index * PARTITION.size)
            if entry.OSType == 0xEF and entry.SizeInLBA:
                yield entry.StartingLBA
    if head.startswith(b"EFI PART", SECTOR):
        table, count, size = struct.unpack_from("<QII", head, SECTOR + 72)
        for index in range(min(count, _GPT_ENTRIES)):
            at = table * SECTOR + index * size
            if size < 128 or at + 40 > len(head):
                return
            if any(head[at : at + 16]):
                yield struct.unpack_from("<Q", head, at + 32)[0]
