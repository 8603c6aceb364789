# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Ramdisks: what they are packed in, and which drivers they bring.

Sources: Linux, Documentation/driver-api/early-userspace/buffer-format.rst and arch/x86/microcode.rst (an archive that is not packed
may stand before the others); initramfs-tools(8), dracut(8) and mkinitcpio(8) for where modules lie.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import CorruptImage, ImageError, LimitExceeded, UnsupportedImage
from ..limits import MIB
from ..storage.base import Storage
from . import cpio, unpack

MAX_CONTENT = 512 * MIB
"""unpacked bytes that are looked through; a ramdisk of everything Ubuntu has comes to 300 MiB"""
MAX_SEGMENTS = 16
_MODULE_ENDS = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")
_HEAD = 16


@dataclasses.dataclass(frozen=True)
class Initramfs:
    """How a ramdisk is packed."""

    compression: str | None
    """of its main part: ``gzip``, ``xz``, ``zstd``, ``lz4``, ``bzip2``, ``lzma`` or ``lzo``; None: it is not packed"""
    early: bool
    """archives that are not packed stand before the main part, with microcode or with modules that are packed one by one"""


@dataclasses.dataclass(frozen=True)
class Modules:
    """The kernel modules in a ramdisk."""

    names: frozenset[str]
    """as ``lsmod`` shows them: ``virtio_blk``"""
    complete: bool
    """all of it was looked through; or else it may have more"""
    reason: str | None
    """why not"""


def identify_initramfs(storage: Storage) -> Initramfs | None:
    """How a ramdisk is packed; None when it is none. Old images of file systems (initrd) are not meant.

    What only is packed is taken for a ramdisk when a cpio archive is in it, as far as it can be unpacked here.

    :raises ImageError: the storage cannot be read
    """
    segments = []
    try:
        for segment in _segments(storage):
            segments.append(segment)
    except (CorruptImage, LimitExceeded):  # the kernel takes what stands before the damage
        pass
    if not segments or (len(segments) == 1 and segments[0].compression is not None and not _holds_archive(storage, segments[0])):
        return None
    return Initramfs(segments[-1].compression, len(segments) > 1)


def find_modules(storage: Storage, wanted: t.Collection[str]) -> Modules:
    """The kernel modules in a ramdisk, all of them or until those that are wanted are found.

    :param wanted: module names; everything is looked through when there are none
    """
    found: set[str] = set()
    try:
        for segment in _segments(storage):
            if segment.compression is not None and segment.compression not in unpack.READABLE:
                raise UnsupportedImage(f"{segment.compression} compression is not read")
            for name in _names(storage, segment):
                module = module_name(name.decode("utf-8", "replace"))
                if module is not None:
                    found.add(module)
                    if wanted and found.issuperset(wanted):
                        return Modules(frozenset(found), False, "all that was looked for has been found")
    except ImageError as error:
        return Modules(frozenset(found), False, error.message)
    return Modules(frozenset(found), True, None)


def module_name(path: str) -> str | None:
    """The module that a file is, by its name: ``usr/lib/modules/V/kernel/drivers/block/virtio_blk.ko.xz`` is ``virtio_blk``; None for all else."""
    base = path.rpartition("/")[2]
    end = next((end for end in _MODULE_ENDS if base.endswith(end)), None)
    return None if end is None else base[: -len(end)].replace("-", "_")


class _Segment(t.NamedTuple):
    offset: int
    compression: str | None


def _segments(storage: Storage) -> t.Iterator[_Segment]:
    """Where the parts begin: archives that are not packed, and a last one that may be. Zeros stand between them.

    What follows a packed part is not looked for: where that ends is only known when all of it was unpacked.
    """
    offset = 0
    for _number in range(MAX_SEGMENTS):
        offset = _behind_zeros(storage, offset)
        head = storage.read_at(offset, _HEAD)
        if head.startswith(cpio.MAGICS):
            yield _Segment(offset, None)
            stream = _Window(storage, offset)
            for _name in cpio.names(stream, storage.name):
                pass
            offset = stream.offset
            continue
        compression = unpack.compression_of(head)
        if compression is not None:
            yield _Segment(offset, compression)
        elif head:
            raise CorruptImage("something that is no archive follows in the ramdisk", path=storage.name, offset=offset)
        return


def _names(storage: Storage, segment: _Segment) -> t.Iterator[bytes]:
    """The names of a segment; what is packed may hold several archives with zeros between them."""
    if segment.compression is None:
        yield from cpio.names(_Window(storage, segment.offset), storage.name)
        return
    stream = _Pieces(unpack.pieces(storage, segment.offset, segment.compression))
    while stream.skip_zeros():
        yield from cpio.names(stream, storage.name)


def _holds_archive(storage: Storage, segment: _Segment) -> bool:
    if segment.compression not in unpack.READABLE:
        return True
    try:
        # No more than is looked at: another archive may follow a short one, which is none of the decoder's.
        first = next(unpack.pieces(storage, segment.offset, segment.compression, len(cpio.MAGICS[0])), b"")
    except LimitExceeded:
        return True
    except CorruptImage:
        return False
    return first.startswith(cpio.MAGICS)


def _behind_zeros(storage: Storage, offset: int) -> int:
    while offset < storage.size:
        data = storage.read_at(offset, unpack.PIECE)
        rest = data.lstrip(b"\0")
        offset += len(data) - len(rest)
        if rest or not data:
            break
    return offset


class _Window:
    """A part that is not packed: what nobody wants is not even read."""

    def __init__(self, storage: Storage, offset: int) -> None:
        self._storage = storage
        self._start = offset
        self.offset = offset

    @property
    def position(self) -> int:
        return self.offset - self._start

    def read(self, length: int) -> bytes:
        data = self._storage.read_at(self.offset, length)
        self.offset += len(data)
        return data

    def skip(self, length: int) -> None:
        self.offset = min(self.offset + length, self._storage.size)


class _Pieces:
    """A part that is unpacked as it is read."""

    def __init__(self, pieces: t.Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._at = 0
        self._done = 0

    @property
    def position(self) -> int:
        return self._done

    def read(self, length: int) -> bytes:
        parts = []
        while length and (self._at < len(self._piece) or self._next()):
            data = self._piece[self._at : self._at + length]
            self._advance(len(data))
            length -= len(data)
            parts.append(data)
        return b"".join(parts)

    def skip(self, length: int) -> None:
        while length and (self._at < len(self._piece) or self._next()):
            step = min(length, len(self._piece) - self._at)
            self._advance(step)
            length -= step

    def skip_zeros(self) -> bool:
        """Pass over zeros; False at the end."""
        while self._at < len(self._piece) or self._next():
            rest = self._piece[self._at :].lstrip(b"\0")
            self._advance(len(self._piece) - self._at - len(rest))
            if rest:
                return True
        return False

    def _advance(self, length: int) -> None:
        self._at += length
        self._done += length

    def _next(self) -> bool:
        """The next piece; False at the end.

        :raises LimitExceeded: MAX_CONTENT bytes have been looked through
        """
        if self._done > MAX_CONTENT:
            raise LimitExceeded(f"only its first {MAX_CONTENT} bytes are looked through")
        self._piece = next(self._pieces, b"")
        self._at = 0
        return bool(self._piece)
