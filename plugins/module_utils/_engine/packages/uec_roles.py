# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What a file is to a UEC tarball: kernel, ramdisk, image of a file system …, by its content. Names only tell apart what is the same."""

from __future__ import annotations

import typing as t

from ..errors import CorruptImage, UnsupportedImage
from ..filesystems.recognise import identify
from ..formats.detect import HEAD, TAIL, detect
from ..formats.probes.content import PARTITION_TABLES
from ..formats.probes.match import DISK, OPTICAL
from ..guest.initramfs import identify_initramfs
from ..guest.kernel import identify_kernel
from ..limits import MIB
from ..storage.base import Storage
from . import checksums
from .uec_names import IMAGE, KERNEL, RAMDISK

LOADER = "loader"
"""what boots an image that has its own kernel"""
WHOLE_DISK = "disk"
"""a whole disk: with a partition table, or in a format other than raw"""
CHECKSUMS = "checksums"
OTHER = "other"

_PIECE = 4 * MIB


class Finding(t.NamedTuple):
    """What a file is."""

    role: str
    description: str
    """for a message: fits behind "this is" """
    architecture: str | None = None
    """of a kernel, as Glance calls it, where it shows"""


def classify(storage: Storage, name: str) -> Finding:
    """What a file is for. Reads its beginning and its end.

    :param name: tells a boot loader from a kernel
    """
    try:
        return _by_content(storage, name)
    except (CorruptImage, UnsupportedImage) as error:
        return Finding(OTHER, f"not usable ({error.message})")


def _by_content(storage: Storage, name: str) -> Finding:
    kernel = identify_kernel(storage)
    if kernel is not None:
        if kernel.size is not None and kernel.size > storage.size:
            raise CorruptImage(f"a Linux kernel that is cut off: {storage.size} of {kernel.size} bytes are there")
        return Finding(LOADER if name.endswith("-loader") else KERNEL, f"a Linux kernel ({kernel.version or kernel.type})", kernel.architecture)
    found = detect(storage, tail=not storage.sequential)
    if found.best.category == OPTICAL or (found.best.category == DISK and found.best.format != "raw"):
        return Finding(WHOLE_DISK, found.best.description)
    if any(match.format in PARTITION_TABLES for match in found.contents):
        return Finding(WHOLE_DISK, found.best.description)
    if _is_ramdisk(storage):
        return Finding(RAMDISK, "an initial RAM file system")
    signature = identify(_Beginning(storage) if storage.sequential else storage)
    if signature is not None and signature.usage == "filesystem":
        return Finding(IMAGE, f"a file system ({signature.type})")
    if signature is not None:
        return Finding(OTHER, f"{signature.type} ({signature.usage}), which is no file system")
    if checksums.read(storage, name):
        return Finding(CHECKSUMS, "a list of checksums")
    if storage.size and _is_blank(storage):
        return Finding(IMAGE, "blank")
    return Finding(OTHER, found.best.description)


class _Beginning(Storage):
    """What is at hand of a file that can only be read in order: the rest is shown as zeros, and not read."""

    def __init__(self, parent: Storage) -> None:
        self.name = parent.name
        self.size = parent.size
        self._head = parent.read_at(0, HEAD)

    def read_at(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        return self._head[offset : offset + length].ljust(length, b"\0")


def _is_ramdisk(storage: Storage) -> bool:
    if storage.read_at(0, 1) in (b"", b"\0"):  # zeros may stand before the parts of one, but not before the first
        return False
    try:
        return identify_initramfs(storage) is not None
    except CorruptImage:
        return False


def _is_blank(storage: Storage) -> bool:
    """Nothing but zeros, as far as it is looked at: of what can only be read in order, at its beginning and end."""
    if storage.read_at(0, HEAD).strip(b"\0") or storage.read_at(max(0, storage.size - TAIL), TAIL).strip(b"\0"):
        return False
    return storage.sequential or not any(storage.read_at(offset, length).strip(b"\0") for offset, length in _pieces(storage))


def _pieces(storage: Storage) -> t.Iterator[tuple[int, int]]:
    for start, length in storage.data_ranges():
        for offset in range(start, start + length, _PIECE):
            yield offset, min(_PIECE, start + length - offset)
