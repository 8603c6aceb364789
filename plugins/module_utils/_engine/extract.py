# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Taking a package apart: its descriptor, manifest and files into a folder, and nothing else anywhere else."""

from __future__ import annotations

import contextlib
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
    from .packages.container import Container
    from .packages.manifest import Verified


_TOGETHER = 64
"""files that are open at the same time, until they are put in place together"""


class Contents(t.Protocol):
    """What can be taken apart: a package, a UEC tarball."""

    path: str
    container: Container

    @property
    def located(self) -> t.Sequence[t.Any]:
        """What a descriptor names: each with ``file`` and ``problem``, which is None or why it cannot be had."""

    def contents(self) -> list[str]:
        """The names of the files that belong to it and are there."""

    def open_name(self, name: str) -> Storage:
        """The bytes of one of these, compared with a manifest or checksum, if there is one, while they are read."""

    def verify_used(self, *, progress: Progress = silent) -> Verified | None:
        """What agrees of all that was opened; None when there is nothing to compare it with.

        :raises IntegrityFailure: something does not
        """


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
    stored: int = 0
    """bytes that are no hole: at most these have to be written"""


def plan(
    package: Contents,
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
        storage = package.container.open(name)  # not open_name(): what is not read is not compared with the manifest
        size = storage.size
        stored = sum(length for _offset, length in storage.data_ranges())
        storage.close()
        reason = "force is set" if force else _reason(path, package, name, size, (known or {}).get(path))
        planned.append(PlannedFile(name, path, size, reason, stored))
    return planned


def extract(package: Contents, folder: str, planned: t.Sequence[PlannedFile], *, progress: Progress = silent) -> list[str]:
    """Write the files that a plan has a reason for, each complete or not at all; none when the manifest disagrees with one.

    Each is compared with the manifest while it is written, by the policy of ``package.expect_manifest()``.

    :return: the files that agree with the manifest
    :raises SpaceError: the file system has no room for all of them
    :raises IntegrityFailure: a file is not what the manifest says
    """
    # In the order of the archive: a compressed one is then decoded once.
    order = {name: position for position, name in enumerate(package.container.names())}
    missing = sorted((file for file in planned if file.reason is not None), key=lambda file: order.get(file.name, 0))
    _require_space(folder, sum(file.stored for file in missing))
    if len(missing) > _TOGETHER:  # they cannot all wait for the last one's digest
        for file in missing:
            package.open_name(file.name).close()
        package.verify_used(progress=progress)
    with contextlib.ExitStack() as stack:
        sinks: list[Sink] = []
        for file in missing:
            _make_folder(os.path.dirname(file.path), stack)
            sinks.append(stack.enter_context(_write(package, file, progress)))
            if len(sinks) == _TOGETHER:
                _commit(sinks)
        verified = package.verify_used(progress=progress)
        _commit(sinks)
    return verified.files if verified else []


def _write(package: Contents, file: PlannedFile, progress: Progress) -> Sink:
    """A file's content, written and not yet under its name."""
    with contextlib.ExitStack() as stack:
        storage = package.open_name(file.name)
        stack.callback(storage.close)
        sink = stack.enter_context(Sink(file.path, mode=0o666 & ~_umask()))
        reader = RawReader(storage)
        convert(reader, RawWriter(sink, reader.virtual_size, Target("raw")), progress=progress)
        sink.truncate(storage.size)  # a file is no disk: it has no whole sectors
        storage.close()
        stack.pop_all()
        return sink


def _make_folder(path: str, stack: contextlib.ExitStack) -> None:
    """Make a folder and those above it. They go again, when nothing comes to lie in them."""
    missing = []
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    for folder in reversed(missing):
        try:
            os.mkdir(folder)
        except OSError as error:
            raise from_os_error(error, folder, "make the folder") from error
        stack.callback(_remove_if_empty, folder)


def _remove_if_empty(path: str) -> None:
    with contextlib.suppress(OSError):
        os.rmdir(path)


def _commit(sinks: list[Sink]) -> None:
    while sinks:
        sinks.pop(0).commit()


def _require_space(folder: str, needed: int) -> None:
    try:
        room = os.statvfs(folder)
    except OSError as error:
        raise from_os_error(error, folder, "look at the file system") from error
    free = room.f_bavail * room.f_frsize
    if needed > free:
        raise SpaceError(f"the files need {needed} bytes, the file system has {free} free", path=folder, hint="Free some space or choose another folder")


def _fits(name: str, patterns: t.Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _place(folder: str, name: str) -> str:
    """Where a file goes. Names are normalised; what is on the way must not be a link that leads elsewhere."""
    root = os.path.realpath(folder)
    path = os.path.join(root, *name.split(posixpath.sep))
    if os.path.commonpath([root, os.path.realpath(os.path.dirname(path))]) != root:
        raise UnsafeReference(f"{printable(name)!r} would be written outside of the folder", path=folder)
    return path


def _reason(path: str, package: Contents, name: str, size: int, known: t.Any) -> str | None:
    if not os.path.lexists(path):
        return "does not exist"
    if not os.path.isfile(path) or os.path.islink(path):
        raise AccessError("exists and is not a regular file", path=path)
    if known is not None and known == file_identity(path):
        return None
    with contextlib.ExitStack() as opened:
        found = FileStorage(path)
        opened.callback(found.close)
        if found.size != size:
            return f"has {found.size} bytes instead of {size}"
        wanted = package.open_name(name)
        opened.callback(wanted.close)
        difference = compare(RawReader(wanted), RawReader(found))
        return None if difference is None else f"differs at byte {difference.offset:#x}"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
