# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What a boot loader offers: its menu, and which of it boots when nobody chooses."""

from __future__ import annotations

import dataclasses

from ...errors import UnsupportedImage, printable
from ...filesystems.base import FILE
from ...filesystems.tree import Tree
from ...storage.base import Storage
from .uki import Uki, open_section

GRUB2 = "grub2"
BLS = "bls"
"""entries of the Boot Loader Specification that no boot loader's configuration leads to (zipl, for one)"""
SYSTEMD_BOOT = "systemd-boot"
UKI = "uki"
"""a unified kernel image that the firmware starts by itself"""
SYSLINUX = "syslinux"
EXTLINUX = "extlinux"
ISOLINUX = "isolinux"
GRUB_LEGACY = "grub-legacy"
NONE = "none"
"""no boot loader: the kernel was chosen by its name"""


@dataclasses.dataclass(frozen=True)
class BootEntry:
    """A line of a boot menu."""

    title: str
    kernel: str | None
    """path in the guest, of a unified kernel image the path of the program; None: the entry starts no Linux (a chain loader, the firmware's setup).
    The file may be missing."""
    initrds: tuple[str, ...]
    """paths in the guest, in the order in which they are loaded"""
    options: str
    """the kernel's command line"""
    source: str
    """the file that says so"""
    line: int | None = None
    """in ``source``, from 1"""
    id: str | None = None
    """what the boot loader knows the entry by, beside the title"""
    number: str = ""
    """place in the menu, from 0; ``1>2`` in a submenu"""
    uki: Uki | None = None
    """what is in the unified kernel image"""

    def open_kernel(self, tree: Tree) -> Storage:
        """The kernel's bytes, out of the unified kernel image if it is one.

        :raises UnsupportedImage: the entry starts no Linux, or the file is not there
        :raises ImageError: it cannot be read
        """
        if self.kernel is None:
            raise UnsupportedImage(f"the boot entry {printable(self.title)!r} starts no Linux kernel", path=tree.name)
        program = _open(tree, self.kernel, "kernel")
        return program if self.uki is None else open_section(program, self.uki, ".linux")

    def open_initrds(self, tree: Tree) -> list[Storage]:
        """The bytes of each initramfs, in the order in which they are loaded.

        :raises UnsupportedImage: a file is not there
        :raises ImageError: one cannot be read
        """
        inside = []
        if self.uki is not None and self.kernel is not None and ".initrd" in self.uki.sections:
            inside.append(open_section(_open(tree, self.kernel, "kernel"), self.uki, ".initrd"))
        return inside + [_open(tree, path, "initramfs") for path in self.initrds]


@dataclasses.dataclass
class BootConfiguration:
    """The menu of a boot loader."""

    loader: str
    """``grub2``, ``bls``, ``systemd-boot``, ``uki``, ``extlinux``, ``syslinux``, ``isolinux``, ``grub-legacy`` or ``none``"""
    source: str | None
    """its first file"""
    entries: list[BootEntry] = dataclasses.field(default_factory=list)
    """in the order of the menu, those of submenus in between"""
    default: BootEntry | None = None
    """what boots when nobody chooses"""
    reason: str = ""
    """why it is this one, in plain words"""
    warnings: list[str] = dataclasses.field(default_factory=list)


def _open(tree: Tree, path: str, what: str) -> Storage:
    place = tree.find(path)
    if place is None or place.node.kind != FILE:
        raise UnsupportedImage(
            f"the {what} {printable(path)} that the boot loader names is not in the guest", path=tree.name, hint="Name the kernel and the ramdisk"
        )
    return tree.open(place)
