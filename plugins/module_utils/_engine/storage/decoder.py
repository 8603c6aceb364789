# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Decoding of compressed files: bounded pieces, every stream of a file, every checksum, nothing left over.

Sources: RFC 1952 (gzip), "The .xz File Format" 1.2, sections 2.1 and 2.2 (several streams, padding), RFC 8878 (zstd),
bzip2's manual. The standard library's file objects are not used: bz2.open and lzma.open end silently at damage between
two streams, and none of them bounds the memory that a stream may ask for.
"""

from __future__ import annotations

import bz2
import lzma
import typing as t

from .. import deflate
from ..errors import CorruptImage, LimitExceeded, UnsupportedImage
from ..limits import KIB, MAX_DECODER_MEMORY
from ..zstd.frame import ZstdError, ZstdLimit, ZstdUnsupported
from ..zstd.provider import Decompressor
from .base import Storage

MAGIC = {"gzip": b"\x1f\x8b", "xz": b"\xfd7zXZ\0", "bzip2": b"BZh", "zstd": b"", "deflate": b""}
"""What each stream of a file begins with (zstd has frames of several kinds: its decoder tells; a deflate stream has nothing, and is alone)."""

_FIRST_INPUT, _MOST_INPUT = 16 * KIB, 256 * KIB
"""Bytes fed at once: few in the beginning, as what lies behind a short stream is read again for the next one."""
_MAX_GZIP_HEADER = 64 * KIB


class State(t.NamedTuple):
    """A place in a compressed file where decoding can go on."""

    offset: int
    """next byte of the file"""
    stream: Gunzip | None
    """what was decoded so far of the stream there; None between two streams"""


class Decoder:
    """Decodes one file, stream after stream.

    :param source: the compressed bytes
    :param codec: a key of MAGIC
    :raises UnsupportedImage: there is no such codec
    """

    def __init__(self, source: Storage, codec: str) -> None:
        if codec not in MAGIC:
            raise UnsupportedImage(f"{codec} compression is not supported", path=source.name, hint="Decompress the file first")
        self._source = source
        self._codec = codec
        self._new_stream, self._failures = _factory(codec)
        self._stream: t.Any = None
        self._input = _FIRST_INPUT
        self.offset = 0
        """next byte of the file to be fed"""

    def read(self, length: int) -> bytes:
        """The next ``length`` decoded bytes; fewer only at the end of the file, where everything has been verified.

        :raises CorruptImage: truncated, damaged, or something else behind a stream
        :raises LimitExceeded: the stream wants a larger window than is allowed
        :raises UnsupportedImage: the stream needs a dictionary
        """
        parts: list[bytes] = []
        missing = length
        while missing and (self._stream is not None or self._begin()):
            data = self._decompress(missing)
            if data:
                parts.append(data)
                missing -= len(data)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _decompress(self, most: int) -> bytes:
        """Up to ``most`` bytes, possibly none, of the stream that was begun."""
        stream = self._stream
        data = b""
        if stream.needs_input:
            data = self._source.read_at(self.offset, self._input)
            if not data:
                raise self._corrupt(f"the {self._codec} data ends in the middle: truncated")
        try:
            out: bytes = stream.decompress(data, most)
        except self._failures as error:
            if isinstance(error, ZstdLimit) or "emory" in str(error):  # liblzma: "Memory usage limit exceeded"
                raise self._limit() from error
            if isinstance(error, ZstdUnsupported):
                raise UnsupportedImage(str(error), path=self._source.name, offset=self.offset, hint="Decompress the file first") from error
            raise self._corrupt(f"damaged {self._codec} data ({error})") from error
        except MemoryError as error:
            raise self._limit() from error
        self.offset += len(data)
        self._input = min(2 * self._input, _MOST_INPUT)
        if stream.eof:
            self.offset -= len(stream.unused_data)
            self._stream = None
        return out

    def _begin(self) -> bool:
        """Begin the next stream; False at the end of the file.

        Zeros may follow gzip data up to the end of the file (tapes, block devices), and xz streams in fours.
        """
        padding = self._skip_zeros() if self.offset and self._codec in ("gzip", "xz") else 0
        magic = MAGIC[self._codec]
        following = self._source.read_at(self.offset, max(len(magic), 1))
        if self._codec == "xz" and padding % 4:
            raise self._corrupt("the padding behind the xz data is no multiple of four bytes")
        if self.offset and not following:
            return False
        if (self.offset and self._codec == "deflate") or not following.startswith(magic) or (self._codec == "gzip" and padding):
            where = "something else follows the end of the" if self.offset else "the file does not begin with"
            raise self._corrupt(f"{where} {self._codec} data")
        if self._codec == "gzip":
            self._require_short_header()
        self._input = _FIRST_INPUT
        self._stream = self._new_stream()
        return True

    def _skip_zeros(self) -> int:
        first = self.offset
        while True:
            data = self._source.read_at(self.offset, _MOST_INPUT)
            rest = data.lstrip(b"\0")
            self.offset += len(data) - len(rest)
            if rest or not data:
                return self.offset - first

    def _require_short_header(self) -> None:
        """zlib skips a name of any length; nobody needs one of megabytes."""
        for most in (KIB, _MAX_GZIP_HEADER):
            header = self._source.read_at(self.offset, most)
            if len(header) < most or _gzip_header_ends(header):
                return
        raise self._corrupt(f"the gzip header is longer than {_MAX_GZIP_HEADER} bytes")

    def state(self) -> State | None:
        """Where decoding is now, to come back to; None for a codec whose state cannot be copied."""
        if self._stream is None:
            return State(self.offset, None)
        if isinstance(self._stream, Gunzip):
            return State(self.offset - self._stream.backlog, self._stream.copy())
        return None

    def resume(self, state: State) -> None:
        """Go on at a state that this decoder gave."""
        self.offset = state.offset
        self._stream = state.stream.copy() if state.stream is not None else None
        self._input = _FIRST_INPUT

    def _corrupt(self, message: str) -> CorruptImage:
        return CorruptImage(message, path=self._source.name, offset=self.offset, hint="Fetch the file again")

    def _limit(self) -> LimitExceeded:
        text = f"the {self._codec} data needs more than {MAX_DECODER_MEMORY} bytes of memory to be decompressed"
        return LimitExceeded(text, path=self._source.name, offset=self.offset, hint="Compress it with a smaller dictionary")


class Gunzip:
    """zlib's decoder of one gzip member, with the interface that bz2, lzma and zstd have. And it can be copied."""

    def __init__(self, decoder: t.Any = None, needs_input: bool = True) -> None:
        self._decoder = decoder or deflate.fastest().decompressobj(31)  # 31: header, CRC and length are zlib's business
        self.needs_input = needs_input

    @property
    def eof(self) -> bool:
        return bool(self._decoder.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._decoder.unused_data)

    @property
    def backlog(self) -> int:
        """Bytes taken and not decoded yet."""
        return len(self._decoder.unconsumed_tail)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        out: bytes = self._decoder.decompress(data or self._decoder.unconsumed_tail, max_length)
        # When max_length was reached, there may be more inside zlib although all input is taken.
        self.needs_input = len(out) < max_length and not self._decoder.unconsumed_tail
        return out

    def copy(self) -> Gunzip:
        """The same state without the backlog, which has to be fed again."""
        return Gunzip(self._decoder.copy(), self.needs_input or self.backlog > 0)


def _factory(codec: str) -> tuple[t.Callable[[], t.Any], tuple[type[Exception], ...]]:
    """What makes the decoder of one stream, and the exceptions it raises for bad data."""
    if codec == "gzip":
        return Gunzip, (deflate.fastest().error,)
    if codec == "deflate":
        return lambda: Gunzip(deflate.fastest().decompressobj(-15)), (deflate.fastest().error,)
    if codec == "bzip2":
        return bz2.BZ2Decompressor, (OSError, ValueError)
    if codec == "xz":
        return lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, MAX_DECODER_MEMORY), (lzma.LZMAError,)
    return Decompressor, (ZstdError,)


def _gzip_header_ends(header: bytes) -> bool:
    """Whether the member header (RFC 1952, 2.3.1) ends inside these bytes."""
    flags, end = header[3], 10
    if flags & 4:  # FEXTRA
        end += 2 + int.from_bytes(header[10:12], "little")
    for flag in (8, 16):  # FNAME, FCOMMENT
        if flags & flag:
            end = header.find(b"\0", end) + 1
            if not end:
                return False
    return end <= len(header)
