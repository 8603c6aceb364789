# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""From what is installed on a disk to OpenStack image properties: only what a new instance would not have by itself.

Sources: Nova's libvirt driver (virtio is the default bus of disks and model of network cards; BIOS is the default firmware on x86, UEFI on
aarch64, which has the machine type ``virt``; blockinfo.py and designer.py on buses and controllers); Glance's "Useful image properties".
"""

from __future__ import annotations

import typing as t

from ..errors import ImageError
from ..guest.cloud import CLOUD_CFG
from ..guest.drivers import EARLY, MISSING, UNKNOWN
from ..guest.firmware import BIOS, UEFI, UNKNOWN_CODE
from ..packages.ovf.guest import HIGH, LOW, MEDIUM
from .proposals import Proposals, applied
from .vocabulary import objection

if t.TYPE_CHECKING:  # pragma: no cover
    from ..guest.guest import Guest
    from ..guest.system import System

VIRTIO = ("virtio", None)
DISK_DRIVERS: dict[tuple[str, str | None], tuple[str, ...]] = {
    VIRTIO: ("virtio_blk", "virtio_pci"),
    ("scsi", "virtio-scsi"): ("virtio_scsi", "virtio_pci"),
    ("sata", None): ("ahci",),
    ("scsi", "vmpvscsi"): ("vmw_pvscsi",),
    ("scsi", "lsilogic"): ("mptspi",),
    ("scsi", "lsisas1068"): ("mptsas",),
    ("ide", None): ("ata_piix",),
}
"""hw_disk_bus and hw_scsi_model → the modules without which the guest finds no disk there, the best first"""
CARD_DRIVERS = {"virtio": "virtio_net", "e1000e": "e1000e", "e1000": "e1000", "rtl8139": "8139cp", "vmxnet3": "vmxnet3"}
"""hw_vif_model → module, the best first"""
MAX_VALUE = 255
"""characters of a text that is taken from a guest"""
AGENT = "hw_qemu_guest_agent"
_X86 = ("x86_64", "i686")


def system_properties(guest: Guest) -> dict[str, str]:
    """What holds of a system whatever it is booted by: nothing about firmware, and drivers that another kernel may have."""
    return {name: value for name, value in applied(GuestProposals(guest).found).items() if name.startswith("os_") or name == AGENT}


class GuestProposals(Proposals):
    """What a guest says of itself.

    :param guest: what is installed on a disk
    """

    def __init__(self, guest: Guest) -> None:
        super().__init__()
        self._system = guest.system
        self._os(guest)
        self._architecture(guest)
        self._firmware(guest)
        self._machine()
        if guest.system is None:
            self._no_system(guest)
        else:
            self._disk(guest.system)
            self._card(guest.system)
            self._preparation(guest.system)

    def finds_disk(self, bus: str, model: str | None) -> bool | None:
        """Whether the guest's kernel finds its disk on a bus; None where that is not known."""
        modules = DISK_DRIVERS.get((bus, model))
        drivers = self._system.drivers if self._system is not None else None
        if modules is None or drivers is None or self.value("architecture") not in _X86:
            return None
        late = {drivers.status[module] for module in modules if not drivers.early(module)}
        if not late:
            return True
        if UNKNOWN in late:
            return None
        # As long as the drivers for virtio are found, a ramdisk is not looked through for others.
        searched = set(modules) <= set(EARLY) or not all(drivers.early(module) for module in DISK_DRIVERS[VIRTIO])
        return False if searched or MISSING in late else None

    def has_card(self, model: str) -> bool | None:
        """Whether the guest has a driver for a network card; None where that is not known."""
        system, module = self._system, CARD_DRIVERS.get(model)
        if module is None or system is None or system.drivers is None or system.kernel is None or system.kernel.modules is None:
            return None
        status = system.drivers.status[module]
        return None if status == UNKNOWN else status != MISSING

    def _no_system(self, guest: Guest) -> None:
        try:
            guest.require_system()
        except ImageError as error:
            self.note("no_system", f"what the guest says of itself is not known: {error.message}")

    def _os(self, guest: Guest) -> None:
        if guest.os is None:
            return
        source = f"{guest.os.source} in the guest"
        for name, value in (("os_type", guest.os.type), ("os_distro", guest.os.distro), ("os_version", guest.os.version)):
            if value is not None and len(value) <= MAX_VALUE:
                self.propose(name, value, source, guest.os.confidence)

    def _architecture(self, guest: Guest) -> None:
        """The kernel's, which may be for a larger processor than the programs; else theirs; else that of the loader for UEFI."""
        system = guest.system
        if system is not None and system.kernel is not None and system.kernel.kernel.architecture is not None:
            value, source, confidence = system.kernel.kernel.architecture, f"the kernel {system.kernel.path} in the guest", HIGH
        elif system is not None and system.architecture is not None:
            value, source, confidence = system.architecture.value, f"{system.architecture.source} in the guest", HIGH
        elif len(set(guest.firmware.uefi_architectures)) == 1 and guest.firmware.uefi_architectures[0] != "i686":
            value, source, confidence = guest.firmware.uefi_architectures[0], guest.firmware.uefi[0], MEDIUM
        else:
            return
        if objection("architecture", value) is None:
            self.propose("architecture", value, source, confidence)
        else:
            self.note("no_architecture", f"Nova has no name for the architecture {value} ({source}); architecture is left out")

    def _firmware(self, guest: Guest) -> None:
        """The one that boots the disk; nothing where both do."""
        firmware, architecture = guest.firmware, self.value("architecture")
        if firmware.value == UEFI and architecture in (None, *firmware.uefi_architectures):
            self.propose("hw_firmware_type", "uefi", f"{firmware.uefi[0]}, and no boot code that a BIOS starts", HIGH)
        elif firmware.value == BIOS and architecture in (None, *_X86):
            confidence = LOW if firmware.bios == UNKNOWN_CODE else MEDIUM if firmware.vendor_only else HIGH
            self.propose("hw_firmware_type", "bios", f"boot code in the first sector ({firmware.bios}), and no program that UEFI starts by itself", confidence)

    def _machine(self) -> None:
        architecture = self.found.get("architecture")
        if architecture is None:
            return
        if architecture["value"] == "aarch64":
            self.propose("hw_machine_type", "virt", f"{architecture['source']}: aarch64", architecture["confidence"])
        elif architecture["value"] == "x86_64" and self.value("hw_firmware_type") == "uefi":
            self.propose("hw_machine_type", "q35", "the guest boots with UEFI only", MEDIUM)

    def _disk(self, system: System) -> None:
        """Nothing for virtio, which Nova takes by itself; else the best bus that the kernel that boots by default has a driver for."""
        if system.drivers is None or self.finds_disk(*VIRTIO) is not False:
            return
        source = f"the drivers in {system.drivers.sources[-1] if system.drivers.sources else 'the kernel'} in the guest"
        for kind in DISK_DRIVERS:
            bus, model = kind
            if self.finds_disk(bus, model) and not (bus == "ide" and self.value("hw_machine_type") == "q35"):
                self.propose("hw_disk_bus", bus, f"{source}: none for disks on virtio", MEDIUM)
                self.propose("hw_scsi_model", model, source, MEDIUM)
                return

    def _card(self, system: System) -> None:
        if self.has_card("virtio") is False and system.kernel is not None:
            model = next((model for model in CARD_DRIVERS if self.has_card(model)), None)
            self.propose("hw_vif_model", model, f"the drivers in {system.kernel.modules} in the guest: none for virtio", MEDIUM)

    def _preparation(self, system: System) -> None:
        found = system.preparation
        if found.cloud_init is not None and not found.cloud_init_disabled:
            self.propose("os_admin_user", found.admin_user, f"default_user in {CLOUD_CFG} in the guest", MEDIUM)
        if found.guest_agent is not None:
            self.propose(AGENT, "yes", f"{found.guest_agent} in the guest", HIGH)
