# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""From a system's hardware to OpenStack image properties: only what is known, each with what it is known from.

The names and values are Nova's (nova/objects/fields.py: DiskBus, SCSIModel, VIFModel, FirmwareType; Glance's metadefs).
"""

from __future__ import annotations

import typing as t

from ..packages.disks import PackageDisk
from ..packages.model import System
from ..packages.ovf.hardware import Adapter

_DISK_BUSES = ("ide", "scsi", "sata", "virtio")
"""Nova has no NVMe"""
_SCSI_MODELS = {
    "lsilogic": "lsilogic",
    "lsilogicsas": "lsisas1068",
    "buslogic": "buslogic",
    "pvscsi": "vmpvscsi",
    "virtio-scsi": "virtio-scsi",
}
_VIF_MODELS = {
    "e1000": "e1000",
    "e1000e": "e1000e",
    "pcnet32": "pcnet",
    "vmxnet3": "vmxnet3",
    "flexible": "pcnet",
    "virtio": "virtio",
}
# oVirt writes numbers (VmInterfaceType).
_OVIRT_VIF_MODELS = {"1": "rtl8139", "2": "e1000", "3": "virtio", "6": "e1000e"}


def proposed_properties(system: System, disks: list[PackageDisk], writer: str | None) -> dict[str, dict[str, t.Any]]:
    """Image properties that keep the guest's hardware as its descriptor has it.

    :param disks: the system's, in boot order: an instance has one kind of bus in Nova, so the boot disk's is proposed
    :param writer: the package's
    :return: property → ``value`` and ``source``, the part of the descriptor that says so
    """
    found: dict[str, dict[str, t.Any]] = {}

    def propose(name: str, value: str | None, source: str) -> None:
        if value is not None:
            found[name] = {"value": value, "source": source}

    if disks and disks[0].bus in _DISK_BUSES:
        source = f"controller of the boot disk ({disks[0].controller or disks[0].bus})"
        propose("hw_disk_bus", disks[0].bus, source)
        propose("hw_scsi_model", _SCSI_MODELS.get(disks[0].controller or "") if disks[0].bus == "scsi" else None, source)
    adapters = system.hardware.adapters
    propose("hw_vif_model", _vif_model(adapters, _OVIRT_VIF_MODELS if writer == "oVirt" else _VIF_MODELS), "ResourceSubType of the network adapters")
    propose("hw_firmware_type", system.firmware, "firmware of the virtual hardware")
    propose("os_secure_boot", "required" if system.firmware == "uefi" and system.secure_boot else None, "secure boot of the virtual hardware")
    source = f"{system.os.source} of the operating system ({system.os.confidence} confidence)"
    propose("architecture", system.os.architecture, source)
    propose("os_type", system.os.type, source)
    propose("os_distro", system.os.distro, source)
    return found


def _vif_model(adapters: list[Adapter], known: t.Mapping[str, str]) -> str | None:
    """The model of all adapters; none where they differ, or one is not known to Nova."""
    models = {next((known[name] for name in adapter.models if name in known), None) for adapter in adapters}
    return models.pop() if len(models) == 1 else None
