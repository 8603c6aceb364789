# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The boot sector of a FAT volume: whether it is one, of which kind, and where things lie.

Sources: Microsoft's FAT specification (fatgen103), section 3; the checks are those of Linux (fs/fat/inode.c) and blkid.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import CorruptImage, ImageError
from ...limits import KIB
from ...storage.base import Storage
from ..base import Signature
from .chains import FatTable
from .layout import (
    ACTIVE_FAT,
    BOOT_SECTOR,
    DIRECTORY_ENTRY,
    DIRTY,
    END,
    EXTENDED_16,
    EXTENDED_32,
    EXTENDED_AT,
    FREE,
    KANJI,
    LONG_NAME,
    LONG_NAME_MASK,
    MAX_FAT12,
    MAX_FAT16,
    MAX_FAT32,
    MIRRORING_OFF,
    VOLUME_ID,
)

_OTHERS = (b"NTFS    ", b"EXFAT   ", b"-FVE-FS-")
_LABELLED = 64 * KIB
"""bytes of the root directory that are searched for the label: it is one of the first entries"""


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Where things lie on a volume. All offsets and sizes in bytes."""

    bits: int
    """of an entry of the FAT: 12, 16 or 32"""
    cluster_size: int
    clusters: int
    """data clusters, numbered from 2"""
    fat_start: int
    fat_size: int
    """bytes of one FAT"""
    root_start: int
    """of the root directory of FAT12 and FAT16"""
    root_size: int
    """0 on FAT32"""
    root_cluster: int
    """first cluster of FAT32's root directory; else 0"""
    data_start: int
    size: int
    """of the whole volume"""


def read_geometry(boot: bytes) -> Geometry | None:
    """What a boot sector says; None when it cannot be one of FAT.

    :param boot: the volume's first 512 bytes
    """
    if len(boot) < 512 or boot[3:11] in _OTHERS:
        return None
    marked = boot[0] in (0xEB, 0xE9) or boot[510:512] == b"\x55\xaa" or boot[54:57] == b"FAT" or boot[82:85] == b"FAT"
    bpb = BOOT_SECTOR.unpack(boot)
    sector, per_cluster, fats = bpb.BPB_BytsPerSec, bpb.BPB_SecPerClus, bpb.BPB_NumFATs
    if not marked or sector not in (512, 1024, 2048, 4096) or not per_cluster or per_cluster & (per_cluster - 1):
        return None
    if not bpb.BPB_RsvdSecCnt or not fats or not (bpb.BPB_Media == 0xF0 or bpb.BPB_Media >= 0xF8):
        return None
    extended = EXTENDED_32.unpack(boot, EXTENDED_AT)
    is_fat32 = not bpb.BPB_FATSz16  # Linux' rule; by their numbers of clusters, small FAT32 volumes would be FAT16
    fat_sectors = bpb.BPB_FATSz16 or extended.BPB_FATSz32
    total = bpb.BPB_TotSec16 or bpb.BPB_TotSec32
    root_sectors = -(-bpb.BPB_RootEntCnt * DIRECTORY_ENTRY.size // sector)
    before = bpb.BPB_RsvdSecCnt + fats * fat_sectors
    clusters = (total - before - root_sectors) // per_cluster
    bits = 32 if is_fat32 else 12 if clusters <= MAX_FAT12 else 16
    fat_size = fat_sectors * sector
    if clusters > (MAX_FAT32 if is_fat32 else MAX_FAT16):
        return None
    clusters = min(clusters, fat_size * 8 // bits - 2)
    if clusters < 1:
        return None
    active = extended.BPB_ExtFlags & ACTIVE_FAT if is_fat32 and extended.BPB_ExtFlags & MIRRORING_OFF else 0
    return Geometry(
        bits=bits,
        cluster_size=per_cluster * sector,
        clusters=clusters,
        fat_start=bpb.BPB_RsvdSecCnt * sector + min(active, fats - 1) * fat_size,
        fat_size=fat_size,
        root_start=before * sector,
        root_size=bpb.BPB_RootEntCnt * DIRECTORY_ENTRY.size,
        root_cluster=extended.BPB_RootClus if is_fat32 else 0,
        data_start=(before + root_sectors) * sector,
        size=total * sector,
    )


def identify(storage: Storage) -> Signature | None:
    """What blkid says of a FAT volume; None when it is none."""
    try:
        boot = storage.read_at(0, 512)
        geometry = read_geometry(boot)
        return None if geometry is None else signature(storage, boot, geometry)
    except ImageError:
        return None


def signature(storage: Storage, boot: bytes, geometry: Geometry) -> Signature:
    """The label (the root directory's before the boot sector's), serial number and state of a volume.

    :param boot: its first 512 bytes
    """
    extended = (EXTENDED_32 if geometry.bits == 32 else EXTENDED_16).unpack(boot, EXTENDED_AT)
    label, serial = _root_label(storage, geometry), None
    if extended.BS_BootSig in (0x28, 0x29):
        serial = f"{extended.BS_VolID >> 16:04X}-{extended.BS_VolID & 0xFFFF:04X}"
    if label is None and extended.BS_BootSig == 0x29 and extended.BS_VolLab != b"NO NAME    ":
        label = _text(extended.BS_VolLab)
    warnings = []
    if extended.BS_Reserved1 & DIRTY:
        warnings.append("the FAT file system was not unmounted cleanly")
    if geometry.size > storage.size:
        warnings.append(f"the FAT file system has {geometry.size} bytes, its volume only {storage.size}")
    return Signature("vfat", "filesystem", label or None, serial, f"FAT{geometry.bits}", geometry.size, tuple(warnings))


def _root_label(storage: Storage, geometry: Geometry) -> str | None:
    """The volume's name in the root directory."""
    try:
        for data in _root_pieces(storage, geometry):
            for at in range(0, len(data) - DIRECTORY_ENTRY.size + 1, DIRECTORY_ENTRY.size):
                first, attributes = data[at], data[at + 11]
                if first == END:
                    return None
                if first != FREE and attributes & LONG_NAME_MASK != LONG_NAME and attributes & VOLUME_ID:
                    name = data[at : at + 11]
                    return _text(b"\xe5" + name[1:] if first == KANJI else name)
    except CorruptImage:
        pass  # what is damaged shows when it is read; here it has no name
    return None


def _root_pieces(storage: Storage, geometry: Geometry) -> t.Iterator[bytes]:
    if geometry.bits != 32:
        yield storage.read_at(geometry.root_start, min(geometry.root_size, _LABELLED))
        return
    left = _LABELLED
    for first, count in FatTable(storage, geometry.bits, geometry.clusters, geometry.fat_start).runs(geometry.root_cluster):
        length = min(count * geometry.cluster_size, left)
        yield storage.read_at(geometry.data_start + (first - 2) * geometry.cluster_size, length)
        left -= length
        if not left:
            return


def _text(label: bytes) -> str:
    return label.rstrip(b" \0").decode("utf-8", "backslashreplace")
