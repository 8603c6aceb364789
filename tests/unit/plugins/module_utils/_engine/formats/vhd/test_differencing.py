# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Differencing VHDs and their parents, built byte by byte, as nothing here writes them. 7-Zip merges them, too."""

from __future__ import annotations

import os
import random
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError, CorruptImage, InvalidImage, UnsafeReference, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import HOLE
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source

UNUSED = 0xFFFFFFFF
SECTOR = 512


def summed(structure, at):
    data = bytearray(structure)
    data[at : at + 4] = struct.pack(">I", 0xFFFFFFFF - sum(data[:at] + data[at + 4 :]))
    return bytes(data)


class Vhd:
    """A VHD in the making. ``blocks``: None, or (bitmap as a list of bools, content) for each block.

    :param names: code → name of the parent's locators
    """

    def __init__(self, size, block, identity=b"C" * 16, parent=None, names=None, unicode_name=""):
        self.size, self.block, self.identity, self.parent = size, block, identity, parent
        self.names, self.unicode_name = names or {}, unicode_name
        self.blocks = [None] * -(-size // block)

    def write(self, start, data):
        """As the guest would: whole sectors."""
        for at in range(start, start + len(data), SECTOR):
            number, inside = divmod(at, self.block)
            if self.blocks[number] is None:
                # What the bitmap does not show must not be seen.
                self.blocks[number] = ([self.parent is None] * (self.block // SECTOR), bytearray(b"\xee" * self.block if self.parent else bytes(self.block)))
            bitmap, content = self.blocks[number]
            bitmap[inside // SECTOR] = True
            content[inside : inside + SECTOR] = data[at - start :][:SECTOR]

    def seen(self, below=b""):
        """What the guest sees, over the parent's bytes."""
        disk = bytearray(below[: self.size].ljust(self.size, b"\0"))
        for number, found in enumerate(self.blocks):
            for index, own in enumerate(found[0] if found else []):
                at = number * self.block + index * SECTOR
                if own and at < self.size:
                    disk[at : at + SECTOR] = found[1][index * SECTOR :][:SECTOR]
        return bytes(disk)

    def bytes(self):
        kind = 3 if self.parent is None else 4
        parts = (b"conectix", 2, 0x10000, 512, 0, b"win ", 0x60001, b"Wi2k", self.size, self.size, 2, 4, 17, kind, 0, self.identity, 0)
        footer = summed(struct.pack(">8sIIQI4sI4sQQHBBII16sB427x", *parts), 64)
        table_size = -(-4 * len(self.blocks) // SECTOR) * SECTOR
        at = 1536 + table_size
        locators, texts = b"", b""
        for code, name in self.names.items():
            text = name.encode("utf-16-le" if code.startswith("W2") else "utf-8")
            locators += struct.pack(">4sIIIQ", code.encode(), 512, len(text), 0, at)
            texts += text.ljust(512, b"\0")
            at += 512
        parts = (b"cxsparse", (1 << 64) - 1, 1536, 0x10000, len(self.blocks), self.block, 0, self.parent or bytes(16), 0)
        header = struct.pack(">8sQQIIII16sI4x512s192s256x", *parts, self.unicode_name.encode("utf-16-be"), locators)
        bitmap_size = -(-self.block // SECTOR // 8 // SECTOR) * SECTOR
        table, stored = [], b""
        for found in self.blocks:
            table.append(UNUSED if found is None else (at + len(stored)) // SECTOR)
            if found is not None:
                bits = "".join("01"[own] for own in found[0])
                stored += int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big").ljust(bitmap_size, b"\0") + found[1]
        packed = struct.pack(f">{len(table)}I", *table).ljust(table_size, b"\xff")
        return footer + summed(header, 36) + packed + texts + stored + footer


def opened(path, folder=None):
    return open_source(Request(str(path), references=str(folder or path.parent)))


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


def scribble(vhd, seed, count=12):
    chance = random.Random(seed)
    for _write in range(count):
        start = chance.randrange(vhd.size // SECTOR) * SECTOR
        length = min(chance.choice([1, 1, 2, 7, 8, 9, 40]) * SECTOR, vhd.size - start)
        vhd.write(start, chance.randbytes(length))


NAMES = {"W2ku": "C:\\disks\\parent.vhd", "W2ru": ".\\parent.vhd"}


@pytest.fixture
def pair(tmp_path):
    """A parent and a child in files; and what the child shows."""
    parent = Vhd(16 * 4096, 4096, b"P" * 16)
    scribble(parent, 1)
    child = Vhd(16 * 4096, 4096, parent=b"P" * 16, names=NAMES, unicode_name="C:\\disks\\parent.vhd")
    scribble(child, 2)
    (tmp_path / "parent.vhd").write_bytes(parent.bytes())
    (tmp_path / "child.vhd").write_bytes(child.bytes())
    return parent, child, child.seen(parent.seen())


@pytest.mark.parametrize("block", [4096, 1 << 16, 1 << 21])
@pytest.mark.parametrize("seed", range(4))
def test_the_sector_bitmap_decides(tmp_path, seven_zip, block, seed):
    size = 3 * block + (SECTOR * 9 if seed % 2 else 0)
    below, wanted = None, b""
    for level in ("base", "middle", "top"):
        identity = level.encode().ljust(16, b".")
        disk = Vhd(size, block, identity, below and below.identity, below and {"W2ru": f".\\{below.file}", "W2ku": f"D:\\{below.file}"})
        disk.file = f"{level}.vhd"
        scribble(disk, f"{seed}{level}")
        wanted = disk.seen(wanted)
        (tmp_path / disk.file).write_bytes(disk.bytes())
        below = disk
    with opened(tmp_path / "top.vhd") as source:
        reader = source.reader
        assert content_of(reader) == wanted
        assert reader.check().clean
        chance = random.Random(seed)
        for _read in range(50):
            start, length = chance.randrange(size), chance.randrange(2 * block)
            assert reader.read_at(start, length) == wanted[start : start + length]
    merged = subprocess.run([seven_zip, "x", "-tvhd", "-so", tmp_path / "top.vhd"], check=True, capture_output=True).stdout
    assert merged == wanted
    with open_source(Request(str(tmp_path / "top.vhd"))) as source, pytest.raises(UnsupportedImage, match="differences to its parent"):
        next(source.reader.extents())


def test_a_fixed_parent_of_another_size(tmp_path):
    content = random.Random(9).randbytes(5 * 4096)
    fixed = struct.pack(
        ">8sIIQI4sI4sQQHBBII16sB427x", b"conectix", 2, 0x10000, (1 << 64) - 1, 0, b"win ", 0x60001, b"Wi2k", *[len(content)] * 2, 2, 4, 17, 2, 0, b"P" * 16, 0
    )
    (tmp_path / "parent.vhd").write_bytes(content + summed(fixed, 64))
    child = Vhd(8 * 4096, 4096, parent=b"P" * 16, names=NAMES)
    child.write(4096, b"\x01" * 512)
    (tmp_path / "child.vhd").write_bytes(child.bytes())
    with opened(tmp_path / "child.vhd") as source:
        assert content_of(source.reader) == child.seen(content)


def test_sectors_in_a_hole_of_the_file_are_zeros_and_not_the_parent_s(pair, tmp_path):
    parent, child, _wanted = pair
    child = Vhd(4 << 20, 2 << 20, parent=b"P" * 16, names=NAMES)
    child.write(0, bytes(1 << 20))
    data = child.bytes()
    with open(tmp_path / "child.vhd", "wb") as file:  # as sparse as can be
        for at in range(0, len(data), 4096):
            if data[at : at + 4096].strip(b"\0"):
                file.seek(at)
                file.write(data[at : at + 4096])
        file.truncate(len(data))
    with opened(tmp_path / "child.vhd") as source:
        assert content_of(source.reader) == child.seen(parent.seen())
        assert source.reader.storage.allocated() < len(data)
        assert any(extent.kind == HOLE for extent in source.reader.extents(0, 1 << 20))


@pytest.mark.parametrize(
    ("names", "unicode_name", "found"),
    [
        (NAMES, "", True),
        ({"W2ku": "C:\\elsewhere\\parent.vhd"}, "", True),
        ({"W2ku": "\\\\server\\share\\parent.vhd"}, "", True),
        ({}, "C:\\disks\\parent.vhd", True),
        ({}, "parent.vhd", True),
        ({"Wi2r": ".\\parent.vhd"}, "", True),
        ({"W2ru": "..\\disks\\parent.vhd", "W2ku": "C:\\disks\\parent.vhd"}, "", True),
        ({"MacX": "file://localhost/Users/x/parent.vhd", "W2ru": ".\\parent.vhd"}, "", True),
        ({"W2ru": ".\\gone.vhd", "W2ku": "C:\\disks\\parent.vhd"}, "", True),
        ({"W2ru": "..\\parent.vhd"}, "", UnsafeReference),
        ({"W2ku": "C:\\disks\\gone.vhd"}, "", UnsafeReference),
        ({"W2ru": ".\\gone.vhd", "W2ku": "C:\\disks\\gone.vhd"}, "", AccessError),
        ({"MacX": "http://host/parent.vhd"}, "", UnsafeReference),
        ({}, "", UnsafeReference),
        ({"W2ru": ".\\child.vhd"}, "", CorruptImage),
        ({"W2ru": ".\\raw.vhd"}, "", InvalidImage),
    ],
)
def test_where_the_parent_is_looked_for(pair, tmp_path, names, unicode_name, found):
    _parent, child, wanted = pair
    child.names, child.unicode_name = names, unicode_name
    (tmp_path / "child.vhd").write_bytes(child.bytes())
    (tmp_path / "raw.vhd").write_bytes(bytes(1 << 20))
    if found is True:
        with opened(tmp_path / "child.vhd") as source:
            assert content_of(source.reader) == wanted
    elif names or unicode_name:
        with pytest.raises(found), opened(tmp_path / "child.vhd"):
            pass
    else:  # nothing is named: nothing is followed
        with opened(tmp_path / "child.vhd") as source, pytest.raises(UnsupportedImage):
            next(source.reader.extents())


def test_a_parent_in_the_allowed_folder_of_a_child_elsewhere(pair, tmp_path):
    (tmp_path / "parents").mkdir()
    os.rename(tmp_path / "parent.vhd", tmp_path / "parents/parent.vhd")
    with opened(tmp_path / "child.vhd", tmp_path / "parents") as source:
        assert content_of(source.reader) == pair[2]
    with pytest.raises(AccessError, match="no such file"), opened(tmp_path / "child.vhd"):
        pass


def test_another_disk_of_the_parent_s_name(pair, tmp_path):
    pair[0].identity = b"Q" * 16
    (tmp_path / "parent.vhd").write_bytes(pair[0].bytes())
    with pytest.raises(CorruptImage, match="identifier 50505050-5050"), opened(tmp_path / "child.vhd"):
        pass


def test_a_parent_that_was_cut(pair, tmp_path):
    data = pair[0].bytes()
    (tmp_path / "parent.vhd").write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptImage), opened(tmp_path / "child.vhd") as source:
        content_of(source.reader)
