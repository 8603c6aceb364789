# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Deflate by the standard library, or by packages that are faster where a node has them.

Decompression takes zlib-ng by itself: it accepts, refuses and gives what zlib does. ISA-L is not taken for it, as it
accepts damaged streams that zlib refuses. Compression gives other bytes with each of them, and is theirs only when
asked for by name. Sources: RFC 1950 (zlib), RFC 1951 (deflate); the documentation of python-isal and python-zlib-ng.
"""

from __future__ import annotations

import functools
import typing as t
import zlib

from .errors import UnsupportedImage
from .limits import KIB

COMPRESSORS = ("zlib", "isal", "zlib_ng")
"""names that :func:`compressor` knows; the first one is always there"""
_LEVELS = {"isal": 2, "zlib_ng": 3}
"""What stands for zlib's usual levels 5 and 6: disks become 4 to 10 % larger, ISA-L is about ten times and zlib-ng three times as fast"""


class _Library(t.NamedTuple):
    """A module with zlib's interface."""

    decompressobj: t.Callable[[int], t.Any]
    error: type[Exception]


_MOST_BEHIND = 64 * KIB
"""Bytes behind a unit that are looked at on the way to the checksum: a VMDK's grain"""

ZLIB = _Library(zlib.decompressobj, zlib.error)


@functools.cache
def fastest() -> _Library:
    """What decompresses as zlib does, in the shortest time."""
    try:
        from zlib_ng import zlib_ng
    except ImportError:
        return ZLIB
    return _Library(zlib_ng.decompressobj, t.cast("type[Exception]", zlib_ng.error))


def inflate(data: bytes, unit: int, wbits: int) -> bytes:
    """The ``unit`` bytes of a stream that the data begins with, or fewer where it holds fewer.

    It may hold more: the last grain of a VMDK may be filled up behind the disk's end. A checksum is always looked at, which
    zlib does only when all of the content has come out.

    :param wbits: as zlib has it: -15 for a raw stream, 15 for one with zlib's header and checksum
    :raises zlib.error: the stream is damaged
    """
    library = fastest()
    if library is not ZLIB:
        try:
            out = _inflate(library, data, unit, wbits)
            if len(out) == unit:
                return out
        except library.error:
            pass  # zlib has the last word
    return _inflate(ZLIB, data, unit, wbits)


def _inflate(library: _Library, data: bytes, unit: int, wbits: int) -> bytes:
    stream = library.decompressobj(wbits)
    if wbits < 0:
        raw: bytes = stream.decompress(data, unit)
        return raw
    out: bytes = stream.decompress(data, unit + 1)
    more = len(out) - unit
    while not stream.eof and 0 < more <= _MOST_BEHIND:
        surplus = stream.decompress(stream.unconsumed_tail, _MOST_BEHIND)
        if not surplus and not stream.eof:
            break
        more += len(surplus)
    if len(out) >= unit and not stream.eof:
        raise library.error("incomplete stream, without its checksum" if more <= _MOST_BEHIND else "the stream goes on behind the unit")
    return out[:unit]


def compressor(name: str, level: int, wbits: int) -> t.Callable[[t.Any], bytes]:
    """What compresses one bytes-like unit, in any thread.

    :param name: one of COMPRESSORS. Only zlib's bytes are the same on every node
    :param level: zlib's; the others have one of their own that comes near to it
    :param wbits: as zlib has it: -12 for a raw stream with a window of 4 KiB, 15 for one with zlib's header and checksum
    :raises UnsupportedImage: there is no such compressor, or this Python does not have it
    """
    if name not in COMPRESSORS:
        raise UnsupportedImage(f"no compressor is called {name!r} (there are: {', '.join(COMPRESSORS)})")
    make: t.Any = zlib.compressobj
    try:
        if name == "isal":
            from isal import isal_zlib

            make = isal_zlib.compressobj
        elif name == "zlib_ng":
            from zlib_ng import zlib_ng

            make = zlib_ng.compressobj
    except ImportError:
        package = name.replace("_", "-")
        raise UnsupportedImage(f"the compressor {name} needs the Python package {package} on this node", hint=f"Install {package}, or use zlib") from None
    own = _LEVELS.get(name, level)

    def compress(data: t.Any) -> bytes:
        packer = make(own, zlib.DEFLATED, wbits)
        packed: bytes = packer.compress(data) + packer.flush()
        return packed

    return compress
