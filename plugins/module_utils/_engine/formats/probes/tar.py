# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Tar archives, and which kind of package they are. Source: POSIX.1-2017, pax, "ustar Interchange Format".

Only names: packages/ has the reader, which shares the header, its numbers and its checksum.
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
_PAX = re.compile(rb"^[0-9]+ (path|size)=(.*)$", re.MULTILINE)

MAX_NUMBER = (1 << 63) - 1
_SUM = slice(148, 156)


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
    given: dict[bytes, bytes] = {}
    for _count in range(_MEMBERS):
        block = read_at(offset, HEADER.size)
        if len(block) < HEADER.size or block[:1] == b"\0" or not checksum_fits(block):
            return
        header = HEADER.unpack(block)
        size = number(header.size)
        if header.typeflag not in b"xXgKL":
            name = (given.get(b"path") or header.name).split(b"\0")[0]
            yield name.rstrip(b"/").split(b"/")[-1].decode("utf-8", "backslashreplace")
            size = int(given[b"size"]) if given.get(b"size", b"").isdigit() else size
            given = {}
        if size is None or size > MAX_VIRTUAL_SIZE:
            return
        if header.typeflag in b"xXL":  # they belong to the member behind them
            extension = read_at(offset + HEADER.size, min(size, _EXTENSION))
            given.update(_PAX.findall(extension) if header.typeflag != b"L" else [(b"path", extension)])
        offset += HEADER.size + -(-size // HEADER.size) * HEADER.size


def checksum_fits(block: bytes) -> bool:
    """Whether a header's checksum is right, of unsigned bytes or (old Sun tar) of signed ones."""
    rest = block[: _SUM.start] + b" " * 8 + block[_SUM.stop :]
    stored, unsigned = number(block[_SUM]), sum(rest)
    # Signed ones are counted only when needed: it takes longer than all else of a header.
    return stored == unsigned or stored == unsigned - 256 * sum(byte > 127 for byte in rest)


def number(field: bytes) -> int | None:
    """A number up to 2^63 - 1: octal digits, or base 256 after a byte 0x80 (GNU, for what the digits cannot hold).

    None when it is neither, negative, or larger. Nothing counts as 0.
    """
    digits = field.strip(b" \0")
    if field[:1] == b"\x80":
        value = int.from_bytes(field[1:], "big")
    elif digits.strip(b"01234567"):
        return None
    else:
        value = int(digits or b"0", 8)
    return value if value <= MAX_NUMBER else None
