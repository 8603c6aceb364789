# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Taking a package apart: its descriptor, manifest and files into a folder, and nothing else anywhere else."""

from __future__ import annotations

import dataclasses
import fnmatch
import os
import posixpath
import typing as t

from .errors import AccessError, InvalidImage, SpaceError, UnsafeReference, from_os_error, printable
from .formats.base import Target
from .formats.raw import RawReader, RawWriter
from .progress import Progress, silent
from .storage.base import Storage
from .storage.file import FileStorage
from .storage.sink import Sink
from .transfer.compare import compare
from .transfer.convert import convert
from .transfer.provenance import file_identity

if t.TYPE_CHECKING:  # pragma: no cover
    from .packages.package import Package


@dataclasses.dataclass
class PlannedFile:
    """A file of the package and its place in the folder."""

    name: str
    """in the package"""
    path: str
    """on the node"""
    size: int
    """bytes"""
    reason: str | None
    """why it has to be written; None when it is there as it should be"""


def plan(
    package: Package,
    folder: str,
    *,
    include: t.Sequence[str] = (),
    exclude: t.Sequence[str] = (),
    known: t.Mapping[str, t.Any] | None = None,
    force: bool = False,
) -> list[PlannedFile]:
    """What an extraction has to write.

    :param folder: an existing folder
    :param include: shell patterns of the names wanted; all when empty
    :param exclude: shell patterns of the names not wanted
    :param known: path → identity of files that are known to have the package's content; they are not read
    :raises AccessError: ``folder`` is no folder
    :raises InvalidImage: a pattern of ``include`` fits no file
    :raises UnsafeReference: a name would lead out of the folder
    :raises ImageError: a wanted file that the descriptor names is not in the package, or cannot be read
    """
    if not os.path.isdir(folder):
        raise AccessError("is not a folder; create it first", path=folder)
    names = package.contents()
    for pattern in include:
        if not fnmatch.filter(names, pattern):
            raise InvalidImage(f"the package has no file {printable(pattern)!r}; it has: {', '.join(map(printable, names))}", path=package.path)

    def is_wanted(name: str) -> bool:
        return (not include or _fits(name, include)) and not _fits(name, exclude)

    for located in package.located:
        if located.problem is not None and is_wanted(located.file.href):
            raise located.problem
    planned = []
    for name in filter(is_wanted, names):
        path = _place(folder, name)
        storage = package.open_name(name)
        try:
            reason = "force is set" if force else _reason(path, storage, (known or {}).get(path))
            planned.append(PlannedFile(name, path, storage.size, reason))
        finally:
            storage.close()
    return planned


def extract(package: Package, folder: str, planned: t.Sequence[PlannedFile], *, progress: Progress = silent) -> None:
    """Write the files that a plan has a reason for, each complete or not at all.

    :raises SpaceError: the file system has no room for all of them
    """
    missing = [file for file in planned if file.reason is not None]
    try:
        room = os.statvfs(folder)
    except OSError as error:
        raise from_os_error(error, folder, "look at the file system") from error
    needed, free = sum(file.size for file in missing), room.f_bavail * room.f_frsize
    if needed > free:
        raise SpaceError(f"the files need {needed} bytes, the file system has {free} free", path=folder, hint="Free some space or choose another folder")
    for file in missing:
        try:
            os.makedirs(os.path.dirname(file.path), exist_ok=True)
        except OSError as error:
            raise from_os_error(error, os.path.dirname(file.path), "make the folder") from error
        storage = package.open_name(file.name)
        try:
            with Sink(file.path, mode=0o666 & ~_umask()) as sink:
                reader = RawReader(storage)
                convert(reader, RawWriter(sink, reader.virtual_size, Target("raw")), progress=progress)
                sink.truncate(storage.size)  # a file is no disk: it has no whole sectors
                sink.commit()
        finally:
            storage.close()


def _fits(name: str, patterns: t.Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _place(folder: str, name: str) -> str:
    """Where a file goes. Names are normalised; what is on the way must not be a link that leads elsewhere."""
    root = os.path.realpath(folder)
    path = os.path.join(root, *name.split(posixpath.sep))
    if os.path.commonpath([root, os.path.realpath(os.path.dirname(path))]) != root:
        raise UnsafeReference(f"{printable(name)!r} would be written outside of the folder", path=folder)
    return path


def _reason(path: str, wanted: Storage, known: t.Any) -> str | None:
    if not os.path.lexists(path):
        return "does not exist"
    if not os.path.isfile(path) or os.path.islink(path):
        raise AccessError("exists and is not a regular file", path=path)
    if known is not None and known == file_identity(path):
        return None
    found = FileStorage(path)
    try:
        if found.size != wanted.size:
            return f"has {found.size} bytes instead of {wanted.size}"
        difference = compare(RawReader(wanted), RawReader(found))
        return None if difference is None else f"differs at byte {difference.offset:#x}"
    finally:
        found.close()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
