# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The metadata region: what the virtual disk is like. Source: [MS-VHDX] 2.6 "Metadata Region"."""

from __future__ import annotations

import typing as t

from ...errors import CorruptImage, UnsupportedImage
from ...limits import KIB, MIB
from ...structure import Fields, Structure
from ..base import check_virtual_size
from .layout import MAX_ENTRIES, Area, guid, guid_text, require_apart, utf16

if t.TYPE_CHECKING:  # pragma: no cover
    from ...storage.base import Storage

METADATA_TABLE_HEADER = Structure("<", ("signature", "8s"), ("_", "H"), ("entry_count", "H"), ("_", "20s"))
METADATA_TABLE_ENTRY = Structure("<", ("item_id", "16s"), ("offset", "I"), ("length", "I"), ("flags", "I"), ("_", "I"))
FILE_PARAMETERS = Structure("<", ("block_size", "I"), ("flags", "I"))
VIRTUAL_DISK_SIZE = Structure("<", ("virtual_disk_size", "Q"))
VIRTUAL_DISK_ID = Structure("<", ("virtual_disk_id", "16s"))
LOGICAL_SECTOR_SIZE = Structure("<", ("logical_sector_size", "I"))
PHYSICAL_SECTOR_SIZE = Structure("<", ("physical_sector_size", "I"))
PARENT_LOCATOR_HEADER = Structure("<", ("locator_type", "16s"), ("_", "H"), ("key_value_count", "H"))
PARENT_LOCATOR_ENTRY = Structure("<", ("key_offset", "I"), ("value_offset", "I"), ("key_length", "H"), ("value_length", "H"))

SIGNATURE = b"metadata"
TABLE_SIZE = 64 * KIB
MAX_ITEM = 1 * MIB
IS_USER, IS_VIRTUAL_DISK, IS_REQUIRED = 1, 2, 4
LEAVE_BLOCKS_ALLOCATED, HAS_PARENT = 1, 2
MIN_BLOCK_SIZE, MAX_BLOCK_SIZE = 1 * MIB, 256 * MIB
SECTOR_SIZES = (512, 4096)

PARAMETERS_ITEM = guid("CAA16737-FA36-4D43-B3B6-33F0AA44E76B")
SIZE_ITEM = guid("2FA54224-CD1B-4876-B211-5DBED83BF4B8")
DISK_ID_ITEM = guid("BECA12AB-B2E6-4523-93EF-C309E000C746")
LOGICAL_SECTOR_ITEM = guid("8141BF1D-A96F-4709-BA47-F233A8FAAB5F")
PHYSICAL_SECTOR_ITEM = guid("CDA348C7-445D-4471-9CC9-E9885251C556")
PARENT_LOCATOR_ITEM = guid("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C")
VHDX_LOCATOR = guid("B04AEFB7-D19E-4A81-B789-25B8E9445913")

_ITEMS = {
    PARAMETERS_ITEM: FILE_PARAMETERS,
    SIZE_ITEM: VIRTUAL_DISK_SIZE,
    DISK_ID_ITEM: VIRTUAL_DISK_ID,
    LOGICAL_SECTOR_ITEM: LOGICAL_SECTOR_SIZE,
    PHYSICAL_SECTOR_ITEM: PHYSICAL_SECTOR_SIZE,
}


class Metadata(t.NamedTuple):
    """The items of the metadata region. All sizes in bytes."""

    block_size: int
    fixed: bool
    """all blocks stay allocated"""
    virtual_disk_size: int
    virtual_disk_id: bytes
    logical_sector_size: int
    physical_sector_size: int
    parent: dict[str, str] | None
    """the parent locator's keys and values of a differencing disk"""

    @property
    def chunk_ratio(self) -> int:
        """Payload blocks for which one sector bitmap block has the bits (2.5)."""
        return (1 << 23) * self.logical_sector_size // self.block_size

    @property
    def payload_blocks(self) -> int:
        return -(-self.virtual_disk_size // self.block_size)

    @property
    def bat_entries(self) -> int:
        """Entries that the block allocation table has to have, those of sector bitmap blocks included (2.5)."""
        if self.parent is not None:
            return -(-self.payload_blocks // self.chunk_ratio) * (self.chunk_ratio + 1)
        return self.payload_blocks + max(0, self.payload_blocks - 1) // self.chunk_ratio


def read_metadata(storage: Storage, region: Area) -> Metadata:
    """Read and check all items.

    :raises CorruptImage: an item is missing, misplaced or has a value that the specification does not allow
    :raises UnsupportedImage: a required item of an unknown kind, or a parent that is not VHDX
    :raises LimitExceeded: the disk is larger than VHDX allows
    """
    items = _read_table(storage, region)
    values = Fields()
    for item_id, structure in _ITEMS.items():
        name = structure.names[0]
        if item_id not in items:
            raise CorruptImage(f"the metadata has no item for {name}", path=storage.name, offset=region.offset)
        entry = items[item_id]
        if entry.length != structure.size:
            raise CorruptImage(f"the metadata item with {name} has {entry.length} bytes instead of {structure.size}", path=storage.name, offset=region.offset)
        values.update(structure.unpack(storage.read_exact(region.offset + entry.offset, entry.length, "a metadata item")))

    def require(good: bool, what: str) -> None:
        if not good:
            raise CorruptImage(f"{what} is not what VHDX allows", path=storage.name, offset=region.offset)

    block = values.block_size
    require(MIN_BLOCK_SIZE <= block <= MAX_BLOCK_SIZE and not block & (block - 1), f"a block size of {block} bytes")
    require(values.logical_sector_size in SECTOR_SIZES, f"a logical sector size of {values.logical_sector_size} bytes")
    require(values.physical_sector_size in SECTOR_SIZES, f"a physical sector size of {values.physical_sector_size} bytes")
    size = check_virtual_size(values.virtual_disk_size, storage.name)
    require(size % values.logical_sector_size == 0, f"a disk of {size} bytes (in sectors of {values.logical_sector_size})")
    parent = None
    if values.flags & HAS_PARENT:
        if PARENT_LOCATOR_ITEM not in items:
            raise CorruptImage("a differencing disk without a parent locator", path=storage.name, offset=region.offset)
        parent = _read_locator(storage, region, items[PARENT_LOCATOR_ITEM])
    return Metadata(
        block, bool(values.flags & LEAVE_BLOCKS_ALLOCATED), size, values.virtual_disk_id, values.logical_sector_size, values.physical_sector_size, parent
    )


def _read_table(storage: Storage, region: Area) -> dict[bytes, Fields]:
    """The known items' entries by item id (2.6.1)."""
    table = storage.read_exact(region.offset, TABLE_SIZE, "the metadata table")
    header = METADATA_TABLE_HEADER.unpack(table)
    if header.signature != SIGNATURE:
        raise CorruptImage("the metadata table has no signature", path=storage.name, offset=region.offset)
    if header.entry_count > MAX_ENTRIES:
        raise CorruptImage(f"the metadata table has {header.entry_count} entries, above its room of {MAX_ENTRIES}", path=storage.name, offset=region.offset)
    items: dict[bytes, Fields] = {}
    seen = set()
    areas = []
    for index in range(header.entry_count):
        where = METADATA_TABLE_HEADER.size + index * METADATA_TABLE_ENTRY.size
        entry = METADATA_TABLE_ENTRY.unpack(table, where)
        name = f"the metadata item {guid_text(entry.item_id)}"
        user = entry.flags & IS_USER
        if (user, entry.item_id) in seen:
            raise CorruptImage(f"{name} is there twice", path=storage.name, offset=region.offset + where)
        seen.add((user, entry.item_id))
        if entry.length and not (TABLE_SIZE <= entry.offset <= region.length - entry.length and entry.length <= MAX_ITEM):
            raise CorruptImage(f"{name} ({entry.length} bytes at {entry.offset:#x}) is not inside its region", path=storage.name, offset=region.offset + where)
        areas.append(Area(region.offset + entry.offset, entry.length, name))
        if not user and (entry.item_id in _ITEMS or entry.item_id == PARENT_LOCATOR_ITEM):
            items[entry.item_id] = entry
        elif entry.flags & IS_REQUIRED:
            raise UnsupportedImage(f"{name} is required to read the image, and unknown", path=storage.name, offset=region.offset + where)
    require_apart((area for area in areas if area.length), storage.name)
    return items


def _read_locator(storage: Storage, region: Area, entry: Fields) -> dict[str, str]:
    """The keys and values of a parent locator (2.6.2.6)."""
    start = region.offset + entry.offset
    data = storage.read_exact(start, entry.length, "the parent locator")
    if len(data) < PARENT_LOCATOR_HEADER.size:
        raise CorruptImage("the parent locator is too short", path=storage.name, offset=start)
    header = PARENT_LOCATOR_HEADER.unpack(data)
    if header.locator_type != VHDX_LOCATOR:
        raise UnsupportedImage(f"a parent of the unknown type {guid_text(header.locator_type)}", path=storage.name, offset=start)
    if PARENT_LOCATOR_HEADER.size + header.key_value_count * PARENT_LOCATOR_ENTRY.size > len(data):
        raise CorruptImage(f"the parent locator has no room for its {header.key_value_count} entries", path=storage.name, offset=start)
    pairs: dict[str, str] = {}
    for index in range(header.key_value_count):
        pair = PARENT_LOCATOR_ENTRY.unpack(data, PARENT_LOCATOR_HEADER.size + index * PARENT_LOCATOR_ENTRY.size)
        if pair.key_offset + pair.key_length > len(data) or pair.value_offset + pair.value_length > len(data):
            raise CorruptImage("an entry of the parent locator lies outside of it", path=storage.name, offset=start)
        key = utf16(data[pair.key_offset : pair.key_offset + pair.key_length])
        pairs[key] = utf16(data[pair.value_offset : pair.value_offset + pair.value_length])
    return pairs


def build_metadata(metadata: Metadata) -> bytes:
    """The used part of a metadata region for a disk without a parent."""
    values = {
        PARAMETERS_ITEM: (IS_REQUIRED, FILE_PARAMETERS.pack(block_size=metadata.block_size, flags=LEAVE_BLOCKS_ALLOCATED if metadata.fixed else 0)),
        SIZE_ITEM: (IS_REQUIRED | IS_VIRTUAL_DISK, VIRTUAL_DISK_SIZE.pack(virtual_disk_size=metadata.virtual_disk_size)),
        LOGICAL_SECTOR_ITEM: (IS_REQUIRED | IS_VIRTUAL_DISK, LOGICAL_SECTOR_SIZE.pack(logical_sector_size=metadata.logical_sector_size)),
        PHYSICAL_SECTOR_ITEM: (IS_REQUIRED | IS_VIRTUAL_DISK, PHYSICAL_SECTOR_SIZE.pack(physical_sector_size=metadata.physical_sector_size)),
        DISK_ID_ITEM: (IS_REQUIRED | IS_VIRTUAL_DISK, VIRTUAL_DISK_ID.pack(virtual_disk_id=metadata.virtual_disk_id)),
    }
    table = [METADATA_TABLE_HEADER.pack(signature=SIGNATURE, entry_count=len(values))]
    content = b""
    for item_id, (flags, value) in values.items():
        table.append(METADATA_TABLE_ENTRY.pack(item_id=item_id, offset=TABLE_SIZE + len(content), length=len(value), flags=flags))
        content += value
    return b"".join(table).ljust(TABLE_SIZE, b"\0") + content
