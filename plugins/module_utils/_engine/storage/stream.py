# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What is inside a compressed file, as a storage: read in order without unpacking it first."""

from __future__ import annotations

import bisect
import collections
import threading
import typing as t

from ..errors import CorruptImage, ImageError, LimitExceeded
from ..limits import KIB, MAX_VIRTUAL_SIZE, MIB
from ..progress import Progress, silent
from .base import Storage
from .decoder import Decoder, State

COMPRESSIONS = ("gzip", "xz", "bzip2", "zstd")
"""what a file can be compressed with as a whole"""
PIECE = 1 * MIB
"""Decoded at once. The first piece is kept: what a format begins with costs one small decode."""
_KEPT = 4
"""Pieces kept behind the reading position: going back a little costs nothing."""
_TAIL = 64 * KIB
_MARKS = 64
_MARK_STEP = 4
"""Pieces between two marks, until there are too many of them."""
_HARMLESS = 256 * MIB
_MAX_RATIO = 250
"""Disks with a system on them shrink to a third or a twentieth, a mostly empty one to a hundredth. gzip's bound, of zeros, is 1032"""


def open_stream(storage: Storage, codec: str) -> StreamStorage:
    """The decompressed content of a compressed file.

    :param storage: the compressed bytes; closed together with the result
    :param codec: ``gzip``, ``xz``, ``bzip2`` or ``zstd``, as detection names them
    :raises CorruptImage: the file is empty
    :raises UnsupportedImage: the codec cannot be done here
    """
    if not storage.size:
        raise CorruptImage(f"the file is empty, not {codec}-compressed", path=storage.name)
    return StreamStorage(storage, codec)


class StreamStorage(Storage):
    """Decompresses as it is read.

    Made for reading in order: going back means to decode again, from a remembered place (gzip) or from the beginning.
    The size is only known when all was decoded once, which happens when ``size`` is asked for, and which also verifies
    the checksums. One thread decodes at a time.

    Every method that decodes raises CorruptImage (truncated, damaged, something else behind the end) and LimitExceeded
    (more comes out than is taken, or the decoder wants too much memory).
    """

    sequential = True

    def __init__(self, source: Storage, codec: str) -> None:
        self.name = source.name
        self._source = source
        self._decoder = Decoder(source, codec)
        self._lock = threading.RLock()
        self._maximum = MAX_VIRTUAL_SIZE
        self._ratio: int | None = None
        self._size: int | None = None
        self._head = b""
        self._tail = b""
        self._pieces: collections.deque[bytes] = collections.deque()
        self._position = 0
        """decoded bytes up to where the decoder is: the end of the last piece"""
        self._first = 0
        """the first byte of the first piece"""
        self._marks: list[tuple[int, State]] = [(0, State(0, None))]
        self._mark_step = _MARK_STEP * PIECE

    @property
    def size(self) -> int:  # type: ignore[override]
        """Decompressed bytes; the same as :meth:`measure`."""
        return self.measure()

    def read_at(self, offset: int, length: int) -> bytes:
        with self._lock:
            if self._size is not None:
                length = min(length, self._size - offset)
            if length <= 0 or offset < 0:
                return b""
            end = offset + length
            if end <= len(self._head):
                return self._head[offset:end]
            if self._size is not None and offset >= self._size - len(self._tail):
                start = self._size - len(self._tail)
                return self._tail[offset - start : end - start]
            self._seek(offset)
            while self._position < end and self._advance(offset):
                pass
            return self._cut(offset, end)

    def allocated(self) -> int:
        return self._source.allocated()

    def changed(self) -> bool:
        return self._source.changed()

    def close(self) -> None:
        self._source.close()

    def measure(self, progress: Progress = silent, max_size: int | None = None) -> int:
        """Decode up to the end once, and know the size and the last bytes from then on.

        :param progress: told of the compressed bytes read
        :param max_size: bytes that may come out at most; the engine's own limit when None
        :returns: decompressed bytes
        """
        with self._lock:
            if max_size is not None:
                self._maximum = min(self._maximum, max_size)
            self._require_room(self._size or 0)
            while self._size is None:
                self._advance(self._position)
                progress("decompress", self._decoder.offset, self._source.size)
            return self._size

    def limit(self, max_size: int | None, *, plausible: bool = False) -> None:
        """Bound what may come out.

        :param max_size: bytes; the engine's own limit when None
        :param plausible: without ``max_size``, take no more than real data would decompress to
        :raises LimitExceeded: more came out already
        """
        if max_size is not None:
            self._maximum = min(self._maximum, max_size)
        self._ratio = _MAX_RATIO if plausible and max_size is None else None
        self._require_room(self._size or 0)

    def _require_room(self, size: int) -> None:
        if size > self._maximum:
            raise LimitExceeded(f"more than {self._maximum} bytes come out of the compressed file", path=self.name, hint="Raise the limit if that is meant")
        if self._ratio is not None and size > _HARMLESS and size > self._ratio * self._decoder.offset:
            raise LimitExceeded(
                f"{size} bytes come out of the first {self._decoder.offset} of the compressed file: more than {self._ratio} times as many",
                path=self.name,
                hint="If that is meant, say with max_size how many bytes may come out",
            )

    def _seek(self, offset: int) -> None:
        """Have the decoder at or before ``offset``, or the pieces from there on still at hand."""
        index = bisect.bisect_right([position for position, _state in self._marks], offset) - 1
        if offset < self._first or self._marks[index][0] > self._position:
            self._resume(index)

    def _resume(self, index: int) -> None:
        self._position, state = self._marks[index]
        self._first = self._position
        self._pieces.clear()
        self._decoder.resume(state)

    def _advance(self, keep: int) -> bool:
        """Decode one piece; False when there is none. Pieces before ``keep`` may be forgotten."""
        try:
            piece = self._decoder.read(PIECE)
            self._require_room(self._position + len(piece))
            self._verify(piece)
        except ImageError:
            self._resume(0)  # or the next read would begin in the middle of the damage
            raise
        if not self._position:
            self._head = piece
        self._position += len(piece)
        if piece:
            self._pieces.append(piece)
        while len(self._pieces) > _KEPT and self._first + len(self._pieces[0]) <= keep:
            self._first += len(self._pieces.popleft())
        if len(piece) < PIECE:
            self._finish()
        elif self._position - self._marks[-1][0] >= self._mark_step:
            self._mark()
        return len(piece) == PIECE

    def _verify(self, piece: bytes) -> None:
        """Refuse a piece that was decoded and is not handed out yet; one shorter than PIECE is the last."""

    def _mark(self) -> None:
        state = self._decoder.state()
        if state is None:
            return
        self._marks.append((self._position, state))
        if len(self._marks) > _MARKS:
            del self._marks[1::2]
            self._mark_step *= 2

    def _finish(self) -> None:
        if self._size is not None and self._size != self._position:
            raise CorruptImage("the compressed file was changed while it was read", path=self.name)
        self._size = self._position
        self._tail = self._cut(max(self._first, self._position - _TAIL), self._position)

    def _cut(self, start: int, end: int) -> bytes:
        """Bytes out of the pieces at hand."""
        parts: list[t.Any] = []
        at = self._first
        for piece in self._pieces:
            if at + len(piece) > start and at < end:
                whole = start <= at and at + len(piece) <= end
                parts.append(piece if whole else memoryview(piece)[max(0, start - at) : end - at])
            at += len(piece)
        if len(parts) == 1 and isinstance(parts[0], bytes):
            return parts[0]
        return b"".join(parts)
