# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The table of contents of a zip archive; members are then read in place, or as they are decompressed.

Source: PKWARE, ".ZIP File Format Specification" (APPNOTE.TXT) 6.3.10, sections 4.3.7 (local headers), 4.4 and 4.6.9.
Python's zipfile is not used: it reads tables of any size into memory, takes archives that are not what their own headers
say, and differs between versions.

What two readers could take in different ways is refused: members that overlap, headers that contradict the directory,
members that are not in it (programs that read an archive from its beginning would take them).
"""

from __future__ import annotations

import stat
import typing as t
import zlib

from ..errors import CorruptImage, UnsupportedImage, printable
from ..storage.base import Storage
from ..structure import Fields, Structure
from .members import DATA, DEVICE, FIFO, FOLDER, OTHER, SYMBOLIC_LINK, Member
from .zip_directory import ALL_32, Directory, Entry, extra_field, find_directory, read_entries, zip64_numbers

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
LOCAL_SIGNATURE = b"PK\3\4"
DESCRIPTOR_SIGNATURE = b"PK\7\x08"

_ENCRYPTED, _DESCRIPTOR, _PATCHED, _STRONG, _UTF8, _MASKED = (1 << bit for bit in (0, 3, 5, 6, 11, 13))
"""General purpose flags (4.4.4). The others say how hard a compressor tried"""
_MEANINGFUL = _ENCRYPTED | _DESCRIPTOR | _PATCHED | _STRONG | _UTF8 | _MASKED
_CODECS = {0: None, 8: "deflate", 12: "bzip2", 93: "zstd", 95: "xz"}
_NOT_READ = {1: "Shrink", 6: "Implode", 9: "Deflate64", 14: "LZMA", 96: "JPEG", 97: "WavPack", 98: "PPMd"}
_UNICODE_PATH = 0x7075
"""Info-ZIP's extra field: version 1, CRC-32 of the header's own name, and the name in UTF-8 (4.6.9)"""

_HEADER = "the header of an archive member"
_UNIX, _MACOS = 3, 19
_DOS_LIKE = (0, 10, 11, 14)
"""FAT, and Windows in its several numbers: their programs write backslashes at times"""
_KINDS = {stat.S_IFLNK: SYMBOLIC_LINK, stat.S_IFCHR: DEVICE, stat.S_IFBLK: DEVICE, stat.S_IFIFO: FIFO, stat.S_IFSOCK: OTHER, stat.S_IFDIR: FOLDER}


class _Place(t.NamedTuple):
    """What a member takes of the archive, in bytes."""

    start: int
    """of its header"""
    end: int
    """of its content"""
    described: bool
    """a data descriptor follows"""
    name: str


def members(storage: Storage) -> t.Iterator[Member]:
    """All members, in the directory's order. Reads the directory and each member's own header, and nothing of their content.

    :raises InvalidImage: no zip archive
    :raises CorruptImage: it is cut, or contradicts itself
    :raises UnsupportedImage: it is in several parts, or inside of something that can only be read in order
    :raises LimitExceeded: too many members
    """
    if storage.sequential:
        raise UnsupportedImage(
            "a zip archive begins with its end, and this one can only be read in order", path=storage.name, hint="Decompress what it is in first"
        )
    directory = find_directory(storage)
    found, places = [], []
    for entry in read_entries(storage, directory):
        member, place = _member(storage, entry, directory)
        found.append(member)
        places.append(place)
    _check_places(storage, places, directory.offset)
    return iter(found)


def _member(storage: Storage, entry: Entry, directory: Directory) -> tuple[Member, _Place]:
    path, header = storage.name, entry.header
    local = LOCAL_HEADER.unpack(storage.read_exact(entry.offset, LOCAL_HEADER.size, _HEADER))
    variable = entry.offset + LOCAL_HEADER.size
    start = variable + local.name_length + local.extra_length
    if start + entry.stored > directory.offset:
        raise CorruptImage(f"archive member {printable(entry.name)!r} ends behind the beginning of the directory", path=path, offset=entry.offset)
    rest = storage.read_exact(variable, start - variable, _HEADER)
    if not _agree(local, rest, entry, path):
        raise CorruptImage(f"the header of archive member {printable(entry.name)!r} contradicts the archive's directory", path=path, offset=entry.offset)
    name = _name(entry, path)
    kind = _kind(header, name)
    if kind == FOLDER and entry.size:
        raise CorruptImage(f"archive member {printable(name)!r} is a folder, but has {entry.size} bytes", path=path, offset=entry.offset)
    codec = _codec(header)
    if codec is None and entry.size != entry.stored:
        raise CorruptImage(f"archive member {printable(name)!r} has {entry.stored} bytes, and {entry.size} of content", path=path, offset=entry.offset)
    member = Member(name, entry.size, start, kind, entry.stored, codec=codec, crc32=header.crc32)
    return member, _Place(entry.offset, start + entry.stored, bool(header.flags & _DESCRIPTOR), name)


def _agree(local: Fields, rest: bytes, entry: Entry, path: str) -> bool:
    """Whether a member's own header says what the directory says.

    :param rest: its name and extra fields
    """
    header = entry.header
    name, extra = rest[: local.name_length], rest[local.name_length :]
    if (local.signature, local.method, name) != (LOCAL_SIGNATURE, header.method, entry.name) or (local.flags ^ header.flags) & _MEANINGFUL:
        return False
    if header.flags & _MASKED:
        return True
    if header.flags & _DESCRIPTOR:  # the numbers were not known yet, and stand behind the content
        return local.crc32 in (0, header.crc32) and local.size in (0, ALL_32, entry.size) and local.stored in (0, ALL_32, entry.stored)
    wide = ((local.size, ALL_32, 8), (local.stored, ALL_32, 8))
    return [local.crc32, *zip64_numbers(wide, extra, path, entry.offset)] == [header.crc32, entry.size, entry.stored]


def _codec(header: Fields) -> str | None:
    """How the content is stored, as storage/decoder.py calls it; of what is not read, in words."""
    if header.flags & (_ENCRYPTED | _STRONG | _MASKED):
        return "encryption"
    if header.flags & _PATCHED:
        return "patch data"
    return _CODECS[header.method] if header.method in _CODECS else _NOT_READ.get(header.method, f"compression method {header.method}")


def _name(entry: Entry, path: str) -> str:
    raw, host = entry.name, entry.header.made_by >> 8
    is_utf8 = bool(entry.header.flags & _UTF8)
    better = extra_field(entry.extra, _UNICODE_PATH, path, entry.offset)
    if better[:1] == b"\1" and better[1:5] == zlib.crc32(raw).to_bytes(4, "little"):
        if is_utf8 and better[5:] != raw:
            raise CorruptImage(f"archive member {printable(raw)!r} has two names", path=path, offset=entry.offset)
        raw, is_utf8 = better[5:], True
    if not raw or b"\0" in raw:
        raise CorruptImage("an archive member has no usable name", path=path, offset=entry.offset)
    if not is_utf8 and host in (_UNIX, _MACOS):
        return raw.decode("utf-8", "surrogateescape")  # Info-ZIP stores the name as the file system has it
    try:
        name = raw.decode("utf-8" if is_utf8 else "cp437")
    except UnicodeDecodeError as error:
        raise CorruptImage(f"the name of archive member {printable(raw)!r} is not UTF-8, as its entry says", path=path, offset=entry.offset) from error
    return name.replace("\\", "/") if host in _DOS_LIKE and "/" not in name else name


def _kind(header: Fields, name: str) -> str:
    """By the Unix mode, which programs on other systems leave 0 or store, too."""
    return FOLDER if name.endswith("/") else _KINDS.get(stat.S_IFMT(header.attributes >> 16), DATA)


def _check_places(storage: Storage, places: list[_Place], end: int) -> None:
    """Refuse members that overlap, and such as the directory does not name.

    Overlapping ones are how a small archive becomes a huge one (D. Fifield, "A better zip bomb").

    :param end: where the directory begins
    """
    behind, described = 0, False
    for place in [*sorted(places), _Place(end, end, False, "")]:
        if place.start < behind:
            raise CorruptImage(f"archive member {printable(place.name)!r} overlaps another one", path=storage.name, offset=place.start)
        if place.start > behind and _begins_a_member(storage, behind, place.start, described):
            raise CorruptImage("the zip archive has a member that its directory does not name", path=storage.name, offset=behind)
        behind, described = place.end, place.described


def _begins_a_member(storage: Storage, start: int, end: int, described: bool) -> bool:
    """Whether a member's header stands in a part that no member takes: in front, or behind a data descriptor (4.3.9)."""
    gap = storage.read_at(start, min(end - start, 24 + LOCAL_HEADER.size))
    behind_descriptor = (16, 24) if gap.startswith(DESCRIPTOR_SIGNATURE) else (12, 20)
    return any(gap.startswith(LOCAL_SIGNATURE, at) and len(gap) >= at + LOCAL_HEADER.size for at in (0, *(behind_descriptor if described else ())))
