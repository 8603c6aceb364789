# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Rock Ridge: POSIX names, modes, symbolic links and deep directories.

Sources: SUSP 1.12, sections 4 and 5; RRIP 1.12, section 4; zisofs as libisofs' doc/zisofs_format.txt has it.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import CorruptImage
from ...limits import KIB
from ...storage.base import Storage
from ...structure import Structure
from .records import Record

CONTINUATION_AREA = Structure("<", ("block", "I"), ("_", "4s"), ("offset", "I"), ("_", "4s"), ("length", "I"), ("_", "4s"))
POSIX = Structure("<", ("mode", "I"), ("_", "4s"))
LOCATION = Structure("<", ("block", "I"), ("_", "4s"))
ZISOFS = Structure("<", ("algorithm", "2s"), ("header_size_div4", "B"), ("log2_block_size", "B"), ("uncompressed_size", "I"))
_XA = 14
"""bytes of the attributes of CD-ROM XA, behind which the entries are then"""
_HEADER = 4  # signature, length, version

MAX_CONTINUATIONS = 32
"""areas of one file, as Linux has it"""
MAX_AREA = 32 * KIB
MAX_NAME = 1024
MAX_TARGET = 4096
"""Linux' PATH_MAX"""

_CONTINUE, _CURRENT, _PARENT, _ROOT = 1, 2, 4, 8


@dataclasses.dataclass
class Attributes:
    """What Rock Ridge says of a file."""

    name: bytes = b""
    """empty: not given"""
    mode: int | None = None
    """with the file's type"""
    target: bytes | None = None
    child: int | None = None
    """block of a directory that lies elsewhere and belongs here"""
    relocated: bool = False
    """a directory that belongs elsewhere, and is not shown here"""
    zisofs: bytes | None = None
    """its entry: the content is compressed"""
    sparse: bool = False
    marked: bool = False
    """there is something of Rock Ridge"""


def skipped(root: Record) -> int | None:
    """Bytes before the entries in each record's system use area (SP); None when there are no entries at all.

    :param root: the root directory's ``.``
    """
    area = root.system_use
    for start in (0, _XA):
        if area[start : start + 2] == b"SP" and area[start + 4 : start + 6] == b"\xbe\xef" and len(area) > start + 6:
            return start
    return None


def attributes(volume: Storage, block_size: int, record: Record, skip: int) -> Attributes:
    """All that a record and its continuation areas say.

    :param skip: bytes before the first entry
    :raises CorruptImage: the entries contradict themselves
    """
    found = Attributes()
    link = _Link()
    name: list[bytes] = []
    named = False
    for signature, data in entries(volume, block_size, record, skip):
        found.marked = found.marked or signature in _OURS
        if signature == b"NM" and data and not named:
            if not data[0] & (_CURRENT | _PARENT):
                name.append(data[1:])
            named = not data[0] & _CONTINUE
            if sum(map(len, name)) > MAX_NAME:
                raise _damaged(volume, record, "a name is too long")
        elif signature == b"PX" and len(data) >= POSIX.size:
            found.mode = POSIX.unpack(data).mode
        elif signature == b"SL" and data:
            link.add(data[1:])
            if link.size > MAX_TARGET:
                raise _damaged(volume, record, "a symbolic link's target is too long")
        elif signature == b"CL" and len(data) >= LOCATION.size:
            found.child = LOCATION.unpack(data).block
        elif signature == b"RE":
            found.relocated = True
        elif signature == b"ZF" and len(data) >= ZISOFS.size:
            found.zisofs = data
        elif signature == b"SF":
            found.sparse = True
    found.name = b"".join(name)
    found.target = link.target()
    return found


_OURS = (b"RR", b"PX", b"NM", b"SL", b"CL", b"PL", b"RE", b"TF", b"ER")


def entries(volume: Storage, block_size: int, record: Record, skip: int) -> t.Iterator[tuple[bytes, bytes]]:
    """The system use entries of a record as (signature, data), in all areas.

    :raises CorruptImage: an entry does not fit into its area, or areas follow each other without end
    """
    area = record.system_use[skip:]
    for _area in range(MAX_CONTINUATIONS):
        following = None
        at = 0
        while at + _HEADER <= len(area):
            signature, length = area[at : at + 2], area[at + 2]
            if signature == b"ST" or not area[at]:
                break
            if length < _HEADER or at + length > len(area):
                raise _damaged(volume, record, "a system use entry does not fit into its area")
            data = area[at + _HEADER : at + length]
            at += length
            if signature == b"CE" and len(data) >= CONTINUATION_AREA.size:
                following = CONTINUATION_AREA.unpack(data)
            else:
                yield signature, data
        if following is None:
            return
        if following.length > MAX_AREA:
            raise _damaged(volume, record, "a continuation area is too long")
        area = volume.read_exact(following.block * block_size + following.offset, following.length, "a continuation area")
    raise _damaged(volume, record, "there are too many continuation areas")


class _Link:
    """The target of a symbolic link, put together of components (RRIP 4.1.3)."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._separate = False  # the last component has ended, and a slash has to follow
        self._found = False

    @property
    def size(self) -> int:
        return len(self._text)

    def add(self, components: bytes) -> None:
        self._found = True
        at = 0
        while at + 2 <= len(components):
            flags, length = components[at], components[at + 1]
            if self._separate:
                self._text += b"/"
            if flags & _ROOT:
                self._text += b"/"
            else:
                self._text += b"." if flags & _CURRENT else b".." if flags & _PARENT else components[at + 2 : at + 2 + length]
            self._separate = not flags & (_ROOT | _CONTINUE)
            at += 2 + length

    def target(self) -> bytes | None:
        return bytes(self._text) if self._found else None


def _damaged(volume: Storage, record: Record, message: str) -> CorruptImage:
    return CorruptImage(message, path=volume.name, offset=record.at)
