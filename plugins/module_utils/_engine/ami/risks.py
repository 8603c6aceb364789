# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What an AMI lacks that its guest counts on, and which of a disk's risks do not concern it."""

from __future__ import annotations

from ..errors import printable
from ..guest.drivers import BUILTIN, UNKNOWN
from ..guest.guest import Guest
from ..guest.kernel import Kernel
from ..guest.kernels import InstalledKernel, modules_folder
from ..guest.risk import ERROR, NOTE, WARNING, Risk
from ..guest.system import System

OF_THE_DISK = frozenset(
    {
        "bios_only",
        "uefi_only",
        "no_active_partition",
        "no_boot_code",
        "no_removable_loader",
        "loader_architecture",
        "no_partition_table",
        "no_root_option",
        "root_not_found",
        "root_by_device",
        "no_serial_console",
        "lvm_root",
        "resume_not_found",
        "several_systems",
        "no_grow_root",
        "separate_usr",
    }
)
"""codes of risks that lie in how the disk is booted, or in its partitions"""
_OF_THE_KERNEL = ("kernel", "no_kernel", "no_boot_entry", "initramfs", "no_virtio", "virtio", "no_root_driver", "no_modules")
"""how the codes of risks begin that are about the guest's own kernel and ramdisk"""
_OF_THE_RAMDISK = ("initramfs", "no_virtio", "virtio", "no_root_driver")
"""of these, those that are about drivers that a ramdisk brings"""
_NEEDED = ("/usr", "/var", "/etc")


def trio_risks(guest: Guest, system: System, kernel: Kernel, installed: InstalledKernel | None, ramdisk: bool) -> list[Risk]:
    """The risks of booting the three: the guest's own that still count, and those of a file system without its disk.

    :param kernel: that was taken
    :param installed: the same as one of the guest's; None: it is none of them
    :param ramdisk: there is one
    """
    own = installed is not None and installed is system.kernel
    gone = () if own and ramdisk else _OF_THE_RAMDISK if own else _OF_THE_KERNEL
    found = [risk for risk in guest.risks if risk.code not in OF_THE_DISK and not risk.code.startswith(gone)]
    if own:
        found += [] if ramdisk else _without_ramdisk(system)
    elif kernel.version is not None and modules_folder(system.files, kernel.version) is None:
        found.append(Risk("no_modules", WARNING, f"the modules of the kernel {kernel.version} are not installed", f"/lib/modules/{kernel.version}"))
    for line in system.mounts.fstab:
        volume = system.mounts.found.get(line.line)
        if volume is None or volume is system.root.volume or line.path == "/" or "noauto" in line.options:
            continue
        source = f"/etc/fstab, line {line.line}"
        text = f"{printable(line.path)} lies on {volume.name}, which is not in the image"
        if line.path in _NEEDED:
            found.append(Risk("needed_volume_left_out", ERROR, f"{text}: the system does not start without it", source))
        elif line.type == "swap":
            found.append(Risk("swap_left_out", NOTE, f"the swap space {volume.name} is not in the image: the guest waits for it, then starts without", source))
        elif "nofail" in line.options:
            found.append(Risk("volume_left_out", NOTE, f"{text}; the guest starts without it, as it has the option nofail", source))
        else:
            found.append(Risk("volume_left_out", WARNING, f"{text}: the guest stops in its emergency mode, unless the line gets the option nofail", source))
    if not ramdisk and system.root.filesystem.signature.type == "btrfs" and system.root.subvolume is not None:
        found.append(Risk("subvolume_without_ramdisk", WARNING, "the kernel mounts the subvolume by rootflags=subvol= only if btrfs is built into it", None))
    return found


def _without_ramdisk(system: System) -> list[Risk]:
    """Of the guest's default kernel: what its ramdisk would have brought."""
    kind = system.root.filesystem.signature.type
    status = system.drivers.status if system.drivers is not None else {}
    bus = [] if system.architecture is not None and system.architecture.value == "s390x" else ["virtio_pci"]
    missing = [module for module in ("virtio_blk", *bus, kind) if status.get(module, BUILTIN) not in (BUILTIN, UNKNOWN)]
    if not missing:
        return []
    text = f"there is no ramdisk, and not built into the kernel is what it needs to find its root file system: {', '.join(missing)}"
    return [Risk("no_root_driver", ERROR, text, system.kernel.path if system.kernel is not None else None)]
