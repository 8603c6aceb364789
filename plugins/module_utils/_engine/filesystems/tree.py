# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Paths in a guest: file systems mounted on each other, symbolic links resolved inside of them only."""

from __future__ import annotations

import typing as t

from ..errors import CorruptImage, ImageError, LimitExceeded, printable
from ..storage.base import Storage
from .base import DIRECTORY, FILE, SYMLINK, Filesystem, Key, Node

MAX_LINKS = 40
"""symbolic links on the way to one file, as Linux has it"""
MAX_PATH = 4096
"""characters of a path, as Linux has it (PATH_MAX): longer ones lead nowhere"""
MAX_DEPTH = 200
"""directories below each other; real systems have fewer than 40"""
MAX_FILES = 5_000_000
"""files that a walk visits"""


class Place(t.NamedTuple):
    """A file, and where it lies."""

    filesystem: Filesystem
    node: Node
    path: str
    """absolute, without symbolic links"""


class Tree:
    """What a guest sees below ``/``.

    File names that are not UTF-8 are kept with surrogate escapes, as Python has it.

    :param root: the file system at ``/``
    :param mounts: file systems by the path that they are mounted on (``/boot``), resolved and absolute
    :param name: for messages
    """

    def __init__(self, root: Filesystem, mounts: t.Mapping[str, Filesystem] | None = None, name: str = "guest") -> None:
        self.root = root
        self.mounts = dict(mounts or {})
        self.name = name

    def find(self, path: str, *, follow: bool = True) -> Place | None:
        """The file at a path; None when there is none. ``..`` stops at the root, and no link leads out of the guest.

        :param path: absolute, or relative to the root
        :param follow: resolve the last part, too, if it is a symbolic link
        :raises CorruptImage: symbolic links form a loop, or a directory on the way is damaged
        """
        if len(path) > MAX_PATH:
            return None
        stack = [self._top()]
        parts = _parts(path)[::-1]
        links = 0
        while parts:
            part = parts.pop()
            if part == "..":
                if stack[-1].node.kind != DIRECTORY:
                    return None
                if len(stack) > 1:
                    stack.pop()
                continue
            place = self._step(stack[-1], part)
            if place is None:
                return None
            if place.node.kind == SYMLINK and (parts or follow):
                links += 1
                if links > MAX_LINKS:
                    raise CorruptImage(f"too many symbolic links on the way to {printable(path)}", path=self.name)
                target = _text(place.filesystem.target(place.node))
                if target.startswith("/"):
                    del stack[1:]
                parts += _parts(target)[::-1]
                continue
            stack.append(place)
        return stack[-1]

    def read(self, path: str, limit: int) -> bytes | None:
        """The content of a regular file; None when there is none.

        :param limit: bytes that it may have
        :raises LimitExceeded: it has more
        :raises ImageError: it cannot be read
        """
        place = self.find(path)
        if place is None or place.node.kind != FILE:
            return None
        if place.node.size > limit:
            raise LimitExceeded(f"{printable(path)} has {place.node.size} bytes, {limit} are looked at", path=self.name)
        return self.open(place).read_exact(0, place.node.size, printable(path))

    def open(self, place: Place) -> Storage:
        """The content of a regular file, wherever it is needed."""
        return place.filesystem.content(place.node)

    def names(self, path: str) -> list[str]:
        """The names in a directory, sorted; none when there is no such directory.

        :raises ImageError: it is damaged
        """
        place = self.find(path)
        if place is None or place.node.kind != DIRECTORY:
            return []
        return sorted(_text(name) for name, _key in place.filesystem.listing(place.node))

    def exists(self, path: str) -> bool:
        """Whether there is a file of any kind, behind all symbolic links. What is too damaged to tell is not there."""
        try:
            return self.find(path) is not None
        except ImageError:
            return False

    def walk(self, path: str = "/") -> t.Iterator[Place]:
        """All files below a directory, directories before what is in them; symbolic links are not followed.

        :raises CorruptImage: a directory is damaged, or lies in two places: a walk through it might never end
        :raises LimitExceeded: there are too many files, or they lie too deep
        """
        start = self.find(path)
        if start is None or start.node.kind != DIRECTORY:
            return
        count = 0
        met = {(id(start.filesystem), start.node.key)}
        pending = [(start, 1)]
        while pending:
            place, depth = pending.pop()
            if depth > MAX_DEPTH:
                raise LimitExceeded(f"more than {MAX_DEPTH} directories below each other at {printable(place.path)}", path=self.name)
            below = []
            for name, key in place.filesystem.listing(place.node):
                found = self._place(place.filesystem, key, place.path, _text(name))
                count += 1
                if count > MAX_FILES:
                    raise LimitExceeded(f"more than {MAX_FILES} files", path=self.name)
                yield found
                if found.node.kind == DIRECTORY:
                    here = (id(found.filesystem), found.node.key)
                    if here in met:
                        raise CorruptImage(f"the directory {printable(found.path)} contains itself, or lies in two places", path=self.name)
                    met.add(here)
                    below.append((found, depth + 1))
            pending += below[::-1]

    def _top(self) -> Place:
        return Place(self.root, self.root.root, "/")

    def _step(self, place: Place, name: str) -> Place | None:
        if place.node.kind != DIRECTORY:
            return None
        try:
            key = place.filesystem.child(place.node, name.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:  # what no file can be called
            return None
        return None if key is None else self._place(place.filesystem, key, place.path, name)

    def _place(self, filesystem: Filesystem, key: Key, folder: str, name: str) -> Place:
        path = f"{folder.rstrip('/')}/{name}"
        mounted = self.mounts.get(path)
        if mounted is not None:
            return Place(mounted, mounted.root, path)
        return Place(filesystem, filesystem.node(key), path)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
