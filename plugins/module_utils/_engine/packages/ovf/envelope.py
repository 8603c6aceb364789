# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""From an OVF descriptor to the model: of OVF 0.9, 1.x, 2.x and oVirt's dialect alike.

Sources: DMTF DSP0243 (OVF 1.1 and 2.1) and DSP8023 (its schema); VirtualBox's and oVirt's writers for their dialects.
"""

from __future__ import annotations

import itertools
import posixpath
import re
import typing as t

from ...errors import InvalidImage, LimitExceeded, printable
from ..model import Configuration, Disk, Envelope, File, PackageWarning, Property, System
from ..codes import limited
from . import virtualbox, xml
from .guest import GuestSystem, identify
from .hardware import ITEMS, Hardware, read_hardware
from .platform import read_platform
from .rules import broken_rules
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
MAX_ENTRIES = 10_000
"""of each: files, disks, systems, properties, Items of a system"""

_NO_COMPRESSION = ("", "identity")
_Entry = t.TypeVar("_Entry")
_PROPERTY = re.compile(r"\$\{(.+)\}")


def parse_envelope(data: bytes, name: str, configuration: str | None = None) -> Envelope:
    """Read a descriptor.

    :param data: the .ovf file's bytes
    :param name: the file, or ``archive!member``, for messages
    :param configuration: id of a deployment configuration; the package's default when None
    :raises InvalidImage: not an OVF descriptor, or it has no such configuration
    :raises UnsupportedImage: it has a DTD
    :raises LimitExceeded: too large
    """
    document = xml.parse(data, name)
    root = document.root
    if root.tag != "Envelope":
        raise InvalidImage(f"not an OVF descriptor: the root element is {printable(root.tag)!r}, not 'Envelope'", path=name)
    envelope = _EnvelopeReader(document, name).read(configuration)
    if envelope.version in ("1.x", "2.x"):
        envelope.warnings += limited(broken_rules(root, posixpath.basename(name.rpartition("!")[2])), name)
    return envelope


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
        self._short = posixpath.basename(name.rpartition("!")[2])
        self._writer = _writer(document.namespaces, self._root.namespace)
        self._warnings: list[PackageWarning] = []
        self._configuration: str | None = None
        self._properties: list[Property] = []
        self._media: dict[str, str] = {}
        """DiskSection/Disk's id → VirtualBox's id of the medium"""
        self._defaults: dict[str, set[str]] = {}
        """by the qualified key and, as capacities name them without class and instance, by the bare one"""

    def read(self, configuration: str | None) -> Envelope:
        root = self._root
        version = self._version()
        configurations = [
            Configuration(child.get("id"), child.child_text("Label"), _is_true(child.get("default")))
            for section in sections(root, "DeploymentOptionSection")
            for child in section.find_all("Configuration")
        ]
        self._configuration = self._choose(configurations, configuration)
        disks = self._bounded("disks", (child for section in sections(root, "DiskSection") for child in section.find_all("Disk")))
        self._media = {child.get("diskId"): virtualbox.medium_id(child.get("uuid")) for child in disks}
        systems = self._bounded("systems", self._systems(root, []))
        files = (child for section in sections(root, "References") for child in section.find_all("File"))
        return Envelope(
            version=version,
            writer=self._writer,
            files=self._bounded("files", (self._file(child) for child in files)),
            disks=[self._disk(child) for child in disks],
            networks=[child.get("name") for section in sections(root, "NetworkSection") for child in section.find_all("Network")],
            configurations=configurations,
            configuration=self._configuration,
            systems=systems,
            properties=self._properties,
            warnings=self._warnings,
        )

    def _warn(self, code: str, message: str, location: str) -> None:
        self._warnings.append(PackageWarning(code, message, f"{self._short}: {location}"))

    def _bounded(self, what: str, entries: t.Iterable[_Entry]) -> list[_Entry]:
        """Real packages have tens of them; what is counted here is compared with each other later."""
        found = list(itertools.islice(entries, MAX_ENTRIES + 1))
        if len(found) > MAX_ENTRIES:
            raise LimitExceeded(f"the descriptor has more than {MAX_ENTRIES} {what}", path=self._name)
        return found

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

    def _disk(self, element: Element) -> Disk:
        text = element.get("capacity").strip()
        reference = _PROPERTY.fullmatch(text)
        if reference is not None:
            values = self._defaults.get(reference[1], set())
            text = next(iter(values)) if len(values) == 1 else ""
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

    def _systems(self, parent: Element, collection: list[str]) -> t.Iterator[System]:
        """The virtual systems below an element, those of collections included; depth is bounded by the parser."""
        self._read_properties(parent, collection[-1] if collection else "")
        for child in parent.children:
            kind = kind_of(child)
            if kind == "VirtualSystem":
                yield self._system(child, collection)
            elif kind == "VirtualSystemCollection":
                yield from self._systems(child, [*collection, child.get("id")])

    def _system(self, element: Element, collection: list[str]) -> System:
        self._read_properties(element, element.get("id"))
        hardware = sections(element, "VirtualHardwareSection")
        if len(hardware) > 1:
            self._warn("several_hardware_sections", "the first of several VirtualHardwareSections is used", f"VirtualSystem {printable(element.get('id'))}")
        section = hardware[0] if hardware else Element("", "VirtualHardwareSection", {})
        platform = read_platform(element, section)
        system = section.find("System")
        return System(
            id=element.get("id"),
            name=element.child_text("Name") or element.get("id"),
            collection=collection,
            hardware_version=(system.child_text("VirtualSystemType") if system is not None else "") or None,
            firmware=platform.firmware,
            secure_boot=platform.secure_boot,
            os=self._operating_system(element),
            hardware=self._hardware(section, element),
            chipset=platform.chipset,
        )

    def _hardware(self, section: Element, system: Element) -> Hardware:
        self._bounded("Items in a system", section.find_all(*ITEMS))
        found = read_hardware(section, self._configuration, _boot_order(system), ovirt=self._writer == "oVirt")
        virtualbox.complete(found, system, self._media)
        return found

    def _operating_system(self, element: Element) -> GuestSystem:
        section = next(iter(sections(element, "OperatingSystemSection")), Element("", "OperatingSystemSection", {}))
        machine = element.find("Machine")
        return identify(
            section.get("id").strip(),
            section.vendor("osType", "vmware"),
            section.child_text("OSType") or (machine.get("OSType") if machine is not None else ""),
            section.child_text("Description"),
            ovirt=self._writer == "oVirt",
            ovirt_id=section.vendor("id", "ovirt"),
        )

    def _read_properties(self, element: Element, scope: str) -> None:
        for section in sections(element, "ProductSection"):
            for child in section.find_all("Property"):
                key = ".".join(filter(None, (section.get("class"), child.get("key"), section.get("instance"))))
                value = None if _is_password(child) else self._value(child)
                if value is not None:
                    self._defaults.setdefault(key, set()).add(value)
                    self._defaults.setdefault(child.get("key"), set()).add(value)
                self._properties.append(
                    Property(
                        scope=scope,
                        key=key,
                        type=child.get("type"),
                        label=child.child_text("Label"),
                        value=value,
                        password=_is_password(child),
                        user_configurable=_is_true(child.get("userConfigurable")),
                    )
                )
        if len(self._properties) > MAX_ENTRIES:
            raise LimitExceeded(f"the descriptor has more than {MAX_ENTRIES} properties", path=self._name)

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


def _boot_order(system: Element) -> dict[str, int]:
    """Positions of disks, by InstanceID, in VMware's BootOrderSections, which stand in the system or in its hardware."""
    found = (element.get("instanceId") for element in system.walk() if element.tag == "BootOrderSection" and element.get("type") == "disk")
    return {identity: position for position, identity in enumerate(dict.fromkeys(found))}
