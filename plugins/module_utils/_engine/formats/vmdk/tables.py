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
from .layout import GT_BYTES, GT_SECTORS, GTES_PER_GT, Header

_RUN = MIB // GT_BYTES
"""Grain tables in a piece: 1 MiB of tables, 16 GiB of disk"""
_ZEROS = bytes(_RUN * GT_BYTES)

Entries = t.Union["array.array[int]", t.List[int]]


def little_endian(raw: bytes) -> array.array[int]:
    """32-bit little-endian table entries as integers; and integers as such bytes, since that is the same swap."""
    entries = array.array("I", raw)
    if sys.byteorder == "big":
        entries.byteswap()
    return entries


class Piece(t.NamedTuple):
    """Consecutive grain tables."""

    index: int
    """of the first"""
    count: int
    raw: bytes | None
    """their entries; None where nothing at all is allocated"""
    sector: int
    """where the first one lies, for messages"""


class GrainTables:
    """Gives the grain tables of an extent in their order.

    What one copy has lost (an entry that points outside of the file, or zeros) is taken from the other. Where both have
    an entry they must agree, for nothing tells which one is right.

    :param storage: the extent's file
    :param header: its header
    """

    def __init__(self, storage: Storage, header: Header) -> None:
        self._storage = storage
        self._header = header
        self._primary: Entries | None = None
        self._redundant: Entries = []
        self.disagreements = 0
        """tables so far whose two copies were not the same"""

    def pieces(self, first: int, last: int) -> t.Iterator[Piece]:
        """The tables ``first`` to ``last`` (not included) in runs that are read in one piece.

        :raises CorruptImage: a table is lost, or the copies contradict each other
        """
        if self._primary is None:
            self._load()
        primary, redundant = t.cast(Entries, self._primary), self._redundant
        index = first
        while index < last:
            count = min(_run(primary, index, last), _run(redundant, index, last))
            one, other = self._usable(primary, index, count), self._usable(redundant, index, count)
            if count > 1 and None in (one, other):
                count = 1  # a damaged run: table by table
                one, other = self._usable(primary, index, 1), self._usable(redundant, index, 1)
            yield self._piece(index, count, one, other)
            index += count

    def _piece(self, index: int, count: int, one: int | None, other: int | None) -> Piece:
        """Tables that begin at sector ``one`` and their copies at ``other``: 0 for not there, None for damaged."""
        if one == other == 0:
            return Piece(index, count, None, 0)
        if not one and not other:
            where = self._header.gd_offset * SECTOR + index * 4
            raise CorruptImage(f"grain directory entry {index} points outside of the file", path=self._storage.name, offset=where)
        if not one or not other:
            if self._redundant:
                self.disagreements += count
            sector = one or other or 0
            return Piece(index, count, self._read(sector, count), sector)
        raw, copy = self._read(one, count), self._read(other, count)
        if raw != copy:
            raw = self._reconcile(raw or _ZEROS[: count * GT_BYTES], copy or _ZEROS[: count * GT_BYTES], one)
        return Piece(index, count, raw, one)

    def _load(self) -> None:
        header = self._header
        primary = self._directory(header.gd_offset)
        redundant = self._directory(header.rgd_offset) if header.rgd_offset else None
        if primary is None and redundant is None:
            raise CorruptImage(
                f"the grain directory (sector {header.gd_offset}) is not inside the file: truncated, or a damaged header",
                path=self._storage.name,
                offset=56,
            )
        if primary is None or (redundant is None and header.rgd_offset):
            self.disagreements += 1
        self._primary, self._redundant = (primary, redundant or []) if primary is not None else (redundant or [], [])

    def _directory(self, sector: int) -> Entries | None:
        size = self._header.tables * 4
        if sector < self._header.first_table or sector * SECTOR + size > self._storage.size:
            return None
        return little_endian(self._storage.read_exact(sector * SECTOR, size, "the grain directory"))

    def _usable(self, entries: Entries, index: int, count: int) -> int | None:
        """The sector of a run of tables; 0 where there are none; None where they cannot be there."""
        sector = entries[index] if entries else 0
        if sector and (sector < self._header.first_table or (sector + count * GT_SECTORS) * SECTOR > self._storage.size):
            return None
        return sector

    def _read(self, sector: int, count: int) -> bytes | None:
        offset, length = sector * SECTOR, count * GT_BYTES
        if next(self._storage.data_ranges(offset, offset + length), None) is None:
            return None  # a hole in the file: the tables of a new, large disk
        raw = self._storage.read_exact(offset, length, "a grain table")
        return None if raw == _ZEROS[:length] else raw

    def _reconcile(self, raw: bytes, copy: bytes, sector: int) -> bytes:
        """Two copies of the same tables that are not the same, as one."""
        one, other = little_endian(raw), little_endian(copy)
        for at, (entry, second) in enumerate(zip(one, other)):
            if entry != second:
                if entry and second:
                    raise CorruptImage(
                        f"the grain tables contradict each other: entry {at % GTES_PER_GT} is {entry:#x}, in the redundant table {second:#x}",
                        path=self._storage.name,
                        offset=sector * SECTOR + at * 4,
                    )
                one[at] = entry or second
        self.disagreements += 1
        return little_endian(one.tobytes()).tobytes()


def _run(entries: Entries, index: int, last: int) -> int:
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
