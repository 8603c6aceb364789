# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The image properties that Nova reads, and the values that it takes. Glance stores any, so that a typing error stays unseen.

Source: Nova (August 2026), nova/objects/image_meta.py (ImageMetaProps, version 1.43) and nova/objects/fields.py; os_version: Glance's
metadefs.
"""

from __future__ import annotations

import re
import typing as t

from ..errors import InvalidImage, printable

_INTEGER = re.compile(r"[0-9]{1,9}", re.ASCII)
_BOOLEANS = ("true", "false", "yes", "no", "on", "off", "1", "0", "t", "f", "y", "n")

_BUSES = ("fdc", "ide", "sata", "scsi", "usb", "virtio", "xen", "lxc", "uml")
_MACHINES = ("hvm", "xen", "uml", "exe")
_ARCHITECTURES = (
    *"aarch64 alpha armv6 armv7b armv7l cris i686 ia64 lm32 m68k microblaze microblazeel mips mips64 mips64el mipsel openrisc parisc".split(),
    *"parisc64 ppc ppc64 ppc64le ppcemb ppcle s390 s390x sh4 sh4eb sparc sparc64 unicore32 x86_64 xtensa xtensaeb".split(),
)

ENUMERATIONS: dict[str, tuple[str, ...]] = {
    "architecture": _ARCHITECTURES,
    "hw_architecture": _ARCHITECTURES,
    "hw_cdrom_bus": _BUSES,
    "hw_cpu_policy": ("dedicated", "shared", "mixed"),
    "hw_cpu_thread_policy": ("prefer", "isolate", "require"),
    "hw_disk_bus": _BUSES,
    "hw_firmware_type": ("uefi", "bios"),
    "hw_floppy_bus": _BUSES,
    "hw_input_bus": ("usb", "virtio"),
    "hw_rescue_bus": _BUSES,
    "hw_rescue_device": ("cdrom", "disk", "floppy", "fs", "lun"),
    "hw_rng_model": ("virtio",),
    "hw_scsi_model": ("buslogic", "ibmvscsi", "lsilogic", "lsisas1068", "lsisas1078", "virtio-scsi", "vmpvscsi"),
    "hw_tpm_model": ("tpm-tis", "tpm-crb"),
    "hw_tpm_version": ("1.2", "2.0"),
    "hw_video_model": ("cirrus", "qxl", "vga", "vmvga", "xen", "virtio", "gop", "none", "bochs"),
    "hw_vif_model": (
        "virtio",
        "ne2k_pci",
        "pcnet",
        "rtl8139",
        "e1000",
        "e1000e",
        "netfront",
        "spapr-vlan",
        "lan9118",
        "sriov",
        "vmxnet",
        "vmxnet3",
        "igb",
    ),
    "hw_viommu_model": ("intel", "smmuv3", "virtio", "auto"),
    "hw_vm_mode": _MACHINES,
    "vm_mode": _MACHINES,
    "hw_watchdog_action": ("none", "pause", "poweroff", "reset", "disabled"),
    "img_config_drive": ("optional", "mandatory"),
    "os_secure_boot": ("required", "disabled", "optional"),
    "os_type": ("linux", "windows"),
}
"""property → all its values"""

INTEGERS = (
    "hw_cpu_cores",
    "hw_cpu_max_cores",
    "hw_cpu_max_sockets",
    "hw_cpu_max_threads",
    "hw_cpu_sockets",
    "hw_cpu_threads",
    "hw_numa_nodes",
    "hw_serial_port_count",
    "hw_video_ram",
)
BOOLEANS = (
    "hw_boot_menu",
    "hw_firmware_stateless",
    "hw_mem_encryption",
    "hw_pmu",
    "hw_qemu_guest_agent",
    "hw_time_hpet",
    "hw_vif_multiqueue_enabled",
    "hw_virtio_packed_ring",
    "os_require_quiesce",
)
TEXTS = ("hw_machine_type", "hw_mem_page_size", "os_admin_user", "os_command_line", "os_distro", "os_version")


def objection(name: str, value: str) -> str | None:
    """What is wrong with a property's value for Nova, as a sentence; None when it takes it.

    :param value: as Glance has it, a text
    """
    if name in ENUMERATIONS:
        return None if value in ENUMERATIONS[name] else f"{name} cannot be {printable(value)!r}, only {_any_of(ENUMERATIONS[name])}"
    if name in INTEGERS:
        return None if _INTEGER.fullmatch(value) else f"{name} is a number, which {printable(value)!r} is not"
    if name in BOOLEANS:
        return None if value.lower() in _BOOLEANS else f"{name} is true or false, which {printable(value)!r} is not"
    return None if name in TEXTS else f"{printable(name)} is no property that is known here"


def require_known(name: str, value: str) -> None:
    """Let pass what Nova takes.

    :raises InvalidImage: the property is not known, or it cannot have that value
    """
    reason = objection(name, value)
    if reason is not None:
        raise InvalidImage(reason)


def _any_of(values: t.Sequence[str]) -> str:
    return ", ".join(values[:-1]) + f" or {values[-1]}" if len(values) > 1 else values[0]
