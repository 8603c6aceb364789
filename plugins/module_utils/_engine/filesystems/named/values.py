# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Labels and identifiers as they are stored, turned into what blkid(8) prints."""

from __future__ import annotations

import uuid

from ...errors import printable

FILESYSTEM, RAID, CRYPTO, OTHER = "filesystem", "raid", "crypto", "other"
"""blkid's USAGE"""


def text(stored: bytes, encoding: str = "utf-8") -> str | None:
    """A label that is filled up with zeros or spaces; None when there is none.

    :param encoding: a codec of Python; what it cannot decode is replaced
    """
    decoded = stored.decode(encoding, "backslashreplace" if encoding == "utf-8" else "replace")
    return printable(decoded.partition("\0")[0].strip(" \t\r\n")) or None


def identifier(stored: bytes) -> str | None:
    """A UUID of 16 bytes; None when it is not set (zeros)."""
    return str(uuid.UUID(bytes=stored)) if len(stored) == 16 and any(stored) else None


def guid(stored: bytes) -> str | None:
    """A UUID of 16 bytes as Microsoft stores it: the first three fields are little endian."""
    return str(uuid.UUID(bytes_le=stored)) if len(stored) == 16 and any(stored) else None
