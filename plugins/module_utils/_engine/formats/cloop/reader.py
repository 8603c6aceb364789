# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Reads cloop images, version 2: the compressed CD images of Knoppix. A shell script, then numbers, then blocks. Big endian.

Sources: cloop 2.x, compressed_loop.h (struct cloop_head); qemu, block/cloop.c, for what is accepted. All sizes are bytes.
"""

from __future__ import annotations

import struct
import typing as t

from ...codecs import ZLIB
from ...errors import CorruptImage, InvalidImage, LimitExceeded
from ...extents import COMPRESSED, Extent, Stored
from ...limits import MIB, SECTOR
from ...storage.base import Storage
from ...structure import Structure
from ..base import ImageInfo, Reader, check_virtual_size

PREAMBLE = b"#!/bin/sh\n#V2.0 Format\n"
HEADER = Structure(">", ("preamble", "128s"), ("block_size", "I"), ("num_blocks", "I"))
"""Followed by ``num_blocks`` + 1 offsets of 8 bytes: each block ends where the next one begins"""

MAX_BLOCK = 8 * MIB
"""create_compressed_fs warns above 256 KiB, qemu takes 64 MiB. Several threads hold blocks in memory at once."""
_SLACK = 1024
"""zlib makes noise larger by less than its thousandth part and this"""
_PIECE = 1 << 16
"""offsets read at once (512 KiB)"""


class CloopReader(Reader):
    """A cloop image.

    :raises InvalidImage: no signature
    :raises CorruptImage: the header contradicts itself or the size of the file
    :raises LimitExceeded: the disk or its blocks are too large
    """

    format = "cloop"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self._header = header = HEADER.unpack(storage.read_at(0, HEADER.size).ljust(HEADER.size, b"\0"))
        name = storage.name
        if not header.preamble.startswith(PREAMBLE):
            raise InvalidImage("not a cloop image: no signature", path=name, offset=0)
        storage.require(0, HEADER.size, "the header")
        if not header.block_size or header.block_size % SECTOR:
            raise CorruptImage(f"blocks of {header.block_size} bytes; a multiple of {SECTOR} is possible", path=name, offset=128)
        if header.block_size > MAX_BLOCK:
            raise LimitExceeded(f"blocks of {header.block_size} bytes; {MAX_BLOCK} is the most that is taken", path=name, offset=128)
        self.virtual_size = check_virtual_size(header.block_size * header.num_blocks, name)
        self._table_end = HEADER.size + 8 * (header.num_blocks + 1)
        storage.require(HEADER.size, self._table_end - HEADER.size, "the table of offsets")

    def describe(self) -> ImageInfo:
        return ImageInfo(self.format, self.virtual_size, cluster_size=self._header.block_size, compressed=True)

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        self.require_readable()
        start, end = self.range(start, length)
        if start < end:
            unit = self._header.block_size
            for number, offset, stored in self._blocks(start // unit, -(-end // unit)):
                yield Extent(number * unit, unit, COMPRESSED, self.storage, offset, Stored(ZLIB, stored, unit, 0)).clip(start, end)

    def _blocks(self, first: int, end: int) -> t.Iterator[tuple[int, int, int]]:
        """(number, host offset, stored bytes) of the blocks ``first`` to ``end``.

        :raises CorruptImage: a block lies behind the end of the file or on the table, or has an impossible size
        """
        storage, largest = self.storage, 2 * self._header.block_size + _SLACK
        for piece in range(first, end, _PIECE):
            count = min(_PIECE, end - piece)
            raw = storage.read_exact(HEADER.size + 8 * piece, 8 * (count + 1), "the table of offsets")
            offsets = struct.unpack(f">{count + 1}Q", raw)
            for number, (offset, after) in enumerate(zip(offsets, offsets[1:]), piece):
                if offset < self._table_end or not 0 < after - offset <= largest:
                    raise CorruptImage(f"block {number} from byte {offset:#x} to {after:#x} cannot be", path=storage.name, offset=HEADER.size + 8 * number)
                storage.require(offset, after - offset, f"block {number}")
                yield number, offset, after - offset
