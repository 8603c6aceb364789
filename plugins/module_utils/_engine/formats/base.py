# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The contracts of the formats: what a reader and a writer of a virtual disk are."""

from __future__ import annotations

import abc
import dataclasses
import typing as t

from .. import codecs
from ..errors import BusyError, CorruptImage, LimitExceeded, UnsupportedImage
from ..extents import COMPRESSED, DATA, Extent, fill_holes, merge
from ..limits import MAX_VIRTUAL_SIZE, SECTOR
from ..storage.base import Storage

if t.TYPE_CHECKING:  # pragma: no cover
    from ..identity import ContentIdentity
    from ..storage.sink import Sink
    from .chain import Files


@dataclasses.dataclass
class Reference:
    """Another file that an image names. Listed always, followed never unless the caller allows a folder."""

    role: str
    """``backing``, ``data_file``, ``extent`` or ``parent``"""
    name: str
    """as stored in the image"""
    format: str | None = None
    """the format that the image declares for it"""


@dataclasses.dataclass
class ImageInfo:
    """What an image says of itself, in qemu-img's words. All sizes in bytes."""

    format: str
    virtual_size: int
    subformat: str | None = None
    """variant of the format, in its own or qemu's words (``streamOptimized``, ``dynamic``, ``fixed`` …)"""
    cluster_size: int | None = None
    """the unit of allocation: cluster, grain, block"""
    compressed: bool | None = False
    """content is stored compressed; None: nothing is stored that could tell"""
    encrypted: bool = False
    dirty: bool = False
    """not closed cleanly by its last writer"""
    writer: str | None = None
    """the program that wrote the image, where the bytes show it"""
    snapshots: list[dict[str, t.Any]] = dataclasses.field(default_factory=list)
    references: list[Reference] = dataclasses.field(default_factory=list)
    format_specific: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    """what only this format has, by the specification's field names"""
    warnings: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class CheckResult:
    """What a structural check found, in the classes of ``qemu-img check``."""

    corruptions: list[str] = dataclasses.field(default_factory=list)
    """the guest would read wrong data"""
    leaks: list[str] = dataclasses.field(default_factory=list)
    """space that nothing uses"""

    @property
    def clean(self) -> bool:
        return not self.corruptions and not self.leaks


class Reader(abc.ABC):
    """An opened image: can be described, and unless ``unreadable_reason`` speaks, mapped and read.

    ``__init__(storage)`` reads the headers and checks them; it raises one of errors.py for anything that contradicts
    the specification or a limit. Tables are read when the extents are asked for.
    """

    format: str
    virtual_size: int
    """bytes that the guest sees"""
    parent: Reader | None = None
    """the image that shows through where this one has nothing, when it was followed"""
    followed: tuple[Storage, ...] = ()
    """the other files that the image and all below it were given, when they were followed; see chain.py"""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    @abc.abstractmethod
    def describe(self) -> ImageInfo:
        """What the image says of itself, from its headers alone."""

    def references(self) -> list[Reference]:
        """The other files that the image names."""
        return []

    def follow(self, files: Files) -> None:
        """Open the other files that the image names: the content can then be given, and ``unreadable_reason`` is silent.

        Does nothing where there are none, or where the content cannot be given even with them.

        :param files: opens them; see chain.py for what it raises
        :raises CorruptImage: a file is there, and not the one that the image means
        """

    def use_snapshot(self, name: str) -> None:
        """Show the disk as it was when an internal snapshot was taken; before anything of the content is read.

        ``virtual_size`` is then the snapshot's.

        :param name: the snapshot's name or id, as ``describe()`` lists them
        :raises InvalidImage: there is no such snapshot, or more than one
        :raises UnsupportedImage: the format has none
        """
        raise UnsupportedImage(f"{self.format} images have no internal snapshots", path=self.storage.name)

    def unreadable_reason(self) -> str | None:
        """Why the content cannot be given though the image can be described (encrypted, needs another file); or None."""
        return None

    @abc.abstractmethod
    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        """The guest range in rising order without gaps, in merged runs; by default all of the disk.

        Every host range has been checked to lie inside its storage: whoever has seen all extents knows that none of
        the data is missing.

        :param start: guest offset, bytes
        :param length: bytes; up to the end of the disk when None
        :raises CorruptImage: a table contradicts the specification or names bytes behind the end of the file
        :raises UnsupportedImage: ``unreadable_reason()`` is not None
        """

    def check(self) -> CheckResult:
        """Walk all structures. The general check visits every extent; formats with more to check add it."""
        result = CheckResult()
        try:
            for extent in self.extents():
                if extent.kind == COMPRESSED:
                    self.read_extent(extent)
        except CorruptImage as error:
            result.corruptions.append(str(error))
        return result

    def require_readable(self) -> None:
        """:raises UnsupportedImage: the content cannot be given"""
        reason = self.unreadable_reason()
        if reason is not None:
            names = self.references() and not self.followed
            hint = "Or allow the folder of the files that it names with the option references" if names else None
            raise UnsupportedImage(reason, path=self.storage.name, hint=hint)

    def range(self, start: int, length: int | None) -> tuple[int, int]:
        """Guest range (start, end) with the default filled in and bounded by the disk."""
        end = self.virtual_size if length is None else min(start + length, self.virtual_size)
        return start, max(start, end)

    def read_extent(self, extent: Extent) -> bytes:
        """The guest bytes of one extent that this reader gave (zeros included)."""
        if extent.kind == DATA:
            return _storage(extent).read_exact(extent.offset, extent.length, "data")
        if extent.kind == COMPRESSED:
            return read_compressed(extent)
        return bytes(extent.length)

    def read_at(self, offset: int, length: int) -> bytes:
        """Guest bytes; fewer than ``length`` only where the disk ends."""
        return b"".join(self.read_extent(extent) for extent in self.extents(offset, length))

    def over_parent(self, extents: t.Iterator[Extent], end: int) -> t.Iterator[Extent]:
        """Let the parent, where there is one, show through the holes of this image's own extents.

        :param extents: those of a guest range in order, clipped to it
        :param end: where that range ends (guest offset, bytes)
        """
        return extents if self.parent is None else merge(fill_holes(extents, self.parent.extents, min(end, self.parent.virtual_size)))

    def require_unchanged(self) -> None:
        """:raises BusyError: somebody has written to a file of the image since it was opened"""
        for storage in (self.storage, *self.followed):
            if storage.changed():
                raise BusyError("the file was changed while it was read", path=storage.name, hint="Convert it when nobody writes to it")

    def close(self) -> None:
        for storage in (self.storage, *self.followed):
            storage.close()


def _storage(extent: Extent) -> Storage:
    if extent.storage is None:
        raise AssertionError("an extent with data needs a storage")
    return extent.storage


def read_compressed(extent: Extent) -> bytes:
    """The guest bytes of a compressed extent.

    The stored range may be given generously (qcow2 counts in sectors) and run past the end of the file: what is there
    is read, and the stream itself tells where it ends.
    """
    storage, stored = _storage(extent), extent.stored
    if stored is None:
        raise AssertionError("a compressed extent needs its stored range")
    raw = storage.read_at(extent.offset, stored.length)
    data = codecs.decompress(stored.codec, raw, stored.unit, path=storage.name, offset=extent.offset)
    return data if extent.length == stored.unit else data[stored.skip : stored.skip + extent.length]


@dataclasses.dataclass(frozen=True)
class Target:
    """What is to be written; made by registry.target(), which knows the formats' variants, options and defaults."""

    format: str
    subformat: str | None = None
    compress: bool = False
    options: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    """creation options, qemu-img's ``-o`` names and values, with defaults filled in"""
    compressor: str = "zlib"
    """what deflates; see deflate.py. Only zlib's bytes are the same on every node"""


class Writer(abc.ABC):
    """Takes the content of a disk in rising guest order and leaves an image in a sink.

    The caller drops what reads as zeros; whatever is not written reads as zeros. It cuts the guest range at multiples
    of ``unit`` and writes either runs of whole units (``compresses`` false) or, through :meth:`encode`, one unit at a
    time. Only the disk's last unit may be short.

    Rule: the same content and options give the same bytes on every node. Identifiers come from the content
    (identity.py) or from an option, never from chance or the clock.
    """

    unit: int
    """guest bytes: zeros are dropped, and what is written is cut, in multiples of this"""
    compresses = False
    identity: ContentIdentity | None = None
    """set by formats that demand identifiers: the transfer then adds the fingerprint of each part before finish()"""

    def __init__(self, sink: Sink, virtual_size: int, target: Target) -> None:
        self.sink = sink
        self.virtual_size = virtual_size
        self.target = target

    def encode(self, data: t.Any) -> t.Any:
        """Prepare one unit (bytes-like; pad, compress). Pure: runs in any thread, in any order. Only used when ``compresses``."""
        return data

    @abc.abstractmethod
    def write(self, start: int, data: t.Any) -> None:
        """Store guest bytes.

        :param start: guest offset in bytes, a multiple of ``unit``, above all written before
        :param data: bytes-like of whole units; or what :meth:`encode` returned for one unit
        """

    def write_zeros(self, start: int, length: int) -> None:
        """Have a guest range read as zeros though the image below has something else there.

        Only of use to a writer whose image names a backing file.

        :param start: guest offset in bytes, a multiple of ``unit``, above all written before
        :param length: bytes; whole units, but for the disk's last
        """
        raise UnsupportedImage(f"{self.target.format} images are written without a backing file")

    @abc.abstractmethod
    def finish(self) -> None:
        """Write what is left (tables, headers, footers) and set the file's length."""


def check_virtual_size(size: int, path: str, maximum: int = MAX_VIRTUAL_SIZE) -> int:
    """:raises LimitExceeded: the declared guest size (bytes) is above what the format or the engine allows"""
    if size > maximum:
        raise LimitExceeded(f"the image declares a disk of {size} bytes; {maximum} is the most that is taken", path=path)
    return size


def whole_sectors(size: int) -> int:
    """The guest size rounded up to the 512-byte sectors that most formats count in."""
    return -(-size // SECTOR) * SECTOR
