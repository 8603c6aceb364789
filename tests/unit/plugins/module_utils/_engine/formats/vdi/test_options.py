# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VDI: creation options, and what a check tells of blocks that nothing names."""

from __future__ import annotations

import json
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import create_writer, target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vdi.reader import VdiReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink

MIB = 1 << 20
UNIT = 64 << 10


def write(path, size, runs, subformat=None, **options):
    with Sink(path) as sink:
        writer = create_writer(target("vdi", subformat, False, options), sink, size)
        for start, data in runs:
            writer.write(start, data)
        writer.finish()
        sink.commit()
    return path


def test_static_is_another_word_for_fixed(tmp_path, qemu_img, seven_zip):
    runs = [(MIB, b"x" * UNIT)]
    image = write(tmp_path / "one.vdi", 3 * MIB, runs, static="on")
    assert image.read_bytes() == write(tmp_path / "two.vdi", 3 * MIB, runs, "fixed").read_bytes()
    assert image.read_bytes() == write(tmp_path / "two.vdi", 3 * MIB, runs, "fixed", static="on").read_bytes()
    assert image.stat().st_size == 5 * MIB
    subprocess.run([qemu_img, "check", "-f", "vdi", image], check=True, capture_output=True)
    assert subprocess.run([seven_zip, "x", "-so", "-tvdi", image], check=True, capture_output=True).stdout == bytes(MIB) + b"x" * UNIT + bytes(2 * MIB - UNIT)
    assert target("vdi").subformat == target("vdi", options={"static": "off"}).subformat == "dynamic"


@pytest.mark.parametrize(
    ("subformat", "options", "words"), [("dynamic", {"static": "on"}, "not dynamic"), (None, {"static": "1"}, "on or off"), (None, {"size": "1"}, "no option")]
)
def test_values_that_are_none(subformat, options, words):
    with pytest.raises(UnsupportedImage, match=words):
        target("vdi", subformat, options=options)


def test_a_check_counts_blocks_that_nothing_names(tmp_path, qemu_img):
    image = write(tmp_path / "disk.vdi", 4 * MIB, [(0, b"x" * UNIT), (2 * MIB, b"y" * UNIT)])
    assert VdiReader(FileStorage(image)).check().clean
    with image.open("r+b") as file:
        file.truncate(image.stat().st_size + 2 * MIB + 5)
    assert VdiReader(FileStorage(image)).check().leaks == ["the file has 4 blocks, of which the block map names 2"]
    # A block is given up: qemu-img counts it as missing, too.
    with image.open("r+b") as file:
        file.truncate(4 * MIB)
        file.seek(MIB + 8)
        file.write(struct.pack("<I", 0xFFFFFFFE))
    assert VdiReader(FileStorage(image)).check().leaks == ["the header counts 2 allocated blocks, the block map has 1"]
    assert subprocess.run([qemu_img, "check", "-f", "vdi", image], check=False, capture_output=True).returncode


def test_the_description(tmp_path):
    facts = VdiReader(FileStorage(write(tmp_path / "disk.vdi", 4 * MIB, [(0, b"x" * UNIT)]))).describe().format_specific
    json.dumps(facts)
    assert (facts["version"], facts["blocks"], facts["blocks_allocated"], facts["off_blocks"], facts["off_data"]) == ("1.1", 4, 1, MIB, 2 * MIB)
    assert facts["geometry"] == {"cylinders": 0, "heads": 0, "sectors": 0, "sector_size": 512}


def test_a_glance_at_a_large_disk_does_not_read_its_map(tmp_path):
    """Two entries with one block are told as soon as more of the disk is asked for, one that is not in the file at once."""
    image = write(tmp_path / "disk.vdi", 70 << 30, [(0, b"x" * UNIT), (60 << 30, b"y" * UNIT)])
    with image.open("r+b") as file:
        file.seek(MIB + 4 * (50 << 10))
        file.write(struct.pack("<I", 0))
    reader = VdiReader(FileStorage(image))
    assert reader.read_at(UNIT - 1, 2) == b"x\0"
    assert reader.read_at(60 << 30, 2) == b"yy"
    with pytest.raises(CorruptImage, match="names block 0, which another entry names"):
        next(reader.extents())
    with image.open("r+b") as file:
        file.seek(MIB + 4 * (50 << 10))
        file.write(struct.pack("<I", 2))
    with pytest.raises(CorruptImage, match="behind the end"):
        VdiReader(FileStorage(image)).read_at(50 << 30, 2)
