# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Members of a ZFS pool. Source: "ZFS On-Disk Specification" (2006), sections 1.2 (labels) and 1.3.3 (the XDR name-value list)."""

from __future__ import annotations

import struct

from ...limits import KIB, MIB
from ...storage.base import Storage
from ..base import Signature
from .values import FILESYSTEM, text

LABEL_SIZE = 256 * KIB
NVLIST_OFFSET, NVLIST_SIZE = 16 * KIB, 112 * KIB
_MIN_SIZE = 64 * MIB
_UINT64, _STRING = 8, 9
_HEADER = 12
"""bytes before the first pair: encoding, byte order, version and flags"""
_MAX_PAIRS = 1000


def identify(storage: Storage) -> Signature | None:
    """A member of a pool, by the two labels at its beginning; None when it is none. The label is the pool's name."""
    if storage.size < _MIN_SIZE:
        return None
    for number in (0, 1):
        start = number * LABEL_SIZE + NVLIST_OFFSET
        if storage.read_at(start, 2) in (b"\1\0", b"\1\1"):
            pairs = _pairs(storage.read_at(start, NVLIST_SIZE))
            if "pool_guid" in pairs and "txg" in pairs:
                name = pairs.get("name")
                return Signature(
                    "zfs_member", FILESYSTEM, text(name) if isinstance(name, bytes) else None, str(pairs["pool_guid"]), str(pairs.get("version", "")) or None
                )
    return None


def _pairs(data: bytes) -> dict[str, int | bytes]:
    """Numbers and strings of the outermost list. A pair tells its own length, so that lists in it are stepped over."""
    found: dict[str, int | bytes] = {}
    at = _HEADER
    for _number in range(_MAX_PAIRS):
        if at + 12 > len(data):
            break
        size, _decoded, length = struct.unpack_from(">III", data, at)
        value = at + 12 + (length + 3) // 4 * 4
        if size < 24 or value + 16 > len(data) or at + size > len(data):
            break
        name = data[at + 12 : at + 12 + length].decode("ascii", "replace")
        kind, _count = struct.unpack_from(">II", data, value)
        if kind == _UINT64:
            found[name] = int(struct.unpack_from(">Q", data, value + 8)[0])
        elif kind == _STRING:
            found[name] = data[value + 12 : value + 12 + int(struct.unpack_from(">I", data, value + 8)[0])]
        at += size
    return found
