# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What lies where on a disk, from its first to its last byte: partitions, and what is free between them."""

from __future__ import annotations

import dataclasses
import typing as t

from ..guest.roots import BIOS_BOOT_TYPE, ESP_TYPES, PREP_TYPES, XBOOTLDR_TYPE
from ..limits import MIB
from .words import form

MAX_SEGMENTS = 48
"""More are not told apart in a picture; the table has as many as it is given"""

_CLASSES = {
    "/boot": "boot",
    "swap": "swap",
    "lvm": "volumes",
    "raid": "volumes",
    "luks": "locked",
}
_LEAVES_OUT = MIB
"""Alignment leaves gaps; they are not worth a word"""
USES = {
    "esp": "EFI system partition",
    "xbootldr": "boot partition",
    "bios_boot": "boot loader of a BIOS",
    "prep": "boot loader of OpenFirmware",
    "lvm": "holds logical volumes",
    "raid": "member of a RAID",
    "luks": "encrypted",
}


@dataclasses.dataclass
class Segment:
    """A part of the disk."""

    start: int
    length: int
    kind: str
    """how it is drawn: ``files``, ``boot``, ``esp``, ``swap``, ``volumes``, ``locked``, ``other`` or ``free``"""
    number: int | None = None
    title: str = ""
    """what it is, in a few words"""
    partition: dict[str, t.Any] | None = None
    volume: dict[str, t.Any] | None = None
    """the file system on it, as image_info describes it"""


def segments(image: dict[str, t.Any], inside: dict[str, t.Any] | None) -> list[Segment]:
    """All parts of a disk in their order.

    :param image: as image_info describes it
    :param inside: what it says of the guest, if that was looked at
    :return: one for the whole disk when it has no partition table; an extended partition is only there as what is in it
    """
    volumes = {found["partition"]: found for found in (inside or {}).get("filesystems", ())}
    table, size = image["partition_table"], image["virtual_size"]
    if table is None:
        whole = volumes.get(None)
        title = _title(whole) if whole else form(image) if image["format"] == "iso" else "no partition table"
        return [Segment(0, size, _kind(whole) if whole or image["format"] != "iso" else "files", title=title, volume=whole)]
    found: list[Segment] = []
    position = 0
    for partition in sorted((part for part in table["partitions"] if part["kind"] != "extended"), key=lambda part: (part["start"], part["number"])):
        start, length = partition["start"], min(partition["length"], max(0, size - partition["start"]))
        if start - position > _LEAVES_OUT:
            found.append(Segment(position, start - position, "free", title="free"))
        volume = volumes.get(partition["number"])
        title = _title(volume) or partition["type_name"] or f"type {partition['type']}"
        found.append(Segment(start, length, _kind(volume, partition["type"]), partition["number"], title, partition, volume))
        position = max(position, start + length)
    if size - position > _LEAVES_OUT:
        found.append(Segment(position, size - position, "free", title="free"))
    return found


def volumes_elsewhere(inside: dict[str, t.Any] | None) -> list[dict[str, t.Any]]:
    """The logical volumes."""
    return [found for found in (inside or {}).get("filesystems", ()) if found["partition"] is None and "/" in found["volume"]]


def _kind(volume: dict[str, t.Any] | None, partition_type: str = "") -> str:
    if partition_type in ESP_TYPES:
        return "esp"
    if partition_type in (BIOS_BOOT_TYPE, XBOOTLDR_TYPE, *PREP_TYPES):
        return "boot"
    use = (volume["use"] if volume else None) or ""
    return _CLASSES.get(use, "files" if volume and volume["type"] else "other")


def _title(volume: dict[str, t.Any] | None) -> str:
    """File system and where it is mounted."""
    if volume is None:
        return ""
    use = volume["use"] or ""
    return " ".join(filter(None, (volume["type"], use if use.startswith("/") else USES.get(use, ""))))


def widths(lengths: t.Sequence[int], least: float) -> list[float]:
    """Shares of a picture, in percent: to scale, but none smaller than one can see.

    :param least: percent, if there is room for that many
    """
    total = sum(lengths)
    if not total:
        return [100 / len(lengths) for _length in lengths]
    least = min(least, 100 / len(lengths))
    small = {place for place, length in enumerate(lengths) if 100 * length / total < least}
    while True:
        rest = sum(length for place, length in enumerate(lengths) if place not in small)
        room = 100 - least * len(small)
        smaller = {place for place, length in enumerate(lengths) if place not in small and room * length / rest < least}
        if not smaller:
            return [least if place in small else room * length / rest for place, length in enumerate(lengths)]
        small |= smaller
