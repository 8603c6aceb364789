# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Identifiers that formats demand (UUID, GUID, CID) out of the content, so that equal input gives equal bytes."""

from __future__ import annotations

import hashlib
import typing as t
import zlib


def fingerprint(pieces: t.Iterable[tuple[int, t.Any]]) -> bytes:
    """What stands for the content of one part of a disk. Pure: made in any thread.

    A CRC: nobody has to be kept from making two disks with one identifier on purpose (a copy has it anyway), and a
    cryptographic hash takes longer than the conversion.

    :param pieces: (guest offset, bytes-like) of what is not zero in the part, in rising order
    """
    found = 0
    for start, data in pieces:
        found = zlib.crc32(data, zlib.crc32(start.to_bytes(8, "little"), found))
    return found.to_bytes(4, "little")


class ContentIdentity:
    """Collects what a disk holds and answers with identifiers.

    Two disks with different content or size get different identifiers (VirtualBox refuses a second disk with a known
    UUID), the same disk gets the same on any node.

    :param purpose: names the format and variant, so that two formats of one disk do not share identifiers
    :param virtual_size: bytes
    """

    def __init__(self, purpose: str, virtual_size: int) -> None:
        self._hash = hashlib.sha256(f"vmimage.prep {purpose} {virtual_size}".encode("ascii"))

    def add(self, part: bytes) -> None:
        """Note the fingerprint of a part, in rising order. How a disk is cut into parts must not depend on its source."""
        self._hash.update(part)

    def derive(self, use: str, length: int = 16) -> bytes:
        """``length`` bytes (at most 32) for one use, as ``uuid_create``."""
        digest = self._hash.copy()
        digest.update(use.encode("ascii"))
        return digest.digest()[:length]

    def uuid(self, use: str) -> bytes:
        """16 bytes with RFC 9562's marks of version 8 (custom), in the byte order of the RFC."""
        raw = bytearray(self.derive(use))
        raw[6] = (raw[6] & 0x0F) | 0x80
        raw[8] = (raw[8] & 0x3F) | 0x80
        return bytes(raw)
