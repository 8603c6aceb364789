# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variants of VHDX and VDI that no tool here writes: an image that was not closed, and one of the first VirtualBox."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "module_utils"))

from _engine.formats.vhdx import crc32c  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
PAGE = 4096
LOG, BAT = 1 * MIB, 3 * MIB  # where the engine's own writer places them


def dirty_vhdx(image: bytes) -> bytes:
    """What the engine wrote, as if the power had gone: the first page of the table is in the log only, which has three entries."""
    new = bytearray(image)
    page, guid = bytes(new[BAT : BAT + PAGE]), b"a log of its own"
    new[BAT : BAT + PAGE] = bytes(PAGE)
    changes = [(BAT, page[::-1]), (BAT + PAGE, None), (BAT, page)]
    at = LOG
    for number, (offset, data) in enumerate(changes, 7):
        if data is None:
            descriptor, sector = struct.pack("<4sIQQQ", b"zero", 0, PAGE, offset, number), b""
        else:
            descriptor = b"desc" + data[-4:] + data[:8] + struct.pack("<QQ", offset, number)
            sector = struct.pack("<4sI4084sI", b"data", number >> 32, data[8:-4], number & 0xFFFFFFFF)
        head = struct.pack("<4sIIIQII16sQQ", b"loge", 0, PAGE + len(sector), 0, number, 1, 0, guid, len(image), len(image))
        entry = crc32c.seal((head + descriptor).ljust(PAGE, b"\0") + sector)
        new[at : at + len(entry)] = entry
        at += len(entry)
    for offset in (64 * KIB, 128 * KIB):
        new[offset + 48 : offset + 64] = guid
        new[offset : offset + PAGE] = crc32c.seal(bytes(new[offset : offset + PAGE]))
    return bytes(new)


def log_entries(image: bytes) -> list[tuple[int, int]]:
    """The (offset, length) of what may be entries of such an image's log."""
    found = []
    at = LOG
    while image[at : at + 4] == b"loge":
        length = int.from_bytes(image[at + 8 : at + 12], "little")
        if not PAGE <= length <= MIB:
            break
        found.append((at, length))
        at += length
    return found


def old_vdi(content: bytes, *, block: int = 64 * KIB) -> bytes:
    """A VDI of version 0.2, which has no offsets in its header, in blocks of another size, in falling order; zeros are discarded."""
    blocks = [content[at : at + block].ljust(block, b"\0") for at in range(0, len(content), block)]
    used = [number for number, data in enumerate(blocks) if data.strip(b"\0")][::-1]
    table = [used.index(number) if number in used else 0xFFFFFFFE if number % 2 else 0xFFFFFFFF for number in range(len(blocks))]
    head = struct.pack("<64sIIII256s4I", b"<<< innotek VirtualBox Disk Image >>>\n", 0xBEDA107F, 2, 1, 0, b"", 0, 0, 0, 512)
    head += struct.pack("<QIII", len(content), block, len(blocks), len(used)) + b"\x01" * 32 + bytes(16)
    return head + struct.pack(f"<{len(table)}I", *table) + b"".join(blocks[number] for number in used)
