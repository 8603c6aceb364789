# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""An OVF package, opened: its systems, its disks to be read in place, its manifest, and what is wrong with it.

Sources: DMTF DSP0243, "OVF package"; the quirks of its writers are commented where they are met.
"""

from __future__ import annotations

import os
import posixpath
import typing as t

from ..errors import AmbiguousImage, ImageError, IntegrityFailure, InvalidImage, LimitExceeded, UnsupportedImage, printable
from ..limits import MAX_OVF
from ..progress import Progress, silent
from ..storage.base import Storage
from ..storage.file import FileStorage
from .conformance import Located, examine
from .container import Archive, Container, Folder, MissingFile, RemoteFile, ignored, resolve
from .disks import PackageDisk, system_disks
from .facts import package_facts
from .manifest import Entry, Manifest, Verified, parse_manifest, verify_files
from .model import Envelope, File, PackageWarning, System, choose_system
from .ovf.envelope import parse_envelope

OVA = "ova"
FOLDER = "folder"

REQUIRE = "require"
VERIFY = "verify"
IGNORE = "ignore"


class Package:
    """Made by :func:`open_package`; to be closed, or used as a context manager."""

    def __init__(self, path: str, container: Container, descriptor: str, configuration: str | None) -> None:
        self.path = path
        self.kind = OVA if isinstance(container, Archive) else FOLDER
        self.descriptor = descriptor
        self.name = posixpath.splitext(posixpath.basename(descriptor))[0]
        self._container = container
        self._folder = posixpath.dirname(descriptor)
        self.envelope: Envelope = parse_envelope(self._read(descriptor), self._place(descriptor), configuration)
        self.writer = self.envelope.writer
        self.ovf_version = self.envelope.version
        self.systems = self.envelope.systems
        self.manifest_file = self._beside(".mf")
        self._certificate = self._beside(".cert")
        self.signed = self._certificate is not None
        self.verified: Verified | None = None
        """what verify_manifest found, once it has run"""
        self.located = [self._locate(file) for file in self.envelope.files]
        """References/File with the name of each in the package"""
        belonging = [name for name in (descriptor, self.manifest_file, self._certificate) if name is not None]
        self.warnings: list[PackageWarning] = [*self.envelope.warnings, *examine(self.envelope, container, self.located, descriptor, belonging)]

    def __enter__(self) -> Package:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._container.close()

    def system(self, wanted: str | int | None = None) -> System:
        """A system by id, name or position; the only one when None.

        :raises AmbiguousImage: there are several
        :raises InvalidImage: there is no such
        """
        return choose_system(self.systems, wanted, self.path)

    def contents(self) -> list[str]:
        """Names of the files that belong to the package and are there: descriptor, manifest, certificate, References."""
        names = [self.descriptor, self.manifest_file, self._certificate, *(located.name for located in self.located)]
        return [name for name in dict.fromkeys(names) if name is not None]

    def open_name(self, name: str) -> Storage:
        """The bytes of one of :meth:`contents`, in place.

        :raises UnsafeReference: it is a link or a device
        """
        return self._container.open(name)

    def disks(self, system: System | str | int | None = None) -> list[PackageDisk]:
        """The disks of a system in boot order, each once. Those that cannot be opened say why when they are.

        :param system: the system, or which; the only one when None
        """
        chosen = system if isinstance(system, System) else self.system(system)
        return system_disks(self.envelope, chosen, self._container, self._folder)

    def verify_manifest(self, policy: str = VERIFY, *, progress: Progress = silent) -> Verified | None:
        """Compare the files with the package's manifest.

        :param policy: ``require``: there must be one, and it must list all files; ``verify``: what it lists must
            agree; ``ignore``: nothing is done
        :return: what was verified; None when nothing was
        :raises IntegrityFailure: a digest differs, or ``require`` is not met
        """
        if policy == IGNORE:
            return None
        manifest = self.manifest()
        if manifest is None:
            if policy == REQUIRE:
                raise IntegrityFailure("the package has no manifest, and one is required", path=self.path)
            return None
        result = Verified(manifest.algorithms)
        files = self._listed(manifest, result)
        needed = [self.descriptor, *(located.name for located in self.located if located.name is not None)]
        result.unlisted = [name for name in dict.fromkeys(needed) if name not in files]
        if policy == REQUIRE and (result.missing or result.unlisted):
            name = printable((result.missing + result.unlisted)[0])
            what = f"lists {name!r}, which the package does not have" if result.missing else f"does not list {name!r}"
            raise IntegrityFailure(f"the manifest {what}", path=manifest.file)
        if self.verified is not None:
            return self.verified
        verify_files(files, self._container.open, sum(self._container.size(name) for name in files), progress)
        result.files = list(files)
        self.verified = result
        for code, names, what in (
            ("manifest_missing_file", result.missing, "is listed in the manifest, but not in the package"),
            ("manifest_unlisted_file", result.unlisted, "is not listed in the manifest"),
        ):
            self.warnings += [PackageWarning(code, f"{printable(name)!r} {what}", self.manifest_file or "") for name in names]
        return result

    def manifest(self) -> Manifest | None:
        """The parsed manifest; None when there is none.

        :raises IntegrityFailure: it cannot be understood
        """
        if self.manifest_file is None:
            return None
        return parse_manifest(self._read(self.manifest_file), self._place(self.manifest_file))

    def describe(self) -> dict[str, t.Any]:
        """All facts, safe for JSON and for logs: no passwords, no control characters."""
        return package_facts(self)

    def _place(self, name: str) -> str:
        """A file's name for messages."""
        return f"{self._container.path}!{name}" if self.kind == OVA else os.path.join(self._container.path, name)

    def _read(self, name: str) -> bytes:
        storage = self._container.open(name)
        try:
            if storage.size > MAX_OVF:
                raise LimitExceeded(f"the file has {storage.size} bytes; {MAX_OVF} is the most that is read of one of its kind", path=storage.name)
            return storage.read_exact(0, storage.size, "the file")
        finally:
            storage.close()

    def _beside(self, suffix: str) -> str | None:
        """The manifest or certificate: of the descriptor's name, or (VirtualBox) the only one there is of the only package."""
        there = _with_suffix(self._container, suffix)
        for name in there:
            if posixpath.splitext(name)[0] == posixpath.splitext(self.descriptor)[0]:
                return name
        return there[0] if len(there) == 1 and len(_with_suffix(self._container, ".ovf")) == 1 else None

    def _listed(self, manifest: Manifest, result: Verified) -> dict[str, list[Entry]]:
        """The manifest's entries by the files that they are about."""
        files: dict[str, list[Entry]] = {}
        for entry in manifest.entries:
            try:
                name, _exact = resolve(self._container, self._folder, entry.file)
            except (MissingFile, RemoteFile):
                result.missing.append(entry.file)
                continue
            if name != self.manifest_file:  # some list themselves, with whatever digest
                files.setdefault(name, []).append(entry)
        return files

    def _locate(self, file: File) -> Located:
        try:
            return Located(file, *resolve(self._container, self._folder, file.href), None)
        except ImageError as error:
            return Located(file, None, False, error)


def open_package(path: str, *, configuration: str | None = None) -> Package:
    """Open a package: an OVA (a tar archive), a descriptor in its folder, or a folder with one descriptor.

    :param configuration: id of the deployment configuration whose hardware is wanted; the package's default when None
    :raises InvalidImage: no package
    :raises AmbiguousImage: more than one descriptor
    :raises ImageError: whatever else is wrong with it
    """
    if os.path.isdir(path):
        folder = Folder(path)
        return Package(path, folder, _descriptor(folder), configuration)
    storage = FileStorage(path)
    try:
        if _is_xml(storage.read_at(0, 64)):
            storage.close()
            # The caller may name the descriptor by a link; what the descriptor names may not be one.
            real = os.path.realpath(path) if os.path.islink(path) else path
            return Package(path, Folder(os.path.dirname(real) or "."), os.path.basename(real), configuration)
        archive = Archive(storage)
        return Package(path, archive, _descriptor(archive), configuration)
    except BaseException:
        storage.close()
        raise


def _is_xml(start: bytes) -> bool:
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if start.startswith(mark):
            return start[len(mark) :].decode(encoding, "replace").lstrip().startswith("<")
    return start.lstrip().startswith(b"<")


def _with_suffix(container: Container, suffix: str) -> list[str]:
    return [name for name in container.names() if name.lower().endswith(suffix) and not ignored(name)]


def _descriptor(container: Container) -> str:
    """The only .ovf file of a container."""
    found = _with_suffix(container, ".ovf")
    if len(found) == 1:
        return found[0]
    if found:
        there = ", ".join(repr(printable(name)) for name in found[:10])
        raise AmbiguousImage(f"{len(found)} OVF descriptors: {there}", path=container.path, hint="A package has one")
    if any(posixpath.basename(name) in ("metadata.json", "Vagrantfile") for name in container.names()):
        raise UnsupportedImage("is a Vagrant box without an OVF descriptor, which is not supported yet", path=container.path)
    raise InvalidImage("is no OVF package: there is no .ovf file in it", path=container.path)
