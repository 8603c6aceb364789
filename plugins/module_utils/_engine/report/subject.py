# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What a page tells of one file: everything that the engine finds out about it, as plain data."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import typing as t

from ..errors import ImageError, NeedsKernel, from_os_error
from ..formats.companions import open_present
from ..guest.guest import guest_on
from ..inside import look_inside
from ..inspect import describe, describe_package
from ..openstack.upload import image_proposals
from ..openstack.verdict import Verdict, judge
from ..produce import verify_manifest, verify_source
from ..progress import Progress, silent
from ..source import Request, Source, detect_path, open_source
from .allocation import Allocation, allocation


@dataclasses.dataclass
class Subject:
    """A file."""

    path: str
    file_size: int | None = None
    """bytes; None of a folder, and of what is not there"""
    image: dict[str, t.Any] | None = None
    """as image_info describes it; None when there is none that could be opened"""
    package: dict[str, t.Any] | None = None
    """as ovf_info describes it"""
    tarball: dict[str, t.Any] | None = None
    """as uec_extract describes it"""
    inside: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    """``guest`` or ``media``, as image_info has them"""
    allocation: Allocation | None = None
    verdict: Verdict | None = None
    others: list[str] = dataclasses.field(default_factory=list)
    """paths of the further files that were read"""
    problems: list[str] = dataclasses.field(default_factory=list)
    """why something of this is missing"""
    checks: list[str] = dataclasses.field(default_factory=list)
    """what was verified"""
    proposals: dict[str, dict[str, t.Any]] = dataclasses.field(default_factory=dict)
    """image properties with ``value``, ``source`` and ``confidence``"""
    notes: list[str] = dataclasses.field(default_factory=list)
    """what no property says"""
    upload: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    """how it is uploaded: an entry of an upload plan"""


def look(
    request: Request, upload: t.Mapping[str, t.Any], *, guest: bool, ours: bool = False, checksum: str | None = None, progress: Progress = silent
) -> Subject:
    """Look at an image, at what it is wrapped in, and into it. Whatever is wrong with it is told in the result.

    A manifest is verified by the request's policy.

    :param upload: arguments of :func:`judge`
    :param guest: look into its file systems, too
    :param ours: the further files beside the image are its own
    :param checksum: of the file, as ``<algorithm>:<hexadecimal digest>``
    :raises ImageError: the file cannot be read at all
    """
    found = Subject(request.path, None if os.path.isdir(request.path) else _file_size(request.path))
    try:
        with contextlib.ExitStack() as opened:
            source = opened.enter_context(open_source(request, progress=progress))
            found.verdict = judge(request.path, source, **upload)
            if ours:
                opened.callback(source.reader.close)
                open_present(source.reader)
            found.others = [storage.name for storage in source.reader.followed]
            _describe(found, source, guest)
            found.checks += verify_source(source, checksum, progress=progress)
            found.checks += verify_manifest(source, progress=progress)
    except NeedsKernel:
        _take_apart(found, request)
        found.verdict = judge(request.path, **upload)
    except ImageError as error:
        found.problems.append(str(error))
        if found.verdict is None:
            found.verdict = judge(request.path, **upload)
    return found


def _describe(found: Subject, source: Source, guest: bool) -> None:
    found.package = describe_package(source.package) if source.package is not None else None
    found.image = describe(source)
    reason = source.reader.unreadable_reason()
    if reason is not None:
        found.problems.append(reason)
        return
    if not source.reader.storage.sequential:  # of a stream there are no tables to draw, and no files without unpacking it
        found.allocation = allocation(source.reader)
        if guest:
            _look_inside(found, source)


def _look_inside(found: Subject, source: Source) -> None:
    """What is installed, and what follows from that. A disk that cannot be read costs that only."""
    try:
        system = guest_on(source.reader)
        found.inside = look_inside(source.reader, system)
    except ImageError as error:
        found.problems.append(f"what is inside cannot be read: {error}")
        system = None
    proposals = image_proposals(source, system)
    found.proposals, found.notes = proposals.found, [note["message"] for note in proposals.notes]


def _take_apart(found: Subject, request: Request) -> None:
    """A UEC tarball: what is in it."""
    from ..packages.uec import open_uec

    try:
        with open_uec(request.path, max_size=request.max_size) as contents:
            found.tarball = contents.describe()
    except ImageError as error:
        found.problems.append(str(error))


def look_at_prepared(entry: t.Mapping[str, t.Any], cloud: t.Mapping[str, t.Any], *, guest: bool, progress: Progress = silent) -> Subject:
    """Look at a file of an upload plan, as it would be uploaded.

    :param entry: has ``filename``, ``disk_format`` and ``container_format``
    :param cloud: arguments of :func:`judge` that tell of the cloud
    :raises ImageError: the file cannot be read
    """
    path, kind = entry["filename"], entry["disk_format"]
    upload = {"disk_format": kind, "container_format": entry["container_format"], **cloud}
    if kind in ("aki", "ari"):
        return Subject(path, _file_size(path), verdict=judge(path, **upload), upload=dict(entry))
    found = look(Request(path, src_format="raw" if kind in ("raw", "ami") and _only_raw(path) else None), upload, guest=guest, ours=True, progress=progress)
    found.upload = dict(entry)
    return found


def _file_size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except (OSError, ValueError) as error:
        raise from_os_error(error if isinstance(error, OSError) else OSError(str(error)), path, "read it") from error


def _only_raw(path: str) -> bool:
    """Whether nothing is known of the content, which is then a raw disk because the plan says so."""
    return detect_path(path).best.reader in (None, "raw")
