# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small volumes of btrfs, item by item: what no kernel writes, and what needs no program to be made.

They have what a reader needs and no more: no extent tree, no checksums of file contents, nothing to write with.
"""

from __future__ import annotations

import stat
import struct
import sys
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins/module_utils"))
from _engine.filesystems.btrfs import btree, checksum, chunks, items, superblock  # noqa: E402

Key = tuple[int, int, int]
Items = dict[Key, bytes]

SIZE = 3 << 20
NODE = 4096
FSID = bytes(range(16))
METADATA = 1 << 20
"""offset of the first tree block, and its logical address plus LOGICAL"""
LOGICAL = 1 << 32
"""from offsets to logical addresses, so that neither is taken for the other"""
DATA = 2 << 20
GENERATION = 7
DEV_TREE = 4
CHUNK = chunks.CHUNK.pack(length=SIZE, owner=2, stripe_len=65536, type=7, io_align=4096, io_width=4096, sector_size=4096, num_stripes=1, sub_stripes=0)


def chunk(physical: int = 0, devid: int = 1) -> bytes:
    """The one chunk: all of the volume."""
    return CHUNK + chunks.STRIPE.pack(devid=devid, offset=physical, dev_uuid=bytes(16))


def inode(mode: int, size: int = 0) -> bytes:
    values = dict.fromkeys(items.INODE.names, 0)
    return items.INODE.pack(**{**values, "size": size, "nlink": 1, "mode": mode, "times": bytes(48)})


def entry(name: bytes, objectid: int, key_type: int = items.INODE_ITEM, offset: int = 0) -> bytes:
    return items.DIR_ENTRY.pack(objectid=objectid, key_type=key_type, offset=offset, transid=1, data_len=0, name_len=len(name), type=1) + name


def root(bytenr: int, level: int = 0, refs: int = 1) -> bytes:
    values = dict.fromkeys(items.ROOT.names, 0)
    fixed = {"inode": inode(stat.S_IFDIR | 0o755), "generation": GENERATION, "root_dirid": 256, "drop_progress": bytes(17)}
    return items.ROOT.pack(**{**values, **fixed, "bytenr": bytenr, "level": level, "refs": refs})


def inline(data: bytes, compression: int = 0, size: int | None = None) -> bytes:
    ram_bytes = len(data) if size is None else size
    return items.FILE_EXTENT.pack(generation=1, ram_bytes=ram_bytes, compression=compression, encryption=0, other_encoding=0, type=items.INLINE) + data


def extent(place: int, stored: int, size: int, *, compression: int = 0, offset: int = 0, ram_bytes: int | None = None, kind: int = items.REGULAR) -> bytes:
    head = {"generation": 1, "ram_bytes": size + offset if ram_bytes is None else ram_bytes, "compression": compression}
    tail = items.FILE_EXTENT_ON_DISK.pack(disk_bytenr=place, disk_num_bytes=stored, offset=offset, num_bytes=size)
    return items.FILE_EXTENT.pack(**head, encryption=0, other_encoding=0, type=kind) + tail


def files(contents: t.Mapping[bytes, t.Mapping[int, bytes] | bytes], sizes: t.Mapping[bytes, int] | None = None) -> Items:
    """A root directory of regular files, with their EXTENT_DATA by offset in the file, or with their content."""
    found: Items = {(256, items.INODE_ITEM, 0): inode(stat.S_IFDIR | 0o755)}
    for number, (name, extents) in enumerate(contents.items(), 257):
        size = len(extents) if isinstance(extents, bytes) else (sizes or {})[name]
        found[number, items.INODE_ITEM, 0] = inode(stat.S_IFREG | 0o644, size)
        found[256, items.DIR_INDEX, number] = entry(name, number)
        key = (256, items.DIR_ITEM, items.name_hash(name))
        found[key] = found.get(key, b"") + entry(name, number)
        for offset, item in ({0: inline(extents)} if isinstance(extents, bytes) else extents).items():
            found[number, items.EXTENT_DATA, offset] = item
    return found


class Volume:
    """A volume that is being built. Each tree is one leaf, unless its blocks are written one by one.

    :param csum_type: an index of checksum.TYPES
    """

    def __init__(self, csum_type: int = 0) -> None:
        self.image = bytearray(SIZE)
        self.csum_type = csum_type
        self._next = METADATA

    def block(self, entries: t.Sequence[bytes], body: bytes = b"", level: int = 0, **changes: t.Any) -> int:
        """Write a tree block; its logical address.

        :param entries: _ITEM or _KEY_PTR, and ``body`` what ends the block
        :param changes: fields of the header that are not as they should be
        """
        at = self._next
        self._next += NODE
        values = {"csum": bytes(32), "fsid": FSID, "bytenr": at + LOGICAL, "flags": 1, "chunk_tree_uuid": bytes(16), "generation": GENERATION, "owner": 5}
        head = btree.HEADER.pack(**{**values, "nritems": len(entries), "level": level, **changes}) + b"".join(entries)
        self.image[at : at + NODE] = checksum.seal(head + bytes(NODE - len(head) - len(body)) + body, self.csum_type)
        return at + LOGICAL

    def leaf(self, tree: Items, **changes: t.Any) -> int:
        """Write a leaf; its logical address."""
        end = NODE - btree.HEADER.size
        entries, body = [], b""
        for key in sorted(tree):
            body = tree[key] + body
            entries.append(struct.pack("<QBQII", *key, end - len(body), len(tree[key])))
        return self.block(entries, body, **changes)

    def node(self, pointers: t.Sequence[tuple[Key, int]], level: int = 1, generation: int = GENERATION) -> int:
        """Write an internal block of (first key, logical address); its logical address."""
        return self.block([struct.pack("<QBQQQ", *key, bytenr, generation) for key, bytenr in pointers], level=level)

    def data(self, at: int, data: bytes) -> int:
        """Write file content at an offset behind DATA; its logical address."""
        self.image[DATA + at : DATA + at + len(data)] = data
        return DATA + at + LOGICAL

    def finish(self, roots: Items, *, chunk_tree: Items | None = None, **changes: t.Any) -> bytes:
        """Write the root tree, the chunk tree and the superblock; the image.

        :param roots: the items of the root tree
        :param changes: fields of the superblock that are not as they should be
        """
        roots = {(DEV_TREE, items.ROOT_ITEM, 0): root(self.leaf({}, owner=DEV_TREE)), **roots}  # btrfs-progs wants it
        key = (items.FIRST_CHUNK_TREE, items.CHUNK_ITEM, LOGICAL)
        chunk_root = self.leaf(chunk_tree or {key: chunk()}, owner=3)
        array = struct.pack("<QBQ", *key) + chunk()
        device = {**dict.fromkeys(superblock.DEV_ITEM.names, 0), "devid": 1, "total_bytes": SIZE, "uuid": bytes(16), "fsid": FSID}
        values = {name: 0 for name in superblock.SUPER_BLOCK.names}
        values.update(csum=bytes(32), fsid=FSID, bytenr=superblock.OFFSETS[0], magic=superblock.MAGIC, generation=GENERATION, root=self.leaf(roots, owner=1))
        values.update(
            chunk_root=chunk_root, chunk_root_generation=GENERATION, total_bytes=SIZE, bytes_used=1 << 20, root_dir_objectid=6, num_devices=1, sectorsize=4096
        )
        values.update(nodesize=NODE, leafsize=NODE, stripesize=4096, sys_chunk_array_size=len(array), csum_type=self.csum_type, label=b"built")
        values.update(dev_item=superblock.DEV_ITEM.pack(**device), metadata_uuid=bytes(16), sys_chunk_array=array, super_roots=b"", **changes)
        raw = checksum.seal(superblock.SUPER_BLOCK.pack(**values), self.csum_type)
        self.image[superblock.OFFSETS[0] : superblock.OFFSETS[0] + len(raw)] = raw
        return bytes(self.image)


def build(tree: Items, *, csum_type: int = 0, **changes: t.Any) -> bytes:
    """A volume with one subvolume, which is one leaf."""
    volume = Volume(csum_type)
    return volume.finish({(items.FS_TREE, items.ROOT_ITEM, 0): root(volume.leaf(tree))}, **changes)


def main() -> None:
    Path(sys.argv[1]).write_bytes(build(files({b"hello": b"hello, world\n"})))


if __name__ == "__main__":
    main()
