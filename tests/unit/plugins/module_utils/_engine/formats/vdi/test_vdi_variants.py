# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VDI images that no tool here writes, built byte by byte: old headers, block sizes, parents, and all that is refused."""

from __future__ import annotations

import random
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, InvalidImage, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import DATA, HOLE, ZERO
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vdi.reader import VdiReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

FREE, DISCARDED = 0xFFFFFFFF, 0xFFFFFFFE
SIGNATURE = 0xBEDA107F
BLOCK = 4096
# Offsets of VDIHEADER1's fields in the file.
VERSION, HEADER_SIZE, TYPE, OFF_BLOCKS, OFF_DATA, SECTOR, DISK, BLOCK_SIZE, EXTRA, BLOCKS, ALLOCATED = 68, 72, 76, 340, 344, 360, 368, 376, 380, 384, 388
LINKAGE, PARENT_MODIFY = 424, 440


def content(blocks, block=BLOCK):
    return random.Random(3).randbytes(blocks * block)


def version_1(entries, disk=None, block=BLOCK, kind=1, header=400):
    """Header, map at 512, blocks at the next multiple of 512: as many as there are allocated entries."""
    disk = len(entries) * block if disk is None else disk
    data = -(-(512 + 4 * len(entries)) // 512) * 512
    allocated = sum(entry < DISCARDED for entry in entries)
    image = struct.pack("<64sIIIII256sII4II", b"<<< test >>>\n", SIGNATURE, 0x10001, header, kind, 0, b"", 512, data, 0, 0, 0, 512, 0)
    image += struct.pack("<QIIII", disk, block, 0, len(entries), allocated) + b"\x01" * 32 + bytes(32)
    image = image.ljust(512, b"\0") + struct.pack(f"<{len(entries)}I", *entries)
    return bytearray(image.ljust(data, b"\0") + content(allocated, block))


def version_0(entries, block=BLOCK):
    image = struct.pack("<64sIIII256s4I", b"<<< innotek VirtualBox Disk Image >>>\n", SIGNATURE, 2, 1, 0, b"an old one", 0, 0, 0, 512)
    allocated = sum(entry < DISCARDED for entry in entries)
    image += struct.pack("<QIII", len(entries) * block, block, len(entries), allocated) + b"\x01" * 32 + bytes(16)
    return image + struct.pack(f"<{len(entries)}I", *entries) + content(allocated, block)


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


def expected(entries, block=BLOCK):
    stored = content(sum(entry < DISCARDED for entry in entries), block)
    return b"".join(bytes(block) if entry >= DISCARDED else stored[entry * block : entry * block + block] for entry in entries)


ENTRIES = [2, 0, 1, FREE, FREE, DISCARDED, 3, 4]


@pytest.mark.parametrize("block", [512, 4096, 65536, 1 << 20, 4 << 20])
@pytest.mark.parametrize("header", [384, 400])
def test_block_and_header_sizes(block, header):
    reader = VdiReader(Memory(version_1(ENTRIES, block=block, header=header)))
    assert content_of(reader) == expected(ENTRIES, block)
    kinds = [(extent.start // block, extent.length // block, extent.kind) for extent in reader.extents()]
    assert kinds == [(0, 1, DATA), (1, 2, DATA), (3, 2, HOLE), (5, 1, ZERO), (6, 2, DATA)]
    assert reader.describe().cluster_size == block


def test_7zip_reads_the_same(tmp_path, seven_zip):
    image = tmp_path / "disk.vdi"
    image.write_bytes(version_1(ENTRIES, block=1 << 20))
    done = subprocess.run([seven_zip, "x", "-tvdi", "-so", str(image)], check=True, capture_output=True)
    assert done.stdout == expected(ENTRIES, 1 << 20)


def test_version_0():
    """No tool here reads it; the layout is VDIHEADER0's, the map follows at byte 420."""
    image = version_0(ENTRIES)
    assert image[420:424] == (2).to_bytes(4, "little")
    reader = VdiReader(Memory(image))
    assert content_of(reader) == expected(ENTRIES)
    info = reader.describe()
    assert info.format_specific["version"] == "0.2"
    assert info.format_specific["comment"] == "an old one"
    assert info.writer == "innotek VirtualBox Disk Image"


def test_a_size_of_no_sectors_counts_the_last_one_whole():
    reader = VdiReader(Memory(version_1([0, 1], disk=BLOCK + 100)))
    assert reader.virtual_size == BLOCK + 512
    assert content_of(reader) == content(2)[: BLOCK + 512]
    assert reader.describe().warnings


def test_any_range_is_a_part_of_the_whole():
    chance = random.Random(11)
    entries = [FREE if chance.random() < 0.4 else index for index in range(200)]
    for index, position in enumerate(position for position, entry in enumerate(entries) if entry != FREE):
        entries[position] = index
    reader = VdiReader(Memory(version_1(entries, block=512)))
    whole = content_of(reader)
    assert whole == expected(entries, 512)
    for _round in range(200):
        start, length = chance.randrange(len(whole)), chance.randrange(5000)
        assert reader.read_at(start, length) == whole[start : start + length]


@pytest.mark.parametrize(
    ("offset", "value", "subformat"), [(TYPE, 3, "undo"), (TYPE, 4, "differencing"), (LINKAGE, 7, "dynamic"), (PARENT_MODIFY, 7, "dynamic")]
)
def test_an_image_with_a_parent_is_described_but_not_read(offset, value, subformat):
    image = version_1(ENTRIES)
    struct.pack_into("<I", image, offset, value)
    struct.pack_into("<I", image, LINKAGE + 4, 9 if offset != PARENT_MODIFY else 0)
    reader = VdiReader(Memory(image))
    info = reader.describe()
    assert (info.subformat, info.virtual_size) == (subformat, len(ENTRIES) * BLOCK)
    assert [reference.role for reference in info.references] == ["parent"]
    assert info.references[0].name in reader.unreadable_reason()
    with pytest.raises(UnsupportedImage, match="differences to its parent"):
        list(reader.extents())


HUGE = 0xFFFFFFF0
BAD_HEADERS = [
    ("<I", 64, 0, InvalidImage),
    ("<I", VERSION, 0, UnsupportedImage),
    ("<I", VERSION, 0x20001, UnsupportedImage),
    ("<I", HEADER_SIZE, 383, CorruptImage),
    ("<I", HEADER_SIZE, HUGE, CorruptImage),
    ("<I", TYPE, 0, UnsupportedImage),
    ("<I", TYPE, 9, UnsupportedImage),
    ("<I", OFF_BLOCKS, 0, CorruptImage),
    ("<I", OFF_BLOCKS, HUGE, CorruptImage),
    ("<I", OFF_DATA, 512, CorruptImage),
    ("<I", OFF_DATA, HUGE, CorruptImage),
    ("<I", SECTOR, 4096, UnsupportedImage),
    ("<Q", DISK, 1 << 62, CorruptImage),
    ("<Q", DISK, (len(ENTRIES) * BLOCK) + 1, CorruptImage),
    ("<I", BLOCK_SIZE, 0, CorruptImage),
    ("<I", BLOCK_SIZE, 256, CorruptImage),
    ("<I", BLOCK_SIZE, 3 * 4096, CorruptImage),
    ("<I", BLOCK_SIZE, 2 * 4096, CorruptImage),  # the blocks reach behind the end
    ("<I", EXTRA, 512, UnsupportedImage),
    ("<I", BLOCKS, 7, CorruptImage),
    ("<I", BLOCKS, 1 << 26, CorruptImage),
    ("<I", BLOCKS, HUGE, LimitExceeded),
    ("<I", 512, 1, CorruptImage),  # two entries name block 1
    ("<I", 516, 4, CorruptImage),  # two entries name block 4, found at the second
    ("<I", 512, 5, CorruptImage),  # not in the file
    ("<I", 512, 8, CorruptImage),  # not in the map
    ("<I", 512, 0xFFFFFFFD, CorruptImage),
]


@pytest.mark.parametrize(("form", "offset", "value", "error"), BAD_HEADERS)
def test_what_contradicts_itself_is_refused(form, offset, value, error):
    image = version_1(ENTRIES)
    struct.pack_into(form, image, offset, value)
    with pytest.raises(ImageError) as caught:
        content_of(VdiReader(Memory(image)))
    assert caught.type is error
    if offset == 512:
        assert VdiReader(Memory(image)).check().corruptions


def test_a_disk_above_the_limit_is_refused():
    image = version_1([FREE] * 40000, block=1 << 31)
    with pytest.raises(LimitExceeded):
        VdiReader(Memory(image))


def test_a_cut_file_is_refused_at_any_length():
    image = bytes(version_1(ENTRIES, disk=len(ENTRIES) * BLOCK - 1024))  # the last byte is not even the guest's
    for length in [*range(0, 1024, 7), *range(1024, len(image), 1021), len(image) - 1]:
        with pytest.raises(ImageError):
            content_of(VdiReader(Memory(image[:length])))


def test_any_damage_gives_an_error_of_ours_or_content():
    chance = random.Random(1)
    good = version_1(ENTRIES, block=512)
    for _round in range(3000):
        image = bytearray(good)
        for _poke in range(chance.randrange(1, 4)):
            image[chance.randrange(64, 600)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        try:
            reader = VdiReader(Memory(image))
            reader.describe()
            reader.check()
            if reader.virtual_size < 1 << 24:
                content_of(reader)
        except ImageError:
            pass


def test_the_check_counts_the_blocks():
    for counted, corruptions, leaks in ((4, 1, 0), (5, 0, 0), (6, 0, 1)):
        image = version_1(ENTRIES)
        struct.pack_into("<I", image, ALLOCATED, counted)
        result = VdiReader(Memory(image)).check()
        assert (len(result.corruptions), len(result.leaks)) == (corruptions, leaks)
