# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Kernels by the names that distributions give them, and the initramfs of each.

Source: what the packages install: installkernel(8) of Debian, kernel-install of Fedora, mkinitrd of SUSE, mkinitcpio of Arch, mkinitfs of Alpine,
genkernel of Gentoo.
"""

from __future__ import annotations

import dataclasses
import functools

from ...errors import printable
from ...filesystems.base import FILE
from ...filesystems.tree import Tree
from ...limits import KIB
from .entry import NONE, BootConfiguration, BootEntry
from .places import Places
from .versions import compare_dpkg

PREFIXES = ("vmlinuz", "vmlinux", "bzImage", "Image", "image", "kernel", "zImage")
FOLDERS = ("/boot", "/")
LINKS = ("/vmlinuz", "/boot/vmlinuz", "/boot/Image", "/boot/image", "/boot/vmlinux")
"""what distributions let point to the kernel that boots"""
CMDLINES = ("/etc/kernel/cmdline", "/usr/lib/kernel/cmdline")
"""kernel-install(8): the command line of new entries"""
MAX_KERNELS = 1000
MAX_CMDLINE = 64 * KIB

_LAST = ("rescue", "debug", "dbg", "kdump", "xen-syms", "old", "recovery")
"""in a version: a kernel that is not for everyday"""
_NO_KERNEL = (".hmac", ".sig", ".sha512", ".signed", ".config", ".bak", ".dpkg-new", ".dpkg-bak", ".gz.hmac")


@dataclasses.dataclass(frozen=True)
class Installed:
    """A kernel."""

    path: str
    """without symbolic links"""
    version: str
    """the part of the name behind ``vmlinuz-``; empty when there is none"""
    initrd: str | None


def installed_kernels(tree: Tree) -> list[Installed]:
    """The kernels in ``/boot`` and ``/``, by their names only: the newest first, rescue and debug kernels last.

    :raises ImageError: a folder is damaged
    """
    found: dict[str, Installed] = {}
    for folder in FOLDERS:
        for name in tree.names(folder)[: 100 * MAX_KERNELS]:
            prefix, dash, version = name.partition("-")
            if prefix not in PREFIXES or name.endswith(_NO_KERNEL) or (not dash and prefix not in ("vmlinuz", "vmlinux", "bzImage")):
                continue
            place = tree.find(f"{folder.rstrip('/')}/{name}", follow=False)
            if place is not None and place.node.kind == FILE and len(found) < MAX_KERNELS:
                found[place.path] = Installed(place.path, version, find_initrd(tree, place.path))
    return sorted(sorted(found.values(), key=functools.cmp_to_key(_older), reverse=True), key=lambda kernel: any(word in kernel.version for word in _LAST))


def find_initrd(tree: Tree, kernel: str) -> str | None:
    """The initramfs that belongs to a kernel by the rules of some distribution; None when there is none.

    :param kernel: its path in the guest
    """
    folder, _slash, name = kernel.rpartition("/")
    version = name.partition("-")[2]
    names = ("initrd.img", "initrd", "initramfs.img", "initramfs", "initrd.gz")
    if version:
        names = (f"initrd.img-{version}", f"initramfs-{version}.img", f"initrd-{version}", f"initrd-{version}.img", f"initramfs-{version}")
    return next((path for path in (f"{folder}/{candidate}" for candidate in names) if _is_file(tree, path)), None)


def read_installed(places: Places) -> BootConfiguration | None:
    """What would boot if a boot loader were there: the kernel that a distribution's symbolic link means, or the newest; None when there is no kernel.

    :raises ImageError: a folder is damaged
    """
    tree = places.tree
    kernels = installed_kernels(tree)
    linked, link = None, ""
    for link in LINKS:
        place = places.find(link)
        if place is not None and place.node.kind == FILE and place.path != link:
            linked = Installed(place.path, place.path.rpartition("/")[2].partition("-")[2], find_initrd(tree, place.path) or find_initrd(tree, link))
            break
    if linked is not None:
        kernels = [linked, *(kernel for kernel in kernels if kernel.path != linked.path)]
    if not kernels:
        return None
    options, source = "", ""
    for path in CMDLINES:
        data = tree.read(path, MAX_CMDLINE)
        if data is not None:
            options, source = " ".join(data.decode("utf-8", "surrogateescape").split()), path
            break
    entries = [
        BootEntry(f"Linux {kernel.version}".strip(), kernel.path, (kernel.initrd,) if kernel.initrd else (), options, source or kernel.path, number=str(number))
        for number, kernel in enumerate(kernels)
    ]
    reason = f"{printable(link)} points to it" if linked else "the newest kernel by its name"
    return BootConfiguration(NONE, None, entries, entries[0], reason)


def _older(one: Installed, other: Installed) -> int:
    return compare_dpkg(one.version, other.version)


def _is_file(tree: Tree, path: str) -> bool:
    place = tree.find(path) if tree.exists(path) else None
    return place is not None and place.node.kind == FILE
