# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""A package, opened: its systems, its disks to be read in place, its manifest, and what is wrong with it.

Sources: DMTF DSP0243, "OVF package"; the quirks of its writers are commented where they are met.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import typing as t

from ..errors import ImageError, IntegrityFailure, LimitExceeded, printable
from ..limits import MAX_OVF
from ..progress import Progress, silent
from ..storage.base import Storage
from .conformance import examine
from .container import Archive, Container, MissingFile, RemoteFile, ignored, resolve
from .disks import Disks, PackageDisk
from .facts import package_facts
from .manifest import Check, Entry, Manifest, Verified, parse_manifest
from .model import Envelope, PackageWarning, System, choose_system
from .pieces import Located, locate, open_located
from .plain import stem

if t.TYPE_CHECKING:  # pragma: no cover
    from .signature import Signature, Verification

OVA = "ova"
OVF = "ovf"
VAGRANT = "vagrant"
ARCHIVE = "archive"

REQUIRE = "require"
VERIFY = "verify"
IGNORE = "ignore"


class Package:
    """Made by :func:`.opening.open_package`; to be closed, or used as a context manager.

    :param path: for messages and facts
    :param kind: OVA, OVF, VAGRANT or ARCHIVE
    :param container: has the files; closed together with the package
    :param descriptor: the name of the file that describes the package; empty: there is none
    :param read: makes an envelope of the descriptor's bytes (none without one) and its name for messages
    :param layers: what is around the archive, outermost first: names of compressions and archives
    """

    outer: Container | None = None
    """what the container lies in, when it lies in an archive itself; closed together with the package"""

    def __init__(
        self, path: str, kind: str, container: Container, descriptor: str, read: t.Callable[[bytes, str], Envelope], layers: t.Sequence[str] = ()
    ) -> None:
        self.path = path
        self.kind = kind
        self.layers = list(layers)
        self.container = container
        self.descriptor = descriptor
        is_ovf = kind in (OVA, OVF)
        self.name = posixpath.splitext(posixpath.basename(descriptor))[0] if is_ovf else stem(path)
        self._folder = posixpath.dirname(descriptor)
        self.envelope = read(self.read(descriptor) if descriptor else b"", self.place(descriptor) if descriptor else path)
        self.writer = self.envelope.writer
        self.ovf_version = self.envelope.version
        self.systems = self.envelope.systems
        self.manifest_file = self._beside(".mf") if is_ovf else None
        self.certificate_file = self._beside(".cert") if is_ovf else None
        self.signature: Signature | None = None
        """what the certificate file says; None: there is none, or it is damaged"""
        self.verification: Verification | None = None
        """whether the manifest was signed with that certificate's key"""
        if self.certificate_file is not None and self.manifest_file is not None:
            self._read_signature(self.certificate_file, self.manifest_file)
        self.located = [locate(container, self._folder, file) for file in self.envelope.files]
        """References/File with the names of each in the package"""
        self._disks = Disks(self.envelope, self.located)
        self._manifest: Manifest | None = None
        self._check = Check({})
        self._policy = IGNORE
        self._used: dict[str, None] = {}
        """files that were opened"""
        self._expected: Verified | None = None
        self.verified: Verified | None = None
        """what was verified, once it was"""
        belonging = [name for name in (descriptor, self.manifest_file, self.certificate_file) if name]
        self.warnings: list[PackageWarning] = list(self.envelope.warnings)
        if is_ovf:
            self.warnings += examine(self.envelope, container, self.located, descriptor, belonging)

    def __enter__(self) -> Package:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._check.close()
        self.container.close()
        if self.outer is not None:
            self.outer.close()

    def system(self, wanted: str | None = None) -> System:
        """A system by id, name or position; the only one when None.

        :raises AmbiguousImage: there are several
        :raises InvalidImage: there is no such
        """
        return choose_system(self.systems, wanted, self.path)

    def contents(self) -> list[str]:
        """Names of the files that belong to the package and are there: descriptor, manifest, certificate, References."""
        files = (name for located in self.located for name in (*located.snapshots, *located.names))
        names = [self.descriptor, self.manifest_file, self.certificate_file, *files]
        return [name for name in dict.fromkeys(names) if name]

    def open_name(self, name: str) -> Storage:
        """The bytes of one of :meth:`contents`, in place.

        :raises UnsafeReference: it is a link or a device
        """
        self._used[name] = None
        return self._check.watch(name, lambda: self.container.open(name))

    def beside(self, name: str, other: str) -> str:
        """The name of a file that another file of the package names, as an extent or a parent.

        :param name: of the other file
        :param other: what it says: relative to the folder that it lies in
        :raises ImageError: it is not in the package, or not allowed
        """
        return resolve(self.container, posixpath.dirname(name), other)[0]

    def disks(self, system: System | str | None = None) -> list[PackageDisk]:
        """The disks of a system in boot order, each once. Those that cannot be opened say why when they are.

        :param system: the system, or which; the only one when None
        """
        return self._disks.of(system if isinstance(system, System) else self.system(system))

    def parent(self, disk: PackageDisk) -> PackageDisk | None:
        """The disk that another one holds the differences to."""
        return self._disks.named(disk.parent) if disk.parent else None

    def open_disk(self, disk: PackageDisk) -> Storage | None:
        """A disk's file as it is stored (it may be compressed), in place; None of an empty disk. To be closed.

        :raises ImageError: it is not there, not allowed, or pieces of it are missing
        """
        disk.require_usable()
        located = disk.located
        if located is None:
            return None
        whole = located.whole_name(self._folder)
        if len(located.names) > 1 and self._check.has(whole):
            return self._check.watch(whole, lambda: open_located(located, self._folder, self.open_name))
        return open_located(located, self._folder, self.open_name)

    def expect_manifest(self, policy: str) -> None:
        """Have the files that are opened from now on compared with the manifest.

        :param policy: ``require``: there must be one, and it must list what is used; ``verify``: what it lists must
            agree; ``ignore``: nothing is done
        :raises IntegrityFailure: there is none, it cannot be understood, or it is not the one that was signed
        """
        self._policy = policy
        self._manifest = None if policy == IGNORE else self.manifest()
        if policy == REQUIRE and self._manifest is None:
            raise IntegrityFailure("the package has no manifest, and one is required", path=self.path)
        if policy != IGNORE and self.verification is not None and self.verification.verified is False:
            raise IntegrityFailure(f"the manifest is not what was signed: {self.verification.reason}", path=self.place(self.certificate_file))
        self._check.close()
        self.verified = None
        self._expected = None if self._manifest is None else Verified(self._manifest.algorithms)
        self._check = Check(self._listed(self._manifest, self._expected) if self._manifest and self._expected else {})

    def verify_used(self, *, progress: Progress = silent) -> Verified | None:
        """Compare the descriptor and all files that were opened since :meth:`expect_manifest` with the manifest.

        What was read in its order is not read again.

        :return: what was verified; None when nothing was
        :raises IntegrityFailure: a digest differs, or ``require`` is not met
        """
        if self._expected is None:
            return None
        self.open_name(self.descriptor)
        for located in self.located:
            if any(name in self._used for name in located.names):
                self._watch_whole(located)
        if self._policy == REQUIRE:
            self._require_listed(name for name in self._used if name not in (self.manifest_file, self.certificate_file))
        return self._finish(self._expected, progress)

    def verify_manifest(self, policy: str = VERIFY, *, progress: Progress = silent) -> Verified | None:
        """Compare all files with the package's manifest.

        :param policy: as of :meth:`expect_manifest`; with ``require``, all files of the package have to be listed, and
            all listed ones there
        :return: what was verified; None when nothing was
        :raises IntegrityFailure: a digest differs, or ``require`` is not met
        """
        self.expect_manifest(policy)
        found = self._expected
        if found is None:
            return None
        self.require_complete_manifest()
        for located in self.located:
            self._watch_whole(located)
        for name in self._check.expected:
            if self.container.has(name):
                self.open_name(name)
        self._finish(found, progress)
        for code, names, what in (
            ("manifest_missing_file", found.missing, "is listed in the manifest, but not in the package"),
            ("manifest_unlisted_file", found.unlisted, "is not listed in the manifest"),
        ):
            told = {warning for warning in self.warnings if warning.code == code}
            self.warnings += [
                warning for name in names if (warning := PackageWarning(code, f"{printable(name)!r} {what}", self.manifest_file or "")) not in told
            ]
        return found

    def require_complete_manifest(self) -> None:
        """:raises IntegrityFailure: the policy is ``require``, and the manifest lists what is not there, or not all that is"""
        if self._policy == REQUIRE and self._expected is not None:
            if self._expected.missing:
                name = printable(self._expected.missing[0])
                raise IntegrityFailure(f"the manifest lists {name!r}, which the package does not have", path=self.place(self.manifest_file))
            self._require_listed(self._expected.unlisted)

    def manifest(self) -> Manifest | None:
        """The parsed manifest; None when there is none.

        :raises IntegrityFailure: it cannot be understood
        """
        if self.manifest_file is None:
            return None
        return parse_manifest(self.read(self.manifest_file), self.place(self.manifest_file))

    def describe(self) -> dict[str, t.Any]:
        """All facts, safe for JSON and for logs: no passwords, no control characters."""
        return package_facts(self)

    def place(self, name: str | None) -> str:
        """A file's name for messages."""
        return f"{self.container.path}!{name}" if isinstance(self.container, Archive) else os.path.join(self.container.path, name or "")

    def read(self, name: str) -> bytes:
        """A small file of the package: descriptor, manifest, certificate.

        :raises LimitExceeded: it is too large for one of these
        """
        storage = self.container.open(name)
        try:
            if storage.size > MAX_OVF:
                raise LimitExceeded(f"the file has {storage.size} bytes; {MAX_OVF} is the most that is read of one of its kind", path=storage.name)
            return storage.read_exact(0, storage.size, "the file")
        finally:
            storage.close()

    def _read_signature(self, certificate: str, manifest: str) -> None:
        from .signature import read_signature

        with contextlib.suppress(ImageError):  # conformance.py tells
            self.signature = read_signature(self.read(certificate), self.place(certificate))
            self.verification = self.signature.verify(self.read(manifest))

    def _beside(self, suffix: str) -> str | None:
        """The manifest or certificate: of the descriptor's name, or (VirtualBox) the only one there is of the only package."""
        there = with_suffix(self.container, suffix)
        for name in there:
            if posixpath.splitext(name)[0] == posixpath.splitext(self.descriptor)[0]:
                return name
        return there[0] if len(there) == 1 and len(with_suffix(self.container, ".ovf")) == 1 else None

    def _listed(self, manifest: Manifest, result: Verified) -> dict[str, list[Entry]]:
        """The manifest's entries by the files that they are about. Of a file in pieces it may list these, the file, or both."""
        files: dict[str, list[Entry]] = {}
        in_pieces = {located.file.href: located for located in self.located if len(located.names) > 1}
        for entry in manifest.entries:
            try:
                name, _exact = resolve(self.container, self._folder, entry.file)
            except (MissingFile, RemoteFile):
                if entry.file not in in_pieces:
                    result.missing.append(entry.file)
                    continue
                name = in_pieces[entry.file].whole_name(self._folder)
            if name != self.manifest_file:  # some list themselves, with whatever digest
                files.setdefault(name, []).append(entry)
        covered = self._covered(files)
        needed = [self.descriptor, *(name for located in self.located for name in located.names)]
        result.unlisted = [name for name in dict.fromkeys(needed) if name not in files and name not in covered]
        return files

    def _watch_whole(self, located: Located) -> None:
        """Have a file in pieces that the manifest lists as a whole compared as one."""
        whole = located.whole_name(self._folder)
        if len(located.names) > 1 and self._check.has(whole):
            self._check.watch(whole, lambda: open_located(located, self._folder, self.open_name))

    def _covered(self, listed: t.Container[str]) -> set[str]:
        """The pieces of files that are listed as a whole."""
        return {name for located in self.located if len(located.names) > 1 and located.whole_name(self._folder) in listed for name in located.names}

    def _finish(self, found: Verified, progress: Progress) -> Verified:
        found.files = self._check.finish(progress)
        self.verified = found
        return found

    def _require_listed(self, names: t.Iterable[str]) -> None:
        """:raises IntegrityFailure: one is not in the manifest"""
        covered = self._covered(self._check.expected)
        for name in names:
            if not self._check.has(name) and name not in covered:
                raise IntegrityFailure(f"the manifest does not list {printable(name)!r}", path=self.place(self.manifest_file))


def with_suffix(container: Container, suffix: str) -> list[str]:
    """The files with an ending, of any case, but for macOS's extra data."""
    return [name for name in container.names() if name.lower().endswith(suffix) and not ignored(name)]
