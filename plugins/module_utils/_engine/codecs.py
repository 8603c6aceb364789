# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Compression of single units (qcow2 clusters, VMDK grains), by codec name, from the standard library.

zstd comes with Python 3.14, with packages, or from the system's library; where none of them is, our own decoder reads it.
"""

from __future__ import annotations

import zlib

from . import adc, deflate
from .deflate import compressor
from .errors import CorruptImage, LimitExceeded, UnsupportedImage
from .limits import MAX_DECODER_MEMORY

__all__ = ["DEFLATE", "ZLIB", "ZSTD", "compressor", "decompress", "zstd_compress"]

DEFLATE = "deflate"
ZLIB = "zlib"
ZSTD = "zstd"
BZIP2 = "bzip2"
LZMA = "lzma"
"""in an xz container"""
ADC = "adc"
"""Apple's; see adc.py"""

_WINDOW = {DEFLATE: -15, ZLIB: 15}


def decompress(codec: str, data: bytes, unit: int, *, path: str, offset: int) -> bytes:
    """The ``unit`` bytes that a compressed unit holds.

    :param codec: ``deflate``, ``zlib``, ``zstd``, ``bzip2``, ``lzma`` or ``adc``
    :param data: the stored bytes; may go on behind the end of the stream
    :param unit: exact decompressed size in bytes; never more is produced
    :param path: file, and ``offset`` the host offset, for the error message
    :raises CorruptImage: the stream is damaged, or short
    :raises UnsupportedImage: zstd data needs a dictionary
    :raises LimitExceeded: zstd data needs a larger window than is allowed
    """
    if codec == ZSTD:
        result = _zstd(data, unit, path, offset)
    elif codec in (BZIP2, LZMA, ADC):
        result = _apple(codec, data, unit, path, offset)
    else:
        try:
            result = deflate.inflate(data, unit, _WINDOW[codec])
        except zlib.error as error:
            raise CorruptImage(f"damaged {codec} data ({error})", path=path, offset=offset) from error
    if len(result) != unit:
        raise CorruptImage(f"compressed unit holds {len(result)} bytes instead of {unit}", path=path, offset=offset)
    return result


def _apple(codec: str, data: bytes, unit: int, path: str, offset: int) -> bytes:
    """The codecs that only Apple's disk images use."""
    try:
        if codec == ADC:
            return adc.decompress(data, unit)
        if codec == BZIP2:
            import bz2

            return bz2.BZ2Decompressor().decompress(data, unit)
        import lzma
    except ImportError:
        raise UnsupportedImage(f"{codec} compression needs a Python that was built with it", path=path) from None
    except (OSError, ValueError) as error:
        raise CorruptImage(f"damaged {codec} data ({error})", path=path, offset=offset) from error
    try:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_DECODER_MEMORY).decompress(data, unit)
    except lzma.LZMAError as error:
        if "emory" in str(error):  # liblzma: "Memory usage limit exceeded"
            raise LimitExceeded(f"the lzma data needs more than {MAX_DECODER_MEMORY} bytes of memory", path=path, offset=offset) from error
        raise CorruptImage(f"damaged {codec} data ({error})", path=path, offset=offset) from error


def _zstd(data: bytes, unit: int, path: str, offset: int) -> bytes:
    # Imported where it is used: few images need it, and it is a third of the engine's start-up.
    from .zstd.frame import ZstdError, ZstdLimit, ZstdUnsupported
    from .zstd.provider import decompress as decompress_frame

    try:
        return decompress_frame(data, unit)
    except ZstdLimit as error:
        raise LimitExceeded(str(error), path=path, offset=offset) from error
    except ZstdUnsupported as error:
        raise UnsupportedImage(str(error), path=path, offset=offset) from error
    except ZstdError as error:
        raise CorruptImage(f"damaged zstd data ({error})", path=path, offset=offset) from error


def zstd_compress(data: bytes, level: int) -> bytes:
    """One zstd frame with its content's size and without a checksum.

    :param level: of libzstd, 1 to 19
    :raises UnsupportedImage: nothing on this node compresses with zstd
    """
    from .zstd import encoder

    packed = encoder.compress(data, level)
    if packed is None:
        raise UnsupportedImage("nothing on this node compresses with zstd", hint=encoder.HINT)
    return packed
