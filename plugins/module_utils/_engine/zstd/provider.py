# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What decompresses zstd on a node: Python itself, a package, the system's library, or else our own decoder.

All are given the same frames: the header is looked at here, so that the bounds and the errors are the same everywhere.
"""

from __future__ import annotations

import functools
import typing as t

from ..limits import MAX_DECODER_MEMORY
from . import decoder, native, package
from .frame import MAX_HEADER, Frame, ZstdError, parse_frame

_MOST_FRAMES = 64
"""in one unit: qemu writes one and reads any number"""


class Provider(t.NamedTuple):
    """A way to decompress."""

    name: str
    make: t.Callable[[], t.Any]
    """gives the decompressor of one frame, with the interface of the standard library's"""
    failure: type[Exception]
    """what it raises for damaged data"""


def providers() -> t.Iterator[Provider]:
    """What is there, the best first."""
    try:
        from compression import zstd  # Python 3.14
    except ImportError:
        pass
    else:
        yield Provider("compression.zstd", zstd.ZstdDecompressor, zstd.ZstdError)
    try:
        from backports import zstd
    except ImportError:
        pass
    else:
        yield Provider("backports.zstd", zstd.ZstdDecompressor, zstd.ZstdError)
    try:
        import zstandard
    except ImportError:
        pass
    else:
        tool = zstandard.ZstdDecompressor
        yield Provider("zstandard", lambda: package.Decompressor(tool(max_window_size=MAX_DECODER_MEMORY).decompressobj()), zstandard.ZstdError)
    library = native.load()
    if library is not None:
        yield Provider("libzstd", functools.partial(native.Decompressor, library), ZstdError)
    yield Provider("plain Python", decoder.Decompressor, ZstdError)


@functools.cache
def best() -> Provider:
    """The one that is used."""
    return next(providers())


class Decompressor:
    """Decompresses one frame, or skips a skippable one, in bounded pieces.

    :param provider: how; the best way when None
    """

    def __init__(self, provider: Provider | None = None) -> None:
        self._provider = provider or best()
        self._head = b""
        self._frame: Frame | None = None
        self._produced = 0
        self._inner: t.Any = None

    @property
    def eof(self) -> bool:
        """The frame ended, and all its content was given."""
        return self._inner is not None and bool(self._inner.eof)

    @property
    def needs_input(self) -> bool:
        return self._inner is None or bool(self._inner.needs_input)

    @property
    def unused_data(self) -> bytes:
        """What was fed and lies behind the frame."""
        return b"" if self._inner is None else bytes(self._inner.unused_data)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Up to ``max_length`` bytes of content.

        :param data: what follows all that was fed; only when ``needs_input``
        :raises ZstdError: the data is damaged
        :raises ZstdLimit: the window is above MAX_DECODER_MEMORY
        :raises ZstdUnsupported: a dictionary is needed
        """
        if self._inner is None:
            data = self._head + data
            self._frame = parse_frame(data[:MAX_HEADER])
            if self._frame is None:
                self._head = data
                return b""
            self._inner = self._provider.make()
        try:
            out = bytes(self._inner.decompress(data, max_length))
        except self._provider.failure as error:
            raise ZstdError(str(error)) from error
        self._produced += len(out)
        if self._frame and self._frame.content is not None and self._inner.eof and self._produced != self._frame.content:
            raise ZstdError("the content has not the size that the frame declares")  # libzstd overlooks it before an empty block
        return out


def decompress(data: bytes, unit: int, provider: Provider | None = None) -> bytes:
    """The content of the frames that the data begins with: ``unit`` bytes, or fewer.

    :param data: may go on behind the last frame that is needed
    :raises ZstdError: the data is damaged, or the frames hold more
    :raises ZstdLimit: a window is above MAX_DECODER_MEMORY
    :raises ZstdUnsupported: a dictionary is needed
    """
    out = b""
    for _number in range(_MOST_FRAMES):
        frame = Decompressor(provider)
        out += frame.decompress(data, unit - len(out))
        if not frame.eof and not frame.needs_input and frame.decompress(b"", 1):
            raise ZstdError(f"the content is longer than {unit} bytes")
        if not frame.eof:
            raise ZstdError("the data ends in the middle")
        data = frame.unused_data
        if len(out) == unit or not data:
            break
    return out
