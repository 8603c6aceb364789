# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""VirtualBox's own description of a machine, ``vbox:Machine``, which it adds to the OVF: a second source.

Source: VirtualBox's settings file (VirtualBox-settings.xsd), of which it is a part: StorageControllers, Hardware.
"""

from __future__ import annotations

import typing as t

from .addresses import mac_address
from .hardware import Controller, Hardware, in_boot_order
from .units import integer
from .xml import Element

# StorageController's type → (bus, model), the words of hardware.py.
_CONTROLLERS = {
    "piix3": ("ide", "piix3"),
    "piix4": ("ide", "piix4"),
    "ich6": ("ide", "ich6"),
    "ahci": ("sata", "ahci"),
    "lsilogic": ("scsi", "lsilogic"),
    "lsilogicsas": ("scsi", "lsilogicsas"),
    "buslogic": ("scsi", "buslogic"),
    "virtioscsi": ("scsi", "virtio-scsi"),
    "nvme": ("nvme", "nvme"),
}
_ADAPTERS = {
    "am79c970a": "pcnet32",
    "am79c973": "pcnet32",
    "am79c960": "pcnet32",
    "82540em": "e1000",
    "82543gc": "e1000",
    "82545em": "e1000",
    "virtio": "virtio",
}
_TPM_VERSIONS = {"v1_2": "1.2", "v2_0": "2.0"}


def complete(found: Hardware, system: Element, uuids: t.Mapping[str, str]) -> None:
    """Add to the hardware of a system what its Items do not say: controllers of disks, adapters' models and addresses, the TPM.

    :param uuids: DiskSection/Disk's id → VirtualBox's id of the medium
    """
    machine = system.find("Machine")
    if machine is None:
        return
    hardware = machine.find("Hardware")
    places = _places(machine, hardware)
    for drive in found.drives:
        place = places.get(uuids.get(drive.reference, ""))
        if drive.controller is None and place is not None:
            drive.controller, drive.address = place
    found.drives = in_boot_order(found.drives)
    if hardware is None:
        return
    # VirtualBox writes an Item for each adapter that is on.
    adapters = [child for part in hardware.find_all("Network") for child in part.find_all("Adapter") if child.get("enabled") == "true"]
    if len(adapters) == len(found.adapters):
        for adapter, said in zip(found.adapters, adapters):
            model = _ADAPTERS.get(said.get("type").lower())
            adapter.models = adapter.models or ([model] if model else [])
            adapter.mac = adapter.mac or mac_address(said.get("MACAddress"))
    tpm = hardware.find("TrustedPlatformModule")
    kind = tpm.get("type").lower() if tpm is not None else "none"
    if kind not in ("", "none"):
        found.tpm, found.tpm_version = True, _TPM_VERSIONS.get(kind)


def _places(machine: Element, hardware: Element | None) -> dict[str, tuple[Controller, int]]:
    """Controller and address of each hard disk, by its UUID. In VirtualBox 7 the controllers are part of the hardware."""
    found: dict[str, tuple[Controller, int]] = {}
    parents = [part for part in (machine, hardware) if part is not None]
    controllers = [child for parent in parents for group in parent.find_all("StorageControllers") for child in group.find_all("StorageController")]
    for order, element in enumerate(controllers):
        bus, model = _CONTROLLERS.get(element.get("type").lower(), (None, None))
        controller = Controller(bus, model, order, order)
        for device in element.find_all("AttachedDevice"):
            image = device.find("Image")
            if image is not None and device.get("type") == "HardDisk":
                address = 2 * (integer(device.get("port")) or 0) + (integer(device.get("device")) or 0) if bus == "ide" else integer(device.get("port")) or 0
                found.setdefault(medium_id(image.get("uuid")), (controller, address))
    return found


def medium_id(text: str) -> str:
    """A UUID as it stands in DiskSection: without the braces of the settings."""
    return text.strip().strip("{}").lower()
