# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Images that need other files: backing files, parents, data files, extents; read inside one folder that the caller allows.

Without that folder nothing here is called, and an image that names other files is refused.
"""

from __future__ import annotations

import os
import typing as t

from ..errors import AccessError, AmbiguousImage, CorruptImage, ImageError, LimitExceeded, UnsafeReference, printable
from ..limits import MAX_REFERENCE_DEPTH
from ..storage.base import Storage
from ..storage.file import FileStorage
from ..storage.folder import Folder, Parts, is_absolute, last_part
from .base import Reader
from .detect import detect, require_disk
from .registry import open_reader


def follow(reader: Reader, storage: Storage, path: str) -> None:
    """Open the files that an image names, those which they name, and so on. ``reader.close()`` closes them all.

    :param reader: the image; without references it stays as it is
    :param storage: what the image was opened from
    :param path: the folder in which all these files have to lie. Relative names start where the naming image lies, or at
        the folder itself when it lies elsewhere
    :raises UnsafeReference: a name leads out of the folder, or to something that is not a regular file
    :raises AccessError: a file is missing, or not permitted
    :raises CorruptImage: a loop, or a file that is not the one that was meant
    :raises LimitExceeded: the chain is too long
    :raises ImageError: one of the files is damaged or not supported
    """
    if not reader.references():
        return
    folder = Folder(path)
    opened: list[Storage] = []
    try:
        files = Files(folder, storage, folder.place_of(storage.name), 0, set(), opened)
        reader.follow(files)
        reader.followed = tuple(opened)
    except BaseException:
        for other in opened:
            other.close()
        raise
    finally:
        folder.close()


def open_backing(name: str, form: str, image: Storage, path: str) -> Reader:
    """Open what an image that is being written is to name as its backing file. ``reader.close()`` closes all files.

    :param name: as it is to be stored; relative to where the image is to lie
    :param form: the format that is to be declared for it
    :param image: the image; its name is the path that it will get
    :param path: the folder in which the file, and all that it names, have to lie
    :raises CorruptImage: the image would take the place of a file that it needs
    :raises ImageError: as :func:`follow`
    """
    folder = Folder(path)
    opened: list[Storage] = []
    try:
        reader = Files(folder, image, folder.place_of(image.name), 0, set(), opened).image([name], form)
        reader.followed = tuple(opened[1:])
        for storage in opened:
            _require_another(storage, image.name)
        _require_found(name, opened[0], image.name)
    except BaseException:
        for storage in opened:
            storage.close()
        raise
    finally:
        folder.close()
    return reader


def _require_another(storage: Storage, image: str) -> None:
    if _same_file(storage.name, image):
        raise CorruptImage("the image would take the place of its own backing file: a loop", path=storage.name, hint="Write it under another name")


def _same_file(first: str, second: str) -> bool:
    try:
        return os.path.samefile(first, second)
    except OSError:  # one is not there
        return False


def _require_found(name: str, storage: Storage, image: str) -> None:
    """Other programs start at the image's folder, which need not lie in the one that the caller allows."""
    path = os.path.join(os.path.dirname(os.path.abspath(image)), name)
    if not _same_file(path, storage.name):
        raise UnsafeReference(
            f"'{printable(name)}' in an image there would mean '{printable(path)}', which is not the file that was read",
            path=image,
            hint="Write the image into the folder that may be read, or below it",
        )


class Files:
    """What one image of a chain may open.

    :param folder: where all files lie
    :param storage: the image
    :param base: the folder below ``folder`` where the image lies
    :param depth: how many images name each other up to this one
    :param seen: device and inode of all files of the chain
    :param opened: all files of the chain that were opened
    """

    def __init__(self, folder: Folder, storage: Storage, base: Parts, depth: int, seen: set[tuple[int, int]], opened: list[Storage]) -> None:
        self._folder = folder
        self._image = storage.name
        self._base = base
        self._depth = depth
        self._seen = seen
        self._opened = opened
        if isinstance(storage, FileStorage):
            self._note(storage)

    knows_parent = False
    """the image below is known, whether the image names it or not"""

    def open(self, name: str) -> Storage:
        """A file with a part of the image's own data.

        :param name: as the image says it; relative to where the image lies
        :raises ImageError: as :func:`follow`
        """
        storage = self._folder.open(self._folder.locate(name, self._base, self._image), self._image)
        self._keep(storage)
        self._note(storage)
        return storage

    def image(self, names: t.Sequence[str], form: str | None, *, moved: bool = False) -> Reader:
        """The image below this one, with all that it needs itself.

        A format that the image declares must be the file's. Where it declares none, content that nothing is known of is
        refused: it may be a raw disk, but as well an image whose first bytes are damaged or of a kind not known here.

        :param names: what the image calls the file, the first that is there counts
        :param form: the format that the image declares for it
        :param moved: absolute paths may be those of another machine: the file's own name is enough. The caller makes
            sure of the file by an identifier that the image has for it
        :raises ImageError: as :func:`follow`
        """
        parts, storage = self._first(names, moved)
        return self._enter(parts, storage, form)

    def search(self, wanted: t.Callable[[Storage], bool], form: str, what: str) -> Reader:
        """The image below this one, where it is named by what is in it and not by a file name.

        :param wanted: tells whether a file is the one
        :param form: its format
        :param what: what is searched for, for messages
        :raises AmbiguousImage: several files are wanted
        :raises ImageError: as :func:`follow`
        """
        found: list[Parts] = []
        for parts in self._folder.files():
            try:
                storage = self._folder.open(parts, self._image)
            except (AccessError, UnsafeReference):
                continue  # not ours to judge: the image does not name it
            try:
                if wanted(storage):
                    found.append(parts)
            finally:
                storage.close()
        listed = ", ".join(f"'{printable('/'.join(parts))}'" for parts in found[:4])
        if len(found) > 1:
            raise AmbiguousImage(f"several files are {what}: {listed}", path=self._image, hint="Leave only the one that is meant in the folder")
        if not found:
            raise AccessError(f"no file in '{printable(self._folder.path)}' is {what}", path=self._image, hint="Put it there")
        return self._enter(found[0], self._folder.open(found[0], self._image), form)

    def _first(self, names: t.Sequence[str], moved: bool) -> tuple[Parts, FileStorage]:
        places: list[Parts] = []
        refused: ImageError | None = None
        for name in names:
            try:
                places.append(self._folder.locate(name, self._base, self._image))
            except UnsafeReference as error:
                refused = refused or error
        guesses = [own for own in (last_part(name) for name in names if moved and is_absolute(name)) if own]
        missing: ImageError | None = None
        for parts in dict.fromkeys([*places, *((*self._base, own) for own in guesses), *((own,) for own in guesses)]):
            try:
                return parts, self._folder.open(parts, self._image)
            except AccessError as error:
                missing = missing or error
        raise (missing if places else refused) or UnsafeReference("the image does not name the file that it needs", path=self._image)

    def _enter(self, parts: Parts, storage: FileStorage, form: str | None) -> Reader:
        self._keep(storage)
        if self._depth == MAX_REFERENCE_DEPTH:
            raise LimitExceeded(f"more than {MAX_REFERENCE_DEPTH} images name each other in a chain", path=self._image, hint="Merge some of them first")
        below = Files(self._folder, storage, parts[:-1], self._depth + 1, self._seen, self._opened)
        found = detect(storage)
        reader = open_reader(require_disk(found, storage, declared=form, allow_raw=bool(found.contents)), storage)
        reader.follow(below)
        reader.require_readable()
        return reader

    def _keep(self, storage: Storage) -> None:
        self._opened.append(storage)

    def _note(self, storage: FileStorage) -> None:
        identity = storage.identity()
        key = identity["device"], identity["inode"]
        if key in self._seen:
            raise CorruptImage("the file is named twice in one chain of images: a loop", path=storage.name)
        self._seen.add(key)
