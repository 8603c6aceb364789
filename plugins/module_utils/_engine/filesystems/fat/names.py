# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Directories of FAT: short names, and the long ones that stand before them.

Source: Microsoft's FAT specification (fatgen103), sections 6 and 7; DIR_NTRes as Linux' default (``shortname=mixed``).
"""

from __future__ import annotations

import typing as t

from ...errors import CorruptImage, printable
from ...structure import Fields
from .layout import (
    DIRECTORY_ENTRY,
    END,
    FREE,
    KANJI,
    LAST_LONG_ENTRY,
    LONG_NAME,
    LONG_NAME_ENTRY,
    LONG_NAME_MASK,
    LOWER_BASE,
    LOWER_EXTENSION,
    VOLUME_ID,
)

_SIZE = DIRECTORY_ENTRY.size
_DOTS = (b".          ", b"..         ")


class Entry(t.NamedTuple):
    """A file in a directory."""

    name: str
    """the long one, if there is one"""
    short: str
    at: int
    """where its short entry lies in the directory, bytes"""


def entries(data: bytes, path: str) -> t.Iterator[Entry]:
    """The files of a directory, in its order, without ``.`` and ``..``, the volume's label and what was deleted.

    :param data: the directory's bytes
    :param path: for messages
    :raises CorruptImage: a name has what no name can have
    """
    pieces: list[bytes] = []
    """of the long name, from its end"""
    expected, checksum = 0, -1
    for at in range(0, len(data) - _SIZE + 1, _SIZE):
        first, attributes = data[at], data[at + 11]
        if first == END:
            return
        if first == FREE:
            pieces, expected = [], 0
            continue
        if attributes & LONG_NAME_MASK == LONG_NAME:
            part = LONG_NAME_ENTRY.unpack(data, at)
            if first & LAST_LONG_ENTRY:
                pieces, expected, checksum = [], first & ~LAST_LONG_ENTRY, part.LDIR_Chksum
            elif not pieces or first != expected or part.LDIR_Chksum != checksum:
                pieces, expected = [], 0
                continue
            pieces.append(part.LDIR_Name1 + part.LDIR_Name2 + part.LDIR_Name3)
            expected -= 1
            continue
        fields = DIRECTORY_ENTRY.unpack(data, at)
        if not attributes & VOLUME_ID and fields.DIR_Name not in _DOTS:
            short = short_name(fields)
            whole = pieces and not expected and checksum == short_checksum(fields.DIR_Name)
            name = (_long_name(pieces) if whole else "") or short
            if not name or name in (".", "..") or "/" in name or "\0" in name:
                raise CorruptImage(f"a directory has the name '{printable(name)}'", path=path)
            yield Entry(name, short, at)
        pieces, expected = [], 0


def short_name(fields: Fields) -> str:
    """A short name as Linux shows it: in lower case where the entry says so."""
    stored: bytes = fields.DIR_Name
    if stored[0] == KANJI:
        stored = b"\xe5" + stored[1:]
    # The code page is nowhere stored. Linux' default is 437.
    base, extension = (piece.rstrip(b" ").decode("cp437") for piece in (stored[:8], stored[8:]))
    if fields.DIR_NTRes & LOWER_BASE:
        base = base.lower()
    if fields.DIR_NTRes & LOWER_EXTENSION:
        extension = extension.lower()
    return f"{base}.{extension}" if extension else base


def short_checksum(stored: bytes) -> int:
    """The checksum of a short name by which its long name knows it (section 7.2)."""
    total = 0
    for byte in stored:
        total = ((total >> 1) + ((total & 1) << 7) + byte) & 0xFF
    return total


def fold(name: str) -> str:
    """A name for comparing, as FAT has it: without regard to case, and to dots at the end."""
    return name.rstrip(".").lower()


def _long_name(pieces: list[bytes]) -> str:
    return b"".join(pieces[::-1]).decode("utf-16-le", "replace").partition("\0")[0]
