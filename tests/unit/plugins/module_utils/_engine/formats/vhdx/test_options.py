# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VHDX: each value of each creation option, judged by qemu-img and 7-Zip; and what a check and a description tell."""

from __future__ import annotations

import json
import random
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import DATA, HOLE
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import create_writer, target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhdx.reader import VhdxReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
UNIT = 64 * KIB
RUNS = [(UNIT, 3), (31 * UNIT, 2), (70 * UNIT, 1)]


def write(path, size, runs=(), subformat="dynamic", **options):
    with Sink(path) as sink:
        writer = create_writer(target("vhdx", subformat, False, options), sink, size)
        for start, data in runs:
            writer.write(start, data)
        writer.finish()
        sink.commit()
    return path


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A disk of 6 MiB: its path and the runs of data in it."""
    path, chance = tmp_path_factory.mktemp("disk") / "disk.raw", random.Random(3)
    runs = [(start, chance.randbytes(units * UNIT)) for start, units in RUNS]
    content = bytearray(6 * MIB)
    for start, data in runs:
        content[start : start + len(data)] = data
    path.write_bytes(content)
    return path, runs


OPTIONS = [
    {"block_size": "2M"},
    {"log_size": "0"},
    {"log_size": "2M"},
    {"log_size": "64M"},
    {"block_state_zero": "on", "block_size": "1M"},
    {"block_state_zero": "on", "block_size": "256M", "log_size": "3M"},
    {"logical_sector_size": "4096"},
    {"logical_sector_size": "4096", "block_size": "1M", "block_state_zero": "on"},
]


@pytest.mark.parametrize("subformat", ["dynamic", "fixed"])
@pytest.mark.parametrize("options", OPTIONS, ids=[",".join(map("=".join, options.items())) for options in OPTIONS])
def test_judges(disk, tmp_path, qemu_img, qemu_img_system, seven_zip, options, subformat):
    raw, runs = disk
    image = write(tmp_path / "image.vhdx", 6 * MIB, runs, subformat, **options)
    run(seven_zip, "t", "-tVHDX", image)
    assert run(seven_zip, "x", "-so", "-tVHDX", image) == raw.read_bytes()
    for program in (qemu_img, qemu_img_system) if "logical_sector_size" not in options else ():  # qemu has only sectors of 512
        run(program, "check", "-f", "vhdx", image)
        info = json.loads(run(program, "info", "--output=json", "-f", "vhdx", image))
        assert info["virtual-size"] == 6 * MIB
        run(program, "compare", "-f", "raw", "-F", "vhdx", raw, image)
    reader = VhdxReader(FileStorage(image))
    assert reader.read_at(0, 7 * MIB) == raw.read_bytes()
    assert reader.check().clean
    facts = reader.describe().format_specific
    assert facts["logical_sector_size"] == int(options.get("logical_sector_size", "512"))
    assert facts["physical_sector_size"] == 4096
    assert facts["log_length"] == max(1, int(options.get("log_size", "1").strip("M"))) * MIB
    assert (facts["log_state"], facts["log_guid"], facts["leave_blocks_allocated"]) == ("empty", None, subformat == "fixed")


def test_blocks_of_zeros_are_marked_in_every_chunk(tmp_path, qemu_img):
    """Five chunks of 4 GiB and a short one; only the third has a block. The entries of sector bitmaps stay zero."""
    size = 21 * GIB
    image = write(tmp_path / "image.vhdx", size, [(9 * GIB, b"x" * UNIT)], block_size="1M", block_state_zero="on")
    count = size // MIB + 5
    entries = struct.unpack(f"<{count}Q", image.read_bytes()[3 * MIB : 3 * MIB + 8 * count])
    bitmaps = [4096 + 4097 * chunk for chunk in range(5)]
    stored = 9 * 1024 + 2
    assert [number for number, entry in enumerate(entries) if entry == 0] == bitmaps
    assert entries[stored] == 4 * MIB | 6
    assert {entry for number, entry in enumerate(entries) if number not in (stored, *bitmaps)} == {2}
    run(qemu_img, "check", "-f", "vhdx", image)
    reader = VhdxReader(FileStorage(image))
    assert [extent.length for extent in reader.extents() if extent.kind == DATA] == [UNIT]
    assert reader.check().clean


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"log_size": "512K"}, "log_size is a multiple of 1M"),
        ({"log_size": "4G"}, "log_size is a multiple of 1M"),
        ({"log_size": "x"}, "log_size is a multiple of 1M"),
        ({"block_state_zero": "true"}, "block_state_zero is on or off"),
        ({"logical_sector_size": "1024"}, "logical_sector_size is 512 or 4096"),
        ({"logical_sector_size": "4K"}, "logical_sector_size is 512 or 4096"),
        ({"log": "1M"}, "no option log"),
    ],
)
def test_values_that_are_none(options, words):
    with pytest.raises(UnsupportedImage, match=words):
        target("vhdx", options=options)


def test_a_disk_that_has_no_whole_large_sectors(tmp_path):
    with pytest.raises(UnsupportedImage, match="sectors of 4096 bytes"):
        write(tmp_path / "image.vhdx", MIB + 512, logical_sector_size="4096")
    assert not list(tmp_path.iterdir())


def test_options_make_other_identifiers(tmp_path):
    found = {
        VhdxReader(FileStorage(write(tmp_path / "image.vhdx", MIB, **options))).describe().format_specific["virtual_disk_id"]
        for options in ({}, {"block_size": "1M"}, {"logical_sector_size": "4096"})
    }
    assert len(found) == 3


def test_a_check_tells_of_a_damaged_region_table(vhdx):
    """The disk is read by the other one; qemu and 7-Zip refuse the image."""
    for number, at in ((1, 0x30000), (2, 0x40000)):
        reader = VhdxReader(Memory(vhdx.Image().poke(at + 100, b"x").bytes()))
        assert reader.check().corruptions == [f"region table {number} of two is damaged"]
    image = vhdx.Image()
    content = bytearray(image.bytes())
    content[0x40000:0x50000] = vhdx.seal(content[0x40000:0x4F000] + b"x".ljust(0x1000, b"\0"))
    assert VhdxReader(Memory(bytes(content))).check().corruptions == ["the two region tables differ"]
    assert VhdxReader(Memory(image.poke(0x10010, b"x").bytes())).check().clean  # what a power cut may leave


def test_a_check_counts_blocks_that_nothing_names(vhdx):
    first, second = 4 * MIB | 6, 5 * MIB | 6
    for table, leaks in (([first, second, 0, 0], 0), ([first, 0, 0, 0], 1), ([first, 5 * MIB | 3, 0, 0], 0), ([0, second, 0, 0], 0), ([0] * 4, 0)):
        result = VhdxReader(Memory(vhdx.Image(table=table).bytes())).check()
        assert (result.corruptions, len(result.leaks)) == ([], leaks), table


def test_a_check_counts_what_qemu_leaves_behind(tmp_path, qemu_img):
    image = tmp_path / "image.vhdx"
    run(qemu_img, "create", "-f", "vhdx", "-o", "block_size=1M", image, "8M")
    assert VhdxReader(FileStorage(image)).check().clean
    with image.open("r+b") as file:
        file.truncate(image.stat().st_size + 3 * MIB)
    assert VhdxReader(FileStorage(image)).check().clean  # no block yet: it may be room for one
    image = write(tmp_path / "ours.vhdx", 8 * MIB, [(0, b"x" * UNIT)], block_size="1M")
    with image.open("r+b") as file:
        file.truncate(image.stat().st_size + 3 * MIB)
    assert VhdxReader(FileStorage(image)).check().leaks == ["3 blocks of 1048576 bytes in the file are in no entry of the block allocation table"]
    run(qemu_img, "check", "-f", "vhdx", image)


def test_the_description_of_a_log(vhdx):
    entries = [vhdx.log_entry(number, [(4 * MIB, vhdx.noise(4096, number))], 0, 6 * MIB) for number in (1, 2)]
    image = vhdx.Image().dirty(*entries)
    info = VhdxReader(Memory(image.bytes())).describe()
    facts = info.format_specific
    assert info.dirty
    assert (facts["log_state"], facts["log_entries"], facts["log_guid"]) == ("replayed in memory", 2, "12345678-9abc-4def-8123-456789abcdef")
    assert (facts["log_offset"], facts["log_length"], facts["sequence_number"], facts["creator"]) == (MIB, MIB, 2, "Test")
    assert (facts["bat_offset"], facts["bat_entries"], facts["has_parent"]) == (3 * MIB, 4, False)
    json.dumps(facts)


class Counting(Memory):
    """Notes how many bytes are read."""

    def __init__(self, path):
        super().__init__(b"", str(path))
        self.below = FileStorage(path)
        self.size, self.read = self.below.size, 0

    def read_at(self, offset, length):
        self.read += length
        return self.below.read_at(offset, length)

    def data_ranges(self, start=0, end=None):
        return self.below.data_ranges(start, end)

    def allocated(self):
        return self.below.allocated()


def test_the_largest_table_is_not_read_where_it_is_empty(tmp_path):
    """512 MiB of table for 64 TiB in blocks of 1 MiB, of which one piece is not a hole of the file."""
    storage = Counting(write(tmp_path / "image.vhdx", 64 * TIB, [(40 * TIB, b"x" * UNIT)], block_size="1M"))
    reader = VhdxReader(storage)
    reader.describe()
    assert storage.read < 256 * KIB
    assert [(extent.kind, extent.length) for extent in reader.extents()] == [(HOLE, 40 * TIB), (DATA, UNIT), (HOLE, 24 * TIB - UNIT)]
    assert storage.read < 2 * MIB


def test_a_fixed_image_with_absent_blocks_as_qemu_sees_it(vhdx, qemu_img, tmp_path):
    """Every state is allowed to a fixed image, too (2.5.1.1)."""
    image = vhdx.Image(size=6 * MIB, flags=1, table=[4 * MIB | 6, 0, 1, 2, 3, 5 * MIB | 6])
    (tmp_path / "disk.vhdx").write_bytes(image.bytes())
    reader = VhdxReader(FileStorage(tmp_path / "disk.vhdx"))
    assert reader.describe().subformat == "fixed"
    assert reader.read_at(0, 7 * MIB) == image.disk()
    assert reader.check().clean
    run(qemu_img, "convert", "-f", "vhdx", "-O", "raw", tmp_path / "disk.vhdx", tmp_path / "disk.raw")
    assert (tmp_path / "disk.raw").read_bytes() == image.disk()
