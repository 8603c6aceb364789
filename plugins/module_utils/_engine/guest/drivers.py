# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Which drivers a kernel has when it looks for its root file system: built in, or brought by its ramdisk.

Sources: Linux, Documentation/kbuild/kbuild.rst (modules.builtin), modules.dep(5), and the Kconfig files of the drivers.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..limits import MIB
from ..storage.base import Storage
from .files import Files
from .initramfs import find_modules, module_name
from .kernels import modules_folder

OPTIONS = {
    "virtio_blk": "VIRTIO_BLK",
    "virtio_pci": "VIRTIO_PCI",
    "virtio_scsi": "SCSI_VIRTIO",
    "virtio_net": "VIRTIO_NET",
    "nvme": "BLK_DEV_NVME",
    "ahci": "SATA_AHCI",
    "ata_piix": "ATA_PIIX",
    "mptspi": "FUSION_SPI",
    "mptsas": "FUSION_SAS",
    "vmw_pvscsi": "VMWARE_PVSCSI",
    "e1000": "E1000",
    "e1000e": "E1000E",
    "8139cp": "8139CP",
    "vmxnet3": "VMXNET3",
    "dm_mod": "BLK_DEV_DM",
    "ext4": "EXT4_FS",
    "xfs": "XFS_FS",
    "btrfs": "BTRFS_FS",
}
"""the drivers that are looked for, by their modules, with the option of the kernel's configuration"""
EARLY = ("virtio_blk", "virtio_pci", "virtio_scsi")
"""what a ramdisk is looked through for, beside what the root file system needs"""
_INSTEAD = ("ahci", "ata_piix", "mptspi", "mptsas", "vmw_pvscsi")
"""and these, when one of those is not even installed; when it is, but not in the ramdisk, that is looked through to its end anyway"""
BUILTIN, INITRAMFS, MODULES, MISSING, UNKNOWN = "builtin", "initramfs", "modules", "missing", "unknown"
MAX_LIST = 8 * MIB
"""bytes of modules.dep, modules.builtin or the configuration"""


@dataclasses.dataclass(frozen=True)
class Drivers:
    """Where the drivers are."""

    status: dict[str, str]
    """by module: ``builtin``; ``initramfs``; ``modules``, on the root file system, too late to find it; ``missing``; ``unknown``. A ramdisk is looked
    through until the drivers are found with which a guest boots: others may be in it, too."""
    sources: list[str]
    """the files that were looked at"""
    reason: str | None
    """why something is unknown"""

    def early(self, module: str) -> bool:
        """Whether the driver is there before the root file system is."""
        return self.status[module] in (BUILTIN, INITRAMFS)


def find_drivers(files: Files, version: str | None, initrds: t.Iterable[tuple[str, Storage | None]], needed: t.Iterable[str] = ()) -> Drivers:
    """Where the drivers of a kernel are.

    :param version: of the kernel
    :param initrds: its ramdisks: what they are called, and their content; None: it cannot be opened
    :param needed: modules of OPTIONS without which the root file system is not found, beside those for virtio disks
    """
    sources: list[str] = []
    builtin = _builtin(files, version, sources)
    folder = modules_folder(files, version)
    listed = _listed(files, f"{folder}/modules.dep", sources) if folder else None
    # What is not even among the installed modules is in no ramdisk either: then it need not be unpacked to its end.
    there = {*(builtin or ()), *(OPTIONS if listed is None else listed)}
    instead = () if there.issuperset(EARLY) else _INSTEAD
    wanted = {module for module in (*EARLY, *instead, *needed) if module in there and module not in (builtin or ())}
    brought: set[str] = set()
    reason = None
    for path, storage in initrds:
        if storage is None:
            reason = f"{path} cannot be opened"
            continue
        sources.append(path)
        if not wanted - brought:
            continue
        found = find_modules(storage, wanted - brought)
        brought |= found.names
        if not found.complete and wanted - brought:
            reason = f"{path} was not looked through: {found.reason}"
    if builtin is None and reason is None:
        reason = "the list of what is built into the kernel is not there"
    status = {}
    for module in OPTIONS:
        if builtin is not None and module in builtin:
            status[module] = BUILTIN
        elif module in brought:
            status[module] = INITRAMFS
        elif reason is not None and (module in wanted or builtin is None):
            status[module] = UNKNOWN
        else:
            status[module] = MODULES if listed is not None and module in listed else MISSING
    return Drivers(status, sources, reason)


def _builtin(files: Files, version: str | None, sources: list[str]) -> set[str] | None:
    folder = modules_folder(files, version)
    found = _listed(files, f"{folder}/modules.builtin", sources) if folder else None
    if version is None or "/" in version:
        return found
    for path in (f"/boot/config-{version}", f"{folder}/config"):
        text = files.text(path, MAX_LIST) if folder or path.startswith("/boot/") else None
        if text is not None:
            sources.append(path)
            set_in = set(re.findall(r"^CONFIG_([A-Z0-9_]+)=y$", text, re.MULTILINE))
            return (found or set()) | {module for module, option in OPTIONS.items() if option in set_in}
    return found


def _listed(files: Files, path: str, sources: list[str]) -> set[str] | None:
    """The modules that begin the lines of a list."""
    text = files.text(path, MAX_LIST)
    if text is None:
        return None
    sources.append(path)
    found = (module_name(line.partition(":")[0].strip()) for line in text.splitlines())
    return {module for module in found if module is not None}
