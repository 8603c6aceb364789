# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The names in a cpio archive, as ramdisks are made of.

Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst ("newc").
"""

from __future__ import annotations

import typing as t

from ..errors import CorruptImage, LimitExceeded

MAGICS = (b"070701", b"070702")
"""without and with a checksum of each file"""
HEADER = 110
TRAILER = b"TRAILER!!!"
MAX_NAME = 4096
MAX_MEMBERS = 200_000
_ALIGNMENT = 4


class Stream(t.Protocol):
    """Bytes in their order, some of which nobody wants."""

    @property
    def position(self) -> int:
        """Bytes from the beginning."""

    def read(self, length: int) -> bytes:
        """The next bytes; fewer only at the end."""

    def skip(self, length: int) -> None:
        """Pass over bytes, at most up to the end."""


def names(stream: Stream, path: str) -> t.Iterator[bytes]:
    """The names of the members up to the trailer, which is read, too, or to the end of the stream.

    :param path: for messages
    :raises CorruptImage: a header is damaged
    :raises LimitExceeded: there are more than MAX_MEMBERS
    """
    for _number in range(MAX_MEMBERS):
        start = stream.position
        header = stream.read(HEADER)
        if not header:
            return
        if len(header) < HEADER or header[:6] not in MAGICS:
            raise CorruptImage("a header of the cpio archive is damaged", path=path, offset=start)
        try:
            size, length = int(header[54:62], 16), int(header[94:102], 16)
        except ValueError:
            raise CorruptImage("a header of the cpio archive has no numbers", path=path, offset=start) from None
        if not 0 < length <= MAX_NAME or size < 0:
            raise CorruptImage(f"a name of the cpio archive has {length} bytes", path=path, offset=start)
        name = stream.read(length).rstrip(b"\0")
        stream.skip(-(HEADER + length) % _ALIGNMENT)
        if name == TRAILER:
            return
        yield name
        stream.skip(size + -size % _ALIGNMENT)
    raise LimitExceeded(f"the cpio archive has more than {MAX_MEMBERS} members", path=path)
