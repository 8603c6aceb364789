# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What archives of all kinds have in common: members with names, kinds and a place."""

from __future__ import annotations

import typing as t

from ..storage.base import Storage

DATA = "data"
FOLDER = "folder"
HARD_LINK = "hard link"
SYMBOLIC_LINK = "symbolic link"
DEVICE = "device"
FIFO = "FIFO"
OTHER = "vendor's extension"

Run = tuple[int, int]
"""offset in the file, length: bytes"""


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
    sparse: tuple[Run, ...] | None = None
    """the runs of a sparse file that are stored, one behind the other; None when all bytes are"""
    codec: str | None = None
    """how the stored bytes are compressed, as storage/decoder.py calls it; None: not at all"""
    crc32: int | None = None
    """of the content, where the archive has it"""


def open_member(storage: Storage, member: Member, name: str) -> Storage:
    """The content of a DATA member, in place.

    :param storage: the archive
    :param name: for messages
    :raises ImageError: it is stored in a way that is not read
    """
    return storage.window(member.offset, member.stored, name)
