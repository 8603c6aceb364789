# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Malformed VHDX images: each is refused with a reason, and nothing but the engine's own errors comes out."""

from __future__ import annotations

import random
import struct

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, InvalidImage, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhdx.reader import VhdxReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

MIB = 1 << 20
TIB = 1 << 40


def read_all(content):
    reader = VhdxReader(Memory(content))
    reader.describe()
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


def header(**fields):
    return lambda image, _vhdx: [one.update(fields) for one in image.headers]


def region(number, field, value):
    return lambda image, _vhdx: image.regions[number].__setitem__(field, value)


def item(name, form, *values, flags=None):
    def change(image, vhdx):
        entry = image.items[getattr(vhdx, name)]
        entry[0] = struct.pack(form, *values)
        entry[1] = entry[1] if flags is None else flags

    return change


def table(*entries):
    return lambda image, _vhdx: image.table.__setitem__(slice(0, len(entries)), entries)


def poke(*pokes):
    return lambda image, _vhdx: [image.poke(at, data) for at, data in pokes]


def metadata_entry(number, field, value):
    """Change one of the numbers (offset, length, flags) of an entry of the metadata table."""
    return poke((2 * MIB + 32 + 32 * number + 16 + 4 * field, struct.pack("<I", value)))


def both(first, second):
    return lambda image, vhdx: (first(image, vhdx), second(image, vhdx))


def longer(image, _vhdx):
    image.payload += bytes(2 * MIB)


def parent(content):
    def change(image, vhdx):
        image.items[vhdx.PARAMETERS][0] = struct.pack("<II", MIB, 2)
        image.items[vhdx.PARENT] = [content(vhdx) if callable(content) else content, 4]

    return change


CASES = {
    "no VHDX": (poke((0, b"vhdxfilf")), InvalidImage, "not a VHDX"),
    "both headers damaged": (poke((0x10010, b"x"), (0x20010, b"x")), CorruptImage, "both headers"),
    "no header signatures": (lambda i, v: [i.poke(at, v.seal(b"HEAD".ljust(4096, b"\0"))) for at in (0x10000, 0x20000)], CorruptImage, "both headers"),
    "two headers, one number": (lambda i, v: i.headers[0].update(number=2, log_length=2 * MIB), CorruptImage, "same sequence number"),
    "unknown version": (header(version=2), UnsupportedImage, "version 2"),
    "log not aligned": (header(log_offset=MIB + 4096), CorruptImage, "not aligned"),
    "log length not aligned": (header(log_length=4096), CorruptImage, "not aligned"),
    "log over the headers": (header(log_offset=0), CorruptImage, "not aligned"),
    "log behind the end": (header(log_offset=1 << 62), CorruptImage, "behind the end"),
    "log over the metadata": (header(log_length=2 * MIB), CorruptImage, "overlaps"),
    "both region tables damaged": (poke((0x30020, b"x"), (0x40020, b"x")), CorruptImage, "both region tables"),
    "too many regions": (
        lambda i, v: [i.poke(at, v.seal(struct.pack("<4sIII", b"regi", 0, 2048, 0).ljust(1 << 16, b"\0"))) for at in (0x30000, 0x40000)],
        CorruptImage,
        "2048 entries",
    ),
    "unknown required region": (lambda i, v: i.regions.append([b"U" * 16, 5 * MIB, MIB, 1]), UnsupportedImage, "required"),
    "region named twice": (lambda i, v: i.regions.append([v.BAT, 5 * MIB, MIB, 1]), CorruptImage, "twice"),
    "no table": (lambda i, v: i.regions.pop(1), CorruptImage, "no block allocation table"),
    "no metadata": (lambda i, v: i.regions.pop(0), CorruptImage, "no metadata region"),
    "region not aligned": (region(1, 1, 3 * MIB + 512), CorruptImage, "not aligned"),
    "region of no length": (region(1, 2, 0), CorruptImage, "not aligned"),
    "region over the headers": (region(1, 1, 0), CorruptImage, "not aligned"),
    "region behind the end": (region(1, 1, 1 << 63), CorruptImage, "behind the end"),
    "region longer than the file": (region(1, 2, 0xFFF00000), CorruptImage, "behind the end"),
    "regions overlap": (region(1, 1, 2 * MIB), CorruptImage, "overlaps"),
    "no metadata signature": (poke((2 * MIB, b"M")), CorruptImage, "no signature"),
    "too many metadata items": (poke((2 * MIB + 10, b"\x00\x08")), CorruptImage, "2048 entries"),
    "unknown required item": (lambda i, v: i.items.update({b"u" * 16: [b"x", 4]}), UnsupportedImage, "required"),
    "metadata item twice": (
        poke((2 * MIB + 32 + 32, struct.pack("<IHH", 0xCAA16737, 0xFA36, 0x4D43) + bytes.fromhex("b3b633f0aa44e76b"))),
        CorruptImage,
        "twice",
    ),
    "metadata item in the table": (metadata_entry(1, 0, 8), CorruptImage, "not inside"),
    "metadata item outside": (metadata_entry(1, 0, MIB - 7), CorruptImage, "not inside"),
    "metadata item too long": (metadata_entry(1, 1, 0xFFFFFFFF), CorruptImage, "not inside"),
    "metadata items overlap": (metadata_entry(1, 0, 0x10004), CorruptImage, "overlaps"),
    "item of another size": (item("SIZE", "<I", MIB), CorruptImage, "4 bytes instead of 8"),
    "item missing": (lambda i, v: i.items.pop(v.LOGICAL), CorruptImage, "no item for logical_sector_size"),
    "block size 0": (item("PARAMETERS", "<II", 0, 0), CorruptImage, "block size of 0"),
    "block size too small": (item("PARAMETERS", "<II", MIB // 2, 0), CorruptImage, "block size"),
    "block size too large": (item("PARAMETERS", "<II", 512 * MIB, 0), CorruptImage, "block size"),
    "block size no power of two": (item("PARAMETERS", "<II", 3 * MIB, 0), CorruptImage, "block size"),
    "logical sectors": (item("LOGICAL", "<I", 1024), CorruptImage, "logical sector size of 1024"),
    "physical sectors": (item("PHYSICAL", "<I", 0), CorruptImage, "physical sector size of 0"),
    "half a sector": (item("SIZE", "<Q", MIB + 256), CorruptImage, "a disk of 1048832 bytes"),
    "disk too large": (item("SIZE", "<Q", 64 * TIB + 512), LimitExceeded, "is the most"),
    "no room for the table": (item("SIZE", "<Q", 63 * TIB), CorruptImage, "no room"),
    "parent without locator": (item("PARAMETERS", "<II", MIB, 2), CorruptImage, "parent locator"),
    "empty locator": (parent(b"x"), CorruptImage, "too short"),
    "locator of another type": (parent(lambda v: v.locator({}, b"T" * 16)), UnsupportedImage, "unknown type"),
    "locator with too many entries": (parent(lambda v: v.locator({})[:18] + b"\xff\xff"), CorruptImage, "no room"),
    "locator entry outside": (parent(lambda v: v.locator({"a": "b"})[:-2]), CorruptImage, "outside"),
    "block without a place": (table(6), CorruptImage, "overlaps"),
    "block over the headers": (table(6 | 0 << 20), CorruptImage, "overlaps"),
    "block over the log": (table(6 | 1 << 20), CorruptImage, "overlaps"),
    "block over the metadata": (table(6 | 2 << 20), CorruptImage, "overlaps"),
    "block over the table": (table(6 | 3 << 20), CorruptImage, "overlaps"),
    "one block twice": (table(6 | 4 << 20, 6 | 4 << 20), CorruptImage, "overlaps another block"),
    "blocks overlap": (both(both(item("PARAMETERS", "<II", 2 * MIB, 0), longer), table(6 | 4 << 20, 6 | 5 << 20)), CorruptImage, "overlaps another block"),
    "block behind the end": (table(6 | 6 << 20), CorruptImage, "behind the end"),
    "block far behind the end": (table(0xFFFFFFFFFFF00006), CorruptImage, "behind the end"),
    "state that is none": (table(0, 4), CorruptImage, "state 4"),
    "partly present without parent": (table(7 | 4 << 20), CorruptImage, "state 7"),
    "reserved bits of an entry": (table(6 | 4 << 20 | 8), CorruptImage, "reserved bits"),
    "reserved bits of an empty entry": (table(0, 1 << 19), CorruptImage, "reserved bits"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(vhdx, case):
    change, error, words = CASES[case]
    image = vhdx.Image()
    assert read_all(image.bytes()) == image.disk()
    change(image, vhdx)
    with pytest.raises(error, match=words) as caught:
        read_all(image.bytes())
    assert caught.type is error
    assert caught.value.path == "memory"


@pytest.mark.parametrize("case", ["regions overlap", "log over the metadata", "no room for the table"])
def test_structures_are_checked_before_anything_is_described(vhdx, case):
    change, error, _words = CASES[case]
    image = vhdx.Image()
    change(image, vhdx)
    with pytest.raises(error):
        VhdxReader(Memory(image.bytes()))


def test_a_check_reports_a_block_that_is_there_twice(vhdx):
    image = vhdx.Image()
    image.table[1] = image.table[0]
    result = VhdxReader(Memory(image.bytes())).check()
    assert len(result.corruptions) == 1
    assert "guest offset 0x100000 overlaps" in result.corruptions[0]


def test_a_cut_file_is_refused_wherever_it_is_cut(vhdx):
    content = vhdx.Image().bytes()
    for length in [0, 1, 7, 8, 519, 520, 0x10000, 0x10001, 0x20FFF, 0x3FFFF, 0x4FFFF, MIB, 2 * MIB, 3 * MIB - 1, 3 * MIB, 4 * MIB, 5 * MIB, 6 * MIB - 1]:
        with pytest.raises((CorruptImage, InvalidImage)):
            read_all(content[:length])


def test_the_last_block_need_not_be_there_behind_the_end_of_the_disk(vhdx):
    image = vhdx.Image(size=2 * MIB - 4096, table=[6 | 4 << 20, 6 | 5 << 20])
    image.length = 6 * MIB - 4096
    assert read_all(image.bytes()) == image.disk()
    image.length -= 1
    with pytest.raises(CorruptImage, match="behind the end"):
        read_all(image.bytes())


def test_a_file_larger_than_any_disk_needs(vhdx):
    storage = Memory(vhdx.Image().bytes())
    storage.size = 200 * TIB
    with pytest.raises(LimitExceeded):
        VhdxReader(storage)


@pytest.mark.parametrize("seed", range(40))
def test_chance_finds_no_other_error(vhdx, seed):
    """Bytes changed where structures lie, with and without sound checksums: a right disk, or one of our errors."""
    chance = random.Random(seed)
    image = vhdx.Image()
    disk = image.disk()
    for _change in range(chance.randint(1, 6)):
        where = chance.choice([0x10000, 0x30000, 0x40000, 2 * MIB, 2 * MIB + 0x10000, 3 * MIB])
        image.poke(where + chance.choice([chance.randrange(80), chance.randrange(300)]), bytes([chance.choice([0, 1, 0x7F, 0x80, 0xFF])]))
    content = bytearray(image.bytes())
    if chance.random() < 0.5:
        for at, length in ((0x10000, 4096), (0x20000, 4096), (0x30000, 65536), (0x40000, 65536)):
            content[at : at + length] = vhdx.seal(content[at : at + length])
    try:
        found = read_all(bytes(content))
    except ImageError as error:
        assert str(error)  # noqa: PT017
    else:
        assert len(found) == VhdxReader(Memory(bytes(content))).virtual_size
        if all(at < 2 * MIB for at in image.pokes):
            assert found == disk
