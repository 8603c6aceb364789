# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The command line of a kernel that is booted directly, from the one that the guest's boot loader gives it."""

from __future__ import annotations

import re
import typing as t

from ..errors import printable

_WORD = re.compile(r'(?:[^\s"]|"[^"]*")+')
_OF_THE_LOADER = ("BOOT_IMAGE", "initrd")
_OF_THE_DISK = ("resume", "resume_offset", "rd.lvm.lv", "rd.lvm.vg", "rd.luks.uuid", "rd.luks.name", "rd.md.uuid", "cryptdevice")
"""what names volumes that are not there: a ramdisk would wait for them"""
_MACHINE_ID = "systemd.machine_id"
"""kernel-install's; in an image, all instances would be the same machine"""
_CONSOLES = {
    "x86_64": ("tty0", "ttyS0"),
    "i686": ("tty0", "ttyS0"),
    "aarch64": ("tty0", "ttyAMA0"),
    "armv7l": ("ttyAMA0",),
    "ppc64le": ("hvc0",),
    "s390x": ("ttysclp0",),
    "riscv64": ("ttyS0",),
}
_END = "--"
"""what follows is not the kernel's, but for the first program"""
DEVICE = "/dev/vda"
"""the image itself, on virtio-blk"""


class CommandLine(t.NamedTuple):
    """A command line, and how it came to be."""

    text: str
    changes: list[str]
    """what was done to the guest's own, for a person to read"""


def command_line(options: str, *, uuid: str | None, subvolume: str | None, ramdisk: bool, architecture: str | None) -> CommandLine:
    """The command line by which the image of a root file system boots without its disk.

    :param options: the guest's own
    :param uuid: of the file system
    :param subvolume: of btrfs, the one with the operating system, where it is not the default one
    :param ramdisk: there is one, which finds a file system by its UUID; a kernel alone knows devices only
    :param architecture: decides what consoles there are, when the guest's own line has none
    """
    words = _WORD.findall(options)
    kept = []
    changes = []
    for word in words:
        name = word.partition("=")[0]
        if name == _MACHINE_ID:
            changes.append(f"left out {word}, which would be the same for all instances")
        elif name in _OF_THE_DISK:
            changes.append(f"left out {word}, which is not in the image")
        elif name not in (*_OF_THE_LOADER, "root"):
            kept.append(word)
    root = f"root=UUID={uuid}" if ramdisk and uuid else f"root={DEVICE}"
    before = next((word for word in reversed(words) if word.startswith("root=")), None)
    if before != root:
        changes.append(f"{root} instead of {before}" if before else f"added {root}")
    added = []
    if subvolume is not None and not any(word.startswith("rootflags=") and "subvol" in word for word in kept):
        flags = f"subvol={printable(subvolume)}"
        added.append(f'rootflags="{flags}"' if " " in flags else f"rootflags={flags}")
        changes.append(f"added {added[0]}")
    if not any(word.startswith("console=") for word in kept):
        consoles = [f"console={name}" for name in _CONSOLES.get(architecture or "", ())]
        added += consoles
        changes += [f"added {' '.join(consoles)}, so that Nova has a log of the console"] if consoles else []
    end = kept.index(_END) if _END in kept else len(kept)
    kept[end:end] = added
    if not {"ro", "rw"}.intersection(kept):
        kept.insert(0, "ro")
    return CommandLine(" ".join([root, *kept]), changes)
