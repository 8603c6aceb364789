# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""An operating system on a disk: everything that is known of it by its files."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import ImageError
from ..storage.base import Storage
from . import cloud, osrelease
from .architecture import Architecture, architecture_of_programs
from .boot.boot import boot_entries
from .boot.entry import BootConfiguration, BootEntry
from .drivers import Drivers, find_drivers
from .files import Files
from .kernels import InstalledKernel, installed_kernels
from .mounts import Mounts, mount_all
from .roots import GuestVolume, Root

MAX_RAMDISKS = 4
"""that are looked through: microcode comes in one of its own, and so does what is added to a system"""


@dataclasses.dataclass
class System:
    """An operating system."""

    root: Root
    mounts: Mounts
    files: Files
    os: osrelease.OperatingSystem | None
    architecture: Architecture | None
    boot: BootConfiguration | None
    """None: it could not be read; ``files.warnings`` says why"""
    kernels: list[InstalledKernel]
    kernel: InstalledKernel | None
    """the one that boots when nobody chooses"""
    drivers: Drivers | None
    """of that kernel"""
    preparation: cloud.Preparation

    @property
    def options(self) -> list[str]:
        """The kernel's command line by default, word by word."""
        return self.boot.default.options.split() if self.boot is not None and self.boot.default is not None else []

    def option(self, name: str) -> str | None:
        """The last value of ``name=value`` of the command line."""
        return next((word[len(name) + 1 :] for word in reversed(self.options) if word.startswith(f"{name}=")), None)


def examine_system(root: Root, volumes: t.Sequence[GuestVolume]) -> System:
    """Everything that is known of an operating system.

    :raises ImageError: its root directory cannot be read
    """
    mounts = mount_all(root, volumes)
    files = Files(mounts.tree)
    files.warnings = mounts.warnings
    boot = _boot(files)
    installed = installed_kernels(files, boot)
    default = boot.default if boot is not None else None
    path = files.resolved(default.kernel) if default is not None and default.kernel else None
    kernel = next((kernel for kernel in installed if kernel.path == path), None)
    return System(
        root=root,
        mounts=mounts,
        files=files,
        os=osrelease.identify_os(files),
        architecture=_architecture(files, kernel),
        boot=boot,
        kernels=installed,
        kernel=kernel,
        drivers=find_drivers(files, kernel.version, _ramdisks(files, default, kernel), root_modules(root)) if kernel is not None else None,
        preparation=cloud.examine_preparation(files),
    )


def _boot(files: Files) -> BootConfiguration | None:
    try:
        return boot_entries(files.tree)
    except ImageError as error:
        files.warnings.append(f"the boot loader's configuration cannot be read: {error.message}")
        return None


def _ramdisks(files: Files, entry: BootEntry | None, kernel: InstalledKernel) -> list[tuple[str, Storage | None]]:
    """What the kernel that boots by default gets; a unified kernel image has it inside."""
    found: list[tuple[str, Storage | None]] = [(path, files.open(path)) for path in kernel.initrds[:MAX_RAMDISKS]]
    if entry is None or entry.uki is None:
        return found
    try:
        inside = entry.open_initrds(files.tree)
    except ImageError as error:
        files.warnings.append(f"the ramdisk in {kernel.path} cannot be read: {error.message}")
        return [(kernel.path, None)]
    return [(storage.name, storage) for storage in inside[:MAX_RAMDISKS]]


def _architecture(files: Files, kernel: InstalledKernel | None) -> Architecture | None:
    found = architecture_of_programs(files)
    if found is None and kernel is not None and kernel.kernel.architecture is not None:
        return Architecture(kernel.kernel.architecture, kernel.path)
    return found


def root_modules(root: Root) -> list[str]:
    """The kernel modules without which a root file system is not found; of ext2 and ext3 it is not known which one takes them."""
    kind = root.filesystem.signature.type
    modules = [kind] if kind in ("ext4", "xfs", "btrfs") else []
    return modules if root.volume.volume.logical_volume is None else [*modules, "dm_mod"]
