# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Tar archives, and which kind of package they are. Source: POSIX.1-2017, pax, "ustar Interchange Format".

Only names: packages/ has the reader, which shares the header.
"""

from __future__ import annotations

import re
import typing as t

from ...limits import KIB, MAX_VIRTUAL_SIZE
from ...structure import Structure
from .match import ARCHIVE, Match

HEADER = Structure(
    "<",
    ("name", "100s"),
    ("_", "24s"),
    ("size", "12s"),
    ("_", "12s"),
    ("chksum", "8s"),
    ("typeflag", "c"),
    ("_", "100s"),
    ("magic", "8s"),
    ("_", "80s"),
    ("prefix", "155s"),
    ("_", "12s"),
)
_MEMBERS = 32
_EXTENSION = 64 * KIB
"""Most that is read of a header's extension"""
_PAX_PATH = re.compile(rb"\n?[0-9]+ path=([^\n]*)\n")


def tar_matches(read_at: t.Callable[[int, int], bytes]) -> list[Match]:
    """A tar archive, and the package that its first members make of it.

    :param read_at: gives bytes of the content (offset, length), fewer where they cannot be had
    """
    names = list(_member_names(read_at))
    if not names:
        return []
    found = [Match("tar", ARCHIVE, "a tar archive", 90)]
    if "ova.xml" in names:
        found.append(Match("xva", ARCHIVE, "a XenServer (XVA) package", 100, tool="xe vm-import (XenServer, XCP-ng)"))
    elif "metadata.json" in names or "Vagrantfile" in names:
        found.append(Match("vagrant", ARCHIVE, "a Vagrant box", 100))
    elif any(name.lower().endswith(".ovf") for name in names):
        found.append(Match("ova", ARCHIVE, "an OVA package", 100))
    return found


def _member_names(read_at: t.Callable[[int, int], bytes]) -> t.Iterator[str]:
    """The last parts of the first members' names."""
    offset = 0
    long_name = b""
    for _count in range(_MEMBERS):
        block = read_at(offset, HEADER.size)
        if len(block) < HEADER.size or not _is_header(block):
            return
        header = HEADER.unpack(block)
        size = _number(header.size)
        if size is None:
            return
        if header.typeflag in b"xgKL":  # they belong to the member behind them
            extension = read_at(offset + HEADER.size, min(size, _EXTENSION))
            path = _PAX_PATH.search(extension) if header.typeflag == b"x" else None
            long_name = path.group(1) if path else extension if header.typeflag == b"L" else long_name
        else:
            name = (long_name or header.name).split(b"\0")[0]
            yield name.rstrip(b"/").split(b"/")[-1].decode("utf-8", "backslashreplace")
            long_name = b""
        offset += HEADER.size + -(-size // 512) * 512


def _is_header(block: bytes) -> bool:
    """Whether the checksum is right, of unsigned bytes or (old Sun tar) of signed ones."""
    stored = _number(block[148:156])
    rest = block[:148] + b" " * 8 + block[156:512]
    unsigned = sum(rest)
    return stored in (unsigned, unsigned - 256 * sum(byte > 127 for byte in rest)) and block[:1] != b"\0"


def _number(field: bytes) -> int | None:
    """An octal number, or GNU's base-256; None when it is neither, negative, or no possible size."""
    if field[0] == 0x80:
        number = int.from_bytes(field[1:], "big")
        return number if number <= MAX_VIRTUAL_SIZE else None
    digits = field.strip(b" \0")
    if not digits or digits.strip(b"01234567"):
        return None
    return int(digits, 8)
