# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What a guest range of a virtual disk is made of."""

from __future__ import annotations

import typing as t

if t.TYPE_CHECKING:  # pragma: no cover
    from .storage.base import Storage

DATA = "data"
"""The bytes lie uncompressed at a host offset."""
ZERO = "zero"
"""The image says: reads as zeros."""
HOLE = "hole"
"""Nothing is allocated, in a backing image neither: reads as zeros."""
COMPRESSED = "compressed"
"""The bytes are (part of) one compressed unit at a host offset."""


class Stored(t.NamedTuple):
    """How a compressed unit (qcow2 cluster, VMDK grain) lies in its storage."""

    codec: str
    """``deflate`` (raw stream), ``zlib`` or ``zstd``; see codecs.py"""
    length: int
    """bytes to read; the stream may end before"""
    unit: int
    """bytes that the unit decompresses to"""
    skip: int
    """bytes of the decompressed unit before the extent's first"""


class Extent(t.NamedTuple):
    """A run of guest bytes of one kind. Readers give them in rising guest order, without gaps or overlaps."""

    start: int
    """guest offset, bytes"""
    length: int
    """guest bytes"""
    kind: str
    storage: Storage | None = None
    """where the bytes are (``data`` and ``compressed``)"""
    offset: int = 0
    """host offset in storage, bytes"""
    stored: Stored | None = None
    """``compressed`` only"""

    @property
    def end(self) -> int:
        return self.start + self.length

    @property
    def is_zero(self) -> bool:
        return self.kind in (ZERO, HOLE)

    def clip(self, start: int, end: int) -> Extent:
        """The part of the extent inside the guest range ``start`` to ``end`` (which must overlap it)."""
        if start <= self.start and end >= self.end:
            return self
        first = max(start, self.start)
        moved = first - self.start
        length = min(end, self.end) - first
        stored = self.stored._replace(skip=self.stored.skip + moved) if self.stored else None
        offset = self.offset + moved if self.kind == DATA else self.offset
        return Extent(first, length, self.kind, self.storage, offset, stored)


def merge(extents: t.Iterable[Extent]) -> t.Iterator[Extent]:
    """Join neighbours that continue each other: zeros of one kind, data that is contiguous in one storage."""
    last: Extent | None = None
    for extent in extents:
        if (
            last is not None
            and extent.kind == last.kind
            and extent.kind != COMPRESSED
            and extent.start == last.end
            and (extent.kind != DATA or (extent.storage is last.storage and extent.offset == last.offset + last.length))
        ):
            last = last._replace(length=last.length + extent.length)
            continue
        if last is not None:
            yield last
        last = extent
    if last is not None:
        yield last


def within(extents: t.Iterable[Extent], start: int, end: int) -> t.Iterator[Extent]:
    """What of some extents is inside the guest range ``start`` to ``end``."""
    return (extent.clip(start, end) for extent in extents if extent.end > start and extent.start < end)


def fill_holes(extents: t.Iterable[Extent], below: t.Callable[[int, int], t.Iterator[Extent]], end: int) -> t.Iterator[Extent]:
    """An overlay's extents with the image below it in the place of their holes.

    Both are walked once, side by side.

    :param extents: the overlay's, in order
    :param below: gives the extents of the image below from a guest offset on, for a length
    :param end: where the image below ends, or what is asked for does; behind it holes stay holes
    """
    others: t.Iterator[Extent] | None = None
    other: Extent | None = None
    for extent in extents:
        if extent.kind != HOLE or extent.start >= end:
            yield extent
            continue
        position = extent.start
        if others is None:
            others = below(position, end - position)
        while position < extent.end:
            while other is None or other.end <= position:
                other = next(others, None)
                if other is None:
                    break
            if other is None:  # the image below is shorter
                yield Extent(position, extent.end - position, HOLE)
                break
            part = other.clip(position, extent.end)
            yield part
            position = part.end


def skip_holes(extents: t.Iterable[Extent]) -> t.Iterator[Extent]:
    """Where data lies in a hole of a sparse file it reads as zeros: say so, and nobody reads it.

    For formats whose files have such holes: blocks of megabytes that are touched in parts, or written in advance.
    """
    for extent in extents:
        storage = extent.storage
        if extent.kind != DATA or storage is None or storage.allocated() >= storage.size:
            yield extent
            continue
        moved = extent.start - extent.offset
        position = extent.start
        for offset, length in storage.data_ranges(extent.offset, extent.offset + extent.length):
            if offset + moved > position:
                yield Extent(position, offset + moved - position, HOLE)
            yield Extent(offset + moved, length, DATA, storage, offset)
            position = offset + moved + length
        if position < extent.end:
            yield Extent(position, extent.end - position, HOLE)
