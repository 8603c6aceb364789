# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The kernels that are installed in a guest, each with its ramdisks and modules."""

from __future__ import annotations

import dataclasses
import re

from ..errors import ImageError
from .boot import installed
from .boot.entry import BootConfiguration
from .files import Files
from .kernel import Kernel, identify_kernel

MAX_KERNELS = 32
MODULES = ("/usr/lib/modules", "/lib/modules")
_RELEASE = re.compile(r"[0-9]+\.[0-9]\S*")


@dataclasses.dataclass(frozen=True)
class InstalledKernel:
    """A kernel in the guest."""

    path: str
    """in the guest, without symbolic links"""
    kernel: Kernel
    size: int
    """bytes of the file"""
    version: str | None
    """by its content, or else by its name"""
    initrds: tuple[str, ...]
    """of the boot entry that loads it, or those that belong to it by their names"""
    modules: str | None
    """the folder of its modules; None: it is not there"""


def installed_kernels(files: Files, boot: BootConfiguration | None) -> list[InstalledKernel]:
    """The kernels that boot entries name, then all others of ``/boot``, ``/`` and the folders with modules; each one once.

    :param boot: the boot loader's menu, if it could be read
    """
    by_entry: dict[str, tuple[str, ...]] = {}
    if boot is not None:
        entries = [boot.default, *boot.entries] if boot.default is not None else boot.entries
        for entry in entries:
            path = files.resolved(entry.kernel) if entry.kernel else None
            if path is not None and path not in by_entry:
                by_entry[path] = entry.initrds
    try:
        others = [kernel.path for kernel in installed.installed_kernels(files.tree)]
    except ImageError as error:
        files.warnings.append(f"the kernels cannot be listed: {error.message}")
        others = []
    found: dict[str, InstalledKernel] = {}
    for path in [*by_entry, *others][: 4 * MAX_KERNELS]:
        _add(files, path, by_entry, found)
    versions = {kernel.version for kernel in found.values()}
    for folder in MODULES:
        for version in files.names(folder)[:MAX_KERNELS]:
            if version not in versions:
                _add(files, f"{folder}/{version}/vmlinuz", by_entry, found)
    return list(found.values())


def modules_folder(files: Files, version: str | None) -> str | None:
    """Where the modules of a kernel lie; None when they are not there."""
    if version is None or "/" in version:
        return None
    return files.first(*(f"{folder}/{version}" for folder in MODULES))


def _add(files: Files, path: str, by_entry: dict[str, tuple[str, ...]], found: dict[str, InstalledKernel]) -> None:
    resolved = files.resolved(path)
    if resolved is None or resolved in found or len(found) >= MAX_KERNELS:
        return
    storage = files.open(resolved)
    if storage is None:
        return
    try:
        kernel = identify_kernel(storage)
    except ImageError as error:
        files.warnings.append(f"{resolved} cannot be read: {error.message}")
        return
    if kernel is None:
        return
    version = kernel.version or _version_in(resolved)
    modules = modules_folder(files, version)
    initrds = by_entry.get(resolved) or _initrds(files, resolved if resolved.startswith("/boot/") else f"/boot/vmlinuz-{version}")
    found[resolved] = InstalledKernel(resolved, kernel, storage.size, version, initrds, modules)


def _initrds(files: Files, path: str) -> tuple[str, ...]:
    try:
        initrd = installed.find_initrd(files.tree, path)
    except ImageError:
        initrd = None
    return () if initrd is None else (initrd,)


def _version_in(path: str) -> str | None:
    """``/boot/vmlinuz-6.1.0`` has its version in the name."""
    suffix = path.rpartition("/")[2].partition("-")[2]
    return suffix if _RELEASE.fullmatch(suffix) else None
