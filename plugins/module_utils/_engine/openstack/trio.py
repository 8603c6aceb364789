# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""How a kernel, a ramdisk and the image of a file system get into OpenStack: three images, in the right order.

Sources: devstack's upload_image (functions), Glance's location.py (a kernel in a container of kind ``bare`` is inspected, taken for a
partition table, as it ends its first sector with the same two bytes, and refused), Nova's libvirt driver (``root=`` and a console
are the command line unless ``os_command_line`` says otherwise).
"""

from __future__ import annotations

import os
import typing as t

from ..limits import GIB
from .given import merged
from .vocabulary import objection

KERNEL, RAMDISK, IMAGE = "aki", "ari", "ami"
"""Glance's disk formats, and container formats"""


def upload_plan(
    image: str | None,
    kernel: str | None,
    ramdisk: str | None,
    name: str,
    command_line: str | None = None,
    architecture: str | None = None,
    image_size: int | None = None,
    properties: t.Mapping[str, str] | None = None,
) -> list[dict[str, t.Any]]:
    """What to upload to Glance, in this order: the image needs the identifiers that the others get.

    :param image: path of the raw image of the root file system; None when it is not there
    :param kernel: path, or None
    :param ramdisk: path, or None
    :param name: of the image in Glance; the others have it with ``-kernel`` and ``-ramdisk``
    :param command_line: of the kernel, where Nova's own (``root=/dev/vda``) does not do
    :param architecture: Glance's name of it; one that Nova does not take is left out
    :param image_size: bytes of the image, when the file is not written yet
    :param properties: more of the image's
    :return: for each file ``name``, ``path``, ``disk_format``, ``container_format``, ``min_disk`` (GiB), ``properties``, and
        ``depends``, which has the property that is still to be set and the name of the entry whose identifier it takes
    """
    general = {"architecture": architecture} if architecture and objection("architecture", architecture) is None else {}
    plan = []
    depends = {}
    for path, kind, suffix, link in ((kernel, KERNEL, "kernel", "kernel_id"), (ramdisk, RAMDISK, "ramdisk", "ramdisk_id")):
        if path is not None:
            plan.append(_entry(f"{name}-{suffix}", path, kind, 0, general, {}))
            depends[link] = f"{name}-{suffix}"
    if image is not None:
        own = {**general, **(properties or {})}
        if command_line and kernel is not None:  # Nova ignores it for an image without a kernel
            own["os_command_line"] = command_line
        size = os.path.getsize(image) if image_size is None else image_size
        plan.append(_entry(name, image, IMAGE, -(-size // GIB), own, depends))
    return plan


def with_given(plan: list[dict[str, t.Any]], given: t.Mapping[str, str | None]) -> list[dict[str, t.Any]]:
    """The plan with the user's own properties of the image, which win.

    :param given: by given.py; those without a value are taken away
    """
    return [{**entry, "properties": merged(entry["properties"], given)} if entry["disk_format"] == IMAGE else entry for entry in plan]


def _entry(name: str, path: str, kind: str, min_disk: int, properties: t.Mapping[str, str], depends: t.Mapping[str, str]) -> dict[str, t.Any]:
    return {
        "name": name,
        "path": path,
        "disk_format": kind,
        "container_format": kind,
        "min_disk": min_disk,
        "properties": dict(properties),
        "depends": dict(depends),
    }
