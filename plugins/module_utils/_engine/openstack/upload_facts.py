# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What is known of an upload, and what a service says to it."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import ImageError
from ..formats.base import Reader
from ..formats.detect import Detection
from ..formats.probes.match import ARCHIVE, COMPRESSION
from ..storage.base import Storage
from .inspector import Inspection
from .sighting import Sighting

ACCEPT, WARN, REFUSE = "accept", "warn", "refuse"

SERVICES = {"glance": "Glance", "glance_import": "Glance's import with conversion", "nova": "Nova", "cinder": "Cinder", "ironic": "Ironic"}
"""what is asked, and what people call it"""

CONVERT = "Convert it to qcow2 or raw"
UNPACK = "Unpack it while converting it to qcow2 or raw"

_QEMU_NAMES = {"vhd": "vpc", "iso": "raw", "gpt": "raw"}
_NO_FATAL_MBR = ("2025.1", "2025.2", "2026.1")
"""releases whose Glance has ``mbr`` in its option gpt_safety_checks_nonfatal unless told otherwise"""
_QEMU_KNOWS = ("parallels", "bochs", "cloop", "qcow", "qed", "luks", "vdi", "vhdx", "vmdk", "qcow2")


class Answer(t.NamedTuple):
    """What a service says, and why."""

    check: str
    outcome: str
    text: str
    cure: str | None = None


@dataclasses.dataclass(frozen=True)
class Gate:
    """What one service says."""

    service: str
    """``glance``, ``glance_import`` (with the plugin image_conversion), ``nova`` (with libvirt), ``cinder`` or ``ironic``"""
    check: str
    """code of what decides"""
    outcome: str
    """``accept``, ``warn`` (accepted, and of no use or not safe) or ``refuse``"""
    text: str
    """for people"""
    cure: str | None = None
    """what to do about it"""


@dataclasses.dataclass(frozen=True)
class UploadFacts:
    """A file, and how it would be uploaded."""

    storage: Storage
    inspection: Inspection
    found: Detection
    """what it is to the engine, which knows more formats than the services do"""
    reader: Reader | None
    """of the image that the file is; None of what is wrapped, and where it cannot be read whole"""
    problem: ImageError | None
    """why it cannot be read"""
    disk_format: str
    container_format: str
    release: str

    @property
    def seen(self) -> Sighting | None:
        """What the services take it for; None when that is several formats at once.

        A disc with a partition table is a disc: Glance so from 2026.1 on.
        """
        sightings = self.inspection.sightings or (Sighting("raw"),)
        if set(self.inspection.formats) == {"iso", "gpt"}:
            return next(sighting for sighting in sightings if sighting.format == "iso")
        return sightings[0] if len(sightings) == 1 else None

    @property
    def hybrid(self) -> bool:
        """It is a disc with a partition table."""
        return len(self.inspection.sightings) == 2 and self.seen is not None

    def unsafe_to_glance(self, sighting: Sighting) -> str | None:
        """Why Glance calls it unsafe; None when it does not. What a boot record is like is all that is checked of a partition table."""
        return None if sighting.format == "gpt" and self.release in _NO_FATAL_MBR else unsafe(sighting)

    @property
    def wrapped(self) -> bool:
        return self.found.best.category in (ARCHIVE, COMPRESSION)

    @property
    def qemu_format(self) -> str:
        """What qemu-img takes the file for."""
        return qemu_format(self.inspection, self.found)


def qemu_format(inspection: Inspection, found: Detection) -> str:
    """What qemu-img takes a file for, by what the services' inspector and the engine see in it."""
    if inspection.sightings:
        name = inspection.sightings[0].format
        return "qcow" if found.best.format == "qcow" else _QEMU_NAMES.get(name, name)
    return found.best.format if found.best.format in _QEMU_KNOWS else "raw"


def unsafe(sighting: Sighting) -> str | None:
    """Why the services call it unsafe; None when they do not."""
    if not sighting.whole:
        return "it ends within its headers"
    return sighting.failures[0].reason if sighting.failures else None
