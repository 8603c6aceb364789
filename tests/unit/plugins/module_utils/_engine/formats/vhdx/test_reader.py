# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading VHDX: images built byte by byte, and such that qemu writes."""

from __future__ import annotations

import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import DATA, HOLE, ZERO
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.base import Reference
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhdx import bat
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhdx.reader import VhdxReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

MIB, GIB = 1 << 20, 1 << 30


def opened(image):
    return VhdxReader(Memory(image.bytes()))


def kinds(reader):
    return [(extent.kind, extent.start // MIB, extent.length // MIB) for extent in reader.extents()]


def test_a_dynamic_image_as_qemu_sees_it(vhdx, qemu_img, tmp_path):
    image = vhdx.Image(size=5 * MIB + 512, table=[0, 6 | 5 * MIB, 2, 1, 3, 6 | 4 * MIB])
    reader = opened(image)
    assert reader.read_at(0, reader.virtual_size + 1) == image.disk()
    path, raw = tmp_path / "image.vhdx", tmp_path / "image.raw"
    path.write_bytes(image.bytes())
    subprocess.run([qemu_img, "convert", "-f", "vhdx", "-O", "raw", path, raw], check=True)
    assert raw.read_bytes() == image.disk()
    assert reader.check().clean


def test_states_of_blocks(vhdx):
    image = vhdx.Image(size=9 * MIB, table=[0, 1, 2, 2, 3, 5, 6 | 4 * MIB, 6 | 5 * MIB, 0])
    assert kinds(opened(image)) == [(HOLE, 0, 2), (ZERO, 2, 2), (HOLE, 4, 2), (DATA, 6, 2), (HOLE, 8, 1)]


def test_a_part_of_the_disk(vhdx):
    image = vhdx.Image(table=[6 | 5 * MIB, 6 | 4 * MIB, 2, 0])
    reader, disk = opened(image), image.disk()
    for start, length in ((0, 1), (MIB - 3, 6), (MIB, MIB), (2 * MIB - 1, 2), (4 * MIB - 1, 100), (4 * MIB, 5), (5 * MIB, 5)):
        assert reader.read_at(start, length) == disk[start : start + length], start
        found = list(reader.extents(start, length))
        assert sum(extent.length for extent in found) == max(0, min(length, 4 * MIB - start)), start
        assert not found or found[0].start == start


def test_description(vhdx):
    info = opened(vhdx.Image()).describe()
    assert (info.format, info.subformat, info.virtual_size, info.cluster_size) == ("vhdx", "dynamic", 4 * MIB, MIB)
    assert (info.writer, info.dirty, info.warnings, info.references) == ("Test", False, [], [])
    assert info.format_specific["logical_sector_size"] == 512
    assert info.format_specific["physical_sector_size"] == 4096
    assert info.format_specific["virtual_disk_id"] == "6e656469-6974-6966-6573-206469736b21"
    assert opened(vhdx.Image(flags=1)).describe().subformat == "fixed"


@pytest.mark.parametrize(("block", "sector"), [(256 * MIB, 512), (1 * MIB, 4096)])
def test_entries_of_sector_bitmaps_are_stepped_over(vhdx, monkeypatch, block, sector):
    """After every chunk the table has an entry that is none of the disk's; here it holds what old versions of qemu leave there."""
    ratio = (1 << 23) * sector // block
    count = 3 * ratio + 2
    table = [0] * count
    stored = (ratio - 1, ratio, 2 * ratio + 1, count - 1)
    for number, index in enumerate(stored):
        table[index] = 6 | (BLOCKS := 4 * MIB) + number * block
    image = vhdx.Image(size=count * block, block=block, sector=sector, table=table, blocks=0)
    content = bytearray(image.bytes())
    for chunk in range(3):
        struct.pack_into("<Q", content, 3 * MIB + 8 * (chunk * (ratio + 1) + ratio), 6 | 1 << 20)
    for piece in (1, 3, 1 << 16):  # the table is read in pieces
        monkeypatch.setattr(bat, "_PIECE", piece)
        storage = Memory(bytes(content))
        storage.size = BLOCKS + 4 * block
        found = [(extent.start // block, extent.length // block, extent.offset) for extent in VhdxReader(storage).extents() if extent.kind == DATA]
        assert found == [(stored[0], 2, BLOCKS), (stored[2], 1, BLOCKS + 2 * block), (stored[3], 1, BLOCKS + 3 * block)]


def test_sectors_of_4096_bytes_as_7_zip_sees_them(vhdx, seven_zip, tmp_path):
    image = vhdx.Image(sector=4096)
    reader = opened(image)
    assert reader.read_at(0, 4 * MIB) == image.disk()
    assert "4096" in reader.describe().warnings[0]
    path = tmp_path / "image.vhdx"
    path.write_bytes(image.bytes())
    assert subprocess.run([seven_zip, "x", "-so", "-tVHDX", path], check=True, capture_output=True).stdout == image.disk()


def test_the_header_with_the_higher_number_counts(vhdx):
    for newer in (0, 1):
        image = vhdx.Image()
        image.headers[newer]["number"], image.headers[1 - newer]["number"] = 9, 8
        image.headers[1 - newer]["version"] = 77  # would be refused
        assert opened(image).read_at(0, 4 * MIB) == image.disk()


@pytest.mark.parametrize("damaged", [0, 1])
def test_one_damaged_header_is_replaced_by_the_other(vhdx, damaged):
    image = vhdx.Image().poke(0x10000 * (damaged + 1) + 100, b"x")
    reader = opened(image)
    assert reader.read_at(0, 4 * MIB) == image.disk()
    assert reader.describe().warnings == [f"header {damaged + 1} of two is damaged; the other one is used"]


def test_the_same_header_twice_is_fine(vhdx):
    """As Disk2vhd writes it."""
    image = vhdx.Image()
    image.headers[1]["number"] = 1
    assert opened(image).read_at(0, 4 * MIB) == image.disk()


@pytest.mark.parametrize("at", [0x30000, 0x30004, 0x3FFFF])
def test_a_damaged_region_table_is_replaced_by_its_copy(vhdx, at):
    image = vhdx.Image().poke(at, b"x")
    reader = opened(image)
    assert reader.read_at(0, 4 * MIB) == image.disk()
    assert reader.describe().warnings == ["a region table is damaged; its copy is used"]


def test_what_is_unknown_and_not_required_is_left_alone(vhdx):
    image = vhdx.Image(blocks=3)
    image.regions.append([b"U" * 16, 6 * MIB, MIB, 0])
    image.items[b"u" * 16] = [b"whatever", 2]
    image.items[b"e" * 16] = [b"", 0]
    assert opened(image).read_at(0, 4 * MIB) == image.disk()


def test_a_differencing_disk_is_described_only(vhdx):
    paths = {"parent_linkage": "{1}", "absolute_win32_path": "C:\\vm\\base.vhdx", "relative_path": ".\\base.vhdx"}
    image = vhdx.Image(flags=2)
    image.items[vhdx.PARENT] = [vhdx.locator(paths), 4]
    reader = opened(image)
    info = reader.describe()
    assert (info.subformat, info.virtual_size) == ("differencing", 4 * MIB)
    assert info.references == reader.references() == [Reference("parent", ".\\base.vhdx", "vhdx")]
    assert info.format_specific["parent_locator"] == paths
    assert ".\\base.vhdx" in reader.unreadable_reason()
    with pytest.raises(UnsupportedImage, match="differencing"):
        next(reader.extents())
    image.items[vhdx.PARENT] = [vhdx.locator({}), 4]
    assert "does not name" in opened(image).unreadable_reason()


@pytest.mark.parametrize(("options", "size"), [("block_size=1M", 10 * GIB), ("block_size=256M", 300 * GIB), ("", 300 * GIB), ("subformat=fixed", 30 * MIB)])
def test_what_qemu_writes(tmp_path, qemu_img, qemu_io, options, size):
    path = tmp_path / "image.vhdx"
    subprocess.run([qemu_img, "create", "-q", "-f", "vhdx", *(["-o", options] if options else []), path, str(size)], check=True)
    parts = [(5, 70_000), (size // 2 - 3, MIB + 9), (size // 3, 2), (size - 5000, 5000)]
    commands = [part for number, (at, length) in enumerate(parts) for part in ("-c", f"write -q -P {number + 1} {at} {length}")]
    subprocess.run([qemu_io, "-f", "vhdx", *commands, path], check=True)
    reader = VhdxReader(FileStorage(path))
    assert reader.describe().writer.startswith("QEMU")
    expected = {at: bytes([number + 1]) * length for number, (at, length) in enumerate(parts)}
    for at, data in expected.items():
        assert reader.read_at(at, len(data)) == data
    seen = sum(len(data) - data.count(0) for extent in reader.extents() if not extent.is_zero for data in [reader.read_extent(extent)])
    assert seen == sum(len(data) for data in expected.values())
    assert reader.check().clean
