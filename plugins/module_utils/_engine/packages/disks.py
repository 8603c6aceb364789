# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The disks of a system: what its Items, DiskSection and References say of them, put together."""

from __future__ import annotations

import dataclasses

from ..errors import CorruptImage, ImageError, UnsupportedImage, printable
from ..storage.base import Storage
from .container import Container, MissingFile, resolve
from .model import Disk, Envelope, File, System
from .ovf.hardware import Controller, Drive, ovirt_interface

GZIP = "gzip"
FIRST_PIECE = ".000000000"
_SECOND_PIECE = ".000000001"


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
    """of the file as a whole: empty or ``gzip``; :meth:`open` gives the bytes as they are stored"""
    bus: str | None = None
    controller: str | None = None
    """the controller's model"""
    address: int | None = None
    """on the controller"""
    boot: bool = False
    """the first in boot order"""
    problem: ImageError | None = None
    """why it cannot be opened"""
    container: Container | None = dataclasses.field(default=None, repr=False)

    def open(self) -> Storage:
        """The file's bytes, in place. To be closed by the caller.

        :raises ImageError: it is not there, not allowed, in pieces, or only differences to another disk
        """
        if self.problem is not None or self.container is None:
            raise self.problem or UnsupportedImage(f"disk {printable(self.disk_id)!r} has no file")
        return self.container.open(self.file)


def system_disks(envelope: Envelope, system: System, container: Container, folder: str) -> list[PackageDisk]:
    """The disks of a system in boot order, each once.

    Where a package with one system attaches none of its disks (written by hand), all of them are meant.

    :param folder: the descriptor's folder in the container
    """
    found: dict[str, PackageDisk] = {}
    for drive in system.hardware.drives:
        disk, file, problem = _referenced(envelope, drive)
        if disk is None and file is None and problem is None:
            continue  # a device of the host, not of the package
        made = _make(envelope, container, folder, disk, file, problem, drive)
        found.setdefault(made.disk_id, made)
    if not system.hardware.drives and len(envelope.systems) == 1:
        for disk in envelope.disks:
            found.setdefault(disk.id, _make(envelope, container, folder, disk, None, None, None))
    disks = list(found.values())
    # oVirt marks the boot disk in DiskSection, and not by the order of the Items.
    disks.sort(key=lambda made: not made.boot)
    for position, made in enumerate(disks):
        made.boot = position == 0
    return disks


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


def _make(
    envelope: Envelope, container: Container, folder: str, disk: Disk | None, file: File | None, problem: ImageError | None, drive: Drive | None
) -> PackageDisk:
    made = PackageDisk(disk.id if disk else drive.reference if drive else "", problem=problem, container=container)
    controller: Controller | None = drive.controller if drive else None
    if disk is not None:
        made.capacity, made.format, made.boot = disk.capacity, disk.format, disk.boot
        controller = controller or ovirt_interface(disk.interface)
    if controller is not None:
        made.bus, made.controller = controller.bus, controller.model
    made.address = drive.address if drive else None
    if problem is None:
        try:
            file = _file(envelope, made, disk) if disk is not None else file
            if file is not None:
                made.file = made.href = file.href
                made.compression = file.compression
                made.file = _locate(container, folder, file)
        except ImageError as error:
            made.problem = error
    return made


def _file(envelope: Envelope, made: PackageDisk, disk: Disk) -> File:
    """The File of a Disk; why it has none that could be read is an error."""
    name = printable(disk.id)
    if not disk.file_ref:
        size = "an unknown number of" if disk.capacity is None else str(disk.capacity)
        raise UnsupportedImage(f"disk {name!r} has no file: it is an empty disk of {size} bytes, to be made new")
    file = envelope.file(disk.file_ref)
    if file is None:
        raise CorruptImage(f"disk {name!r} names the file {printable(disk.file_ref)!r}, which References does not have")
    made.file = made.href = file.href
    if disk.parent_ref:
        raise UnsupportedImage(f"disk {name!r} holds only the differences to disk {printable(disk.parent_ref)!r} (parentRef), which is not supported yet")
    if file.compression not in ("", GZIP):
        raise UnsupportedImage(f"file {printable(file.href)!r} is compressed with {printable(file.compression)!r}; only gzip is known")
    return file


def _locate(container: Container, folder: str, file: File) -> str:
    """The file's name in the container. A file in pieces (``chunkSize``, or VMware's snapshots) is only read when there is one piece."""
    try:
        return resolve(container, folder, file.href)[0]
    except MissingFile as missing:
        try:
            piece = resolve(container, folder, file.href + FIRST_PIECE)[0]
        except ImageError:
            raise missing from None
    if container.has(piece[: -len(FIRST_PIECE)] + _SECOND_PIECE):
        raise UnsupportedImage(f"file {printable(file.href)!r} is stored in pieces, which is not supported yet", path=container.path)
    return piece
