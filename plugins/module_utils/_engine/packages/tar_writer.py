# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""A tar archive as a storage: headers are made, contents are read in place. The same members give the same bytes everywhere.

Sources: POSIX.1-2017, pax, "ustar Interchange Format"; GNU tar manual, "Basic Tar Format" (sizes in base 256, records of 20 blocks).
"""

from __future__ import annotations

import typing as t

from ..errors import InvalidImage, LimitExceeded, printable
from ..limits import GIB
from ..storage.base import Memory, Storage
from ..storage.joined import JoinedStorage
from ..structure import Structure

_HEADER = Structure(
    "<",
    ("name", "100s"),
    ("mode", "8s"),
    ("uid", "8s"),
    ("gid", "8s"),
    ("size", "12s"),
    ("mtime", "12s"),
    ("chksum", "8s"),
    ("typeflag", "c"),
    ("linkname", "100s"),
    ("magic", "8s"),
    ("uname", "32s"),
    ("gname", "32s"),
    ("devmajor", "8s"),
    ("devminor", "8s"),
    ("prefix", "155s"),
    ("_", "12s"),
)
_BLOCK = 512
_RECORD = 20 * _BLOCK
_MAX_NAME = 100
_OCTAL_END = 8 * GIB
"""sizes and times from here on do not fit into eleven octal digits"""


class NewMember(t.NamedTuple):
    """A file that goes into an archive."""

    name: str
    content: Storage


def tar_storage(members: t.Sequence[NewMember], mtime: int, name: str) -> Storage:
    """All bytes of the archive, of which none but the headers are in memory.

    Files are root's, and everybody may read them.

    :param mtime: of all members, seconds since 1970
    :param name: for messages
    :raises InvalidImage: a name is too long for a header
    :raises LimitExceeded: ``mtime`` is no possible one
    """
    if not 0 <= mtime < _OCTAL_END:
        raise LimitExceeded(f"a time of {mtime} seconds cannot be written to a tar archive", path=name)
    parts: list[Storage] = []
    end = 0
    for member in members:
        padding = -member.content.size % _BLOCK
        parts += [Memory(_header(member, mtime, name), name), member.content, Memory(bytes(padding), name)]
        end += _BLOCK + member.content.size + padding
    # Two blocks of zeros are the end, and records are filled up.
    return JoinedStorage([*parts, Memory(bytes(2 * _BLOCK + -(end + 2 * _BLOCK) % _RECORD), name)], name)


def _header(member: NewMember, mtime: int, archive: str) -> bytes:
    encoded = member.name.encode("utf-8", "surrogateescape")
    if len(encoded) > _MAX_NAME:
        raise InvalidImage(f"the name {printable(member.name)!r} has more than the {_MAX_NAME} bytes of a tar header", path=archive)
    size = member.content.size
    large = size >= _OCTAL_END
    fields = {
        "name": encoded,
        "mode": _octal(0o644, 8),
        "uid": _octal(0, 8),
        "gid": _octal(0, 8),
        # Base 256 is GNU's; programs that take it do not need more than its first byte, but the magic should say so, too.
        "size": b"\x80" + size.to_bytes(11, "big") if large else _octal(size, 12),
        "mtime": _octal(mtime, 12),
        "chksum": b" " * 8,
        "typeflag": b"0",
        "linkname": b"",
        "magic": b"ustar  \0" if large else b"ustar\x0000",
        "uname": b"",
        "gname": b"",
        "devmajor": b"" if large else _octal(0, 8),
        "devminor": b"" if large else _octal(0, 8),
        "prefix": b"",
    }
    total = sum(_HEADER.pack(**fields))
    return _HEADER.pack(**{**fields, "chksum": b"%06o\0 " % total})


def _octal(value: int, width: int) -> bytes:
    return b"%0*o\0" % (width - 1, value)
