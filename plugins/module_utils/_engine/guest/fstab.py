# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The table of file systems, and which volume of the disk each of its lines means.

Source: fstab(5), getmntent(3) (escapes), and how the kernel and device-mapper name their devices.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..errors import printable
from ..volumes.lvm2.volumes import device_paths

PATH = "/etc/fstab"
MAX_LINES = 200
_ESCAPE = re.compile(r"\\([0-7]{3})")
_DISK_NAME = re.compile(r"/dev/(?:(?:[svh]d|xvd)([a-z]+)(\d*)|(?:nvme(\d+)n1|mmcblk(\d+))(?:p(\d+))?)")
_BY = {"by-uuid": "UUID", "by-label": "LABEL", "by-partuuid": "PARTUUID", "by-partlabel": "PARTLABEL"}


@dataclasses.dataclass(frozen=True)
class Mount:
    """A line of the table."""

    spec: str
    """``UUID=…``, ``/dev/mapper/vg-root`` …"""
    path: str
    """the mount point; ``none`` for swap"""
    type: str
    options: tuple[str, ...]
    line: int
    """its number in the file, from 1"""

    def option(self, name: str) -> str | None:
        """The value of ``name=value``."""
        return next((option[len(name) + 1 :] for option in self.options if option.startswith(f"{name}=")), None)


class Device(t.NamedTuple):
    """Names that a volume answers to."""

    uuid: str | None
    label: str | None
    partition: int | None
    """its number; None: a logical volume, or a disk without partitions"""
    partition_uuid: str | None
    partition_label: str | None
    logical_volume: str | None
    """``vg/lv``"""


def parse_fstab(text: str) -> list[Mount]:
    """The lines of a table. What is no line of it is passed over, as mount(8) does."""
    found = []
    for number, line in enumerate(text.splitlines()[:MAX_LINES], 1):
        words = line.split()
        if len(words) < 2 or words[0].startswith("#"):
            continue
        words = [_ESCAPE.sub(_character, word) for word in words]
        options = words[3] if len(words) > 3 else "defaults"
        path = words[1] if words[1] == "/" else words[1].rstrip("/")
        found.append(Mount(_unquoted(words[0]), path, words[2] if len(words) > 2 else "auto", tuple(options.split(",")), number))
    return found


def matches(spec: str, device: Device) -> bool:
    """Whether a table's or a kernel's word for a device (``root=``) means this one.

    A kernel's name of a disk (``/dev/sda1``) is taken to mean the first disk: see :func:`is_kernel_name`.
    """
    tag, value = _tag(spec)
    if tag is not None:
        wanted = {"UUID": device.uuid, "LABEL": device.label, "PARTUUID": device.partition_uuid, "PARTLABEL": device.partition_label}.get(tag)
        if wanted is None or not value:
            return False
        return wanted == value if tag.endswith("LABEL") else wanted.lower() == value.lower()
    if device.logical_volume is not None:
        return spec in device_paths(device.logical_volume)
    match = _DISK_NAME.fullmatch(spec)
    if match is None or (match[1] or match[3] or match[4]) not in ("a", "0"):
        return False
    number = match[2] or match[5]
    return device.partition == (int(number) if number and len(number) < 5 else None)


def is_kernel_name(spec: str) -> bool:
    """Whether a device is named as the kernel does (``/dev/sda1``): another bus, or another order, and it is another name."""
    return _DISK_NAME.fullmatch(spec) is not None


def _tag(spec: str) -> tuple[str | None, str]:
    """``UUID=x``, and the same as a path: ``/dev/disk/by-uuid/x``."""
    if spec.startswith("/dev/disk/"):
        folder, separator, name = spec[len("/dev/disk/") :].partition("/")
        if separator and folder in _BY:
            return _BY[folder], _udev_unescaped(name)
        return None, spec
    tag, separator, value = spec.partition("=")
    if separator and tag.upper() in _BY.values():
        return tag.upper(), _unquoted(value)
    return None, spec


def _udev_unescaped(name: str) -> str:
    return re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match[1], 16)), name)


def _unquoted(word: str) -> str:
    """``UUID="x"`` is ``UUID=x``."""
    return printable(word.replace('"', ""))


def _character(match: re.Match[str]) -> str:
    return chr(int(match[1], 8))
