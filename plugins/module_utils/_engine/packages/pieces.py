# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Where the files of References are: whole, or in pieces.

Sources: DMTF DSP0243, "References" (``chunkSize``: pieces ``<href>.<9 digits>`` from 0, of that size but for the last;
compression comes before cutting). Programs also number without leading zeros, and VMware's exports of snapshots have
pieces that are a whole disk each, of which the last counts.
"""

from __future__ import annotations

import posixpath
import typing as t

from ..errors import CorruptImage, ImageError, LimitExceeded, printable
from ..storage.base import Storage
from ..storage.joined import JoinedStorage
from .container import Container, MissingFile, resolve
from .model import File

MAX_PIECES = 10_000

_VMDK_MAGIC = (b"KDMV", b"COWD", b"# Disk Desc")
_NUMBERINGS = (".{:09d}", ".{:d}")


class Located(t.NamedTuple):
    """A File of References, and where it is."""

    file: File
    names: tuple[str, ...] = ()
    """in the container, in order; empty: ``problem`` says why"""
    exact: bool = True
    """False: some differ from the href in upper and lower case"""
    problem: ImageError | None = None
    snapshots: tuple[str, ...] = ()
    """older states of the same disk, which are left out"""

    @property
    def name(self) -> str | None:
        """The first of the names."""
        return self.names[0] if self.names else None

    def whole_name(self, folder: str) -> str:
        """What the file would be called if it was not in pieces."""
        return self.names[0] if len(self.names) == 1 else posixpath.join(folder, self.file.href)


def locate(container: Container, folder: str, file: File) -> Located:
    """Find a file. What is wrong with it is told in the result, as a package can be described without it.

    :param folder: the descriptor's folder in the container
    """
    try:
        try:
            name, exact = resolve(container, folder, file.href)
            return Located(file, (name,), exact)
        except MissingFile as missing:
            found = _pieces(container, folder, file)
            if found is None:
                raise missing
            return found
    except ImageError as error:
        return Located(file, problem=error)


def open_located(located: Located, folder: str, open_name: t.Callable[[str], Storage]) -> Storage:
    """The bytes of a file as they are stored (it may be compressed).

    :param open_name: opens one of the names
    :raises ImageError: it is not there, or not allowed
    """
    if located.problem is not None:
        raise located.problem
    if len(located.names) == 1:
        return open_name(located.names[0])
    parts: list[Storage] = []
    try:
        for name in located.names:
            parts.append(open_name(name))
        return JoinedStorage(parts, parts[0].name.rpartition(".")[0])
    except BaseException:
        for part in parts:
            part.close()
        raise


def _pieces(container: Container, folder: str, file: File) -> Located | None:
    """The pieces of a file; None when there are none."""
    for numbering in _NUMBERINGS:
        try:
            first, exact = resolve(container, folder, file.href + numbering.format(0))
        except MissingFile:
            continue
        stem = first[: -len(numbering.format(0))]
        names = [first]
        while container.has(stem + numbering.format(len(names))):
            names.append(stem + numbering.format(len(names)))
            if len(names) > MAX_PIECES:
                raise LimitExceeded(f"file {printable(file.href)!r} is cut into more than {MAX_PIECES} pieces", path=container.path)
        _require_no_gap(container, stem, names)
        if len(names) > 1 and file.chunk_size is None and all(_is_disk(container, name) for name in names):
            return Located(file, (names[-1],), exact, snapshots=tuple(names[:-1]))
        _require_complete(container, file, names)
        return Located(file, tuple(names), exact)
    return None


def _require_no_gap(container: Container, stem: str, names: list[str]) -> None:
    """:raises CorruptImage: there are pieces behind one that is missing"""
    for name in container.names():
        number = name[len(stem) + 1 :] if name.startswith(f"{stem}.") else ""
        if name not in names and number.isascii() and number.isdigit() and len(number) <= 9 and int(number) >= len(names):
            raise CorruptImage(f"piece {len(names)} of {printable(stem)!r} is missing, but {printable(name)!r} is there", path=container.path)


def _is_disk(container: Container, name: str) -> bool:
    storage = container.open(name)
    try:
        return storage.read_at(0, 16).startswith(_VMDK_MAGIC)
    finally:
        storage.close()


def _require_complete(container: Container, file: File, names: list[str]) -> None:
    """:raises CorruptImage: a piece is missing at the end, or has not the size of the others"""
    sizes = [container.size(name) for name in names]
    wanted = file.chunk_size or sizes[0]
    for name, size in zip(names[:-1], sizes):
        if size != wanted:
            raise CorruptImage(f"piece {printable(name)!r} has {size} bytes instead of {wanted}", path=container.path, hint="Fetch the package again")
    if len(names) > 1 and sizes[-1] > wanted:
        raise CorruptImage(f"the last piece, {printable(names[-1])!r}, has {sizes[-1]} bytes, more than the others ({wanted})", path=container.path)
    missing = (file.size or 0) - sum(sizes)
    if missing > 0 and file.chunk_size is not None:
        raise CorruptImage(
            f"the {len(names)} pieces of {printable(file.href)!r} are {missing} bytes short of the {file.size} that the descriptor says: the last are missing",
            path=container.path,
            hint="Fetch the missing pieces",
        )
