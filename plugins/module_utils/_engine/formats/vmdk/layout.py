# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The hosted sparse extent of VMDK on disk.

Source: VMware, "Virtual Disk Format 5.0", sections "Hosted Sparse Extents" and "Stream-Optimized Compressed Sparse
Extents". Little endian; offsets and sizes are in sectors of 512 bytes.
"""

from __future__ import annotations

import dataclasses

from ...errors import CorruptImage, InvalidImage, LimitExceeded, UnsupportedImage
from ...limits import MAX_DESCRIPTOR, MAX_TABLE, MIB, SECTOR
from ...storage.base import Storage
from ...structure import Fields, Structure
from ..base import check_virtual_size

MAGIC = b"KDMV"

SPARSE_EXTENT_HEADER = Structure(
    "<",
    ("magicNumber", "4s"),
    ("version", "I"),
    ("flags", "I"),
    ("capacity", "Q"),
    ("grainSize", "Q"),
    ("descriptorOffset", "Q"),
    ("descriptorSize", "Q"),
    ("numGTEsPerGT", "I"),
    ("rgdOffset", "Q"),
    ("gdOffset", "Q"),
    ("overHead", "Q"),
    ("uncleanShutdown", "B"),
    ("endLineChars", "4s"),  # singleEndLineChar, nonEndLineChar, doubleEndLineChar1, doubleEndLineChar2
    ("compressAlgorithm", "H"),
)
GRAIN_MARKER = Structure("<", ("lba", "Q"), ("size", "I"))
MARKER = Structure("<", ("val", "Q"), ("size", "I"), ("type", "I"))

FLAG_NEWLINE_TEST = 1 << 0
FLAG_REDUNDANT = 1 << 1
FLAG_ZEROED_GRAIN = 1 << 2
FLAG_COMPRESSED = 1 << 16
FLAG_MARKERS = 1 << 17
INCOMPATIBLE = 0xFFFF0000
"""flags that a reader must know"""

END_LINE_CHARS = b"\n \r\n"
GD_AT_END = 0xFFFFFFFFFFFFFFFF
COMPRESSION_DEFLATE = 1
MARKER_EOS, MARKER_GT, MARKER_GD, MARKER_FOOTER = range(4)

GTES_PER_GT = 512
GT_BYTES = GTES_PER_GT * 4
GT_SECTORS = GT_BYTES // SECTOR
GTE_ZEROED = 1

GRAIN = 128
"""sectors: the grain size that all known writers use"""
MAX_GRAIN = 4096
"""sectors (2 MiB): a compressed grain is decompressed in one piece"""
MAX_SECTORS = 1 << 32
"""a table entry has 32 bits: nothing can be stored behind this sector of the file"""

_MAX_PADDING = 1 * MIB
"""zeros accepted behind the end-of-stream marker: archives and block devices pad"""


@dataclasses.dataclass(frozen=True)
class Header:
    """What the header of a sparse extent says, checked. Sizes and offsets in sectors."""

    version: int
    flags: int
    capacity: int
    """0 where the header only carries a descriptor"""
    grain_size: int
    descriptor_offset: int
    """0 where there is no embedded descriptor"""
    descriptor_size: int
    rgd_offset: int
    """0 where there is no redundant grain directory"""
    gd_offset: int
    """where it really is: from the footer, if there is one"""
    over_head: int
    unclean_shutdown: bool
    compressed: bool
    footer: bool
    """the grain directory is behind the grains, and a footer says where"""

    @property
    def grain(self) -> int:
        """Bytes of a grain."""
        return self.grain_size * SECTOR

    @property
    def tables(self) -> int:
        """Number of grain tables, that is of entries of the grain directory."""
        return -(-self.capacity // (self.grain_size * GTES_PER_GT))

    @property
    def first_table(self) -> int:
        """The lowest sector where a table can be: behind the header and the descriptor."""
        return max(1, self.descriptor_offset + self.descriptor_size)

    @property
    def first_grain(self) -> int:
        """The lowest sector where a grain can be: behind all the metadata where that is in front."""
        return self.over_head if self.gd_offset < self.over_head else self.first_table


def read_header(storage: Storage) -> Header:
    """Read and check the header, and the footer where the header points to it.

    :raises InvalidImage: not a sparse extent
    :raises UnsupportedImage: a version or feature that is not known
    :raises CorruptImage: fields contradict the specification, each other or the size of the file
    :raises LimitExceeded: the disk, a grain or the grain directory is too large
    """
    path = storage.name
    fields = SPARSE_EXTENT_HEADER.unpack(storage.read_exact(0, SECTOR, "the VMDK header"))
    if fields.magicNumber != MAGIC:
        raise InvalidImage("not a VMDK sparse extent", path=path, offset=0)
    compressed = _check_features(fields, path)
    check_virtual_size(fields.capacity * SECTOR, path)
    grain_size = fields.grainSize
    if grain_size < 1 or grain_size & (grain_size - 1):
        raise CorruptImage(f"grain size {grain_size} (sectors) is no power of two", path=path, offset=20)
    if grain_size > MAX_GRAIN:
        raise LimitExceeded(f"grains of {grain_size} sectors are too large ({MAX_GRAIN} is the most that is taken)", path=path, offset=20)
    if fields.numGTEsPerGT != GTES_PER_GT:
        raise UnsupportedImage(f"grain tables of {fields.numGTEsPerGT} entries are not supported ({GTES_PER_GT} are)", path=path, offset=44)
    if fields.descriptorSize * SECTOR > MAX_DESCRIPTOR:
        raise LimitExceeded(f"a descriptor of {fields.descriptorSize} sectors is too large", path=path, offset=36)
    storage.require(fields.descriptorOffset * SECTOR, fields.descriptorSize * SECTOR, "the embedded descriptor")
    footer = fields.gdOffset == GD_AT_END
    header = Header(
        version=fields.version,
        flags=fields.flags,
        capacity=fields.capacity,
        grain_size=grain_size,
        descriptor_offset=fields.descriptorOffset,
        descriptor_size=fields.descriptorSize,
        rgd_offset=fields.rgdOffset if fields.flags & FLAG_REDUNDANT else 0,
        gd_offset=_gd_offset_from_footer(storage, fields) if footer else fields.gdOffset,
        over_head=fields.overHead,
        unclean_shutdown=bool(fields.uncleanShutdown),
        compressed=compressed,
        footer=footer,
    )
    if header.tables * 4 > MAX_TABLE:
        raise LimitExceeded(f"a grain directory of {header.tables} entries is too large", path=path, offset=12)
    storage.require(0, header.over_head * SECTOR, "the metadata (overHead)")
    return header


def _check_features(fields: Fields, path: str) -> bool:
    """Whether grains are compressed; everything else that says how to read the file is as we know it."""
    if not 1 <= fields.version <= 3:
        raise UnsupportedImage(f"VMDK sparse extents of version {fields.version} are not supported (1 to 3 are)", path=path, offset=4)
    unknown = fields.flags & INCOMPATIBLE & ~(FLAG_COMPRESSED | FLAG_MARKERS)
    if unknown:
        raise UnsupportedImage(f"the VMDK header has unknown incompatible flags ({unknown:#x})", path=path, offset=8)
    if fields.flags & FLAG_NEWLINE_TEST and fields.endLineChars != END_LINE_CHARS:
        raise CorruptImage("the line ends in the VMDK header were changed: the file was transferred as text", path=path, offset=73)
    if fields.compressAlgorithm not in (0, COMPRESSION_DEFLATE):
        raise UnsupportedImage(f"VMDK compression algorithm {fields.compressAlgorithm} is not known", path=path, offset=77)
    compressed = fields.compressAlgorithm == COMPRESSION_DEFLATE
    if compressed != bool(fields.flags & FLAG_COMPRESSED):
        raise CorruptImage("the VMDK header's flags and compression algorithm contradict each other", path=path, offset=77)
    if compressed and not fields.flags & FLAG_MARKERS:
        raise UnsupportedImage("compressed grains without markers are not supported (no known program writes them)", path=path, offset=8)
    return compressed


def _gd_offset_from_footer(storage: Storage, header: Fields) -> int:
    """The grain directory's sector, from the copy of the header between the footer marker and the end-of-stream marker.

    The latter is a sector of zeros, so the footer is what the last byte that is not zero belongs to.
    """
    path = storage.name
    missing = "the stream has no footer: it was cut, or its writer did not finish"
    start = max(0, storage.size - _MAX_PADDING - 3 * SECTOR)
    tail = storage.read_exact(start, storage.size - start, "the footer")
    last = start + len(tail.rstrip(b"\0")) - 1
    at = last // SECTOR * SECTOR
    if at - SECTOR < max(SECTOR, start) or at + 2 * SECTOR > storage.size:
        raise CorruptImage(missing, path=path, offset=max(0, at))
    marker = MARKER.unpack(tail, at - SECTOR - start)
    footer = SPARSE_EXTENT_HEADER.unpack(tail, at - start)
    if footer.magicNumber != MAGIC or marker.type != MARKER_FOOTER or marker.size != 0:
        raise CorruptImage(missing, path=path, offset=at)
    for name in ("version", "flags", "capacity", "grainSize", "descriptorOffset", "descriptorSize", "numGTEsPerGT", "compressAlgorithm"):
        if footer[name] != header[name]:
            raise CorruptImage(f"the header says {name} {header[name]}, the footer {footer[name]}", path=path, offset=at)
    if footer.gdOffset == GD_AT_END:
        raise CorruptImage("the footer says that the grain directory's place is in a footer", path=path, offset=at + 56)
    return int(footer.gdOffset)
