# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The bitmap directory. Source: qemu, docs/interop/qcow2.rst, sections "Bitmaps extension" and "Bitmaps"."""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import CorruptImage
from ...storage.base import Storage
from . import layout


@dataclasses.dataclass(frozen=True)
class Bitmap:
    """An entry of the bitmap directory."""

    name: str
    granularity: int
    """guest bytes for each bit"""
    flags: int
    table_offset: int
    table_size: int
    """entries"""


def read_bitmaps(storage: Storage, header: layout.Header) -> t.Iterator[Bitmap]:
    """The bitmaps of which the image's header tells, one after the other.

    :raises CorruptImage: an entry is out of its bounds, or not inside the file
    """
    offset = header.bitmap_directory_offset
    if header.bitmaps > layout.MAX_BITMAPS or not offset or offset % header.cluster_size:
        raise CorruptImage(f"{header.bitmaps} bitmaps with their directory at {offset:#x} are not possible", path=storage.name)
    storage.require(offset, header.bitmap_directory_size, "the bitmap directory")
    end = offset + header.bitmap_directory_size
    for _number in range(header.bitmaps):
        entry = layout.BITMAP.unpack(storage.read_exact(offset, layout.BITMAP.size, "a bitmap directory entry"))
        name_at = offset + layout.BITMAP.size + entry.extra_data_size
        following = offset + -(-(layout.BITMAP.size + entry.extra_data_size + entry.name_size) // 8) * 8
        if following > end or not 0 < entry.name_size <= layout.MAX_BITMAP_NAME or entry.granularity_bits > 63:
            raise CorruptImage("a bitmap directory entry is out of its bounds", path=storage.name, offset=offset)
        if entry.bitmap_table_offset % header.cluster_size:
            raise CorruptImage("a bitmap table is not aligned to a cluster", path=storage.name, offset=offset)
        name = storage.read_exact(name_at, entry.name_size, "the name of a bitmap").decode("utf-8", "replace")
        yield Bitmap(name, 1 << entry.granularity_bits, entry.flags, entry.bitmap_table_offset, entry.bitmap_table_size)
        offset = following
