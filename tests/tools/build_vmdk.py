# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMDK files that no program writes outside of ESXi: COWD and seSparse extents, and descriptors; for tests and fuzzing.

They owe nothing to the engine; qemu-img reads them through a descriptor, and is their judge.
"""

from __future__ import annotations

import random
import struct
import typing as t

SECTOR = 512
ENTRIES = 4096
"""of a grain table, of either kind"""
UNMAPPED, ZERO = 1, 2
"""what a grain of an seSparse extent can be in the place of bytes"""
SESPARSE_GRAIN = 4096


def cowd(
    sectors: int, grains: t.Mapping[int, bytes], *, grain: int = 1, flags: int = 3, geometry: tuple[int, int, int] = (0, 0, 0), seed: int | None = None
) -> bytearray:
    """A COWD extent of a disk of some sectors, with grains by their number.

    :param grain: sectors
    :param seed: tables and grains lie in this order's order; None: as ESX lays them down when the disk is filled from its start
    """
    span = grain * ENTRIES
    tables = sorted({index // ENTRIES for index in grains})
    entries = -(-sectors // span)
    free = 4 + -(-entries * 4 // SECTOR)
    parts = [("table", number) for number in tables] + [("grain", number) for number in sorted(grains)]
    if seed is None:
        parts.sort(key=lambda part: (part[1] // (1 if part[0] == "table" else ENTRIES), part[0] == "grain", part[1]))
    else:
        random.Random(seed).shuffle(parts)
    place = {}
    for part in parts:
        place[part] = free
        free += ENTRIES * 4 // SECTOR if part[0] == "table" else grain
    data = bytearray(free * SECTOR)
    struct.pack_into("<4s7I3I", data, 0, b"COWD", 1, flags, sectors, grain, 4, entries, free, *geometry)
    for number in tables:
        struct.pack_into("<I", data, 4 * SECTOR + number * 4, place["table", number])
    for number, content in grains.items():
        struct.pack_into("<I", data, place["table", number // ENTRIES] * SECTOR + number % ENTRIES * 4, place["grain", number])
        start = place["grain", number] * SECTOR
        data[start : start + len(content)] = content
    return data


def sesparse(sectors: int, grains: t.Mapping[int, bytes | int], *, seed: int | None = None, replay: int = 0, skip: int = 0) -> bytearray:
    """An seSparse extent: grains (of 8 sectors) by their number; bytes, UNMAPPED or ZERO.

    :param seed: tables and grains are numbered in its order; None: in the guest's
    :param replay: not 0: not closed cleanly
    :param skip: grains left free in front of the first
    """
    tables = sorted({index // ENTRIES for index in grains})
    stored = sorted(index for index, content in grains.items() if not isinstance(content, int))
    if seed is not None:
        random.Random(seed).shuffle(tables)
        random.Random(seed).shuffle(stored)
    spans = -(-sectors // (8 * ENTRIES))
    directory = -(-spans * 8 // SECTOR)
    offset = {"volatile": 1, "journal header": 2, "journal": 4, "directory": 6}
    offset["tables"] = 6 + directory
    offset["bitmap"] = offset["tables"] + max(1, len(tables)) * 64
    offset["backmap"] = offset["bitmap"] + 1
    offset["grains"] = -(-(offset["backmap"] + 8) // 8) * 8
    count = skip + len(stored)
    data = bytearray((offset["grains"] + count * 8) * SECTOR)
    sizes = (1, 2, 2, directory, offset["bitmap"] - offset["tables"], 1, 8, max(8, count * 8))
    regions = [value for pair in zip(offset.values(), sizes) for value in pair]
    struct.pack_into("<26Q", data, 0, 0xCAFEBABE, 0x200000001, sectors, 8, 64, 0, 0, 0, 0, 0, *regions)
    struct.pack_into("<4Q", data, SECTOR, 0xCAFECAFE, len(tables), 1, replay)
    place = {number: position for position, number in enumerate(tables)}
    for number, position in place.items():
        struct.pack_into("<Q", data, offset["directory"] * SECTOR + number * 8, 1 << 60 | position)
    order = {number: skip + position for position, number in enumerate(stored)}
    for number, content in grains.items():
        if isinstance(content, int):
            entry = content << 60
        else:
            entry = 3 << 60 | (order[number] & 0xFFF) << 48 | order[number] >> 12
            start = offset["grains"] * SECTOR + order[number] * SESPARSE_GRAIN
            data[start : start + len(content)] = content
        struct.pack_into("<Q", data, offset["tables"] * SECTOR + place[number // ENTRIES] * 64 * SECTOR + number % ENTRIES * 8, entry)
    return data


def descriptor(create_type: str, lines: t.Iterable[str], *, cid: int = 0xFFFFFFFE, parent: tuple[int, str] | None = None, more: str = "") -> str:
    """A descriptor as ESX writes it; ``parent`` is its content ID and its name."""
    hint = f'parentFileNameHint="{parent[1]}"\n' if parent else ""
    body = "\n".join(lines)
    return f"""\
# Disk DescriptorFile
version=3
encoding="UTF-8"
CID={cid:08x}
parentCID={parent[0] if parent else 0xFFFFFFFF:08x}
isNativeSnapshot="no"
createType="{create_type}"
{hint}# Extent description
{body}

# Change Tracking File
changeTrackPath="x-ctk.vmdk"

# The Disk Data Base
#DDB

ddb.longContentID = "0123456789abcdef01234567{cid:08x}"
{more}"""


def sparse_grains(sectors: int, grain: int, seed: int, *, kinds: tuple[int, ...] = (), share: float = 0.3) -> dict[int, bytes | int]:
    """Grains (of some sectors) by chance, alone and in runs; ``kinds`` is what some are in the place of bytes."""
    chance = random.Random(seed)
    count = -(-sectors // grain)
    grains: dict[int, bytes | int] = {}
    index = 0
    while index < count:
        length = min(chance.choice((1, 1, 2, 7, 100, 1500)), count - index)
        if chance.random() < share:
            kind = chance.choice((None, None, *kinds))
            for number in range(index, index + length):
                grains[number] = chance.randbytes(min(grain, sectors - number * grain) * SECTOR) if kind is None else kind
        index += length
    return grains
