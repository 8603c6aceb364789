# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Writing streamOptimized as vSphere and ovftool write and import it.

Source: VMware, "Virtual Disk Format 5.0", section "Stream-Optimized Compressed Sparse Extents". ESXi refuses a header
below version 3; strict readers want the markers and the footer.
"""

from __future__ import annotations

import array
import typing as t

from ...codecs import compressor
from ...identity import ContentIdentity
from ...limits import MIB, SECTOR
from ..base import Target, Writer, whole_sectors
from . import descriptor, layout
from .sparse_writer import capacity, check_room
from .tables import little_endian

if t.TYPE_CHECKING:  # pragma: no cover
    from ...storage.sink import Sink

_OVER_HEAD = 128
"""sectors in front of the first grain"""
_LEVEL, _WINDOW = 6, 15
_SIZE = layout.GRAIN_MARKER.size - 8
"""bytes of a grain marker's second field, which encode() fills in"""


class StreamOptimizedWriter(Writer):
    """Compressed grains in guest order, each table behind its grains, then the directory, footer and end-of-stream marker.

    Grains that are not written have no entry, tables without grains are not there. Only the descriptor is written out of
    order, at the end: its identifiers come from the content.
    """

    unit = layout.GRAIN * SECTOR
    identity: ContentIdentity
    compresses = True

    def __init__(self, sink: Sink, virtual_size: int, target: Target) -> None:
        super().__init__(sink, whole_sectors(virtual_size), target)
        self._options = descriptor.Options.of(target)
        self.identity = ContentIdentity("vmdk streamOptimized", self.virtual_size)
        self._compress = compressor(target.compressor, _LEVEL, _WINDOW)
        self._sectors = capacity(self.virtual_size)
        self._directory = array.array("I", bytes(4 * -(-self._sectors // (layout.GRAIN * layout.GTES_PER_GT))))
        self._table = array.array("I", bytes(layout.GT_BYTES))
        self._table_index = 0
        self._end = _OVER_HEAD  # sector behind all that was appended
        self._pending: list[bytes] = []
        self._pending_size = 0

    def encode(self, data: t.Any) -> bytes:
        """The grain without its place: size, zlib stream, zeros up to a whole sector (counted with the missing 8 bytes).

        A disk's short last grain is filled up with zeros: not every reader takes a short one.
        """
        packed = self._compress(data if len(data) == self.unit else bytes(data) + bytes(self.unit - len(data)))
        return len(packed).to_bytes(_SIZE, "little") + packed + bytes(-(len(packed) + layout.GRAIN_MARKER.size) % SECTOR)

    def write(self, start: int, data: t.Any) -> None:
        index, slot = divmod(start // self.unit, layout.GTES_PER_GT)
        if index != self._table_index:
            self._flush_table()
            self._table_index = index
        self._table[slot] = self._end
        self._append((start // SECTOR).to_bytes(8, "little") + data)

    def _append(self, data: bytes) -> None:
        """Add whole sectors; one system call for each MiB, not for each grain."""
        self._pending.append(data)
        self._pending_size += len(data)
        self._end += len(data) // SECTOR
        check_room(self._end)
        if self._pending_size >= MIB:
            self._flush_pending()

    def _flush_pending(self) -> None:
        data = b"".join(self._pending)
        self.sink.write_at(self._end * SECTOR - len(data), data)
        self._pending, self._pending_size = [], 0

    def _append_marked(self, kind: int, data: bytes) -> int:
        """Add a marker and the metadata that it announces; the sector of the latter."""
        data = descriptor.pad(data)
        self._append(descriptor.pad(layout.MARKER.pack(val=len(data) // SECTOR, size=0, type=kind)) + data)
        return self._end - len(data) // SECTOR

    def _flush_table(self) -> None:
        """Add the table of the grains so far; what comes belongs to a later one."""
        if any(self._table):
            self._directory[self._table_index] = self._append_marked(layout.MARKER_GT, little_endian(self._table.tobytes()).tobytes())
            self._table = array.array("I", bytes(layout.GT_BYTES))

    def finish(self) -> None:
        self._flush_table()
        directory = self._append_marked(layout.MARKER_GD, little_endian(self._directory.tobytes()).tobytes())
        text = descriptor.pad(descriptor.build("streamOptimized", self._sectors, self._options, self.identity))
        self._append_marked(layout.MARKER_FOOTER, self._header(directory, len(text)))
        self._append_marked(layout.MARKER_EOS, b"")
        self._flush_pending()
        self.sink.write_at(0, descriptor.pad(self._header(layout.GD_AT_END, len(text))) + text)
        self.sink.truncate(self._end * SECTOR)

    def _header(self, directory: int, descriptor_length: int) -> bytes:
        return layout.SPARSE_EXTENT_HEADER.pack(
            magicNumber=layout.MAGIC,
            version=3,
            flags=layout.FLAG_NEWLINE_TEST | layout.FLAG_COMPRESSED | layout.FLAG_MARKERS,
            capacity=self._sectors,
            grainSize=layout.GRAIN,
            descriptorOffset=1,
            descriptorSize=descriptor_length // SECTOR,
            numGTEsPerGT=layout.GTES_PER_GT,
            rgdOffset=0,
            gdOffset=directory,
            overHead=_OVER_HEAD,
            uncleanShutdown=0,
            endLineChars=layout.END_LINE_CHARS,
            compressAlgorithm=layout.COMPRESSION_DEFLATE,
        )
