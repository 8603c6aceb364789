# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Which firmware can boot a disk: BIOS, by the code in its first sector, and UEFI, by programs on its system partition.

Sources: UEFI Specification 2.10, 3.5.1.1 (removable media boot behaviour: OpenStack's guests have no entries in an NVRAM of theirs); GRUB,
grub-core/boot/i386/pc/boot.S and include/grub/i386/pc/boot.h (where the first sector keeps the place of the next one).
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import ImageError
from ..filesystems.base import Filesystem
from ..filesystems.tree import Tree
from ..limits import SECTOR
from ..storage.base import Storage
from ..volumes.table import PartitionTable
from .roots import BIOS_BOOT_TYPE, ESP_TYPES, GuestVolume

BIOS, UEFI, BOTH = "bios", "uefi", "both"
CODE = 440
"""bytes of boot code in an MBR"""
GRUB_KERNEL_SECTOR_AT = 0x5C
REMOVABLE = {
    "BOOTX64.EFI": "x86_64",
    "BOOTIA32.EFI": "i686",
    "BOOTAA64.EFI": "aarch64",
    "BOOTARM.EFI": "armv7l",
    "BOOTRISCV64.EFI": "riscv64",
    "BOOTLOONGARCH64.EFI": "loongarch64",
}
"""the programs that firmware starts when it has been told of none, by architecture"""
MAX_VENDORS = 50
"""folders below EFI that are looked into"""
_GRUB, _GRUB_LEGACY, UNKNOWN_CODE = "GRUB", "GRUB Legacy", "unknown boot code"
_CODES = (
    (b"Geom\0Hard Disk\0Read\0 Error", _GRUB),
    (b"stage1", _GRUB_LEGACY),
    (b"LILO", "LILO"),
    (b"Missing operating system.", "SYSLINUX"),
    (b"Missing OS", "SYSLINUX"),
    (b"Invalid partition table", "Windows"),
    (b"isolinux.bin", "isohybrid"),
    (b"This is not a bootable disk", None),
)
_NEED_ACTIVE = ("SYSLINUX", "Windows")
"""loaders that go on with the active partition"""


@dataclasses.dataclass
class Firmware:
    """What a disk boots with."""

    value: str | None
    """``bios``, ``uefi`` or ``both``; None: neither, as far as one can see"""
    bios: str | None
    """the boot code that the BIOS starts: ``GRUB``, ``SYSLINUX``, …"""
    uefi: list[str]
    """the programs that UEFI starts by itself, as ``vda1:EFI/BOOT/BOOTX64.EFI``"""
    uefi_architectures: list[str]
    reasons: list[str]
    """how the value was come to, in plain words"""
    vendor_only: list[str]
    """loaders on the system partition that only entries in the firmware's memory lead to: folders below EFI"""
    inactive: bool
    """the boot code needs an active partition, and there is none"""


def examine_firmware(disk: Storage, table: PartitionTable | None, volumes: t.Sequence[GuestVolume]) -> Firmware:
    """What a disk boots with.

    :raises ImageError: the first sector cannot be read
    """
    found = Firmware(None, None, [], [], [], [], False)
    _bios(disk, table, volumes, found)
    for volume in volumes:
        if volume.filesystem is not None and volume.filesystem.signature.type == "vfat":
            _uefi(volume, volume.filesystem, found)
    if not found.uefi:
        found.reasons.append("no program that UEFI starts by itself (EFI/BOOT/BOOT….EFI)")
    found.value = BOTH if found.bios and found.uefi else BIOS if found.bios else UEFI if found.uefi else None
    return found


def _bios(disk: Storage, table: PartitionTable | None, volumes: t.Sequence[GuestVolume], found: Firmware) -> None:
    head = disk.read_at(0, SECTOR)
    if len(head) < SECTOR or head[510:] != b"\x55\xaa":
        found.reasons.append("the first sector is no boot sector")
        return
    if not head[:CODE].strip(b"\0"):
        found.reasons.append("the first sector has no boot code")
        return
    if table is None and volumes and volumes[0].signature is not None and volumes[0].signature.type in ("vfat", "ntfs", "exfat"):
        found.reasons.append("the first sector is that of a file system")
        return
    loader = next((name for text, name in _CODES if text in head), _GRUB if b"GRUB" in head else UNKNOWN_CODE)
    if loader is None:
        found.reasons.append("the boot code of the first sector only says that the disk does not boot")
        return
    if loader == _GRUB and not _has_core(disk, head):
        found.reasons.append("GRUB's first sector is there, but not what it loads")
        return
    bootable = table is not None and any(partition.bootable for partition in [*table.partitions, *table.mbr_partitions])
    found.inactive = table is not None and loader in _NEED_ACTIVE and not bootable
    if found.inactive:
        found.reasons.append(f"the boot code ({loader}) goes on with the active partition, and there is none")
        return
    found.bios = loader
    found.reasons.append(f"boot code in the first sector: {loader}")
    if table is not None and table.label == "gpt" and loader == _GRUB:
        boot = next((volume.name for volume in volumes if volume.partition_type == BIOS_BOOT_TYPE), None)
        found.reasons.append(f"GRUB's second part in the BIOS boot partition {boot}" if boot else "no BIOS boot partition that keeps GRUB's second part")


def _has_core(disk: Storage, head: bytes) -> bool:
    """Whether there is anything at the place from which GRUB's first sector loads the second part."""
    sector = int.from_bytes(head[GRUB_KERNEL_SECTOR_AT : GRUB_KERNEL_SECTOR_AT + 8], "little")
    try:
        return bool(disk.read_at(sector * SECTOR, SECTOR).strip(b"\0"))
    except ImageError:
        return False


def _uefi(volume: GuestVolume, filesystem: Filesystem, found: Firmware) -> None:
    tree = Tree(filesystem, name=volume.name)
    try:
        names = {name.upper(): name for name in tree.names("/EFI/BOOT")}
        programs = [(f"EFI/BOOT/{names[name]}", architecture) for name, architecture in REMOVABLE.items() if name in names]
        folders = [name for name in tree.names("/EFI")[:MAX_VENDORS] if name.upper() != "BOOT"]
        others = [name for name in folders if any(file.upper().endswith(".EFI") for file in tree.names(f"/EFI/{name}"))]
    except ImageError as error:
        found.reasons.append(f"the programs for UEFI on {volume.name} cannot be listed: {error.message}")
        return
    for path, architecture in programs:
        found.uefi.append(f"{volume.name}:{path}")
        found.uefi_architectures.append(architecture)
        found.reasons.append(f"a program for UEFI of {architecture}: {path} on {volume.name}")
        if volume.partition_type is not None and volume.partition_type not in ESP_TYPES:
            found.reasons.append(f"{volume.name} has not the type of an EFI system partition, which most firmware does not mind")
    if not programs:
        found.vendor_only += others
