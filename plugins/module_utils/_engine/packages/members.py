# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What archives of all kinds have in common: members with names, kinds and a place."""

from __future__ import annotations

import typing as t

from ..errors import UnsupportedImage, printable
from ..storage.base import Storage, Window
from ..storage.decoder import MAGIC
from ..storage.inflated import CheckedStream
from ..storage.sparse import SparseMap, SparseStorage

DATA = "data"
FOLDER = "folder"
HARD_LINK = "hard link"
SYMBOLIC_LINK = "symbolic link"
DEVICE = "device"
FIFO = "FIFO"
OTHER = "vendor's extension"


class Member(t.NamedTuple):
    """An entry of an archive."""

    name: str
    """as stored; bytes that are not UTF-8 as surrogates (PEP 383)"""
    size: int
    """bytes of its content"""
    offset: int
    """where its bytes begin in the archive"""
    kind: str
    """only DATA members have bytes that may be used"""
    stored: int
    """bytes in the archive; as many as ``size`` when they are stored as they are"""
    sparse: SparseMap | None = None
    """the runs of a sparse file that are stored, one behind the other; None when all bytes are"""
    codec: str | None = None
    """how the stored bytes are compressed, as storage/decoder.py calls it; None: not at all"""
    crc32: int | None = None
    """of the content, where the archive has it"""
    standard: bool = True
    """stored as the format's standard has it: of tar, as ustar alone"""


def open_member(storage: Storage, member: Member, name: str, max_size: int | None = None) -> Storage:
    """The content of a DATA member, in place.

    :param storage: the archive
    :param name: for messages
    :param max_size: bytes that may come out of a compressed one; None: as many as are plausible
    :raises UnsupportedImage: it is compressed in a way that is not read, or encrypted
    :raises CorruptImage: it is not inside the archive
    """
    if storage.sequential:  # to ask for its size, as window() does, would decode all of it
        stored: Storage = Window(storage, member.offset, member.stored, name)
    else:
        stored = storage.window(member.offset, member.stored, name)
    if member.codec is not None:
        if member.codec not in MAGIC:
            raise UnsupportedImage(
                f"archive member {printable(member.name)!r} is stored with {member.codec}, which is not read", path=name, hint="Unpack the archive first"
            )
        return CheckedStream(stored, member.codec, member.size, member.crc32, max_size)
    return stored if member.sparse is None else SparseStorage(stored, member.sparse, member.size, name)
