# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""QED, judged by qemu-img: images and overlays read and checked, bad ones refused."""

from __future__ import annotations

import random
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import HOLE, ZERO
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.chain import follow
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.qed.reader import QedReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

MIB, TIB = 1 << 20, 1 << 40
SOUND, DAMAGED, LEAKING = 0, 2, 3
"""what qemu-img check returns"""


def run(*command, check=True):
    return subprocess.run([str(part) for part in command], check=check, capture_output=True, text=True)


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


def read_by_qemu(qemu_img, image):
    run(qemu_img, "convert", "-f", "qed", "-O", "raw", image, f"{image}.raw")
    with open(f"{image}.raw", "rb") as file:
        return file.read()


def verdict(reader):
    result = reader.check()
    return DAMAGED if result.corruptions else LEAKING if result.leaks else SOUND


def verdict_of_qemu(qemu_img, image):
    return run(qemu_img, "check", "-f", "qed", image, check=False).returncode


def some_content(chance, size):
    content = bytearray(size)
    for number in range(5):
        at, length = chance.randrange(size), chance.randrange(200_000)
        content[at : at + length] = (chance.randbytes(length) if number % 2 else b"TEXT" * length)[: min(length, size - at)]
    return bytes(content)


def some_writes(chance, size):
    for number in range(6):
        at = chance.randrange(size) // 512 * 512
        length = min(size - at, chance.randrange(1, 300) * 512)
        yield from ("-c", f"write -z {at} {length}" if number % 3 == 1 else f"write -P {number + 1} {at} {length}")


@pytest.mark.parametrize("seed", range(6))
def test_reads_and_checks_what_qemu_writes(tmp_path, qemu_img, qemu_io, seed):
    chance = random.Random(seed)
    size = chance.choice((512, 4 * MIB + 1536, 65536, chance.randrange(1, 8000) * 512))
    options = f"cluster_size={chance.choice((4096, 65536, MIB))},table_size={chance.choice((2, 4, 16))}"
    raw, image = tmp_path / "disk.raw", tmp_path / "disk.qed"
    raw.write_bytes(some_content(chance, size))
    run(qemu_img, "convert", "-f", "raw", "-O", "qed", "-o", options, raw, image)
    run(qemu_io, "-f", "qed", *some_writes(chance, size), image)
    reader = QedReader(FileStorage(image))
    expected = read_by_qemu(qemu_img, image)
    assert content_of(reader) == expected
    for _unused in range(20):
        start, length = chance.randrange(size), chance.randrange(1, 50_000)
        assert reader.read_at(start, length) == expected[start : start + length]
    assert verdict(reader) == verdict_of_qemu(qemu_img, image) == SOUND
    assert (reader.describe().virtual_size, reader.describe().dirty) == (size, False)


@pytest.mark.parametrize(("backing_format", "size"), [("qed", 3 * MIB), ("qcow2", MIB + 512), ("raw", 5 * MIB)])
def test_an_overlay(tmp_path, qemu_img, qemu_io, backing_format, size):
    chance = random.Random(size)
    raw, base, image = tmp_path / "disk.raw", tmp_path / "base", tmp_path / "overlay"
    raw.write_bytes(some_content(chance, size))
    run(qemu_img, "convert", "-f", "raw", "-O", backing_format, raw, base)
    run(qemu_img, "create", "-f", "qed", "-b", "base", "-F", backing_format, "-o", "cluster_size=4096", image, str(3 * MIB))
    run(qemu_io, "-f", "qed", "-c", f"write -z 0 {MIB}", *some_writes(chance, 3 * MIB), image)
    expected = read_by_qemu(qemu_img, image)
    storage = FileStorage(image)
    reader = QedReader(storage)
    declared = "raw" if backing_format == "raw" else None
    assert [(found.role, found.name, found.format) for found in reader.references()] == [("backing", "base", declared)]
    with pytest.raises(UnsupportedImage, match="backing file, 'base'"):
        content_of(reader)
    follow(reader, storage, str(tmp_path))
    assert content_of(reader) == expected
    assert any(extent.kind == ZERO for extent in reader.extents())
    assert reader.check().clean
    reader.close()


CLUSTER = 4096


def build(disk=64 << 10, l1=(0x3000,), l2=(), cluster=CLUSTER, table=2, header=1, features=0, unknown=(0, 0), l1_offset=CLUSTER, size=1 << 16, backing=(0, 0)):
    """An image with the L1 table at 0x1000, the L2 table at 0x3000, and clusters from 0x5000 on."""
    data = bytearray(b"data" * (size // 4))
    fields = struct.pack("<4sIIIQQQQQII", b"QED\0", cluster, table, header, features, *unknown, l1_offset, disk, *backing)
    tables = {0: fields, 0x1000: struct.pack(f"<{len(l1)}Q", *l1).ljust(8192, b"\0"), 0x3000: struct.pack(f"<{len(l2)}Q", *l2).ljust(8192, b"\0")}
    for at, part in tables.items():
        data[at : at + len(part)] = part
    return bytes(data)


FULL = tuple(range(0x5000, 0x10000, CLUSTER))


@pytest.mark.parametrize(
    ("wishes", "expected"),
    [
        ({"l2": FULL}, SOUND),
        ({"l2": (*FULL, 1, 1)}, SOUND),
        ({"l2": FULL[:-1]}, LEAKING),
        ({"l2": FULL, "size": (1 << 16) + 512}, SOUND),
        ({"l2": FULL, "size": 0x12000}, LEAKING),
        ({"l2": (*FULL, 0x5000)}, DAMAGED),
        ({"l2": (*FULL, 0x3000)}, DAMAGED),
        ({"l2": (*FULL, 0x1000)}, DAMAGED),
        ({"l2": (*FULL, 0x10000)}, DAMAGED),
        ({"l2": (*FULL, 0x5200)}, DAMAGED),
        ({"l1": (0xF000,)}, DAMAGED),
        ({"l1": (0x3000, 0x3000), "l2": FULL, "disk": 8 * MIB}, DAMAGED),
    ],
)
def test_the_check_says_what_qemu_says(tmp_path, qemu_img, wishes, expected):
    image = tmp_path / "image"
    image.write_bytes(build(**wishes))
    assert (verdict(QedReader(FileStorage(image))), verdict_of_qemu(qemu_img, image)) == (expected, expected)


def test_an_image_that_needs_a_check_is_read(tmp_path, qemu_img):
    image = tmp_path / "image"
    image.write_bytes(build(l2=FULL, features=2, unknown=(0xFF, 0xFF)))
    reader = QedReader(FileStorage(image))
    assert reader.describe().dirty
    assert content_of(reader) == read_by_qemu(qemu_img, image)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"features": 8}, "features that are not known"),
        ({"cluster": 2048}, "cluster size"),
        ({"cluster": 12288}, "cluster size"),
        ({"cluster": 128 * MIB}, "cluster size"),
        ({"table": 3}, "table size"),
        ({"table": 32}, "table size"),
        ({"table": 0}, "table size"),
        ({"header": 0}, "no clusters"),
        ({"header": 2}, "inside the header"),
        ({"header": 0xFFFFFFFF}, "inside the header"),
        ({"disk": 1000}, "no multiple of 512"),
        ({"disk": 65 * TIB, "cluster": MIB, "table": 16, "l1_offset": MIB}, "declares a disk"),
        ({"disk": 5 << 30}, "cannot hold"),
        ({"l1_offset": 0x1200}, "not aligned"),
        ({"l1_offset": 0xF000}, "L1 table ends"),
        ({"l1_offset": 1 << 63}, "L1 table ends"),
        ({"features": 1, "backing": (64, 1024)}, "backing file name"),
        ({"features": 1, "backing": (4090, 10)}, "backing file name"),
        ({"features": 1, "backing": (8, 10)}, "backing file name"),
    ],
)
def test_a_bad_header(wishes, message):
    with pytest.raises((CorruptImage, UnsupportedImage, LimitExceeded), match=message):
        QedReader(Memory(build(**wishes)))


def test_a_large_disk_costs_nothing():
    image = bytearray(build(disk=64 * TIB, cluster=1 << 16, table=4, l1_offset=1 << 16, size=5 << 16))
    image[1 << 16 :] = bytes(4 << 16)
    assert [(extent.length, extent.kind) for extent in QedReader(Memory(bytes(image))).extents()] == [(64 * TIB, HOLE)]


def test_the_end_of_a_file_cannot_get_lost():
    whole = build(l2=FULL)
    for size in range(0, len(whole), 1024):
        with pytest.raises(ImageError):
            content_of(QedReader(Memory(whole[:size])))
