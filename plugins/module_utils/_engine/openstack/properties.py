# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""From a system's hardware to OpenStack image properties: only what is known, each with what it is known from.

Sources: Nova's values (vocabulary.py) and what its libvirt driver does with them: nova/virt/libvirt/blockinfo.py, vif.py and
driver.py (secure boot needs q35 on x86_64, a TPM of model CRB needs version 2.0).
"""

from __future__ import annotations

import typing as t

from ..packages.ovf.guest import HIGH, LOW, MEDIUM
from ..packages.ovf.hardware import Adapter
from ..packages.ovf.platform import I440FX, Q35
from .proposals import Proposals

if t.TYPE_CHECKING:  # pragma: no cover
    from ..packages.disks import PackageDisk
    from ..packages.model import System

DISK_BUSES = ("ide", "scsi", "sata", "virtio")
"""Nova has no NVMe"""
SCSI_MODELS = {
    "lsilogic": "lsilogic",
    "lsilogicsas": "lsisas1068",
    "pvscsi": "vmpvscsi",
    "virtio-scsi": "virtio-scsi",
}
"""Nova has BusLogic's, too, but QEMU has no such controller, and an instance that asks for it does not start"""
VIF_MODELS = {
    "e1000": "e1000",
    "e1000e": "e1000e",
    "pcnet32": "pcnet",
    "vmxnet3": "vmxnet3",
    "flexible": "pcnet",
    "virtio": "virtio",
}
"""Nova has vmxnet and sriov, too, but not where QEMU runs the instance"""
OVIRT_VIF_MODELS = {"1": "rtl8139", "2": "e1000", "3": "virtio", "4": "spapr-vlan", "6": "e1000e"}
"""numbers of oVirt's VmInterfaceType"""
MACHINES = {Q35: "q35", I440FX: "pc"}


def hardware_proposals(system: System, disks: list[PackageDisk], writer: str | None, *, qemu: bool = True) -> Proposals:
    """Image properties that keep the guest's hardware as its descriptor has it, and notes on what of it no property keeps, or only in another way.

    :param disks: the system's, in boot order: an instance has one kind of bus in Nova, so the boot disk's is proposed
    :param writer: the package's
    :param qemu: whether QEMU is to run it: another bus is proposed instead of one that it has not, or does not boot from
    """
    proposals = _HardwareProposals(system, disks, writer)
    if qemu:
        proposals.replace_ide()
        proposals.replace_scsi()
    return proposals


class _HardwareProposals(Proposals):
    def __init__(self, system: System, disks: list[PackageDisk], writer: str | None) -> None:
        super().__init__()
        self._system = system
        self._machine()
        self._buses(disks)
        self._adapters(system.hardware.adapters, OVIRT_VIF_MODELS if writer == "oVirt" else VIF_MODELS)
        self._processors()
        self._tpm()
        self._guest()

    def _machine(self) -> None:
        """Firmware and what it needs: x86_64's secure boot only works on q35, and aarch64 only has ``virt``."""
        system = self._system
        self.propose("hw_firmware_type", system.firmware, "firmware of the virtual hardware", HIGH)
        if system.firmware == "uefi" and system.secure_boot:
            self.propose("os_secure_boot", "required", "secure boot of the virtual hardware", HIGH)
        if system.os.architecture == "aarch64":
            self.propose("hw_machine_type", "virt", f"{system.os.source} of the operating system: aarch64", system.os.confidence)
        elif system.os.architecture not in (None, "x86_64"):
            return
        elif system.chipset in MACHINES:
            self.propose("hw_machine_type", MACHINES[system.chipset], "chipset of the virtual hardware", HIGH)
        elif system.firmware == "uefi":
            confidence = MEDIUM if system.os.architecture else LOW
            self.propose("hw_machine_type", "q35", "firmware of the virtual hardware: UEFI", confidence)

    def _buses(self, disks: list[PackageDisk]) -> None:
        if disks and disks[0].bus is not None:
            boot = disks[0]
            source = f"controller of the boot disk ({boot.controller or boot.bus})"
            self._bus("hw_disk_bus", boot.bus, source)
            if boot.bus == "scsi":
                self.propose("hw_scsi_model", SCSI_MODELS.get(boot.controller or ""), source, HIGH)
            if boot.controller == "buslogic":
                self.note("no_buslogic", "the boot disk is on a BusLogic controller, which QEMU does not have; hw_scsi_model is left out")
        others = sorted({disk.bus for disk in disks[1:] if disk.bus} - {disks[0].bus}) if disks else []
        if others:
            self.note("several_buses", f"an instance has one kind of disk bus: the disks on {', '.join(others)} will be on the boot disk's")
        cdrom = next((drive for drive in self._system.hardware.removable if drive.device == "cdrom" and drive.controller is not None), None)
        if cdrom is not None and cdrom.controller is not None and cdrom.controller.bus is not None:
            self._bus("hw_cdrom_bus", cdrom.controller.bus, f"controller of the CD drive ({cdrom.controller.model or cdrom.controller.bus})")

    def _bus(self, name: str, bus: str | None, source: str) -> None:
        if bus in DISK_BUSES:
            self.propose(name, bus, source, HIGH)
        else:
            self.note("no_such_bus", f"Nova has no {bus} bus; {name} is left out: set it to what the guest has drivers for, virtio or sata")

    def _adapters(self, adapters: list[Adapter], known: t.Mapping[str, str]) -> None:
        """The model of all adapters; none where they differ, or one is not known to Nova."""
        models = [next((known[name] for name in adapter.models if name in known), None) for adapter in adapters]
        unknown = sorted({" ".join(adapter.models) for adapter, model in zip(adapters, models) if adapter.models and model is None})
        if unknown:
            self.note("no_vif_model", f"no model of Nova's, on QEMU, is {', '.join(unknown[:5])}; hw_vif_model is left out")
        elif len(set(models)) > 1:
            self.note("several_vif_models", "the network adapters are of several models, and an instance has one; hw_vif_model is left out")
        elif models:
            self.propose("hw_vif_model", models[0], "ResourceSubType of the network adapters", HIGH)

    def _processors(self) -> None:
        hardware = self._system.hardware
        for name, count in (("hw_cpu_sockets", hardware.cpu_sockets), ("hw_cpu_cores", hardware.cpu_cores), ("hw_cpu_threads", hardware.cpu_threads)):
            if count is not None:
                self.propose(name, str(count), "processors of the virtual hardware", HIGH)

    def _tpm(self) -> None:
        hardware = self._system.hardware
        if not hardware.tpm:
            return
        self.note("tpm_state_is_lost", "the virtual machine has a TPM; what is sealed in it, as the key of an encrypted disk, does not travel")
        version = hardware.tpm_version
        if version is not None:
            # QEMU has the CRB interface on x86 alone.
            model = "tpm-crb" if version == "2.0" and self._system.os.architecture != "aarch64" else "tpm-tis"
            self.propose("hw_tpm_version", version, "TPM of the virtual hardware", HIGH)
            self.propose("hw_tpm_model", model, "TPM of the virtual hardware", MEDIUM)

    def _guest(self) -> None:
        guest = self._system.os
        source = f"{guest.source} of the operating system ({guest.confidence} confidence)"
        self.propose("architecture", guest.architecture, source, guest.confidence)
        self.propose("os_type", guest.type, source, guest.confidence)
        self.propose("os_distro", guest.distro, source, guest.confidence)
        self.propose("os_version", guest.version, source, guest.confidence)
