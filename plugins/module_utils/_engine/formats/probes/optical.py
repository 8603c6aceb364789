# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""ISO 9660 and UDF: the volume recognition sequence. Sources: ECMA-119 section 8, ECMA-167 part 2 sections 8 and 9."""

from __future__ import annotations

from .match import OPTICAL, Match

SECTOR = 2048
FIRST = 16 * SECTOR
_RAW_SYNC = b"\0" + b"\xff" * 10 + b"\0"
_RAW_SECTOR = 2352


def identifiers(head: bytes) -> list[bytes]:
    """The standard identifiers (``CD001``, ``NSR02`` …) of the descriptors from sector 16 on, in their order.

    UDF on a hard disk spaces them by its block size, so gaps are passed over.
    """
    known = (b"CD001", b"BEA01", b"NSR02", b"NSR03", b"TEA01", b"BOOT2")
    return [head[at + 1 : at + 6] for at in range(FIRST, len(head) - 6, SECTOR) if head[at + 1 : at + 6] in known]


def optical_matches(head: bytes) -> list[Match]:
    """ISO 9660, UDF, or both (a bridge).

    :param head: the first bytes of the content, from sector 0 up to where the descriptors end
    """
    found = []
    sequence = identifiers(head)
    if head.startswith(b"CD001", FIRST + 1):
        found.append(Match("iso", OPTICAL, "an ISO 9660 image", 95, reader="iso"))
    if b"BEA01" in sequence and (b"NSR02" in sequence or b"NSR03" in sequence):
        # Its bytes are the disk's bytes: read as raw.
        found.append(Match("udf", OPTICAL, "a UDF image", 90, reader="raw"))
    if head.startswith(_RAW_SYNC):
        volume = 16 * _RAW_SECTOR
        if any(head.startswith(b"CD001", volume + data + 1) for data in (16, 24)):
            found.append(Match("cdraw", OPTICAL, "a CD image with raw sectors of 2352 bytes (.bin)", 95, tool="bchunk or ccd2iso, which make an ISO of it"))
    return found
