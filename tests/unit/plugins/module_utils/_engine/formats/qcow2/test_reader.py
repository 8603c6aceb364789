# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The qcow2 reader, judged by what qemu-img and qemu-io wrote."""

from __future__ import annotations

import random
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import COMPRESSED, HOLE, ZERO
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.qcow2.reader import Qcow2Reader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

SIZE = 5 * 1024 * 1024 + 1536  # no multiple of a cluster


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """A disk with random, repetitive and zero parts, and data in its last sector."""
    chance = random.Random(7)
    content = bytearray(SIZE)
    content[0:70000] = chance.randbytes(70000)
    content[1 << 20 : (1 << 20) + 300000] = b"VMIMAGE " * 37500
    content[3 << 20 : (3 << 20) + 9] = b"lonely..."
    content[-512:] = chance.randbytes(512)
    path = tmp_path_factory.mktemp("raw") / "disk.raw"
    path.write_bytes(content)
    return path


def content_of(reader):
    """All guest bytes, put together from the extents."""
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


OPTIONS = ["compat=0.10", "compat=1.1", "cluster_size=512", "cluster_size=4k", "cluster_size=2M", "refcount_bits=1", "refcount_bits=64", "lazy_refcounts=on"]


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize("options", OPTIONS)
def test_reads_what_qemu_img_writes(raw, tmp_path, qemu_img, options, compress):
    image = tmp_path / "disk.qcow2"
    run(qemu_img, "convert", *(["-c"] if compress else []), "-O", "qcow2", "-o", options, raw, image)
    reader = Qcow2Reader(FileStorage(image))
    assert reader.virtual_size == SIZE
    assert content_of(reader) == raw.read_bytes()
    assert any(extent.kind == COMPRESSED for extent in reader.extents()) == compress
    assert reader.describe().compressed is compress
    assert reader.check().clean


def test_extents_of_any_range_are_parts_of_the_whole(raw, tmp_path, qemu_img):
    image = tmp_path / "disk.qcow2"
    run(qemu_img, "convert", "-c", "-O", "qcow2", raw, image)
    reader = Qcow2Reader(FileStorage(image))
    content = raw.read_bytes()
    chance = random.Random(3)
    for _round in range(200):
        start = chance.randrange(SIZE)
        length = chance.randrange(1, 300000)
        assert reader.read_at(start, length) == content[start : start + length]


def test_writes_zeroes_and_discards_are_seen(tmp_path, qemu_img, qemu_io):
    image = tmp_path / "disk.qcow2"
    run(qemu_img, "create", "-f", "qcow2", image, "16M")
    run(qemu_io, "-c", "write -P 0x5a 1M 1M", "-c", "write -z 1M 128k", "-c", "discard 1536k 64k", "-c", "write -P 0x11 70000 100", image)
    reader = Qcow2Reader(FileStorage(image))
    other = tmp_path / "other.raw"
    run(qemu_img, "convert", "-O", "raw", image, other)
    assert content_of(reader) == other.read_bytes()
    assert {extent.kind for extent in reader.extents()} >= {ZERO, HOLE}
    assert reader.check().clean


def test_neighbouring_clusters_are_one_extent(tmp_path, qemu_img):
    source, image = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    source.write_bytes(random.Random(1).randbytes(8 << 20))
    run(qemu_img, "convert", "-O", "qcow2", source, image)
    assert len(list(Qcow2Reader(FileStorage(image)).extents())) == 1


def test_a_huge_empty_disk_is_one_hole(tmp_path, qemu_img):
    image = tmp_path / "huge.qcow2"
    run(qemu_img, "create", "-f", "qcow2", "-o", "cluster_size=2M", image, "60T")
    reader = Qcow2Reader(FileStorage(image))
    assert [(extent.kind, extent.length) for extent in reader.extents()] == [(HOLE, 60 << 40)]


def test_snapshots_are_listed_and_the_active_state_is_read(tmp_path, qemu_img, qemu_io):
    image, other = tmp_path / "disk.qcow2", tmp_path / "other.raw"
    run(qemu_img, "create", "-f", "qcow2", image, "4M")
    run(qemu_io, "-c", "write -P 1 0 1M", image)
    run(qemu_img, "snapshot", "-c", "first", image)
    run(qemu_io, "-c", "write -P 2 512k 1M", image)
    reader = Qcow2Reader(FileStorage(image))
    assert [snapshot["name"] for snapshot in reader.describe().snapshots] == ["first"]
    run(qemu_img, "convert", "-O", "raw", image, other)
    assert content_of(reader) == other.read_bytes()
    assert reader.check().clean


def test_an_overlay_names_its_backing_file_and_is_not_read(tmp_path, qemu_img):
    base, overlay = tmp_path / "base.raw", tmp_path / "over.qcow2"
    base.write_bytes(bytes(1 << 20))
    run(qemu_img, "create", "-f", "qcow2", "-b", "base.raw", "-F", "raw", overlay)
    reader = Qcow2Reader(FileStorage(overlay))
    assert [(ref.role, ref.name, ref.format) for ref in reader.describe().references] == [("backing", "base.raw", "raw")]
    with pytest.raises(UnsupportedImage, match=r"base\.raw"):
        list(reader.extents())


def test_an_external_data_file_is_named_and_not_read(tmp_path, qemu_img):
    image = tmp_path / "disk.qcow2"
    run(qemu_img, "create", "-f", "qcow2", "-o", f"data_file={tmp_path / 'data.raw'}", image, "1M")
    reader = Qcow2Reader(FileStorage(image))
    assert [ref.role for ref in reader.references()] == ["data_file"]
    assert "another file" in reader.unreadable_reason()


@pytest.fixture(scope="module")
def small(tmp_path_factory, qemu_img):
    """The bytes of a sound image of 1 MiB that is full."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "disk.raw").write_bytes(random.Random(2).randbytes(1 << 20))
    run(qemu_img, "convert", "-O", "qcow2", folder / "disk.raw", folder / "disk.qcow2")
    return (folder / "disk.qcow2").read_bytes()


def patched(image, offset, value):
    return Memory(image[:offset] + value + image[offset + len(value) :])


HEADER_FAULTS = {
    "version": (4, b"\0\0\0\4", UnsupportedImage, "version 4"),
    "cluster bits": (20, b"\0\0\0\x1f", CorruptImage, "cluster_bits"),
    "backing name outside": (8, b"\0\0\0\0\0\1\0\0\0\0\0\x20", CorruptImage, "backing file name"),
    "size": (24, b"\x7f" * 8, LimitExceeded, "the most that is taken"),
    "l1 size": (36, b"\0\x80\0\0", LimitExceeded, "L1 table"),
    "l1 too small": (36, b"\0\0\0\0", CorruptImage, "L1 table has 0"),
    "l1 unaligned": (40, b"\0\0\0\0\0\3\0\1", CorruptImage, "not aligned"),
    "l1 behind the end": (40, b"\0\0\0\1\0\0\0\0", CorruptImage, "behind the end"),
    "refcount table unaligned": (48, b"\0\0\0\0\0\0\0\1", CorruptImage, "not aligned"),
    "refcount table huge": (56, b"\0\1\0\0", LimitExceeded, "refcount table"),
    "snapshots": (60, b"\0\2\0\0", LimitExceeded, "snapshots"),
    "encryption": (32, b"\0\0\0\7", UnsupportedImage, "encryption"),
    "unknown feature": (72, b"\x80\0\0\0\0\0\0\0", UnsupportedImage, "bit 63"),
    "refcount order": (96, b"\0\0\0\7", CorruptImage, "refcount_order"),
    "header length": (100, b"\0\0\0\x69", CorruptImage, "header_length"),
    "compression type": (104, b"\1", CorruptImage, "compression type"),
    "extension": (112 + 4, b"\0\1\0\0", CorruptImage, "header extension"),
}


@pytest.mark.parametrize("fault", HEADER_FAULTS)
def test_header_faults_are_refused(small, fault):
    offset, value, error, text = HEADER_FAULTS[fault]
    with pytest.raises(error, match=text):
        Qcow2Reader(patched(small, offset, value))


def tables(image):
    """Host offsets of the L1 table and of its first L2 table."""
    l1 = int.from_bytes(image[40:48], "big")
    return l1, int.from_bytes(image[l1 : l1 + 8], "big") & 0x00FFFFFFFFFFFE00


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (1 << 63 | 0x40000000, "behind the end"),
        (1 << 63 | 0x50200, "not aligned"),
        (1 << 63 | 1 << 57 | 0x50000, "reserved bits"),
        (1 << 63, "no offset"),
        (1 << 62 | 0x40000000, "behind the end"),
    ],
)
def test_entries_that_lie_are_refused_never_read_as_zeros(small, entry, text):
    _l1, l2 = tables(small)
    reader = Qcow2Reader(patched(small, l2 + 8, entry.to_bytes(8, "big")))
    with pytest.raises(CorruptImage, match=text):
        list(reader.extents())
    assert not reader.check().clean


def test_a_truncated_image_is_refused_at_any_length(small):
    """Nothing that is cut may come out as a whole disk: qemu-img reads zeros there."""
    end = len(small)
    for length in [0, 3, 71, 103, 111, 200, *range(512, end, 7919), end - 1]:
        try:
            content = content_of(Qcow2Reader(Memory(small[:length])))
        except ImageError:
            continue
        whole = content_of(Qcow2Reader(Memory(small)))
        assert content == whole, f"cut at {length}"


def test_damaged_compressed_data_is_refused(raw, tmp_path, qemu_img):
    image = tmp_path / "disk.qcow2"
    run(qemu_img, "convert", "-c", "-O", "qcow2", raw, image)
    extent = next(e for e in Qcow2Reader(FileStorage(image)).extents() if e.kind == COMPRESSED)
    data = bytearray(image.read_bytes())
    data[extent.offset : extent.offset + 16] = b"\xff" * 16
    with pytest.raises(CorruptImage, match="deflate"):
        content_of(Qcow2Reader(Memory(bytes(data))))


def test_check_tells_leaks_from_corruptions(small):
    table = int.from_bytes(small[48:56], "big")
    block = int.from_bytes(small[table : table + 8], "big")
    leaky = Qcow2Reader(patched(small, block, b"\0\5")).check()
    assert leaky.leaks
    assert not leaky.corruptions
    corrupt = Qcow2Reader(patched(small, block, b"\0\0")).check()
    assert corrupt.corruptions
