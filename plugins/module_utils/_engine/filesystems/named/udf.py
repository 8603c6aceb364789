# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""UDF. Sources: ECMA-167 parts 2 and 3 (sections 2/8.3, 2/9.1, 3/10.1, 3/10.2, 3/10.6), UDF 2.60 (sections 2.1.3, 2.2.4)."""

from __future__ import annotations

import binascii
import struct
import typing as t

from ...limits import KIB
from ...storage.base import Storage
from ...structure import Structure
from ..base import Signature
from .values import FILESYSTEM, text

TAG = Structure("<", ("identifier", "H"), ("_", "10s"), ("location", "I"))
ANCHOR = Structure("<", ("tag", "16s"), ("length", "I"), ("location", "I"))
PRIMARY = Structure("<", ("tag", "16s"), ("_", "56s"), ("volume_set_identifier", "128s"))
LOGICAL = Structure(
    "<",
    ("tag", "16s"),
    ("_", "68s"),
    ("logical_volume_identifier", "128s"),
    ("logical_block_size", "I"),
    ("_", "B"),
    ("domain_identifier", "23s"),
    ("revision", "H"),
)
ANCHOR_TAG, PRIMARY_TAG, LOGICAL_TAG, TERMINATING_TAG = 2, 1, 6, 8
_ANCHOR_BLOCKS = (256, 512)
_FIRST = 32 * KIB
_IDENTIFIERS = (b"BEA01", b"BOOT2", b"CD001", b"CDW02", b"TEA01")
_MAX_DESCRIPTORS = 64


def identify(storage: Storage) -> Signature | None:
    """UDF, also as a bridge beside ISO 9660; None when it is none."""
    for block in (512, 2048, 4096, 1024):
        if _has_nsr(storage, max(block, 2048)):
            for anchor in _ANCHOR_BLOCKS:
                data = storage.read_at(anchor * block, 512)
                if len(data) == 512 and _is(data, ANCHOR_TAG, anchor):
                    return _signature(storage, block, *struct.unpack_from("<II", data, TAG.size))
    return None


def _has_nsr(storage: Storage, step: int) -> bool:
    """Whether the volume recognition sequence names ECMA-167."""
    for number in range(_MAX_DESCRIPTORS):
        name = storage.read_at(_FIRST + number * step + 1, 5)
        if name in (b"NSR02", b"NSR03"):
            return True
        if name not in _IDENTIFIERS:
            return False
    return False


def _signature(storage: Storage, block: int, length: int, location: int) -> Signature | None:
    label = uuid = version = None
    is_udf = False
    for tag, data in _descriptors(storage, block, length, location):
        if tag == PRIMARY_TAG and uuid is None:
            uuid = _uuid(_string(PRIMARY.unpack(data).volume_set_identifier))
        elif tag == LOGICAL_TAG and not is_udf:
            logical = LOGICAL.unpack(data)
            is_udf = logical.domain_identifier.rstrip(b"\0") == b"*OSTA UDF Compliant"
            label = text(_string(logical.logical_volume_identifier).encode("utf-8", "replace"))
            version = f"{logical.revision >> 8:x}.{logical.revision & 0xFF:02x}"
    return Signature("udf", FILESYSTEM, label, uuid, version) if is_udf else None


def _descriptors(storage: Storage, block: int, length: int, location: int) -> t.Iterator[tuple[int, bytes]]:
    """The volume descriptors of a sequence with their tags' identifiers."""
    for number in range(location, location + min(length // block, _MAX_DESCRIPTORS)):
        data = storage.read_at(number * block, 512)
        if len(data) < 512:
            return
        tag = TAG.unpack(data)
        if tag.location != number or tag.identifier in (0, TERMINATING_TAG):
            return
        yield tag.identifier, data


def _is(data: bytes, identifier: int, location: int) -> bool:
    tag = TAG.unpack(data)
    return bool(tag.identifier == identifier and tag.location == location)


def _string(stored: bytes) -> str:
    """A dstring: the compression id (bits of a character), the characters, and in the last byte how many are used."""
    used = stored[1 : max(stored[-1], 1)]
    return used.decode("utf-16-be", "replace") if stored[0] == 16 else used.decode("latin-1") if stored[0] == 8 else ""


def _uuid(name: str) -> str | None:
    """What blkid takes for a UUID: the first 16 hexadecimal digits of the volume set's identifier, where they are such."""
    first = name.encode("utf-8", "replace")[:16].ljust(16, b"\0")
    if len(name) < 8:
        return None
    digits = next((index for index, char in enumerate(first) if chr(char) not in "0123456789abcdefABCDEF"), 16)
    if digits < 8:
        return binascii.hexlify(first[:8]).decode("ascii")
    if digits < 16:
        return first[:8].decode("ascii").lower() + binascii.hexlify(first[8:12]).decode("ascii")
    return first.decode("ascii").lower()
