# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Where in the guest the file lies that a boot loader names by a device and a path."""

from __future__ import annotations

import posixpath

from ...errors import ImageError
from ...filesystems.base import Filesystem
from ...filesystems.tree import Place, Tree

MAX_SUBVOLUME_DEPTH = 6
"""parts of a subvolume's path, as in ``/@/.snapshots/1/snapshot``"""
USUAL = ("/boot", "/", "/efi", "/boot/efi")


class Places:
    """The file systems of a guest as a boot loader sees them: each one apart, with its own root directory.

    A device is named by the path that its file system is mounted on. All else (``hd0,gpt2``, ``lvm/vg-root``) is a device of which nothing is known.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.mounts: dict[str, Filesystem] = {"/": tree.root, **tree.mounts}

    def find(self, path: str) -> Place | None:
        """The file at a path of the guest; None when it is not there, or too damaged to tell."""
        try:
            return self.tree.find(path)
        except ImageError:
            return None

    def names(self, folder: str) -> list[str]:
        """The names in a folder, sorted; none when it is not there, or damaged."""
        try:
            return self.tree.names(folder)
        except ImageError:
            return []

    def with_uuid(self, uuid: str) -> str | None:
        """The device whose file system has a UUID, as blkid prints it."""
        return next((path for path, found in self.mounts.items() if (found.signature.uuid or "").lower() == uuid.lower() != ""), None)

    def with_label(self, label: str) -> str | None:
        """The device whose file system has a label."""
        return next((path for path, found in self.mounts.items() if found.signature.label == label != ""), None)

    def with_file(self, path: str) -> str | None:
        """The first device on which there is a file."""
        return next((device for device in self.mounts if self._there(device, _clean(path))), None)

    def device_of(self, path: str) -> str:
        """The device on which a file of the guest lies; ``/`` when it is not there."""
        place = self.find(path)
        if place is None:
            return "/"
        return next((device for device, found in self.mounts.items() if found is place.filesystem), "/")

    def grub_name(self, path: str) -> str:
        """``(device)/path``, by which GRUB knows a file of the guest."""
        device = self.device_of(path)
        return f"({device})/{path[len(device) :].lstrip('/')}"

    def locate(self, device: str | None, path: str, folder: str = "/") -> str | None:
        """The path in the guest of a file that is there; None when it is not.

        On btrfs the boot loaders begin at the top of the file system, above the subvolume that is the guest's root: leading parts of the path are
        left out until it fits.

        :param device: a device of this object, or anything else: then the file is looked for on all of them
        :param folder: where it may be as well, when it is not found from the root directory of the device
        """
        clean = _clean(path)
        known = device in self.mounts
        devices = self._same(device) if known and device is not None else [*(path for path in USUAL if path in self.mounts), *self.mounts]
        for candidate in devices:
            if self._there(candidate, clean):
                return _join(candidate, clean)
        parts = clean.strip("/").split("/")
        for count in range(1, min(len(parts), MAX_SUBVOLUME_DEPTH + 1)):
            rest = "/" + "/".join(parts[count:])
            for candidate in devices:
                if self.mounts[candidate].signature.type == "btrfs" and self._there(candidate, rest):
                    return _join(candidate, rest)
        if folder != "/" and self.tree.exists(_join(folder, clean)):
            return _join(folder, clean)
        return None

    def path(self, device: str | None, path: str, folder: str = "/") -> str:
        """The path in the guest of a file that a boot loader names, also when it is not there."""
        found = self.locate(device, path, folder)
        if found is not None:
            return found
        clean = _clean(path)
        if device in self.mounts and device is not None:
            return _join(device, clean)
        return _join("/boot", clean) if "/boot" in self.mounts and not clean.startswith("/boot/") else clean

    def _same(self, device: str) -> list[str]:
        """The device, and others that show the same file system (subvolumes)."""
        uuid = self.mounts[device].signature.uuid
        return [device, *(path for path, found in self.mounts.items() if path != device and uuid and found.signature.uuid == uuid)]

    def _there(self, device: str, path: str) -> bool:
        place = self.find(_join(device, path))
        return place is not None and place.filesystem is self.mounts[device]


def _clean(path: str) -> str:
    return posixpath.normpath("/" + path.replace("\\", "/").lstrip("/"))


def _join(folder: str, path: str) -> str:
    return posixpath.normpath(f"{folder}/{path}")
