# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""All volumes of a disk that may hold a file system: the disk itself, its partitions, the logical volumes in them."""

from __future__ import annotations

import dataclasses
import typing as t

from ..storage.base import Storage
from .lvm2.volumes import LogicalVolume, logical_volumes
from .table import Partition, PartitionTable


@dataclasses.dataclass
class Volume:
    """A part of a disk, or of several."""

    name: str
    """``vda``, ``vda1`` (as Linux names them on virtio-blk) or ``group/volume``"""
    storage: Storage | None
    """None: it cannot be read, for the ``reason``"""
    partition: Partition | None = None
    logical_volume: LogicalVolume | None = None
    reason: str | None = None
    warnings: list[str] = dataclasses.field(default_factory=list)


def find_volumes(disk: Storage, table: PartitionTable | None, name: str = "vda") -> list[Volume]:
    """The volumes of a disk in the order of their numbers, logical volumes behind them.

    Of several disks, the logical volumes are found with ``disk_volumes`` for each and ``logical_volumes_in`` for all.

    :param disk: what the guest sees of it
    :param table: its partition table; None: it has none
    :param name: the guest's name of the disk
    """
    found = disk_volumes(disk, table, name)
    return found + logical_volumes_in(found)


def disk_volumes(disk: Storage, table: PartitionTable | None, name: str = "vda") -> list[Volume]:
    """The partitions of a disk without extended ones, which only hold others; the whole disk when it has no partition table.

    Beside a hybrid MBR, it is the GPT that counts, as for Linux.
    """
    if table is None:
        return [Volume(name, disk)]
    return [_partition(disk, part, name) for part in table.partitions if part.kind != "extended"]


def logical_volumes_in(volumes: t.Sequence[Volume]) -> list[Volume]:
    """The logical volumes of the physical ones among these. What is wrong with a physical one goes to its warnings."""
    by_name = {volume.name: volume for volume in volumes}
    physical = [(volume.name, volume.storage) for volume in volumes if volume.storage is not None]
    found = logical_volumes(physical, lambda name, text: by_name[name].warnings.append(text))
    return [Volume(part.name, part.storage, logical_volume=part, reason=part.reason) for part in found]


def _partition(disk: Storage, part: Partition, name: str) -> Volume:
    digit = name[-1:].isdigit()  # nvme0n1p1
    volume = Volume(f"{name}{'p' if digit else ''}{part.number}", None, part)
    if part.start >= disk.size:
        volume.reason = "it begins behind the end of the disk"
        return volume
    length = part.length
    if part.end > disk.size:
        length = disk.size - part.start
        volume.warnings.append(f"it is cut at the end of the disk: {part.end - disk.size} bytes are missing")
    volume.storage = disk.window(part.start, length, f"{disk.name}!{volume.name}")
    return volume
