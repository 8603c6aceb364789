# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Whether an image is what it is expected to be: the first difference, in rising cost of finding it."""

from __future__ import annotations

import dataclasses
import typing as t

from .errors import IntegrityFailure
from .formats.registry import canonical
from .openstack.upload_facts import REFUSE, SERVICES
from .openstack.verdict import judge
from .produce import verify_manifest, verify_source
from .progress import Progress, silent
from .source import Request, Source, open_source
from .transfer.compare import compare
from .transfer.digest import content_digests, parse_checksum


@dataclasses.dataclass
class Expectation:
    """What an image has to be; None and False: no matter."""

    format: str | None = None
    subformat: str | None = None
    virtual_size: int | None = None
    """bytes, exactly"""
    standalone: bool = False
    """names no other file"""
    openstack: bool = False
    """OpenStack accepts an upload of it, and there is nothing against that"""
    upload: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    """how it would be uploaded: arguments of :func:`judge`"""
    checksum: str | None = None
    """of the file, ``<algorithm>:<hexadecimal digest>``"""
    sound: bool = True
    """a check of all structures finds nothing that would make the guest read wrong data"""
    clean: bool = False
    """it finds no space either that nothing uses"""
    content_checksum: str | None = None
    """of what the guest sees, from the disk's first to its last byte"""
    same_as: Request | None = None
    """another image, of any format, that shows the guest the same bytes in a disk of the same size"""


@dataclasses.dataclass
class Difference:
    """In what an image is not as expected."""

    aspect: str
    """the expectation's name"""
    expected: t.Any
    found: t.Any
    reason: str
    """one sentence"""


def verify(source: Source, expected: Expectation, *, progress: Progress = silent) -> tuple[list[str], Difference | None]:
    """Hold an image against what is expected of it, up to the first difference.

    :return: what was found as expected, for a person to read; and the difference, if there is one
    :raises ImageError: the image, or the one it is to be the same as, cannot be read
    """
    passed: list[str] = []
    for aspect in (_properties, _standalone, _openstack, _integrity, _clean, _content, _same, _manifest):
        difference = aspect(source, expected, passed, progress)
        if difference is not None:
            return passed, difference
    return passed, None


def _properties(source: Source, expected: Expectation, passed: list[str], _progress: Progress) -> Difference | None:
    info = source.reader.describe()
    wanted = {
        "format": expected.format and canonical(expected.format),
        "subformat": expected.subformat,
        "virtual_size": expected.virtual_size,
    }
    for name, value in wanted.items():
        found = getattr(info, name)
        if value is None:
            continue
        if str(found).lower() != str(value).lower():
            return Difference(name, value, found, f"{name} is {found}, {value} was expected")
        passed.append(f"{name} is {found}")
    return None


def _standalone(source: Source, expected: Expectation, passed: list[str], _progress: Progress) -> Difference | None:
    if not expected.standalone:
        return None
    names = [reference.name for reference in source.reader.references()]
    if names:
        return Difference("standalone", [], names, f"the image names other files: {', '.join(map(repr, names[:4]))}")
    passed.append("it names no other file")
    return None


def _openstack(source: Source, expected: Expectation, passed: list[str], _progress: Progress) -> Difference | None:
    if not expected.openstack:
        return None
    verdict = judge(source.path, source, **expected.upload)
    objection = verdict.objection
    if objection is not None:
        found = "refused" if objection.outcome == REFUSE else "accepted, with a warning"
        what = "an upload to Glance" if objection.service == "glance" else f"the use by {SERVICES[objection.service]} of an upload"
        return Difference("openstack", "accepted", found, f"{what} as {verdict.disk_format} is {found}: {objection.text}")
    services = [SERVICES[gate.service] for gate in verdict.decisive]
    passed.append(f"{' and '.join(services)} accept{'' if len(services) > 1 else 's'} it as {verdict.disk_format}")
    return None


def _integrity(source: Source, expected: Expectation, passed: list[str], progress: Progress) -> Difference | None:
    try:
        passed += verify_source(source, expected.checksum, progress=progress)
    except IntegrityFailure as error:
        return Difference("checksum", expected.checksum, None, str(error))
    return None


def _manifest(source: Source, _expected: Expectation, passed: list[str], progress: Progress) -> Difference | None:
    try:
        passed += verify_manifest(source, progress=progress)
    except IntegrityFailure as error:
        return Difference("manifest", "agrees", None, str(error))
    return None


def _clean(source: Source, expected: Expectation, passed: list[str], _progress: Progress) -> Difference | None:
    if not expected.sound and not expected.clean:
        return None
    source.reader.require_readable()
    found = source.reader.check()
    for aspect, wanted, entries in (("sound", True, found.corruptions), ("clean", expected.clean, found.leaks)):
        if wanted and entries:
            what = "corruptions" if aspect == "sound" else "leaks"
            return Difference(aspect, [], entries, f"the check finds {len(entries)} {what}; the first: {entries[0]}")
    passed.append("a check of all structures finds no corruption" + (" and no leak" if expected.clean else ""))
    return None


def _content(source: Source, expected: Expectation, passed: list[str], progress: Progress) -> Difference | None:
    if expected.content_checksum is None:
        return None
    algorithm, wanted = parse_checksum(expected.content_checksum, source.path)
    found = content_digests(source.reader, [algorithm], progress=progress)[algorithm]
    if found != wanted:
        return Difference("content_checksum", wanted, found, f"the {algorithm} checksum of what the guest sees is {found}, {wanted} was expected")
    passed.append(f"what the guest sees has the {algorithm} checksum that was expected")
    return None


def _same(source: Source, expected: Expectation, passed: list[str], progress: Progress) -> Difference | None:
    if expected.same_as is None:
        return None
    with open_source(expected.same_as, progress=progress) as other:
        source.reader.require_readable()
        other.reader.require_readable()
        sizes = source.reader.virtual_size, other.reader.virtual_size
        path = expected.same_as.path
        if sizes[0] != sizes[1]:
            return Difference("same_as", sizes[1], sizes[0], f"the disk has {sizes[0]} bytes, the one of {path!r} has {sizes[1]}")
        found = compare(source.reader, other.reader, progress=progress)
    if found is not None:
        return Difference("same_as", path, found.offset, f"{found.reason}, compared with {path!r}")
    passed.append(f"all {sizes[0]} bytes that the guest sees are the same as in {path!r}")
    return None
