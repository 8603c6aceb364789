# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ways to damage bytes, for tests/tools/fuzz and tests/tools/fuzz_filesystems. The same seed gives the same damage.

Each takes the bytes, the (offset, length) ranges where damage means most, and the source of chance; it changes the bytes and
tells what it did.
"""

from __future__ import annotations

import random
import sys
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "module_utils"))

from _engine.storage.base import Storage  # noqa: E402

KIB = 1 << 10


class Recorder(Storage):
    """Notes what is read: an image's structures, when only its extents are asked for."""

    def __init__(self, below: Storage) -> None:
        self.below = below
        self.name, self.size = below.name, below.size
        self.ranges: list[tuple[int, int]] = []

    def read_at(self, offset: int, length: int) -> bytes:
        self.ranges.append((offset, min(length, self.size - offset)))
        return self.below.read_at(offset, length)


INTERESTING = sorted(
    {0, 1, 2, 3, *(1 << bit for bit in range(3, 65, 4)), *((1 << bit) - 1 for bit in (7, 8, 15, 16, 31, 32, 55, 62, 63, 64)), 0xFFFFFFFE, 511, 512, 513}
)


def place(data: bytearray, hot: list[tuple[int, int]], chance: random.Random) -> int:
    """An offset, mostly in a structure, and there mostly where something stands."""
    if not data:
        return 0
    start, length = chance.choice(hot) if chance.random() < 0.9 else (0, len(data))
    length = min(length, max(1, len(data) - start))
    for _try in range(30):
        at = min(start + (chance.randrange(min(length, 128)) if chance.random() < 0.3 else chance.randrange(length)), len(data) - 1)
        if data[at] or chance.random() < 0.05:
            return at
    return at


def flip(data: bytearray, hot: list[tuple[int, int]], chance: random.Random) -> str:
    """One bit."""
    at = place(data, hot, chance)
    bit = chance.randrange(8)
    data[at : at + 1] = bytes([(data[at] if data else 0) ^ 1 << bit])
    return f"bit {bit} of byte {at:#x} flipped"


def overwrite(data: bytearray, hot: list[tuple[int, int]], chance: random.Random) -> str:
    """A number: an extreme one, or one near what was there."""
    width = chance.choice((1, 2, 4, 4, 8, 8))
    at = place(data, hot, chance) // width * width
    order = chance.choice(("little", "big"))
    old = int.from_bytes(data[at : at + width], order)
    value = chance.choice(
        (chance.choice(INTERESTING), old + 1, old - 1, old * 2, old + 512, old << 9, len(data), len(data) // 512, len(data) - 512, ~old, chance.getrandbits(64))
    ) % (1 << 8 * width)
    data[at : at + width] = value.to_bytes(width, order)
    return f"{value:#x} ({width} bytes, {order}) at {at:#x}"


def shuffle(data: bytearray, hot: list[tuple[int, int]], chance: random.Random) -> str:
    """A table's entry over another of the same table, or both in each other's place."""
    width = chance.choice((4, 8))
    one = place(data, hot, chance) // width * width
    other = max(0, min(one + chance.choice((-2, -1, 1, 2, 8, 64)) * width, len(data) - width))
    first, second = bytes(data[one : one + width]), bytes(data[other : other + width])
    data[other : other + width] = first
    if chance.random() < 0.5:
        data[one : one + width] = second
    return f"entry at {one:#x} copied or moved to {other:#x}"


def blot(data: bytearray, hot: list[tuple[int, int]], chance: random.Random) -> str:
    """A block: of zeros, ones, noise, or another one."""
    size = chance.choice((16, 512, 4 * KIB, 64 * KIB))
    at = place(data, hot, chance) // size * size
    kind = chance.choice(("zeros", "ones", "noise", "copy"))
    source = place(data, hot, chance) // size * size
    new = {"zeros": bytes(size), "ones": b"\xff" * size, "noise": chance.randbytes(size), "copy": bytes(data[source : source + size])}[kind]
    length = min(len(new), len(data) - at)
    data[at : at + length] = new[:length]
    return f"{length} bytes at {at:#x}: {kind} of {source:#x}"


def stretch(data: bytearray, hot: list[tuple[int, int]], chance: random.Random) -> str:
    """Bytes inserted, removed or appended; or the end cut and filled up with zeros."""
    kind = chance.choice(("insert", "remove", "append zeros", "append noise", "zero the end"))
    at, size = place(data, hot, chance), chance.choice((1, 8, 511, 512, 4 * KIB, 64 * KIB))
    if kind == "insert":
        data[at:at] = chance.randbytes(size)
    elif kind == "remove":
        del data[at : at + size]
    elif kind == "zero the end":
        at = cut(data, hot, chance)
        size = len(data) - at
        data[at:] = bytes(size)
    else:
        data += bytes(size) if kind == "append zeros" else chance.randbytes(size)
    return f"{kind} {size} bytes at {at:#x}"


IN_PLACE = (flip, flip, overwrite, overwrite, overwrite, overwrite, shuffle, shuffle, blot)
"""those that keep the size"""
MUTATIONS = (*IN_PLACE, stretch)


def cut(data: t.Sequence[int], hot: list[tuple[int, int]], chance: random.Random) -> int:
    """Where to cut: a byte, a sector, the border of a structure, or just the end."""
    start, length = chance.choice(hot)
    size = chance.choice(
        (
            chance.randrange(len(data) + 1),
            chance.randrange(len(data) // 512 + 1) * 512,
            start,
            start + length,
            start + length // 2,
            len(data) - 1,
            len(data) - 512,
        )
    )
    return max(0, min(size, len(data) - 1))
