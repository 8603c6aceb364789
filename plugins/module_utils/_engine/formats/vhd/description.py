# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What a VHD says of itself beyond what all formats have, by the specification's names. See layout.py for the source."""

from __future__ import annotations

import datetime
import typing as t
import uuid

from ...errors import printable
from ...storage.base import Storage
from ...structure import Fields
from .layout import BATMAP, BATMAP_COOKIE, DIFFERENCING, geometry_size

WRITERS = {
    "vpc": "Microsoft Virtual PC",
    "vs": "Microsoft Virtual Server",
    "win": "Microsoft Windows",
    "qemu": "QEMU",
    "qem2": "QEMU",
    "d2v": "Disk2vhd",
    "tap": "XenServer",
    "CTXS": "Citrix XenConverter",
    "wa": "Microsoft Azure",
    "vbox": "VirtualBox",
}
_EPOCH = datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc)


def footer_facts(footer: Fields) -> dict[str, t.Any]:
    """The footer's fields. A time is seconds since 2000 (UTC), 0 where the writer did not tell one."""
    return {
        "creator_application": _text(footer.creator_application),
        "creator_version": f"{footer.creator_version >> 16}.{footer.creator_version & 0xFFFF}",
        "creator_host_os": _text(footer.creator_host_os),
        "time_stamp": footer.time_stamp,
        "time_stamp_utc": _time(footer.time_stamp),
        "original_size": footer.original_size,
        "current_size": footer.current_size,
        "geometry": {"cylinders": footer.cylinders, "heads": footer.heads, "sectors_per_track": footer.sectors_per_track},
        "geometry_size": geometry_size(footer),
        "unique_id": str(uuid.UUID(bytes=footer.unique_id)),
        "saved_state": bool(footer.saved_state),
    }


def header_facts(header: Fields, disk_type: int) -> dict[str, t.Any]:
    """The fields of the dynamic disk header; those of the parent where there is one."""
    facts: dict[str, t.Any] = {"table_offset": header.table_offset, "max_table_entries": header.max_table_entries}
    if disk_type == DIFFERENCING:
        facts["parent_unique_id"] = str(uuid.UUID(bytes=header.parent_unique_id))
        facts["parent_time_stamp"] = header.parent_time_stamp
        facts["parent_time_stamp_utc"] = _time(header.parent_time_stamp)
        facts["parent_unicode_name"] = printable(header.parent_unicode_name.decode("utf-16-be", "replace").partition("\0")[0])
    return facts


def read_batmap(storage: Storage, header: Fields) -> Fields | None:
    """XenServer's bitmap of whole blocks, which nobody needs to read the disk; None where there is none.

    :return: its header, with ``offset``: where that lies
    """
    offset = -(-(header.table_offset + 4 * header.max_table_entries) // 512) * 512
    raw = storage.read_at(offset, BATMAP.size)
    if len(raw) < BATMAP.size or not raw.startswith(BATMAP_COOKIE):
        return None
    batmap = BATMAP.unpack(raw)
    batmap["offset"] = offset
    return batmap


def _text(stored: bytes) -> str:
    return printable(stored.decode("latin-1").rstrip(" \0"))


def _time(stamp: int) -> str | None:
    return (_EPOCH + datetime.timedelta(seconds=stamp)).strftime("%Y-%m-%dT%H:%M:%SZ") if stamp else None
