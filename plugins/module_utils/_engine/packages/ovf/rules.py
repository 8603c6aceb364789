# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Rules of the standard that a descriptor must keep and that understanding it does not need.

Sources: DMTF DSP0243 ("Envelope", "DiskSection", "NetworkSection", "VirtualHardwareSection", "OperatingSystemSection") and
DSP8023, its schema; DSP0004, annex "Programmatic Units"; CIM_OperatingSystem.OsType. OVF 0.9 and oVirt's dialect come
before the standard, so they are not held to it.
"""

from __future__ import annotations

import collections
import re
import typing as t

from ...errors import printable
from ..model import PackageWarning
from .hardware import ITEMS, MEMORY, NETWORK, instance_id
from .units import amount, integer
from .xml import Element, is_ovf

_SYSTEMS = ("VirtualSystem", "VirtualSystemCollection")
_CONTENT = ("Name", "AnnotationSection", "ProductSection", "EulaSection", "PlacementSection", "EnvironmentFilesSection")
_SECTIONS = {
    "Envelope": (
        *("References", "DiskSection", "SharedDiskSection", "NetworkSection", "DeploymentOptionSection", "PlacementGroupSection"),
        *("EncryptionSection", "Strings", *_SYSTEMS),
    ),
    "VirtualSystemCollection": ("ResourceAllocationSection", "StartupSection", "ScaleOutSection", *_CONTENT, *_SYSTEMS),
    "VirtualSystem": ("VirtualHardwareSection", "OperatingSystemSection", "InstallSection", "BootDeviceSection", *_CONTENT),
    "VirtualHardwareSection": ("System", *ITEMS),
}
_WITHOUT_INFO = ("Info", "Name", "References", "Strings", "System", *ITEMS)
_UNIT = re.compile(r"byte(?:\s*\*\s*[0-9]+(?:\s*\^\s*[0-9]+)?)*", re.ASCII)
_LAST_SYSTEM = 123
"""CIM 2.55: Windows Server 2022"""


def broken_rules(root: Element, name: str) -> t.Iterator[PackageWarning]:
    """What a descriptor of OVF 1 or 2 does against the standard.

    :param root: the Envelope
    :param name: the descriptor's, for locations
    """
    rules = _Rules(root)
    for code, message, location in rules.all():
        yield PackageWarning(code, message, f"{name}: {location}")


_Found = t.Iterator[tuple[str, str, str]]
"""code, message, location"""


class _Rules:
    def __init__(self, root: Element) -> None:
        self._root = root
        self._networks = {network.get("name") for network in _below(root, "NetworkSection", "Network")}
        self._ids: collections.Counter[str] = collections.Counter()

    def all(self) -> _Found:
        root = self._root
        for section, tag, attributes in (
            ("References", "File", ("id", "href")),
            ("DiskSection", "Disk", ("diskId",)),
            ("NetworkSection", "Network", ("name",)),
            ("DeploymentOptionSection", "Configuration", ("id",)),
        ):
            for element in _below(root, section, tag):
                yield from _missing(element, attributes)
        for disk in _below(root, "DiskSection", "Disk"):
            yield from _disk(disk)
        yield from _sections(root, "Envelope")
        yield from self._systems(root)
        if not self._ids:
            yield "no_system", "there is no VirtualSystem", "Envelope"
        for identity, count in self._ids.items():
            if identity and count > 1:
                yield "duplicate_system_id", f"{count} systems or collections have this id", f"VirtualSystem {printable(identity)}"

    def _systems(self, parent: Element) -> _Found:
        """Depth is bounded by the parser."""
        for system in parent.find_all(*_SYSTEMS):
            self._ids[system.get("id")] += 1
            where = f"{system.tag} {printable(system.get('id'))}"
            yield from _missing(system, ("id",))
            yield from _sections(system, where)
            yield from _properties(system, where)
            if system.tag == "VirtualSystem":
                yield from _operating_system(system, where)
                for section in system.find_all("VirtualHardwareSection"):
                    yield from self._hardware(section, where)
            else:
                yield from self._systems(system)

    def _hardware(self, section: Element, where: str) -> _Found:
        yield from _sections(section, where)
        properties = section.find("System")
        if properties is None or not properties.child_text("VirtualSystemType"):
            yield "system_type_absent", "the hardware has no System with a VirtualSystemType", where
        items = list(section.find_all(*ITEMS))
        there = {instance_id(item) for item in items}
        # Ranges and other configurations repeat the InstanceID of the Item that they are about.
        once = collections.Counter(instance_id(item) for item in items if not item.get("configuration") and item.get("bound") in ("", "normal"))
        for identity, count in once.items():
            if identity and count > 1:
                yield "duplicate_instance_id", f"{count} Items have the InstanceID {printable(identity)!r}", where
        for item in items:
            kind = integer(item.child_text("ResourceType"))
            for what, value in (("InstanceID", instance_id(item)), ("ResourceType", item.child_text("ResourceType"))):
                if not value:
                    yield "required_value_missing", f"an {item.tag} has no {what}", where
            parent, unit = item.child_text("Parent"), item.child_text("AllocationUnits")
            if parent and parent not in there and parent.strip("0-"):  # oVirt writes a GUID of zeros for none
                yield "dangling_item_parent", f"Item {printable(instance_id(item))!r} hangs on {printable(parent)!r}, which there is not", where
            if kind == MEMORY and not _UNIT.fullmatch(unit or "byte"):
                yield "nonstandard_unit", f"the unit {printable(unit)!r} of the memory", where
            for connection in item.find_all("Connection") if kind == NETWORK else ():
                if connection.text and connection.text not in self._networks:
                    yield "undefined_network", f"the network {printable(connection.text)!r} is not in the NetworkSection", where


def _below(root: Element, section: str, tag: str) -> t.Iterator[Element]:
    return (child for found in root.find_all(section) for child in found.find_all(tag))


def _missing(element: Element, attributes: t.Iterable[str]) -> _Found:
    for attribute in attributes:
        if not element.get(attribute):
            yield "required_value_missing", f"a {element.tag} has no {attribute}", element.tag


def _sections(element: Element, where: str) -> _Found:
    """Sections that nobody may ignore, and nobody knows here; and known ones that do not say what they are about."""
    for child in element.children:
        known = is_ovf(child.namespace) and child.tag in ("Info", *_SECTIONS[element.tag])
        if not known and child.get("required").strip().lower() not in ("false", "0"):
            yield "required_section_unknown", f'{printable(child.tag)!r} does not belong there, and is not marked with required="false"', where
        if known and child.tag not in _WITHOUT_INFO and child.find("Info") is None:
            yield "required_value_missing", f"{child.tag} has no Info", where


def _properties(system: Element, where: str) -> _Found:
    products = collections.Counter((section.get("class"), section.get("instance")) for section in system.find_all("ProductSection"))
    for product, count in products.items():
        if count > 1:
            yield "duplicate_property", f"{count} ProductSections are about {printable('.'.join(filter(None, product))) or 'the same'!r}", where
    keys: collections.Counter[tuple[str, ...]] = collections.Counter()
    for section in system.find_all("ProductSection"):
        for element in section.find_all("Property"):
            yield from _missing(element, ("key", "type"))
            keys[section.get("class"), element.get("key"), section.get("instance")] += 1
    for key, count in keys.items():
        if count > 1:
            yield "duplicate_property", f"{count} properties are called {printable('.'.join(filter(None, key)))!r}", where


def _disk(disk: Element) -> _Found:
    where = f"Disk {printable(disk.get('diskId'))}"
    unit = disk.get("capacityAllocationUnits") or "byte"
    if not _UNIT.fullmatch(unit.strip()):
        yield "nonstandard_unit", f"the unit {printable(unit)!r} of the capacity", where
    capacity, populated = amount(disk.get("capacity"), unit), integer(disk.get("populatedSize"))
    if capacity is not None and populated is not None and populated > capacity:
        yield "populated_size_too_large", f"{populated} bytes of data in a disk of {capacity}", where
    if disk.get("fileRef") and not disk.get("format"):
        yield "format_missing", "the disk has a file, but no format", where


def _operating_system(system: Element, where: str) -> _Found:
    section = system.find("OperatingSystemSection")
    if section is None:
        yield "os_absent", "there is no OperatingSystemSection", where
        return
    written = section.get("id")
    number = integer(written)
    if number is None or number > _LAST_SYSTEM:
        yield "os_unknown", f"the id {printable(written)!r} is no operating system of CIM", where
