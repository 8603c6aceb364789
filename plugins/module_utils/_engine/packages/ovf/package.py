# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""An OVF package, opened: its systems, its disks to be read in place, its manifest, and what is wrong with it.

Sources: DMTF DSP0243, "OVF package"; the quirks of its writers are commented where they are met.
"""

from __future__ import annotations

import dataclasses
import posixpath
import typing as t

from ...errors import AmbiguousImage, CorruptImage, ImageError, IntegrityFailure, InvalidImage, LimitExceeded, UnsafeReference, UnsupportedImage, printable
from ...limits import MAX_OVF
from ...progress import Progress, silent
from ...storage.base import Storage
from ...storage.file import FileStorage
from .container import Archive, Container, Folder, MissingFile, RemoteFile, ignored, resolve
from .envelope import Disk, Envelope, File, PackageWarning, System, choose_system, parse_envelope
from .hardware import Controller, Drive, ovirt_interface
from .manifest import Entry, Manifest, Verified, parse_manifest, verify_files
from .properties import proposed_properties

OVA = "ova"
FOLDER = "folder"

REQUIRE = "require"
VERIFY = "verify"
IGNORE = "ignore"

_PADDING = "pad"
"""oVirt aligns the disks with members of this name"""


@dataclasses.dataclass
class PackageDisk:
    """A disk of a system, with all that the descriptor knows of it. Its own header knows better (size, format)."""

    disk_id: str
    file: str
    """name in the package (as written, where no file is found); empty for a disk without a file"""
    href: str
    capacity: int | None
    """bytes, by the descriptor"""
    format: str
    """URI, by the descriptor"""
    compression: str
    """of the file as a whole: empty or ``gzip``; :meth:`open` gives the bytes as they are stored"""
    bus: str | None
    controller: str | None
    """the controller's model"""
    address: int | None
    boot: bool
    """the first in boot order"""
    _open: t.Callable[[], Storage]
    problem: ImageError | None = None
    """why it cannot be opened"""

    def open(self) -> Storage:
        """The file's bytes, in place. To be closed by the caller.

        :raises ImageError: it is not there, not allowed, or in pieces
        """
        if self.problem is not None:
            raise self.problem
        return self._open()


class Package:
    """Made by :func:`open_package`; to be closed, or used as a context manager."""

    def __init__(self, path: str, container: Container, descriptor: str, configuration: str | None) -> None:
        self.path = path
        self.kind = OVA if isinstance(container, Archive) else FOLDER
        self.descriptor = descriptor
        self.name = posixpath.basename(descriptor)[: -len(".ovf")]
        self._container = container
        self._folder = posixpath.dirname(descriptor)
        self.envelope: Envelope = parse_envelope(self._read(descriptor), descriptor, configuration)
        self.writer = self.envelope.writer
        self.ovf_version = self.envelope.version
        self.systems = self.envelope.systems
        self._manifest_name = self._beside(".mf")
        self._certificate = self._beside(".cert")
        self.signed = self._certificate is not None
        self.verified: Verified | None = None
        """what verify_manifest found, once it has run"""
        self.warnings: list[PackageWarning] = [*self.envelope.warnings, *self._examine()]

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

    def open_file(self, href: str) -> Storage:
        """The bytes of a file that the descriptor names, in place.

        :raises ImageError: it is not there, or not allowed
        """
        name, _exact = resolve(self._container, self._folder, href)
        return self._container.open(name)

    def disks(self, system: System | str | int | None = None) -> list[PackageDisk]:
        """The disks of a system in boot order, each once. Those that cannot be opened say why when they are.

        :param system: the system, or which; the only one when None
        """
        chosen = system if isinstance(system, System) else self.system(system)
        found: dict[tuple[str, str], PackageDisk] = {}
        for drive in chosen.hardware.drives:
            disk = self._disk(drive)
            found.setdefault((disk.disk_id, disk.href), disk)
        in_order = sorted(found.values(), key=lambda disk: not disk.boot)
        for position, disk in enumerate(in_order):
            disk.boot = position == 0
        return in_order

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
        result = Verified()
        files = self._listed(manifest, result)
        needed = [self.descriptor, *(name for _file, name, _problem in self._files() if name is not None)]
        result.unlisted = [name for name in dict.fromkeys(needed) if name not in files]
        if policy == REQUIRE and (result.missing or result.unlisted):
            name = printable((result.missing + result.unlisted)[0])
            what = "lists {!r}, which the package does not have" if result.missing else "does not list {!r}"
            raise IntegrityFailure(f"the manifest {what.format(name)}", path=self.path)
        verify_files(files, self._container.open, sum(self._container.size(name) for name in files), progress)
        result.files = list(files)
        for code, names, what in (
            ("manifest_missing_file", result.missing, "is listed in the manifest, but not in the package"),
            ("manifest_unlisted_file", result.unlisted, "is not listed in the manifest"),
        ):
            self.warnings += [PackageWarning(code, f"{printable(name)!r} {what}", manifest.file) for name in names]
        self.verified = result
        return result

    def manifest(self) -> Manifest | None:
        """The parsed manifest; None when there is none.

        :raises IntegrityFailure: it cannot be understood
        """
        if self._manifest_name is None:
            return None
        return parse_manifest(self._read(self._manifest_name), self._manifest_name)

    def describe(self) -> dict[str, t.Any]:
        """All facts, safe for JSON and for logs: no passwords, no control characters."""
        from .facts import package_facts

        return package_facts(self)

    def proposed_properties(self, system: System | str | int | None = None) -> dict[str, dict[str, t.Any]]:
        """OpenStack image properties for a system, each with its source; see properties.py."""
        return proposed_properties(self.envelope, system if isinstance(system, System) else self.system(system))

    def files(self) -> list[tuple[File, str | None]]:
        """References/File with the name of the file in the package; None where there is none to be read."""
        return [(file, name) for file, name, _problem in self._files()]

    def _read(self, name: str) -> bytes:
        storage = self._container.open(name)
        try:
            if storage.size > MAX_OVF:
                raise LimitExceeded(f"the file has {storage.size} bytes; {MAX_OVF} is the most that is read of one of its kind", path=storage.name)
            return storage.read_exact(0, storage.size, "the file")
        finally:
            storage.close()

    def _beside(self, suffix: str) -> str | None:
        """The manifest or certificate: of the descriptor's name, or (VirtualBox) the only one there is in an archive."""
        there = [name for name in self._container.names() if name.lower().endswith(suffix) and not ignored(name)]
        own = [name for name in there if name[: -len(suffix)] == self.descriptor[: -len(".ovf")]]
        return (own or (there if len(there) == 1 and self.kind == OVA else [None]))[0]  # type: ignore[list-item]

    def _listed(self, manifest: Manifest, result: Verified) -> dict[str, list[Entry]]:
        """The manifest's entries by the files that they are about."""
        files: dict[str, list[Entry]] = {}
        for entry in manifest.entries:
            try:
                name, _exact = resolve(self._container, self._folder, entry.file)
            except MissingFile:
                result.missing.append(entry.file)
                continue
            if name != self._manifest_name:  # some list themselves, with whatever digest
                files.setdefault(name, []).append(entry)
        return files

    def _files(self) -> list[tuple[File, str | None, ImageError | None]]:
        found: list[tuple[File, str | None, ImageError | None]] = []
        for file in self.envelope.files:
            try:
                found.append((file, resolve(self._container, self._folder, file.href)[0], None))
            except ImageError as error:
                found.append((file, None, error))
        return found
