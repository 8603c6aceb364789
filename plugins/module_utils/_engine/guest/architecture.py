# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""For which processor a guest's programs are made, by one of them."""

from __future__ import annotations

import typing as t

from ..errors import ImageError
from .elf import read_elf
from .files import Files

PROGRAMS = ("/bin/sh", "/sbin/init", "/usr/lib/systemd/systemd", "/lib/systemd/systemd", "/bin/busybox", "/bin/ls", "/usr/bin/env")


class Architecture(t.NamedTuple):
    """A processor."""

    value: str
    """in Nova's words: ``x86_64``, ``aarch64`` …"""
    source: str
    """the file that it is known by"""


def architecture_of_programs(files: Files) -> Architecture | None:
    """What the first of the programs that every system has is made for; None when none of them tells."""
    for path in PROGRAMS:
        storage = files.open(path)
        if storage is None:
            continue
        try:
            elf = read_elf(storage)
        except ImageError:
            continue
        if elf is not None and elf.architecture is not None:
            return Architecture(elf.architecture, path)
    return None
