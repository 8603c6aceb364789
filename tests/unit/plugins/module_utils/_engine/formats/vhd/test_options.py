# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VHD: each value of each creation option, judged by qemu-img and 7-Zip; and what a check and a description tell."""

from __future__ import annotations

import json
import random
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import create_writer, target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhd.options import Options
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhd.reader import VhdReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
UNIT = 64 * KIB
LARGEST = 0xFF000000 * 512


def write(path, size, runs=(), subformat="dynamic", **options):
    with Sink(path) as sink:
        writer = create_writer(target("vhd", subformat, False, options), sink, size)
        for start, data in runs:
            writer.write(start, data)
        writer.finish()
        sink.commit()
    return path


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True).stdout


@pytest.mark.parametrize("subformat", ["dynamic", "fixed"])
@pytest.mark.parametrize("options", [{"force_size": "off"}, {"block_size": "512K"}, {"block_size": "524288", "force_size": "off"}, {"block_size": "2m"}])
def test_judges(tmp_path, qemu_img, qemu_img_system, seven_zip, options, subformat):
    size, chance = 5 * MIB, random.Random(8)
    runs = [(start * UNIT, chance.randbytes(units * UNIT)) for start, units in ((1, 1), (7, 10), (30, 40), (79, 1))]
    content = bytearray(size)
    for start, data in runs:
        content[start : start + len(data)] = data
    raw = tmp_path / "disk.raw"
    raw.write_bytes(content)
    image = write(tmp_path / "disk.vhd", size, runs, subformat, **options)
    reader = VhdReader(FileStorage(image))
    shown = content.ljust(reader.virtual_size, b"\0")
    assert (len(shown) == size) == (options.get("force_size") != "off")
    assert reader.read_at(0, 2 * size) == shown
    assert reader.check().clean
    info = reader.describe()
    assert info.warnings == []
    assert info.cluster_size == (None if subformat == "fixed" else 512 * KIB if options.get("block_size", "2m").startswith("5") else 2 * MIB)
    for program in (qemu_img, qemu_img_system):
        assert json.loads(run(program, "info", "--output=json", "-f", "vpc", image))["virtual-size"] == len(shown)
        run(program, "compare", "-f", "raw", "-F", "vpc", raw, image)
    assert run(seven_zip, "x", "-tvhd", "-so", image) == shown
    run(seven_zip, "t", "-tvhd", image)


SIZES = [1, 512, 10 * MIB, 41 * MIB + 512, 504 * MIB, 31 * GIB, 32 * GIB, 127 * GIB, (65535 * 16 * 255 - 7) * 512, 128 * GIB, LARGEST]


@pytest.mark.parametrize("size", SIZES)
def test_without_force_size_the_disk_grows_as_with_qemu_img(tmp_path, qemu_img, size):
    run(qemu_img, "create", "-f", "vpc", tmp_path / "qemu.vhd", size)
    wanted = json.loads(run(qemu_img, "info", "--output=json", "-f", "vpc", tmp_path / "qemu.vhd"))["virtual-size"]
    assert Options.of(target("vhd", options={"force_size": "off"})).disk_size(size, "name") == wanted
    assert Options.of(target("vhd")).disk_size(size, "name") == -(-size // 512) * 512


def test_values_that_are_none():
    for options, words in (
        ({"force_size": "yes"}, "force_size is on or off"),
        ({"block_size": "1M"}, "block_size is 512K or 2M"),
        ({"block_size": "4M"}, "block_size is 512K or 2M"),
        ({"block_size": ""}, "block_size is 512K or 2M"),
    ):
        with pytest.raises(UnsupportedImage, match=words):
            target("vhd", options=options)
    with pytest.raises(LimitExceeded, match="2040 GiB"):
        Options.of(target("vhd", options={"force_size": "off"})).disk_size(LARGEST + 1, "name")


def summed(structure, at):
    data = bytearray(structure)
    data[at : at + 4] = bytes(4)
    data[at : at + 4] = struct.pack(">I", 0xFFFFFFFF - sum(data))
    return bytes(data)


BLOCK = 4096
STRIDE = 512 + BLOCK


def footer(size, kind=3, stamp=0, saved=0, creator=b"tap\0"):
    parts = (b"conectix", 2, 0x10000, 512, stamp, creator, 0x10003, b"\0" * 4, size, size, 2, 4, 17, kind, 0, bytes(range(16)), saved)
    return summed(struct.pack(">8sIIQI4sI4sQQHBBII16sB427x", *parts), 64)


def built(table, blocks, head=b"", tail=None, behind=b"", names=b"", kind=3, batmap=b""):
    """Blocks of 4096 bytes; the table is a sector at byte 1536, what is given by name follows."""
    size = 8 * BLOCK
    locators = struct.pack(">4sIIIQ", b"W2ru", 512, len(names), 0, 2048 + len(batmap)) if names else b""
    parts = (b"cxsparse", (1 << 64) - 1, 1536, 0x10000, len(table), BLOCK, 0, b"P" * 16, 86400, "C:\\p.vhd".encode("utf-16-be"), locators)
    image = (head or footer(size, kind)) + summed(struct.pack(">8sQQIIII16sI4x512s192s256x", *parts), 36)
    image += struct.pack(f">{len(table)}I", *table).ljust(512, b"\xff") + batmap + names.ljust(-(-len(names) // 512) * 512, b"\0")
    return image + b"".join(b"\xff" * 512 + bytes([number + 1]) * BLOCK for number in range(blocks)) + behind + (tail or footer(size, kind))


NONE = 0xFFFFFFFF


def test_xenserver_s_map_of_whole_blocks_is_told_and_not_taken_for_lost():
    """Blocks follow it; without it, the room would be lost blocks."""
    header = struct.pack(">8sQIII", b"tdbatmap", 2048 + 512, 9, 0x10002, 0).ljust(512, b"\0")
    batmap = header + bytes(9 * 512)
    first = (2048 + len(batmap)) // 512
    image = built([NONE, first, NONE, first + 9] + [NONE] * 4, 2, batmap=batmap)
    reader = VhdReader(Memory(image))
    info = reader.describe()
    assert (info.writer, info.format_specific["batmap"]) == ("XenServer", {"batmap_offset": 2560, "batmap_size": 9})
    assert reader.read_at(0, 1 << 20) == bytes(BLOCK) + b"\1" * BLOCK + bytes(BLOCK) + b"\2" * BLOCK + bytes(4 * BLOCK)
    assert reader.check().clean
    damaged = image[:2048] + b"x" + image[2049:]
    reader = VhdReader(Memory(damaged))
    assert "batmap" not in reader.describe().format_specific
    assert len(reader.check().leaks) == 1


@pytest.mark.parametrize(
    ("table", "blocks", "leaks"),
    [
        ([4, 13] + [NONE] * 6, 2, []),
        ([4] + [NONE] * 7, 2, ["1 blocks of 4608 bytes in the file are in no entry of the table"]),
        ([22] + [NONE] * 7, 3, ["2 blocks of 4608 bytes in the file are in no entry of the table"]),
        ([4] + [NONE] * 7 + [13], 2, ["1 blocks in the table lie behind the end of the disk"]),
    ],
)
def test_a_check_counts_blocks_that_nothing_names(table, blocks, leaks):
    result = VhdReader(Memory(built(table, blocks))).check()
    assert (result.corruptions, result.leaks) == ([], leaks)


def test_less_than_a_block_between_two_blocks_is_alignment():
    assert VhdReader(Memory(built([4] + [NONE] * 7, 1, behind=bytes(STRIDE - 512)))).check().clean
    assert not VhdReader(Memory(built([4] + [NONE] * 7, 1, behind=bytes(STRIDE)))).check().clean


@pytest.mark.parametrize("lost", [{"head": bytes(512)}, {"tail": b"junk"}])
def test_a_lost_footer_is_a_corruption(lost):
    result = VhdReader(Memory(built([4] + [NONE] * 7, 1, **lost))).check()
    assert len(result.corruptions) == 1
    assert "missing or damaged" in result.corruptions[0]


def test_footers_that_differ_in_what_does_not_matter_are_told():
    reader = VhdReader(Memory(built([4] + [NONE] * 7, 1, tail=footer(8 * BLOCK, stamp=5, saved=1))))
    assert reader.describe().warnings[0].endswith("differ in what does not change the disk: time_stamp, saved_state")
    assert reader.check().clean


def test_the_description():
    names = ".\\parent.vhd".encode("utf-16-le")
    tail = footer(8 * BLOCK, 4, stamp=0x20000000, creator=b"win ")
    info = VhdReader(Memory(built([NONE] * 8, 0, names=names, kind=4, head=tail, tail=tail))).describe()
    facts = info.format_specific
    json.dumps(facts)
    assert (facts["creator_application"], facts["creator_version"], facts["creator_host_os"]) == ("win", "1.3", "")
    assert (facts["time_stamp"], facts["time_stamp_utc"]) == (0x20000000, "2017-01-04T18:48:32Z")
    assert (facts["parent_time_stamp"], facts["parent_time_stamp_utc"]) == (86400, "2000-01-02T00:00:00Z")
    assert facts["parent_unicode_name"] == "C:\\p.vhd"
    assert facts["geometry"] == {"cylinders": 2, "heads": 4, "sectors_per_track": 17}
    assert facts["parent_locators"] == [
        {"platform_code": "W2ru", "platform_data_space": 512, "platform_data_length": 24, "platform_data_offset": 2048, "name": ".\\parent.vhd"}
    ]
    assert not facts["saved_state"]


def test_a_large_table_is_not_read_to_describe(tmp_path, qemu_img):
    """2040 GiB have a table of 4 MiB."""
    image = tmp_path / "disk.vhd"
    run(qemu_img, "create", "-f", "vpc", "-o", "force_size=on", image, LARGEST)
    storage = FileStorage(image)
    reads = []
    read_at = storage.read_at
    storage.read_at = lambda offset, length: reads.append(length) or read_at(offset, length)
    reader = VhdReader(storage)
    assert reader.describe().virtual_size == LARGEST
    assert sum(reads) < 16 * KIB
    assert [extent.length for extent in reader.extents()] == [LARGEST]


def test_a_glance_at_a_large_disk_does_not_read_its_table(tmp_path):
    """Two entries with one block are told as soon as more of the disk is asked for, one that is not in the file at once."""
    image = write(tmp_path / "disk.vhd", 40 * GIB, [(0, b"x" * UNIT), (30 * GIB, b"y" * UNIT)], block_size="512K")
    with image.open("r+b") as file:
        table = struct.unpack(">81920I", file.read(1536 + 4 * 81920)[1536:])
        file.seek(1536 + 4 * 50000)
        file.write(struct.pack(">I", table[0]))
    reader = VhdReader(FileStorage(image))
    assert reader.read_at(UNIT - 1, 2) == b"x\0"
    assert reader.read_at(30 * GIB, 2) == b"yy"
    with pytest.raises(CorruptImage, match="two entries for the same bytes"):
        next(reader.extents())
    for sector, words in ((table[61440] + 1, "behind the blocks' end"), (0, "on a header or on the table")):
        with image.open("r+b") as file:
            file.seek(1536 + 4 * 50000)
            file.write(struct.pack(">I", sector))
        with pytest.raises(CorruptImage, match=words):
            VhdReader(FileStorage(image)).read_at(50000 * 512 * KIB, 2)
