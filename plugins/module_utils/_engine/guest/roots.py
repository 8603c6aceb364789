# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The volumes of a guest's disk, and which of them holds the operating system.

Source: the UAPI Group's "Discoverable Partitions Specification".
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import AmbiguousImage, ImageError, InvalidImage, printable
from ..filesystems.base import Filesystem, Signature
from ..filesystems.recognise import identify, open_filesystem
from ..filesystems.tree import Tree
from ..storage.base import Storage
from ..volumes.table import PartitionTable
from ..volumes.volumes import Volume, find_volumes
from . import fstab
from .files import Files

ESP_TYPES = ("C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "ef")
XBOOTLDR_TYPE = "BC13C2FF-59E6-4262-A352-B275FD6F7172"
BIOS_BOOT_TYPE = "21686148-6449-6E6F-744E-656564454649"
PREP_TYPES = ("9E1A2D38-C612-4316-AA26-8B49521E5A8B", "41")
_ROOT_TYPE_NAME = "Linux root ("
"""how sfdisk's names of the types for root file systems begin, of every architecture"""
_READ = ("ext2", "ext3", "ext4", "xfs", "btrfs", "vfat")
_ROOTS = ("ext2", "ext3", "ext4", "xfs", "btrfs")
_OS_FILES = ("etc/os-release", "usr/lib/os-release", "etc/debian_version", "etc/redhat-release", "etc/SuSE-release", "etc/alpine-release", "etc/gentoo-release")
_BOOT_FILES = ("sbin/init", "usr/sbin/init", "lib/systemd/systemd", "usr/lib/systemd/systemd", "etc/inittab", "etc/fstab", "bin/sh")
_USUAL_SUBVOLUMES = ("@", "root", "@rootfs", "rootfs")
"""of openSUSE and Ubuntu, Fedora, Debian"""
MAX_SUBVOLUMES = 100


@dataclasses.dataclass
class GuestVolume:
    """A volume and what is on it."""

    volume: Volume
    signature: Signature | None
    filesystem: Filesystem | None
    """None: it is none, or cannot be read"""
    problem: str | None
    """why what should be readable is not"""

    @property
    def name(self) -> str:
        return self.volume.name

    @property
    def partition_type(self) -> str | None:
        """as sfdisk has it"""
        return self.volume.partition.type if self.volume.partition is not None and self.volume.logical_volume is None else None

    @property
    def device(self) -> fstab.Device:
        """What it can be called in the guest."""
        signature = self.signature
        partition = self.volume.partition if self.volume.logical_volume is None else None
        return fstab.Device(
            signature.uuid if signature else None,
            signature.label if signature else None,
            partition.number if partition else None,
            partition.uuid if partition else None,
            partition.name if partition else None,
            self.name if self.volume.logical_volume is not None else None,
        )


class Root(t.NamedTuple):
    """A file system that has an operating system on it."""

    volume: GuestVolume
    filesystem: Filesystem
    """with the subvolume at its root"""
    subvolume: str | None
    """btrfs: its path, where it is not the default one"""
    source: str
    """what it is known by"""

    @property
    def name(self) -> str:
        return self.volume.name if self.subvolume is None else f"{self.volume.name}:{printable(self.subvolume)}"


def open_volumes(disk: Storage, table: PartitionTable | None) -> list[GuestVolume]:
    """All volumes of a disk, each opened as far as it can be read."""
    found = []
    for volume in find_volumes(disk, table):
        signature: Signature | None = None
        filesystem: Filesystem | None = None
        problem = volume.reason
        if volume.storage is not None:
            try:
                signature = identify(volume.storage)
                if signature is not None and signature.type in _READ:
                    filesystem = open_filesystem(volume.storage)
            except ImageError as error:
                problem = str(error)
        found.append(GuestVolume(volume, signature, filesystem, problem))
    return found


def find_roots(volumes: t.Iterable[GuestVolume]) -> list[Root]:
    """The operating systems on a disk, in the order of the volumes."""
    found = []
    for volume in volumes:
        if volume.filesystem is None or volume.signature is None or volume.signature.type not in _ROOTS:
            continue
        if _is_root(volume.filesystem):
            found.append(_preferred(volume))
        elif volume.signature.type == "btrfs":
            found += _subvolume_roots(volume)
        elif volume.partition_type is not None and _has_root_type(volume):
            found.append(Root(volume, volume.filesystem, None, "type of the partition"))
    return found


def choose_root(roots: t.Sequence[Root]) -> Root:
    """The operating system of a disk, when there is one, or the partition's type marks one of several.

    :raises AmbiguousImage: there are several
    :raises InvalidImage: there is none
    """
    marked = [root for root in roots if _has_root_type(root.volume)]
    chosen = marked if len(marked) == 1 else list(roots)
    if not chosen:
        raise InvalidImage("no operating system that could be read was found on the disk", hint="Name the volume that has its root file system")
    if len(chosen) > 1:
        names = ", ".join(root.name for root in chosen[:10])
        raise AmbiguousImage(f"there are several operating systems on the disk: {names}", hint="Name the one that is meant")
    return chosen[0]


def named_root(volumes: t.Sequence[GuestVolume], roots: t.Sequence[Root], wanted: str) -> Root:
    """The root file system that the user names, whether or not it seems to have an operating system on it.

    :param wanted: a volume (``vda2``, ``vg/root``), a UUID, a label, or what a table of file systems calls it (``LABEL=root``);
        of btrfs with a subvolume behind a colon (``vda2:root``)
    :raises AmbiguousImage: several volumes are called so, or there are several systems on the one that is
    :raises InvalidImage: no volume is called so, or it cannot be read
    :raises ImageError: the subvolume cannot be read
    """
    name, separator, subvolume = wanted.partition(":")
    meant = [volume for volume in volumes if volume.name == name]
    if not meant:
        values = [(volume, (volume.device.uuid or "").lower(), volume.device.label) for volume in volumes]
        meant = [volume for volume, uuid, label in values if name and (uuid == name.lower() or label == name)]
        meant = meant or [volume for volume in volumes if fstab.matches(name, volume.device)]
    if len(meant) != 1:
        known = ", ".join(volume.name for volume in volumes[:20])
        error = AmbiguousImage if meant else InvalidImage
        raise error(f"{'several volumes are' if meant else 'no volume is'} called {printable(name)!r}", hint=f"The disk has {known}" if known else None)
    volume = meant[0]
    if volume.filesystem is None:
        held = f"it holds {volume.signature.type}" if volume.signature is not None else "it has none that is known"
        raise InvalidImage(f"the file system of {volume.name} cannot be read: {volume.problem or held}")
    if separator:
        return Root(volume, at_subvolume(volume.filesystem, subvolume), subvolume, "the request")
    found = [root for root in roots if root.volume is volume]
    if len(found) > 1:
        raise AmbiguousImage(f"there are several operating systems on {volume.name}: {', '.join(root.name for root in found[:10])}")
    return found[0]._replace(source="the request") if found else Root(volume, volume.filesystem, None, "the request")


def at_subvolume(filesystem: Filesystem, which: str | int) -> Filesystem:
    """A file system with one of its subvolumes at its root.

    :raises InvalidImage: it has none of that name
    """
    from ..filesystems.btrfs.reader import Btrfs

    if not isinstance(filesystem, Btrfs):
        raise InvalidImage(f"{filesystem.signature.type} has no subvolumes")
    return filesystem.subvolume(which)


def subvolume_of(line: fstab.Mount) -> str | int | None:
    """The subvolume that a line of the table mounts: its path or number; None: the default one."""
    path, number = line.option("subvol"), line.option("subvolid")
    if path is not None:
        return path
    return int(number) if number is not None and number.isdecimal() and len(number) < 20 else None


def _is_root(filesystem: Filesystem) -> bool:
    tree = Tree(filesystem)
    return any(_there(tree, path) for path in _OS_FILES) and any(_there(tree, path) for path in _BOOT_FILES)


def _there(tree: Tree, path: str) -> bool:
    """Links count as well: what they point to may lie on another volume."""
    try:
        return tree.find(path, follow=False) is not None
    except ImageError:
        return False


def _preferred(volume: GuestVolume) -> Root:
    """The default subvolume, unless the guest's own table mounts another one."""
    filesystem = volume.filesystem
    if filesystem is None:
        raise InvalidImage(f"{volume.name} cannot be read")
    root = Root(volume, filesystem, None, _evidence(filesystem))
    if filesystem.signature.type != "btrfs":
        return root
    lines = fstab.parse_fstab(Files(Tree(filesystem)).text(fstab.PATH) or "")
    which = next((subvolume_of(line) for line in lines if line.path == "/"), None)
    if which is None:
        return root
    try:
        other = at_subvolume(filesystem, which)
    except ImageError:
        return root
    return Root(volume, other, str(which).strip("/"), f"{fstab.PATH} of the default subvolume") if _is_root(other) else root


def _subvolume_roots(volume: GuestVolume) -> list[Root]:
    """Subvolumes with an operating system where the default one has none: of the usual names, else all that are no snapshots."""
    from ..filesystems.btrfs.reader import Btrfs

    if not isinstance(volume.filesystem, Btrfs):
        return []
    try:
        paths = [path for _number, path in volume.filesystem.subvolumes()[:MAX_SUBVOLUMES]]
    except ImageError as error:
        volume.problem = str(error)
        return []
    usual = [path for path in paths if path in _USUAL_SUBVOLUMES]
    for group in (usual, [path for path in paths if path not in usual and "snapshot" not in path.lower()]):
        found = []
        for path in group:
            filesystem = at_subvolume(volume.filesystem, path)
            if _is_root(filesystem):
                found.append(Root(volume, filesystem, path, f"{_evidence(filesystem)} in the subvolume"))
        if found:
            return found
    return []


def _evidence(filesystem: Filesystem) -> str:
    tree = Tree(filesystem)
    return next((f"/{path}" for path in _OS_FILES if _there(tree, path)), "/")


def _has_root_type(volume: GuestVolume) -> bool:
    partition = volume.volume.partition
    return partition is not None and (partition.type_name or "").startswith(_ROOT_TYPE_NAME)
