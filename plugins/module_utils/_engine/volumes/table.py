# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What a partition table says, whatever its kind; and the disk that it is read from."""

from __future__ import annotations

import dataclasses

from ..errors import printable
from ..formats.base import Reader
from ..limits import KIB, MIB

MAX_WARNINGS = 20
_HEAD, _TAIL = 1 * MIB, 64 * KIB
"""What of a compressed stream is always at hand (storage/stream.py)."""


@dataclasses.dataclass
class Partition:
    """A partition. ``start`` and ``length`` are bytes of the guest disk."""

    number: int
    """as Linux counts: ``sda1`` is 1; logical partitions begin at 5"""
    start: int
    length: int
    type: str
    """as sfdisk has it: of MBR a hexadecimal number (``83``, ``c``), of GPT a GUID in capitals"""
    type_name: str | None
    """in sfdisk's words; None: a type that it has no name for"""
    kind: str = "primary"
    """``primary``, ``extended`` or ``logical``; of GPT always ``primary``"""
    name: str | None = None
    """GPT only"""
    uuid: str | None = None
    """of GPT the partition's GUID; of MBR what Linux calls its PARTUUID. None: the disk has no id"""
    bootable: bool = False
    """the MBR's flag, GPT's LegacyBIOSBootable"""
    attributes: list[str] = dataclasses.field(default_factory=list)
    """GPT's, in sfdisk's words (``RequiredPartition``, ``GUID:63`` …)"""

    @property
    def end(self) -> int:
        return self.start + self.length


@dataclasses.dataclass
class PartitionTable:
    """The partition table of a disk. Offsets are bytes."""

    label: str
    """``dos`` (MBR) or ``gpt``"""
    sector_size: int
    """bytes of a logical sector, in which the table counts: 512 or 4096"""
    id: str | None
    """the disk's: of MBR as ``0xe65e7800``, of GPT a GUID; None: it has none"""
    partitions: list[Partition]
    protective_mbr: str | None = None
    """GPT only: ``protective``; ``hybrid``, an MBR that has partitions beside the protective one; or ``missing``"""
    mbr_partitions: list[Partition] = dataclasses.field(default_factory=list)
    """what a hybrid MBR shows to those who do not know GPT"""
    usable_start: int | None = None
    """GPT only: partitions lie between these"""
    usable_end: int | None = None
    used_backup: bool = False
    """the first GPT is damaged, so its backup was read"""
    warnings: list[str] = dataclasses.field(default_factory=list)

    def warn(self, text: str) -> None:
        """Note what is not as it should be; of very many notes only the first."""
        if len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(text)
        elif len(self.warnings) == MAX_WARNINGS:
            self.warnings.append("… and more")


class Disk:
    """Guest bytes of an image, as far as they are cheap to have.

    :param reader: an image that can be read
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.size = reader.virtual_size

    def reaches(self, offset: int, length: int) -> bool:
        """Whether reading a range does not mean to decompress a stream from its beginning."""
        return not self._reader.storage.sequential or offset + length <= _HEAD or offset >= self.size - _TAIL

    def read(self, offset: int, length: int) -> bytes:
        """:raises ImageError: the image is damaged there"""
        return self._reader.read_at(offset, length)


def check_places(table: PartitionTable, size: int) -> None:
    """Warn of partitions that reach beyond the end of the disk (``size`` bytes), or overlap."""
    for partition in table.partitions:
        if partition.end > size:
            table.warn(f"partition {partition.number} ends at byte {partition.end}, behind the end of the disk ({size} bytes)")
    # An extended partition holds the logical ones, so it is compared with the primary ones only.
    last: Partition | None = None
    for partition in sorted((part for part in table.partitions if part.kind != "extended" and part.length), key=lambda part: (part.start, part.number)):
        if last is not None and partition.start < last.end:
            table.warn(f"partitions {last.number} and {partition.number} overlap")
        if last is None or partition.end > last.end:
            last = partition
    for extended in (part for part in table.partitions if part.kind == "extended"):
        for partition in table.partitions:
            if partition.kind == "primary" and partition.start < extended.end and extended.start < partition.end:
                table.warn(f"partitions {partition.number} and {extended.number} overlap")


def text_of(stored: bytes) -> str | None:
    """A GPT name: UTF-16, filled up with zeros."""
    return printable(stored.decode("utf-16-le", "replace").partition("\0")[0]) or None
