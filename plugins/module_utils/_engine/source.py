# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Opening whatever the user has: a disk image, a compressed one, or one inside a package; by content, never by name.

This is the engine's top floor: it puts storage, detection, packages and formats together.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import typing as t

from .errors import AccessError, AmbiguousImage, InvalidImage, SpaceError, UnsupportedImage, from_os_error
from .formats.base import Reader
from .formats.detect import Detection, detect, require_disk
from .formats.probes.match import COMPRESSION
from .formats.registry import open_reader
from .limits import MAX_VIRTUAL_SIZE
from .progress import Progress, silent
from .storage.base import Storage
from .storage.file import FileStorage
from .transfer.convert import require_size
from .transfer.provenance import file_identity

if t.TYPE_CHECKING:  # pragma: no cover
    from .packages.package import Package, PackageDisk

COMPRESSIONS = ("gzip", "xz", "bzip2", "zstd")
IN_ORDER = ("raw", "iso", "udf")
"""formats whose content lies in guest order: read from a compressed stream as it comes, without unpacking"""
PACKAGES = ("ova", "ovf")


@dataclasses.dataclass
class Request:
    """How a source is to be opened."""

    path: str
    src_format: str | None = None
    """the format that it must have; None: by content"""
    disk: str | None = None
    """which disk of a package: its file name or OVF disk id; None: the only one"""
    max_size: int | None = None
    """largest guest disk that is accepted, bytes"""
    spool_folder: str | None = None
    """where a compressed image is unpacked that cannot be read in order; None: the folder for temporary files"""
    snapshot: str | None = None
    """name or id of the internal snapshot that is meant; None: the current state"""
    references: str | None = None
    """the folder where the other files that the image names may be read; None: such an image is refused"""


@dataclasses.dataclass
class Source:
    """An opened image and how it was found."""

    path: str
    reader: Reader
    detection: Detection
    layers: list[dict[str, str]]
    """what was peeled off on the way, outermost first: format, and the member's name in a package"""
    package: Package | None
    disk: PackageDisk | None
    _open: contextlib.ExitStack

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._open.close()


def open_source(request: Request, *, progress: Progress = silent) -> Source:
    """Open the image that a request means.

    Checksums and manifests are not verified here (produce.py does).

    :raises ImageError: not an image, not of the declared format, not exactly one disk, damaged, not readable
    """
    with contextlib.ExitStack() as stack:
        package = disk = None
        layers: list[dict[str, str]] = []
        if is_package(request.path):
            package, disk, storage = _open_package(request, stack)
            layers.append({"format": package.kind, "member": disk.file})
        else:
            storage = FileStorage(request.path)
            stack.callback(storage.close)
            if request.disk is not None:
                raise UnsupportedImage("a disk can be chosen in a package only, and this is none", path=request.path)
        found = detect(storage)
        if found.best.category == COMPRESSION and found.best.format in COMPRESSIONS:
            layers.append({"format": found.best.format})
            storage, found = _decompress(request, storage, found, stack, progress)
        reader = open_reader(require_disk(found, storage, declared=request.src_format), storage)
        if request.snapshot is not None:
            reader.use_snapshot(request.snapshot)
        require_size(reader, request.max_size)
        if request.references is not None:
            from .formats.chain import follow

            follow(reader, storage, request.references)
            stack.callback(reader.close)
        return Source(request.path, reader, found, layers, package, disk, stack.pop_all())


def detect_path(path: str) -> Detection:
    """What the content of a file is, of the innermost layer that can be seen without unpacking.

    :raises AccessError: it cannot be read
    """
    storage = FileStorage(path)
    try:
        return detect(storage)
    finally:
        storage.close()


def is_package(path: str) -> bool:
    """Whether the path is an OVA, an OVF descriptor or a folder.

    :raises AccessError: it cannot be read
    """
    return os.path.isdir(path) or detect_path(path).best.format in PACKAGES


def source_identity(path: str) -> dict[str, t.Any] | None:
    """What tells the source's content again without reading it: of a file its own identity, of an OVF folder all its files'.

    None of a block device: nothing but its content tells whether that was changed.

    :raises AccessError: there is nothing at ``path``
    :raises ImageError: a folder without a sound OVF package
    """
    if os.path.isdir(path) or path.lower().endswith(".ovf"):
        from .packages.package import open_package

        folder = path if os.path.isdir(path) else os.path.dirname(path)
        with open_package(path) as package:
            return {name: file_identity(os.path.join(folder, name)) for name in package.contents()}
    found = file_identity(path)
    if found is None:
        raise AccessError("no such file or folder", path=path)
    return None if stat.S_ISBLK(os.stat(path).st_mode) else dict(found)


def choose_disk(package: Package, wanted: str | None) -> PackageDisk:
    """The disk of a package that is meant.

    :param wanted: file name or disk id; None for the only one
    :raises AmbiguousImage: there are several, and none was named
    :raises InvalidImage: there is none, or none of that name
    """
    disks = package.disks()
    names = ", ".join(f"{disk.file} ({disk.disk_id})" for disk in disks) or "none"
    if wanted is not None:
        found = [disk for disk in disks if wanted in (disk.file, disk.disk_id)]
        if len(found) != 1:
            raise InvalidImage(f"the package has {'no' if not found else 'more than one'} disk {wanted!r}; it has: {names}", path=package.path)
        return found[0]
    if not disks:
        raise InvalidImage("the package has no disk", path=package.path)
    if len(disks) > 1:
        raise AmbiguousImage(f"the package has {len(disks)} disks: {names}", path=package.path, hint="Name one with the option disk")
    return disks[0]


def _open_package(request: Request, stack: contextlib.ExitStack) -> tuple[Package, PackageDisk, Storage]:
    from .packages.package import open_package

    package = open_package(request.path)
    stack.callback(package.close)
    disk = choose_disk(package, request.disk)
    storage = disk.open()
    stack.callback(storage.close)
    return package, disk, storage


def _decompress(request: Request, storage: Storage, outer: Detection, stack: contextlib.ExitStack, progress: Progress) -> tuple[Storage, Detection]:
    """The stream inside a compressed file, decoded once to its end: only then its size, and that it is whole, are known."""
    import tempfile

    from .storage.stream import open_stream

    stream = open_stream(storage, outer.best.format)
    stack.callback(stream.close)
    limit = request.max_size if request.max_size is not None else MAX_VIRTUAL_SIZE
    stream.measure(progress=progress, max_size=limit)
    found = detect(stream)
    if found.best.category == COMPRESSION:
        raise UnsupportedImage(f"compressed twice ({outer.best.format}, {found.best.format}); decompress it once first", path=request.path)
    if found.best.format not in IN_ORDER:
        folder = request.spool_folder or tempfile.gettempdir()
        try:
            spool = stack.enter_context(tempfile.TemporaryFile(dir=folder))
        except OSError as error:
            raise from_os_error(error, folder, "unpack the compressed image there") from error
        try:
            stream.spool(spool.fileno(), progress=progress)
        except SpaceError as error:
            error.path = folder
            raise
    return stream, found
