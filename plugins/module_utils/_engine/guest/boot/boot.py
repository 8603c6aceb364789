# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What a guest boots when nobody chooses, whatever its boot loader is."""

from __future__ import annotations

import typing as t

from ...errors import ImageError
from ...filesystems.tree import Tree
from .entry import GRUB2, GRUB_LEGACY, NONE, SYSLINUX, SYSTEMD_BOOT, UKI, BootConfiguration
from .grub import boots_by_bios, read_grub
from .grub_legacy import read_grub_legacy
from .installed import read_installed
from .places import Places
from .syslinux import read_syslinux
from .systemd_boot import read_removable_uki, read_systemd_boot, removable_loader

_READERS: tuple[tuple[str, t.Callable[[Places], BootConfiguration | None]], ...] = (
    (GRUB2, read_grub),
    (SYSTEMD_BOOT, read_systemd_boot),
    (UKI, read_removable_uki),
    (SYSLINUX, read_syslinux),
    (GRUB_LEGACY, read_grub_legacy),
    (NONE, read_installed),
)


def boot_entries(tree: Tree) -> BootConfiguration:
    """The menu of the boot loader that most probably starts the guest; of loader ``none`` when there is not even a kernel.

    Damaged configurations are left out with a warning.
    """
    found = boot_configurations(tree)
    chosen = next((one for one in found if one.default is not None), None)
    if chosen is None:
        chosen = found[0] if found else BootConfiguration(NONE, None)
    earlier = [text for one in found[: found.index(chosen)] for text in one.warnings] if chosen in found else []
    chosen.warnings += [text for text in earlier if text not in chosen.warnings]
    return chosen


def boot_configurations(tree: Tree) -> list[BootConfiguration]:
    """The menus of all boot loaders that are there, the most probable first.

    That is GRUB, unless it is not installed for the BIOS and UEFI starts something else from a disk that it does not know.
    """
    places = Places(tree)
    readers = list(_READERS)
    if not boots_by_bios(places):
        started = removable_loader(places)
        readers.sort(key=lambda reader: started is None or started[1] != reader[0])
    found = []
    for loader, read in readers:
        try:
            made = read(places)
        except ImageError as error:
            made = BootConfiguration(loader, None, warnings=[f"the configuration of {loader} could not be read: {error.message}"])
        if made is not None:
            found.append(made)
    return found
