# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What Windows makes: NTFS, exFAT, BitLocker.

Sources: libyal's "New Technologies File System (NTFS)" sections 2 and 4 to 6, "exFAT file system specification" (Microsoft)
sections 3.1 and 7.3, libyal's "BitLocker Drive Encryption (BDE) format" sections 3 and 5.
"""

from __future__ import annotations

from ...limits import KIB, MIB
from ...storage.base import Storage
from ...structure import Fields, Structure
from ..base import Signature
from .values import CRYPTO, FILESYSTEM, guid, text

NTFS_BOOT = Structure(
    "<",
    ("jump", "3s"),
    ("oem_id", "8s"),
    ("bytes_per_sector", "H"),
    ("sectors_per_cluster", "B"),
    ("unused", "7s"),
    ("_", "19s"),
    ("total_sectors", "Q"),
    ("mft_cluster", "Q"),
    ("mft_mirror_cluster", "Q"),
    ("mft_record_size", "b"),
    ("_", "7s"),
    ("volume_serial", "Q"),
)
FILE_RECORD = Structure("<", ("signature", "4s"), ("_", "16s"), ("attributes_offset", "H"))
ATTRIBUTE = Structure("<", ("type", "I"), ("length", "I"), ("non_resident", "B"), ("_", "7s"), ("value_length", "I"), ("value_offset", "H"))
VOLUME, VOLUME_NAME, END = 3, 0x60, 0xFFFFFFFF
_MAX_RECORD = 64 * KIB

EXFAT_BOOT = Structure(
    "<",
    ("JumpBoot", "3s"),
    ("FileSystemName", "8s"),
    ("MustBeZero", "53s"),
    ("PartitionOffset", "Q"),
    ("VolumeLength", "Q"),
    ("FatOffset", "I"),
    ("FatLength", "I"),
    ("ClusterHeapOffset", "I"),
    ("ClusterCount", "I"),
    ("FirstClusterOfRootDirectory", "I"),
    ("VolumeSerialNumber", "I"),
    ("FileSystemRevisionMinor", "B"),
    ("FileSystemRevisionMajor", "B"),
    ("VolumeFlags", "H"),
    ("BytesPerSectorShift", "B"),
    ("SectorsPerClusterShift", "B"),
    ("NumberOfFats", "B"),
)
_LABEL_ENTRY, _LABEL_MAX = 0x83, 11
_MAX_CLUSTERS = 64
"""of the root directory, looked through for the label"""

BITLOCKER_BOOT = Structure("<", ("jump", "3s"), ("signature", "8s"), ("_", "149s"), ("guid", "16s"), ("fve_metadata_offset", "Q"))
BITLOCKER_TO_GO = Structure("<", ("jump", "3s"), ("signature", "8s"), ("_", "413s"), ("guid", "16s"), ("fve_metadata_offset", "Q"))
FVE_BLOCK = Structure("<", ("signature", "8s"), ("_", "2s"), ("version", "H"), ("_", "52s"), ("_", "16s"), ("volume_identifier", "16s"))
_FVE = b"-FVE-FS-"


def ntfs(storage: Storage) -> Signature | None:
    """NTFS, with its serial number and the name in $Volume; None when it is none."""
    boot = NTFS_BOOT.unpack(storage.read_at(0, NTFS_BOOT.size).ljust(NTFS_BOOT.size, b"\0"))
    sector = boot.bytes_per_sector
    if boot.oem_id != b"NTFS    " or sector not in (256, 512, 1024, 2048, 4096) or any(boot.unused):
        return None
    cluster = sector * _power_of_two(boot.sectors_per_cluster)
    record = boot.mft_record_size * cluster if boot.mft_record_size > 0 else 1 << min(-boot.mft_record_size, 31)
    if not 0 < cluster <= 2 * MIB or not FILE_RECORD.size <= record <= _MAX_RECORD or boot.mft_cluster * cluster > storage.size:
        return None
    return Signature(
        "ntfs",
        FILESYSTEM,
        _volume_name(storage.read_at(boot.mft_cluster * cluster + VOLUME * record, record)),
        f"{boot.volume_serial:016X}",
        size=boot.total_sectors * sector,
    )


def _power_of_two(stored: int) -> int:
    """Sectors per cluster: a power of two, or the negative exponent of one (as a byte above 240)."""
    if stored > 240:
        return 1 << (256 - stored)
    return stored if stored and stored & (stored - 1) == 0 else 0


def _volume_name(record: bytes) -> str | None:
    """The name of the volume out of the file record of $Volume; None when it has none, or cannot be read."""
    if len(record) < FILE_RECORD.size or not record.startswith(b"FILE"):
        return None
    at = FILE_RECORD.unpack(record).attributes_offset
    while at + ATTRIBUTE.size <= len(record):
        attribute = ATTRIBUTE.unpack(record, at)
        if attribute.type == END or attribute.length < ATTRIBUTE.size:
            return None
        if attribute.type == VOLUME_NAME and not attribute.non_resident:
            start = at + attribute.value_offset
            return text(record[start : start + attribute.value_length], "utf-16-le")
        at += attribute.length
    return None


def exfat(storage: Storage) -> Signature | None:
    """exFAT, with its serial number and the label in the root directory; None when it is none."""
    boot = EXFAT_BOOT.unpack(storage.read_at(0, EXFAT_BOOT.size).ljust(EXFAT_BOOT.size, b"\0"))
    if boot.FileSystemName != b"EXFAT   " or any(boot.MustBeZero) or not 9 <= boot.BytesPerSectorShift <= 12:
        return None
    if boot.SectorsPerClusterShift > 25 - boot.BytesPerSectorShift or boot.NumberOfFats not in (1, 2):
        return None
    if not 2 <= boot.FirstClusterOfRootDirectory <= boot.ClusterCount + 1:
        return None
    serial = boot.VolumeSerialNumber
    return Signature(
        "exfat",
        FILESYSTEM,
        _exfat_label(storage, boot),
        f"{serial >> 16:04X}-{serial & 0xFFFF:04X}",
        f"{boot.FileSystemRevisionMajor}.{boot.FileSystemRevisionMinor}",
        size=boot.VolumeLength << boot.BytesPerSectorShift,
    )


def _exfat_label(storage: Storage, boot: Fields) -> str | None:
    """The label in the root directory, cluster by cluster; None when it is not in the first ones."""
    sector, shift = boot.BytesPerSectorShift, boot.BytesPerSectorShift + boot.SectorsPerClusterShift
    cluster = boot.FirstClusterOfRootDirectory
    for _number in range(_MAX_CLUSTERS):
        if not 2 <= cluster <= boot.ClusterCount + 1:
            return None
        directory = storage.read_at((boot.ClusterHeapOffset << sector) + ((cluster - 2) << shift), min(1 << shift, _MAX_RECORD))
        for at in range(0, len(directory) - 31, 32):
            if directory[at] == 0:
                return None
            if directory[at] == _LABEL_ENTRY:
                return text(directory[at + 2 : at + 2 + 2 * min(directory[at + 1], _LABEL_MAX)], "utf-16-le")
        cluster = int.from_bytes(storage.read_at((boot.FatOffset << sector) + 4 * cluster, 4), "little")
    return None


def bitlocker(storage: Storage) -> Signature | None:
    """A volume that BitLocker encrypted (Windows 7 and later, removable drives, Vista); None when it is none."""
    head = storage.read_at(0, 512)
    if len(head) < 512:
        return None
    if head[:3] == b"\xeb\x52\x90" and head.startswith(_FVE, 3):
        return Signature("BitLocker", CRYPTO)
    if head[:11] not in (b"\xeb\x58\x90" + _FVE, b"\xeb\x58\x90MSWIN4.1"):
        return None
    layout = BITLOCKER_BOOT if head.startswith(_FVE, 3) else BITLOCKER_TO_GO
    offset = layout.unpack(head).fve_metadata_offset
    data = storage.read_at(offset, FVE_BLOCK.size) if offset and offset % 64 == 0 else b""
    if len(data) < FVE_BLOCK.size or not data.startswith(_FVE):
        return None
    block = FVE_BLOCK.unpack(data)
    return Signature("BitLocker", CRYPTO, uuid=guid(block.volume_identifier), version=str(block.version))
