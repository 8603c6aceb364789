# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What OpenStack will say of an upload before it is made: Glance's answer, what the other services do with the image, and what cures it.

Sources: Glance 30 to 33 (location.py, which judges while it stores, api/v2/images.py, and the plugin image_conversion), compared with real ones;
Nova 31 to 34 (virt/images.py), Cinder 26 to 29 (image/image_utils.py), Ironic 29 to 39 (common/images.py, drivers/modules/image_cache.py), compared
with what these functions of theirs do. All have their default configuration.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os

from ..errors import ImageError
from ..formats.base import Reader
from ..formats.detect import Detection, detect
from ..formats.registry import lookup
from ..source import Request, Source, open_source
from ..storage.file import FileStorage
from .glance import glance_gates
from .inspector import inspect
from .services import service_gates
from .upload_facts import CONVERT, REFUSE, WARN, Gate, UploadFacts

RELEASES = ("2025.1", "2025.2", "2026.1", "2026.2")
"""OpenStack's, the oldest first: those whose Glance (30 to 33) inspects what is uploaded"""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the services will say."""

    accepted: bool
    """Glance takes the upload"""
    disk_format: str
    container_format: str
    release: str
    profile: str | None
    """whose services were asked, one of services.PROFILES; None: all, for information"""
    seen_as: list[str]
    """formats that the services' inspector sees in the file"""
    gates: list[Gate]

    @property
    def decisive(self) -> list[Gate]:
        """Those that have to be passed: Glance's, and those of the services that the profile names."""
        return [gate for gate in self.gates if self.profile is not None or gate.service == "glance"]

    @property
    def objection(self) -> Gate | None:
        """Why the image is refused, or should be; None when there is nothing to say against it."""
        return next((gate for outcome in (REFUSE, WARN) for gate in self.decisive if gate.outcome == outcome), None)


def judge(
    path: str,
    source: Source | None = None,
    *,
    disk_format: str | None = None,
    container_format: str = "bare",
    release: str = RELEASES[-1],
    profile: str | None = None,
) -> Verdict:
    """Judge the upload of a file as it lies there.

    :param path: the file, which is not unpacked first
    :param source: the image in it, where it is open already
    :param disk_format: what it would be declared as; None: what its image is, or ``raw``
    :param container_format: as it would be declared
    :param release: the cloud's, one of RELEASES
    :param profile: what the cloud consists of, one of services.PROFILES; None: all services are asked
    :raises AccessError: it cannot be read
    """
    if os.path.isdir(path):
        gate = Gate("glance", "file", REFUSE, "it is a folder, and a file is uploaded", CONVERT)
        return Verdict(False, disk_format or "raw", container_format, release, profile, [], [gate])
    with contextlib.ExitStack() as opened:
        problem = None
        if source is None:
            try:
                source = opened.enter_context(open_source(Request(path)))
            except ImageError as error:
                problem = error
        storage = FileStorage(path)
        opened.callback(storage.close)
        found = detect(storage)
        reader = source.reader if source is not None and not source.layers else None
        if reader is not None:
            problem = _damage(reader)
        declared = disk_format or natural_format(found, source)
        facts = UploadFacts(storage, inspect(storage), found, None if problem else reader, problem, declared, container_format, release)
        gates = glance_gates(facts)
        accepted = all(gate.outcome != REFUSE for gate in gates)
        if accepted:
            gates += service_gates(facts, profile)
        return Verdict(accepted, declared, container_format, release, profile, list(facts.inspection.formats), gates)


def _damage(reader: Reader) -> ImageError | None:
    """What keeps the image from being read whole; None when nothing does, or when it is not damage."""
    try:
        reader.describe()
        if reader.unreadable_reason() is None:
            for _extent in reader.extents():
                pass
    except ImageError as error:
        return error
    return None


def natural_format(found: Detection, source: Source | None = None) -> str:
    """The disk_format that somebody would declare: that of the image, also of one inside something else; ``raw`` where Glance has none."""
    name = source.reader.format if source is not None else found.best.reader
    return (lookup(name).disk_format if name is not None else None) or "raw"
