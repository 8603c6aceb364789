# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What is wrong with a package without stopping one from using it: a list that a vendor can be held to.

Source: DMTF DSP0243, "OVF package" and "OVF package distribution".
"""

from __future__ import annotations

import collections
import typing as t

from ..errors import ImageError, UnsafeReference, printable
from .container import Archive, Container, MissingFile, RemoteFile, ignored
from .model import Envelope, PackageWarning
from .pieces import Located

MAX_WARNINGS = 500
_PADDING = "pad"
"""oVirt aligns the disks in its archives with members of this name"""


def examine(envelope: Envelope, container: Container, files: list[Located], descriptor: str, belonging: list[str]) -> list[PackageWarning]:
    """All warnings about a package.

    :param files: References/File, resolved
    :param descriptor: the descriptor's name in the container
    :param belonging: names that belong to the package without being in References: descriptor, manifest, certificate
    """
    found = [*_files(envelope, container, files, descriptor), *_disks(envelope, descriptor)]
    if isinstance(container, Archive):
        found += _archive(container, files, descriptor, belonging)
    if len(found) > MAX_WARNINGS:
        more = PackageWarning("more_warnings", f"{len(found) - MAX_WARNINGS} more warnings are left out", container.path)
        found = [*found[:MAX_WARNINGS], more]
    return found


def _archive(archive: Archive, files: list[Located], descriptor: str, belonging: list[str]) -> t.Iterator[PackageWarning]:
    names = [name for name in archive.names() if name != _PADDING and not ignored(name)]
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
    known = {*belonging, *(name for located in files for name in (*located.names, *located.snapshots))}
    for name in names:
        if name not in known:
            yield PackageWarning("unlisted_file", f"member {printable(name)!r} is not in the descriptor's References", archive.path)


def _files(envelope: Envelope, container: Container, files: list[Located], descriptor: str) -> t.Iterator[PackageWarning]:
    for located in files:
        file, where = located.file, f"{descriptor}: File {printable(located.file.id)}"
        if located.name is None:
            yield PackageWarning(_problem_code(located.problem), located.problem.message if located.problem else "", where)
            continue
        if not located.exact:
            yield PackageWarning("href_differs_in_case", f"{printable(file.href)!r} is called {printable(located.name)!r} in the package", where)
        try:
            size = sum(map(container.size, located.names))
        except ImageError as error:
            yield PackageWarning("unusable_file", error.message, where)
            continue
        # oVirt gives the allocated size there, which it knows to be another.
        if file.size is not None and file.size != size and envelope.writer != "oVirt":
            yield PackageWarning("file_size_mismatch", f"{printable(file.href)!r} has {size} bytes, not {file.size}", where)


def _problem_code(problem: ImageError | None) -> str:
    if isinstance(problem, MissingFile):
        return "missing_file"
    if isinstance(problem, RemoteFile):
        return "remote_file"
    return "unsafe_href" if isinstance(problem, UnsafeReference) else "unusable_file"


def _disks(envelope: Envelope, descriptor: str) -> t.Iterator[PackageWarning]:
    attached = any(system.hardware.drives for system in envelope.systems)
    drives = [drive for system in envelope.systems for drive in (*system.hardware.drives, *system.hardware.removable)]
    # oVirt: "<disk id>/<image id>", or the disk's id as InstanceID.
    used = {name for drive in drives for name in (drive.reference, drive.instance_id, *drive.reference.split("/"))}
    there = collections.Counter(disk.id for disk in envelope.disks)
    files = {name for file in envelope.files for name in (file.id, file.href)}
    for disk in envelope.disks:
        where = f"{descriptor}: Disk {printable(disk.id)}"
        if there[disk.id] > 1:
            yield PackageWarning("duplicate_disk_id", "several disks have this id", where)
        if disk.file_ref and disk.file_ref not in files:
            yield PackageWarning("dangling_file_ref", f"the file {printable(disk.file_ref)!r} is not in References", where)
        if attached and disk.id not in used and disk.file_ref not in used:
            yield PackageWarning("disk_not_attached", "no system uses this disk", where)
    for reference in dict.fromkeys(drive.reference for drive in drives if drive.kind == "disk" and drive.reference not in there):
        yield PackageWarning("dangling_disk_ref", f"an Item names the disk {printable(reference)!r}, which DiskSection does not have", descriptor)
