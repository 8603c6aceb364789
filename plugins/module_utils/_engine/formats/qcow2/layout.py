# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""qcow2 on disk. Source: qemu, docs/interop/qcow2.rst ("Header", "Header extensions", "L1 table entry" …). Big endian."""

from __future__ import annotations

import dataclasses
import struct

from ...errors import CorruptImage, LimitExceeded, UnsupportedImage
from ...limits import MIB, SECTOR
from ...storage.base import Storage
from ...structure import Structure
from ..base import check_virtual_size

MAGIC = b"QFI\xfb"

HEADER_V2 = Structure(
    ">",
    ("magic", "4s"),
    ("version", "I"),
    ("backing_file_offset", "Q"),
    ("backing_file_size", "I"),
    ("cluster_bits", "I"),
    ("size", "Q"),
    ("crypt_method", "I"),
    ("l1_size", "I"),
    ("l1_table_offset", "Q"),
    ("refcount_table_offset", "Q"),
    ("refcount_table_clusters", "I"),
    ("nb_snapshots", "I"),
    ("snapshots_offset", "Q"),
)
HEADER_V3 = Structure(
    ">",
    ("incompatible_features", "Q"),
    ("compatible_features", "Q"),
    ("autoclear_features", "Q"),
    ("refcount_order", "I"),
    ("header_length", "I"),
)
EXTENSION = Structure(">", ("type", "I"), ("length", "I"))
SNAPSHOT = Structure(
    ">",
    ("l1_table_offset", "Q"),
    ("l1_size", "I"),
    ("id_str_size", "H"),
    ("name_size", "H"),
    ("date_sec", "I"),
    ("date_nsec", "I"),
    ("vm_clock_nsec", "Q"),
    ("vm_state_size", "I"),
    ("extra_data_size", "I"),
)
SNAPSHOT_EXTRA = Structure(">", ("vm_state_size", "Q"), ("disk_size", "Q"), ("icount", "q"))
BITMAPS_EXTENSION = Structure(">", ("nb_bitmaps", "I"), ("_", "4s"), ("bitmap_directory_size", "Q"), ("bitmap_directory_offset", "Q"))
BITMAP = Structure(
    ">",
    ("bitmap_table_offset", "Q"),
    ("bitmap_table_size", "I"),
    ("flags", "I"),
    ("type", "B"),
    ("granularity_bits", "B"),
    ("name_size", "H"),
    ("extra_data_size", "I"),
)
CRYPTO_EXTENSION = Structure(">", ("offset", "Q"), ("length", "Q"))

EXT_END = 0
EXT_BACKING_FORMAT = 0xE2792ACA
EXT_FEATURE_NAMES = 0x6803F857
EXT_BITMAPS = 0x23852875
EXT_CRYPTO = 0x0537BE77
EXT_DATA_FILE = 0x44415441

INCOMPATIBLE = {0: "dirty bit", 1: "corrupt bit", 2: "external data file", 3: "compression type", 4: "extended L2 entries"}
DIRTY, CORRUPT, DATA_FILE, COMPRESSION_TYPE, EXTENDED_L2 = (1 << bit for bit in range(5))
COMPATIBLE_LAZY_REFCOUNTS = 1
AUTOCLEAR_BITMAPS, AUTOCLEAR_RAW_DATA = 1, 2

COPIED = 1 << 63
COMPRESSED_FLAG = 1 << 62
ZERO_FLAG = 1
OFFSET_MASK = 0x00FFFFFFFFFFFE00
"""L1 and L2 entries: bits 9 to 55"""
L2_RESERVED = 0x3F000000000001FE
"""bits of a standard L2 entry that must be 0 (56 to 61, 1 to 8)"""
L1_RESERVED = 0x7F000000000001FF
ALL_SUBCLUSTERS = 0xFFFFFFFF
"""of the bitmap of an extended L2 entry: the bits that say "allocated"; those that say "zeros" are 32 higher"""
SUBCLUSTERS = 32
BITMAP_TABLE_RESERVED = 0xFF000000000001FE

# qemu's ceilings (block/qcow2.h): a table above them is refused there, too.
MAX_L1_BYTES = 32 * MIB
MAX_REFCOUNT_TABLE_BYTES = 8 * MIB
MAX_SNAPSHOTS = 65536
MAX_SNAPSHOT_EXTRA = 1024
MAX_SNAPSHOT_TABLE = 64 * MIB
MAX_BACKING_NAME = 1023
MAX_BITMAPS = 65535
MAX_BITMAP_NAME = 1023

COMPRESSION_NAMES = {0: "zlib", 1: "zstd"}


@dataclasses.dataclass
class Header:
    """The header and its extensions, checked."""

    version: int
    size: int
    """guest bytes"""
    cluster_bits: int
    l1_size: int
    """entries"""
    l1_table_offset: int
    refcount_table_offset: int
    refcount_table_clusters: int
    refcount_order: int
    nb_snapshots: int
    snapshots_offset: int
    crypt_method: int
    incompatible_features: int
    compatible_features: int
    autoclear_features: int
    compression_type: int
    header_length: int
    backing_file: str | None = None
    backing_format: str | None = None
    data_file: str | None = None
    bitmaps: int = 0
    """number of the bitmaps"""
    bitmap_directory_offset: int = 0
    bitmap_directory_size: int = 0
    """bytes"""
    crypto_offset: int = 0
    crypto_length: int = 0
    """bytes of the encryption's own header; 0: there is none"""

    @property
    def cluster_size(self) -> int:
        return 1 << self.cluster_bits

    @property
    def l2_entry_bits(self) -> int:
        """log2 of an L2 entry's bytes"""
        return 4 if self.incompatible_features & EXTENDED_L2 else 3

    @property
    def l2_bits(self) -> int:
        """log2 of the entries of an L2 table (a table is one cluster)"""
        return self.cluster_bits - self.l2_entry_bits

    @property
    def l1_needed(self) -> int:
        """entries of the L1 table that the disk has a use for; there may be more"""
        return self.l1_entries(self.size)

    @property
    def data_elsewhere(self) -> bool:
        """whether the guest's data lies in an external data file"""
        return bool(self.incompatible_features & DATA_FILE)

    @property
    def extended_l2(self) -> bool:
        return bool(self.incompatible_features & EXTENDED_L2)

    def l1_entries(self, size: int) -> int:
        """entries that the L1 table of a disk of ``size`` bytes needs"""
        return -(-size >> (self.cluster_bits + self.l2_bits))

    def compressed_range(self, entry: int) -> tuple[int, int]:
        """Offset and bytes (at most) of the compressed cluster that an L2 entry names."""
        shift = 62 - (self.cluster_bits - 8)
        offset = entry & ((1 << shift) - 1)
        sectors = (entry & (COMPRESSED_FLAG - 1)) >> shift
        return offset, (sectors + 1) * SECTOR - (offset & (SECTOR - 1))


def read_header(storage: Storage) -> Header:
    """The header of a qcow2 image, every field checked against the specification and qemu's limits.

    :raises UnsupportedImage: another version, or an incompatible feature that is not known
    :raises CorruptImage, LimitExceeded: a field is out of range, or names bytes behind the end of the file
    """
    name = storage.name
    fields = HEADER_V2.unpack(storage.read_exact(0, HEADER_V2.size, "the qcow2 header"))
    version = fields.version
    if version not in (2, 3):
        raise UnsupportedImage(f"qcow version {version} is not supported (2 and 3 are)", path=name, offset=4)
    if not 9 <= fields.cluster_bits <= 21:
        raise CorruptImage(f"cluster_bits is {fields.cluster_bits}; 9 to 21 is possible", path=name, offset=20)
    if version == 3:
        more = HEADER_V3.unpack(storage.read_exact(HEADER_V2.size, HEADER_V3.size, "the qcow2 version 3 header"))
        if more.header_length < 104 or more.header_length % 8 or more.header_length > 1 << fields.cluster_bits:
            raise CorruptImage(f"header_length is {more.header_length}", path=name, offset=100)
        if more.refcount_order > 6:
            raise CorruptImage(f"refcount_order is {more.refcount_order}; at most 6 is possible", path=name, offset=96)
        incompatible, compatible, autoclear = more.incompatible_features, more.compatible_features, more.autoclear_features
        refcount_order, header_length = more.refcount_order, more.header_length
    else:
        incompatible = compatible = autoclear = 0
        refcount_order, header_length = 4, HEADER_V2.size
    compression_type = storage.read_exact(104, 1, "the compression type")[0] if header_length > 104 else 0
    header = Header(
        version=version,
        size=check_virtual_size(fields.size, name),
        cluster_bits=fields.cluster_bits,
        l1_size=fields.l1_size,
        l1_table_offset=fields.l1_table_offset,
        refcount_table_offset=fields.refcount_table_offset,
        refcount_table_clusters=fields.refcount_table_clusters,
        refcount_order=refcount_order,
        nb_snapshots=fields.nb_snapshots,
        snapshots_offset=fields.snapshots_offset,
        crypt_method=fields.crypt_method,
        incompatible_features=incompatible,
        compatible_features=compatible,
        autoclear_features=autoclear,
        compression_type=compression_type,
        header_length=header_length,
    )
    names = _read_extensions(storage, header, fields.backing_file_offset)
    _read_backing_name(storage, header, fields.backing_file_offset, fields.backing_file_size)
    unknown = [bit for bit in range(64) if incompatible >> bit & 1 and bit not in INCOMPATIBLE]
    if unknown:
        texts = ", ".join(names.get((0, bit)) or f"bit {bit}" for bit in unknown[:8]) + (" …" if len(unknown) > 8 else "")
        raise UnsupportedImage(f"the image needs features that are not known: {texts}", path=name, offset=72)
    _check_fields(storage, header)
    return header


def _check_fields(storage: Storage, header: Header) -> None:
    name, cluster = storage.name, header.cluster_size
    if header.size % SECTOR:
        raise UnsupportedImage(f"the disk has {header.size} bytes, no multiple of {SECTOR}: programs disagree about its last sector", path=name, offset=24)
    if header.crypt_method > 2:
        raise UnsupportedImage(f"encryption method {header.crypt_method} is not known", path=name, offset=32)
    if header.compression_type not in COMPRESSION_NAMES:
        raise UnsupportedImage(f"compression type {header.compression_type} is not known", path=name, offset=104)
    if bool(header.incompatible_features & COMPRESSION_TYPE) != bool(header.compression_type):
        raise CorruptImage("the compression type and its feature bit contradict each other", path=name, offset=104)
    if header.incompatible_features & EXTENDED_L2 and header.cluster_bits < 14:
        raise CorruptImage("extended L2 entries need clusters of at least 16 KiB", path=name, offset=20)
    if header.autoclear_features & AUTOCLEAR_RAW_DATA and header.data_elsewhere and header.backing_file is not None:
        raise CorruptImage("the data file is said to be the whole disk, and yet a backing file is named", path=name, offset=88)
    if header.l1_size * 8 > MAX_L1_BYTES:
        raise LimitExceeded(f"the L1 table has {header.l1_size} entries; {MAX_L1_BYTES // 8} is the most that is taken", path=name, offset=36)
    if header.l1_size < header.l1_needed:
        raise CorruptImage(f"the L1 table has {header.l1_size} entries; the disk needs {header.l1_needed}", path=name, offset=36)
    if header.l1_size:
        if header.l1_table_offset % cluster or not header.l1_table_offset:
            raise CorruptImage(f"the L1 table offset {header.l1_table_offset:#x} is not aligned to a cluster", path=name, offset=40)
        storage.require(header.l1_table_offset, header.l1_size * 8, "the L1 table")
    if header.refcount_table_offset % cluster:
        raise CorruptImage(f"the refcount table offset {header.refcount_table_offset:#x} is not aligned to a cluster", path=name, offset=48)
    if header.refcount_table_clusters * cluster > max(MAX_REFCOUNT_TABLE_BYTES, cluster):
        raise LimitExceeded(f"the refcount table has {header.refcount_table_clusters} clusters", path=name, offset=56)
    storage.require(header.refcount_table_offset, header.refcount_table_clusters * cluster, "the refcount table")
    if header.nb_snapshots > MAX_SNAPSHOTS:
        raise LimitExceeded(f"{header.nb_snapshots} snapshots; {MAX_SNAPSHOTS} is the most that is taken", path=name, offset=60)
    if header.nb_snapshots and header.snapshots_offset % cluster:
        raise CorruptImage(f"the snapshot table offset {header.snapshots_offset:#x} is not aligned to a cluster", path=name, offset=64)


def _read_extensions(storage: Storage, header: Header, backing_offset: int) -> dict[tuple[int, int], str]:
    """Fill in what the extensions say; the return value is the image's own feature-name table."""
    names: dict[tuple[int, int], str] = {}
    position = header.header_length
    limit = min(backing_offset or header.cluster_size, header.cluster_size, storage.size)
    while position + EXTENSION.size <= limit:
        kind, length = struct.unpack(">II", storage.read_exact(position, EXTENSION.size, "a header extension"))
        if kind == EXT_END:
            break
        position += EXTENSION.size
        if length > limit - position:
            raise CorruptImage(
                f"header extension {kind:#010x} of {length} bytes does not fit into the first cluster", path=storage.name, offset=position - EXTENSION.size
            )
        data = storage.read_exact(position, length, "a header extension")
        if kind == EXT_BACKING_FORMAT:
            header.backing_format = data.decode("utf-8", "replace")
        elif kind == EXT_DATA_FILE:
            header.data_file = data.decode("utf-8", "surrogateescape")
        elif kind == EXT_BITMAPS and length >= BITMAPS_EXTENSION.size:
            fields = BITMAPS_EXTENSION.unpack(data)
            header.bitmaps = fields.nb_bitmaps
            header.bitmap_directory_offset, header.bitmap_directory_size = fields.bitmap_directory_offset, fields.bitmap_directory_size
        elif kind == EXT_CRYPTO and length >= CRYPTO_EXTENSION.size:
            fields = CRYPTO_EXTENSION.unpack(data)
            header.crypto_offset, header.crypto_length = fields.offset, fields.length
        elif kind == EXT_FEATURE_NAMES:
            for start in range(0, length - 47, 48):
                names[data[start], data[start + 1]] = data[start + 2 : start + 48].rstrip(b"\0").decode("utf-8", "replace")
        position += -(-length // 8) * 8
    return names


def _read_backing_name(storage: Storage, header: Header, offset: int, size: int) -> None:
    if not offset:
        return
    if size > MAX_BACKING_NAME or offset + size > header.cluster_size or offset < HEADER_V2.size:
        raise CorruptImage(f"the backing file name ({size} bytes at {offset}) does not lie in the first cluster", path=storage.name, offset=8)
    header.backing_file = storage.read_exact(offset, size, "the backing file name").decode("utf-8", "surrogateescape")
