# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The system's libzstd through ctypes. Sources: zstd.h of libzstd 1.4 to 1.5 ("Explicit context", "Streaming decompression").

Nearly every Linux has the library, as package managers and systemd use it. ctypes lets other threads run meanwhile.
"""

from __future__ import annotations

import functools
import threading
import typing as t

from ..limits import KIB, MAX_DECODER_MEMORY
from .frame import ZstdError

_NAME = "libzstd.so.1"
_WINDOW_LOG_MAX = 100
"""ZSTD_d_windowLogMax of zstd.h's ZSTD_dParameter"""
_STEP = 256 * KIB
"""most bytes asked for in one call: buffers are allocated before it is known what comes"""


class _Library:
    """The functions that are used, with their types."""

    def __init__(self) -> None:
        import ctypes

        self.ctypes = ctypes
        library = ctypes.CDLL(_NAME)
        size, pointer = ctypes.c_size_t, ctypes.c_void_p

        class Buffer(ctypes.Structure):
            """ZSTD_inBuffer and ZSTD_outBuffer"""

            _fields_ = [("place", pointer), ("size", size), ("pos", size)]

        self.Buffer = Buffer

        def function(name: str, result: t.Any, *arguments: t.Any) -> t.Any:
            found = getattr(library, name)
            found.restype, found.argtypes = result, arguments
            return found

        reference = ctypes.POINTER(Buffer)
        self.is_error = function("ZSTD_isError", ctypes.c_uint, size)
        self.error_name = function("ZSTD_getErrorName", ctypes.c_char_p, size)
        self.bound = function("ZSTD_compressBound", size, size)
        self.create_cctx = function("ZSTD_createCCtx", pointer)
        self.free_cctx = function("ZSTD_freeCCtx", size, pointer)
        self.compress = function("ZSTD_compressCCtx", size, pointer, pointer, size, ctypes.c_char_p, size, ctypes.c_int)
        self.create_dctx = function("ZSTD_createDCtx", pointer)
        self.free_dctx = function("ZSTD_freeDCtx", size, pointer)
        self.set_parameter = function("ZSTD_DCtx_setParameter", size, pointer, ctypes.c_int, ctypes.c_int)
        self.decompress = function("ZSTD_decompressStream", size, pointer, reference, reference)

    def checked(self, result: int) -> int:
        """:raises ZstdError: the library reports an error"""
        if self.is_error(result):
            raise ZstdError(self.error_name(result).decode("ascii", "replace"))
        return result


@functools.cache
def load() -> _Library | None:
    """The library; None where it, a function of it or ctypes is missing."""
    try:
        return _Library()
    except (ImportError, OSError, AttributeError):
        return None


class _Context:
    """A context of the library that is freed with its owner."""

    def __init__(self, create: t.Callable[[], int | None], free: t.Callable[[int], int]) -> None:
        place = create()
        if not place:
            raise MemoryError("libzstd has no memory for a context")
        self.place = place
        self._free = free

    def __del__(self) -> None:
        if hasattr(self, "_free"):
            self._free(self.place)


_own = threading.local()
"""each thread's compression context: to make one takes longer than to compress a cluster"""


def compress(library: _Library, data: bytes, level: int) -> bytes:
    """One frame with its content's size and no checksum."""
    context: _Context | None = getattr(_own, "context", None)
    if context is None:
        context = _own.context = _Context(library.create_cctx, library.free_cctx)
    most = library.bound(len(data))
    out = bytearray(most)
    place = (library.ctypes.c_char * most).from_buffer(out)
    length = library.checked(library.compress(context.place, place, most, data, len(data), level))
    return bytes(memoryview(out)[:length])


class Decompressor:
    """One frame, with the interface of the standard library's ZstdDecompressor."""

    def __init__(self, library: _Library) -> None:
        self._library = library
        self._context = _Context(library.create_dctx, library.free_dctx)
        library.checked(library.set_parameter(self._context.place, _WINDOW_LOG_MAX, MAX_DECODER_MEMORY.bit_length() - 1))
        self._input = b""
        self._at = 0
        self.eof = False
        self.needs_input = True

    @property
    def unused_data(self) -> bytes:
        return self._input[self._at :] if self.eof else b""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Up to ``max_length`` bytes.

        :raises ZstdError: the data is damaged
        """
        library, ctypes = self._library, self._library.ctypes
        self._input = self._input[self._at :] + data
        self._at = 0
        source = library.Buffer(ctypes.cast(ctypes.c_char_p(self._input), ctypes.c_void_p), len(self._input), 0)
        parts = []
        missing = max_length
        while True:
            step = min(missing, _STEP)
            out = bytearray(max(step, 1))
            target = library.Buffer(ctypes.addressof((ctypes.c_char * len(out)).from_buffer(out)), step, 0)
            left = library.checked(library.decompress(self._context.place, target, source))
            if target.pos:
                parts.append(out[: target.pos] if target.pos < len(out) else out)
            missing -= target.pos
            self._at = source.pos
            self.eof = left == 0
            if self.eof or not missing or target.pos < step:
                break
        self.needs_input = not self.eof and missing > 0
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
