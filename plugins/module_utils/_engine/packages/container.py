# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Where the files of a package lie: in a folder, or in an archive that is read in place.

What a descriptor names is looked for here and nowhere else: nothing above the descriptor's folder, nothing behind a
link, nothing on a network.
"""

from __future__ import annotations

import abc
import errno
import os
import posixpath
import re
import typing as t
import urllib.parse

from ..errors import AccessError, AmbiguousImage, CorruptImage, UnsafeReference, from_os_error, printable
from ..formats.detect import HEAD, TAIL
from ..limits import MAX_ARCHIVE_MEMBERS, MAX_OVF, MIB
from ..storage import folder
from ..storage.base import Storage
from ..storage.remembered import RememberedStorage
from .members import DATA, FOLDER, Member, open_member

TAR = "tar"
ZIP = "zip"

_ZIP_MAGIC = (b"PK\3\4", b"PK\5\6")
"""of a member, and of an archive without any"""
_MAX_KEPT = 32 * MIB
"""bytes of a compressed archive's members that are kept in memory"""
_READ_WHOLE = (".ovf", ".mf", ".cert", ".json")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Container(abc.ABC):
    """Files by their normalised names: ``/`` between folders, no ``.`` or ``..``."""

    path: str
    _in_lower_case: dict[str, list[str]] | None = None

    @abc.abstractmethod
    def names(self) -> list[str]:
        """All files, in their order; of a folder only those directly in it."""

    @abc.abstractmethod
    def has(self, name: str) -> bool:
        """Whether there is something of that name, be it a file or a trap."""

    @abc.abstractmethod
    def open(self, name: str) -> Storage:
        """The bytes of a file that is there.

        :raises UnsafeReference: it is a link or a device
        :raises AmbiguousImage: there are two of that name
        """

    @abc.abstractmethod
    def size(self, name: str) -> int:
        """Bytes of a file that is there."""

    def in_any_case(self, name: str) -> list[str]:
        """The files whose names differ from ``name`` in upper and lower case at most."""
        if self._in_lower_case is None:
            self._in_lower_case = {}
            for there in self.names():
                self._in_lower_case.setdefault(there.lower(), []).append(there)
        return self._in_lower_case.get(name.lower(), [])

    def close(self) -> None:
        """Free what is held."""


class Folder(Container):
    """A folder of the node's file system."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._names = _list(path)
        self._folder = folder.Folder(path)

    def names(self) -> list[str]:
        return self._names

    def has(self, name: str) -> bool:
        return os.path.lexists(os.path.join(self.path, name))

    def open(self, name: str) -> Storage:
        try:
            return self._folder.open(tuple(name.split("/")), self.path)
        except AccessError as error:
            if getattr(error.__cause__, "errno", None) not in (errno.ELOOP, errno.ENOTDIR):
                raise
            raise UnsafeReference("leads through a symbolic link, or something else that is no folder", path=os.path.join(self.path, name)) from error

    def close(self) -> None:
        self._folder.close()

    def size(self, name: str) -> int:
        path = os.path.join(self.path, name)
        try:
            return os.lstat(path).st_size
        except OSError as error:
            raise from_os_error(error, path, "look at the file") from error


class Archive(Container):
    """A tar or zip archive. Member names are what an extraction into an empty folder would give.

    A compressed tar archive is passed once, from its beginning to its end; what the description of a package and the
    detection of formats need is then at hand.
    """

    def __init__(self, storage: Storage, max_size: int | None = None) -> None:
        """
        :param max_size: bytes that may come out of a member that is compressed by itself; None: as many as are plausible
        :raises ImageError: not a sound archive
        """
        self.path = storage.name
        self.kind = ZIP if storage.read_at(0, 4) in _ZIP_MAGIC else TAR
        self._storage = storage
        self._max_size = max_size
        self._members: dict[str, list[Member]] = {}
        self._kept: dict[Member, tuple[bytes, bytes]] = {}
        self._room = _MAX_KEPT
        self.compressed = storage.sequential
        self.unsafe: list[str] = []
        """names that lead out of the archive, which are not members of the package"""
        self.not_ustar: list[str] = []
        """names of tar members that are stored with extensions of pax or GNU tar"""
        for member in _members(storage, self.kind):
            name = inside(member.name.rstrip("/"))
            if not member.standard:
                self.not_ustar.append(member.name)
            if name is None:
                self.unsafe.append(member.name)
            elif name != "." and member.kind != FOLDER:
                self._members.setdefault(name, []).append(member)
                if storage.sequential and member.kind == DATA:
                    self._keep(member)

    def names(self) -> list[str]:
        return list(self._members)

    def has(self, name: str) -> bool:
        return name in self._members

    def duplicates(self) -> list[str]:
        """Names that more than one member has."""
        return [name for name, members in self._members.items() if len(members) > 1]

    def open(self, name: str) -> Storage:
        member = self._member(name)
        storage = open_member(self._storage, member, f"{self.path}!{name}", self._max_size)
        kept = self._kept.get(member)
        return RememberedStorage(storage, *kept) if kept else storage

    def size(self, name: str) -> int:
        return self._member(name).size

    def _member(self, name: str) -> Member:
        members = self._members[name]
        if len(members) > 1:
            raise AmbiguousImage(f"the archive has {len(members)} members called {printable(name)!r}", path=self.path)
        member = members[0]
        if member.kind != DATA:
            raise UnsafeReference(f"archive member {printable(name)!r} is no file, but a {member.kind}", path=self.path)
        return member

    def _keep(self, member: Member) -> None:
        """Remember the beginning and the end of a member that is being passed; of a descriptor, all."""
        head = min(member.size, MAX_OVF if member.name.lower().endswith(_READ_WHOLE) else HEAD)
        tail = min(member.size - head, TAIL)
        if head + tail <= self._room:
            self._room -= head + tail
            storage = open_member(self._storage, member, member.name)
            self._kept[member] = storage.read_at(0, head), storage.read_at(member.size - tail, tail)

    def close(self) -> None:
        self._storage.close()


def _members(storage: Storage, kind: str) -> t.Iterator[Member]:
    if kind == ZIP:
        from .zip import members
    else:
        from .tar import members
    return members(storage)


class MissingFile(CorruptImage):
    """The descriptor names a file that the package does not have."""


class RemoteFile(UnsafeReference):
    """The descriptor names a file on a network."""


def inside(name: str) -> str | None:
    """The normalised form of a relative name; None when it leads out of the folder that it is relative to."""
    if not name or name.startswith("/") or "\0" in name:
        return None
    normal = posixpath.normpath(name)
    return None if normal == ".." or normal.startswith("../") else normal


def resolve(container: Container, folder: str, href: str) -> tuple[str, bool]:
    """The file that a descriptor or manifest means.

    Programs write hrefs with and without percent escapes: the literal name is tried first, then the decoded one, then
    the only one that differs in upper and lower case.

    :param folder: the descriptor's folder in the container, empty for its top
    :param href: as written
    :return: the normalised name, and whether it is exact (False: only but for upper and lower case)
    :raises UnsafeReference: it leads out of the package, or to a network
    :raises MissingFile: there is no such file
    :raises AmbiguousImage: only files that differ in case are there
    """
    candidates = list(dict.fromkeys((href, urllib.parse.unquote(href, errors="surrogateescape"))))
    names = [inside(candidate) for candidate in candidates]
    safe = [posixpath.join(folder, name) for name in names if name is not None]
    for name in safe:
        if container.has(name):
            return name, True
    if _URL.match(href):
        raise RemoteFile(f"{printable(href)!r} is on a network, from where nothing is fetched", path=container.path)
    if len(safe) < len(names):
        raise UnsafeReference(
            f"{printable(href)!r} leads out of the package's folder", path=container.path, hint="Only files beside the descriptor, or below it, are read"
        )
    similar = list(dict.fromkeys(found for name in safe for found in container.in_any_case(name)))
    if len(similar) == 1:
        return similar[0], False
    if similar:
        raise AmbiguousImage(f"there is no file {printable(href)!r}, but: {_list_of(similar)}", path=container.path)
    suffix = posixpath.splitext(href)[1]
    there = [name for name in container.names()[:100] if name.endswith(suffix)][:5]
    raise MissingFile(f"the package has no file {printable(href)!r}", path=container.path, hint=f"It has: {_list_of(there)}" if there else None)


def ignored(name: str) -> bool:
    """Whether a file is macOS's extra data (AppleDouble) about another."""
    return posixpath.basename(name).startswith("._") or "__MACOSX" in name.split("/")[:-1]


def _list_of(names: t.Iterable[str]) -> str:
    return ", ".join(repr(printable(name)) for name in names)


def _list(path: str) -> list[str]:
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise from_os_error(error, path, "list the folder") from error
    return names[:MAX_ARCHIVE_MEMBERS]
