# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parallels' expandable images, judged by qemu-img: both signatures read and checked, bad ones refused."""

from __future__ import annotations

import hashlib
import json
import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import HOLE
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.parallels.reader import ParallelsReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

sys.path.insert(0, str(Path(__file__).resolve().parents[6] / "tools"))

from build_others import old_parallels  # noqa: E402

MIB, TIB = 1 << 20, 1 << 40
SOUND, DAMAGED, LEAKING = 0, 2, 3
"""what qemu-img check returns"""


def run(*command, check=True):
    return subprocess.run([str(part) for part in command], check=check, capture_output=True, text=True)


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


def read_by_qemu(qemu_img, image):
    run(qemu_img, "convert", "-f", "parallels", "-O", "raw", image, f"{image}.raw")
    with open(f"{image}.raw", "rb") as file:
        return file.read()


def verdict(reader):
    result = reader.check()
    return DAMAGED if result.corruptions else LEAKING if result.leaks else SOUND


def verdict_of_qemu(qemu_img, image):
    return run(qemu_img, "check", "-f", "parallels", image, check=False).returncode


def some_content(chance, size):
    content = bytearray(size)
    for number in range(5):
        at, length = chance.randrange(size), chance.randrange(200_000)
        content[at : at + length] = (chance.randbytes(length) if number % 2 else b"TEXT" * length)[: min(length, size - at)]
    return bytes(content)


def some_writes(chance, size):
    for number in range(5):
        at = chance.randrange(size) // 512 * 512
        yield from ("-c", f"write -P {number + 1} {at} {min(size - at, chance.randrange(1, 300) * 512)}")


@pytest.mark.parametrize("seed", range(8))
def test_reads_and_checks_what_qemu_writes(tmp_path, qemu_img, qemu_io, seed):
    chance = random.Random(seed)
    size = chance.choice((512, 4 * MIB + 1536, 65536, chance.randrange(1, 8000) * 512))
    cluster = chance.choice((4096, 63 * 512, 252 << 10, MIB))
    raw, image = tmp_path / "disk.raw", tmp_path / "disk.hds"
    raw.write_bytes(some_content(chance, size))
    run(qemu_img, "convert", "-f", "raw", "-O", "parallels", "-o", f"cluster_size={cluster}", raw, image)
    run(qemu_io, "-f", "parallels", *some_writes(chance, size), image)
    if size >= cluster:
        run(qemu_io, "-f", "parallels", "-c", f"discard 0 {cluster}", image)
    if seed % 2:
        image.write_bytes(old_parallels(image.read_bytes(), keep_data_off=bool(seed % 4 == 1)))
    reader = ParallelsReader(FileStorage(image))
    expected = read_by_qemu(qemu_img, image)
    assert content_of(reader) == expected
    for _unused in range(20):
        start, length = chance.randrange(size), chance.randrange(1, 50_000)
        assert reader.read_at(start, length) == expected[start : start + length]
    if cluster & (cluster - 1) == 0:  # qemu rounds the others wrongly and finds its own images damaged
        assert verdict(reader) == verdict_of_qemu(qemu_img, image)
    info = reader.describe()
    assert (info.virtual_size, info.cluster_size, info.dirty, info.warnings) == (size, cluster, False, [])
    assert info.subformat == ("WithoutFreeSpace" if seed % 2 else "WithouFreSpacExt")


def build(bat=(1, 2, 0, 3), magic=b"WithouFreSpacExt", version=2, tracks=8, entries=None, sectors=32, in_use=0, data_off=8, flags=0, ext_off=0, size=4 * 4096):
    """An image with clusters of 4 KiB."""
    count = len(bat) if entries is None else entries
    header = struct.pack("<16sIIIIIQIIIQ", magic, version, 16, 1, tracks, count, sectors, in_use, data_off, flags, ext_off)
    head = header + struct.pack(f"<{len(bat)}I", *bat)
    return (head.ljust(4096, b"\0") + b"data" * size)[:size]


OLD = b"WithoutFreeSpace"


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({}, SOUND),
        ({"bat": (8, 16, 0, 24), "magic": OLD}, SOUND),
        ({"bat": (8, 16, 0, 24), "magic": OLD, "data_off": 0}, SOUND),
        ({"bat": (9, 17, 0, 25), "magic": OLD, "size": 33 * 512}, SOUND),
        ({"in_use": 0x312E3276}, SOUND),
        ({"in_use": 0x746F6E59}, DAMAGED),
        ({"data_off": 0}, DAMAGED),
        ({"data_off": 0, "magic": OLD, "bat": (8, 16, 0, 0), "size": 24 * 512}, SOUND),
        ({"bat": (1, 2, 0, 0)}, LEAKING),
        ({"bat": (0, 0, 0, 0)}, LEAKING),
        ({"bat": (0, 0, 0, 0), "size": 4096}, SOUND),
        ({"bat": (1, 2, 0, 4)}, DAMAGED),
        ({"bat": (1, 2, 0, 2)}, DAMAGED),
        ({"sectors": 31, "size": 4 * 4096 - 512}, DAMAGED),
    ],
)
def test_the_check_says_what_qemu_says(tmp_path, qemu_img, wishes, expected):
    image = tmp_path / "image"
    image.write_bytes(build(**wishes))
    assert verdict(ParallelsReader(FileStorage(image))) == expected
    theirs = verdict_of_qemu(qemu_img, image)
    assert theirs == expected or (expected == DAMAGED and theirs not in (SOUND, LEAKING))  # it may give up, or abort


def test_a_cluster_that_the_disk_needs_in_part_may_be_cut(tmp_path, qemu_img):
    image = tmp_path / "image"
    image.write_bytes(build(sectors=31, size=4 * 4096 - 512))
    assert content_of(ParallelsReader(FileStorage(image))) == read_by_qemu(qemu_img, image)


def test_what_the_header_says(tmp_path):
    info = ParallelsReader(Memory(build(in_use=0x746F6E59, flags=1))).describe()
    assert info.dirty
    assert info.format_specific == {"heads": 16, "cylinders": 1, "data_off": 8, "flags": 1}
    assert ["empty image" in warning for warning in info.warnings] == [True]
    assert "in_use" in ParallelsReader(Memory(build(in_use=7))).describe().warnings[0]
    for ext_off in (24, 1 << 20, 0xFF << 56):
        assert "format extension" in ParallelsReader(Memory(build(ext_off=ext_off))).describe().warnings[0]


def test_dirty_bitmaps_are_counted(tmp_path, qemu_img):
    """They lie in a cluster of their own, with an MD5 sum that qemu looks at."""
    features = b""
    for number in (1, 2):
        bitmap = struct.pack("<Q16sIIQ", 32, bytes([number]) * 16, 8, 1, 1)
        features += struct.pack("<QQII", 0x20385FAE252CB34A, 0, len(bitmap), 0) + bitmap
    area = (features + bytes(24)).ljust(4096 - 24, b"\0")
    extension = struct.pack("<Q", 0xAB234CEF23DCEA87) + hashlib.md5(area, usedforsecurity=False).digest() + area
    image = tmp_path / "image"
    image.write_bytes(build(bat=(1, 2, 0, 0), ext_off=24, size=3 * 4096) + extension)
    reader = ParallelsReader(FileStorage(image))
    assert (reader.describe().format_specific["bitmaps"], reader.describe().warnings) == (2, [])
    assert content_of(reader) == read_by_qemu(qemu_img, image)
    told = json.loads(run(qemu_img, "info", "--output=json", "-f", "parallels", image).stdout)
    assert len(told.get("dirty-bitmaps", [0, 0])) == 2


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"version": 3}, "version 3"),
        ({"tracks": 0}, "clusters of 0 sectors"),
        ({"tracks": 1 << 23}, "clusters of"),
        ({"entries": 1 << 27}, "BAT has"),
        ({"entries": 1 << 20}, "BAT ends"),
        ({"sectors": 33}, "BAT has 4 entries; the disk needs 5"),
        ({"sectors": 1 << 40}, "declares a disk"),
        ({"bat": (1, 2, 0, 4)}, "behind the end of the file"),
        ({"bat": (1, 1, 0, 3)}, "another entry names, too"),
        ({"bat": (3, 2, 3, 0)}, "another entry names, too"),
        ({"magic": OLD, "bat": (0, 8, 9, 0)}, "not aligned to the others"),
        ({"magic": OLD, "bat": (8, 0, 0, 4)}, "not aligned to the others"),
        ({"magic": OLD, "bat": (0x7FFFFFFF, 0, 0, 0)}, "behind the end of the file"),
        ({"tracks": 1, "bat": tuple(range(8)), "sectors": 8, "data_off": 1}, None),
        ({"tracks": 1, "bat": tuple(range(8)) + (0,) * 120, "sectors": 8, "data_off": 1}, "on the header or on the BAT"),
    ],
)
def test_what_cannot_be(wishes, message):
    if message is None:
        content_of(ParallelsReader(Memory(build(**wishes))))
        return
    with pytest.raises((CorruptImage, UnsupportedImage, LimitExceeded), match=message):
        content_of(ParallelsReader(Memory(build(**wishes))))


def test_a_large_disk_costs_nothing(tmp_path):
    image = tmp_path / "image"
    image.write_bytes(build(bat=(), entries=8 << 20, tracks=2048, sectors=8 * TIB // 512, size=64))
    with image.open("r+b") as file:
        file.truncate(64 + 4 * (8 << 20))
    assert [(extent.length, extent.kind) for extent in ParallelsReader(FileStorage(image)).extents()] == [(8 * TIB, HOLE)]


def test_the_end_of_a_file_cannot_get_lost():
    whole = build()
    for size in range(0, len(whole), 256):
        with pytest.raises(ImageError):
            content_of(ParallelsReader(Memory(whole[:size])))
