# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Grain directory and grain tables of a sparse extent, read through both of their copies.

Source: VMware, "Virtual Disk Format 5.0", section "Grain Directory and Grain Tables in Hosted Sparse Extents". The
redundant grain directory has grain tables of its own: a second copy of everything, which other readers ignore.
"""

from __future__ import annotations

import array
import sys
import typing as t

from ...errors import CorruptImage
from ...limits import MIB, SECTOR
from ...storage.base import Storage
from .layout import GT_BYTES, GT_SECTORS, Header

_RUN = MIB // GT_BYTES
"""Grain tables in a piece: 1 MiB of tables, 16 GiB of disk"""
_ZEROS = bytes(_RUN * GT_BYTES)

_NONE = array.array("I")


def little_endian(raw: bytes) -> array.array[int]:
    """32-bit little-endian table entries as integers; and integers as such bytes, since that is the same swap."""
    entries = array.array("I", raw)
    if sys.byteorder == "big":
        entries.byteswap()
    return entries


class Piece(t.NamedTuple):
    """Consecutive grain tables."""

    first: int
    """index in the directory"""
    tables: int
    raw: bytes | None
    """their entries; None where nothing at all is allocated"""
    sector: int
    """where the first one lies, for messages"""


class GrainTables:
    """Gives the grain tables of an extent in their order.

    Where the grain directory is damaged (it lies outside of the file, or an entry of it does or is zero) the redundant one
    is followed. Where both have a table its two copies must be equal, for nothing tells which one is right.

    :param storage: the extent's file
    :param header: its header
    """

    def __init__(self, storage: Storage, header: Header) -> None:
        self._storage = storage
        self._header = header
        self._primary: array.array[int] | None = None
        self._redundant = _NONE
        self.rescued = 0
        """tables so far that only one of the two directories has"""

    def pieces(self, first: int, last: int) -> t.Iterator[Piece]:
        """The tables ``first`` to ``last`` (not included) in runs that are read in one piece.

        :raises CorruptImage: a table is lost, or the copies contradict each other
        """
        primary, redundant = self._directories()
        left = [self._storage.size]  # bytes: no table is read twice, or few of them would stand for a large disk
        index = first
        while index < last:
            count = min(_run(primary, index, last), _run(redundant, index, last))
            one, other = self._usable(primary, index, count), self._usable(redundant, index, count)
            if count > 1 and None in (one, other):
                count = 1  # a damaged run: table by table
                one, other = self._usable(primary, index, 1), self._usable(redundant, index, 1)
            yield self._piece(index, count, one, other, left)
            index += count

    def places(self) -> t.Iterator[tuple[int, int]]:
        """The (sector, number of sectors) ranges where the directories and the tables lie, each once."""
        header, (primary, redundant) = self._header, self._directories()
        sectors = -(-header.tables * 4 // SECTOR)
        yield header.gd_offset, sectors
        if header.rgd_offset not in (0, header.gd_offset):
            yield header.rgd_offset, sectors
        for entries, other in ((primary, _NONE), (redundant, primary)):
            index = 0
            while index < len(entries):
                count = _run(entries, index, len(entries))
                if entries[index] and entries[index : index + count] != other[index : index + count]:
                    yield entries[index], count * GT_SECTORS
                index += count

    def _piece(self, index: int, count: int, one: int | None, other: int | None, left: list[int]) -> Piece:
        """Tables that begin at sector ``one`` and their copies at ``other``: 0 for not there, None for damaged."""
        if one == other == 0:
            return Piece(index, count, None, 0)
        if not one and not other:
            where = self._header.gd_offset * SECTOR + index * 4
            raise CorruptImage(f"grain directory entry {index} points outside of the file", path=self._storage.name, offset=where)
        if not one or not other:
            if self._redundant:
                self.rescued += count
            sector = one or other or 0
            return Piece(index, count, self._read(sector, count, left), sector)
        raw = self._read(one, count, left)
        if one != other and raw != self._read(other, count, left):
            raise CorruptImage(
                f"grain tables {index} to {index + count - 1} are not the same as their redundant copies (at byte {other * SECTOR:#x})",
                path=self._storage.name,
                offset=one * SECTOR,
                hint="The image was not closed cleanly, or is damaged; have its own program repair it",
            )
        return Piece(index, count, raw, one)

    def _directories(self) -> tuple[array.array[int], array.array[int]]:
        """Both grain directories; the second is empty where there is no redundant one, or it takes the first one's place."""
        if self._primary is None:
            header = self._header
            primary = self._directory(header.gd_offset)
            redundant = self._directory(header.rgd_offset) if header.rgd_offset else _NONE
            if redundant is None or (primary is None and not redundant):
                which, field = ("redundant grain directory", 48) if redundant is None else ("grain directory", 56)
                raise CorruptImage(f"the {which} is not inside the file: truncated, or a damaged header", path=self._storage.name, offset=field)
            if primary is None:
                primary, redundant = redundant, _NONE
                self.rescued += header.tables
            self._primary, self._redundant = primary, redundant
        return self._primary, self._redundant

    def _directory(self, sector: int) -> array.array[int] | None:
        size = self._header.tables * 4
        if sector < self._header.first_table or sector * SECTOR + size > self._storage.size:
            return None
        return little_endian(self._storage.read_exact(sector * SECTOR, size, "the grain directory"))

    def _usable(self, entries: array.array[int], index: int, count: int) -> int | None:
        """The sector of a run of tables; 0 where there are none; None where they cannot be there."""
        sector = entries[index] if entries else 0
        if sector and (sector < self._header.first_table or (sector + count * GT_SECTORS) * SECTOR > self._storage.size):
            return None
        return sector

    def _read(self, sector: int, count: int, left: list[int]) -> bytes | None:
        offset, length = sector * SECTOR, count * GT_BYTES
        if next(self._storage.data_ranges(offset, offset + length), None) is None:
            return None  # a hole in the file: the tables of a new, large disk
        raw = self._storage.read_exact(offset, length, "a grain table")
        left[0] -= length
        if left[0] < 0:
            raise CorruptImage("several entries of the grain directory name the same grain table", path=self._storage.name, offset=offset)
        return None if raw == _ZEROS[:length] else raw


def _run(entries: array.array[int], index: int, last: int) -> int:
    """How many entries from ``index`` on are all zero, or those of tables that lie one behind the other (at most _RUN)."""
    most = min(last - index, _RUN)
    if not entries:
        return most
    first = entries[index]
    step = GT_SECTORS if first else 0
    if first + most * step <= 0xFFFFFFFF:
        wanted = array.array("I", range(first, first + most * step, step) if step else bytes(most * 4))
        if entries[index : index + most] == wanted:
            return most
    count = 1
    while count < most and entries[index + count] == first + count * step:
        count += 1
    return count
