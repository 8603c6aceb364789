# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Files of a guest as its facts need them: what cannot be read is noted, and the other facts are still to be had."""

from __future__ import annotations

from ..errors import ImageError, LimitExceeded, printable
from ..filesystems.base import FILE
from ..filesystems.tree import Tree
from ..limits import MIB
from ..storage.base import Storage

MAX_TEXT = 1 * MIB
"""bytes of a configuration file; real ones have less than 100 KiB"""
_MAX_WARNINGS = 20


class Files:
    """The files below a guest's ``/``.

    ``warnings`` says what could not be read and why.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.warnings: list[str] = []

    def text(self, path: str, limit: int = MAX_TEXT) -> str | None:
        """The text of a regular file; None when there is none, or it cannot be read.

        :param limit: bytes that it may have
        """
        try:
            content = self.tree.read(path, limit)
        except ImageError as error:
            self._warn(path, error)
            return None
        return None if content is None else content.decode("utf-8", "replace")

    def open(self, path: str) -> Storage | None:
        """The content of a regular file; None when there is none, or it cannot be opened."""
        try:
            place = self.tree.find(path)
            if place is None or place.node.kind != FILE:
                return None
            return self.tree.open(place)
        except ImageError as error:
            self._warn(path, error)
            return None

    def names(self, path: str) -> list[str]:
        """The names in a folder, sorted; none when there is no such folder, or it cannot be read."""
        try:
            return self.tree.names(path)
        except ImageError as error:
            self._warn(path, error)
            return []

    def is_file(self, path: str) -> bool:
        """Whether there is a regular file, behind all symbolic links."""
        try:
            place = self.tree.find(path)
        except ImageError:
            return False
        return place is not None and place.node.kind == FILE

    def resolved(self, path: str) -> str | None:
        """A file's path without symbolic links; None when there is no such file."""
        try:
            place = self.tree.find(path)
        except ImageError:
            return None
        return None if place is None else place.path

    def first(self, *paths: str) -> str | None:
        """The first of these paths where there is a file of any kind."""
        return next((path for path in paths if self.tree.exists(path)), None)

    def _warn(self, path: str, error: ImageError) -> None:
        text = error.message if isinstance(error, LimitExceeded) else f"{printable(path)} cannot be read: {error.message}"
        if len(self.warnings) < _MAX_WARNINGS and text not in self.warnings:
            self.warnings.append(text)
