# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""qcow, version 1, judged by qemu-img: plain, compressed and overlaid images read, bad ones refused."""

from __future__ import annotations

import random
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import COMPRESSED, HOLE
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.chain import follow
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.qcow.reader import QcowReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

MIB, TIB = 1 << 20, 1 << 40


def run(*command, check=True):
    return subprocess.run([str(part) for part in command], check=check, capture_output=True, text=True)


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


def read_by_qemu(qemu_img, image):
    run(qemu_img, "convert", "-f", "qcow", "-O", "raw", image, f"{image}.raw")
    with open(f"{image}.raw", "rb") as file:
        return file.read()


def write_compressed(qemu_img, raw, image):
    """qemu-img writes all of the image and then fails: its last step has no bytes, and the driver takes none."""
    run(qemu_img, "convert", "-c", "-f", "raw", "-O", "qcow", raw, image, check=False)
    run(qemu_img, "compare", "-f", "raw", "-F", "qcow", raw, image)


def some_content(chance, size):
    content = bytearray(size)
    for number in range(5):
        at, length = chance.randrange(size), chance.randrange(200_000)
        content[at : at + length] = (chance.randbytes(length) if number % 2 else b"TEXT" * length)[: min(length, size - at)]
    return bytes(content)


def some_writes(chance, size, cluster):
    for number in range(6):
        at = chance.randrange(size) // cluster * cluster
        if number % 3 == 2 and at + cluster <= size:
            yield from ("-c", f"write -c -P {number + 1} {at} {cluster}")
        elif number % 3 == 1:
            yield from ("-c", f"write -z {at} {min(size - at, 9 * cluster)}")
        else:
            yield from ("-c", f"write -P {number + 1} {at + 512 if at + 512 < size else at} {min(size - at, 40_448) - (512 if at + 512 < size else 0)}")


@pytest.mark.parametrize("seed", range(6))
def test_reads_what_qemu_writes(tmp_path, qemu_img, qemu_io, seed):
    chance = random.Random(seed)
    size = chance.choice((512, 4 * MIB + 1536, 65536, chance.randrange(1, 8000) * 512))
    raw, image = tmp_path / "disk.raw", tmp_path / "disk.qcow"
    raw.write_bytes(some_content(chance, size))
    if seed % 3:
        write_compressed(qemu_img, raw, image)
    else:
        run(qemu_img, "convert", "-f", "raw", "-O", "qcow", raw, image)
    run(qemu_io, "-f", "qcow", *some_writes(chance, size, 4096), image)
    reader = QcowReader(FileStorage(image))
    expected = read_by_qemu(qemu_img, image)
    assert content_of(reader) == expected
    for _unused in range(20):
        start, length = chance.randrange(size), chance.randrange(1, 50_000)
        assert reader.read_at(start, length) == expected[start : start + length]
    assert reader.check().clean
    info = reader.describe()
    assert (info.virtual_size, info.cluster_size, info.encrypted, info.references) == (size, 4096, False, [])


def test_tells_whether_it_is_compressed(tmp_path, qemu_img):
    raw = tmp_path / "disk.raw"
    raw.write_bytes(b"text" * 100_000)
    write_compressed(qemu_img, raw, tmp_path / "packed")
    run(qemu_img, "convert", "-f", "raw", "-O", "qcow", raw, tmp_path / "plain")
    run(qemu_img, "create", "-f", "qcow", tmp_path / "empty", "1M")
    told = [QcowReader(FileStorage(tmp_path / name)).describe().compressed for name in ("packed", "plain", "empty")]
    assert told == [True, False, None]


@pytest.mark.parametrize(("backing_format", "size"), [("qcow", 3 * MIB), ("qcow2", MIB + 512), ("raw", 5 * MIB)])
def test_an_overlay(tmp_path, qemu_img, qemu_io, backing_format, size):
    chance = random.Random(size)
    content = bytearray(some_content(chance, size))
    content[446:512] = struct.pack("<BxxxBxxxII", 0, 0x83, 1, 1) + bytes(48) + b"\x55\xaa"  # the format says nothing of a raw one
    raw, base, image = tmp_path / "disk.raw", tmp_path / "base", tmp_path / "overlay"
    raw.write_bytes(content)
    run(qemu_img, "convert", "-f", "raw", "-O", backing_format, raw, base)
    run(qemu_img, "create", "-f", "qcow", "-b", "base", "-F", backing_format, image, str(3 * MIB))
    run(qemu_io, "-f", "qcow", *some_writes(chance, 3 * MIB, 512), image)
    expected = read_by_qemu(qemu_img, image)
    storage = FileStorage(image)
    reader = QcowReader(storage)
    assert [(found.role, found.name, found.format) for found in reader.references()] == [("backing", "base", None)]
    with pytest.raises(UnsupportedImage, match="backing file, 'base'"):
        content_of(reader)
    follow(reader, storage, str(tmp_path))
    assert content_of(reader) == expected
    assert reader.check().clean
    reader.close()


def build(disk=64 << 10, l1=(0,), l2=(), cluster_bits=12, l2_bits=9, crypt=0, version=1, l1_offset=48, size=1 << 16, backing=(0, 0)):
    """An image with one L2 table at 8192."""
    data = bytearray(size)
    header = struct.pack(">4sIQIIQBBHIQ", b"QFI\xfb", version, *backing, 0, disk, cluster_bits, l2_bits, 0, crypt, l1_offset)
    for at, part in ((0, header), (48, struct.pack(f">{len(l1)}Q", *l1)), (8192, struct.pack(f">{len(l2)}Q", *l2))):
        data[at : at + len(part)] = part
    return bytes(data)


def test_the_builder_makes_what_qemu_reads(tmp_path, qemu_img):
    image = tmp_path / "image"
    image.write_bytes(build(l1=(8192,), l2=(0x3000, 0, 0x4000, 0x5000)) + b"tail")
    assert content_of(QcowReader(FileStorage(image))) == read_by_qemu(qemu_img, image)


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"cluster_bits": 8}, "clusters of 2\\^8"),
        ({"cluster_bits": 17}, "clusters of 2\\^17"),
        ({"l2_bits": 5}, "L2 tables of 2\\^5"),
        ({"l2_bits": 14}, "L2 tables of 2\\^14"),
        ({"crypt": 2}, "encryption method 2"),
        ({"version": 2}, "version 2"),
        ({"disk": 0}, "a disk of 0 bytes"),
        ({"disk": 1000}, "no multiple of 512"),
        ({"disk": 65 * TIB}, "declares a disk"),
        ({"disk": 64 * TIB, "cluster_bits": 9, "l2_bits": 6}, "L1 table has"),
        ({"disk": 64 * TIB}, "L1 table ends"),
        ({"l1_offset": 40}, "inside the header"),
        ({"l1_offset": 1 << 63}, "L1 table ends"),
        ({"backing": (48, 1024)}, "backing file name has 1024"),
        ({"backing": (1 << 40, 10)}, "backing file name ends"),
    ],
)
def test_a_bad_header(wishes, message):
    with pytest.raises((CorruptImage, UnsupportedImage, LimitExceeded), match=message):
        QcowReader(Memory(build(**wishes)))


FLAG = 1 << 63


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"l1": (1 << 16,)}, "L2 table ends"),
        ({"l1": (40,)}, "L2 table lies in the header"),
        ({"l1": (48,)}, "lies on the L1 table"),
        ({"l1": (8192, 8192), "disk": 4 * MIB}, "two entries of the L1 table"),
        ({"l1": (8192, 8704), "disk": 4 * MIB}, "two entries of the L1 table"),
        ({"l1": (8192,), "l2": (0x3001,)}, "not aligned"),
        ({"l1": (8192,), "l2": (0xF000, 0x10000)}, "behind the end of the file"),
        ({"l1": (8192,), "l2": (FLAG | 0x3000,)}, "0 bytes"),
        ({"l1": (8192,), "l2": (FLAG | 100 << 51 | 0xFFF0,)}, "behind the end of the file"),
        ({"l1": (8192,), "l2": (FLAG | 100 << 51 | 0x3000,)}, "compressed unit holds|damaged deflate"),
    ],
)
def test_bad_tables(wishes, message):
    with pytest.raises(CorruptImage, match=message):
        content_of(QcowReader(Memory(build(**wishes))))


def test_a_cluster_that_is_used_twice_is_a_corruption():
    for l2 in ((0x3000, 0x3000), (0x3000, 0x3200), (0x2000,), (0x3000, FLAG | 100 << 51 | 0x3FF0)):
        assert QcowReader(Memory(build(l1=(8192,), l2=l2))).check().corruptions, l2
    assert QcowReader(Memory(build(l1=(8192,), l2=(0x3000, 0x4000)))).check().clean


def test_an_encrypted_image_is_only_described():
    reader = QcowReader(Memory(build(crypt=1)))
    info = reader.describe()
    assert (info.encrypted, info.format_specific) == (True, {"encrypt_format": "aes"})
    with pytest.raises(UnsupportedImage, match="encrypted"):
        content_of(reader)


def test_a_large_disk_costs_nothing(tmp_path):
    image = tmp_path / "image"
    image.write_bytes(build(disk=64 * TIB)[:4096])
    with image.open("r+b") as file:
        file.truncate(48 + (64 * TIB // (2 * MIB)) * 8)
    assert [(extent.length, extent.kind) for extent in QcowReader(FileStorage(image)).extents()] == [(64 * TIB, HOLE)]


def test_the_end_of_a_file_cannot_get_lost(tmp_path, qemu_img):
    raw, image = tmp_path / "disk.raw", tmp_path / "image"
    raw.write_bytes(some_content(random.Random(3), MIB + 512))
    write_compressed(qemu_img, raw, image)
    whole = image.read_bytes()
    assert any(extent.kind == COMPRESSED for extent in QcowReader(Memory(whole)).extents())
    for size in range(0, len(whole), len(whole) // 40 + 1):
        with pytest.raises(ImageError):
            content_of(QcowReader(Memory(whole[:size])))
