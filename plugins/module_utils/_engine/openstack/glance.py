# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What Glance says to an upload, and where it says yes and should not."""

from __future__ import annotations

import typing as t

from ..formats.base import Reader
from ..formats.probes.match import DISK, ENCRYPTED, OPTICAL, OTHER
from .sighting import Sighting
from .upload_facts import ACCEPT, CONVERT, REFUSE, UNPACK, WARN, Gate, UploadFacts, unsafe

DISK_FORMATS = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop")
CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")
"""Glance's defaults"""
KERNELS = ("aki", "ari")
TRIO = ("ami", *KERNELS)

_INSPECTED = ("raw", "qcow2", "vhd", "vhdx", "vmdk", "vdi", "qed", "iso", "gpt", "luks")
"""disk formats that oslo.utils has an inspector of; any other is taken where it sees nothing that it knows"""
_NAMES = {"vpc": "vhd", "img": "raw", "hds": "ploop", "parallels": "ploop"}
_AS_KERNEL = "Upload it with aki as disk_format and container_format"
_NO_HYBRIDS = ("2025.1", "2025.2")

_Doubt = tuple[str, str, t.Optional[str]]
"""check, what is wrong (fits behind "though "), and the cure"""


def glance_gates(facts: UploadFacts) -> list[Gate]:
    """The first thing that makes Glance refuse; or that it accepts, with what is wrong with that."""
    decision = _decide(facts)
    return [decision] if decision.outcome == REFUSE else [decision, *_doubts(facts)]


def _refuse(check: str, text: str, cure: str | None) -> Gate:
    return Gate("glance", check, REFUSE, text, cure)


def _decide(facts: UploadFacts) -> Gate:
    disk, container = facts.disk_format, facts.container_format
    if disk not in DISK_FORMATS:
        name = _NAMES.get(disk)
        return _refuse("disk_format", f"{disk} is not a disk_format that Glance has", f"Glance calls it {name}" if name else CONVERT)
    if container not in CONTAINER_FORMATS:
        return _refuse("container_format", f"{container} is not a container_format that Glance has", "Use bare")
    if container != "bare":
        return Gate("glance", "container", ACCEPT, f"in a container of the kind {container} nothing is inspected")
    if facts.inspection.failed:
        return Gate("glance", "uninspected", ACCEPT, "Glance's inspection ends in an error that lets the upload pass, whatever it is")
    seen = facts.seen
    as_disc = facts.hybrid and facts.release not in _NO_HYBRIDS
    if seen is None or (facts.hybrid and not (as_disc and disk == "iso")):
        cure = "Upload it with the disk_format iso" if as_disc else "Convert it to qcow2"
        return _refuse("multiple_formats", f"it is seen as several formats at once: {', '.join(facts.inspection.formats)}", cure)
    if not _matches(seen, disk):
        return _refuse("format_match", f"it is declared as {disk}, and seen as {seen.format}", _cure_of_mismatch(facts, seen))
    if seen.format == disk and not seen.sized:
        return _refuse("safety", "the size of its disk cannot be told", CONVERT)
    reason = facts.unsafe_to_glance(seen)
    if reason is not None:
        return _refuse("safety" if seen.whole else "cut", f"it fails the safety checks: {reason}", _cure_of_danger(facts, seen))
    return Gate("glance", "format_match", ACCEPT, f"it is declared as {disk}, and seen as {seen.format}")


def _matches(seen: Sighting, disk: str) -> bool:
    return seen.format == disk or disk == "raw" or (seen.format == "raw" and disk not in _INSPECTED)


def _cure_of_mismatch(facts: UploadFacts, seen: Sighting) -> str | None:
    best = facts.found.best
    if best.format == "linux-kernel":
        return f"Upload it with the container_format {facts.disk_format}" if facts.disk_format in TRIO else _AS_KERNEL
    if best.category in (ENCRYPTED, OTHER):
        return None
    if facts.wrapped:
        return UNPACK
    if best.format == "vhd" and seen.format != "vhd":
        return f"{CONVERT}: the footer of a fixed VHD is not looked at"
    if unsafe(seen) is not None or (seen.format == "raw" and best.format != "raw"):
        return CONVERT
    return f"Upload it with the disk_format {'raw' if seen.format == 'gpt' else seen.format}"


def _cure_of_danger(facts: UploadFacts, seen: Sighting) -> str | None:
    if not seen.whole:
        return "Fetch the file again"
    if facts.found.best.format == "linux-kernel":
        return _AS_KERNEL
    if seen.format == "gpt":
        return "Write its partition table anew, or convert it to qcow2, whose content is not inspected"
    return None if seen.format == "luks" else CONVERT


def _doubts(facts: UploadFacts) -> list[Gate]:
    """Why the image is of no use, or not safe, though Glance accepts it."""
    found = facts.found
    doubts: list[_Doubt] = []
    if found.ambiguous:
        names = ", ".join(match.format for match in found.ambiguous)
        doubts.append(("multiple_formats", f"it is several formats at once, {names}: the next program may see another one", CONVERT))
    elif not _is_as_declared(facts):
        doubts.append(
            ("format_match", f"it is declared as {facts.disk_format} in {facts.container_format}, and is {found.best.description}", _right_way(facts))
        )
    elif facts.container_format == "bare" and facts.seen is not None and unsafe(facts.seen) is not None:
        doubts.append(("safety", f"it fails safety checks that later releases and Nova make: {unsafe(facts.seen)}", _cure_of_danger(facts, facts.seen)))
    elif facts.reader is not None:
        doubts += _doubts_of_image(facts.reader)
    elif facts.problem is not None and found.best.category == DISK:
        doubts.append(("damaged", f"it cannot be read: {facts.problem}", "Fetch the file again"))
    return [Gate("glance", check, WARN, f"accepted, though {text}", cure) for check, text, cure in doubts]


def _is_as_declared(facts: UploadFacts) -> bool:
    """By what the engine sees. A kernel and a ramdisk may be any bytes; the image of a trio is a file system or a disk."""
    best, disk = facts.found.best, facts.disk_format
    if facts.container_format in ("ova", "ovf"):
        return best.format in ("ova", "ovf", "tar")
    if facts.container_format == "compressed":
        return best.format == "gzip"
    if facts.container_format == "docker" or disk in KERNELS:
        return best.category == OTHER or best.format in ("raw", "tar") or facts.wrapped
    if disk == "ploop":
        return best.format == "parallels"
    return best.category == OPTICAL if disk == "iso" else best.format == ("raw" if disk == "ami" else disk)


def _right_way(facts: UploadFacts) -> str | None:
    best = facts.found.best
    if best.category == ENCRYPTED:
        return None
    if facts.wrapped:
        return UNPACK
    if best.format == "linux-kernel":
        return _AS_KERNEL
    seen = facts.seen
    if seen is not None and seen.format == best.format and best.format in DISK_FORMATS and unsafe(seen) is None:
        return f"Upload it with the disk_format {best.format}"
    return CONVERT


def _doubts_of_image(reader: Reader) -> list[_Doubt]:
    references = reader.references()
    if references:
        return [("references", f"it names another file, {references[0].name!r} ({references[0].role}), and shows nothing without it", CONVERT)]
    if reader.describe().encrypted:
        return [("encrypted", "its content is encrypted, and no service has the key", None)]
    return []
