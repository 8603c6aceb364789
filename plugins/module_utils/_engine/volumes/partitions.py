# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The partition table of a disk, read from the guest's bytes whatever the image's format: only the sectors it is made of."""

from __future__ import annotations

from ..formats.base import Reader
from . import gpt, mbr
from .table import Disk, PartitionTable, check_places

SECTOR_SIZES = (512, 4096)
_HEAD = 8192
"""the first two sectors of a disk of either sector size"""


def read_partition_table(reader: Reader, sector_size: int | None = None) -> PartitionTable | None:
    """The partition table; None when the disk has none: empty, or a file system without partitions.

    What is wrong with it and does not keep it from being read stands in its ``warnings``: a damaged copy, partitions
    that overlap or reach beyond the end of the disk.

    :param reader: an image whose content can be given
    :param sector_size: bytes of a logical sector where the image tells; None: a GPT tells by its place, and an MBR is
        taken to count in 512
    :raises UnsupportedImage: the content cannot be given
    :raises ImageError: the image is damaged where the table lies
    """
    disk = Disk(reader)
    head = disk.read(0, min(_HEAD, disk.size))
    entries = mbr.entries(head)
    protective = mbr.is_protective(entries)
    sizes = SECTOR_SIZES if sector_size is None else (sector_size,)
    if protective or not entries:
        for size in sizes:
            table = gpt.read_gpt(disk, size, protective)
            if table is None:
                continue
            others = [part for part in mbr.primary_partitions(head, entries or [], size) if part.type != "ee"]
            table.protective_mbr = "hybrid" if others else "protective" if protective else "missing"
            table.mbr_partitions = others
            if not protective:
                table.warn("no protective MBR: operating systems do not look at this GPT")
            check_places(table, disk.size)
            return table
    if entries is None:
        return None
    table = mbr.read_mbr(disk, head, entries, sizes[0])
    if protective:
        table.warn("the MBR says that there is a GPT, but both copies of it are damaged or missing")
    elif any(gpt.has_signature(head, size) for size in sizes):
        table.warn("there is a GPT, too, that the MBR does not speak of: operating systems do not look at it")
    check_places(table, disk.size)
    return table
