# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What an upload to Glance has to say about an image, as far as image and package tell it."""

from __future__ import annotations

import typing as t

from ..formats.registry import lookup
from ..limits import GIB
from .properties import hardware_notes, proposed_properties

if t.TYPE_CHECKING:  # pragma: no cover
    from ..packages.model import System
    from ..packages.package import Package


def upload_facts(format_name: str, virtual_size: int, package: Package | None, system: System | None) -> dict[str, t.Any]:
    """The arguments of an image's creation, in the words of Glance and of ``openstack.cloud.image``.

    :param format_name: format of the file that is uploaded
    :param virtual_size: guest bytes
    :param package: where the disk comes from, if from one
    :param system: the package's system that the disk belongs to: it knows the machine
    :return: disk_format, container_format, min_disk (GiB), min_ram (MiB, None if not known), properties, where each property
        comes from and how sure it is, and notes on what no property keeps
    """
    proposed: dict[str, dict[str, t.Any]] = {}
    notes: list[dict[str, str]] = []
    if package is not None and system is not None:
        disks = package.disks(system)
        proposed, notes = proposed_properties(system, disks, package.writer), hardware_notes(system, disks, package.writer)
    return {
        "disk_format": lookup(format_name).disk_format,
        "container_format": "bare",
        "min_disk": -(-virtual_size // GIB),
        "min_ram": system.memory_mib if system is not None else None,
        "properties": {name: entry["value"] for name, entry in sorted(proposed.items())},
        "property_sources": {name: entry["source"] for name, entry in sorted(proposed.items())},
        "property_confidence": {name: entry["confidence"] for name, entry in sorted(proposed.items())},
        "notes": notes,
    }
