# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""A volume group: its physical and logical volumes, out of the text that LVM2 keeps of it. Source: lvm2, lib/format_text/import_vsn1.c."""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import CorruptImage, printable
from ...limits import MAX_VIRTUAL_SIZE, SECTOR
from .text import Section, parse

_MAX_EXTENTS = 1 << 32


@dataclasses.dataclass(frozen=True)
class Physical:
    """A physical volume as the group knows it."""

    uuid: str
    start: int
    """bytes to the first extent"""
    extents: int


@dataclasses.dataclass(frozen=True)
class Segment:
    """A run of a logical volume. ``start`` and ``extents`` count in the group's extents."""

    start: int
    extents: int
    type: str
    """LVM's: ``striped`` (a linear one is a single stripe), ``thin``, ``raid1`` …"""
    stripes: tuple[tuple[str, int], ...] = ()
    """name in the group of a physical volume, its first extent"""
    stripe_size: int = 0
    """bytes that go to one stripe before the next one's turn; 0 when there is one only"""
    cow_store: str | None = None
    """of a snapshot: the logical volume that holds what has changed"""


@dataclasses.dataclass(frozen=True)
class Logical:
    """A logical volume as the group knows it."""

    name: str
    uuid: str
    visible: bool
    segments: tuple[Segment, ...]

    @property
    def extents(self) -> int:
        return sum(segment.extents for segment in self.segments)


@dataclasses.dataclass(frozen=True)
class Group:
    """A volume group."""

    name: str
    uuid: str
    seqno: int
    """rises with every change"""
    extent_size: int
    """bytes"""
    physical: t.Mapping[str, Physical]
    """by the names that segments use"""
    logical: t.Mapping[str, Logical]


def read_group(data: bytes, path: str) -> Group:
    """The volume group that a text describes.

    :param data: the text of a metadata area
    :param path: for messages
    :raises CorruptImage: the text is damaged, or says what cannot be
    :raises LimitExceeded: it has too many values
    """
    top = parse(data, path)
    read = _Reader(path)
    groups = [(name, value) for name, value in top.items() if isinstance(value, dict)]
    if len(groups) != 1:
        raise CorruptImage(f"LVM's metadata describes {len(groups)} volume groups, not one", path=path)
    name, section = groups[0]
    extent_size = read.number(section, "extent_size", 1, 1 << 32) * SECTOR
    return Group(
        name,
        read.text(section, "id"),
        read.number(section, "seqno", 0, 1 << 32),
        extent_size,
        {key: read.physical(value) for key, value in read.sections(section, "physical_volumes")},
        {key: read.logical(key, value, extent_size) for key, value in read.sections(section, "logical_volumes")},
    )


class _Reader:
    """Takes values out of sections, and says what is wrong with them."""

    def __init__(self, path: str) -> None:
        self._path = path

    def number(self, section: Section, key: str, low: int, high: int) -> int:
        value = section.get(key)
        if not isinstance(value, int) or not low <= value <= high:
            raise self._wrong(key, value)
        return value

    def text(self, section: Section, key: str) -> str:
        value = section.get(key)
        if not isinstance(value, str):
            raise self._wrong(key, value)
        return value

    def sections(self, section: Section, key: str) -> t.Iterator[tuple[str, Section]]:
        """The named sections in one that may be missing."""
        inner = section.get(key, {})
        for name, value in inner.items() if isinstance(inner, dict) else [(key, inner)]:
            if not isinstance(value, dict):
                raise self._wrong(name, value)
            yield name, value

    def physical(self, section: Section) -> Physical:
        start = self.number(section, "pe_start", 0, MAX_VIRTUAL_SIZE // SECTOR) * SECTOR
        return Physical(self.text(section, "id"), start, self.number(section, "pe_count", 0, _MAX_EXTENTS))

    def logical(self, name: str, section: Section, extent_size: int) -> Logical:
        status = section.get("status")
        count = self.number(section, "segment_count", 0, _MAX_EXTENTS)
        segments: list[Segment] = []
        at = 0
        for number in range(1, count + 1):
            inner = section.get(f"segment{number}")
            if not isinstance(inner, dict):
                raise self._wrong(f"segment{number}", inner)
            segment = self._segment(inner)
            if segment.start != at:
                raise CorruptImage(f"LVM's metadata is damaged: {printable(name)} has a gap, or an overlap, at extent {at}", path=self._path)
            at += segment.extents
            segments.append(segment)
        if at * extent_size > MAX_VIRTUAL_SIZE:
            raise CorruptImage(f"LVM's metadata is damaged: {printable(name)} has {at} extents", path=self._path)
        return Logical(name, self.text(section, "id"), isinstance(status, list) and "VISIBLE" in status, tuple(segments))

    def _segment(self, section: Section) -> Segment:
        start = self.number(section, "start_extent", 0, _MAX_EXTENTS)
        extents = self.number(section, "extent_count", 1, _MAX_EXTENTS)
        kind = self.text(section, "type").partition("+")[0]  # what follows are flags
        cow_store = section.get("cow_store")
        if kind != "striped":
            return Segment(start, extents, kind, cow_store=cow_store if isinstance(cow_store, str) else None)
        stripes = section.get("stripes")
        count = self.number(section, "stripe_count", 1, 128)  # LVM's own bound
        if not isinstance(stripes, list) or len(stripes) != 2 * count or extents % count:
            raise self._wrong("stripes", stripes)
        pairs = []
        for name, first in zip(stripes[::2], stripes[1::2]):
            if not isinstance(name, str) or not isinstance(first, int) or not 0 <= first < _MAX_EXTENTS:
                raise self._wrong("stripes", stripes)
            pairs.append((name, first))
        size = self.number(section, "stripe_size", 1, 1 << 32) * SECTOR if count > 1 else 0
        return Segment(start, extents, kind, tuple(pairs), size)

    def _wrong(self, key: str, value: object) -> CorruptImage:
        what = "is missing" if value is None else f"cannot be {printable(repr(value)[:80])}"
        return CorruptImage(f"LVM's metadata is damaged: {printable(key)} {what}", path=self._path)
