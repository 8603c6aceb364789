# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The three as files that can be extracted, as those of a package are (extract.py)."""

from __future__ import annotations

import typing as t

from ..packages.container import Container
from ..packages.manifest import Verified
from ..packages.uec_names import UBUNTU, names
from ..progress import Progress, silent
from ..source import Source
from ..storage.base import Storage
from .trio import Trio


class TrioFiles:
    """What extract.py takes apart.

    :param name: what the files' names begin with
    :raises InvalidImage: with such a name, a program would take another file for the kernel, the ramdisk or the image
    """

    located: t.Sequence[t.Any] = ()

    def __init__(self, source: Source, trio: Trio, name: str) -> None:
        self.path = source.path
        self.trio = trio
        self._source = source
        by_role = names(name, style=UBUNTU, flavour=None, ramdisk="ramdisk" in trio.contents)
        self.roles = {by_role[role]: role for role in trio.contents}
        """file name → ``kernel``, ``ramdisk`` or ``image``"""
        self.container: Container = _Parts(self.path, {file: trio.contents[role] for file, role in self.roles.items()})

    def contents(self) -> list[str]:
        return self.container.names()

    def open_name(self, name: str) -> Storage:
        return self.container.open(name)

    def verify_used(self, *, progress: Progress = silent) -> Verified | None:
        """Compare the files of the package that the disk lies in with its manifest, by the request's policy.

        :raises IntegrityFailure: one differs
        """
        return self._source.package.verify_used(progress=progress) if self._source.package is not None else None


class _Parts(Container):
    def __init__(self, path: str, parts: dict[str, Storage]) -> None:
        self.path = path
        self._parts = parts

    def names(self) -> list[str]:
        return list(self._parts)

    def has(self, name: str) -> bool:
        return name in self._parts

    def open(self, name: str) -> Storage:
        return self._parts[name].window(0, self.size(name), name)

    def size(self, name: str) -> int:
        return self._parts[name].size
