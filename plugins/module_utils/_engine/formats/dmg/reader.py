# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Reads Apple's disk images (UDIF, .dmg). See layout.py for the source of the rules."""

from __future__ import annotations

import bisect
import collections
import threading
import typing as t
import uuid
import zlib

from ... import codecs
from ...errors import CorruptImage, InvalidImage, UnsupportedImage, printable
from ...extents import COMPRESSED, DATA, HOLE, Extent, Stored, merge
from ...extents import ZERO as ZERO_KIND
from ...limits import MIB, SECTOR
from ...storage.base import Storage
from ...structure import Fields
from ..base import CheckResult, ImageInfo, Reader, check_virtual_size
from . import layout
from .chunks import Chunk, Table, in_order, read_tables, types
from .crc import append_zeros

SMALL_CHUNK = 2 * MIB
"""Chunks up to this are decompressed by whoever reads them. Larger ones would be, again and again, for each piece of the
disk that is read (transfer/cells.py), by many threads at once."""
_PIECE = 1 * MIB


class DmgReader(Reader):
    """An Apple disk image. What is compressed with LZFSE, in several segments or described by a resource fork alone is only described.

    :raises InvalidImage: no trailer at the end of the file
    :raises CorruptImage: the trailer or a table contradicts itself or the size of the file
    :raises LimitExceeded: the disk, the property list or a chunk is too large
    """

    format = "dmg"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self._trailer = trailer = _read_trailer(storage)
        self.virtual_size = check_virtual_size(trailer.sector_count * SECTOR, storage.name)
        self._tables: list[Table] = []
        if trailer.xml_length and trailer.segment_count < 2:
            self._tables = read_tables(storage, trailer, storage.size - layout.TRAILER.size)
        elif not trailer.xml_length and not trailer.rsrc_fork_length:
            raise CorruptImage("the disk image has neither a property list nor a resource fork: nothing tells where its data lies", path=storage.name)
        self._chunks = in_order(self._tables)
        self._types = types(self._chunks)
        self._large = LargeChunks(storage, self._chunks, self.virtual_size)

    def describe(self) -> ImageInfo:
        trailer = self._trailer
        names = {layout.NAMES.get(kind, f"{kind:#010x}"): count for kind, count in self._types.items()}
        used = max((name for name in names if name in layout.SUBFORMATS), key=lambda name: names[name], default=None)
        info = ImageInfo(
            self.format,
            self.virtual_size,
            subformat=layout.SUBFORMATS[used] if used else "UDRO" if self._chunks else None,
            compressed=used is not None if self._chunks else None,
        )
        info.format_specific = {
            "flags": trailer.flags,
            "image_variant": trailer.image_variant,
            "segment_number": trailer.segment_number,
            "segment_count": trailer.segment_count,
            "segment_id": str(uuid.UUID(bytes=trailer.segment_id)),
            "master_checksum": _checksum(trailer, "master_checksum"),
            "data_checksum": _checksum(trailer, "data_checksum"),
            "chunks": names,
            "partitions": [
                {"name": printable(table.name), "start": table.header.sector_number * SECTOR, "length": table.header.sector_count * SECTOR}
                for table in self._tables
            ],
        }
        return info

    def unreadable_reason(self) -> str | None:
        if self._trailer.segment_count > 1:
            return f"this is one of the {self._trailer.segment_count} segments of a disk image; join them first (hdiutil convert on macOS does)"
        if not self._trailer.xml_length:
            return "the tables of the disk image lie in a resource fork only, as before macOS 10.2; convert it first (hdiutil on macOS or qemu-img does)"
        unknown = [layout.NAMES.get(kind, f"{kind:#010x}") for kind in self._types if kind not in layout.CODECS and kind not in (0, 1, 2)]
        if unknown == ["lzfse"]:
            return "the disk image is compressed with LZFSE, which is not supported; convert it first (hdiutil convert -format UDZO on macOS, or 7z, does)"
        if unknown:
            return f"the disk image has chunks of a type that is not supported ({', '.join(unknown)}); convert it first (hdiutil convert on macOS does)"
        return None

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        self.require_readable()
        start, end = self.range(start, length)
        if start < end:
            yield from merge(extent.clip(start, end) for extent in self._runs(start, end))

    def _runs(self, start: int, end: int) -> t.Iterator[Extent]:
        for index in range(_index(self._chunks, start), len(self._chunks)):
            chunk = self._chunks[index]
            if chunk.start >= end:
                return
            if not chunk.is_stored:
                yield Extent(chunk.start, chunk.length, HOLE if chunk.type == layout.IGNORE else ZERO_KIND)
            elif chunk.type == layout.RAW:
                yield Extent(chunk.start, chunk.length, DATA, self.storage, chunk.offset)
            elif max(chunk.length, chunk.stored) > SMALL_CHUNK:
                yield Extent(chunk.start, chunk.length, DATA, self._large, chunk.start)
            else:
                stored = Stored(layout.CODECS[chunk.type], chunk.stored, chunk.length, 0)
                yield Extent(chunk.start, chunk.length, COMPRESSED, self.storage, chunk.offset, stored)

    def check(self) -> CheckResult:
        """Decompress everything and compare with the checksums that the image has."""
        self.require_readable()
        result = CheckResult()
        trailer = self._trailer
        sums = b""
        for table in self._tables:
            try:
                found = self._crc(table)
            except CorruptImage as error:
                result.corruptions.append(str(error))
                continue
            sums += table.header.checksum[:4]
            if table.header.checksum_type == layout.CRC32 and table.header.checksum[:4] != found.to_bytes(4, "big"):
                result.corruptions.append(f"the checksum of {printable(table.name) or 'a block table'} is wrong")
        if trailer.master_checksum_type == layout.CRC32 and trailer.master_checksum[:4] != zlib.crc32(sums).to_bytes(4, "big"):
            result.corruptions.append("the checksum of the checksums (in the trailer) is wrong")
        if trailer.data_checksum_type == layout.CRC32 and trailer.data_checksum[:4] != self._data_crc().to_bytes(4, "big"):
            result.corruptions.append("the checksum of the stored data is wrong")
        return result

    def _crc(self, table: Table) -> int:
        """Of a table's content; sectors to be ignored do not count."""
        crc = 0
        for chunk in table.chunks:
            if chunk.type == layout.ZERO:
                crc = append_zeros(crc, chunk.length)
            elif chunk.is_stored:
                for at in range(chunk.start, chunk.end, _PIECE if chunk.type == layout.RAW else chunk.length):
                    piece = _PIECE if chunk.type == layout.RAW else chunk.length
                    crc = zlib.crc32(self.read_at(at, min(piece, chunk.end - at)), crc)
        return crc

    def _data_crc(self) -> int:
        crc = 0
        first = self._trailer.data_fork_offset
        for at in range(first, first + self._trailer.data_fork_length, _PIECE):
            crc = zlib.crc32(self.storage.read_exact(at, min(_PIECE, first + self._trailer.data_fork_length - at), "data fork"), crc)
        return crc


class LargeChunks(Storage):
    """The content of large compressed chunks, by guest offset. One at a time is decompressed, and the last two are kept.

    So memory is bounded however many threads read.
    """

    def __init__(self, storage: Storage, chunks: list[Chunk], size: int) -> None:
        self.name = storage.name
        self.size = size
        self._storage = storage
        self._chunks = chunks
        self._lock = threading.Lock()
        self._kept: collections.deque[tuple[int, bytes]] = collections.deque(maxlen=2)

    def read_at(self, offset: int, length: int) -> bytes:
        parts = []
        index = _index(self._chunks, offset)
        while length > 0 and index < len(self._chunks):
            chunk = self._chunks[index]
            parts.append(self._content(index)[offset - chunk.start : offset - chunk.start + length])
            offset += len(parts[-1])
            length -= len(parts[-1])
            index += 1
        return b"".join(parts)

    def _content(self, index: int) -> bytes:
        with self._lock:
            found = next((data for kept, data in self._kept if kept == index), None)
            if found is None:
                chunk = self._chunks[index]
                raw = self._storage.read_exact(chunk.offset, chunk.stored, "chunk")
                if len(self._kept) == self._kept.maxlen:
                    self._kept.popleft()  # before the next one is made
                found = codecs.decompress(layout.CODECS[chunk.type], raw, chunk.length, path=self.name, offset=chunk.offset)
                self._kept.append((index, found))
            return found


def _index(chunks: list[Chunk], offset: int) -> int:
    """Number of the chunk that holds a guest offset."""
    return max(0, bisect.bisect_right(chunks, (offset + 1,)) - 1)


def _read_trailer(storage: Storage) -> Fields:
    at = storage.size - layout.TRAILER.size
    raw = storage.read_at(max(0, at), layout.TRAILER.size)
    if at < 0 or not raw.startswith(layout.SIGNATURE):
        raise InvalidImage("not an Apple disk image (UDIF): no trailer at the end of the file", path=storage.name)
    trailer = layout.TRAILER.unpack(raw)
    if trailer.version != layout.VERSION or trailer.header_size != layout.TRAILER.size:
        raise UnsupportedImage(f"version {trailer.version} of the UDIF trailer is not known", path=storage.name, offset=at)
    for name in ("data_fork", "rsrc_fork", "xml"):
        if trailer[f"{name}_offset"] + trailer[f"{name}_length"] > at:
            raise CorruptImage(f"a part of the disk image ({name}) does not end before the trailer", path=storage.name, offset=at)
    return trailer


def _checksum(trailer: Fields, name: str) -> str | None:
    if trailer[f"{name}_type"] != layout.CRC32:
        return None
    return f"crc32:{trailer[name][:4].hex()}"
