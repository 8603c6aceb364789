# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What an OVF descriptor says: files, disks, systems. Names follow the schema (DMTF DSP8023)."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import AmbiguousImage, CorruptImage, InvalidImage, printable
from .ovf.guest import GuestSystem
from .ovf.hardware import Drive, Hardware

_Entry = t.TypeVar("_Entry")


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

    scope: str
    """id of the system or collection that it is for; empty for the whole package"""
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
    chipset: str | None = None
    """``i440fx`` or ``q35``; None when the descriptor does not say"""

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
    properties: list[Property]
    warnings: list[PackageWarning]

    def __post_init__(self) -> None:
        self._disks: dict[str, list[Disk]] = {}
        self._files: dict[str, list[File]] = {}
        for disk in self.disks:
            self._disks.setdefault(disk.id, []).append(disk)
        for file in self.files:
            self._files.setdefault(file.id, []).append(file)
        for file in self.files:
            self._files.setdefault(file.href, [file])

    def disk(self, disk_id: str) -> Disk | None:
        """:raises CorruptImage: two disks have that id"""
        found = self._disks.get(disk_id, [])
        if len(found) > 1:
            raise CorruptImage(f"the descriptor has {len(found)} disks with the id {printable(disk_id)!r}")
        return found[0] if found else None

    def file(self, file_ref: str) -> File | None:
        """The File that a ``fileRef`` means: by id, or as oVirt writes it, by href.

        :raises CorruptImage: two files have that id
        """
        found = self._files.get(file_ref, [])
        if len(found) > 1:
            raise CorruptImage(f"the descriptor has {len(found)} files with the id {printable(file_ref)!r}")
        return found[0] if found else None

    def medium(self, drive: Drive) -> str | None:
        """The href of what lies in a drive for removable media: a File, or as VirtualBox writes it, a Disk that has one."""
        if not drive.reference:
            return None
        try:
            disk = self.disk(drive.reference) if drive.kind == "disk" else None
            file = self.file(disk.file_ref if disk is not None else drive.reference)
        except CorruptImage:
            return None
        return file.href if file is not None else None


def at_position(there: list[_Entry], wanted: str) -> list[_Entry]:
    """The entry at a position from 0, that a user gave as text; empty when it is none, or there is none."""
    return there[int(wanted) : int(wanted) + 1] if wanted.isascii() and wanted.isdigit() and len(wanted) < 6 else []


def choose_system(systems: list[System], wanted: str | None, path: str) -> System:
    """The system that is meant: by id, else by name, else by its position from 0; None for the only one.

    :raises AmbiguousImage: there are several, and none was named or several have the name
    :raises InvalidImage: there is none, or none of that name
    """
    there = ", ".join(printable(system.id or system.name) for system in systems) or "none"
    if wanted is None:
        if len(systems) > 1:
            raise AmbiguousImage(f"the package has {len(systems)} systems: {there}", path=path, hint="Name one of them")
        found = systems
    else:
        by_id = [system for system in systems if system.id == wanted]
        found = by_id or [system for system in systems if system.name == wanted] or at_position(systems, wanted)
    if len(found) > 1:
        raise AmbiguousImage(f"the package has {len(found)} systems called {printable(str(wanted))!r}", path=path, hint="Give the position instead")
    if not found:
        which = "" if wanted is None else f" {printable(str(wanted))!r}"
        raise InvalidImage(f"the package has no virtual system{which}; it has: {there}", path=path)
    return found[0]
