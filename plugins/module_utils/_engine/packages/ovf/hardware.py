# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The virtual hardware of a system: what its Items say of processors, memory, controllers, disks and networks.

Sources: DMTF DSP0243, "VirtualHardwareSection" and "Ranges on elements"; CIM_ResourceAllocationSettingData.ResourceType;
for elements of their own, ovirt-engine's OvfWriter and VMware's descriptors.
"""

from __future__ import annotations

import dataclasses
import re

from .addresses import adapter_mac, drive_place
from .units import amount, integer
from .xml import Element

PROCESSOR = 3
MEMORY = 4
IDE_CONTROLLER = 5
SCSI_CONTROLLER = 6
NETWORK = 10
FLOPPY = 14
CD = 15
DVD = 16
DISK = 17
STORAGE_EXTENT = 19
OTHER_STORAGE = 20
LOGICAL_DISK = 31

ITEMS = ("Item", "StorageItem", "EthernetPortItem")
_DISKS = (DISK, STORAGE_EXTENT, LOGICAL_DISK)
_REMOVABLE = {FLOPPY: "floppy", CD: "cdrom", DVD: "cdrom"}
_CONTROLLERS = (IDE_CONTROLLER, SCSI_CONTROLLER, OTHER_STORAGE)
_BUS = {IDE_CONTROLLER: "ide", SCSI_CONTROLLER: "scsi"}

# ResourceSubType → (bus, model); programs write lists of them, in which the first that is known counts.
_MODELS: dict[int, dict[str, tuple[str, str]]] = {
    IDE_CONTROLLER: {name: ("ide", name) for name in ("piix3", "piix4", "ich6")},
    SCSI_CONTROLLER: {
        "lsilogic": ("scsi", "lsilogic"),
        "lsilogicsas": ("scsi", "lsilogicsas"),
        "buslogic": ("scsi", "buslogic"),
        "virtualscsi": ("scsi", "pvscsi"),
        "pvscsi": ("scsi", "pvscsi"),
        "virtioscsi": ("scsi", "virtio-scsi"),
        "virtio-scsi": ("scsi", "virtio-scsi"),
    },
    OTHER_STORAGE: {
        "ahci": ("sata", "ahci"),
        "vmware.sata.ahci": ("sata", "ahci"),
        "nvme": ("nvme", "nvme"),
        "vmware.nvme.controller": ("nvme", "nvme"),
        "virtioscsi": ("scsi", "virtio-scsi"),
    },
}
_VIRTIO = ("virtio", "virtio")
"""Cisco and others: a paravirtual disk, whatever the type of the controller"""
_OVIRT_INTERFACES = {
    "virtio": ("virtio", "virtio"),
    "virtio_scsi": ("scsi", "virtio-scsi"),
    "ide": ("ide", None),
    "sata": ("sata", None),
}
_HOST_RESOURCE = re.compile(r"(?:ovf:)?/+(disk|file)/(.+)", re.DOTALL)
MAX_PROCESSORS = 1 << 16
"""a topology of more is no machine's"""
_LAST = 1 << 30


@dataclasses.dataclass
class Controller:
    """Something that disks hang on."""

    bus: str | None
    """ide, scsi, sata, nvme, virtio; None when the descriptor does not say"""
    model: str | None
    """lsilogic, lsilogicsas, buslogic, pvscsi, virtio-scsi, ahci, nvme, piix4 …"""
    address: int
    order: int


@dataclasses.dataclass
class Drive:
    """An attached disk, or a drive for removable media."""

    instance_id: str
    kind: str
    """``disk`` or ``file``: what ``reference`` names; empty when only the writer knows"""
    reference: str
    controller: Controller | None
    address: int | None
    """on the controller"""
    boot_index: int | None
    """position in an explicit boot order"""
    order: int
    device: str = "disk"
    """disk, cdrom or floppy"""
    group: int = 0
    """number of the controller, where a descriptor has no Item for it"""


@dataclasses.dataclass
class Adapter:
    """A network adapter."""

    models: list[str]
    """as written, lower case; alternatives in order of preference"""
    network: str | None
    mac: str | None = None
    """``00:11:22:33:44:55``"""


@dataclasses.dataclass
class Hardware:
    """All that was understood of a VirtualHardwareSection."""

    cpus: int | None = None
    """all that the guest sees"""
    cpu_sockets: int | None = None
    cpu_cores: int | None = None
    """of a socket; None, as the sockets, when the descriptor has no topology"""
    cpu_threads: int | None = None
    """of a core"""
    memory: int | None = None
    """bytes"""
    tpm: bool = False
    tpm_version: str | None = None
    """``1.2`` or ``2.0``"""
    drives: list[Drive] = dataclasses.field(default_factory=list)
    """disks in boot order"""
    removable: list[Drive] = dataclasses.field(default_factory=list)
    """drives for CDs, DVDs and floppy disks; what they hold is no disk of the system"""
    adapters: list[Adapter] = dataclasses.field(default_factory=list)


def read_hardware(section: Element, configuration: str | None, boot_order: dict[str, int], *, ovirt: bool) -> Hardware:
    """Fold the Items that are valid in a deployment configuration into hardware.

    :param section: VirtualHardwareSection
    :param configuration: id of the deployment configuration; None when the package has none
    :param boot_order: InstanceID → position in an explicit boot order (VMware)
    :param ovirt: oVirt wrote it: type 20 is a monitor there
    """
    found = Hardware()
    controllers: dict[str, Controller] = {}
    drives: list[tuple[Element, Drive]] = []
    for order, item in enumerate(_valid_items(section, configuration)):
        kind = integer(item.child_text("ResourceType")) or 0
        if kind == PROCESSOR and found.cpus is None:
            _processors(found, item)
        elif kind == MEMORY and found.memory is None:
            found.memory = _memory(item)
        elif kind in _CONTROLLERS and not (ovirt and kind == OTHER_STORAGE):
            # Where InstanceIDs repeat, the first keeps it.
            controllers.setdefault(instance_id(item), _controller(item, kind, order))
        elif kind in _DISKS or kind in _REMOVABLE:
            drives.append((item, _drive(item, _REMOVABLE.get(kind, "disk"), boot_order, order)))
        elif kind == NETWORK:
            found.adapters.append(Adapter(_subtypes(item), item.child_text("Connection") or None, adapter_mac(item)))
        elif _is_tpm(item):
            found.tpm, found.tpm_version = True, "2.0"
    for item, drive in drives:
        drive.controller = controllers.get(item.child_text("Parent"))
    found.drives = in_boot_order([drive for _item, drive in drives if drive.device == "disk"])
    found.removable = [drive for _item, drive in drives if drive.device != "disk"]
    return found


def instance_id(item: Element) -> str:
    """An Item's id; a string, as programs write GUIDs and placeholders, too."""
    return item.child_text("InstanceID", "InstanceId")


def ovirt_interface(name: str) -> Controller | None:
    """The controller that oVirt's ``disk-interface`` attribute means."""
    found = _OVIRT_INTERFACES.get(name.lower())
    return Controller(found[0], found[1], 0, 0) if found else None


def _valid_items(section: Element, configuration: str | None) -> list[Element]:
    """The Items without conditions, and those of the configuration, which replace them; bounds are not hardware."""
    common: list[Element] = []
    special: dict[tuple[str, str], list[Element]] = {}
    for item in section.find_all(*ITEMS):
        if item.get("bound") not in ("", "normal"):
            continue
        conditions = item.get("configuration").split()
        if not conditions:
            common.append(item)
        elif configuration in conditions:
            special.setdefault(_key(item), []).append(item)
    folded: list[Element] = []
    for item in common:
        folded += special.pop(_key(item), [item])
    for items in special.values():
        folded += items
    return folded


def _key(item: Element) -> tuple[str, str]:
    return instance_id(item), item.child_text("ResourceType")


def _processors(found: Hardware, item: Element) -> None:
    """OVF only counts them. VMware adds ``CoresPerSocket``; oVirt writes sockets, cores and threads instead of the count."""
    count = integer(item.child_text("VirtualQuantity"))
    sockets, cores = integer(item.child_text("num_of_sockets")), integer(item.child_text("cpu_per_socket", "CoresPerSocket"))
    threads = integer(item.child_text("threads_per_cpu"))
    if count and cores and not sockets and count % cores == 0:
        sockets = count // cores
    found.cpus = count or (sockets * cores * (threads or 1) if sockets and cores else None)
    if sockets and cores and found.cpus == sockets * cores * (threads or 1) <= MAX_PROCESSORS:
        found.cpu_sockets, found.cpu_cores, found.cpu_threads = sockets, cores, threads or None


def _memory(item: Element) -> int | None:
    """Bytes. OVF's default unit is the byte; who leaves the unit out means MiB, as no machine has 512 bytes."""
    return amount(item.child_text("VirtualQuantity"), item.child_text("AllocationUnits") or "MB") or None


def _subtypes(item: Element) -> list[str]:
    return [word.lower() for word in re.split(r"[,\s]+", item.child_text("ResourceSubType")) if word]


def _controller(item: Element, kind: int, order: int) -> Controller:
    address = integer(item.child_text("Address", "BusNumber"))
    bus, model = next(
        (_MODELS[kind].get(name, _VIRTIO) for name in _subtypes(item) if name in _MODELS[kind] or name == "virtio"),
        (_BUS.get(kind), None),
    )
    return Controller(bus, model, _LAST if address is None else address, order)


def _is_tpm(item: Element) -> bool:
    """VMware gives its TPM one ResourceType or another, but a name; oVirt gives it 0 and a type of its own. Both are TPM 2.0."""
    return item.child_text("ResourceSubType").lower() == "vmware.vtpm" or item.child_text("Type").lower() == "tpm"


def _drive(item: Element, device: str, boot_order: dict[str, int], order: int) -> Drive:
    match = _HOST_RESOURCE.fullmatch(item.child_text("HostResource"))
    kind, reference = (match[1], match[2].strip()) if match else ("", item.child_text("HostResource"))
    identity = instance_id(item)
    group, address = drive_place(item)
    boot_index = boot_order.get(identity)
    if boot_index is None:
        boot_index = integer(item.child_text("BootOrder")) or None  # oVirt: 0 is "not at all"
    return Drive(identity, kind, reference, None, address, boot_index, order, device, group)


def in_boot_order(drives: list[Drive]) -> list[Drive]:
    """Explicit order first; then as firmware looks: by bus as the buses come in the descriptor, controller, address."""
    first_of_bus: dict[str | None, int] = {}
    for drive in drives:
        if drive.controller is not None:
            bus = drive.controller.bus
            first_of_bus[bus] = min(first_of_bus.get(bus, _LAST), drive.controller.order)

    def key(drive: Drive) -> tuple[int, ...]:
        explicit = _LAST if drive.boot_index is None else drive.boot_index
        address = _LAST if drive.address is None else drive.address
        if drive.controller is None:
            return explicit, _LAST, _LAST, drive.group, address, drive.order
        return explicit, first_of_bus[drive.controller.bus], drive.controller.address, drive.controller.order, address, drive.order

    return sorted(drives, key=key)
