# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that no tool here writes: Bochs, cloop, Parallels with the old signature. For the tests, judged by qemu-img.

From the formats' descriptions alone (see the readers), with nothing of the engine.
"""

from __future__ import annotations

import random
import struct
import zlib

SECTOR = 512
PREAMBLE = b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r -t iso9660 /dev/cloop $1\n"


def bochs(disk: bytes, *, version: int = 2, extent: int = 4096, spare: int = 3, bitmap: int = 0, subtype: bytes = b"Growing", seed: int | None = None) -> bytes:
    """A redolog of a disk of whole sectors; a sector of zeros is not in it.

    :param spare: catalog entries behind those that the disk needs
    :param bitmap: bytes of a bitmap, where they are more than one for 8 sectors
    :param seed: puts the extents in an order of chance
    """
    count = -(-len(disk) // extent)
    parts = [disk[at : at + extent] for at in range(0, len(disk), extent)]
    used = [number for number, part in enumerate(parts) if part.strip(b"\0")]
    if seed is not None:
        random.Random(seed).shuffle(used)
    catalog = [0xFFFFFFFF] * (count + spare)
    bitmap = bitmap or -(-extent // SECTOR // 8)
    room = -(-bitmap // SECTOR) * SECTOR
    data = b""
    for place, number in enumerate(used):
        catalog[number] = place
        part = parts[number].ljust(extent, b"\0")
        bits = sum(1 << sector for sector in range(extent // SECTOR) if part[sector * SECTOR : (sector + 1) * SECTOR].strip(b"\0"))
        data += bits.to_bytes(room, "little") + part
    header = struct.pack("<32s16s16sIIIII", b"Bochs Virtual HD Image", b"Redolog", subtype, version << 16, SECTOR, len(catalog), bitmap, extent)
    header += struct.pack("<Q", len(disk)) if version == 1 else struct.pack("<IQ", 0, len(disk))
    return header.ljust(SECTOR, b"\0") + struct.pack(f"<{len(catalog)}I", *catalog) + data


def cloop(disk: bytes, block: int = 65536, level: int = 6) -> bytes:
    """A cloop of a disk; its last block is filled up with zeros."""
    blocks = [zlib.compress(disk[at : at + block].ljust(block, b"\0"), level) for at in range(0, len(disk), block)]
    offsets = [136 + 8 * (len(blocks) + 1)]
    for data in blocks:
        offsets.append(offsets[-1] + len(data))
    return PREAMBLE.ljust(128, b"\0") + struct.pack(f">II{len(offsets)}Q", block, len(blocks), *offsets) + b"".join(blocks)


def old_parallels(image: bytes, *, keep_data_off: bool = True) -> bytes:
    """An image with the signature WithoutFreeSpace, made of one with the other: its BAT counts in sectors."""
    data = bytearray(image)
    cluster, entries = struct.unpack_from("<II", data, 28)
    data[:16] = b"WithoutFreeSpace"
    for at in range(64, 64 + 4 * entries, 4):
        data[at : at + 4] = struct.pack("<I", struct.unpack_from("<I", data, at)[0] * cluster)
    if not keep_data_off:
        data[48:52] = bytes(4)
    return bytes(data)
