# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""btrfs' superblock. Source: btrfs documentation, "On-disk Format", "Superblock"; Linux, uapi/linux/btrfs_tree.h and btrfs.h."""

from __future__ import annotations

import dataclasses
import uuid

from ...errors import CorruptImage, UnsupportedImage
from ...limits import GIB, KIB, MIB
from ...storage.base import Storage
from ...structure import Fields, Structure
from ..base import Signature
from .checksum import TYPES, is_intact

OFFSETS = (64 * KIB, 64 * MIB, 256 * GIB)
"""The first one is what the kernel mounts by; the others are copies."""
MAGIC = b"_BHRfS_M"
MAGIC_OFFSET = 64

SUPER_BLOCK = Structure(
    "<",
    ("csum", "32s"),
    ("fsid", "16s"),
    ("bytenr", "Q"),
    ("flags", "Q"),
    ("magic", "8s"),
    ("generation", "Q"),
    ("root", "Q"),
    ("chunk_root", "Q"),
    ("log_root", "Q"),
    ("_", "Q"),
    ("total_bytes", "Q"),
    ("bytes_used", "Q"),
    ("root_dir_objectid", "Q"),
    ("num_devices", "Q"),
    ("sectorsize", "I"),
    ("nodesize", "I"),
    ("leafsize", "I"),
    ("stripesize", "I"),
    ("sys_chunk_array_size", "I"),
    ("chunk_root_generation", "Q"),
    ("compat_flags", "Q"),
    ("compat_ro_flags", "Q"),
    ("incompat_flags", "Q"),
    ("csum_type", "H"),
    ("root_level", "B"),
    ("chunk_root_level", "B"),
    ("log_root_level", "B"),
    ("dev_item", "98s"),
    ("label", "256s"),
    ("cache_generation", "Q"),
    ("uuid_tree_generation", "Q"),
    ("metadata_uuid", "16s"),
    ("_", "224s"),
    ("sys_chunk_array", "2048s"),
    ("super_roots", "672s"),
    ("_", "565s"),
)
DEV_ITEM = Structure(
    "<",
    ("devid", "Q"),
    ("total_bytes", "Q"),
    ("bytes_used", "Q"),
    ("io_align", "I"),
    ("io_width", "I"),
    ("sector_size", "I"),
    ("type", "Q"),
    ("generation", "Q"),
    ("start_offset", "Q"),
    ("dev_group", "I"),
    ("seek_speed", "B"),
    ("bandwidth", "B"),
    ("uuid", "16s"),
    ("fsid", "16s"),
)

METADATA_UUID = 1 << 10
INCOMPATIBLE = {
    0: "mixed-backref",
    1: "default-subvol",
    2: "mixed-groups",
    3: "compress-lzo",
    4: "compress-zstd",
    5: "big-metadata",
    6: "extended-iref",
    7: "raid56",
    8: "skinny-metadata",
    9: "no-holes",
    10: "metadata-uuid",
    11: "raid1c34",
    12: "zoned",
    13: "extent-tree-v2",
    14: "raid-stripe-tree",
    16: "simple-quota",
}
"""features by their bit, in the words of btrfs-progs"""
UNREADABLE = (12, 13, 14)
FLAGS = {
    33: "it is a dump of metadata only, made by btrfs-image",
    34: "it is a dump of metadata only, made by btrfs-image",
    35: "a change of its UUID was interrupted",
}
"""what flags keep files from being read"""

MIN_SECTORSIZE = 2 * KIB
MAX_NODESIZE = 64 * KIB
MAX_LEVEL = 8
"""levels of a tree"""


@dataclasses.dataclass(frozen=True)
class Superblock:
    """What the superblock says, checked."""

    fields: Fields
    device: Fields
    """this device's DEV_ITEM"""
    signature: Signature

    @property
    def tree_uuid(self) -> bytes:
        """The UUID that tree blocks carry: that which the file system was made with."""
        uuid_of_trees: bytes = self.fields.metadata_uuid if self.fields.incompat_flags & METADATA_UUID else self.fields.fsid
        return uuid_of_trees


def identify(storage: Storage) -> Signature | None:
    """What the volume is, if it is btrfs; damage does not matter as long as the magic number is there."""
    if storage.read_at(OFFSETS[0] + MAGIC_OFFSET, len(MAGIC)) != MAGIC:
        return None
    fields, warnings = _find(storage)
    return None if fields is None else _signature(storage, fields, warnings)


def read_superblock(storage: Storage) -> Superblock:
    """The superblock of the only device of a file system.

    :raises CorruptImage: there is none that is intact, or it contradicts itself
    :raises UnsupportedImage: a feature is not known, or the file system has other devices
    """
    fields, warnings = _find(storage)
    if fields is None or fields.magic != MAGIC:
        raise CorruptImage("no superblock of btrfs", path=storage.name, offset=OFFSETS[0])
    superblock = Superblock(fields, DEV_ITEM.unpack(fields.dev_item), _signature(storage, fields, warnings))
    _check_features(storage, fields)
    if fields.csum_type >= len(TYPES) or not is_intact(_block(storage, fields.bytenr), fields.csum_type):
        raise CorruptImage("the superblock does not agree with its checksum, nor does a copy of it", path=storage.name, offset=OFFSETS[0])
    _check_numbers(storage, fields)
    return superblock


def _block(storage: Storage, offset: int) -> bytes:
    return storage.read_at(offset, SUPER_BLOCK.size)


def _find(storage: Storage) -> tuple[Fields | None, list[str]]:
    """The first superblock, or an intact copy of it when it is damaged; with what is wrong."""
    first = _block(storage, OFFSETS[0])
    if len(first) < SUPER_BLOCK.size or first[MAGIC_OFFSET : MAGIC_OFFSET + len(MAGIC)] != MAGIC:
        return None, []  # The copies may be left from a file system that was there before.
    fields = SUPER_BLOCK.unpack(first)
    if fields.csum_type >= len(TYPES):
        return fields, [f"the checksums are of an unknown type ({fields.csum_type})"]
    if is_intact(first, fields.csum_type) and fields.bytenr == OFFSETS[0]:
        return fields, []
    copies = []
    for offset in OFFSETS[1:]:
        block = _block(storage, offset)
        if len(block) == SUPER_BLOCK.size:
            copy = SUPER_BLOCK.unpack(block)
            if copy.magic == MAGIC and copy.bytenr == offset and copy.csum_type < len(TYPES) and is_intact(block, copy.csum_type):
                copies.append(copy)
    if not copies:
        return fields, ["the superblock does not agree with its checksum"]
    return max(copies, key=lambda copy: int(copy.generation)), ["the superblock is damaged; a copy of it was read. btrfs rescue super-recover repairs it"]


def _signature(storage: Storage, fields: Fields, warnings: list[str]) -> Signature:
    size = DEV_ITEM.unpack(fields.dev_item).total_bytes
    warnings = list(warnings)
    if size > storage.size:
        warnings.append(f"the file system has {size} bytes, and the volume only {storage.size}: truncated")
    if fields.log_root:
        warnings.append("the log tree has to be replayed, which was not done: what was written last before an unclean unmount may be missing")
    if fields.num_devices != 1:
        warnings.append(f"this is one of {fields.num_devices} devices of the file system")
    label = fields.label.split(b"\0", 1)[0].decode("utf-8", "replace")
    return Signature("btrfs", "filesystem", label or None, str(uuid.UUID(bytes=fields.fsid)), None, size, tuple(warnings))


def _check_features(storage: Storage, fields: Fields) -> None:
    for bit in range(64):
        if fields.incompat_flags >> bit & 1 and (bit not in INCOMPATIBLE or bit in UNREADABLE):
            raise UnsupportedImage(f"btrfs with the feature {INCOMPATIBLE.get(bit, f'of bit {bit}')} is not supported", path=storage.name)
        if fields.flags >> bit & 1 and bit in FLAGS:
            raise UnsupportedImage(f"the btrfs cannot be read: {FLAGS[bit]}", path=storage.name)
    if fields.num_devices != 1:
        raise UnsupportedImage(f"the btrfs has {fields.num_devices} devices: it needs its other devices, and one alone is read", path=storage.name)


def _check_numbers(storage: Storage, fields: Fields) -> None:
    sector, node = fields.sectorsize, fields.nodesize
    sane = (
        sector & (sector - 1) == 0
        and node & (node - 1) == 0
        and MIN_SECTORSIZE <= sector <= node <= MAX_NODESIZE
        and max(fields.root_level, fields.chunk_root_level) < MAX_LEVEL
        and fields.sys_chunk_array_size <= len(fields.sys_chunk_array)
    )
    if not sane:
        raise CorruptImage(
            f"the superblock contradicts itself: sectors of {sector}, tree blocks of {node} bytes, trees of "
            f"{fields.root_level + 1} and {fields.chunk_root_level + 1} levels, {fields.sys_chunk_array_size} bytes of system chunks",
            path=storage.name,
            offset=fields.bytenr,
        )
