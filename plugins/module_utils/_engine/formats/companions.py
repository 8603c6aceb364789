# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The further files of a result: those that one will have, those that one has, and reading them without a folder.

Unlike the files that a foreign image names (chain.py), these have names that follow from the result's own, and lie
beside it. Nothing else is opened, replaced or removed because a file says so.
"""

from __future__ import annotations

import contextlib
import os
import typing as t

from ..errors import ImageError, UnsafeReference, printable
from ..limits import MAX_DESCRIPTOR
from ..storage.file import FileStorage
from ..storage.kept import unfinished
from ..storage.sink import Sink, left_behind, part_of, remove_stale_parts
from .base import Reader, Target
from .chain import Files

if t.TYPE_CHECKING:  # pragma: no cover
    from ..storage.base import Storage


def planned(target: Target, path: str, virtual_size: int) -> list[str]:
    """The names of the further files that a result will have.

    :param path: of the result
    :param virtual_size: guest bytes
    :raises ImageError: the format does not take the name, or there would be too many
    """
    if target.format != "vmdk":
        return []
    from .vmdk.names import IN_SEVERAL_FILES, extent_names

    return extent_names(path, target.subformat, virtual_size) if target.subformat in IN_SEVERAL_FILES else []


def present(path: str) -> list[str]:
    """The names of the further files that the image at ``path`` has: named by it, and called as such files are.

    Also of one whose replacement was interrupted. Empty where nothing is there, or something else.
    """
    from .vmdk.names import is_own

    names = unfinished(path)
    if names is None:
        names = [reference.name for reference in _references(path) if reference.role == "extent"]
    return [name for name in dict.fromkeys(names) if os.path.basename(name) == name and is_own(path, name)]


def abandoned(path: str) -> list[str]:
    """The names of further files that belong to the image at ``path`` no more, or not yet: of a run that was killed."""
    from .vmdk.names import is_own

    own = present(path)
    return [name for name in dict.fromkeys(left_behind(path)) if name not in own and os.path.basename(name) == name and is_own(path, name)]


def clear(path: str) -> None:
    """Remove what killed runs on ``path`` left beside it. What is written by a run that is at work stays.

    :raises OSError: a file cannot be removed, or the folder not be read
    """
    from .vmdk.names import is_own

    folder = os.path.dirname(path) or "."
    for name in abandoned(path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, name))
    for part in {part_of(entry) for entry in os.listdir(folder)}:
        if part is not None and is_own(path, part):
            remove_stale_parts(os.path.join(folder, part))
    remove_stale_parts(path, journals=True)


def _references(path: str) -> list[t.Any]:
    with contextlib.suppress(ImageError):
        storage = FileStorage(path)
        try:
            if 0 < storage.size <= MAX_DESCRIPTOR:
                from .vmdk.reader import open_vmdk

                return list(open_vmdk(storage).references())
        finally:
            storage.close()
    return []


class _OwnFiles(Files):
    """Gives an image files that are known to be its own, and no other."""

    def __init__(self, image: str, give: t.Callable[[str], FileStorage | None], opened: list[Storage]) -> None:
        self._image = image
        self._give = give
        self._opened = opened

    def open(self, name: str) -> FileStorage:
        storage = self._give(name)
        if storage is None:
            raise UnsafeReference(f"the image names '{printable(name)}', which is not a file of its own", path=self._image)
        self._opened.append(storage)
        return storage

    def image(self, names: t.Sequence[str], form: str | None, *, moved: bool = False) -> Reader:
        raise UnsafeReference("the image names another image, and is not complete without it", path=self._image)

    def search(self, wanted: t.Callable[[Storage], bool], form: str, what: str) -> Reader:
        raise UnsafeReference("the image needs another image, and is not complete without it", path=self._image)


def open_present(reader: Reader) -> None:
    """Open the further files of an image that may be such a result; ``reader.close()`` closes them.

    :raises ImageError: it also needs other files, or one is missing or damaged
    """
    path = reader.storage.name
    names = present(path) if reader.references() else []

    def give(name: str) -> FileStorage | None:
        return FileStorage(os.path.join(os.path.dirname(path), name), beneath=True) if name in names else None

    if names:
        _follow(reader, give)


def open_written(reader: Reader, sink: Sink) -> None:
    """Open the further files of a result that was written and has no names yet; ``reader.close()`` closes them.

    :param reader: of the sink's first file
    """

    def give(name: str) -> FileStorage | None:
        return sink.others[name].reopen() if name in sink.others else None

    if sink.others:
        _follow(reader, give)


def _follow(reader: Reader, give: t.Callable[[str], FileStorage | None]) -> None:
    opened: list[Storage] = []
    try:
        reader.follow(_OwnFiles(reader.storage.name, give, opened))
    except BaseException:
        for storage in opened:
            storage.close()
        raise
    reader.followed = tuple(opened)
