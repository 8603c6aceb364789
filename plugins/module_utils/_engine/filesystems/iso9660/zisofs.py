# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""zisofs: files that are compressed block by block. Source: libisofs, doc/zisofs_format.txt (version 1)."""

from __future__ import annotations

from ... import codecs
from ...errors import CorruptImage, UnsupportedImage
from ...storage.base import Storage
from ...structure import Structure
from .rockridge import ZISOFS

HEADER = Structure("<", ("magic", "8s"), ("uncompressed_size", "I"), ("header_size_div4", "B"), ("log2_block_size", "B"), ("_", "2s"))
_MAGIC = b"\x37\xe4\x53\x96\xc9\xdb\xd6\x07"


class ZisofsStorage(Storage):
    """The content of a compressed file.

    :param stored: the file as it lies on the disc
    :param entry: its ZF entry
    :raises UnsupportedImage: it is compressed in another way
    :raises CorruptImage: its header contradicts the entry
    """

    def __init__(self, stored: Storage, entry: bytes) -> None:
        said = ZISOFS.unpack(entry)
        if said.algorithm != b"pz":
            raise UnsupportedImage("a file is compressed with zisofs of version 2, or in another way", path=stored.name)
        header = HEADER.unpack(stored.read_exact(0, HEADER.size, "a zisofs header"))
        same = all(header[name] == said[name] for name in ("uncompressed_size", "header_size_div4", "log2_block_size"))
        if header.magic != _MAGIC or not same or not 15 <= header.log2_block_size <= 17:
            raise CorruptImage("a zisofs header is damaged", path=stored.name)
        self._stored = stored
        self._pointers = header.header_size_div4 * 4
        self._block = 1 << header.log2_block_size
        self.name = stored.name
        self.size: int = header.uncompressed_size
        self._kept: tuple[int, bytes] = (-1, b"")

    def read_at(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        found = b"".join(self._read(number) for number in range(offset // self._block, -(-end // self._block)))
        start = offset % self._block
        return found[start : start + end - offset]

    def _read(self, number: int) -> bytes:
        if self._kept[0] == number:
            return self._kept[1]
        size = min(self._block, self.size - number * self._block)
        ends = self._stored.read_exact(self._pointers + number * 4, 8, "a zisofs block pointer")
        start, end = (int.from_bytes(ends[at : at + 4], "little") for at in (0, 4))
        if start == end:  # zeros
            data = bytes(size)
        elif end < start or end - start > 2 * self._block:
            raise CorruptImage("zisofs block pointers are out of order", path=self.name, offset=self._pointers + number * 4)
        else:
            packed = self._stored.read_exact(start, end - start, "a zisofs block")
            data = codecs.decompress(codecs.ZLIB, packed, size, path=self.name, offset=start)
        self._kept = (number, data)
        return data
