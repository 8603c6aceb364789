# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The table of contents of a zip archive; members are then read in place, or as they are decompressed.

Source: PKWARE, ".ZIP File Format Specification" (APPNOTE.TXT) 6.3.10, sections 4.3 (layout), 4.4 (fields) and 4.5.3 (Zip64).
Python's zipfile is not used: it reads tables of any size into memory, takes archives that are not what their own headers
say, and differs between versions.

What two readers could take in different ways is refused: members that overlap, headers that contradict the directory.
"""

from __future__ import annotations

import stat
import struct
import typing as t
import zlib

from ..errors import CorruptImage, InvalidImage, LimitExceeded, UnsupportedImage, printable
from ..limits import MAX_ARCHIVE_MEMBERS, MIB
from ..storage.base import Storage
from ..structure import Fields, Structure
from .members import DATA, DEVICE, FIFO, FOLDER, OTHER, SYMBOLIC_LINK, Member

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
LOCAL_HEADER = Structure(
    "<",
    ("signature", "4s"),
    ("needed", "H"),
    ("flags", "H"),
    ("method", "H"),
    ("_", "4s"),
    ("crc32", "I"),
    ("stored", "I"),
    ("size", "I"),
    ("name_length", "H"),
    ("extra_length", "H"),
)
MAX_DIRECTORY = 64 * MIB
_MAX_COMMENT = 0xFFFF
_ALL_16, _ALL_32 = 0xFFFF, 0xFFFFFFFF
_ZIP64_EXTRA = 1
_UNICODE_PATH = 0x7075
"""Info-ZIP's: version 1, CRC-32 of the entry's own name, and the name in UTF-8 (APPNOTE 4.6.9)"""

ENCRYPTED, DESCRIPTOR, UTF8 = 1 << 0, 1 << 3, 1 << 11
_PATCHED, _STRONG, _MASKED = 1 << 5, 1 << 6, 1 << 13
_MEANINGFUL = ENCRYPTED | DESCRIPTOR | UTF8 | _PATCHED | _STRONG | _MASKED
_CODECS = {0: None, 8: "deflate", 12: "bzip2", 93: "zstd", 95: "xz"}
_UNIX, _MACOS = 3, 19
_DOS_LIKE = (0, 10, 11, 14)
"""FAT, and Windows in its several numbers: their programs write backslashes at times"""


def members(storage: Storage) -> t.Iterator[Member]:
    """All members, in the directory's order. Reads the directory and each member's own header.

    :raises InvalidImage: not a zip archive
    :raises CorruptImage: it is cut, or contradicts itself
    :raises UnsupportedImage: it is in several parts, or inside of something that can only be read in order
    :raises LimitExceeded: too many members
    """
    if storage.sequential:
        raise UnsupportedImage(
            "a zip archive begins with its end, and this one can only be read in order", path=storage.name, hint="Decompress what it is in first"
        )
    entries, offset, size = _find_directory(storage)
    if entries > MAX_ARCHIVE_MEMBERS or size > MAX_DIRECTORY:
        raise LimitExceeded(f"the archive has {entries} members and a directory of {size} bytes: too many", path=storage.name)
    directory = storage.read_exact(offset, size, "the directory of the zip archive")
    found: list[tuple[int, int, Member]] = []
    position = 0
    for _number in range(entries):
        header, name, extra, position = _central(storage, directory, position, offset)
        found.append(_member(storage, header, name, extra, offset))
    if position != size:
        raise CorruptImage("the directory of the zip archive is longer than its entries", path=storage.name, offset=offset + position)
    _refuse_overlaps(storage, found)
    return iter([member for _start, _end, member in found])


def _find_directory(storage: Storage) -> tuple[int, int, int]:
    """Number of entries, offset and bytes of the central directory."""
    path = storage.name
    first = max(0, storage.size - END_OF_CENTRAL_DIRECTORY.size - _MAX_COMMENT)
    tail = storage.read_at(first, storage.size - first)
    places = []
    at = tail.find(b"PK\5\6")
    while at >= 0:
        if len(tail) - at >= END_OF_CENTRAL_DIRECTORY.size:
            end = END_OF_CENTRAL_DIRECTORY.unpack(tail[at : at + END_OF_CENTRAL_DIRECTORY.size])
            if at + END_OF_CENTRAL_DIRECTORY.size + end.comment_length == len(tail):
                places.append((first + at, end))
        at = tail.find(b"PK\5\6", at + 1)
    if not places:
        raise InvalidImage("not a zip archive, or cut: its end is missing", path=path, hint="Fetch the file again")
    if len(places) > 1:
        raise CorruptImage("the zip archive has two ends, one in the comment of the other", path=path, offset=places[-1][0])
    where, end = places[0]
    zip64 = _zip64_end(storage, where)
    if zip64 is not None:
        where, end = zip64
    if end.disk or end.directory_disk or end.entries_here != end.entries:
        raise UnsupportedImage("the zip archive is one part of several", path=path, hint="Join the parts first")
    if end.directory_offset + end.directory_size != where:
        raise CorruptImage("the directory of the zip archive does not lie in front of its end", path=path, offset=where)
    return end.entries, end.directory_offset, end.directory_size


def _zip64_end(storage: Storage, where: int) -> tuple[int, Fields] | None:
    """Where the Zip64 record is, and what it says; None when there is none."""
    if where < ZIP64_LOCATOR.size:
        return None
    locator = ZIP64_LOCATOR.unpack(storage.read_at(where - ZIP64_LOCATOR.size, ZIP64_LOCATOR.size))
    if locator.signature != b"PK\6\7":
        return None
    if locator.disk or locator.disks > 1:
        raise UnsupportedImage("the zip archive is one part of several", path=storage.name, hint="Join the parts first")
    storage.require(locator.offset, ZIP64_END.size, "the Zip64 end of the archive")
    record = ZIP64_END.unpack(storage.read_at(locator.offset, ZIP64_END.size))
    if record.signature != b"PK\6\6" or locator.offset + 12 + record.record_size != where - ZIP64_LOCATOR.size:
        raise CorruptImage("the Zip64 end of the archive is damaged", path=storage.name, offset=locator.offset)
    return locator.offset, record


def _central(storage: Storage, directory: bytes, position: int, offset: int) -> tuple[Fields, bytes, bytes, int]:
    """An entry of the directory: its fields, name and extra fields, and where the next one is."""
    header_end = position + CENTRAL_HEADER.size
    if header_end <= len(directory):
        header = CENTRAL_HEADER.unpack(directory[position:header_end])
        name_end = header_end + header.name_length
        end = name_end + header.extra_length + header.comment_length
        if header.signature == b"PK\1\2" and end <= len(directory):
            return header, directory[header_end:name_end], directory[name_end : name_end + header.extra_length], end
    raise CorruptImage("the directory of the zip archive is damaged", path=storage.name, offset=offset + position)


def _member(storage: Storage, header: Fields, raw_name: bytes, extra: bytes, limit: int) -> tuple[int, int, Member]:
    """An entry as a member, and the range of the archive that it takes (its own header and its bytes)."""
    path = storage.name
    size, stored, offset = _zip64_sizes(header, extra, path)
    if header.disk not in (0, _ALL_16):
        raise UnsupportedImage("the zip archive is one part of several", path=path, hint="Join the parts first")
    where = f"the header of archive member {printable(raw_name)!r}"
    local = LOCAL_HEADER.unpack(storage.read_exact(offset, LOCAL_HEADER.size, where))
    name_at = offset + LOCAL_HEADER.size
    # The name has its length in the directory, too: no other length need be read.
    local_name = storage.read_exact(name_at, min(local.name_length, header.name_length + 1), where)
    agrees = (local.signature, local.method, local.flags & _MEANINGFUL, local_name) == (b"PK\3\4", header.method, header.flags & _MEANINGFUL, raw_name)
    known = {header.stored, _ALL_32, stored}, {header.size, _ALL_32, size}, {header.crc32}
    if not header.flags & DESCRIPTOR:
        agrees = agrees and all(value in values for value, values in zip((local.stored, local.size, local.crc32), known))
    if not agrees:
        raise CorruptImage(f"{where} contradicts the archive's directory", path=path, offset=offset)
    start = name_at + local.name_length + local.extra_length
    if start + stored > limit:
        raise CorruptImage(f"archive member {printable(raw_name)!r} ends behind the beginning of the directory", path=path, offset=offset)
    name = _name(header, raw_name, _extra(extra, _UNICODE_PATH), path)
    kind = _kind(header, name)
    codec = "encryption" if header.flags & (ENCRYPTED | _STRONG) else _CODECS.get(header.method, f"method {header.method}")
    if codec is None and size != stored:
        raise CorruptImage(f"archive member {printable(name)!r} has {stored} bytes, and {size} of content", path=path, offset=offset)
    return offset, start + stored, Member(name, size, start, kind, stored, codec=codec, crc32=header.crc32)


def _zip64_sizes(header: Fields, extra: bytes, path: str) -> tuple[int, int, int]:
    """Size, stored bytes and offset; those that do not fit into the entry come from its Zip64 field, in this order."""
    values = [header.size, header.stored, header.offset]
    if _ALL_32 in values:
        field = _extra(extra, _ZIP64_EXTRA)
        for index, value in enumerate(values):
            if value == _ALL_32:
                if len(field) < 8:
                    raise CorruptImage("an entry of the zip archive's directory has no Zip64 size", path=path)
                values[index] = int.from_bytes(field[:8], "little")
                field = field[8:]
    return values[0], values[1], values[2]


def _extra(extra: bytes, wanted: int) -> bytes:
    """An extra field by its number; empty when there is none."""
    position = 0
    while position + 4 <= len(extra):
        number, length = struct.unpack_from("<HH", extra, position)
        if number == wanted:
            return extra[position + 4 : position + 4 + length]
        position += 4 + length
    return b""


def _name(header: Fields, raw: bytes, unicode_path: bytes, path: str) -> str:
    fits = unicode_path[:1] == b"\1" and unicode_path[1:5] == zlib.crc32(raw).to_bytes(4, "little")
    raw, is_utf8 = (unicode_path[5:], True) if fits else (raw, header.flags & UTF8)
    if not raw or b"\0" in raw:
        raise CorruptImage("an archive member has no usable name", path=path)
    if not is_utf8 and header.made_by >> 8 in (_UNIX, _MACOS):
        return raw.decode("utf-8", "surrogateescape")  # Info-ZIP stores the name as the file system has it
    try:
        name = raw.decode("utf-8" if is_utf8 else "cp437")
    except UnicodeDecodeError as error:
        raise CorruptImage(f"the name of archive member {printable(raw)!r} is not UTF-8, as its entry says", path=path) from error
    return name.replace("\\", "/") if header.made_by >> 8 in _DOS_LIKE and "/" not in name else name


def _kind(header: Fields, name: str) -> str:
    mode = header.attributes >> 16 if header.made_by >> 8 in (_UNIX, _MACOS) else 0
    kinds = {stat.S_IFLNK: SYMBOLIC_LINK, stat.S_IFCHR: DEVICE, stat.S_IFBLK: DEVICE, stat.S_IFIFO: FIFO, stat.S_IFSOCK: OTHER, stat.S_IFDIR: FOLDER}
    return FOLDER if name.endswith("/") else kinds.get(stat.S_IFMT(mode), DATA)


def _refuse_overlaps(storage: Storage, found: list[tuple[int, int, Member]]) -> None:
    """Overlapping members are how a small archive becomes a huge one (D. Fifield, "A better zip bomb")."""
    behind = 0
    for start, end, member in sorted(found, key=lambda entry: entry[:2]):
        if start < behind:
            raise CorruptImage(f"archive member {printable(member.name)!r} overlaps another one", path=storage.name, offset=start)
        behind = end
