# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The VMDK reader, judged by what qemu-img wrote and by images put together here by the specification."""

from __future__ import annotations

import random
import struct
import subprocess
import zlib

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import COMPRESSED, DATA, HOLE, ZERO
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vmdk.reader import open_vmdk
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

SIZE = 5 * 1024 * 1024 + 1536  # no multiple of a grain


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A disk with random, repetitive and zero parts, and data in its last sector."""
    chance = random.Random(7)
    content = bytearray(SIZE)
    content[0:200_000] = chance.randbytes(200_000)
    content[1 << 20 : (1 << 20) + 300_000] = b"VMIMAGE " * 37_500
    content[3 << 20 : (3 << 20) + 9] = b"lonely..."
    content[-512:] = chance.randbytes(512)
    path = tmp_path_factory.mktemp("raw") / "disk.raw"
    path.write_bytes(content)
    return path


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


@pytest.mark.parametrize(
    ("options", "subformat"),
    [
        ("subformat=monolithicSparse", "monolithicSparse"),
        ("subformat=monolithicSparse,zeroed_grain=on", "monolithicSparse"),
        ("subformat=monolithicSparse,adapter_type=lsilogic,compat6=on", "monolithicSparse"),
        ("subformat=streamOptimized", "streamOptimized"),
    ],
)
def test_reads_what_qemu_img_writes(raw, tmp_path, qemu_img, options, subformat):
    image = tmp_path / "disk.vmdk"
    run(qemu_img, "convert", "-O", "vmdk", "-o", options, raw, image)
    reader = open_vmdk(FileStorage(image))
    assert reader.virtual_size == SIZE
    assert content_of(reader) == raw.read_bytes()
    info = reader.describe()
    assert (info.subformat, info.writer, info.warnings, info.references) == (subformat, "qemu", [], [])
    assert info.compressed == any(extent.kind == COMPRESSED for extent in reader.extents())
    assert reader.check().clean


def test_extents_of_any_range_are_parts_of_the_whole(raw, tmp_path, qemu_img):
    content = raw.read_bytes()
    chance = random.Random(4)
    for subformat in ("monolithicSparse", "streamOptimized"):
        image = tmp_path / f"{subformat}.vmdk"
        run(qemu_img, "convert", "-O", "vmdk", "-o", f"subformat={subformat}", raw, image)
        reader = open_vmdk(FileStorage(image))
        for _round in range(40):
            start = chance.randrange(SIZE)
            length = chance.choice([1, 512, 70_000, SIZE])
            assert reader.read_at(start, length) == content[start : start + length]
        assert reader.read_at(SIZE, 10) == b""
        assert list(reader.extents(0, 0)) == []


def test_zeroed_grains(tmp_path, qemu_img, qemu_io):
    image = tmp_path / "disk.vmdk"
    run(qemu_img, "create", "-f", "vmdk", "-o", "zeroed_grain=on", image, "1M")
    run(qemu_io, "-f", "vmdk", "-c", "write -P 1 0 256k", "-c", "write -z 64k 128k", image)
    found = [(extent.kind, extent.start >> 16, extent.length >> 16) for extent in open_vmdk(FileStorage(image)).extents()]
    assert found == [(DATA, 0, 1), (ZERO, 1, 2), (DATA, 3, 1), (HOLE, 4, 12)]


def test_contiguous_grains_are_one_extent(tmp_path, qemu_img):
    (tmp_path / "disk.raw").write_bytes(b"x" * (80 << 20))  # across the ends of grain tables
    run(qemu_img, "convert", "-O", "vmdk", tmp_path / "disk.raw", tmp_path / "disk.vmdk")
    (extent,) = open_vmdk(FileStorage(tmp_path / "disk.vmdk")).extents()
    assert (extent.kind, extent.start, extent.length) == (DATA, 0, 80 << 20)


@pytest.mark.parametrize("size", ["2T", "63T"])
def test_a_large_empty_disk_is_one_hole(tmp_path, qemu_img, size):
    run(qemu_img, "create", "-f", "vmdk", tmp_path / "disk.vmdk", size)
    (extent,) = open_vmdk(FileStorage(tmp_path / "disk.vmdk")).extents()
    assert (extent.kind, extent.length) == (HOLE, int(size[:-1]) << 40)


def test_a_delta_is_described(raw, tmp_path, qemu_img):
    run(qemu_img, "convert", "-O", "vmdk", raw, tmp_path / "base.vmdk")
    run(qemu_img, "create", "-f", "vmdk", "-b", "base.vmdk", "-F", "vmdk", tmp_path / "delta.vmdk")
    reader = open_vmdk(FileStorage(tmp_path / "delta.vmdk"))
    assert reader.virtual_size == SIZE
    assert [(ref.role, ref.name) for ref in reader.describe().references] == [("parent", "base.vmdk")]
    assert "base.vmdk" in reader.unreadable_reason()
    with pytest.raises(UnsupportedImage, match="snapshot"):
        next(reader.extents())


@pytest.mark.parametrize("subformat", ["monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse"])
def test_disks_in_several_files_are_described(tmp_path, qemu_img, subformat):
    run(qemu_img, "create", "-f", "vmdk", "-o", f"subformat={subformat}", tmp_path / "disk.vmdk", "5G")
    reader = open_vmdk(FileStorage(tmp_path / "disk.vmdk"))
    info = reader.describe()
    assert (reader.virtual_size, info.subformat) == (5 << 30, subformat)
    named = [(ref.role, ref.name, ref.format) for ref in info.references]
    files = sorted(path.name for path in tmp_path.iterdir() if path.name != "disk.vmdk")
    assert named == [("extent", name, "raw" if "Flat" in subformat else "vmdk") for name in files]
    assert sum(extent["virtual_size"] for extent in info.format_specific["extents"]) == 5 << 30
    with pytest.raises(UnsupportedImage, match=subformat):
        reader.extents()
    if "Sparse" in subformat:
        part = open_vmdk(FileStorage(tmp_path / files[0]))
        assert part.virtual_size == 2 << 30
        assert "descriptor" in part.unreadable_reason()


TEXT = '# Disk DescriptorFile\nversion=1\nCID=123\nparentCID=ffffffff\ncreateType="{}"\nRW {} SPARSE "x.vmdk"\n'


def image(capacity, table, grains, *, version=1, flags=0, grain=128, create_type="monolithicSparse", first=40):
    """One grain table at sector 32, directory at 31, grains from ``first`` on; ``table``: entries, ``grains``: bytes."""
    compressed = bool(flags >> 16)
    head = struct.pack("<4sIIQQQQIQQQB4sH", b"KDMV", version, flags | 1, capacity, grain, 1, 20, 512, 0, 31, first, 0, b"\n \r\n", compressed)
    front = head.ljust(512, b"\0") + TEXT.format(create_type, capacity).encode()
    front = front.ljust(31 * 512, b"\0") + struct.pack("<I", 32).ljust(512, b"\0") + struct.pack(f"<{len(table)}I", *table).ljust(2048, b"\0")
    return front.ljust(first * 512, b"\0") + grains


@pytest.mark.parametrize("grain", [1, 8, 16, 128, 1024])
def test_grain_sizes(grain):
    size = grain * 512
    first, second = bytes([1]) * size, bytes([2]) * size
    built = image(3 * grain, [40 + grain, 0, 40], second + first, grain=grain)
    reader = open_vmdk(Memory(built))
    assert reader.describe().cluster_size == size
    assert content_of(reader) == first + bytes(size) + second


def test_version_3_with_change_tracking_and_plain_grains():
    assert content_of(open_vmdk(Memory(image(128, [40], b"c" * 65536, version=3)))) == b"c" * 65536


def test_the_last_grain_may_be_as_short_as_the_disk():
    assert content_of(open_vmdk(Memory(image(5, [40], b"s" * 5 * 512)))) == b"s" * 5 * 512


def packed(number, data):
    stream = zlib.compress(data)
    raw = struct.pack("<QI", number * 128, len(stream)) + stream
    return raw + bytes(-len(raw) % 512)


@pytest.mark.parametrize("short", [True, False], ids=["short", "filled up"])
def test_the_last_compressed_grain(short):
    """Some writers compress it only as far as the disk goes (open-vmdk, qemu), others fill it up."""
    grains = packed(0, b"x" * 65536)
    last = packed(1, b"y" * 1024 if short else b"y" * 1024 + bytes(64512))
    built = image(130, [40, 40 + len(grains) // 512], grains + last, version=3, flags=0x30000, create_type="streamOptimized")
    reader = open_vmdk(Memory(built))
    assert content_of(reader) == b"x" * 65536 + b"y" * 1024
    assert reader.check().clean


def test_grains_out_of_order():
    one, two = packed(0, b"1" * 65536), packed(1, b"2" * 65536)
    built = image(256, [40 + len(two) // 512, 40], two + one, version=3, flags=0x30000, create_type="streamOptimized")
    assert content_of(open_vmdk(Memory(built))) == b"1" * 65536 + b"2" * 65536


@pytest.mark.parametrize("padding", [0, 512, 10240, 1 << 20])
def test_a_stream_may_be_padded(tmp_path, padding):
    """An archive or a block device adds zeros behind the end-of-stream marker."""
    built = bytearray(image(128, [40], packed(0, b"p" * 65536), version=3, flags=0x30000, create_type="streamOptimized"))
    footer = bytes(built[:512])
    built[56:64] = b"\xff" * 8
    built += struct.pack("<QII", 1, 0, 3).ljust(512, b"\0") + footer + bytes(512 + padding)
    assert content_of(open_vmdk(Memory(bytes(built)))) == b"p" * 65536
