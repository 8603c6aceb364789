# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VHDX images built byte by byte, with nothing of the engine's: whatever is to be wrong in them can be made wrong."""

from __future__ import annotations

import random
import struct
import uuid

import pytest

MIB = 1 << 20
BLOCKS = 4 * MIB  # where the blocks begin
TABLE = []
for byte in range(256):
    for _bit in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def guid(text):
    return uuid.UUID(text).bytes_le


BAT = guid("2DC27766-F623-4200-9D64-115E9BFD4A08")
METADATA = guid("8B7CA206-4790-4B9A-B8FE-575F050F886E")
PARAMETERS = guid("CAA16737-FA36-4D43-B3B6-33F0AA44E76B")
SIZE = guid("2FA54224-CD1B-4876-B211-5DBED83BF4B8")
DISK_ID = guid("BECA12AB-B2E6-4523-93EF-C309E000C746")
LOGICAL = guid("8141BF1D-A96F-4709-BA47-F233A8FAAB5F")
PHYSICAL = guid("CDA348C7-445D-4471-9CC9-E9885251C556")
PARENT = guid("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C")
VHDX_LOCATOR = guid("B04AEFB7-D19E-4A81-B789-25B8E9445913")
LOG_GUID = guid("12345678-9ABC-4DEF-8123-456789ABCDEF")


def seal(data):
    """The structure with its CRC-32C, a byte at a time."""
    data = bytearray(data)
    data[4:8] = bytes(4)
    crc = 0xFFFFFFFF
    for value in data:
        crc = crc >> 8 ^ TABLE[(crc ^ value) & 0xFF]
    data[4:8] = struct.pack("<I", crc ^ 0xFFFFFFFF)
    return bytes(data)


def noise(length, seed=0):
    return random.Random(seed).randbytes(length)


def locator(pairs, kind=VHDX_LOCATOR):
    """A parent locator's bytes."""
    head = kind + struct.pack("<HH", 0, len(pairs))
    entries, texts, at = b"", b"", len(head) + 12 * len(pairs)
    for pair in pairs.items():
        key, value = (text.encode("utf-16-le") for text in pair)
        entries += struct.pack("<IIHH", at, at + len(key), len(key), len(value))
        texts += key + value
        at += len(key) + len(value)
    return head + entries + texts


def log_entry(number, changes, tail, size, guid=LOG_GUID, flushed=None):
    """An entry of the log. A change is (file offset, 4096 bytes of data) or (file offset, length to zero)."""
    descriptors, data = b"", b""
    for offset, change in changes:
        if isinstance(change, int):
            descriptors += struct.pack("<4sIQQQ", b"zero", 0, change, offset, number)
        else:
            descriptors += b"desc" + change[-4:] + change[:8] + struct.pack("<QQ", offset, number)
            data += struct.pack("<4sI4084sI", b"data", number >> 32, change[8:-4], number & 0xFFFFFFFF)
    room = -(-(64 + len(descriptors)) // 4096) * 4096
    head = struct.pack("<4sIIIQII16sQQ", b"loge", 0, room + len(data), tail, number, len(changes), 0, guid, size if flushed is None else flushed, size)
    return seal((head + descriptors).ljust(room, b"\0") + data)


class Image:
    """Log at 1 MiB, metadata at 2 MiB, BAT at 3 MiB, blocks from 4 MiB on. Change what is to be wrong, then ask for :meth:`bytes`.

    :param table: the BAT entries of the payload blocks
    """

    def __init__(self, size=4 * MIB, block=MIB, sector=512, flags=0, table=None, blocks=2):
        header = {"number": 1, "log_guid": bytes(16), "log_version": 0, "version": 1, "log_length": MIB, "log_offset": MIB}
        self.headers = [dict(header), {**header, "number": 2}]
        self.regions = [[METADATA, 2 * MIB, MIB, 1], [BAT, 3 * MIB, MIB, 1]]
        self.items = {
            PARAMETERS: [struct.pack("<II", block, flags), 4],
            SIZE: [struct.pack("<Q", size), 6],
            LOGICAL: [struct.pack("<I", sector), 6],
            PHYSICAL: [struct.pack("<I", 4096), 6],
            DISK_ID: [b"identifies disk!", 6],
        }
        self.ratio = (1 << 23) * sector // block
        self.payload = noise(blocks * block, 7)
        count = -(-size // block)
        self.table = [self.at(1), 0, 2, self.at(0)] + [0] * (count - 4) if table is None else list(table)
        self.log = b""
        self.length = None
        self.pokes = {}  # offset -> bytes, after everything else
        self.block, self.size = block, size

    def at(self, index, block=None):
        """The entry of a block that is stored as number `index`."""
        return BLOCKS + index * (block or getattr(self, "block", MIB)) | 6

    def dirty(self, *entries, gap=b""):
        for header in self.headers:
            header["log_guid"] = LOG_GUID
        self.log = gap + b"".join(entries)
        return self

    def poke(self, offset, data):
        self.pokes[offset] = data
        return self

    def disk(self):
        """What the guest sees."""
        blocks = []
        for entry in self.table:
            start = (entry & ~0xFFFFF) - BLOCKS
            blocks.append(self.payload[start : start + self.block] if entry & 7 == 6 else bytes(self.block))
        return b"".join(blocks)[: self.size]

    def metadata(self):
        table, content = b"metadata" + struct.pack("<HH20x", 0, len(self.items)), b""
        for item, (value, flags) in self.items.items():
            table += item + struct.pack("<IIII", (1 << 16) + len(content), len(value), flags, 0)
            content += value
        return table.ljust(1 << 16, b"\0") + content

    def bytes(self):
        image = bytearray(BLOCKS) + self.payload
        image[: 8 + 8] = b"vhdxfile" + "Test".encode("utf-16-le")
        for offset, header in zip((0x10000, 0x20000), self.headers):
            parts = (header["number"], b"F" * 16, b"D" * 16, header["log_guid"])
            rest = (header["log_version"], header["version"], header["log_length"], header["log_offset"])
            image[offset : offset + 4096] = seal(struct.pack("<4sIQ16s16s16sHHIQ4016x", b"head", 0, *parts, *rest))
        regions = struct.pack("<4sIII", b"regi", 0, len(self.regions), 0) + b"".join(struct.pack("<16sQII", *region) for region in self.regions)
        regions = seal(regions.ljust(1 << 16, b"\0"))
        image[0x30000:0x40000] = image[0x40000:0x50000] = regions
        image[MIB : MIB + len(self.log)] = self.log
        metadata = self.metadata()
        image[2 * MIB : 2 * MIB + len(metadata)] = metadata
        for number, entry in enumerate(self.table):
            struct.pack_into("<Q", image, 3 * MIB + 8 * (number + number // self.ratio), entry)
        for offset, data in self.pokes.items():
            image[offset : offset + len(data)] = data
        return bytes(image[: self.length])


@pytest.fixture(scope="session")
def vhdx():
    """What images are built with, as one object."""
    return type(
        "Vhdx",
        (),
        {
            "Image": Image,
            "seal": staticmethod(seal),
            "noise": staticmethod(noise),
            "locator": staticmethod(locator),
            "log_entry": staticmethod(log_entry),
            "guid": staticmethod(guid),
            "BAT": BAT,
            "METADATA": METADATA,
            "PARAMETERS": PARAMETERS,
            "SIZE": SIZE,
            "DISK_ID": DISK_ID,
            "LOGICAL": LOGICAL,
            "PHYSICAL": PHYSICAL,
            "PARENT": PARENT,
        },
    )
