# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guest's disk read in any order and in pieces of any size: always the bytes that qemu-img gives."""

from __future__ import annotations

import random
import subprocess

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import open_reader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes import disk as module
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.disk import BLOCK, DiskStorage

KIB, MIB = 1 << 10, 1 << 20
SIZE = 6 * MIB + 512
"""no whole number of blocks"""
FORMS = {
    "raw": (["-O", "raw"], []),
    "clusters of 4 KiB": (["-O", "qcow2", "-o", "cluster_size=4k"], ["write -z 1M 128k", "write -zu 3M 8k", "discard 4M 64k"]),
    "clusters of 64 KiB": (["-O", "qcow2"], ["write -z 1M 128k", "write -P 7 5000k 3k"]),
    "compressed": (["-O", "qcow2", "-c"], ["write -P 9 2M 64k", "write -z 1M 128k"]),
    "subclusters": (["-O", "qcow2", "-o", "extended_l2=on,cluster_size=128k"], ["write -z 1030k 6k", "write -P 3 3M 2k"]),
    "vmdk": (["-O", "vmdk", "-o", "subformat=streamOptimized"], []),
}


@pytest.fixture(scope="module", params=FORMS)
def image(request, tmp_path_factory, qemu_img, qemu_io):
    """An image with data, holes and zeros, and its content by qemu-img."""
    options, writes = FORMS[request.param]
    folder = tmp_path_factory.mktemp("disk")
    chance = random.Random(request.param)
    content = bytearray(SIZE)
    for _run in range(30):
        start, length = chance.randrange(SIZE), chance.choice([1, 511, 4 * KIB, 70 * KIB, 300 * KIB])
        content[start : start + length] = (chance.randbytes(64) * (length // 64 + 1))[: len(content[start : start + length])]
    (folder / "raw").write_bytes(content)
    subprocess.run([qemu_img, "convert", "-f", "raw", *options, folder / "raw", folder / "image"], check=True)
    for write in writes:
        subprocess.run([qemu_io, "-f", "qcow2", "-d", "unmap", "-c", write, folder / "image"], check=True, stdout=subprocess.DEVNULL)
    form = options[1]
    subprocess.run([qemu_img, "convert", "-f", form, "-O", "raw", folder / "image", folder / "content"], check=True)
    return folder / "image", (folder / "content").read_bytes()


@pytest.fixture
def opened(image):
    path, content = image
    with open_source(Request(str(path), src_format="raw" if path.read_bytes()[:3] not in (b"QFI", b"KDM") else None, any_order=True)) as source:
        yield DiskStorage(source.reader), content


def places(chance, size):
    """Ranges at and across the ends of blocks, and anywhere."""
    for _place in range(300):
        edge = chance.randrange(size // BLOCK + 1) * BLOCK
        start = chance.choice([edge, edge - 1, edge + 1, edge - 700, chance.randrange(size)])
        yield max(0, min(start, size - 1)), chance.choice([1, 2, 512, 4096, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])


def test_read_at(opened):
    storage, content = opened
    assert storage.size == len(content)
    for start, length in places(random.Random(1), storage.size):
        assert storage.read_at(start, length) == content[start : start + length]
    assert storage.read_at(storage.size, 10) == b""
    assert storage.read_at(storage.size - 3, BLOCK) == content[-3:]
    assert storage.read_at(10, 0) == b""


def test_read_into(opened):
    storage, content = opened
    for start, length in places(random.Random(2), storage.size):
        buffer = bytearray(b"\xaa" * min(length, storage.size - start))  # zeros have to be written, too
        storage.read_into(start, memoryview(buffer), "it")
        assert buffer == content[start : start + length]
    with pytest.raises(CorruptImage, match="it ends at byte"):
        storage.read_into(storage.size - 1, memoryview(bytearray(2)), "it")


def test_data_ranges(opened):
    """In order, inside of what is asked for, and nothing but zeros between them."""
    storage, content = opened
    chance = random.Random(3)
    for start, length in [(0, storage.size), *places(chance, storage.size)]:
        end = min(start + length, storage.size)
        at = start
        for offset, count in storage.data_ranges(start, end):
            assert at <= offset
            assert not any(content[at:offset])
            assert count > 0
            at = offset + count
            assert at <= end
        assert not any(content[at:end])
    assert list(storage.data_ranges()) == list(storage.data_ranges(0, storage.size + 5))
    assert list(storage.data_ranges(5, 5)) == []


def test_holes_are_holes(opened):
    storage, content = opened
    stored = sum(length for _offset, length in storage.data_ranges())
    empty = sum(not any(content[at : at + MIB // 4]) for at in range(0, SIZE, MIB // 4))  # at least a cluster of all forms is in each
    assert empty > 0
    assert stored <= len(content) - empty * MIB // 8


def test_no_more_blocks_are_kept_than_may_be(monkeypatch):
    monkeypatch.setattr(module, "KEPT", 3)
    data = random.Random(4).randbytes(10 * BLOCK)
    storage = DiskStorage(open_reader("raw", Memory(data, "disk")))
    for number in (0, 1, 2, 3, 0, 9, 4, 4, 1):
        assert storage.read_at(number * BLOCK + 5, 10) == data[number * BLOCK + 5 : number * BLOCK + 15]
        assert len(storage._blocks) <= 3
