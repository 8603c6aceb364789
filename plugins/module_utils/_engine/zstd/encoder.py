# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Compression with zstd by whatever a node has: Python itself, a package, or the system's library."""

from __future__ import annotations

from . import native

HINT = "Install the package libzstd of the system, or the Python package backports.zstd"


def compress(data: bytes, level: int) -> bytes | None:
    """One frame with its content's size and no checksum; None where nothing here can.

    :param level: of libzstd, 1 to 19
    """
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            zstd = None
    if zstd is not None:
        return bytes(zstd.compress(data, level))
    try:
        import zstandard
    except ImportError:
        pass
    else:
        return bytes(zstandard.ZstdCompressor(level=level).compress(data))
    library = native.load()
    return None if library is None else native.compress(library, bytes(data), level)
