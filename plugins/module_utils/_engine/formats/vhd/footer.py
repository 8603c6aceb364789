# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Finds the footer of a VHD: at the end of the file, or its copy at the beginning. See layout.py for the source."""

from __future__ import annotations

import typing as t

from ...errors import AmbiguousImage, CorruptImage, InvalidImage, UnsupportedImage
from ...limits import SECTOR
from ...storage.base import Storage
from ...structure import Fields
from .layout import FIXED, FOOTER, FOOTER_COOKIE, TYPES, VERSION, disk_size, looks_like_footer

SHORT_FOOTER = 511
"""Footer size of Microsoft Virtual PC before 2004 (specification, "Hard Disk Footer Format")."""


class FoundFooter(t.NamedTuple):
    fields: Fields
    end: int
    """where the footer at the end of the file begins: no block reaches beyond"""
    warnings: list[str]
    damage: list[str]
    """what is wrong with the other footer, though this one is good"""


def find_footer(storage: Storage) -> FoundFooter:
    """The footer that counts, checked as far as it can be without the rest of the file.

    The footer at the end is the original. Dynamic and differencing disks have a copy at the beginning: it must agree, and
    stands in where the original is missing or damaged.

    :raises InvalidImage: there is none
    :raises CorruptImage: it is damaged, or contradicts the size of the file
    :raises AmbiguousImage: the file begins and ends with footers of different disks
    :raises UnsupportedImage: a disk type or version that is not known
    """
    copy = storage.read_at(0, FOOTER.size)
    copy_fields = FOOTER.unpack(copy) if looks_like_footer(copy) else None
    size = FOOTER.size
    last = storage.read_at(max(0, storage.size - FOOTER.size), FOOTER.size)
    if last[1:9] == FOOTER_COOKIE:
        size = SHORT_FOOTER
        last = last[1:] + b"\0"
    if looks_like_footer(last):
        fields = FOOTER.unpack(last)
        found = FoundFooter(fields, storage.size - size, [], [])
        _check(storage, found)
        if copy_fields is not None and _essence(fields) != _essence(copy_fields):
            raise AmbiguousImage("the VHD footer at the end and the one at the beginning of the file describe different disks", path=storage.name)
        if copy_fields is None and fields.disk_type != FIXED:
            found.damage.append("the copy of the footer at the beginning of the file is missing or damaged")
        elif copy_fields is not None and copy_fields != fields:
            differing = ", ".join(name for name in FOOTER.names if name != "checksum" and fields[name] != copy_fields[name])
            found.warnings.append(f"the footer and its copy at the beginning of the file differ in what does not change the disk: {differing}")
        found.warnings.extend(found.damage)
        return found
    damaged = last.startswith(FOOTER_COOKIE) or copy.startswith(FOOTER_COOKIE)
    if copy_fields is not None and copy_fields.disk_type != FIXED:
        found = FoundFooter(copy_fields, storage.size, [], ["the footer at the end of the file is missing or damaged; its copy at the beginning is used"])
        _check(storage, found)
        found.warnings.extend(found.damage)
        return found
    if damaged:
        raise CorruptImage("the VHD footer is damaged (checksum), and there is no good copy of it: truncated?", path=storage.name)
    raise InvalidImage("not a VHD: no footer at the end of the file, nor a copy of it at the beginning", path=storage.name)


def _essence(footer: Fields) -> tuple[int, ...]:
    """What both footers must agree in: readers differ in which of them they look at first."""
    return footer.disk_type, footer.current_size, footer.data_offset, disk_size(footer)


def _check(storage: Storage, found: FoundFooter) -> None:
    footer = found.fields
    if footer.file_format_version != VERSION:
        raise UnsupportedImage(f"VHD version {footer.file_format_version:#010x} is not supported", path=storage.name)
    if footer.disk_type not in TYPES:
        raise UnsupportedImage(f"VHD disk type {footer.disk_type} is not known (2 fixed, 3 dynamic, 4 differencing)", path=storage.name)
    if footer.current_size % SECTOR:
        raise CorruptImage(f"VHD size of {footer.current_size} bytes is no multiple of {SECTOR}", path=storage.name, offset=found.end)
    # A raw disk whose last partition ends with somebody's VHD has a good footer, too, but not of this size.
    if footer.disk_type == FIXED and found.end != footer.current_size:
        raise CorruptImage(
            f"the footer is of a fixed VHD of {footer.current_size} bytes, but {found.end} bytes precede it: truncated, or no VHD as a whole",
            path=storage.name,
            offset=found.end,
        )
    if disk_size(footer) != footer.current_size:
        found.warnings.append(
            f"the size of {footer.current_size} bytes is no product of the geometry; the disk's writer shows its guests the geometry, {disk_size(footer)} bytes"
        )
