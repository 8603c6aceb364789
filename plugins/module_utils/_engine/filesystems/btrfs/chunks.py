# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Where logical addresses lie on the device. Source: btrfs documentation, "On-disk Format", "Chunk tree"; Linux, uapi/linux/btrfs_tree.h.

A file system on one device has chunks that are one run each: single, DUP (two equal runs) and what is left of RAID0 or
RAID1 when it has one stripe here.
"""

from __future__ import annotations

import bisect
import typing as t

from ...errors import CorruptImage, LimitExceeded, UnsupportedImage
from ...structure import Structure

CHUNK = Structure(
    "<",
    ("length", "Q"),
    ("owner", "Q"),
    ("stripe_len", "Q"),
    ("type", "Q"),
    ("io_align", "I"),
    ("io_width", "I"),
    ("sector_size", "I"),
    ("num_stripes", "H"),
    ("sub_stripes", "H"),
)
STRIPE = Structure("<", ("devid", "Q"), ("offset", "Q"), ("dev_uuid", "16s"))

RAID0, RAID1, DUP, RAID10, RAID5, RAID6, RAID1C3, RAID1C4 = (1 << bit for bit in range(3, 11))
_MIRRORED = RAID1 | DUP | RAID1C3 | RAID1C4
_STRIPED = RAID0 | RAID10 | RAID5 | RAID6
MAX_CHUNKS = 500_000
"""Chunks have 1 GiB, less on volumes below 10 GiB; a volume of 64 TiB has some 65,000."""


class Chunk(t.NamedTuple):
    """A run of logical addresses."""

    logical: int
    length: int
    physical: tuple[int, ...]
    """where its copies begin on the device; nowhere if it lies on other devices only"""


class ChunkMap:
    """From logical addresses to places on the device.

    :param devid: the device that is here
    :param name: for messages
    """

    def __init__(self, devid: int, name: str) -> None:
        self._devid = devid
        self._name = name
        self._chunks: dict[int, Chunk] = {}
        self._sorted: list[Chunk] = []

    def add(self, logical: int, item: bytes) -> int:
        """Take in the CHUNK_ITEM that the bytes begin with; its size. ``settle`` has to be called before it counts.

        :raises CorruptImage: it is too short, or contradicts itself
        :raises UnsupportedImage: it is spread over devices
        :raises LimitExceeded: there are too many
        """
        if len(item) < CHUNK.size:
            raise self._damaged(f"the chunk of logical address {logical:#x} has {len(item)} bytes")
        chunk = CHUNK.unpack(item)
        if not chunk.length or not chunk.num_stripes or len(item) < CHUNK.size + chunk.num_stripes * STRIPE.size:
            raise self._damaged(f"the chunk of logical address {logical:#x} has {chunk.length} bytes in {chunk.num_stripes} stripes")
        if (chunk.num_stripes > 1 and not chunk.type & _MIRRORED) or chunk.type & (RAID5 | RAID6):
            if chunk.type & _STRIPED:
                raise UnsupportedImage("the btrfs stripes its data over several devices, and one alone is read", path=self._name)
            raise self._damaged(f"the chunk of logical address {logical:#x} is of type {chunk.type:#x} and has {chunk.num_stripes} stripes")
        stripes = [STRIPE.unpack(item, CHUNK.size + number * STRIPE.size) for number in range(chunk.num_stripes)]
        self._chunks[logical] = Chunk(logical, chunk.length, tuple(stripe.offset for stripe in stripes if stripe.devid == self._devid))
        if len(self._chunks) > MAX_CHUNKS:
            raise LimitExceeded(f"more than {MAX_CHUNKS} chunks", path=self._name)
        return CHUNK.size + chunk.num_stripes * STRIPE.size

    def settle(self) -> None:
        """Make what was added count.

        :raises CorruptImage: chunks overlap
        """
        self._sorted = sorted(self._chunks.values())
        for before, chunk in zip(self._sorted, self._sorted[1:]):
            if before.logical + before.length > chunk.logical:
                raise self._damaged(f"the chunks of logical addresses {before.logical:#x} and {chunk.logical:#x} overlap")

    def copies(self, logical: int, length: int) -> list[int]:
        """The places on the device where the same ``length`` bytes lie, within one chunk.

        :raises CorruptImage: no chunk has all of them
        :raises UnsupportedImage: they are on other devices
        """
        chunk = self._chunk(logical)
        if logical + length > chunk.logical + chunk.length:
            raise self._damaged(f"{length} bytes at logical address {logical:#x} reach over the end of their chunk")
        return [start + logical - chunk.logical for start in chunk.physical]

    def runs(self, logical: int, length: int) -> t.Iterator[tuple[int, int]]:
        """(place on the device, bytes) of a run of logical addresses, which may go over chunks that follow each other.

        :raises CorruptImage: a part is in no chunk
        :raises UnsupportedImage: a part is on other devices
        """
        while length > 0:
            chunk = self._chunk(logical)
            part = min(length, chunk.logical + chunk.length - logical)
            yield chunk.physical[0] + logical - chunk.logical, part
            logical += part
            length -= part

    def _chunk(self, logical: int) -> Chunk:
        at = bisect.bisect_left(self._sorted, (logical + 1,)) - 1
        chunk = self._sorted[at] if at >= 0 else None
        if chunk is None or logical >= chunk.logical + chunk.length:
            raise self._damaged(f"logical address {logical:#x} is in no chunk")
        if not chunk.physical:
            raise UnsupportedImage(f"what is at logical address {logical:#x} lies on other devices of the btrfs", path=self._name)
        return chunk

    def _damaged(self, message: str) -> CorruptImage:
        return CorruptImage(message, path=self._name)
