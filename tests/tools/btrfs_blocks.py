# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the blocks with checksums are in a volume of btrfs, to change them so that they are believed.

btrfs_blocks.py IMAGE
"""

from __future__ import annotations

import functools
import struct
import sys
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins/module_utils"))
from _engine.filesystems.btrfs import checksum, superblock  # noqa: E402

Block = tuple[int, int, t.Callable[[bytes], bytes]]
"""offset, size, and what fills in the checksum"""


def find(image: bytes) -> list[Block]:
    """The superblocks and the tree blocks, whether they are still in use or not."""
    fields = superblock.SUPER_BLOCK.unpack(image, superblock.OFFSETS[0])
    seal = functools.partial(checksum.seal, csum_type=fields.csum_type)
    size = superblock.SUPER_BLOCK.size
    found: list[Block] = [(offset, size, seal) for offset in superblock.OFFSETS if image[offset + superblock.MAGIC_OFFSET :][:8] == superblock.MAGIC]
    supers = [offset for offset, _size, _seal in found]
    uuid = fields.metadata_uuid if fields.incompat_flags & superblock.METADATA_UUID else fields.fsid
    at = image.find(uuid)
    while at >= 0:
        start = at - checksum.CSUM_SIZE
        block = image[start : start + fields.nodesize]
        if start % fields.sectorsize == 0 and start not in supers and len(block) == fields.nodesize and checksum.is_intact(block, fields.csum_type):
            found.append((start, fields.nodesize, seal))
        at = image.find(uuid, at + 1)
    return found


def main() -> None:
    image = Path(sys.argv[1]).read_bytes()
    for offset, size, _seal in find(image):
        level = image[offset + 100] if size > 4096 else 0
        owner, count = struct.unpack_from("<QI", image, offset + 88)
        sys.stdout.write(f"{offset:#x} {size} owner {owner} level {level} items {count}\n")


if __name__ == "__main__":
    main()
