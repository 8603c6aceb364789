# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Compression of single units (qcow2 clusters, VMDK grains), by codec name, from the standard library.

zstd comes with Python 3.14, or with one of two packages where they happen to be installed: optional, never required.
"""

from __future__ import annotations

import typing as t
import zlib

from .errors import CorruptImage, UnsupportedImage

DEFLATE = "deflate"
ZLIB = "zlib"
ZSTD = "zstd"

_WINDOW = {DEFLATE: -15, ZLIB: 15}


def decompress(codec: str, data: bytes, unit: int, *, path: str, offset: int) -> bytes:
    """The ``unit`` bytes that a compressed unit holds.

    :param codec: ``deflate``, ``zlib`` or ``zstd``
    :param data: the stored bytes; may go on behind the end of the stream
    :param unit: exact decompressed size in bytes; never more is produced
    :param path: file, and ``offset`` the host offset, for the error message
    :raises CorruptImage: the stream is damaged, or short
    :raises UnsupportedImage: this Python cannot do the codec
    """
    if codec == ZSTD:
        result = _zstd(data, unit, path, offset)
    else:
        try:
            result = zlib.decompressobj(_WINDOW[codec]).decompress(data, unit)
        except zlib.error as error:
            raise CorruptImage(f"damaged {codec} data ({error})", path=path, offset=offset) from error
    if len(result) != unit:
        raise CorruptImage(f"compressed unit holds {len(result)} bytes instead of {unit}", path=path, offset=offset)
    return result


def _zstd(data: bytes, unit: int, path: str, offset: int) -> bytes:
    make, failure = zstd_decompressor(path)
    decoder = make()
    try:
        return decoder.decompress(data, unit)
    except failure as error:
        raise CorruptImage(f"damaged zstd data ({error})", path=path, offset=offset) from error


def zstd_decompressor(path: str) -> tuple[t.Callable[[], t.Any], type[Exception]]:
    """A factory of bounded zstd decompressors (``decompress(data, max_length)``) and the error they raise."""
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        try:
            from backports import zstd
        except ImportError:
            raise UnsupportedImage("zstd compression needs Python 3.14 or the Python package backports.zstd on this node", path=path) from None
    return zstd.ZstdDecompressor, zstd.ZstdError
