# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What is wrong with a package without stopping one from using it: a list that a vendor can be held to (codes.py).

Source: DMTF DSP0243, "OVF package", "OVF package distribution", "References" and "DiskSection".
"""

from __future__ import annotations

import collections
import posixpath
import re
import typing as t

from ..errors import CorruptImage, ImageError, UnsafeReference, printable
from .codes import limited
from .container import ZIP, Archive, Container, MissingFile, RemoteFile, ignored
from .images import FORMAT_URIS
from .integrity import integrity
from .model import Envelope, PackageWarning
from .pieces import Located

_PADDING = "pad"
"""oVirt aligns the disks in its archives with members of this name"""
_OVIRT = "oVirt"
_MANIFEST = ".mf"
_CERTIFICATE = ".cert"
_COMPRESSIONS = ("", "gzip")
_NO_URI = re.compile(r"[^A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]|%(?![0-9A-Fa-f]{2})", re.ASCII)
"""RFC 3986, 2: what is no character of a URI"""
_PIECE = re.compile(r"\.([0-9]+)$", re.ASCII)
_DIGITS = 9


def examine(envelope: Envelope, container: Container, files: list[Located], descriptor: str, belonging: list[str]) -> list[PackageWarning]:
    """All warnings about a package, but for those of its descriptor, which the envelope has.

    :param files: References/File, resolved
    :param descriptor: the descriptor's name in the container
    :param belonging: names that belong to the package without being in References: descriptor, manifest, certificate
    """
    return limited(_examine(envelope, container, files, descriptor, belonging), container.path)


def _examine(envelope: Envelope, container: Container, files: list[Located], descriptor: str, belonging: list[str]) -> t.Iterator[PackageWarning]:
    folder = posixpath.dirname(descriptor)
    listed = {name for located in files for name in (*located.names, *located.snapshots)}
    damaged = {posixpath.join(folder, located.file.href) for located in files if located.problem is not None}
    listed |= {name for name in container.names() if _PIECE.search(name) and name.rpartition(".")[0] in damaged}
    manifest, certificate = (next((name for name in belonging if name.lower().endswith(suffix)), None) for suffix in (_MANIFEST, _CERTIFICATE))
    if isinstance(container, Archive):
        yield from _archive(container, descriptor, {*belonging, *listed})
        yield from _order(container, files, descriptor, manifest, certificate)
    for located in files:
        yield from _file(located, envelope, container, f"{descriptor}: File {printable(located.file.id)}")
    yield from _repeated_files(files, descriptor)
    yield from _disks(envelope, descriptor)
    if envelope.version in ("1.x", "2.x"):
        yield from _disk_files(envelope, descriptor)
    # The files of a manifest that has its pieces listed as a whole are in References, too.
    wholes = {located.whole_name(folder) for located in files if located.names}
    yield from integrity(container, descriptor, manifest, certificate, listed | wholes)


def _archive(archive: Archive, descriptor: str, known: t.Container[str]) -> t.Iterator[PackageWarning]:
    names = _names(archive)
    if archive.kind == ZIP or archive.compressed:
        how = "a zip archive" if archive.kind == ZIP else "compressed"
        yield PackageWarning("compressed_archive", f"the package is {how}, not a tar archive", archive.path)
    if archive.not_ustar:
        first, more = archive.not_ustar[0], len(archive.not_ustar) - 1
        yield PackageWarning("not_ustar", f"member {printable(first)!r} is not stored as ustar{f', and {more} more' if more else ''}", archive.path)
    if names[0] != descriptor:
        yield PackageWarning("ovf_not_first", f"the descriptor {printable(descriptor)!r} is not the first member", archive.path)
    for name in archive.unsafe:
        yield PackageWarning("unsafe_member_name", f"member {printable(name)!r} lies outside of the package and is ignored", archive.path)
    for name in archive.duplicates():
        if name != _PADDING:
            yield PackageWarning("duplicate_member", f"there are several members called {printable(name)!r}", archive.path)
    for name in archive.names():
        if ignored(name):
            yield PackageWarning("appledouble_ignored", f"member {printable(name)!r} is macOS's extra data and is ignored", archive.path)
    for name in names:
        if name not in known:
            yield PackageWarning("unlisted_file", f"member {printable(name)!r} is not in the descriptor's References", archive.path)


def _order(archive: Archive, files: list[Located], descriptor: str, manifest: str | None, certificate: str | None) -> t.Iterator[PackageWarning]:
    """Descriptor, manifest, certificate, files as in References; manifest and certificate may also be the last."""
    names = [name for name in _names(archive) if name != descriptor]
    for name in (manifest, certificate):
        if name is not None and names[:1] == [name]:
            del names[0]
    for name in (certificate, manifest):
        if name is not None and names[-1:] == [name]:
            del names[-1]
    for name in (manifest, certificate):
        if name is not None and name in names:
            yield PackageWarning("manifest_misplaced", f"{printable(name)!r} is neither behind the descriptor nor at the end", archive.path)
    position = {name: number for number, name in enumerate(names)}
    wanted = [name for name in dict.fromkeys(name for located in files for name in located.names) if name in position]
    for before, name in zip(wanted, wanted[1:]):
        if position[before] > position[name]:
            yield PackageWarning("files_out_of_order", f"member {printable(name)!r} does not come behind {printable(before)!r}", archive.path)
            return


def _names(archive: Archive) -> list[str]:
    return [name for name in archive.names() if name != _PADDING and not ignored(name)]


def _file(located: Located, envelope: Envelope, container: Container, where: str) -> t.Iterator[PackageWarning]:
    file = located.file
    if _NO_URI.search(file.href):
        yield PackageWarning("href_not_a_uri", f"{printable(file.href)!r} has characters that a URI does not have", where)
    if file.href.lower().endswith((_MANIFEST, _CERTIFICATE)):
        yield PackageWarning("manifest_in_references", f"{printable(file.href)!r} does not belong there", where)
    if file.compression not in _COMPRESSIONS:
        yield PackageWarning("unknown_compression", f"the compression {printable(file.compression)!r} is not gzip", where)
    if file.size is None:
        yield PackageWarning("file_size_absent", "the size is not told", where)
    if located.name is None:
        yield PackageWarning(_problem_code(located.problem), located.problem.message if located.problem else "", where)
        return
    yield from _chunks(located, where)
    if not located.exact:
        yield PackageWarning("href_differs_in_case", f"{printable(file.href)!r} is called {printable(located.name)!r} in the package", where)
    try:
        size = sum(map(container.size, located.names))
    except ImageError as error:
        yield PackageWarning("unusable_file", error.message, where)
        return
    # oVirt gives the allocated size there, which it knows to be another.
    if file.size is not None and file.size != size and envelope.writer != _OVIRT:
        yield PackageWarning("file_size_mismatch", f"{printable(file.href)!r} has {size} bytes, not {file.size}", where)


def _problem_code(problem: ImageError | None) -> str:
    if isinstance(problem, MissingFile):
        return "missing_file"
    if isinstance(problem, RemoteFile):
        return "remote_file"
    if isinstance(problem, CorruptImage):
        return "chunks_damaged"
    return "unsafe_href" if isinstance(problem, UnsafeReference) else "unusable_file"


def _chunks(located: Located, where: str) -> t.Iterator[PackageWarning]:
    names = (*located.snapshots, *located.names)
    number = _PIECE.search(names[0])
    cut = number is not None and (len(names) > 1 or not located.file.href.endswith(number[0]))
    if not cut and located.file.chunk_size is not None:
        yield PackageWarning("chunks_absent", f"{printable(names[0])!r} is whole, but there is a chunkSize", where)
    if cut and located.file.chunk_size is None:
        yield PackageWarning("chunks_undeclared", f"the file is in {len(names)} pieces, but has no chunkSize", where)
    if cut and number is not None and len(number[1]) != _DIGITS:
        yield PackageWarning("chunks_misnumbered", f"{printable(names[0])!r} has no number of {_DIGITS} digits", where)


def _repeated_files(files: list[Located], descriptor: str) -> t.Iterator[PackageWarning]:
    for code, what, found in (
        ("duplicate_file_id", "Files have the id", collections.Counter(located.file.id for located in files)),
        ("duplicate_href", "Files are about", collections.Counter(located.name or located.file.href for located in files)),
    ):
        for name, count in found.items():
            if count > 1:
                yield PackageWarning(code, f"{count} {what} {printable(name)!r}", f"{descriptor}: References")


def _disks(envelope: Envelope, descriptor: str) -> t.Iterator[PackageWarning]:
    attached = any(system.hardware.drives for system in envelope.systems)
    drives = [drive for system in envelope.systems for drive in (*system.hardware.drives, *system.hardware.removable)]
    # oVirt: "<disk id>/<image id>", or the disk's id as InstanceID.
    used = {name for drive in drives for name in (drive.reference, drive.instance_id, *drive.reference.split("/"))}
    there = collections.Counter(disk.id for disk in envelope.disks)
    files = {name for file in envelope.files for name in (file.id, file.href)}
    parents = {disk.parent_ref for disk in envelope.disks}
    for disk in envelope.disks:
        where = f"{descriptor}: Disk {printable(disk.id)}"
        if disk.file_ref and disk.file_ref not in files:
            yield PackageWarning("dangling_file_ref", f"the file {printable(disk.file_ref)!r} is not in References", where)
        if disk.parent_ref and disk.parent_ref not in there:
            yield PackageWarning("dangling_parent_ref", f"there is no disk {printable(disk.parent_ref)!r}", where)
        if attached and disk.id not in used and disk.file_ref not in used and disk.id not in parents:
            yield PackageWarning("disk_not_attached", "no system uses this disk", where)
    for disk_id, count in there.items():
        if count > 1:
            yield PackageWarning("duplicate_disk_id", f"{count} disks have this id", f"{descriptor}: Disk {printable(disk_id)}")
    for reference in dict.fromkeys(drive.reference for drive in drives if drive.kind == "disk" and drive.reference not in there):
        yield PackageWarning("dangling_disk_ref", f"an Item names the disk {printable(reference)!r}, which DiskSection does not have", descriptor)
    for reference in dict.fromkeys(drive.reference for drive in drives if drive.kind == "file" and drive.reference not in files):
        yield PackageWarning("dangling_file_ref", f"an Item names the file {printable(reference)!r}, which References does not have", descriptor)


def _disk_files(envelope: Envelope, descriptor: str) -> t.Iterator[PackageWarning]:
    """The rules about disks and their files that OVF 0.9 did not have."""
    for disk in envelope.disks:
        if disk.format and not any(part in disk.format for part, _formats in FORMAT_URIS):
            yield PackageWarning("format_unknown", f"the format {printable(disk.format)!r} is not known", f"{descriptor}: Disk {printable(disk.id)}")
    for reference, count in collections.Counter(disk.file_ref for disk in envelope.disks if disk.file_ref).items():
        if count > 1:
            yield PackageWarning("disk_file_shared", f"{count} disks have the file {printable(reference)!r}", f"{descriptor}: DiskSection")
    position = {file.id: number for number, file in enumerate(envelope.files)}
    wanted = [disk.file_ref for disk in envelope.disks if disk.file_ref in position]
    for before, reference in zip(wanted, wanted[1:]):
        if position[before] > position[reference]:
            yield PackageWarning(
                "disks_out_of_order", f"the file {printable(reference)!r} does not come behind {printable(before)!r}", f"{descriptor}: DiskSection"
            )
            return
