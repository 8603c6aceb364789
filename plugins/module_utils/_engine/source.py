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

from .errors import AccessError, AmbiguousImage, InvalidImage, UnsupportedImage, printable
from .formats.base import Reader
from .formats.detect import Detection, detect
from .limits import MIB
from .progress import Progress, silent
from .storage.file import FileStorage
from .transfer.convert import require_size
from .transfer.provenance import file_identity
from .unwrap import Unwrapper

if t.TYPE_CHECKING:  # pragma: no cover
    from .packages.disks import PackageDisk
    from .packages.model import System
    from .packages.package import Package


@dataclasses.dataclass
class Request:
    """How a source is to be opened."""

    path: str
    src_format: str | None = None
    """the format that it must have; None: by content"""
    disk: str | None = None
    """which disk of a package: its file name, OVF disk id, or position from 0; None: the only one"""
    max_size: int | None = None
    """largest guest disk that is accepted, bytes"""
    spool_folder: str | None = None
    """where a compressed image is unpacked that cannot be read in order; None: the folder for temporary files"""
    snapshot: str | None = None
    """name or id of the internal snapshot that is meant; None: the current state"""
    references: str | None = None
    """the folder where the other files that the image names may be read; None: such an image is refused"""
    system: str | None = None
    """which system of a package: its id, name, or position from 0; None: the only one"""
    configuration: str | None = None
    """id of a package's deployment configuration; None: its default"""
    any_order: bool = False
    """the content is read in any order, to look into its file systems: what is compressed is unpacked first"""
    manifest: str = "ignore"
    """of a package: ``require``, ``verify`` (if there is one) or ``ignore``; compared as the files are read, and told by
    :func:`.produce.verify_source`"""


@dataclasses.dataclass
class Source:
    """An opened image and how it was found."""

    path: str
    reader: Reader
    detection: Detection
    layers: list[dict[str, str]]
    """what was peeled off on the way, outermost first: format, and the member's name in a package"""
    package: Package | None
    system: System | None
    """of the package, the one that the disk belongs to"""
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
        unwrapper = Unwrapper(request.path, stack, spool_folder=request.spool_folder, max_size=request.max_size, any_order=request.any_order, progress=progress)
        system = disk = found = None
        storage = None if os.path.isdir(request.path) else FileStorage(request.path)
        if storage is not None:
            stack.callback(storage.close)
            found = detect(storage)
        package = _package(request, storage, found, stack)
        if package is not None:
            from .packages.images import open_disk

            package.expect_manifest(request.manifest)
            system = package.system(request.system)
            disk = choose_disk(package, request.disk, system)
            unwrapper.layers += [{"format": layer} for layer in package.layers]
            unwrapper.layers.append({"format": package.kind, "member": disk.file})
            reader, found = open_disk(package, disk, unwrapper, declared=request.src_format, follow=request.references is None)
        elif storage is not None and found is not None:
            for option in ("disk", "system", "configuration"):
                if getattr(request, option) is not None:
                    raise UnsupportedImage(f"a {option} can be chosen in a package only, and this is none", path=request.path)
            reader, found = unwrapper.image(storage, found, declared=request.src_format)
        else:
            raise InvalidImage("is a folder without a package", path=request.path)
        if request.snapshot is not None:
            reader.use_snapshot(request.snapshot)
        require_size(reader, request.max_size)
        if request.references is not None:
            from .formats.chain import follow

            follow(reader, reader.storage, request.references)
            stack.callback(reader.close)
        return Source(request.path, reader, found, unwrapper.layers, package, system, disk, stack.pop_all())


def _package(request: Request, storage: FileStorage | None, found: Detection | None, stack: contextlib.ExitStack) -> Package | None:
    """The package at the request's path; None when it is an image."""
    # An archive is as large as its disks together; what the caller takes for one of them is enough to stop a bomb.
    most = None if request.max_size is None else 2 * request.max_size + 64 * MIB
    if storage is None or found is None or found.best.format == "ovf":
        from .packages.opening import open_package

        package: Package | None = open_package(request.path, configuration=request.configuration, max_size=most)
    elif found.best.category in ("archive", "compression"):
        from .packages.opening import package_in

        package = package_in(request.path, storage, found, configuration=request.configuration, max_size=most)
    else:
        return None
    if package is not None:
        stack.callback(package.close)
    return package


def detect_path(path: str) -> Detection:
    """What the content of a file is, of the innermost layer that can be seen without unpacking.

    :raises AccessError: it cannot be read
    """
    storage = FileStorage(path)
    try:
        return detect(storage)
    finally:
        storage.close()


def source_identity(path: str) -> dict[str, t.Any] | None:
    """What tells the source's content again without reading it: of a file its own identity, of an OVF folder all its files'.

    None of a block device: nothing but its content tells whether that was changed.

    :raises AccessError: there is nothing at ``path``
    :raises ImageError: a folder without a sound OVF package
    """
    if os.path.isdir(path) or path.lower().endswith((".ovf", ".xml")):
        from .packages.container import Folder
        from .packages.opening import open_package

        with open_package(path) as package:
            if isinstance(package.container, Folder):
                return {name: file_identity(os.path.join(package.container.path, name)) for name in package.contents()}
    found = file_identity(path)
    if found is None:
        raise AccessError("no such file or folder", path=path)
    return None if stat.S_ISBLK(os.stat(path).st_mode) else dict(found)


def choose_disk(package: Package, wanted: str | None, system: System | None = None) -> PackageDisk:
    """The disk of a package that is meant.

    :param wanted: file name, disk id or position from 0 in boot order; None for the only one
    :param system: the system whose disks they are; the only one when None
    :raises AmbiguousImage: there are several, and none was named
    :raises InvalidImage: there is none, or none of that name
    """
    disks = package.disks(system)
    names = ", ".join(f"{printable(disk.file or 'an empty disk')} ({printable(disk.disk_id)})" for disk in disks) or "none"
    if wanted is not None:
        found = [disk for disk in disks if wanted in (disk.file, disk.href, disk.disk_id)]
        if not found:
            from .packages.model import at_position

            found = at_position(disks, wanted)
        if len(found) != 1:
            raise InvalidImage(f"the package has {'no' if not found else 'more than one'} disk {printable(wanted)!r}; it has: {names}", path=package.path)
        return found[0]
    if not disks:
        raise InvalidImage("the package has no disk", path=package.path)
    if len(disks) > 1:
        raise AmbiguousImage(f"the package has {len(disks)} disks: {names}", path=package.path, hint="Name one with the option disk")
    return disks[0]
