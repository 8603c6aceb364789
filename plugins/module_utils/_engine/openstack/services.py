# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What the other services do with an image that Glance has accepted: its own import, Nova with libvirt, Cinder, and Ironic."""

from __future__ import annotations

import typing as t

from ..errors import ImageError
from ..formats.detect import detect
from ..formats.vhdx import layout as vhdx
from ..limits import SECTOR
from ..volumes.disk import DiskStorage
from .glance import KERNELS, TRIO
from .inspector import Inspection, inspect
from .inspector_vmdk import is_sparse_without_footer, remains_behind_descriptor
from .sighting import Failure, Sighting
from .upload_facts import ACCEPT, CONVERT, REFUSE, UNPACK, WARN, Answer, Gate, UploadFacts, qemu_format, unsafe

_CINDER_SEES = ("qcow2", "vhd", "vhdx", "vmdk", "vdi", "qed")
_IRONIC_TAKES = ("raw", "gpt", "qcow2", "iso")
_NO_HYBRIDS_TO_IRONIC = ("2025.1",)
_RAW = (("raw",), ("gpt",))
"""what is seen in a raw disk"""


def service_gates(facts: UploadFacts, profile: str | None = None) -> list[Gate]:
    """What each service says to an image that Glance has accepted.

    :param profile: one of PROFILES; None: all services, in a cloud with libvirt and files
    """
    answers = _SERVICES if profile is None else _OF_PROFILE[profile]
    return [Gate(service, *answer(facts)) for service, answer in answers.items()]


def _conversion(facts: UploadFacts) -> Answer:
    """Glance's import with the plugin image_conversion, to raw. It looks at all files, whatever their container."""
    declared = facts.disk_format
    if declared in TRIO:
        return Answer("disk_format", REFUSE, f"the conversion takes no {declared} images", "Upload it directly, not by an import")
    seen = None if facts.hybrid else facts.seen
    found = _unsafe(facts, seen, facts.unsafe_to_glance)
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
    return _unreadable(facts) or _converted(facts) or _no_disk(facts) or Answer("format_match", ACCEPT, text)


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
    return _unreadable(facts) or _looks_converted(facts) or _no_disk(facts) or _accepted(facts)


def _cinder(facts: UploadFacts) -> Answer:
    """A volume made of this image."""
    declared = facts.disk_format
    if declared in KERNELS:
        return Answer("disk_format", REFUSE, "no volume is made of a kernel or a ramdisk")
    if facts.container_format == "compressed":
        if facts.found.best.format == "gzip":
            return Answer("container", ACCEPT, "Cinder unpacks it, and then looks at what it is")
        return Answer("container", REFUSE, "Cinder unpacks gzip only", CONVERT)
    seen = _seen_by_cinder(facts)
    found = _unsafe(facts, seen)
    if found is not None:
        return found
    if seen.format == "vhd":
        return Answer("qemu_format", REFUSE, "qemu-img has no format of the name vhd, which Cinder asks it for", CONVERT)
    if declared != "ami" and seen.format != ("raw" if declared == "iso" else declared):
        footer = declared == "vmdk" and "vmdk" in facts.inspection.formats
        why = "Cinder does not know a VMDK with a footer" if footer else f"it is declared as {declared}, and Cinder sees it as {seen.format}"
        return Answer("format_match", REFUSE, why, _cure(facts))
    return _unreadable(facts) or _no_disk(facts) or Answer("format_match", ACCEPT, "it is written to the volume as raw")


def _seen_by_cinder(facts: UploadFacts) -> Sighting:
    """By an inspector of its own, older than that of the others: the first format that fits counts, and discs, partition tables and LUKS are raw."""
    for sighting in facts.inspection.sightings:
        if sighting.format in _CINDER_SEES and (sighting.format != "vmdk" or is_sparse_without_footer(facts.storage)):
            if sighting.format == "vmdk" and not sighting.failures and sighting.whole and remains_behind_descriptor(facts.storage):
                return Sighting("vmdk", failures=(Failure("descriptor", "something of an older descriptor is left behind its descriptor"),))
            return sighting
    return Sighting("raw")


def _ironic(facts: UploadFacts) -> Answer:
    """A bare machine deployed with this image."""
    declared = facts.disk_format
    if declared in KERNELS:
        return Answer("disk_format", ACCEPT, "it is used as a kernel or ramdisk, as it is")
    seen = None if facts.hybrid and facts.release in _NO_HYBRIDS_TO_IRONIC else facts.seen
    found = _unsafe(facts, seen)
    if found is not None or seen is None:
        return found or _several(facts)
    if seen.format not in _IRONIC_TAKES:
        return Answer("disk_format", REFUSE, f"Ironic takes raw and qcow2 disks and discs, and it is seen as {seen.format}", CONVERT)
    if seen.format != declared and (declared, seen.format) != ("raw", "gpt"):
        return Answer("format_match", REFUSE, f"it is declared as {declared}, and seen as {seen.format}", _cure(facts))
    if seen.format == "iso":
        return Answer("format_match", ACCEPT, "a disc is used as it is")
    inner = _inside(facts)
    return (
        _unreadable(facts)
        or (None if inner is None or inner.formats in _RAW else _no_raw(inner))
        or _no_disk(facts)
        or Answer("format_match", ACCEPT, "it is written to the disk of the machine")
    )


def _several(facts: UploadFacts) -> Answer:
    return Answer("multiple_formats", REFUSE, f"it is seen as several formats at once: {', '.join(facts.inspection.formats)}", CONVERT)


def _unsafe(facts: UploadFacts, seen: Sighting | None, check: t.Callable[[Sighting], str | None] = unsafe) -> Answer | None:
    if facts.inspection.failed:
        return Answer("uninspected", REFUSE, "its inspection ends in an error", CONVERT)
    if seen is None:
        return _several(facts)
    reason = check(seen)
    return None if reason is None else Answer("safety", REFUSE, f"it fails the safety checks: {reason}", CONVERT)


def _unreadable(facts: UploadFacts) -> Answer | None:
    """What qemu-img cannot convert, of an image that is declared as what it is."""
    reader = facts.reader
    if reader is None or reader.format != facts.disk_format:
        return None
    if any(reference.role in ("backing", "parent", "data_file") for reference in reader.references()):
        return Answer("references", REFUSE, "it names another file, which is not there", CONVERT)
    described = reader.describe()
    if described.format_specific.get("logical_sector_size", SECTOR) != SECTOR:
        return Answer("sector_size", REFUSE, "qemu-img reads no VHDX with sectors of 4096 bytes", CONVERT)
    if reader.format == "vhdx" and not vhdx.is_sound_table(facts.storage.read_at(vhdx.REGION_TABLE_OFFSETS[0], vhdx.REGION_TABLE_SIZE)):
        return Answer("damaged", REFUSE, "its first region table is damaged, and qemu-img does not look at the other", CONVERT)
    return Answer("encrypted", REFUSE, "its content is encrypted, and there is no key", None) if described.encrypted else None


def _inside(facts: UploadFacts) -> Inspection | None:
    """What is seen in the raw disk that an image is converted to; None where none is made."""
    disk = _disk(facts)
    try:
        return None if disk is None else inspect(disk)
    except ImageError:
        return None


def _disk(facts: UploadFacts) -> DiskStorage | None:
    reader = facts.reader
    if reader is None or facts.disk_format == "raw" or reader.format != facts.disk_format or reader.unreadable_reason() is not None:
        return None
    return DiskStorage(reader)


def _converted(facts: UploadFacts) -> Answer | None:
    """What Glance's conversion makes is inspected again, as what is uploaded is."""
    inner = _inside(facts)
    if inner is None:
        return None
    reasons = [reason for reason in map(facts.unsafe_to_glance, inner.sightings) if reason is not None]
    if inner.formats not in _RAW:
        return _no_raw(inner)
    text = "the raw disk that it is converted to fails the safety checks"
    return Answer("converted", REFUSE, f"{text}: {reasons[0]}", "Upload it directly") if reasons else None


def _no_raw(inner: Inspection) -> Answer:
    return Answer("converted", REFUSE, f"the disk in it is no raw disk, but seen as {', '.join(inner.formats)}", CONVERT)


def _looks_converted(facts: UploadFacts) -> Answer | None:
    """Nova asks qemu-img what the raw disk is that it has made."""
    disk, inner = _disk(facts), _inside(facts)
    if disk is None or inner is None:
        return None
    name = qemu_format(inner, detect(disk))
    return None if name == "raw" else Answer("converted", REFUSE, f"the disk in it is no raw disk: qemu-img takes it for {name}", CONVERT)


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


def _vmware(facts: UploadFacts) -> Answer:
    """An instance on VMware (nova/virt/vmwareapi/images.py), which goes by what is declared alone."""
    if facts.disk_format not in ("vmdk", "iso"):
        return Answer("disk_format", REFUSE, f"Nova on VMware takes vmdk and iso only, and no {facts.disk_format}", "Convert it to a streamOptimized VMDK")
    return Answer("disk_format", ACCEPT, "it becomes the disk of an instance; the property vmware_disktype says which kind of VMDK it is")


def _on_ceph(answer: _Service) -> _Service:
    """Nova and Cinder clone a raw image where they are, and nothing else."""

    def on_ceph(facts: UploadFacts) -> Answer:
        said = answer(facts)
        if said.outcome != ACCEPT or facts.disk_format in ("raw", "ami", "iso", *KERNELS):
            return said
        return Answer(
            "not_raw", WARN, f"accepted, though Ceph clones only raw images: each use of this one copies and converts it ({said.text})", "Convert it to raw"
        )

    return on_ceph


_Service = t.Callable[[UploadFacts], Answer]
_SERVICES: dict[str, _Service] = {"glance_import": _conversion, "nova": _nova, "cinder": _cinder, "ironic": _ironic}
_OF_PROFILE: dict[str, dict[str, _Service]] = {
    "openstack": {"nova": _nova, "cinder": _cinder},
    "ceph": {"glance_import": _conversion, "nova": _on_ceph(_nova), "cinder": _on_ceph(_cinder)},
    "esxi": {"nova": _vmware},
    "ironic": {"ironic": _ironic},
}
PROFILES = tuple(_OF_PROFILE)
"""what a cloud consists of: libvirt and files; libvirt and Ceph, whose Glance converts imports to raw; VMware; bare machines"""
