# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""From a reader to a writer. Knows extents, never formats."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from ..errors import LimitExceeded
from ..extents import COMPRESSED, DATA, ZERO
from ..formats.base import Reader, Writer
from ..identity import fingerprint
from ..progress import Progress, silent
from .cells import Buffers, Cell, cells, differing, in_order, load, pairs, runs, thread_count


@dataclasses.dataclass
class Survey:
    """What a disk is made of by its image's own tables, in guest bytes (``stored``: bytes in the image)."""

    data: int = 0
    compressed: int = 0
    zero: int = 0
    hole: int = 0
    stored: int = 0

    @property
    def content(self) -> int:
        """Bytes that have to be read: what is not known to be zero"""
        return self.data + self.compressed


def survey(reader: Reader) -> Survey:
    """Walk all tables once: figures, and the certainty that every byte they name is there.

    :raises CorruptImage: a table contradicts the specification, or data is missing
    :raises UnsupportedImage: the content cannot be read
    """
    reader.require_readable()
    found = Survey()
    for extent in reader.extents():
        if extent.kind == DATA:
            found.data += extent.length
            found.stored += extent.length
        elif extent.kind == COMPRESSED:
            found.compressed += extent.length
            found.stored += extent.stored.length if extent.stored else 0
        elif extent.kind == ZERO:
            found.zero += extent.length
        else:
            found.hole += extent.length
    return found


def convert(
    reader: Reader,
    writer: Writer,
    *,
    base: Reader | None = None,
    found: Survey | None = None,
    progress: Progress = silent,
    threads: int | None = None,
) -> int:
    """Write the whole disk of ``reader`` with ``writer``.

    What reads as zeros is left out in multiples of the writer's unit, wherever it comes from: the same disk gives the
    same file. Reading, decoding, the search for zeros and compression run in threads; one thread writes.

    :param base: the image that shows through where nothing is written. Left out is then what is the same there, in
        multiples of the writer's unit, and zeros are written where ``base`` has something else. It may be shorter or longer
    :param found: the source's survey, if it was made already
    :param threads: None for one a processor; the result does not depend on it
    :return: guest bytes that were written
    :raises ImageError: whatever reader or writer find; the sink is then to be thrown away
    :raises BusyError: the source was changed meanwhile
    """
    total = (found or survey(reader)).content
    threads = thread_count() if threads is None else threads
    done = written = 0
    preparation = _Preparation(reader, writer) if base is None else _OverlayPreparation(reader, writer, base)
    progress("convert", 0, total)
    for cell in in_order(preparation.tasks(), threads):
        for start, payload, length in cell.pieces:
            if payload is None:
                writer.write_zeros(start, length)
            else:
                writer.write(start, payload)
                written += length
        if writer.identity is not None and cell.pieces:
            writer.identity.add(cell.fingerprint)
        preparation.buffers.give_back(cell.buffer)
        done += cell.content
        progress("convert", done, total)
    writer.finish()
    reader.require_unchanged()
    if base is not None:
        base.require_unchanged()
    return written


class _Prepared(t.NamedTuple):
    """A cell as the writer is to be given it."""

    pieces: list[tuple[int, t.Any, int]]
    """guest offset, payload (None: zeros that hide the base), guest bytes"""
    fingerprint: bytes
    content: int
    """guest bytes that were read for it"""
    buffer: bytearray


class _Preparation:
    """Makes the source's cells ready for the writer: what threads do, everything but the writing itself."""

    def __init__(self, reader: Reader, writer: Writer) -> None:
        self.reader = reader
        self.unit = writer.unit
        self.encode = writer.encode if writer.compresses else None
        self.identify = writer.identity is not None
        self.buffers = Buffers()

    def tasks(self) -> t.Iterator[t.Callable[[], _Prepared]]:
        """One task a cell. Storage that can only be read in order is read here, by the thread that hands out the tasks."""
        for cell in cells(self.reader):
            buffer = self.buffers.take()
            if self.reader.storage.sequential:
                load(cell, buffer)
                yield functools.partial(self._prepare, cell, buffer)
            else:
                yield functools.partial(self._load_and_prepare, cell, buffer)

    def _load_and_prepare(self, cell: Cell, buffer: bytearray) -> _Prepared:
        load(cell, buffer)
        return self._prepare(cell, buffer)

    def _prepare(self, cell: Cell, buffer: bytearray) -> _Prepared:
        unit = self.unit
        first, last = cell.extents[0].start - cell.start, cell.extents[-1].end - cell.start
        start = first - first % unit
        end = min(-(-last // unit) * unit, self.reader.virtual_size - cell.start)
        view = memoryview(buffer)
        full = [(cell.start + begin, view[begin:stop]) for begin, stop in runs(buffer, start, end, unit)]
        pieces = [piece for offset, data in full for piece in self._pieces(offset, data)]
        return _Prepared(pieces, fingerprint(full) if self.identify else b"", sum(extent.length for extent in cell.extents), buffer)

    def _pieces(self, offset: int, data: memoryview) -> list[tuple[int, t.Any, int]]:
        """A run of whole units (but for the disk's last) as the writer takes it."""
        unit, encode = self.unit, self.encode
        if encode is None:
            return [(offset, data, len(data))]
        return [(offset + at, encode(data[at : at + unit]), min(unit, len(data) - at)) for at in range(0, len(data), unit)]


class _OverlayPreparation(_Preparation):
    """Leaves out what an image below has, too."""

    def __init__(self, reader: Reader, writer: Writer, base: Reader) -> None:
        super().__init__(reader, writer)
        self.base = base
        self.size = writer.virtual_size
        """The base must not show through behind the source's end either, where the writer fills up a sector"""

    def tasks(self) -> t.Iterator[t.Callable[[], _Prepared]]:
        for start, cell, below in pairs(cells(self.reader), cells(self.base, 0, self.size)):
            own = cell or Cell(start, [])
            buffer = self.buffers.take()
            if self.reader.storage.sequential:
                load(own, buffer)
                yield functools.partial(self._compare, own, buffer, below)
            else:
                yield functools.partial(self._load_and_compare, own, buffer, below)

    def _load_and_compare(self, cell: Cell, buffer: bytearray, below: Cell | None) -> _Prepared:
        load(cell, buffer)
        return self._compare(cell, buffer, below)

    def _compare(self, cell: Cell, buffer: bytearray, below: Cell | None) -> _Prepared:
        other = self.buffers.take()
        load(below or Cell(cell.start, []), other)
        view = memoryview(buffer)
        pieces: list[tuple[int, t.Any, int]] = []
        end = min(len(buffer), self.size - cell.start)
        for begin, stop, zero in differing(buffer, other, 0, end, self.unit):
            if zero:
                pieces.append((cell.start + begin, None, stop - begin))
            else:
                pieces += self._pieces(cell.start + begin, view[begin:stop])
        self.buffers.give_back(other)
        return _Prepared(pieces, b"", sum(extent.length for extent in cell.extents), buffer)


def require_size(reader: Reader, maximum: int | None) -> None:
    """:raises LimitExceeded: the guest disk is larger than the caller allows (bytes)"""
    if maximum is not None and reader.virtual_size > maximum:
        raise LimitExceeded(f"the disk has {reader.virtual_size} bytes; at most {maximum} are allowed here", path=reader.storage.name)
