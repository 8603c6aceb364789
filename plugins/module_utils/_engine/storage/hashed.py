# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Digests of a file that are made while somebody reads it: what is read in order is not read a second time."""

from __future__ import annotations

import hashlib
import threading
import typing as t

from ..errors import CorruptImage
from ..limits import MIB
from .base import Storage

_PIECE = 4 * MIB
"""bytes read at a time of what nobody else has read"""
_AHEAD = 32 * MIB
"""What is read this far before its turn waits in memory; reading threads overtake each other."""
_WAITING = 12 * MIB
"""When so much waits, what is between is a hole, or something that the reader does not need."""
_GAP = 4096
"""So little between two reads is the header of a compressed block, or padding: nobody will ask for it."""
_FAR = 64 * MIB
"""When so much was read farther ahead, the reader goes on there. Less is tables and footers, and it will come back."""


class Room:
    """The memory in which bytes wait for their turn, of all files that are read together."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # a file in pieces may be hashed as a whole, and each of its pieces, too
        self.taken = 0
        """bytes"""


class HashedStorage(Storage):
    """Reads through to another storage, and hashes all of its bytes from the first to the last.

    Only a part of the bytes may ever be asked for, and in any order: :meth:`digests` reads what is missing.

    :param parent: closed together with this one
    :param algorithms: hashlib's names
    :param room: shared with other files; its own when None
    """

    def __init__(self, parent: Storage, algorithms: t.Iterable[str], room: Room | None = None) -> None:
        self._parent = parent
        self.name = parent.name
        self.sequential = parent.sequential
        self._hashes = {algorithm: hashlib.new(algorithm) for algorithm in algorithms}
        self._room = room or Room()
        self._lock = self._room.lock
        self._done = 0
        """bytes from the beginning that are hashed"""
        self._waiting: dict[int, bytes] = {}
        self._far_bytes = 0
        """read too far ahead to wait, since what is hashed last grew"""
        self.read_again = 0
        """bytes that were read for the digests only"""

    @property
    def size(self) -> int:  # type: ignore[override]
        return self._parent.size

    def read_at(self, offset: int, length: int) -> bytes:
        data = self._parent.read_at(offset, length)
        if data and offset + len(data) > self._done:
            with self._lock:
                self._see(offset, data, lasting=True)
        return data

    def read_into(self, offset: int, buffer: memoryview, what: str) -> None:
        self._parent.read_into(offset, buffer, what)
        if offset + len(buffer) > self._done:
            with self._lock:
                self._see(offset, buffer, lasting=False)

    def data_ranges(self, start: int = 0, end: int | None = None) -> t.Iterator[tuple[int, int]]:
        return self._parent.data_ranges(start, end)

    def allocated(self) -> int:
        return self._parent.allocated()

    def changed(self) -> bool:
        return self._parent.changed()

    def close(self) -> None:
        self._parent.close()

    def digests(self, progress: t.Callable[[int], None] | None = None) -> dict[str, str]:
        """The hexadecimal digests of all bytes, by algorithm. Reads what was not read in its turn.

        :param progress: told the bytes of each piece that is read for it
        :raises CorruptImage: the storage ends too early
        """
        with self._lock:
            while self._done < self.size:
                before = self._done
                self._fill(min(self.size, self._done + _PIECE))
                if progress is not None:
                    progress(self._done - before)
            return {algorithm: found.hexdigest() for algorithm, found in self._hashes.items()}

    def _see(self, offset: int, data: t.Any, *, lasting: bool) -> None:
        """Take in bytes that were read.

        :param lasting: nobody will write to ``data``, so that it can wait as it is
        """
        if offset - self._done <= _GAP:
            self._fill(offset)
            self._hash(offset, data)
        elif offset - self._done > _AHEAD:
            self._far_bytes += len(data)
            if self._far_bytes > _FAR:
                self._fill(offset)
                self._hash(offset, data)
        elif len(data) > _GAP:
            kept = self._waiting.get(offset, b"")
            if len(kept) < len(data):
                self._waiting[offset] = data if lasting else bytes(data)
                self._room.taken += len(data) - len(kept)
            while self._waiting and self._room.taken > _WAITING:
                self._fill(min(self._waiting))
        self._take_waiting()

    def _hash(self, offset: int, data: t.Any) -> None:
        """Go on with bytes that begin at or before what is to be hashed next."""
        new = memoryview(data)[self._done - offset :]
        if len(new):
            for found in self._hashes.values():
                found.update(new)
            self._done += len(new)
            self._far_bytes = 0

    def _take_waiting(self) -> None:
        while self._waiting:
            offset = min(self._waiting)
            if offset - self._done > _GAP:
                return
            if offset > self._done:
                self._read(offset)
            data = self._waiting.pop(offset)
            self._room.taken -= len(data)
            self._hash(offset, data)

    def _fill(self, end: int) -> None:
        """Hash up to ``end``, reading what does not wait."""
        self._take_waiting()
        while self._done < end:
            self._read(min([end, self._done + _PIECE, *self._waiting]))
            self._take_waiting()

    def _read(self, end: int) -> None:
        while self._done < end:
            data = self._parent.read_at(self._done, end - self._done)
            if not data:
                raise CorruptImage(
                    "a file that the manifest lists could not be read whole: it is being cut while it is read", path=self.name, offset=self._done
                )
            self.read_again += len(data)
            self._hash(self._done, data)
