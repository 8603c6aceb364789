# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Making a UEC tarball: kernel, ramdisk and the image of a file system, each of which is what it is given as."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from .errors import BusyError, CorruptImage, ImageError, InvalidImage, UnsupportedImage
from .limits import MIB
from .packages.container import Archive
from .packages.tar_writer import NewMember, tar_storage
from .packages.uec_names import IMAGE, KERNEL, RAMDISK
from .packages.uec_roles import WHOLE_DISK, Finding, classify
from .progress import Progress, silent
from .source import Request, open_source
from .storage.base import Storage
from .storage.file import FileStorage
from .storage.sink import Sink
from .storage.stream import StreamStorage, open_stream
from .transfer.gzip import write_gzip
from .volumes.disk import DiskStorage

_PIECE = 4 * MIB


@dataclasses.dataclass
class Tarball:
    """A tarball that can be read, and is not written yet."""

    storage: Storage
    """its bytes before compression"""
    members: list[dict[str, t.Any]]
    """name, role, length (bytes) and description of each file, in order"""
    _contents: list[Storage]

    def require_unchanged(self) -> None:
        """:raises BusyError: somebody has written to a source since it was opened"""
        for storage in self._contents:
            if storage.changed():
                raise BusyError("the file was changed while it was read", path=storage.name, hint="Try again when nobody writes to it")


@contextlib.contextmanager
def open_tarball(
    image: Request, kernel: str, ramdisk: str | None, names: t.Mapping[str, str], mtime: int, *, progress: Progress = silent
) -> t.Iterator[Tarball]:
    """Open the sources of a tarball, and make sure that they are what they are given as.

    :param image: a bare file system (or nothing but zeros) in an image of any format
    :param kernel: path of a Linux kernel
    :param ramdisk: path of an initial RAM file system, or None
    :param names: of the files by their roles, in the order of the tarball
    :param mtime: of all files, seconds since 1970
    :raises InvalidImage: a source is something else
    :raises UnsupportedImage: the image is a whole disk
    :raises ImageError: a source cannot be read
    """
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open_source(image, progress=progress))
        contents: dict[str, Storage] = {IMAGE: DiskStorage(source.reader)}
        for role, path in ((KERNEL, kernel), (RAMDISK, ramdisk)):
            if path is not None:
                contents[role] = FileStorage(path)
                stack.callback(contents[role].close)
        findings = {role: _require(role, storage) for role, storage in contents.items()}
        storage = tar_storage([NewMember(name, contents[role]) for role, name in names.items()], mtime, names[IMAGE])
        members = [{"name": name, "role": role, "length": contents[role].size, "description": findings[role].description} for role, name in names.items()]
        yield Tarball(storage, members, list(contents.values()))


def _require(role: str, storage: Storage) -> Finding:
    found = classify(storage, "")
    if found.role == WHOLE_DISK and role == IMAGE:
        raise UnsupportedImage(
            f"this is {found.description}, a whole disk; the image in a UEC tarball is the root file system alone",
            path=storage.name,
            hint="The module ami_build takes kernel, ramdisk and file system out of a disk",
        )
    if found.role != role:
        what = {KERNEL: "a Linux kernel", RAMDISK: "an initial RAM file system", IMAGE: "the image of a file system"}[role]
        raise InvalidImage(f"this is {found.description}, not {what}", path=storage.name)
    return found


def difference(path: str, tarball: Tarball, *, progress: Progress = silent) -> str | None:
    """Why a file is not this tarball, by what comes out of it; None when it is. What compressed it is no matter."""
    wanted = tarball.storage
    try:
        with _decompressed(path, wanted.size) as found:
            for offset in range(0, wanted.size, _PIECE):
                length = min(_PIECE, wanted.size - offset)
                if found.read_at(offset, length) != wanted.read_exact(offset, length, "the tarball"):
                    return f"content differs between the bytes {offset:#x} and {offset + length:#x} of the archive"
                progress("compare", offset + length, wanted.size)
            longer = found.read_at(wanted.size, 1)
    except ImageError as error:
        if error.path != path:
            raise
        return f"dest cannot be kept: {error.message}"
    return "more follows the archive" if longer else None


def write(tarball: Tarball, sink: Sink, *, progress: Progress = silent, threads: int | None = None) -> list[str]:
    """Write a tarball, then decompress it again and look at its members. The caller commits the sink.

    The same sources, names and time give the same bytes.

    :return: what was verified, for a person to read
    :raises ImageError: a source cannot be read, or was changed meanwhile, or there is no room
    """
    write_gzip(tarball.storage, sink, progress=progress, threads=threads)
    tarball.require_unchanged()
    with contextlib.closing(open_stream(sink.reopen(), "gzip")) as stream:
        stream.limit(tarball.storage.size)
        archive = Archive(stream)
        found = [(name, archive.size(name)) for name in archive.names()]
    if found != [(member["name"], member["length"]) for member in tarball.members]:
        raise CorruptImage("what was written is not what was to be written", path=sink.name)
    return [f"all {len(found)} files of the tarball are there, and its checksum agrees"]


@contextlib.contextmanager
def _decompressed(path: str, size: int) -> t.Iterator[StreamStorage]:
    """:param size: bytes that are expected; hardly more may come out"""
    with contextlib.closing(open_stream(FileStorage(path), "gzip")) as stream:
        stream.limit(size + _PIECE)
        yield stream
