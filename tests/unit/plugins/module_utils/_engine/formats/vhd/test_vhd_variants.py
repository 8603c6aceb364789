# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VHD images that no tool here writes, built byte by byte: sizes, creators, lost footers, parents, and all that is refused."""

from __future__ import annotations

import json
import random
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import (
    AmbiguousImage,
    CorruptImage,
    ImageError,
    InvalidImage,
    LimitExceeded,
    UnsupportedImage,
)
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import DATA, HOLE
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhd.layout import geometry, looks_like_footer
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhd.reader import VhdReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

UNUSED = 0xFFFFFFFF
BLOCK = 4096
SIZE = 8 * BLOCK


def summed(structure, at):
    """The structure with a right checksum, computed the slow way."""
    data = bytearray(structure)
    data[at : at + 4] = bytes(4)
    data[at : at + 4] = struct.pack(">I", 0xFFFFFFFF - sum(data))
    return bytes(data)


def footer(size=SIZE, kind=3, creator=b"win ", chs=(2, 4, 17), version=0x10000, offset=None):
    offset = (0xFFFFFFFFFFFFFFFF if kind == 2 else 512) if offset is None else offset
    parts = (b"conectix", 2, version, offset, 0, creator, 0x60001, b"Wi2k", size, size, *chs, kind, 0, bytes(range(16)), 0)
    return summed(struct.pack(">8sIIQI4sI4sQQHBBII16sB427x", *parts), 64)


def header(entries=8, block=BLOCK, table=1536, version=0x10000, parent="", locators=b"", cookie=b"cxsparse"):
    parts = (cookie, 0xFFFFFFFFFFFFFFFF, table, version, entries, block, 0, b"P" * 16, 0, parent.encode("utf-16-be"), locators)
    return summed(struct.pack(">8sQQIIII16sI4x512s192s256x", *parts), 36)


def content(blocks, block=BLOCK):
    return random.Random(3).randbytes(blocks * block)


ENTRIES = (2, 0, 1, None, None, 3, None, 4)
"""which of the stored blocks a guest block is"""


def stored_at(index, block=BLOCK):
    """Sector of a stored block's bitmap."""
    bitmap = -(-block // 512 // 8 // 512) * 512
    return (2048 + index * (bitmap + block)) // 512


def dynamic(entries=ENTRIES, block=BLOCK, head=None, tail=None, dynamic_header=None, table=None):
    size = len(entries) * block
    bitmap = -(-block // 512 // 8 // 512) * 512
    count = sum(entry is not None for entry in entries)
    table = table or [UNUSED if entry is None else stored_at(entry, block) for entry in entries]
    stored = content(count, block)
    image = (footer(size) if head is None else head) + (dynamic_header or header(len(entries), block))
    image += struct.pack(f">{len(table)}I", *table).ljust(512, b"\xff")
    # The bitmaps are zeros: nobody's reader asks them.
    image += b"".join(bytes(bitmap) + stored[at : at + block] for at in range(0, len(stored), block))
    return image + (footer(size) if tail is None else tail)


def expected(entries=ENTRIES, block=BLOCK):
    stored = content(sum(entry is not None for entry in entries), block)
    return b"".join(bytes(block) if entry is None else stored[entry * block :][:block] for entry in entries)


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


def read(image):
    return content_of(VhdReader(Memory(image)))


@pytest.mark.parametrize("block", [4096, 1 << 19, 4 << 20])
def test_block_sizes(block, tmp_path, qemu_img):
    image = tmp_path / "disk.vhd"
    image.write_bytes(dynamic(block=block))
    reader = VhdReader(Memory(image.read_bytes()))
    assert content_of(reader) == expected(block=block)
    kinds = [(extent.start // block, extent.length // block, extent.kind) for extent in reader.extents()]
    assert kinds == [(0, 1, DATA), (1, 1, DATA), (2, 1, DATA), (3, 2, HOLE), (5, 1, DATA), (6, 1, HOLE), (7, 1, DATA)]
    subprocess.run([qemu_img, "convert", "-f", "vpc", "-O", "raw", image, tmp_path / "disk.raw"], check=True)
    assert (tmp_path / "disk.raw").read_bytes() == expected(block=block)


def test_any_range_is_a_part_of_the_whole():
    chance = random.Random(11)
    entries = iter(range(100))
    chosen = [None if chance.random() < 0.4 else next(entries) for _block in range(100)]
    reader = VhdReader(Memory(dynamic(chosen)))
    whole = content_of(reader)
    assert whole == expected(chosen)
    for _round in range(200):
        start, length = chance.randrange(len(whole)), chance.randrange(40000)
        assert reader.read_at(start, length) == whole[start : start + length]


MAXIMUM = (65535, 16, 255)


@pytest.mark.parametrize("creator", [b"vpc ", b"qemu", b"qem2", b"win ", b"vbox", b"d2v\0", b"tap\0", b"wa\0\0", b"CTXS", b"vs  "])
@pytest.mark.parametrize("chs", [(15, 4, 17), (16, 4, 17), MAXIMUM])
def test_the_size_that_counts(creator, chs, tmp_path, qemu_img):
    """The geometry covers less than, exactly, or far more than the 16*4*17 sectors of the disk. qemu-img 10 knows the creators."""
    size = 16 * 4 * 17 * 512
    image = tmp_path / "disk.vhd"
    image.write_bytes(content(1, size) + footer(size, 2, creator, chs))
    reader = VhdReader(Memory(image.read_bytes()))
    info = json.loads(subprocess.run([qemu_img, "info", "--output=json", "-f", "vpc", image], check=True, capture_output=True).stdout)
    assert reader.virtual_size == info["virtual-size"]
    assert content_of(reader) == content(1, size)[: reader.virtual_size]
    assert bool(reader.describe().warnings) == (reader.virtual_size != size)


def test_a_footer_of_511_bytes(tmp_path, qemu_img):
    image = tmp_path / "disk.vhd"
    image.write_bytes(content(8) + footer(kind=2)[:511])
    assert read(image.read_bytes()) == content(8)
    assert read(dynamic(tail=footer()[:511])) == expected()
    subprocess.run([qemu_img, "convert", "-f", "vpc", "-O", "raw", image, tmp_path / "disk.raw"], check=True)
    assert (tmp_path / "disk.raw").read_bytes() == content(8)


DAMAGED = b"conectix" + bytes(504)


@pytest.mark.parametrize("lost", [{"tail": b""}, {"tail": b"junk"}, {"tail": DAMAGED}, {"head": bytes(512)}, {"head": DAMAGED}])
def test_one_of_two_footers_is_enough(lost):
    reader = VhdReader(Memory(dynamic(**lost)))
    assert content_of(reader) == expected()
    assert len(reader.describe().warnings) == 1


def test_the_footer_for_detection():
    assert looks_like_footer(footer())
    assert not looks_like_footer(footer()[:511])
    assert not looks_like_footer(DAMAGED)
    assert not looks_like_footer(bytes(512))
    assert not looks_like_footer(footer()[:100] + b"\1" + footer()[101:])


def test_a_saved_machine_is_told():
    image = summed(footer(kind=2)[:84] + b"\1" + bytes(427), 64)
    assert "saved" in VhdReader(Memory(content(8) + image)).describe().warnings[0]


def differencing(locators=b"", parent="base.vhd", data=b""):
    image = dynamic(head=footer(kind=4), tail=b"", dynamic_header=header(parent=parent, locators=locators))
    return image + data + footer(kind=4)


def locator(code, length, offset):
    return struct.pack(">4sIIIQ", code, 512, length, 0, offset)


def test_a_differencing_disk_is_described_but_not_read():
    names = [("utf-16-le", b"W2ku", "C:\\d\\base.vhd"), ("utf-16-le", b"W2ru", ".\\base.vhd"), ("utf-8", b"MacX", "file:///d/b\u00e4se.vhd")]
    offset, locators, data = len(differencing()) - 512, b"", b""
    for codec, code, name in names:
        locators += locator(code, len(name.encode(codec)), offset + len(data))
        data += name.encode(codec).ljust(64, b"\0")
    reader = VhdReader(Memory(differencing(locators + locator(b"Mac ", 1 << 31, 1 << 60), data=data)))
    info = reader.describe()
    assert (info.subformat, info.virtual_size) == ("differencing", SIZE)
    assert [(reference.role, reference.name) for reference in info.references] == [("parent", name) for name in ["base.vhd", *[name[2] for name in names]]]
    assert "base.vhd" in reader.unreadable_reason()
    with pytest.raises(UnsupportedImage, match="differences to its parent"):
        list(reader.extents())


@pytest.mark.parametrize("bad", [locator(b"W2ku", 20, 1 << 40), locator(b"W2ku", 1 << 30, 0), locator(b"W2ru", 9, 0xFFFFFFFFFFFFFFFF)])
def test_a_damaged_locator_is_refused(bad):
    with pytest.raises(CorruptImage):
        VhdReader(Memory(differencing(bad)))


def test_a_name_that_is_no_text_is_harmless():
    locators = locator(b"W2ku", 7, 0) + locator(b"MacX", 0, 0) + locator(b"Wi2k", 3, 65)
    assert VhdReader(Memory(differencing(locators, parent=""))).describe().references


GOOD = [stored_at(entry) if entry is not None else UNUSED for entry in ENTRIES]
BAD = {
    "no VHD": (bytes(4096), InvalidImage),
    "empty": (b"", InvalidImage),
    "footer damaged, fixed": (content(8) + footer(kind=2)[:100] + b"\1" + bytes(411), CorruptImage),
    "both footers damaged": (dynamic(head=DAMAGED, tail=DAMAGED), CorruptImage),
    "fixed, cut": (content(7) + footer(kind=2), CorruptImage),
    "fixed, longer": (content(9) + footer(kind=2), CorruptImage),
    "fixed, footer in front": (footer(kind=2) + content(8), CorruptImage),
    "fixed, huge": (content(8) + footer(1 << 63, kind=2), CorruptImage),
    "footers of two disks": (dynamic(tail=footer(SIZE - 512)), AmbiguousImage),
    "a VHD in a fixed VHD": (dynamic() + footer(len(dynamic()), kind=2), AmbiguousImage),
    "no sectors": (content(8) + b"x" + footer(SIZE + 1, kind=2), CorruptImage),
    "footer version": (content(8) + footer(kind=2, version=0x20000), UnsupportedImage),
    "disk too large": (dynamic(head=footer(1 << 62), tail=footer(1 << 62)), LimitExceeded),
    "header lost": (dynamic(head=b"", tail=footer(offset=1 << 40)), CorruptImage),
    "header in footer": (header() + dynamic(head=footer(offset=0), tail=footer(offset=0)), CorruptImage),
    "header cookie": (dynamic(dynamic_header=header(cookie=b"cxsparsE")), CorruptImage),
    "header checksum": (dynamic(dynamic_header=header()[:900] + b"\1" + bytes(123)), CorruptImage),
    "header version": (dynamic(dynamic_header=header(version=0x20000)), UnsupportedImage),
    "block size 0": (dynamic(dynamic_header=header(block=0)), CorruptImage),
    "block size 2048": (dynamic(dynamic_header=header(block=2048)), CorruptImage),
    "block size 3*4096": (dynamic(dynamic_header=header(block=3 * 4096)), CorruptImage),
    "block size 2 GiB": (dynamic(dynamic_header=header(block=1 << 31)), CorruptImage),
    "table too small": (dynamic(dynamic_header=header(entries=7)), CorruptImage),
    "table huge": (dynamic(dynamic_header=header(entries=UNUSED)), CorruptImage),
    "table behind the end": (dynamic(dynamic_header=header(table=1 << 63)), CorruptImage),
    "table on the header": (dynamic(dynamic_header=header(table=1024)), CorruptImage),
    "table on the footer": (dynamic(dynamic_header=header(table=0)), CorruptImage),
    "table above the limit": (dynamic(head=footer(1 << 40), tail=footer(1 << 40), dynamic_header=header(entries=UNUSED, block=4096)), LimitExceeded),
    "block behind the end": (dynamic(table=[*GOOD[:7], 0xFFFFFFFE]), CorruptImage),
    "block on the footer": (dynamic(table=[*GOOD[:7], stored_at(4) + 1]), CorruptImage),
    "two entries, one block": (dynamic(table=[*GOOD[:6], GOOD[0], GOOD[7]]), CorruptImage),
    "blocks overlap": (dynamic(table=[*GOOD[:6], GOOD[0] + 3, GOOD[7]]), CorruptImage),
    "block on the footer's copy": (dynamic(table=[0, *GOOD[1:]]), CorruptImage),
    "block on the table": (dynamic(table=[GOOD[0], 3, *GOOD[2:]]), CorruptImage),
}


@pytest.mark.parametrize("name", BAD)
def test_what_contradicts_itself_is_refused(name):
    image, error = BAD[name]
    with pytest.raises(ImageError) as caught:
        read(image)
    assert caught.type is error


@pytest.mark.parametrize("kind", [0, 1, 5, 6, 99])
def test_unknown_types_are_refused(kind):
    with pytest.raises(UnsupportedImage, match=f"type {kind} "):
        VhdReader(Memory(dynamic(head=footer(kind=kind), tail=footer(kind=kind))))


def test_a_cut_file_is_refused_wherever_data_is_missing():
    """The footer at the end may be missing, a byte of the last block may not."""
    image = dynamic()
    for length in [*range(0, 2048, 7), *range(2048, len(image) - 512, 1021), len(image) - 513]:
        with pytest.raises(ImageError):
            read(image[:length])
    for length in range(len(image) - 512, len(image) + 1, 64):
        assert read(image[:length]) == expected()


def test_any_damage_gives_an_error_of_ours_or_content():
    chance = random.Random(1)
    for _round in range(3000):
        parts = [bytearray(part) for part in (footer(), header(), struct.pack(">8I", *GOOD))]
        for _poke in range(chance.randrange(1, 4)):
            part = chance.choice(parts)
            part[chance.randrange(min(len(part), 100))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        foot, head, table = summed(parts[0], 64), summed(parts[1], 36), struct.unpack(">8I", parts[2])
        try:
            reader = VhdReader(Memory(dynamic(head=foot, tail=foot, dynamic_header=head, table=table)))
            reader.describe()
            reader.check()
            if reader.virtual_size < 1 << 24 and not reader.unreadable_reason():
                assert len(content_of(reader)) == reader.virtual_size
        except ImageError:
            pass


@pytest.mark.parametrize(
    ("sectors", "chs"),
    [
        (0, (0, 4, 17)),
        (20480, (301, 4, 17)),  # 10 MiB
        (83886, (986, 5, 17)),
        (65535 * 16 * 63 - 1, (65534, 16, 63)),
        (65535 * 16 * 63, (16191, 16, 255)),
        (1 << 33, MAXIMUM),
    ],
)
def test_the_geometry(sectors, chs):
    assert geometry(sectors) == chs
