# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The disks of a package as images: their own format's reader, with all that they need from the package."""

from __future__ import annotations

import contextlib
import typing as t

from ..errors import CorruptImage, ImageError, LimitExceeded, UnsupportedImage, printable
from ..formats.base import Reader, check_virtual_size
from ..formats.chain import Files
from ..formats.detect import Detection, detect
from ..limits import GIB, MAX_REFERENCE_DEPTH
from ..storage.base import Storage
from ..storage.folder import is_absolute, last_part
from ..storage.zeros import ZeroStorage
from .model import PackageWarning

if t.TYPE_CHECKING:  # pragma: no cover
    from .disks import PackageDisk
    from .package import Package


# Parts of the URIs that programs write for a format (a URI is a name; nothing is fetched), and what they mean.
FORMAT_URIS = (
    ("vmdk", ("vmdk",)),
    ("qcow", ("qcow2", "qcow")),
    ("wiki/Byte", ("raw",)),
    ("Ecma-119", ("iso",)),
    ("LinkId=137171", ("vhd",)),
    ("bb676673", ("vhd",)),
    ("vhdspec", ("vhd",)),
)


class Opener(t.Protocol):
    """What opens an image (unwrap.py)."""

    opened: contextlib.ExitStack

    def image(
        self, storage: Storage, found: Detection | None = None, *, declared: str | None = None, allow_raw: bool = True, plausible: bool = False
    ) -> tuple[Reader, Detection]: ...

    def in_any_order(self, storage: Storage) -> Storage: ...


def open_disk(package: Package, disk: PackageDisk, opener: Opener, *, declared: str | None = None, follow: bool = True) -> tuple[Reader, Detection]:
    """The image of a disk.

    :param declared: the format that it must have
    :param follow: open what it needs from the package: its parent (``parentRef``), its extents. They lie in the package,
        so no permission is needed for them
    :raises ImageError: it is not there, not allowed, damaged, or of a format that is not read
    """
    reader, found = _open(package, disk, opener, declared, follow, ())
    info = reader.describe()
    disk.virtual_size, disk.image_format, disk.subformat = reader.virtual_size, info.format, info.subformat
    for warning in mismatches(disk, package.writer, package.descriptor):
        if warning not in package.warnings:
            package.warnings.append(warning)
    return reader, found


def mismatches(disk: PackageDisk, writer: str | None, descriptor: str) -> t.Iterator[PackageWarning]:
    """What a descriptor says of a disk that the image itself knows better; the image counts."""
    where = f"{descriptor}: Disk {printable(disk.disk_id)}"
    size, capacity = disk.virtual_size, disk.capacity
    rounded = size is not None and -(-size // GIB) * GIB  # oVirt writes whole GiB; those who make Vagrant boxes round up or down, or count in GB
    rounds = (writer == "oVirt" and capacity == rounded) or (writer is not None and writer.startswith("Vagrant"))
    if None not in (size, capacity) and size != capacity and not rounds:
        yield PackageWarning("capacity_mismatch", f"the capacity is {capacity} bytes, but the image has a virtual size of {size}", where)
    # oVirt writes VMDK's URI for raw disks, too.
    said = next((form for part, form in FORMAT_URIS if part in disk.format), None)
    if said is not None and disk.image_format not in said and disk.located is not None and writer != "oVirt":
        yield PackageWarning("format_mismatch", f"the format is {printable(disk.format)!r}, but the image is {disk.image_format}", where)


def _open(package: Package, disk: PackageDisk, opener: Opener, declared: str | None, follow: bool, above: tuple[str, ...]) -> tuple[Reader, Detection]:
    storage = package.open_disk(disk)
    if storage is None:
        empty = ZeroStorage(check_virtual_size(disk.capacity or 0, package.path), f"{package.path}!{printable(disk.disk_id)}")
        return opener.image(empty, declared="raw")
    opener.opened.callback(storage.close)
    reader, found = opener.image(storage, declared=declared, plausible=True)
    if follow and (disk.parent or reader.references()):
        _follow(reader, package, disk, opener, above)
    return reader, found


def _follow(reader: Reader, package: Package, disk: PackageDisk, opener: Opener, above: tuple[str, ...]) -> None:
    if disk.disk_id in above or len(above) >= MAX_REFERENCE_DEPTH:
        raise LimitExceeded(f"disk {printable(disk.disk_id)!r} is its own parent, or more than {MAX_REFERENCE_DEPTH} are in a chain", path=package.path)
    files = PackageFiles(package, disk, disk.file, opener, (*above, disk.disk_id))
    reader.follow(files)
    reader.followed = tuple(files.opened)


class PackageFiles(Files):
    """What a disk of a package may open: files of the same package, and nothing else.

    :param disk: the disk, or the one above that has led here
    :param image: the file that names others, relative to its own folder
    :param above: what has led here
    """

    def __init__(self, package: Package, disk: PackageDisk, image: str, opener: Opener, above: tuple[str, ...]) -> None:
        self._package = package
        self._disk = disk
        self._image = image
        self._opener = opener
        self._above = above
        self.knows_parent = bool(disk.parent)
        self.opened: list[Storage] = []

    def open(self, name: str) -> Storage:
        """A file with a part of the image's own data.

        :raises ImageError: it is not in the package, or not allowed
        """
        storage = self._opener.in_any_order(self._to_be_closed(self._package.open_name(self._package.beside(self._image, name))))
        self.opened.append(storage)
        return storage

    def image(self, names: t.Sequence[str], form: str | None, *, moved: bool = False) -> Reader:
        """The image below this one: the descriptor's ``parentRef`` counts before what the image calls it.

        :raises ImageError: there is none, or it is not what the image declares
        """
        parent = self._package.parent(self._disk)
        if parent is not None:
            reader, _found = _open(self._package, parent, self._opener, form, True, self._above)
        else:
            if len(self._above) > MAX_REFERENCE_DEPTH:
                raise LimitExceeded(f"more than {MAX_REFERENCE_DEPTH} images name each other in a chain", path=self._package.path)
            own = [found for found in (last_part(name) for name in names if moved and is_absolute(name)) if found]
            reader = self._named([*names, *own], form)
        reader.require_readable()
        self.opened += [reader.storage, *reader.followed]
        return reader

    def search(self, wanted: t.Callable[[Storage], bool], form: str, what: str) -> Reader:
        """The image below this one, where it is named by what is in it.

        :raises CorruptImage: it is not in the package
        """
        for located in self._package.located:
            for name in located.names:
                storage = self._opener.in_any_order(self._to_be_closed(self._package.open_name(name)))
                if wanted(storage):
                    reader, _found = self._opener.image(storage, declared=form)
                    self.opened.append(storage)
                    return reader
        raise CorruptImage(f"no file of the package is {what}", path=self._package.path)

    def _to_be_closed(self, storage: Storage) -> Storage:
        self._opener.opened.callback(storage.close)
        return storage

    def _named(self, names: t.Sequence[str], form: str | None) -> Reader:
        refused: ImageError | None = None
        for name in names:
            try:
                image = self._package.beside(self._image, name)
                storage = self._to_be_closed(self._package.open_name(image))
            except ImageError as error:
                refused = refused or error
                continue
            found = detect(storage)
            reader, _found = self._opener.image(storage, found, declared=form, allow_raw=bool(found.contents))
            if reader.references():
                deeper = PackageFiles(self._package, self._disk, image, self._opener, (*self._above, name))
                reader.follow(deeper)
                reader.followed = tuple(deeper.opened)
            return reader
        raise refused or UnsupportedImage("the image does not name the file that it needs", path=self._package.path)
