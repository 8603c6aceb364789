# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What image_info and ovf_info return: one dictionary, in qemu-img's words where it has them, safe for JSON."""

from __future__ import annotations

import contextlib
import dataclasses
import typing as t

from .errors import ImageError
from .formats.base import Reader
from .formats.detect import Detection
from .formats.registry import lookup
from .limits import GIB
from .openstack.properties import hardware_proposals
from .source import Source
from .transfer.convert import survey
from .unwrap import Unwrapper
from .volumes.partitions import read_partition_table

if t.TYPE_CHECKING:  # pragma: no cover
    from .packages.package import Package


def describe(source: Source, *, check: bool = False) -> dict[str, t.Any]:
    """Everything that is known of an image.

    :param check: walk all structures, too: adds ``check`` and ``allocation``
    :raises ImageError: a structure that has to be read for it is damaged
    """
    reader = source.reader
    info = reader.describe()
    backing = next((reference for reference in info.references if reference.role in ("backing", "parent")), None)
    reason = reader.unreadable_reason()
    warnings = [*info.warnings, *source.detection.notes]
    partition_table = _partition_table(reader, warnings) if reason is None else None
    result: dict[str, t.Any] = {
        "format": info.format,
        "subformat": info.subformat,
        "virtual_size": info.virtual_size,
        "file_size": reader.storage.size,
        "actual_size": reader.storage.allocated(),
        "cluster_size": info.cluster_size,
        "compressed": info.compressed,
        "encrypted": info.encrypted,
        "dirty_flag": info.dirty,
        "backing_filename": backing.name if backing else None,
        "backing_filename_format": backing.format if backing else None,
        "references": [dataclasses.asdict(reference) for reference in info.references],
        "snapshots": info.snapshots,
        "format_specific": info.format_specific,
        "writer": info.writer,
        "partition_table": partition_table,
        "warnings": warnings,
        "readable": reason is None,
        "unreadable_reason": reason,
        "layers": source.layers,
        "disk_format": lookup(info.format).disk_format,
        **describe_detection(source.detection),
    }
    if check and reason is None:
        found = reader.check()
        result["check"] = {"clean": found.clean, "corruptions": found.corruptions, "leaks": found.leaks}
        if not found.corruptions:
            figures = survey(reader)
            result["allocation"] = {**dataclasses.asdict(figures), "allocated": figures.content, "upload": reader.storage.size}
    return result


def describe_package(package: Package) -> dict[str, t.Any]:
    """Everything that is known of a package, with the image properties that each of its systems would have.

    What the disks themselves say is there of those that were opened; :func:`look_at_disks` opens all.
    """
    facts = package.describe()
    for found, system in zip(facts["systems"], package.systems):
        disks = package.disks(system)
        boot = disks[0].virtual_size if disks else None
        found["min_disk"] = None if boot is None else -(-boot // GIB)
        proposals = hardware_proposals(system, disks, package.writer)
        found["properties"] = proposals.found
        found["notes"] = proposals.notes
    return facts


def look_at_disks(package: Package) -> None:
    """Open each disk of a package, so that its own format and size are known. What cannot be opened says why in ``problem``.

    Nothing is unpacked: of a compressed disk, or one in a compressed archive, the headers are read by decoding up to them.
    """
    from .packages.images import open_disk

    for system in package.systems:
        for disk in package.disks(system):
            with contextlib.ExitStack() as opened:
                try:
                    open_disk(package, disk, Unwrapper(package.path, opened, unpack=False))
                except ImageError as error:
                    disk.problem = disk.problem or error


def _partition_table(reader: Reader, warnings: list[str]) -> dict[str, t.Any] | None:
    """The partition table. Damage of the image where it lies does not keep the image from being described."""
    try:
        table = read_partition_table(reader)
    except ImageError as error:
        warnings.append(f"the partition table cannot be read: {error}")
        return None
    return dataclasses.asdict(table) if table else None


def describe_detection(found: Detection) -> dict[str, t.Any]:
    """All formats that the content answers to, the best first; and those that contradict each other."""
    return {
        "matches": [
            {"format": match.format, "category": match.category, "description": match.description, "confidence": match.confidence, "tool": match.tool}
            for match in found.matches
        ],
        "ambiguous": [match.format for match in found.ambiguous],
    }
