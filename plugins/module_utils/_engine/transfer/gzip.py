# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Compressing a storage with gzip, in threads: one stream of pieces that are deflated apart from each other.

The same bytes give the same file, however many threads there are. Source: RFC 1951, 3.2.3 and 3.2.4 (a piece ends with an empty
block at a byte's border, so that the next may follow), RFC 1952, 2.3 (header and trailer).
"""

from __future__ import annotations

import functools
import typing as t
import zlib

from ..limits import MIB
from ..progress import Progress, silent
from ..storage.base import Storage
from ..storage.sink import Sink
from .cells import in_order, thread_count

PIECE = 2 * MIB
"""bytes that are deflated at once. That each begins without what came before makes a file larger by less than a thousandth"""
_LEVEL = 6
_HEADER = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255))
"""deflate, no name, no time, an unknown system"""
_END = b"\x03\x00"
"""an empty last block"""
_POLYNOMIAL = 0xEDB88320
"""of the CRC-32, the coefficient of x^0 in the highest bit"""
_ONE = 1 << 31


class _Deflated(t.NamedTuple):
    data: bytes
    crc32: int
    length: int
    """bytes before"""


def write_gzip(storage: Storage, sink: Sink, *, progress: Progress = silent, threads: int | None = None) -> None:
    """Write all bytes of a storage to a sink, compressed. What it knows to be holes is not read.

    :param threads: None for one a processor; the result does not depend on it
    :raises ImageError: the storage cannot be read, or there is no room
    """
    threads = thread_count() if threads is None else threads
    sink.write_at(0, _HEADER)
    position, checksum, done = len(_HEADER), 0, 0
    shift = _shift(PIECE)
    for piece in in_order(_tasks(storage), threads):
        sink.write_at(position, piece.data)
        position += len(piece.data)
        checksum = _multiply(checksum, shift if piece.length == PIECE else _shift(piece.length)) ^ piece.crc32
        done += piece.length
        progress("compress", done, storage.size)
    sink.write_at(position, _END + checksum.to_bytes(4, "little") + (storage.size % (1 << 32)).to_bytes(4, "little"))


def _tasks(storage: Storage) -> t.Iterator[t.Callable[[], _Deflated]]:
    """One a piece. What can only be read in order is read here, by the thread that hands out the tasks."""
    ranges = storage.data_ranges()
    start = end = 0
    for offset in range(0, storage.size, PIECE):
        length = min(PIECE, storage.size - offset)
        while end <= offset and start < storage.size:
            start, count = next(ranges, (storage.size, 0))
            end = start + count
        if start >= offset + length:
            yield functools.partial(_zeros, length)
        elif storage.sequential:
            yield functools.partial(_deflate, storage.read_exact(offset, length, "data"))
        else:
            yield functools.partial(_read_and_deflate, storage, offset, length)


def _read_and_deflate(storage: Storage, offset: int, length: int) -> _Deflated:
    data = storage.read_exact(offset, length, "data")
    return _zeros(length) if data == _ZEROS[:length] else _deflate(data)


_ZEROS = bytes(PIECE)


@functools.lru_cache(maxsize=4)
def _zeros(length: int) -> _Deflated:
    return _deflate(bytes(length))


def _deflate(data: bytes) -> _Deflated:
    stream = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    return _Deflated(stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH), zlib.crc32(data), len(data))


def _shift(length: int) -> int:
    """x^(8 * length), by which a checksum is multiplied when so many bytes follow, modulo the polynomial."""
    result, power = _ONE, _ONE >> 8
    while length:
        if length & 1:
            result = _multiply(result, power)
        power = _multiply(power, power)
        length >>= 1
    return result


def _multiply(a: int, b: int) -> int:
    """The product of two polynomials modulo the CRC's."""
    product = 0
    while a:
        if a & _ONE:
            product ^= b
        a = a << 1 & 0xFFFFFFFF
        b = b >> 1 ^ _POLYNOMIAL if b & 1 else b >> 1
    return product
