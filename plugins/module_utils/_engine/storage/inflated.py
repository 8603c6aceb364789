# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""A compressed member of an archive that knows its size and checksum beforehand."""

from __future__ import annotations

import zlib

from ..errors import CorruptImage
from .base import Storage
from .stream import PIECE, StreamStorage


class CheckedStream(StreamStorage):
    """Decompresses as it is read, and holds what comes out against what the archive says.

    The size is believed until the end was reached, so that it can be told without decoding. Nobody gets the last piece
    of a member that is not what the archive says.

    :param source: the compressed bytes
    :param codec: as storage/decoder.py names it
    :param size: decompressed bytes
    :param crc32: of these; None when the archive does not have it
    :param max_size: bytes that may come out; None: as many as are plausible
    """

    def __init__(self, source: Storage, codec: str, size: int, crc32: int | None, max_size: int | None = None) -> None:
        super().__init__(source, codec)
        self.limit(max_size, plausible=True)
        self._told_size = size
        self._told_crc32 = crc32
        self._crc32 = self._summed = 0
        """of the first ``_summed`` bytes"""

    @property
    def size(self) -> int:  # type: ignore[override]
        return self._told_size

    def _verify(self, piece: bytes) -> None:
        if self._summed == self._position:  # what is decoded again was summed already
            self._crc32 = zlib.crc32(piece, self._crc32)
            self._summed += len(piece)
        end = self._position + len(piece)
        last = len(piece) < PIECE
        # A reader that has all bytes does not ask for more: the end is looked at now.
        if end > self._told_size or (end == self._told_size and not last and self._decoder.read(1)):
            raise self._wrong(f"more than {self._told_size} bytes")
        if end < self._told_size and last:
            raise self._wrong(f"{end} bytes instead of {self._told_size}")
        if end == self._told_size and self._told_crc32 not in (None, self._crc32):
            raise self._wrong(f"bytes with the CRC-32 {self._crc32:08x} instead of {self._told_crc32:08x}")

    def _wrong(self, what: str) -> CorruptImage:
        return CorruptImage(f"the archive member gives {what}", path=self.name, hint="Fetch the file again")
