# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The directory of a zip archive: where it is, and its entries. It stands at the archive's end.

Source: PKWARE, ".ZIP File Format Specification" (APPNOTE.TXT) 6.3.10, sections 4.3.12 to 4.3.16, 4.4 and 4.5.3 (Zip64).

Programs do not agree on which end counts when there could be two, on whether a program may stand in front of the
archive, and on when Zip64 numbers replace the others. There is one end here, it ends the file, offsets count from the
file's beginning, and numbers that are given twice are equal.
"""

from __future__ import annotations

import struct
import typing as t

from ..errors import CorruptImage, InvalidImage, LimitExceeded, UnsupportedImage
from ..limits import MAX_ARCHIVE_MEMBERS, MIB
from ..storage.base import Storage
from ..structure import Fields, Structure

END_OF_CENTRAL_DIRECTORY = Structure(
    "<",
    ("signature", "4s"),
    ("disk", "H"),
    ("directory_disk", "H"),
    ("entries_here", "H"),
    ("entries", "H"),
    ("directory_size", "I"),
    ("directory_offset", "I"),
    ("comment_length", "H"),
)
ZIP64_LOCATOR = Structure("<", ("signature", "4s"), ("disk", "I"), ("offset", "Q"), ("disks", "I"))
ZIP64_END = Structure(
    "<",
    ("signature", "4s"),
    ("record_size", "Q"),
    ("made_by", "H"),
    ("needed", "H"),
    ("disk", "I"),
    ("directory_disk", "I"),
    ("entries_here", "Q"),
    ("entries", "Q"),
    ("directory_size", "Q"),
    ("directory_offset", "Q"),
)
CENTRAL_HEADER = Structure(
    "<",
    ("signature", "4s"),
    ("made_by", "H"),
    ("needed", "H"),
    ("flags", "H"),
    ("method", "H"),
    ("_", "4s"),
    ("crc32", "I"),
    ("stored", "I"),
    ("size", "I"),
    ("name_length", "H"),
    ("extra_length", "H"),
    ("comment_length", "H"),
    ("disk", "H"),
    ("_", "2s"),
    ("attributes", "I"),
    ("offset", "I"),
)

END_SIGNATURE = b"PK\5\6"
LOCATOR_SIGNATURE = b"PK\6\7"
ZIP64_END_SIGNATURE = b"PK\6\6"
CENTRAL_SIGNATURE = b"PK\1\2"

MAX_DIRECTORY = 64 * MIB
_MAX_LENGTH = 0xFFFF
"""bytes of a name, of extra fields, of a comment"""
_ALL_16 = 0xFFFF
ALL_32 = 0xFFFFFFFF
_IN_BOTH = (
    ("disk", _ALL_16),
    ("directory_disk", _ALL_16),
    ("entries_here", _ALL_16),
    ("entries", _ALL_16),
    ("directory_size", ALL_32),
    ("directory_offset", ALL_32),
)
"""what both ends say: the value with all bits set where it only fits into the larger one"""
_LONGEST_ENTRY = CENTRAL_HEADER.size + 3 * _MAX_LENGTH
_PIECE = 1 * MIB
"""of the directory, read at once"""
_ZIP64 = 1
"""number of the extra field for what does not fit into 32 bits"""


class Directory(t.NamedTuple):
    """The place of the central directory, in bytes."""

    offset: int
    size: int
    entries: int


class Entry(t.NamedTuple):
    """What the directory says of a member."""

    header: Fields
    name: bytes
    extra: bytes
    size: int
    """bytes of its content"""
    stored: int
    """bytes in the archive"""
    offset: int
    """of its own header in the archive"""


def find_directory(storage: Storage) -> Directory:
    """
    :raises InvalidImage: no zip archive, or its end is missing
    :raises CorruptImage: the end is damaged, or there could be two
    :raises UnsupportedImage: one part of a split archive
    :raises LimitExceeded: too many members, or too long a directory
    """
    path = storage.name
    first = max(0, storage.size - END_OF_CENTRAL_DIRECTORY.size - _MAX_LENGTH)
    tail = storage.read_at(first, storage.size - first)
    fitting = [at for at in _occurrences(tail) if at + END_OF_CENTRAL_DIRECTORY.size + _comment_length(tail, at) == len(tail)]
    if not fitting:
        raise InvalidImage("no zip archive, or cut: its end is missing", path=path, hint="Fetch the file again")
    where = first + fitting[0]
    if tail.rfind(END_SIGNATURE) != fitting[0]:  # most programs look for it from behind, and not at the comment's length
        raise CorruptImage("the comment of the zip archive holds another end of an archive", path=path, offset=where)
    end = END_OF_CENTRAL_DIRECTORY.unpack(tail, fitting[0])
    where, end = _zip64_end(storage, where, end) or (where, end)
    if end.disk or end.directory_disk or end.entries_here != end.entries:
        raise _split(path)
    if end.entries > MAX_ARCHIVE_MEMBERS or end.directory_size > MAX_DIRECTORY:
        raise LimitExceeded(f"the archive has {end.entries} members and a directory of {end.directory_size} bytes: too many", path=path)
    if end.directory_offset + end.directory_size != where:
        raise CorruptImage("the directory of the zip archive does not lie in front of its end", path=path, offset=where)
    return Directory(end.directory_offset, end.directory_size, end.entries)


def _occurrences(tail: bytes) -> t.Iterator[int]:
    at = tail.find(END_SIGNATURE)
    while 0 <= at <= len(tail) - END_OF_CENTRAL_DIRECTORY.size:
        yield at
        at = tail.find(END_SIGNATURE, at + 1)


def _comment_length(tail: bytes, at: int) -> int:
    return int(END_OF_CENTRAL_DIRECTORY.unpack(tail, at).comment_length)


def _zip64_end(storage: Storage, where: int, end: Fields) -> tuple[int, Fields] | None:
    """Where the Zip64 record is, and what it says; None when there is none.

    :param where: offset of the other record, ``end``
    """
    at = where - ZIP64_LOCATOR.size
    if at < 0:
        return None
    locator = ZIP64_LOCATOR.unpack(storage.read_exact(at, ZIP64_LOCATOR.size, "the Zip64 locator"))
    if locator.signature != LOCATOR_SIGNATURE:
        return None
    if locator.disk or locator.disks > 1:
        raise _split(storage.name)
    record = ZIP64_END.unpack(storage.read_exact(locator.offset, ZIP64_END.size, "the Zip64 end of the archive"))
    agree = all(end[name] in (record[name], all_set) for name, all_set in _IN_BOTH)
    if record.signature != ZIP64_END_SIGNATURE or locator.offset + 12 + record.record_size != at or not agree:
        raise CorruptImage("the Zip64 end of the archive is damaged, or contradicts the other one", path=storage.name, offset=locator.offset)
    return locator.offset, record


def read_entries(storage: Storage, directory: Directory) -> t.Iterator[Entry]:
    """All entries in their order.

    :raises CorruptImage: the directory is damaged
    :raises UnsupportedImage: a member lies in another part of a split archive
    """
    position, end = directory.offset, directory.offset + directory.size
    piece, first = b"", position
    for _number in range(directory.entries):
        if position + _LONGEST_ENTRY > first + len(piece) < end:
            first = position
            piece = storage.read_exact(first, min(_PIECE, end - first), "the directory of the zip archive")
        entry, length = _parse(piece, position - first, storage.name, position)
        yield entry
        position += length
    if position != end:
        raise CorruptImage("the directory of the zip archive is longer than its entries", path=storage.name, offset=position)


def _parse(piece: bytes, start: int, path: str, position: int) -> tuple[Entry, int]:
    """The entry that begins at ``start``, and its length."""
    names = start + CENTRAL_HEADER.size
    if names <= len(piece):
        header = CENTRAL_HEADER.unpack(piece, start)
        extras = names + header.name_length
        comment = extras + header.extra_length
        end = comment + header.comment_length
        if header.signature == CENTRAL_SIGNATURE and end <= len(piece):
            extra = piece[extras:comment]
            wide = ((header.size, ALL_32, 8), (header.stored, ALL_32, 8), (header.offset, ALL_32, 8), (header.disk, _ALL_16, 4))
            size, stored, offset, disk = zip64_numbers(wide, extra, path, position)
            if disk:
                raise _split(path)
            return Entry(header, piece[names:extras], extra, size, stored, offset), end - start
    raise CorruptImage("the directory of the zip archive is damaged", path=path, offset=position)


def zip64_numbers(fields: t.Iterable[tuple[int, int, int]], extra: bytes, path: str, position: int) -> list[int]:
    """The numbers of a header; those with all bits set stand in its Zip64 field, in the same order (APPNOTE 4.5.3).

    :param fields: of each: its value in the header, the value with all bits set, and its bytes in the Zip64 field
    :param extra: the header's extra fields
    :raises CorruptImage: the Zip64 field is too short
    """
    field = extra_field(extra, _ZIP64, path, position)
    numbers = []
    for value, all_set, width in fields:
        if value == all_set and len(field) < width:
            raise CorruptImage("a header of the zip archive announces a Zip64 number and has none", path=path, offset=position)
        numbers.append(int.from_bytes(field[:width], "little") if value == all_set else value)
        field = field[width:] if value == all_set else field
    return numbers


def extra_field(extra: bytes, wanted: int, path: str, position: int) -> bytes:
    """The content of an extra field; empty when there is none of that number.

    :raises CorruptImage: there are two
    """
    found = None
    at = 0
    while at + 4 <= len(extra):
        number, length = struct.unpack_from("<HH", extra, at)
        if number == wanted:
            if found is not None:
                raise CorruptImage("a header of the zip archive has the same extra field twice", path=path, offset=position)
            found = extra[at + 4 : at + 4 + length]
        at += 4 + length
    return found or b""


def _split(path: str) -> UnsupportedImage:
    return UnsupportedImage("the zip archive is one part of several", path=path, hint="Join the parts first")
