# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The bytes of a file while they come in: hashed, held against a limit, and decompressed on the way."""

from __future__ import annotations

import typing as t

from .._engine.errors import AccessError, CorruptImage, LimitExceeded
from .._engine.formats.probes.magic import magic_matches
from .._engine.formats.probes.match import COMPRESSION
from .._engine.limits import KIB, MIB
from .._engine.progress import Progress
from .._engine.storage.base import Storage
from .._engine.storage.file import FileStorage
from .._engine.storage.stream import COMPRESSIONS, StreamStorage
from .._engine.transfer.digest import new_hash
from .web import NO_VERSION, Download, SourceError, Version

PIECE = 1 * MIB
_HEAD = 64 * KIB
_BEHIND = 1 * MIB
"""A decoder goes back to where a stream ended, in what it was fed last"""


class LocalFile:
    """A file on this node, with the interface of a Download."""

    def __init__(self, path: str) -> None:
        self.url = path
        self.status = None
        self.version = NO_VERSION
        self.position = self.received = 0
        self._storage: FileStorage | None = None

    def start(self, position: int = 0, version: Version = NO_VERSION, *, unless: Version | None = None) -> bool:
        """Begin with the first byte, always.

        :raises SourceError: it cannot be read
        """
        try:
            self._storage = FileStorage(self.url)
        except AccessError as error:
            raise SourceError(error.message, path=error.path, hint=error.hint) from error
        self.version = Version(None, None, self._storage.size)
        self.position = 0
        return True

    @property
    def allocated(self) -> int:
        """Bytes that the file takes on its file system."""
        return self._storage.allocated() if self._storage else 0

    def read(self, length: int) -> bytes:
        data = self._storage.read_at(self.position, length) if self._storage else b""
        self.position += len(data)
        if self._storage and not data and (self._storage.changed() or self.position != self._storage.size):
            raise SourceError("was changed while it was read", path=self.url)
        return data

    def close(self) -> None:
        if self._storage is not None:
            self._storage.close()


Origin = t.Union[Download, LocalFile]


class Hashes:
    """Several digests of the same bytes."""

    def __init__(self, algorithms: t.Iterable[str]) -> None:
        self._hashes = {name: new_hash(name) for name in algorithms}

    def update(self, data: bytes) -> None:
        for found in self._hashes.values():
            found.update(data)

    def result(self) -> dict[str, str]:
        """Algorithm → hexadecimal digest."""
        return {name: found.hexdigest() for name, found in self._hashes.items()}


class Incoming(Storage):
    """What comes from an origin, in order, as a storage: only the last bytes can be read again.

    :param hashes: is given all bytes
    """

    sequential = True

    def __init__(self, origin: Origin, hashes: Hashes, progress: Progress) -> None:
        self.name = origin.url
        self._origin = origin
        self._hashes = hashes
        self._progress = progress
        self._kept = bytearray()
        self._first = origin.position
        """where the bytes that are kept begin"""

    @property
    def size(self) -> int:  # type: ignore[override]
        """Bytes; 0 when the server does not say."""
        return self._origin.version.length or 0

    def next(self) -> bytes:
        """The next bytes; none at the end."""
        data = self._origin.read(PIECE)
        self._hashes.update(data)
        self._progress("fetch", self._origin.position, self.size)
        return data

    def read_at(self, offset: int, length: int) -> bytes:
        while self._first + len(self._kept) < offset + length:
            data = self.next()
            if not data:
                break
            gone = max(0, min(offset, self._origin.position - len(data)) - _BEHIND - self._first)
            del self._kept[:gone]
            self._first += gone
            self._kept += data
        if offset < self._first:
            raise CorruptImage("the compressed data cannot be decoded while it comes in", path=self.name, offset=offset, hint="Fetch it as it is")
        start = offset - self._first
        return bytes(self._kept[start : start + length])


def compression(head: bytes) -> str | None:
    """With what some content is compressed, by its first bytes."""
    return next((found.format for found in magic_matches(head) if found.category == COMPRESSION and found.format in COMPRESSIONS), None)


def content(incoming: Incoming, decompress: bool, max_size: int | None, done: int = 0) -> t.Iterator[bytes]:
    """The content of a file, as it is or decompressed: pieces of at most 1 MiB.

    :param max_size: bytes that are accepted; of what is decompressed, as many as are plausible when None
    :param done: bytes before these
    :raises LimitExceeded: there are more
    :raises CorruptImage: the compressed data are damaged
    """
    form = compression(incoming.read_at(0, _HEAD)) if decompress else None
    if form is not None:
        stream = StreamStorage(incoming, form)
        stream.limit(max_size, plausible=True)
    while True:
        if form is not None:
            piece = stream.read_at(done, PIECE)
        else:
            piece = incoming.read_at(done, PIECE) if decompress else incoming.next()
        if not piece:
            return
        done += len(piece)
        if max_size is not None and done > max_size:
            raise LimitExceeded(f"has more than {max_size} bytes", path=incoming.name, hint="Raise max_size if that is meant")
        yield piece
