# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Formats that end with their header: VHD (its footer) and Apple's UDIF. Source of the VHD rules: vhd/layout.py."""

from __future__ import annotations

import struct

from ...limits import SECTOR
from ...storage.base import Storage
from ..vhd import layout as vhd
from .match import DISK, Match

VHD_FIXED = Match("vhd", DISK, "a fixed VHD image", 95, reader="vhd")
_VHD_DYNAMIC = Match("vhd", DISK, "a dynamic VHD image whose first footer is lost", 90, reader="vhd")
_UDIF = Match("dmg", DISK, "an Apple disk image (UDIF)", 100, reader="dmg", tool="dmg2img, qemu-img or hdiutil (macOS)")


def trailer_matches(storage: Storage, tail: bytes, notes: list[str]) -> list[Match]:
    """What the last sectors say.

    :param storage: the content
    :param tail: its last bytes, at least a sector where there is one
    :param notes: takes what a reader of the result should know
    """
    found = [match for match in (_vhd(storage, tail, notes),) if match]
    if tail[-512:-504] == b"koly" + struct.pack(">I", 4) and tail[-504:-500] == struct.pack(">I", 512):
        found.append(_UDIF)
    return found


def _vhd(storage: Storage, tail: bytes, notes: list[str]) -> Match | None:
    """A footer only counts when it is intact and describes this very file: a raw disk may end in a nested VHD."""
    for length in (SECTOR, SECTOR - 1):  # Virtual PC before 2004 wrote 511 bytes
        raw = tail[-length:].ljust(SECTOR, b"\0")
        if len(tail) < length or not raw.startswith(vhd.FOOTER_COOKIE):
            continue
        if not vhd.looks_like_footer(raw):
            notes.append("the last sector looks like the footer of a VHD, but its checksum is wrong")
            return None
        footer = vhd.FOOTER.unpack(raw)
        if footer.disk_type in (vhd.DYNAMIC, vhd.DIFFERENCING):
            if footer.data_offset < storage.size and storage.read_at(footer.data_offset, 8) == vhd.HEADER_COOKIE:
                return _VHD_DYNAMIC
        elif footer.current_size + length == storage.size:
            return VHD_FIXED
        notes.append("the last sector is the footer of a VHD, but of another one than this file")
        return None
    return None
