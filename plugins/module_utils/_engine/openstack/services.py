# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What the other services do with an image that Glance has accepted: its own import, Nova with libvirt, Cinder, and Ironic."""

from __future__ import annotations

import typing as t

from ..errors import ImageError
from ..volumes.disk import DiskStorage
from .glance import KERNELS, TRIO
from .inspector import inspect
from .sighting import Sighting
from .upload_facts import ACCEPT, CONVERT, REFUSE, UNPACK, WARN, Answer, Gate, UploadFacts, unsafe

_QEMU_NAMES = {"gpt": "raw", "iso": "raw", "ploop": "parallels"}
"""what Cinder asks qemu-img for"""
_IRONIC_TAKES = ("raw", "gpt", "qcow2")


def service_gates(facts: UploadFacts) -> list[Gate]:
    """What each service says to an image that Glance has accepted."""
    return [Gate(service, *answer(facts)) for service, answer in _SERVICES.items()]


def _conversion(facts: UploadFacts) -> Answer:
    """Glance's import with the plugin image_conversion, to raw. It looks at all files, whatever their container."""
    declared = facts.disk_format
    if declared in TRIO:
        return Answer("disk_format", REFUSE, f"the conversion takes no {declared} images", "Upload it directly, not by an import")
    seen = None if facts.hybrid else facts.seen
    found = _unsafe(facts, seen)
    if found is not None or seen is None:
        return found or _several(facts)
    name = "raw" if seen.format == "gpt" else seen.format
    if name != declared:
        return Answer("format_match", REFUSE, f"it is declared as {declared}, and seen as {name}", _cure(facts))
    if name == "iso":
        return Answer("format_match", ACCEPT, "a disc is kept as it is")
    if name == "vhd":
        return Answer("qemu_format", REFUSE, "qemu-img has no format of the name vhd, which the conversion asks it for", CONVERT)
    text = "it is raw already" if name == "raw" else "it is converted to raw"
    return _unreadable(facts) or _inner(facts) or _no_disk(facts) or Answer("format_match", ACCEPT, text)


def _nova(facts: UploadFacts) -> Answer:
    """An instance with a disk of this image, on libvirt, where images are converted to raw."""
    declared = facts.disk_format
    if declared in KERNELS:
        return Answer("disk_format", ACCEPT, "it is used with images that name it by kernel_id or ramdisk_id, and not inspected")
    if declared == "ploop":
        return Answer("disk_format", REFUSE, "Nova takes no ploop images", CONVERT)
    seen = facts.seen
    found = _unsafe(facts, seen)
    if found is not None or seen is None:
        return found or _several(facts)
    if declared != "ami" and seen.format != declared and (declared, seen.format) != ("raw", "gpt"):
        return Answer("format_match", REFUSE, f"it is declared as {declared}, and seen as {seen.format}", _cure(facts))
    wanted = "raw" if declared in ("iso", "ami") else declared
    if facts.qemu_format != wanted:
        return Answer("qemu_format", REFUSE, f"qemu-img takes it for {facts.qemu_format}, and {wanted} was expected", CONVERT)
    return _unreadable(facts) or _no_disk(facts) or _accepted(facts)


def _cinder(facts: UploadFacts) -> Answer:
    """A volume made of this image."""
    declared = facts.disk_format
    if declared in KERNELS:
        return Answer("disk_format", REFUSE, "no volume is made of a kernel or a ramdisk")
    if facts.container_format == "compressed":
        if facts.found.best.format == "gzip":
            return Answer("container", ACCEPT, "Cinder unpacks it, and then looks at what it is")
        return Answer("container", REFUSE, "Cinder unpacks gzip only", CONVERT)
    seen = facts.seen
    found = _unsafe(facts, seen)
    if found is not None or seen is None:
        return found or _several(facts)
    name = _QEMU_NAMES.get(seen.format, seen.format)
    if declared != "ami" and name != _QEMU_NAMES.get(declared, declared):
        return Answer("format_match", REFUSE, f"it is declared as {declared}, and seen as {seen.format}", _cure(facts))
    return _unreadable(facts) or _no_disk(facts) or Answer("format_match", ACCEPT, "it is written to the volume as raw")


def _ironic(facts: UploadFacts) -> Answer:
    """A bare machine deployed with this image."""
    declared = facts.disk_format
    if declared in KERNELS:
        return Answer("disk_format", ACCEPT, "it is used as a kernel or ramdisk, as it is")
    seen = None if facts.hybrid else facts.seen
    found = _unsafe(facts, seen)
    if found is not None or seen is None:
        return found or _several(facts)
    if seen.format not in _IRONIC_TAKES:
        return Answer("disk_format", REFUSE, f"Ironic takes raw and qcow2 only, and it is seen as {seen.format}", CONVERT)
    if seen.format != declared and (declared, seen.format) != ("raw", "gpt"):
        return Answer("format_match", REFUSE, f"it is declared as {declared}, and seen as {seen.format}", _cure(facts))
    return _unreadable(facts) or _no_disk(facts) or Answer("format_match", ACCEPT, "it is written to the disk of the machine")


def _several(facts: UploadFacts) -> Answer:
    return Answer("multiple_formats", REFUSE, f"it is seen as several formats at once: {', '.join(facts.inspection.formats)}", CONVERT)


def _unsafe(facts: UploadFacts, seen: Sighting | None) -> Answer | None:
    if facts.inspection.failed:
        return Answer("uninspected", REFUSE, "its inspection ends in an error", CONVERT)
    if seen is None:
        return _several(facts)
    reason = unsafe(seen)
    return None if reason is None else Answer("safety", REFUSE, f"it fails the safety checks: {reason}", CONVERT)


def _unreadable(facts: UploadFacts) -> Answer | None:
    """What qemu-img cannot convert, of an image that is declared as what it is."""
    reader = facts.reader
    if reader is None or reader.format != facts.disk_format:
        return None
    if any(reference.role in ("backing", "parent", "data_file") for reference in reader.references()):
        return Answer("references", REFUSE, "it names another file, which is not there", CONVERT)
    return Answer("encrypted", REFUSE, "its content is encrypted, and there is no key", None) if reader.describe().encrypted else None


def _inner(facts: UploadFacts) -> Answer | None:
    """What the conversion makes is inspected again."""
    reader = facts.reader
    if reader is None or facts.disk_format == "raw" or reader.format != facts.disk_format or reader.unreadable_reason() is not None:
        return None
    try:
        result = inspect(DiskStorage(reader))
    except ImageError:
        return None
    reasons = [reason for reason in map(unsafe, result.sightings) if reason is not None]
    if len(result.sightings) > 1:
        reasons.insert(0, f"it is seen as several formats at once: {', '.join(result.formats)}")
    return Answer("converted", REFUSE, f"the raw disk that it is converted to fails the safety checks: {reasons[0]}", "Upload it directly") if reasons else None


def _no_disk(facts: UploadFacts) -> Answer | None:
    """What the services do not know, and write to a disk as it is."""
    best = facts.found.best
    if facts.disk_format not in ("raw", "ami") or best.format == "raw":
        return None
    return Answer("no_disk", WARN, f"accepted, though a machine finds {best.description} on its disk", _cure(facts))


def _cure(facts: UploadFacts) -> str:
    return UNPACK if facts.wrapped else CONVERT


def _accepted(facts: UploadFacts) -> Answer:
    text = {"ami": "it needs the properties kernel_id and ramdisk_id, unless it is a disk that boots by itself", "iso": "it is attached as a CD"}
    return Answer("format_match", ACCEPT, text.get(facts.disk_format, "it becomes the disk of an instance"))


_SERVICES: dict[str, t.Callable[[UploadFacts], Answer]] = {"glance_import": _conversion, "nova": _nova, "cinder": _cinder, "ironic": _ironic}
