# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Checksums of the bytes of a file, or of what a guest sees, several in one read."""

from __future__ import annotations

import concurrent.futures
import functools
import hashlib
import typing as t

from ..errors import IntegrityFailure, UnsupportedImage
from ..formats.base import Reader
from ..limits import MIB
from ..progress import Progress, silent
from ..storage.base import Storage
from .cells import CELL, Cell, cells, in_order, load, thread_count

ALGORITHMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
_PIECE = 4 * MIB
_ZEROS = bytes(_PIECE)
Piece = t.Union[bytes, memoryview]


def new_hash(algorithm: str) -> t.Any:
    """:raises UnsupportedImage: unknown, or switched off on this node (md5 on a FIPS system)"""
    if algorithm not in ALGORITHMS:
        raise UnsupportedImage(f"no checksum is called {algorithm!r} (there are: {', '.join(ALGORITHMS)})")
    try:
        # Not a protection here but Glance's own vocabulary, which FIPS builds let through when told so.
        return hashlib.new(algorithm, usedforsecurity=False)
    except (ValueError, TypeError) as error:
        raise UnsupportedImage(f"{algorithm} is not available on this node ({error})") from error


def digests(storage: Storage, algorithms: t.Sequence[str], *, progress: Progress = silent) -> dict[str, str]:
    """Hexadecimal checksums of all bytes of a storage; holes are counted as zeros without being read."""
    return _digests(_pieces(storage), storage.size, algorithms, progress)


def content_digests(reader: Reader, algorithms: t.Sequence[str], *, progress: Progress = silent, threads: int | None = None) -> dict[str, str]:
    """Hexadecimal checksums of what the guest sees, from its first to its last byte: those of the disk as a raw file.

    :param threads: that read and decompress; None for one a processor
    :raises ImageError: the content cannot be read
    :raises BusyError: the image was changed meanwhile
    """
    reader.require_readable()
    found = _digests(_guest_pieces(reader, thread_count() if threads is None else threads), reader.virtual_size, algorithms, progress)
    reader.require_unchanged()
    return found


def _digests(pieces: t.Iterable[Piece], total: int, algorithms: t.Sequence[str], progress: Progress) -> dict[str, str]:
    """The algorithms run in threads of their own over the same bytes, so the slowest decides the time."""
    hashes = {name: new_hash(name) for name in algorithms}
    done = 0
    with concurrent.futures.ThreadPoolExecutor(max(1, len(hashes)), thread_name_prefix="vmimage") as pool:
        jobs: list[concurrent.futures.Future[None]] = []
        for piece in pieces:
            for job in jobs:  # at most one piece is being hashed while the next is read
                job.result()
            jobs = [pool.submit(hasher.update, piece) for hasher in hashes.values()]
            done += len(piece)
            progress("checksum", done, total)
        for job in jobs:
            job.result()
    return {name: hasher.hexdigest() for name, hasher in hashes.items()}


def _guest_pieces(reader: Reader, threads: int) -> t.Iterator[Piece]:
    def read(cell: Cell) -> tuple[Cell, bytearray]:
        buffer = bytearray(CELL)  # a new one: it is still being hashed when the next is read
        load(cell, buffer)
        return cell, buffer

    position = 0
    tasks = (functools.partial(read, cell) for cell in cells(reader))
    for cell, buffer in in_order(tasks, 1 if reader.storage.sequential else threads):
        yield from _zeros(cell.start - position)
        position = min(cell.start + CELL, reader.virtual_size)
        yield memoryview(buffer)[: position - cell.start]
    yield from _zeros(reader.virtual_size - position)


def _pieces(storage: Storage) -> t.Iterator[Piece]:
    position = 0
    for offset, length in storage.data_ranges():
        yield from _zeros(offset - position)
        end = offset + length
        while offset < end:
            yield storage.read_exact(offset, min(_PIECE, end - offset), "data")
            offset += min(_PIECE, end - offset)
        position = end
    yield from _zeros(storage.size - position)


def _zeros(length: int) -> t.Iterator[Piece]:
    view = memoryview(_ZEROS)
    while length > 0:
        yield view[: min(length, _PIECE)]
        length -= _PIECE


def parse_checksum(text: str, path: str) -> tuple[str, str]:
    """Split ``sha256:0123…`` into algorithm and lower-case digest.

    :raises UnsupportedImage: not of that form
    """
    algorithm, colon, digest = text.strip().partition(":")
    digest = digest.strip().lower()
    algorithm = algorithm.strip().lower()
    expected = new_hash(algorithm).digest_size * 2 if colon else 0
    if not colon or len(digest) != expected or any(char not in "0123456789abcdef" for char in digest):
        raise UnsupportedImage(f"a checksum is given as <algorithm>:<hexadecimal digest>, not {text!r}", path=path)
    return algorithm, digest


def verify_checksum(storage: Storage, text: str, *, progress: Progress = silent) -> None:
    """:raises IntegrityFailure: the storage's bytes do not have the checksum ``<algorithm>:<digest>``"""
    algorithm, wanted = parse_checksum(text, storage.name)
    found = digests(storage, [algorithm], progress=progress)[algorithm]
    if found != wanted:
        raise IntegrityFailure(
            f"the {algorithm} checksum is {found}, not {wanted}", path=storage.name, hint="Fetch the file again, or check the expected value"
        )
