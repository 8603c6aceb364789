# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""UEC tarballs, folders with what is in one, and EC2 bundles: files with roles, read in place."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import posixpath
import typing as t

from ..errors import AmbiguousImage, InvalidImage, UnsafeReference, printable
from ..formats.detect import detect
from ..formats.probes.match import COMPRESSION
from ..progress import Progress, silent
from ..storage.base import Storage
from ..storage.file import FileStorage
from ..storage.stream import COMPRESSIONS, open_stream
from . import checksums
from .container import Archive, Container, Folder, inside
from .manifest import Check, Entry, Verified
from .plain import stem
from .uec_names import GLOBS, IMAGE, KERNEL, RAMDISK, UBUNTU, matching, names
from .uec_roles import CHECKSUMS, Finding, classify

if t.TYPE_CHECKING:  # pragma: no cover
    from .bundle_content import Bundle

TARBALL, FOLDER, BUNDLE = "tarball", "folder", "bundle"
_TARS = ("tar", "ova", "vagrant")
"""what detection calls a tar archive, by the names in it"""
_MAX_FILES = 1000
_EC2_FOLDERS = ("aki-", "ari-", "ami-")


@dataclasses.dataclass
class UecFile:
    """A file, and what it is for."""

    name: str
    size: int
    """bytes"""
    finding: Finding

    @property
    def role(self) -> str:
        return self.finding.role


class Uec:
    """An opened tarball, folder or bundle. Has what extract.py takes a package apart by.

    :param kind: TARBALL, FOLDER or BUNDLE
    :param container: closed together with this one
    :raises InvalidImage: there is no kernel, ramdisk or image in it, or too much else
    :raises AmbiguousImage: two files of the same name
    """

    located: t.Sequence[t.Any] = ()

    def __init__(self, path: str, kind: str, container: Container, layers: t.Sequence[str] = (), bundle: Bundle | None = None) -> None:
        self.path = path
        self.kind = kind
        self.container = container
        self.layers = list(layers)
        self.name = bundle.manifest.image_name if bundle is not None else stem(path)
        self._bundle = bundle
        self.ignored: list[str] = list(container.unsafe) if isinstance(container, Archive) else []
        """names of what is no file, or would lead out of the folder"""
        self.files = self._files()
        if not any(file.role in GLOBS for file in self.files):
            there = ", ".join(f"{printable(file.name)!r} is {file.finding.description}" for file in self.files[:5]) or "nothing"
            raise InvalidImage("is no UEC tarball: there is no kernel, ramdisk or image of a file system in it", path=path, hint=f"In it: {there}")
        self._check = Check(self._expected())
        self._described = self._describe()

    def __enter__(self) -> Uec:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._check.close()
        self.container.close()

    def contents(self) -> list[str]:
        """The names of all files that can be extracted."""
        return [file.name for file in self.files]

    def open_name(self, name: str) -> Storage:
        """The bytes of one of :meth:`contents`, in place, compared with the checksums while they are read."""
        return self._check.watch(name, lambda: self.container.open(name))

    def verify_used(self, *, progress: Progress = silent) -> Verified | None:
        """Compare what was opened with the checksums that are there; a bundle has its own.

        :return: what was verified; None when there are no checksums
        :raises IntegrityFailure: one differs
        """
        found = self._check.finish(progress)
        if self._bundle is not None:
            found = self._bundle.verify()
        return Verified(files=found) if found or self._check.expected else None

    def chosen(self, role: str, names: t.Collection[str] | None = None) -> UecFile | None:
        """The file that has a role; None when there is none.

        Of several it is the one that the programs' naming rules name.

        :param names: those that are meant; all when None
        :raises AmbiguousImage: there are several
        """
        found = [file for file in self.files if file.role == role and (names is None or file.name in names)]
        if len(found) > 1:
            named = matching([file.name for file in found], role)
            found = [file for file in found if file.name in named] or found
        if len(found) > 1:
            there = ", ".join(repr(printable(file.name)) for file in found[:10])
            raise AmbiguousImage(f"{len(found)} files could be the {role}: {there}", path=self.path, hint="Leave the others out with include or exclude")
        return found[0] if found else None

    def trio(self, names: t.Collection[str] | None = None) -> dict[str, UecFile | None]:
        """Kernel, ramdisk and image by role; see :meth:`chosen`."""
        return {role: self.chosen(role, names) for role in (KERNEL, RAMDISK, IMAGE)}

    def architecture(self, kernel: UecFile | None) -> str | None:
        """Of the system, as Glance calls it, by its kernel or by the manifest of a bundle; None where nothing says it."""
        declared = self._bundle.manifest.architecture if self._bundle is not None else None
        return (kernel.finding.architecture if kernel is not None else None) or declared

    def rename(self, prefix: str) -> None:
        """Have kernel, ramdisk and image under the names that a tarball called ``prefix`` would have, and nothing else.

        :raises InvalidImage: there is neither a kernel nor an image, or the names would not do
        :raises AmbiguousImage: there are several of one role
        """
        there = {role: file for role, file in self.trio().items() if file is not None}
        if KERNEL not in there or IMAGE not in there:
            raise InvalidImage(f"has no {KERNEL if KERNEL not in there else IMAGE}", path=self.path)
        new = names(prefix, style=UBUNTU, flavour=None, ramdisk=RAMDISK in there)
        expected = self._expected()
        self.container = _Renamed(self.container, {new[role]: file.name for role, file in there.items()})
        self.files = [dataclasses.replace(file, name=new[role]) for role, file in there.items()]
        self._check = Check({new[role]: expected[file.name] for role, file in there.items() if file.name in expected})

    def describe(self) -> dict[str, t.Any]:
        """All facts, safe for JSON and for logs, by the names in the tarball."""
        return self._described

    def _describe(self) -> dict[str, t.Any]:
        return {
            "path": self.path,
            "kind": self.kind,
            "layers": self.layers,
            "files": [{"name": printable(file.name), "length": file.size, "role": file.role, "description": file.finding.description} for file in self.files],
            "ignored": [printable(name) for name in self.ignored],
            "bundle": self._bundle.manifest.describe() if self._bundle is not None else None,
        }

    def _files(self) -> list[UecFile]:
        if isinstance(self.container, Archive) and self.container.duplicates():
            raise AmbiguousImage(f"two members are called {printable(self.container.duplicates()[0])!r}", path=self.path)
        names = _folder_names(self.container) if isinstance(self.container, Folder) else self.container.names()
        if len(names) > _MAX_FILES:
            raise InvalidImage(f"is no UEC tarball: it has {len(names)} files", path=self.path)
        found = []
        for name in names:
            storage = self._open(name)
            if storage is None:
                self.ignored.append(name)
                continue
            try:
                found.append(UecFile(name, storage.size, classify(storage, name)))
            finally:
                storage.close()
        return found

    def _open(self, name: str) -> Storage | None:
        """The bytes of a file; None of a link, a device, and what is hidden: that is no tarball's, but what our own records are."""
        if posixpath.basename(name).startswith("."):
            return None
        try:
            return self.container.open(name)
        except UnsafeReference:
            if self._bundle is not None:
                raise
            return None

    def _expected(self) -> dict[str, list[Entry]]:
        """What the lists of checksums say of files that are there."""
        there = set(self.contents())
        expected: dict[str, list[Entry]] = {}
        for file in self.files:
            if file.role == CHECKSUMS:
                storage = self.container.open(file.name)
                for entry in checksums.read(storage, file.name):
                    name = inside(posixpath.join(posixpath.dirname(file.name), entry.file))
                    if name in there and name != file.name:
                        expected.setdefault(name, []).append(entry)
                storage.close()
        return expected


class _Renamed(Container):
    """Some files of a container under other names.

    :param inner: closed together with this one
    :param old: name in ``inner`` by the new one
    """

    def __init__(self, inner: Container, old: dict[str, str]) -> None:
        self.path = inner.path
        self._inner = inner
        self._old = old

    def names(self) -> list[str]:
        order = {name: number for number, name in enumerate(self._inner.names())}
        return sorted(self._old, key=lambda name: order.get(self._old[name], 0))

    def has(self, name: str) -> bool:
        return name in self._old

    def open(self, name: str) -> Storage:
        return self._inner.open(self._old[name])

    def size(self, name: str) -> int:
        return self._inner.size(self._old[name])

    def close(self) -> None:
        self._inner.close()


def open_uec(path: str, *, private_key: bytes | None = None, max_size: int | None = None) -> Uec:
    """Open a tarball, compressed or not, a folder with the files of one, or a bundle by its manifest.

    :param private_key: of a bundle's user: PEM
    :param max_size: bytes that may come out of what is compressed; None: as many as are plausible
    :raises InvalidImage: none of these
    :raises ImageError: whatever else is wrong with it
    """
    if os.path.isdir(path):
        return _opened(Folder(path), lambda container: Uec(path, FOLDER, container))
    with contextlib.ExitStack() as stack:
        storage: Storage = FileStorage(path)
        stack.callback(storage.close)
        from .bundle import read_manifest

        manifest = read_manifest(storage)
        if manifest is not None:
            from .bundle_content import Bundle

            bundle = Bundle(path, manifest, private_key, max_size)
            return _opened(bundle, lambda container: Uec(path, BUNDLE, container, bundle=bundle))
        found = detect(storage)
        layers = []
        if found.best.category == COMPRESSION and found.best.format in COMPRESSIONS:
            layers.append(found.best.format)
            stream = open_stream(storage, found.best.format)
            stream.limit(max_size, plausible=True)
            storage, found = stream, detect(stream, tail=False)
        if found.best.format not in _TARS or found.ambiguous:
            raise InvalidImage(f"this is {found.best.description}, not a UEC tarball", path=path)
        archive = Archive(storage, max_size)
        stack.pop_all()
        return _opened(archive, lambda container: Uec(path, TARBALL, container, layers))


def source_files(path: str) -> list[str]:
    """The files that a tarball, folder or bundle consists of: what has to be the same for it to be the same.

    :raises ImageError: it cannot be looked at
    """
    if os.path.isdir(path):
        folder = Folder(path)
        try:
            return [os.path.join(path, name) for name in _folder_names(folder)]
        finally:
            folder.close()
    storage = FileStorage(path)
    try:
        from .bundle import read_manifest

        manifest = read_manifest(storage)
    finally:
        storage.close()
    return [path, *(os.path.join(os.path.dirname(path), part.filename) for part in (manifest.parts if manifest else ()))]


_Container = t.TypeVar("_Container", bound=Container)


def _opened(container: _Container, make: t.Callable[[_Container], Uec]) -> Uec:
    try:
        return make(container)
    except BaseException:
        container.close()
        raise


def _folder_names(folder: Folder) -> list[str]:
    """The visible files of a folder, and those of the folders that EC2's way has in it."""
    names = []
    for name in folder.names():
        path = os.path.join(folder.path, name)
        if name.startswith("."):
            continue
        if os.path.isfile(path) and not os.path.islink(path):
            names.append(name)
        elif name.startswith(_EC2_FOLDERS) and os.path.isfile(os.path.join(path, "image")):
            names.append(f"{name}/image")
    return names
