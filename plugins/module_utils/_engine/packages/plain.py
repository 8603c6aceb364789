# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Archives that simply hold disk images, without a description: what clouds and mirrors hand out."""

from __future__ import annotations

import posixpath
import re
import typing as t

from ..errors import InvalidImage, printable
from .model import Disk, Envelope, File, System
from .ovf.guest import GuestSystem
from .ovf.hardware import Hardware

_MAX_NAMED = 5
_ENDINGS = (".gz", ".xz", ".bz2", ".zst", ".tar", ".tgz", ".txz", ".tbz2", ".tzst", ".zip", ".box", ".ova")
"""of archives: what is in front of them is the name"""
_VMDK_EXTENT = re.compile(r"(.+)-(?:[sf][0-9]{3,}|flat)(\.vmdk)", re.IGNORECASE | re.ASCII)
"""a part of the disk that is called like it without the number"""


def envelope_of(files: t.Sequence[tuple[str, int]], is_image: t.Callable[[str], bool], path: str) -> Envelope:
    """The images of an archive as the disks of one system.

    :param files: the archive's files with their sizes (bytes), in its order
    :param is_image: whether a file is a disk image, by its content
    :param path: of the archive
    :raises InvalidImage: there is no image in it
    """
    found = [(name, size) for name, size in files if is_image(name)]
    whole = without_parts([name for name, _size in found])
    images = [entry for entry in found if entry[0] in whole]
    if not images:
        there = ", ".join(repr(printable(name)) for name, _size in files[:_MAX_NAMED]) or "nothing"
        raise InvalidImage("is no package: there is no .ovf file in it, and no disk image", path=path, hint=f"It has: {there}")
    return envelope(bare_system(stem(path)), None, images, parts=[entry for entry in found if entry[0] not in whole])


def without_parts(names: t.Sequence[str]) -> list[str]:
    """Those that are disks of their own: no extents of a VMDK whose descriptor is there, too."""
    known = {name.lower() for name in names}
    parts = ((name, _VMDK_EXTENT.fullmatch(name)) for name in names)
    return [name for name, part in parts if part is None or (part[1] + part[2]).lower() not in known]


def stem(path: str) -> str:
    """What an archive is called: its name without the endings that say how it is packed."""
    name = posixpath.basename(path)
    while name.lower().endswith(_ENDINGS) and name.rpartition(".")[0]:
        name = name.rpartition(".")[0]
    return name


def bare_system(name: str, os: GuestSystem | None = None) -> System:
    """A system of which nothing is known but its disks: all that the envelope has."""
    return System("", name, [], None, None, None, os or GuestSystem(), Hardware())


_Files = t.Sequence[tuple[str, t.Optional[int]]]


def envelope(system: System, writer: str | None, images: _Files, capacity: int | None = None, parts: _Files = ()) -> Envelope:
    """A package of one system with these disks, whose ids are the names of their files.

    :param images: names and sizes (bytes, None when it is not known) of the files
    :param capacity: of each disk in bytes, where it is known
    :param parts: files that disks need, but that are none by themselves
    """
    return Envelope(
        version="",
        writer=writer,
        files=[File(image, image, size, "", None) for image, size in (*images, *parts)],
        disks=[Disk(image, image, capacity, "", "", "", False) for image, _size in images],
        networks=[],
        configurations=[],
        configuration=None,
        systems=[system],
        properties=[],
        warnings=[],
    )
