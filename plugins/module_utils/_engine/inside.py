# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What is inside an image, as image_info returns it. Apart from inspect.py, as most modules need none of the code that this does."""

from __future__ import annotations

import dataclasses
import typing as t

from .filesystems.iso9660.reader import Iso9660
from .filesystems.tree import Tree
from .formats.base import Reader
from .guest.facts import guest_facts
from .guest.guest import Guest, guest_on
from .guest.media import describe_media
from .guest.media_boot import efi_loaders
from .volumes.disk import DiskStorage


def look_inside(reader: Reader, guest: Guest | None = None) -> dict[str, t.Any]:
    """What is installed on a disk as ``guest``, or what an optical disc is for as ``media``.

    :param reader: an image that can be read, opened with ``any_order``
    :param guest: what :func:`guest_on` found, where that was asked before
    :raises ImageError: the disk cannot be read; what is wrong with single files is among the warnings
    """
    guest = guest or guest_on(reader)
    if guest is not None:
        return {"guest": guest_facts(guest)}
    warnings: list[str] = []
    specific = reader.describe().format_specific
    loaders = [dataclasses.asdict(loader) for loader in efi_loaders(reader, specific["el_torito"], warnings)]
    media = describe_media(Tree(Iso9660(DiskStorage(reader)), name=reader.storage.name), specific["volume_identifier"])
    return {"media": {**media, "efi_loaders": loaders, "warnings": [*media["warnings"], *warnings]}}
