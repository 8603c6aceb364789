# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What an OVF descriptor says: files, disks, systems; of OVF 0.9, 1.x, 2.x and oVirt's dialect alike.

Sources: DMTF DSP0243 (OVF 1.1 and 2.1) and DSP8023 (its schema); VirtualBox's and oVirt's writers for their dialects.
Names of dataclass fields follow the schema.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import AmbiguousImage, CorruptImage, InvalidImage, printable
from . import xml
from .guest import GuestSystem, identify
from .hardware import Hardware, read_hardware
from .units import amount, integer
from .xml import Element

# Vendors' namespaces, by a part of the URI; VMware's last, as others declare it, too.
_WRITERS = (
    ("www.virtualbox.org/ovf", "VirtualBox"),
    ("www.ovirt.org/ovf", "oVirt"),
    ("schemas.citrix.com/ovf", "XenServer"),
    ("www.citrix.com/xenclient/ovf", "XenServer"),
    ("www.ibm.com/", "IBM"),
    ("www.vmware.com/", "VMware"),
)
_NO_COMPRESSION = ("", "identity")
_PROPERTY = re.compile(r"\$\{(.+)\}")


class PackageWarning(t.NamedTuple):
    """Something that is wrong with a package, but does not stop one from using it."""

    code: str
    message: str
    location: str


@dataclasses.dataclass(frozen=True)
class File:
    """References/File: something that belongs to the package."""

    id: str
    href: str
    size: int | None
    """bytes, as the writer saw them; advice only"""
    compression: str
    """empty, or the name of a compression of the whole file: ``gzip``"""
    chunk_size: int | None
    """bytes: the file may be cut into pieces ``<href>.<9 digits>`` of this size"""


@dataclasses.dataclass(frozen=True)
class Disk:
    """DiskSection/Disk."""

    id: str
    file_ref: str
    """id of a File (oVirt: or its href); empty: a new, empty disk"""
    capacity: int | None
    """bytes; None when it cannot be told. The disk's own virtual size counts where it has a file"""
    format: str
    """the URI; never trusted"""
    parent_ref: str
    """the Disk that this one holds the differences to"""
    interface: str
    """oVirt: what the disk is attached to"""
    boot: bool
    """oVirt: the system boots from it"""


@dataclasses.dataclass(frozen=True)
class Property:
    """ProductSection/Property: a setting for the guest."""

    key: str
    """``class.key.instance``"""
    type: str
    label: str
    value: str | None
    """the default in the chosen configuration; None when there is none, and for passwords always"""
    password: bool
    user_configurable: bool


@dataclasses.dataclass(frozen=True)
class Configuration:
    """DeploymentOptionSection/Configuration: a size that the package can be deployed in."""

    id: str
    label: str
    default: bool


@dataclasses.dataclass
class System:
    """VirtualSystem: a virtual machine."""

    id: str
    name: str
    collection: list[str]
    """ids of the collections around it, outermost first"""
    hardware_version: str | None
    """VirtualSystemType, as ``vmx-13``"""
    firmware: str | None
    """``bios`` or ``uefi``; None when the descriptor does not say"""
    secure_boot: bool | None
    os: GuestSystem
    hardware: Hardware
    properties: list[Property]

    @property
    def memory_mib(self) -> int | None:
        return None if self.hardware.memory is None else -(-self.hardware.memory >> 20)


@dataclasses.dataclass
class Envelope:
    """A whole descriptor."""

    version: str
    """``0.9``, ``1.x``, ``2.x`` or ``unknown``"""
    writer: str | None
    """the program whose vocabulary is used"""
    files: list[File]
    disks: list[Disk]
    networks: list[str]
    configurations: list[Configuration]
    configuration: str | None
    """the one whose hardware was read"""
    systems: list[System]
    warnings: list[PackageWarning]

    def disk(self, disk_id: str) -> Disk | None:
        """:raises CorruptImage: two disks have that id"""
        found = [disk for disk in self.disks if disk.id == disk_id]
        if len(found) > 1:
            raise CorruptImage(f"the descriptor has {len(found)} disks with the id {printable(disk_id)!r}")
        return found[0] if found else None

    def file(self, file_ref: str) -> File | None:
        """The File that a ``fileRef`` means: by id, or as oVirt writes it, by href.

        :raises CorruptImage: two files have that id
        """
        found = [file for file in self.files if file.id == file_ref] or [file for file in self.files if file.href == file_ref]
        if len(found) > 1:
            raise CorruptImage(f"the descriptor has {len(found)} files with the id {printable(file_ref)!r}")
        return found[0] if found else None


def parse_envelope(data: bytes, name: str, configuration: str | None = None) -> Envelope:
    """Read a descriptor.

    :param data: the .ovf file's bytes
    :param name: for messages and the warnings' locations
    :param configuration: id of a deployment configuration; the package's default when None
    :raises InvalidImage: not an OVF descriptor, or it has no such configuration
    :raises UnsupportedImage: it has a DTD
    :raises LimitExceeded: too large
    """
    document = xml.parse(data, name)
    root = document.root
    if root.tag != "Envelope":
        raise InvalidImage(f"not an OVF descriptor: the root element is {printable(root.tag)!r}, not 'Envelope'", path=name)
    return _EnvelopeReader(document, name).read(configuration)


def kind_of(element: Element) -> str:
    """The section that an element is. OVF 0.9 says it in ``xsi:type``: ``<Section xsi:type="ovf:DiskSection_Type">``."""
    if element.tag not in ("Section", "Content"):
        return element.tag
    name = element.vendor("type", "XMLSchema-instance").rpartition(":")[2]
    return name[: -len("_Type")] if name.endswith("_Type") else name


def sections(element: Element, kind: str) -> list[Element]:
    return [child for child in element.children if kind_of(child) == kind]


class _EnvelopeReader:
    def __init__(self, document: xml.Document, name: str) -> None:
        self._root = document.root
        self._name = name
        self._writer = _writer(document.namespaces, self._root.namespace)
        self._warnings: list[PackageWarning] = []
        self._configuration: str | None = None

    def read(self, configuration: str | None) -> Envelope:
        root = self._root
        version = self._version()
        configurations = [
            Configuration(child.get("id"), child.child_text("Label"), _is_true(child.get("default")))
            for section in sections(root, "DeploymentOptionSection")
            for child in section.find_all("Configuration")
        ]
        self._configuration = self._choose(configurations, configuration)
        systems = list(self._systems(root, [], []))
        properties = {(item.key, item.value) for system in systems for item in system.properties}
        return Envelope(
            version=version,
            writer=self._writer,
            files=[self._file(child) for section in sections(root, "References") for child in section.find_all("File")],
            disks=[self._disk(child, properties) for section in sections(root, "DiskSection") for child in section.find_all("Disk")],
            networks=[child.get("name") for section in sections(root, "NetworkSection") for child in section.find_all("Network")],
            configurations=configurations,
            configuration=self._configuration,
            systems=systems,
            warnings=self._warnings,
        )

    def _warn(self, code: str, message: str, location: str) -> None:
        self._warnings.append(PackageWarning(code, message, f"{self._name}: {location}"))

    def _version(self) -> str:
        namespace = self._root.namespace
        if namespace.rstrip("/") == "http://www.vmware.com/schema/ovf/1/envelope" or namespace == "http://schemas.dmtf.org/ovf/envelope/1/":
            return "0.9"  # the second is oVirt's
        for digit in ("1", "2"):
            if namespace == f"http://schemas.dmtf.org/ovf/envelope/{digit}":
                return f"{digit}.x"
        self._warn("unknown_namespace", f"the namespace {printable(namespace)!r} is of no known OVF version", "Envelope")
        return "unknown"

    def _choose(self, configurations: list[Configuration], wanted: str | None) -> str | None:
        if wanted is not None:
            if wanted not in [item.id for item in configurations]:
                there = ", ".join(printable(item.id) for item in configurations) or "none"
                raise InvalidImage(f"the package has no deployment configuration {printable(wanted)!r}; it has: {there}", path=self._name)
            return wanted
        return next((item.id for item in configurations if item.default), configurations[0].id if configurations else None)

    def _file(self, element: Element) -> File:
        size, chunk = element.get("size"), element.get("chunkSize")
        if size and integer(size) is None:
            self._warn("bad_number", f"the size {printable(size)!r} is no possible number of bytes", f"File {printable(element.get('id'))}")
        compression = element.get("compression").strip().lower()
        return File(element.get("id"), element.get("href"), integer(size), "" if compression in _NO_COMPRESSION else compression, integer(chunk) or None)

    def _disk(self, element: Element, properties: set[tuple[str, str | None]]) -> Disk:
        text = element.get("capacity").strip()
        reference = _PROPERTY.fullmatch(text)
        if reference is not None:
            defaults = [value for key, value in properties if key == reference[1] and value]
            text = defaults[0] if len(defaults) == 1 else ""
        unit = element.get("capacityAllocationUnits") or "byte"
        capacity = amount(text, unit)
        disk_id = element.get("diskId")
        if capacity is None:
            self._warn(
                "capacity_unknown",
                f"the capacity {printable(element.get('capacity'))!r} with the unit {printable(unit)!r} cannot be told in bytes",
                f"Disk {printable(disk_id)}",
            )
        return Disk(
            id=disk_id,
            file_ref=element.get("fileRef"),
            capacity=capacity,
            format=element.get("format"),
            parent_ref=element.get("parentRef"),
            interface=element.get("disk-interface"),
            boot=_is_true(element.get("boot")),
        )

    def _systems(self, parent: Element, collection: list[str], inherited: list[Property]) -> t.Iterator[System]:
        """The virtual systems below an element, those of collections included; depth is bounded by the parser."""
        inherited = inherited + self._properties(parent)
        for child in parent.children:
            kind = kind_of(child)
            if kind == "VirtualSystem":
                yield self._system(child, collection, inherited)
            elif kind == "VirtualSystemCollection":
                yield from self._systems(child, [*collection, child.get("id")], inherited)

    def _system(self, element: Element, collection: list[str], inherited: list[Property]) -> System:
        hardware = sections(element, "VirtualHardwareSection")
        if len(hardware) > 1:
            self._warn("several_hardware_sections", "the first of several VirtualHardwareSections is used", f"VirtualSystem {printable(element.get('id'))}")
        section = hardware[0] if hardware else Element("", "VirtualHardwareSection", {})
        firmware, secure_boot = _firmware(element, section)
        system = section.find("System")
        return System(
            id=element.get("id"),
            name=element.child_text("Name") or element.get("id"),
            collection=collection,
            hardware_version=(system.child_text("VirtualSystemType") if system is not None else "") or None,
            firmware=firmware,
            secure_boot=secure_boot,
            os=self._operating_system(element),
            hardware=read_hardware(section, self._configuration, _boot_order(element), ovirt=self._writer == "oVirt"),
            properties=inherited + self._properties(element),
        )

    def _operating_system(self, element: Element) -> GuestSystem:
        section = next(iter(sections(element, "OperatingSystemSection")), None)
        if section is None:
            return GuestSystem()
        return identify(
            section.get("id").strip(),
            section.vendor("osType", "vmware"),
            section.child_text("OSType"),
            section.child_text("Description"),
            ovirt=self._writer == "oVirt",
        )

    def _properties(self, element: Element) -> list[Property]:
        found = []
        for section in sections(element, "ProductSection"):
            for child in section.find_all("Property"):
                key = ".".join(filter(None, (section.get("class"), child.get("key"), section.get("instance"))))
                password = _is_password(child)
                found.append(
                    Property(
                        key=key,
                        type=child.get("type"),
                        label=child.child_text("Label"),
                        value=None if password else self._value(child),
                        password=password,
                        user_configurable=_is_true(child.get("userConfigurable")),
                    )
                )
        return found

    def _value(self, element: Element) -> str | None:
        for child in element.find_all("Value"):
            if self._configuration is not None and self._configuration in child.get("configuration").split():
                return child.get("value")
        return element.get("value") or None


def _writer(namespaces: t.Iterable[str], root: str) -> str | None:
    for part, name in _WRITERS:
        if any(part in uri for uri in namespaces):
            return name
    return "oVirt" if root == "http://schemas.dmtf.org/ovf/envelope/1/" else None


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("true", "1")


def _is_password(element: Element) -> bool:
    """By OVF's attribute, or one of those that programs write for it."""
    marks = (element.get("password"), element.get("isPassword"))
    words = " ".join(value for (_namespace, local), value in element.attributes.items() if local in ("qualifiers", "type"))
    return any(_is_true(mark) for mark in marks) or "password" in words.lower()


def _firmware(system: Element, section: Element) -> tuple[str | None, bool | None]:
    """What VMware (Config, ExtraConfig), VirtualBox (Machine/Hardware/Firmware) and oVirt (BiosType) say of firmware and secure boot."""
    config = {child.get("key").lower(): child.get("value").lower() for child in section.find_all("Config", "ExtraConfig")}
    secure = config.get("bootoptions.efisecurebootenabled", config.get("uefi.secureboot.enabled"))
    secure_boot = None if secure is None else _is_true(secure)
    firmware = {"efi": "uefi", "bios": "bios"}.get(config.get("firmware", ""))
    machine = system.find("Machine")
    if firmware is None and machine is not None:
        element = next((child for part in machine.find_all("Hardware") for child in part.walk() if child.tag == "Firmware"), None)
        kind = element.get("type").lower() if element is not None else ""
        firmware = "uefi" if kind.startswith("efi") else "bios" if kind == "bios" else None
    if firmware is None:
        # oVirt: 1 i440fx and 2 q35 with SeaBIOS, 3 q35 with OVMF, 4 with secure boot; 0 is the cluster's default.
        bios_type = integer(system.child_text("BiosType"))
        firmware = {1: "bios", 2: "bios", 3: "uefi", 4: "uefi"}.get(bios_type or 0)
        secure_boot = True if bios_type == 4 else secure_boot
    return firmware, secure_boot


def _boot_order(system: Element) -> list[str]:
    """InstanceIDs of the disks in VMware's BootOrderSection, which stands in the system or in its hardware."""
    return [element.get("instanceId") for element in system.walk() if element.tag == "BootOrderSection" and element.get("type") == "disk"]


def choose_system(systems: list[System], wanted: str | int | None, path: str) -> System:
    """The system that is meant: by id, by name, by its position from 0; None for the only one.

    :raises AmbiguousImage: there are several, and none was named or several have the name
    :raises InvalidImage: there is none, or none of that name
    """
    there = ", ".join(printable(system.id or system.name) for system in systems) or "none"
    if wanted is None:
        if len(systems) > 1:
            raise AmbiguousImage(f"the package has {len(systems)} systems: {there}", path=path, hint="Name one of them")
        found = systems
    elif isinstance(wanted, int):
        found = systems[wanted : wanted + 1] if wanted >= 0 else []
    else:
        found = [system for system in systems if system.id == wanted] or [system for system in systems if system.name == wanted]
    if len(found) > 1:
        raise AmbiguousImage(f"the package has {len(found)} systems called {printable(str(wanted))!r}", path=path, hint="Give the position instead")
    if not found:
        which = "" if wanted is None else f" {printable(str(wanted))!r}"
        raise InvalidImage(f"the package has no virtual system{which}; it has: {there}", path=path)
    return found[0]
