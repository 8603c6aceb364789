# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Differencing VHDX disks (checkpoints) and their parents, built byte by byte. 7-Zip merges them, too."""

from __future__ import annotations

import random
import struct
import subprocess
import uuid

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError, CorruptImage, ImageError, UnsafeReference, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import DATA, HOLE
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source

MIB = 1 << 20
HAS_PARENT = 2
BAT = 3 * MIB
LINK = str(uuid.UUID(bytes_le=b"D" * 16))  # what conftest's images have as DataWriteGuid
PATHS = {"relative_path": ".\\parent.vhdx", "absolute_win32_path": "C:\\disks\\parent.vhdx"}
ABSENT, UNDEFINED, ZERO, UNMAPPED, FULL, PARTIAL = 0, 1, 2, 3, 6, 7


def opened(path, folder=None):
    return open_source(Request(str(path), references=str(folder or path.parent)))


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


@pytest.fixture
def child_of(vhdx):
    """Makes a differencing image of 4 MiB in blocks of 1 MiB; the bitmap block is the stored block behind the payload."""

    def make(states, bitmap=b"", links=None, sector=512, size=4 * MIB):
        image = vhdx.Image(size=size, sector=sector, flags=HAS_PARENT, blocks=3, table=[])
        places = iter((0, 1))
        image.table = [(state if state not in (FULL, PARTIAL) else (image.at(next(places)) & ~7) | state) for state in states]
        image.items[vhdx.PARENT] = [vhdx.locator({"parent_linkage": "{" + LINK + "}", **PATHS} if links is None else links), 4]
        image.payload = image.payload[: 2 * MIB] + bitmap.ljust(MIB, b"\xff")
        image.poke(BAT + 8 * image.ratio, struct.pack("<Q", image.at(2)))
        return image

    return make


@pytest.fixture
def parent(vhdx, tmp_path):
    image = vhdx.Image()
    image.payload = vhdx.noise(2 * MIB, 99)
    (tmp_path / "parent.vhdx").write_bytes(image.bytes())
    return image


def bits(count, seed):
    """A bitmap of runs, and which of its sectors are the child's own."""
    chance = random.Random(seed)
    own = [flag for _run in range(count) for flag in [chance.random() < 0.5] * chance.randint(1, 20)][:count]
    packed = bytearray(count // 8)
    for index, flag in enumerate(own):
        packed[index // 8] |= flag << index % 8
    return bytes(packed), own


def merged(child, below, states, own=(), sector=512):
    """What the guest sees."""
    disk = bytearray(below)
    places = iter((0, 1))
    for number, state in enumerate(states):
        start = number * MIB
        if state in (UNDEFINED, ZERO, UNMAPPED):
            disk[start : start + MIB] = bytes(MIB)
        if state not in (FULL, PARTIAL):
            continue
        stored = child.payload[next(places) * MIB :][:MIB]
        for index in range(MIB // sector):
            if state == FULL or own[number * MIB // sector + index]:
                disk[start + index * sector : start + (index + 1) * sector] = stored[index * sector : (index + 1) * sector]
    return bytes(disk)


@pytest.mark.parametrize("sector", [512, 4096])
@pytest.mark.parametrize(
    "states",
    [
        [FULL, ABSENT, ABSENT, FULL],
        [PARTIAL, PARTIAL, ABSENT, ABSENT],
        [ABSENT, ZERO, FULL, PARTIAL],
        [PARTIAL, ABSENT, PARTIAL, ZERO],
        [ABSENT] * 4,
        [FULL, ZERO, UNDEFINED, UNMAPPED],
    ],
)
def test_states_and_bitmaps(vhdx, child_of, seven_zip, tmp_path, states, sector):
    parent = vhdx.Image(sector=sector)
    parent.payload = vhdx.noise(2 * MIB, 99)
    (tmp_path / "parent.vhdx").write_bytes(parent.bytes())
    bitmap, own = bits(4 * MIB // sector, f"{states}{sector}")
    child = child_of(states, bitmap, sector=sector)
    (tmp_path / "child.vhdx").write_bytes(child.bytes())
    wanted = merged(child, parent.disk(), states, own, sector)
    with opened(tmp_path / "child.vhdx") as source:
        reader = source.reader
        assert content_of(reader) == wanted
        assert not reader.check().corruptions
        chance = random.Random(1)
        for _read in range(50):
            start, length = chance.randrange(4 * MIB), chance.randrange(2 * MIB)
            assert reader.read_at(start, length) == wanted[start : start + length]
    judge = subprocess.run([seven_zip, "x", "-tVHDX", "-so", tmp_path / "child.vhdx"], check=True, capture_output=True)
    assert judge.stdout == wanted
    with open_source(Request(str(tmp_path / "child.vhdx"))) as source, pytest.raises(UnsupportedImage, match="differencing"):
        next(source.reader.extents())


def test_a_second_chunk_has_a_bitmap_of_its_own(vhdx, child_of, tmp_path):
    """A chunk is 4 GiB of disk. Its bitmap's entry stands behind the chunk's payload entries, also in the last, short one."""
    size = (4 << 30) + 2 * MIB
    parent = vhdx.Image(size=size, table=[0] * 4097 + [vhdx.Image().at(1)])
    (tmp_path / "parent.vhdx").write_bytes(parent.bytes())
    bitmap, own = bits(2 * MIB // 512, 5)
    child = child_of([ABSENT] * 4095 + [FULL, ABSENT, PARTIAL], bitmap, size=size)
    child.pokes = {BAT + 8 * (2 * child.ratio + 1): struct.pack("<Q", child.at(2))}
    (tmp_path / "child.vhdx").write_bytes(child.bytes())
    with opened(tmp_path / "child.vhdx") as source:
        reader = source.reader
        assert reader.read_at(0, MIB) == bytes(MIB)
        assert reader.read_at((4 << 30) - MIB, MIB) == child.payload[:MIB]
        assert reader.read_at(4 << 30, MIB) == bytes(MIB)
        below, mine = parent.payload[MIB : 2 * MIB], child.payload[MIB : 2 * MIB]
        wanted = b"".join((mine if own[2048 + index] else below)[index * 512 : index * 512 + 512] for index in range(2048))
        assert reader.read_at((4 << 30) + MIB, MIB) == wanted
        assert [extent.length for extent in reader.extents() if extent.kind == HOLE][0] == (4 << 30) - MIB


def test_a_chain_of_three(vhdx, child_of, parent, tmp_path):
    bitmap, own = bits(4 * MIB // 512, 1)
    middle = child_of([PARTIAL, ABSENT, ABSENT, FULL], bitmap)
    (tmp_path / "middle.avhdx").write_bytes(middle.bytes())
    top = child_of([ABSENT, FULL, ZERO, ABSENT], links={"parent_linkage": "{" + LINK.upper() + "}", "relative_path": ".\\middle.avhdx"})
    (tmp_path / "top.avhdx").write_bytes(top.bytes())
    wanted = merged(top, merged(middle, parent.disk(), [PARTIAL, ABSENT, ABSENT, FULL], own), [ABSENT, FULL, ZERO, ABSENT])
    with opened(tmp_path / "top.avhdx") as source:
        assert content_of(source.reader) == wanted
        files = {extent.storage.name.rpartition("/")[2] for extent in source.reader.extents() if extent.kind == DATA}
        assert files == {"top.avhdx", "middle.avhdx", "parent.vhdx"}


OTHER = "{" + str(uuid.UUID(int=1)) + "}"
RIGHT = "{" + LINK + "}"
NONE = "{" + str(uuid.UUID(int=0)) + "}"


@pytest.mark.parametrize(
    ("links", "found"),
    [
        ({"parent_linkage": RIGHT, "relative_path": ".\\parent.vhdx"}, None),
        ({"parent_linkage": OTHER, "parent_linkage2": RIGHT, "relative_path": ".\\parent.vhdx"}, None),
        ({"parent_linkage": RIGHT, "volume_path": "\\\\?\\Volume{26A21BDA-A627-11D7-9931-806E6F6E6963}\\x\\parent.vhdx"}, None),
        ({"parent_linkage": RIGHT, "absolute_win32_path": "\\\\?\\d:\\x\\parent.vhdx"}, None),
        ({"parent_linkage": RIGHT, "relative_path": "..\\x\\parent.vhdx", "absolute_win32_path": "d:\\x\\parent.vhdx"}, None),
        ({"parent_linkage": OTHER, "relative_path": ".\\parent.vhdx"}, CorruptImage),
        ({"parent_linkage": NONE, "parent_linkage2": NONE, "relative_path": ".\\parent.vhdx"}, CorruptImage),
        ({"relative_path": ".\\parent.vhdx"}, CorruptImage),
        ({"parent_linkage": RIGHT, "relative_path": "..\\parent.vhdx"}, UnsafeReference),
        ({"parent_linkage": RIGHT, "absolute_win32_path": "C:\\gone.vhdx"}, UnsafeReference),
        ({"parent_linkage": RIGHT, "relative_path": ".\\gone.vhdx"}, AccessError),
        ({"parent_linkage": RIGHT, "relative_path": ".\\child.vhdx"}, CorruptImage),
        ({"parent_linkage": RIGHT}, UnsafeReference),
    ],
)
def test_the_parent_must_be_the_one_that_was_meant(child_of, parent, tmp_path, links, found):
    child = child_of([ABSENT, FULL, ABSENT, ABSENT], links=links)
    (tmp_path / "child.vhdx").write_bytes(child.bytes())
    if found is None:
        with opened(tmp_path / "child.vhdx") as source:
            assert content_of(source.reader) == merged(child, parent.disk(), [ABSENT, FULL, ABSENT, ABSENT])
    else:
        with pytest.raises(found), opened(tmp_path / "child.vhdx"):
            pass


def test_a_parent_without_an_identity(vhdx, child_of, parent, tmp_path):
    """Zeros on both sides are no match."""
    data = bytearray(parent.bytes())
    for offset in (0x10000, 0x20000):
        data[offset + 32 : offset + 48] = bytes(16)
        data[offset : offset + 4096] = vhdx.seal(data[offset : offset + 4096])
    (tmp_path / "parent.vhdx").write_bytes(data)
    (tmp_path / "child.vhdx").write_bytes(child_of([ABSENT] * 4, links={"parent_linkage": NONE, **PATHS}).bytes())
    with pytest.raises(CorruptImage, match="identity"), opened(tmp_path / "child.vhdx"):
        pass


@pytest.mark.parametrize("entry", [0, 2, 7, 6 | 1 << 4, (1 << 40) | 6, 6, BAT | 6, (4 * MIB) | 6])
def test_bitmaps_that_cannot_be_there(child_of, parent, tmp_path, entry):
    child = child_of([PARTIAL, ABSENT, ABSENT, ABSENT])
    child.pokes = {BAT + 8 * child.ratio: struct.pack("<Q", entry)}
    (tmp_path / "child.vhdx").write_bytes(child.bytes())
    with pytest.raises(CorruptImage), opened(tmp_path / "child.vhdx") as source:
        content_of(source.reader)


def test_without_a_parent_there_are_no_partial_blocks(vhdx, tmp_path):
    image = vhdx.Image()
    image.table[0] = image.at(1) | 1
    (tmp_path / "disk.vhdx").write_bytes(image.bytes())
    with pytest.raises(CorruptImage, match="state 7"), opened(tmp_path / "disk.vhdx") as source:
        content_of(source.reader)


def test_noise_in_the_entries_is_refused_or_read_inside_the_file(child_of, parent, tmp_path):
    chance = random.Random(3)
    for _try in range(25):
        child = child_of([PARTIAL, FULL, ABSENT, ABSENT])
        child.pokes[BAT + 8 * chance.choice([0, 1, 2, 3, child.ratio])] = struct.pack("<Q", chance.getrandbits(6) << 20 | chance.getrandbits(3))
        (tmp_path / "child.vhdx").write_bytes(child.bytes())
        said = ""
        try:
            with opened(tmp_path / "child.vhdx") as source:
                assert len(content_of(source.reader)) == 4 * MIB
        except ImageError as error:
            said = str(error)
        assert said.isprintable()
