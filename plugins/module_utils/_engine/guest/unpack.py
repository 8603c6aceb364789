# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What kernels and ramdisks are packed in, unpacked piece by piece and never more than is asked for.

Sources: Linux, lib/decompress.c (magic numbers), usr/gen_init_cpio and scripts/Makefile.lib (which frames are written).
"""

from __future__ import annotations

import lzma
import typing as t

from ..errors import CorruptImage, LimitExceeded
from ..limits import KIB, MAX_DECODER_MEMORY, MIB
from ..storage.base import Storage
from ..storage.decoder import Decoder
from . import lz4

PIECE = 256 * KIB
_MAGIC = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (lz4.MAGIC, "lz4"),
    (b"BZh", "bzip2"),
    (b"\x5d\0\0", "lzma"),
    (b"\x89LZO\0\r\n\x1a\n", "lzo"),
)
MAX_MAGIC = 9
READABLE = ("gzip", "xz", "zstd", "lz4", "bzip2", "lzma")
MAX_PLAIN_ZSTD = 4 * MIB
"""bytes that are unpacked where zstd has to be read by plain Python, which takes a second for a few MiB"""


def compression_of(head: bytes) -> str | None:
    """What data is packed with, by its first MAX_MAGIC bytes; None for nothing that is known."""
    return next((name for magic, name in _MAGIC if head.startswith(magic)), None)


def pieces(storage: Storage, offset: int, compression: str | None, piece: int = PIECE) -> t.Iterator[bytes]:
    """The content of what begins at ``offset``, in pieces of bounded size, up to the end or to where something else follows.

    :param compression: one of READABLE; None: it is not packed
    :param piece: bytes that are unpacked at a time, where the decoder lets one choose
    :raises CorruptImage: the data is damaged, or cut off
    :raises LimitExceeded: the decoder would need too much memory, or zstd would take too long here
    """
    if compression is None:
        return _plain(storage, offset)
    if compression == "lz4":
        return lz4.read_legacy(storage, offset)
    if compression == "lzma":
        return _lzma(storage, offset)
    return _decoded(storage, offset, compression, piece)


def _plain(storage: Storage, offset: int) -> t.Iterator[bytes]:
    while offset < storage.size:
        data = storage.read_at(offset, PIECE)
        if not data:
            return
        yield data
        offset += len(data)


def _decoded(storage: Storage, offset: int, compression: str, piece: int) -> t.Iterator[bytes]:
    decoder = Decoder(storage.window(offset, storage.size - offset, storage.name), compression)
    bound = _bound(compression)
    done = 0
    while True:
        data = decoder.read(piece)
        if data:
            yield data
        if len(data) < piece:
            return
        done += len(data)
        if bound is not None and done >= bound:
            raise LimitExceeded("it is packed with zstd, which nothing on this node unpacks in a reasonable time", path=storage.name)


def _bound(compression: str) -> int | None:
    if compression != "zstd":
        return None
    from ..zstd.provider import best

    return MAX_PLAIN_ZSTD if best().name == "plain Python" else None


def _lzma(storage: Storage, offset: int) -> t.Iterator[bytes]:
    """The old container, which has no checksum and may leave its end open."""
    decoder = lzma.LZMADecompressor(lzma.FORMAT_ALONE, MAX_DECODER_MEMORY)
    while not decoder.eof:
        data = b""
        if bool(decoder.needs_input):
            data = storage.read_at(offset, PIECE)
            if not data:
                raise CorruptImage("the lzma data ends in the middle", path=storage.name, offset=offset)
            offset += len(data)
        try:
            out = decoder.decompress(data, PIECE)
        except lzma.LZMAError as error:
            if "emory" in str(error):
                raise LimitExceeded(f"the lzma data needs more than {MAX_DECODER_MEMORY} bytes of memory", path=storage.name) from error
            raise CorruptImage(f"damaged lzma data ({error})", path=storage.name, offset=offset) from error
        if out:
            yield out
