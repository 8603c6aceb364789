# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Directory records with their names: Rock Ridge's, Joliet's, or the plain ones.

Sources: ECMA-119, section 9.1; Joliet Specification; names are shown as Linux' mount does it by default (fs/isofs).
"""

from __future__ import annotations

import typing as t

from ...errors import CorruptImage, printable
from ...formats.iso.layout import DIRECTORY_RECORD
from ...formats.probes.optical import SECTOR
from ...storage.base import Storage
from ...structure import Fields

DIRECTORY, ASSOCIATED, MULTI_EXTENT = 0x02, 0x04, 0x80
"""file flags (section 9.1.6)"""
MAX_SECTIONS = 4096
"""parts of one file; a part may have 4 GiB, a volume 8 TiB"""
MAX_NAMES = 1_000_000
"""records of one directory"""
_CHUNK = 128 * SECTOR


class Record(t.NamedTuple):
    """A directory record, checked."""

    at: int
    """where it lies on the volume, bytes"""
    fields: Fields
    identifier: bytes
    system_use: bytes


def unpack_record(data: bytes, offset: int, at: int, path: str) -> Record:
    """One record.

    :param data: bytes of the directory
    :param offset: where the record begins in them
    :param at: where it lies on the volume, bytes
    :param path: for messages
    :raises CorruptImage: it contradicts itself
    """
    length = data[offset]
    if length < DIRECTORY_RECORD.size + 1 or offset + length > len(data):
        raise CorruptImage(f"a directory record of {length} bytes is not possible here", path=path, offset=at)
    fields = DIRECTORY_RECORD.unpack(data, offset)
    end = DIRECTORY_RECORD.size + fields.identifier_length
    if not fields.identifier_length or end > length:
        raise CorruptImage("a directory record's name does not fit into it", path=path, offset=at)
    record = data[offset : offset + length]
    return Record(at, fields, record[DIRECTORY_RECORD.size : end], record[end + (end & 1) :])


def read_record(volume: Storage, at: int) -> Record:
    """The record at a place of the volume (bytes)."""
    data = volume.read_exact(at, min(255, SECTOR - at % SECTOR), "a directory record")
    return unpack_record(data, 0, at, volume.name)


def records(volume: Storage, start: int, size: int) -> t.Iterator[Record]:
    """The records of a directory in their order, ``.`` and ``..`` too.

    :param start: where it lies on the volume, and ``size``: both bytes
    :raises CorruptImage: a record contradicts itself, or the directory is not inside the volume
    """
    volume.require(start, size, "a directory")
    for chunk in range(0, size, _CHUNK):
        data = volume.read_exact(start + chunk, min(_CHUNK, size - chunk), "a directory")
        for sector in range(0, len(data), SECTOR):
            piece = data[sector : sector + SECTOR]
            offset = 0
            while offset < len(piece) and piece[offset]:  # a record does not cross sectors; zeros fill up the rest
                record = unpack_record(piece, offset, start + chunk + sector + offset, volume.name)
                yield record
                offset += piece[offset]


def sections(volume: Storage, first: Record) -> t.Iterator[Fields]:
    """The records of a file in all its parts, from the first one on.

    :raises CorruptImage: there are more than can be, or they do not follow each other
    """
    record = first
    for _count in range(MAX_SECTIONS):
        yield record.fields
        if not record.fields.flags & MULTI_EXTENT:
            return
        at = record.at + record.fields.length
        if at % SECTOR and volume.read_exact(at, 1, "a directory record") == b"\0":
            at += -at % SECTOR
        record = read_record(volume, at)
        if record.identifier != first.identifier:
            raise CorruptImage("the parts of a file do not follow each other", path=volume.name, offset=record.at)
    raise CorruptImage(f"a file has more than {MAX_SECTIONS} parts", path=volume.name, offset=first.at)


def plain_name(identifier: bytes) -> bytes:
    """A name of ISO 9660: in lower case, without the version ``;1`` and the dot before it (Linux' ``map=normal``)."""
    name = identifier.split(b"\0")[0]
    if name.endswith(b".;1"):
        name = name[:-3]
    elif name.endswith(b";1"):
        name = name[:-2]
    return name.lower().replace(b";", b".").replace(b"/", b".")


def joliet_name(identifier: bytes) -> bytes:
    """A name of Joliet, without the version and dots at the end."""
    name = identifier[: len(identifier) & ~1].decode("utf-16-be", "replace")
    if len(name) > 2 and name.endswith(";1"):
        name = name[:-2]
    return (name.rstrip(".") or name).encode()


def check_name(name: bytes, record: Record, path: str) -> bytes:
    """:raises CorruptImage: no file can be named so"""
    if not name or name in (b".", b"..") or b"/" in name or b"\0" in name:
        raise CorruptImage(f"a directory has the name '{printable(name)}'", path=path, offset=record.at)
    return name
