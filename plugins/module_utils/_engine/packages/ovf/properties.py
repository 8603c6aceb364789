# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""From a system's hardware to OpenStack image properties: only what is known, each with what it is known from.

The names and values are Nova's (nova/objects/fields.py: DiskBus, SCSIModel, VIFModel, FirmwareType; Glance's metadefs).
"""

from __future__ import annotations

import typing as t

from .envelope import Envelope, System, disk_controllers
from .hardware import Adapter

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


def proposed_properties(envelope: Envelope, system: System) -> dict[str, dict[str, t.Any]]:
    """Image properties that keep the guest's hardware as its descriptor has it.

    :return: property → ``value`` and ``source``, the part of the descriptor that says so
    """
    found: dict[str, dict[str, t.Any]] = {}

    def propose(name: str, value: str | None, source: str) -> None:
        if value is not None:
            found[name] = {"value": value, "source": source}

    propose("hw_disk_bus", *_disk_bus(envelope, system))
    propose("hw_scsi_model", *_scsi_model(envelope, system))
    propose("hw_vif_model", *_vif_model(system.hardware.adapters, _OVIRT_VIF_MODELS if envelope.writer == "oVirt" else _VIF_MODELS))
    propose("hw_firmware_type", system.firmware, "firmware in VirtualHardwareSection")
    if system.firmware == "uefi" and system.secure_boot:
        propose("os_secure_boot", "required", "secure boot in VirtualHardwareSection")
    operating_system = system.os
    source = f"{operating_system.source} in OperatingSystemSection"
    propose("architecture", operating_system.architecture, source)
    propose("os_type", operating_system.type, source)
    propose("os_distro", operating_system.distro, source)
    return found


def _disk_bus(envelope: Envelope, system: System) -> tuple[str | None, str]:
    """All disks of an instance hang on one kind of bus in Nova: the boot disk's is proposed."""
    controllers = disk_controllers(envelope, system)
    first = controllers[0] if controllers else None
    bus = first.bus if first is not None and first.bus in _DISK_BUSES else None
    return bus, f"controller {first.model or first.bus} of the boot disk" if first is not None else ""


def _scsi_model(envelope: Envelope, system: System) -> tuple[str | None, str]:
    controllers = disk_controllers(envelope, system)
    first = controllers[0] if controllers else None
    if first is None or first.bus != "scsi":
        return None, ""
    return _SCSI_MODELS.get(first.model or ""), f"controller {first.model} of the boot disk"


def _vif_model(adapters: list[Adapter], known: t.Mapping[str, str]) -> tuple[str | None, str]:
    """The model of all adapters; none where they differ, or one is not known to Nova."""
    models = {next((known[name] for name in adapter.models if name in known), None) for adapter in adapters}
    only = models.pop() if len(models) == 1 else None
    return only, f"ResourceSubType of {len(adapters)} network adapter{'s' if len(adapters) > 1 else ''}"
