# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The disks of a system: what its Items, DiskSection and References say of them, put together."""

from __future__ import annotations

import dataclasses

from ..errors import CorruptImage, ImageError, printable
from .model import Disk, Envelope, File, System
from .ovf.hardware import Controller, Drive, ovirt_interface
from .pieces import Located


@dataclasses.dataclass
class PackageDisk:
    """A disk of a system, with all that the descriptor knows of it. Its own header knows better (size, format)."""

    disk_id: str
    file: str = ""
    """name in the package (as written, where no file is found); empty for a disk without a file"""
    href: str = ""
    capacity: int | None = None
    """bytes, by the descriptor"""
    format: str = ""
    """URI, by the descriptor"""
    compression: str = ""
    """of the file as a whole, by the descriptor: empty or ``gzip``"""
    parent: str = ""
    """id of the disk that this one holds only the differences to"""
    bus: str | None = None
    controller: str | None = None
    """the controller's model"""
    address: int | None = None
    """on the controller"""
    boot: bool = False
    """the first in boot order"""
    located: Located | None = dataclasses.field(default=None, repr=False)
    """where its file is; None: an empty disk, to be made new"""
    problem: ImageError | None = None
    """why it cannot be opened"""
    virtual_size: int | None = None
    """bytes, by the image itself, once it was opened"""
    image_format: str | None = None
    subformat: str | None = None

    def require_usable(self) -> None:
        """:raises ImageError: it is not there, or not allowed"""
        if self.problem is not None:
            raise self.problem
        if self.located is None and self.capacity is None:
            raise CorruptImage(f"disk {printable(self.disk_id)!r} has no file, and its capacity is not known")


class Disks:
    """The disks of a package.

    :param located: all files of References
    """

    def __init__(self, envelope: Envelope, located: list[Located]) -> None:
        self._envelope = envelope
        self._located = {id(found.file): found for found in located}
        self._made: dict[int, list[PackageDisk]] = {}

    def of(self, system: System) -> list[PackageDisk]:
        """The disks of a system in boot order, each once.

        Where a package with one system attaches none of its disks (written by hand), all of them are meant.
        """
        if id(system) in self._made:
            return self._made[id(system)]
        found: dict[str, PackageDisk] = {}
        for drive in system.hardware.drives:
            disk, file, problem = _referenced(self._envelope, drive)
            if disk is None and file is None and problem is None:
                continue  # a device of the host, not of the package
            made = self._make(disk, file, problem, drive)
            found.setdefault(made.disk_id, made)
        if not system.hardware.drives and len(self._envelope.systems) == 1:
            media = {drive.reference for drive in system.hardware.removable}
            for disk in (disk for disk in self._envelope.disks if disk.id not in media):
                found.setdefault(disk.id, self._make(disk, None, None, None))
        disks = list(found.values())
        # oVirt marks the boot disk in DiskSection, and not by the order of the Items.
        disks.sort(key=lambda made: not made.boot)
        for position, made in enumerate(disks):
            made.boot = position == 0
        self._made[id(system)] = disks
        return disks

    def named(self, disk_id: str) -> PackageDisk:
        """A disk of DiskSection, which need not belong to a system: the parent of another one.

        :raises CorruptImage: there is none of that id, or more than one
        """
        disk = self._envelope.disk(disk_id)
        if disk is None:
            raise CorruptImage(f"the descriptor has no disk {printable(disk_id)!r}")
        return self._make(disk, None, None, None)

    def _make(self, disk: Disk | None, file: File | None, problem: ImageError | None, drive: Drive | None) -> PackageDisk:
        made = PackageDisk(disk.id if disk else drive.reference if drive else "", problem=problem)
        controller: Controller | None = drive.controller if drive else None
        if disk is not None:
            made.capacity, made.format, made.boot, made.parent = disk.capacity, disk.format, disk.boot, disk.parent_ref
            controller = controller or ovirt_interface(disk.interface)
        if controller is not None:
            made.bus, made.controller = controller.bus, controller.model
        made.address = drive.address if drive else None
        try:
            file = self._file(disk) if disk is not None and problem is None else file
        except ImageError as error:
            made.problem = error
        if file is not None:
            made.located = self._located[id(file)]
            made.href = file.href
            made.file = made.located.name or file.href
            made.compression = file.compression
            made.problem = made.problem or made.located.problem
        return made

    def _file(self, disk: Disk) -> File | None:
        """The File of a Disk; None of an empty one."""
        if not disk.file_ref:
            return None
        file = self._envelope.file(disk.file_ref)
        if file is None:
            raise CorruptImage(f"disk {printable(disk.id)!r} names the file {printable(disk.file_ref)!r}, which References does not have")
        return file


def _referenced(envelope: Envelope, drive: Drive) -> tuple[Disk | None, File | None, ImageError | None]:
    """What an Item's HostResource names; nothing at all when it names nothing."""
    try:
        if drive.kind == "file":
            file = envelope.file(drive.reference)
            return None, file, None if file else CorruptImage(f"an Item names the file {printable(drive.reference)!r}, which References does not have")
        disk = envelope.disk(drive.reference) if drive.kind else _ovirt_disk(envelope, drive)
    except CorruptImage as error:
        return None, None, error
    if disk is None and drive.reference:
        return None, None, CorruptImage(f"an Item names the disk {printable(drive.reference)!r}, which DiskSection does not have")
    return disk, None, None


def _ovirt_disk(envelope: Envelope, drive: Drive) -> Disk | None:
    """oVirt writes ``<disk id>/<image id>`` or nothing, and the disk's id as InstanceID."""
    for name in (drive.reference, *drive.reference.split("/"), drive.instance_id):
        disk = envelope.disk(name) if name else None
        if disk is not None:
            return disk
    return None
