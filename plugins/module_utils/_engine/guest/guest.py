# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What is installed on a disk."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import AmbiguousImage, CorruptImage, ImageError, InvalidImage, UnsupportedImage
from ..filesystems.tree import Tree
from ..formats.base import Reader
from ..storage.base import Storage
from ..volumes.disk import DiskStorage
from ..volumes.partitions import read_partition_table
from ..volumes.table import PartitionTable
from .files import Files
from .firmware import Firmware, examine_firmware
from .osrelease import LOW, MEDIUM, WINDOWS, OperatingSystem, identify_os
from .risks import Risk, find_risks
from .roots import GuestVolume, Root, choose_root, find_roots, named_root, open_volumes
from .system import System, examine_system

_BSD = (("FreeBSD", "freebsd"), ("NetBSD", "netbsd"), ("OpenBSD", "openbsd"))
"""how sfdisk's names of their partition types begin"""


@dataclasses.dataclass
class Guest:
    """What is installed on a disk."""

    volumes: list[GuestVolume]
    roots: list[tuple[Root, OperatingSystem | None]]
    """the operating systems that can be read"""
    system: System | None
    """the one that is meant; None: there is none, or there are several"""
    os: OperatingSystem | None
    """of the system, or what the volumes make one guess"""
    firmware: Firmware
    risks: list[Risk]
    warnings: list[str]
    """what could not be read"""

    def require_system(self) -> System:
        """The operating system.

        :raises AmbiguousImage: there are several
        :raises InvalidImage: there is none
        :raises UnsupportedImage: there is none that can be read, beside volumes that cannot
        :raises CorruptImage: it cannot be read
        """
        if self.system is not None:
            return self.system
        if not self.warnings:  # the one that is meant is not known
            closed = [] if self.roots else list(filter(None, map(_why_closed, self.volumes)))
            if closed:
                raise UnsupportedImage(f"no operating system that could be read was found on the disk ({'; '.join(closed[:10])})")
            choose_root([root for root, _os in self.roots])
        raise CorruptImage(self.warnings[0])


def guest_on(reader: Reader) -> Guest | None:
    """What is installed on the disk in an image; None of an optical disc.

    :param reader: can be read, in any order
    :raises ImageError: the disk cannot be read
    """
    return None if reader.format == "iso" else inspect_guest(DiskStorage(reader), read_partition_table(reader))


def inspect_guest(disk: Storage, table: PartitionTable | None, *, root: str | None = None) -> Guest:
    """What is installed on a disk.

    :param disk: what the guest sees of it
    :param table: its partition table; None: it has none
    :param root: the volume with the root file system, as the user calls it: ``vda2``, ``vg/root``, ``vda2:subvolume``, a UUID or a label
    :raises AmbiguousImage: several volumes, or systems, have that name
    :raises InvalidImage: none has it
    :raises ImageError: the disk cannot be read
    """
    volumes = open_volumes(disk, table)
    roots = find_roots(volumes)
    warnings: list[str] = []
    chosen = named_root(volumes, roots, root) if root is not None else _only(roots)
    system = None
    if chosen is not None:
        try:
            system = examine_system(chosen, volumes)
            warnings += system.files.warnings
        except ImageError as error:
            warnings.append(f"the operating system on {chosen.name} cannot be read: {error.message}")
    firmware = examine_firmware(disk, table, volumes)
    named = [(found, system.os if system is not None and found is chosen else _os_of(found)) for found in roots]
    os = system.os if system is not None else _guess(volumes) if not roots else None
    guest = Guest(volumes, named, system, os, firmware, [], warnings)
    guest.risks = find_risks(guest.volumes, [found.name for found, _os in named], system, os, firmware, table)
    return guest


def _why_closed(volume: GuestVolume) -> str | None:
    """Why a volume that may have a system on it is not looked into; None for any other."""
    if volume.signature is not None and volume.signature.usage == "crypto":
        return f"{volume.name} is encrypted: {volume.signature.type}"
    return None if volume.problem is None else f"{volume.name}: {volume.problem}"


def _only(roots: t.Sequence[Root]) -> Root | None:
    try:
        return choose_root(roots)
    except (AmbiguousImage, InvalidImage):
        return None


def _os_of(root: Root) -> OperatingSystem | None:
    return identify_os(Files(Tree(root.filesystem)))


def _guess(volumes: t.Sequence[GuestVolume]) -> OperatingSystem | None:
    """What the volumes alone make one think of: their files are not read."""
    for volume in volumes:
        if volume.filesystem is not None and volume.filesystem.signature.type == "vfat" and _has_windows_loader(volume):
            return OperatingSystem(WINDOWS, WINDOWS, None, None, None, MEDIUM, f"EFI/Microsoft/Boot on {volume.name}")
    for volume in volumes:
        if volume.signature is not None and volume.signature.type in ("ntfs", "BitLocker"):
            return OperatingSystem(WINDOWS, WINDOWS, None, None, None, LOW, f"{volume.signature.type} on {volume.name}")
        type_name = volume.volume.partition.type_name if volume.volume.partition is not None else None
        distro = next((distro for name, distro in _BSD if (type_name or "").startswith(name)), None)
        if distro is not None:
            return OperatingSystem(None, distro, None, None, None, LOW, f"type of the partition {volume.name}")
    return None


def _has_windows_loader(volume: GuestVolume) -> bool:
    return volume.filesystem is not None and Tree(volume.filesystem).exists("/EFI/Microsoft/Boot")
