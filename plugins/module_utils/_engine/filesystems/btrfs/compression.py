# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What compressed extents of btrfs hold. Source: btrfs documentation, "Compression"; Linux, fs/btrfs/{zlib,zstd,lzo}.c as facts.

A stream may hold less than its extent's ram_bytes, which are rounded up to sectors: zeros follow then.
"""

from __future__ import annotations

import struct
import zlib

from ... import lzo
from ...deflate import inflate
from ...errors import CorruptImage, LimitExceeded, UnsupportedImage
from ...limits import KIB
from .items import LZO, ZLIB, ZSTD

MAX_EXTENT = 128 * KIB
"""bytes of a compressed extent, stored or not (BTRFS_MAX_COMPRESSED, BTRFS_MAX_UNCOMPRESSED)"""


def decompress(compression: int, data: bytes, size: int, sectorsize: int, where: str) -> bytes:
    """The ``size`` bytes of a compressed extent.

    :param compression: ZLIB, LZO or ZSTD
    :param data: what is stored, up to MAX_EXTENT bytes; may go on behind the end of the stream
    :param size: ram_bytes of the extent, up to MAX_EXTENT
    :param sectorsize: of the file system: LZO data is made sector by sector
    :param where: the image, for messages
    :raises CorruptImage: the stream is damaged
    :raises UnsupportedImage: the compression is not known
    :raises LimitExceeded: zstd asks for a larger window than is allowed
    """
    room = -(-size // sectorsize) * sectorsize  # inline extents were compressed as a whole sector
    try:
        if compression == ZLIB:
            out = _zlib(data, room)
        elif compression == LZO:
            out = _lzo(data, room, sectorsize)
        elif compression == ZSTD:
            out = _zstd(data, room, where)
        else:
            raise UnsupportedImage(f"btrfs data of compression {compression} is not supported", path=where)
    except (zlib.error, ValueError) as error:
        raise CorruptImage(f"damaged data in a compressed extent ({error})", path=where) from error
    return out[:size].ljust(size, b"\0")


def _zlib(data: bytes, room: int) -> bytes:
    out = inflate(data, room, 15)
    if len(out) < room:  # A stream that was cut is as short as one that holds less.
        stream = zlib.decompressobj()
        stream.decompress(data, room)
        if not stream.eof:
            raise ValueError("the stream does not end")
    return out


def _zstd(data: bytes, room: int, where: str) -> bytes:
    """:raises ImageError: as decompress()"""
    # Imported where it is used, as codecs.py does.
    from ...zstd.frame import ZstdError, ZstdLimit
    from ...zstd.provider import Decompressor

    frame = Decompressor()
    try:
        out = frame.decompress(data, room)
        if not frame.eof and (frame.needs_input or frame.decompress(b"", 1) or not frame.eof):
            raise ZstdError("the frame does not end where it should")
    except ZstdLimit as error:
        raise LimitExceeded(str(error), path=where) from error
    except ZstdError as error:
        raise CorruptImage(f"damaged data in a compressed extent ({error})", path=where) from error
    return out


def _lzo(data: bytes, room: int, sectorsize: int) -> bytes:
    """Segments of a sector each, with their lengths before them; a length does not go over the end of a sector.

    :raises ValueError: it is damaged
    """
    if len(data) < 4:
        raise ValueError("it has no length")
    (end,) = struct.unpack_from("<I", data)
    if end > len(data):
        raise ValueError(f"it says that it has {end} bytes, and has {len(data)}")
    out = b""
    position = 4
    while position < end and len(out) < room:
        left = sectorsize - position % sectorsize
        if left < 4:
            position += left
        if position + 4 > end:
            raise ValueError("it ends inside a length")
        (length,) = struct.unpack_from("<I", data, position)
        position += 4
        if position + length > end:
            raise ValueError("it ends inside a segment")
        out += lzo.decompress(data[position : position + length], sectorsize)
        position += length
    return out
