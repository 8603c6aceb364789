# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Whether UEFI finds a boot loader on an optical disc, or on the disk that a hybrid image is as well.

Source: UEFI specification 2.10, sections 3.5.1.1 (removable media boot) and 13.3.2 (ISO 9660 and El Torito).
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import ImageError
from ..filesystems.base import Filesystem
from ..filesystems.fat.reader import Fat
from ..filesystems.tree import Tree
from ..formats.base import Reader
from ..storage.base import Storage
from ..volumes.disk import DiskStorage
from ..volumes.partitions import read_partition_table
from .firmware import REMOVABLE

_FOLDER = "/EFI/BOOT"


@dataclasses.dataclass(frozen=True)
class EfiLoader:
    """A boot loader at the place where UEFI looks for it."""

    architecture: str
    path: str
    place: str
    """where its file system lies: ``el_torito``, or ``partition 2`` of the image as a disk"""


def efi_loaders(reader: Reader, el_torito: t.Iterable[t.Mapping[str, t.Any]], warnings: list[str]) -> list[EfiLoader]:
    """The boot loaders for UEFI in an ISO image.

    :param reader: the image
    :param el_torito: its catalog's entries, as ``format_specific`` has them
    :param warnings: where is told what the catalog or the partition table promises and is not there
    """
    disk = DiskStorage(reader)
    found: list[EfiLoader] = []
    places = [("el_torito", entry["offset"], entry["bytes"]) for entry in el_torito if entry["platform"] == "efi" and entry["bootable"]]
    try:
        table = read_partition_table(reader)
        places += [(f"partition {part.number}", part.start, part.length) for part in table.partitions if part.length] if table else []
    except ImageError as error:
        warnings.append(f"the partition table cannot be read: {error.message}")
    for place, offset, length in places:
        try:
            loaders = _loaders(disk, offset, length, place)
        except ImageError as error:
            if place == "el_torito":
                warnings.append(f"the El Torito boot image for efi cannot be read: {error.message}")
            continue
        if not loaders and place == "el_torito":
            warnings.append("the El Torito boot image for efi has no EFI/BOOT/BOOT*.EFI")
        found += loaders
    return found


def _loaders(disk: Storage, offset: int, length: int, place: str) -> list[EfiLoader]:
    """:raises ImageError: there is no FAT file system, or it is damaged"""
    filesystem: Filesystem = Fat(disk.window(offset, min(length, disk.size - offset), place))
    names = [name for name in Tree(filesystem).names(_FOLDER) if name.upper() in REMOVABLE]
    return [EfiLoader(REMOVABLE[name.upper()], f"{_FOLDER}/{name}", place) for name in names]
