# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Values of ASN.1 in DER, as certificates are made of: one behind the other, or inside of each other.

Source: ITU-T X.690, 8.1 (tag, length, content) and 10.1 (DER: the length in as few bytes as it takes).
"""

from __future__ import annotations

import typing as t

from ..errors import CorruptImage

INTEGER = 0x02
BIT_STRING = 0x03
OBJECT_IDENTIFIER = 0x06
SEQUENCE = 0x30
SET = 0x31
EXPLICIT_0 = 0xA0
"""constructed, context-specific, number 0"""

_MAX_LENGTH_BYTES = 4
_LONG_TAG = 0x1F


class Value(t.NamedTuple):
    """One value."""

    tag: int
    content: bytes
    encoded: bytes
    """with tag and length"""

    def require(self, tag: int, what: str) -> Value:
        """This value, which is of that type.

        :raises CorruptImage: it is not
        """
        if self.tag != tag:
            raise CorruptImage(f"the certificate has a value of type {self.tag:#04x} where {what} ({tag:#04x}) belongs")
        return self

    def inner(self, tag: int, what: str) -> list[Value]:
        """The values inside of this one, which is of that type.

        :raises CorruptImage: it is not, or damaged
        """
        return values(self.require(tag, what).content)

    def number(self, what: str) -> int:
        """:raises CorruptImage: it is no INTEGER"""
        content = self.require(INTEGER, what).content
        if not content:
            raise CorruptImage(f"the certificate's {what} is empty")
        return int.from_bytes(content, "big", signed=True)

    def bits(self, what: str) -> bytes:
        """The bytes of a BIT STRING, which has whole bytes wherever certificates use it.

        :raises CorruptImage: it is none, or has not
        """
        content = self.require(BIT_STRING, what).content
        if content[:1] != b"\0":
            raise CorruptImage(f"the certificate's {what} is no whole number of bytes")
        return content[1:]

    def identifier(self, what: str) -> str:
        """An OBJECT IDENTIFIER with dots (X.690, 8.19).

        :raises CorruptImage: it is none, or too long to be one that means something
        """
        content = self.require(OBJECT_IDENTIFIER, what).content
        if not content or len(content) > 64 or content[-1] & 0x80:
            raise CorruptImage(f"the certificate's {what} is no object identifier")
        numbers, number = [], 0
        for byte in content:
            number = number << 7 | byte & 0x7F
            if not byte & 0x80:
                numbers.append(number)
                number = 0
        first = min(numbers[0] // 40, 2)
        return ".".join(map(str, (first, numbers[0] - 40 * first, *numbers[1:])))


def values(data: bytes) -> list[Value]:
    """All values that some bytes consist of.

    :raises CorruptImage: one is cut, or not DER
    """
    found = []
    offset = 0
    while offset < len(data):
        value = _value(data, offset)
        found.append(value)
        offset += len(value.encoded)
    return found


def single(data: bytes) -> Value:
    """The only value that some bytes consist of.

    :raises CorruptImage: they do not
    """
    value = _value(data, 0)
    if len(value.encoded) != len(data):
        raise CorruptImage(f"{len(data) - len(value.encoded)} bytes behind the end of a value", offset=len(value.encoded))
    return value


def _value(data: bytes, offset: int) -> Value:
    header = data[offset : offset + 2]
    if len(header) < 2:
        raise CorruptImage("the certificate is cut", offset=offset)
    tag, length = header
    start = offset + 2
    if tag & _LONG_TAG == _LONG_TAG:
        raise CorruptImage("the certificate has a type that certificates do not have", offset=offset)
    if length & 0x80:
        count = length & 0x7F
        written = data[start : start + count]
        length = int.from_bytes(written, "big")
        if not 0 < count <= _MAX_LENGTH_BYTES or len(written) < count or length < 0x80 or not written[0]:
            raise CorruptImage("the certificate has a length that is not DER", offset=offset)
        start += count
    if start + length > len(data):
        raise CorruptImage("the certificate is cut", offset=offset)
    return Value(tag, data[start : start + length], data[offset : start + length])
