# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""qcow2 images with extended L2 entries. qemu-img and qemu-io make them and say what they show."""

from __future__ import annotations

import random
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import DATA, HOLE, ZERO, merge
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.qcow2 import layout
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.qcow2.mapping import subcluster_runs
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.qcow2.reader import Qcow2Reader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

SIZE = (1 << 20) + 1536
CLUSTER = 16384


def run(*command, cwd=None):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, cwd=cwd).stdout


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


@pytest.fixture(scope="module")
def overlay(tmp_path_factory, qemu_img, qemu_io):
    """Clusters that are mixed of subclusters with data, zeros and nothing, over random data; and whole ones."""
    folder = tmp_path_factory.mktemp("extended")
    chance = random.Random(5)
    (folder / "base.raw").write_bytes(chance.randbytes(SIZE))
    options = f"extended_l2=on,cluster_size={CLUSTER}"
    run(qemu_img, "create", "-q", "-f", "qcow2", "-o", options, "-b", "base.raw", "-F", "raw", "disk.qcow2", cwd=folder)
    writes = [f"write -P {chance.randrange(1, 256)} {chance.randrange(SIZE // 512 - 3) * 512} {chance.randrange(1, 4) * 512}" for _number in range(60)]
    zeros = [f"write -z {chance.randrange(SIZE // 512 - 9) * 512} {chance.randrange(1, 10) * 512}" for _number in range(60)]
    whole = ["write -P 9 300k 200k", "write -z 600k 200k", f"write -P 8 {SIZE - 512} 512"]
    run(qemu_io, "-f", "qcow2", *(word for command in (*whole, *writes, *zeros) for word in ("-c", command)), folder / "disk.qcow2")
    run(qemu_img, "convert", "-O", "raw", folder / "disk.qcow2", folder / "judge.raw")
    return folder


def test_the_base_shows_through_subclusters_that_are_not_there(overlay):
    wanted = (overlay / "judge.raw").read_bytes()
    with open_source(Request(str(overlay / "disk.qcow2"), references=str(overlay))) as source:
        reader = source.reader
        assert content_of(reader) == wanted
        assert {extent.kind for extent in reader.extents()} == {DATA, ZERO}
        chance = random.Random(6)
        for _round in range(200):
            start = chance.randrange(SIZE)
            length = chance.randrange(1, 40000)
            assert reader.read_at(start, length) == wanted[start : start + length]
        assert reader.check().clean


def test_runs_of_subclusters():
    chance = random.Random(8)
    for _round in range(300):
        kinds = [chance.choice([DATA, ZERO, HOLE]) for _number in range(chance.choice([1, 2, 4, 32]))]
        kinds = [kind for kind in kinds for _time in range(32 // len(kinds))]
        bitmap = sum((kind == DATA) << bit | (kind == ZERO) << bit + 32 for bit, kind in enumerate(kinds))
        runs = list(subcluster_runs(bitmap))
        assert [kind for _first, count, kind in runs for _time in range(count)] == kinds
        assert all(before[2] != after[2] for before, after in zip(runs, runs[1:]))


def test_whole_clusters_are_one_extent(tmp_path, qemu_img, qemu_io):
    """With data; with zeros and nothing, with room for data and without: many gigabytes of them."""
    image = tmp_path / "disk.qcow2"
    run(qemu_img, "create", "-q", "-f", "qcow2", "-o", "extended_l2=on,preallocation=metadata", image, "16M")
    run(qemu_img, "resize", "-q", image, "60T")
    run(qemu_io, "-f", "qcow2", "-c", "write -P 1 4M 4M", "-c", "write -z 8M 4M", "-c", "write -z 1G 1G", image)
    reader = Qcow2Reader(FileStorage(image))
    runs = list(reader._mapping.clusters(0, reader.virtual_size))
    assert len(runs) < 40  # by L2 table, not by cluster
    joined = [(extent.kind, extent.length >> 20) for extent in merge(runs)]
    assert joined == [(HOLE, 4), (DATA, 4), (ZERO, 4), (HOLE, 1012), (ZERO, 1024), (HOLE, (60 << 20) - 2048)]
    assert reader.check().clean


@pytest.fixture(scope="module")
def small(tmp_path_factory, qemu_img, qemu_io):
    """An image of four clusters: with data, compressed, mixed, without anything."""
    image = tmp_path_factory.mktemp("small") / "disk.qcow2"
    run(qemu_img, "create", "-q", "-f", "qcow2", "-o", f"extended_l2=on,cluster_size={CLUSTER}", image, 4 * CLUSTER)
    steps = (f"write -P 1 0 {CLUSTER}", f"write -c -P 2 {CLUSTER} {CLUSTER}", f"write -P 3 {2 * CLUSTER} 512")
    run(qemu_io, "-f", "qcow2", *(word for step in steps for word in ("-c", step)), image)
    return image.read_bytes()


@pytest.mark.parametrize(
    ("cluster", "entry", "bitmap", "text"),
    [
        (0, lambda old: old, 1 << 32 | layout.ALL_SUBCLUSTERS, "to be zeros"),
        (0, lambda old: old | 1, layout.ALL_SUBCLUSTERS, "reserved bits"),
        (0, lambda old: old | 512, layout.ALL_SUBCLUSTERS, "not aligned"),
        (0, lambda old: old | 1 << 40, layout.ALL_SUBCLUSTERS, "behind the end"),
        (0, lambda old: old | 1 << 40, 1 << 31, "behind the end"),
        (1, lambda old: old, 1 << 40, "bitmap of subclusters"),
        (3, lambda old: 0, 1, "no offset"),
        (3, lambda old: layout.COPIED, 1, "no offset"),
    ],
)
def test_entries_that_contradict_themselves(small, cluster, entry, bitmap, text):
    l2 = struct.unpack_from(">Q", small, struct.unpack_from(">Q", small, 40)[0])[0] & layout.OFFSET_MASK
    data = bytearray(small)
    at = l2 + 16 * cluster
    struct.pack_into(">QQ", data, at, entry(struct.unpack_from(">Q", data, at)[0]), bitmap)
    reader = Qcow2Reader(Memory(bytes(data)))
    with pytest.raises(CorruptImage, match=text):
        content_of(reader)
    assert reader.check().corruptions
