# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Unified kernel images: kernel, initramfs and command line in one program for UEFI.

Source: UAPI.5 Unified Kernel Image specification.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import UnsupportedImage
from ...limits import KIB
from ...storage.base import Storage
from .pe import Section, read_pe

MAX_TEXT = 64 * KIB
"""bytes of a section with text in it"""


@dataclasses.dataclass(frozen=True)
class Uki:
    """A unified kernel image."""

    machine: str | None
    """architecture as uname(1) says it"""
    sections: t.Mapping[str, Section]
    """by name: ``.linux``, ``.initrd``, ``.cmdline``, ``.uname``, ``.osrel`` …"""
    cmdline: str
    version: str | None
    """of the kernel, as ``uname -r`` says it"""
    release: t.Mapping[str, str]
    """what os-release(5) of the system has"""


def read_uki(storage: Storage) -> Uki | None:
    """What is in a unified kernel image; None when the file is none.

    Of an image with several profiles it is the first, which is what boots when nobody chooses.

    :raises CorruptImage: its headers are damaged
    """
    program = read_pe(storage)
    if program is None:
        return None
    sections: dict[str, Section] = {}
    profiles = 0
    for section in program.sections:
        profiles += section.name == ".profile"
        if profiles > 1:
            break
        sections[section.name] = section
    if ".linux" not in sections:
        return None
    texts = {name: _text(storage, sections.get(name)) for name in (".cmdline", ".uname", ".osrel")}
    return Uki(program.machine, sections, " ".join(texts[".cmdline"].split()), texts[".uname"].strip() or None, _os_release(texts[".osrel"]))


def open_section(storage: Storage, uki: Uki, name: str) -> Storage:
    """A section as a storage of its own, without a copy.

    :param storage: the unified kernel image
    :raises UnsupportedImage: it has no such section
    """
    section = uki.sections.get(name)
    if section is None:
        raise UnsupportedImage(f"the unified kernel image has no section {name}", path=storage.name)
    return storage.window(section.offset, section.size, f"{storage.name}{name}")


def _text(storage: Storage, section: Section | None) -> str:
    if section is None:
        return ""
    return storage.read_exact(section.offset, min(section.size, MAX_TEXT), section.name).split(b"\0")[0].decode("utf-8", "replace")


def _os_release(text: str) -> dict[str, str]:
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            found[name] = value.strip("\"'")
    return found
