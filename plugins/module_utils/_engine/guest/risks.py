# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What keeps a guest from booting, or from being a good citizen, in OpenStack with KVM; in plain words, with what to do about it."""

from __future__ import annotations

import typing as t

from ..volumes.table import PartitionTable
from .firmware import BIOS, UEFI, Firmware
from .osrelease import WINDOWS, OperatingSystem
from .risk import ERROR, NOTE, WARNING, Risk
from .risks_system import system_risks
from .roots import GuestVolume
from .system import System

_NO_PC = ("ppc64le", "ppc64", "s390x", "s390")
"""architectures whose firmware is neither BIOS nor UEFI"""


def find_risks(
    volumes: t.Sequence[GuestVolume],
    roots: t.Sequence[str],
    system: System | None,
    os: OperatingSystem | None,
    firmware: Firmware,
    table: PartitionTable | None,
) -> list[Risk]:
    """All risks, errors first.

    :param roots: names of the operating systems that were found
    """
    found = [*_volume_risks(volumes), *_root_risks(volumes, roots, system, os), *_firmware_risks(firmware, system, os, table)]
    if system is not None:
        found += system_risks(system, volumes)
    order = (ERROR, WARNING, NOTE)
    return sorted(found, key=lambda risk: order.index(risk.level))


def _volume_risks(volumes: t.Sequence[GuestVolume]) -> t.Iterator[Risk]:
    for volume in volumes:
        if volume.problem is not None:
            yield Risk("volume_unreadable", WARNING, f"{volume.name} cannot be read: {volume.problem}", volume.name)
        texts = [*volume.volume.warnings, *(volume.signature.warnings if volume.signature else ())]
        if volume.filesystem is not None:
            texts += [text for text in volume.filesystem.warnings if text not in texts]
        for text in texts:
            yield Risk("volume_not_clean", NOTE, f"{volume.name}: {text}", volume.name)


def _root_risks(volumes: t.Sequence[GuestVolume], roots: t.Sequence[str], system: System | None, os: OperatingSystem | None) -> t.Iterator[Risk]:
    locked = [volume.name for volume in volumes if volume.signature is not None and volume.signature.type in ("crypto_LUKS", "BitLocker")]
    if locked:
        level = NOTE if system is not None else ERROR
        yield Risk("encrypted", level, f"{', '.join(locked)} is encrypted: the guest asks for a passphrase on its console, and stands still", locked[0])
    if system is not None:
        return
    if len(roots) > 1:
        names = ", ".join(roots[:10])
        yield Risk("several_systems", ERROR, f"there are several operating systems on the disk ({names}): name the one that is meant", roots[0])
    elif os is not None and os.type == WINDOWS:
        text = "Windows: nothing is known of its drivers. Without virtio drivers in it, set hw_disk_bus and hw_vif_model to what it has drivers for"
        yield Risk("windows_drivers_unknown", WARNING, text, os.source)
    elif not locked:
        held = ", ".join(f"{volume.name}: {volume.signature.type if volume.signature else 'nothing known'}" for volume in volumes[:10])
        yield Risk("no_system", WARNING, f"no operating system was found on the disk ({held or 'it has no volumes'})", None)


def _firmware_risks(firmware: Firmware, system: System | None, os: OperatingSystem | None, table: PartitionTable | None) -> t.Iterator[Risk]:
    architecture = system.architecture.value if system is not None and system.architecture is not None else None
    if architecture in _NO_PC:
        return
    if firmware.inactive:
        yield Risk("no_active_partition", ERROR, "the boot code goes on with the active partition, and no partition is marked so", "first sector")
    if firmware.value is None and table is None:
        text = "a file system without a partition table: it only boots with a kernel (and a ramdisk) beside it, as an AMI does"
        yield Risk("no_partition_table", WARNING, text, "first sector")
    elif firmware.value is None and firmware.vendor_only:
        names = ", ".join(f"EFI/{name}" for name in firmware.vendor_only[:5])
        text = f"UEFI finds no loader by itself: there is only {names}, which entries in the firmware's memory lead to, and a new instance has none"
        yield Risk("no_removable_loader", ERROR, f"{text}. Install the loader as EFI/BOOT/BOOTX64.EFI, too (grub-install --removable)", "EFI system partition")
    elif firmware.value is None and not firmware.inactive:
        yield Risk("no_boot_code", ERROR, f"neither BIOS nor UEFI finds anything to start: {'; '.join(firmware.reasons)}", "first sector")
    elif firmware.value == UEFI:
        yield Risk("uefi_only", NOTE, "boots with UEFI only: set the image property hw_firmware_type=uefi, as Nova's default is BIOS", firmware.uefi[0])
    elif firmware.value == BIOS and architecture in ("aarch64", "riscv64", "loongarch64"):
        yield Risk("no_removable_loader", ERROR, f"a system for {architecture} needs UEFI, which finds no loader on the disk", "EFI system partition")
    elif firmware.value == BIOS:
        yield Risk("bios_only", NOTE, "boots with BIOS only: hw_firmware_type=uefi would keep it from booting", "first sector")
    if firmware.uefi_architectures and architecture is not None and architecture not in firmware.uefi_architectures:
        others = ", ".join(firmware.uefi_architectures)
        if not (architecture == "i686" and "x86_64" in firmware.uefi_architectures):
            yield Risk("loader_architecture", ERROR, f"the loader for UEFI is for {others}, the system for {architecture}", firmware.uefi[0])
