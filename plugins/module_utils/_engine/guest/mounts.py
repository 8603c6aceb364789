# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What is mounted where in a guest.

Sources: fstab(5); systemd-gpt-auto-generator(8).
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import ImageError, printable
from ..filesystems.base import DIRECTORY
from ..filesystems.tree import Tree
from . import fstab
from .files import Files
from .roots import ESP_TYPES, XBOOTLDR_TYPE, GuestVolume, Root, at_subvolume, subvolume_of

MAX_MOUNTS = 64


class MountPoint(t.NamedTuple):
    """Where a volume is mounted."""

    path: str
    """without symbolic links"""
    subvolume: str | None
    """btrfs: its path, or its number where the table gives that; None: the default one"""
    source: str
    """what says so"""


@dataclasses.dataclass
class Mounts:
    """A guest's tree, and how it came to be."""

    tree: Tree
    fstab: list[fstab.Mount]
    by_volume: dict[str, list[MountPoint]]
    """by the volume's name"""
    found: dict[int, GuestVolume]
    """the volume that a line of the table means, by the line's number"""
    warnings: list[str]


def mount_all(root: Root, volumes: t.Sequence[GuestVolume]) -> Mounts:
    """The tree that the guest sees: its file systems mounted where its table says, and boot partitions where systemd would do it."""
    tree = Tree(root.filesystem)
    files = Files(tree)
    lines = fstab.parse_fstab(files.text(fstab.PATH) or "")
    result = Mounts(tree, lines, {root.volume.name: [MountPoint("/", root.subvolume, root.source)]}, {}, files.warnings)
    devices = [(volume, volume.device) for volume in volumes]
    for line in sorted(lines, key=lambda line: line.path.count("/")):
        volume = next((volume for volume, device in devices if fstab.matches(line.spec, device)), None)
        if volume is None:
            continue
        result.found[line.line] = volume
        if line.path != "/" and line.path.startswith("/") and "bind" not in line.options and len(tree.mounts) < MAX_MOUNTS:
            _mount(result, volume, line.path, subvolume_of(line), f"{fstab.PATH}:{line.line}")
    _mount_by_type(result, volumes)
    return result


def _mount_by_type(result: Mounts, volumes: t.Sequence[GuestVolume]) -> None:
    """systemd-gpt-auto-generator(8): XBOOTLDR on /boot; the ESP on /efi, or on /boot, and /boot/efi where distributions have it."""
    for types, paths in (((XBOOTLDR_TYPE,), ("/boot",)), (ESP_TYPES, ("/efi", "/boot/efi", "/boot"))):
        for volume in volumes:
            if volume.partition_type not in types or volume.name in result.by_volume:
                continue
            path = next((path for path in paths if _is_empty(result.tree, path)), None)
            if path is not None:
                _mount(result, volume, path, None, "type of the partition")


def _mount(result: Mounts, volume: GuestVolume, path: str, subvolume: str | int | None, source: str) -> None:
    if volume.filesystem is None:
        return
    try:
        place = result.tree.find(path)
        filesystem = volume.filesystem if subvolume is None else at_subvolume(volume.filesystem, subvolume)
    except ImageError as error:
        result.warnings.append(f"{volume.name} cannot be mounted on {printable(path)}: {error.message}")
        return
    if place is None or place.node.kind != DIRECTORY:
        result.warnings.append(f"there is no folder {printable(path)} to mount {volume.name} on")
        return
    if place.path != "/":
        result.tree.mounts[place.path] = filesystem
        name = None if subvolume is None else str(subvolume).strip("/")
        result.by_volume.setdefault(volume.name, []).append(MountPoint(place.path, name, source))


def _is_empty(tree: Tree, path: str) -> bool:
    """Whether there is a folder with nothing in it, on which nothing is mounted."""
    try:
        place = tree.find(path)
        if place is None or place.node.kind != DIRECTORY or place.path in tree.mounts:
            return False
        return not tree.names(path)
    except ImageError:
        return False
