# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cloop, made by a builder that qemu-img judges: it has to read what is read here."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, InvalidImage, LimitExceeded
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.cloop.reader import CloopReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

sys.path.insert(0, str(Path(__file__).resolve().parents[6] / "tools"))

import build_others  # noqa: E402


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


def some_disk(size, seed=1):
    chance = random.Random(seed)
    return b"".join(chance.choice((bytes(4096), chance.randbytes(4096), b"text" * 1024)) for _unused in range(-(-size // 4096)))[:size]


def by_qemu(qemu_img, folder, data):
    (folder / "image").write_bytes(data)
    return subprocess.run([qemu_img, "convert", "-f", "cloop", "-O", "raw", folder / "image", folder / "raw"], check=False, capture_output=True).returncode


@pytest.mark.parametrize(
    ("size", "block", "level"),
    [(512, 512, 6), (100_000, 65536, 6), (1 << 20, 4096, 0), ((1 << 20) + 512, 262144, 9), (300_000, 1536, 1), (3 << 20, 2 << 20, 1)],
)
def test_reads_what_qemu_reads(tmp_path, qemu_img, size, block, level):
    disk = some_disk(size)
    data = build_others.cloop(disk, block, level)
    assert by_qemu(qemu_img, tmp_path, data) == 0
    expected = (tmp_path / "raw").read_bytes()
    assert expected == disk.ljust(-(-size // block) * block, b"\0")
    reader = CloopReader(Memory(data))
    assert content_of(reader) == expected
    chance = random.Random(size)
    for _unused in range(20):
        start, length = chance.randrange(len(expected)), chance.randrange(1, 50_000)
        assert reader.read_at(start, length) == expected[start : start + length]
    assert reader.check().clean
    info = reader.describe()
    assert (info.virtual_size, info.cluster_size, info.compressed) == (len(expected), block, True)


def test_an_image_without_blocks():
    reader = CloopReader(Memory(build_others.cloop(b"")))
    assert (reader.virtual_size, content_of(reader)) == (0, b"")


SOUND = build_others.cloop(some_disk(200_000), 65536)


def patched(offset, form, *values):
    data = bytearray(SOUND)
    struct.pack_into(form, data, offset, *values)
    return bytes(data)


def first_block():
    return struct.unpack_from(">2Q", SOUND, 136)


@pytest.mark.parametrize(
    ("data", "kind", "message", "refused_by_qemu"),
    [
        (patched(10, "5s", b"#V4.0"), InvalidImage, "no signature", False),
        (patched(128, ">I", 0), CorruptImage, "blocks of 0", True),
        (patched(128, ">I", 1000), CorruptImage, "blocks of 1000", True),
        (patched(128, ">I", 16 << 20), LimitExceeded, "blocks of", True),
        (patched(132, ">I", 0xFFFFFFFF), LimitExceeded, "declares a disk", True),
        (patched(132, ">I", 1 << 24), CorruptImage, "table of offsets ends", True),
        (patched(128, ">I", 512), CorruptImage, "holds|cannot be", True),
        (patched(136, ">Q", 0), CorruptImage, "block 0 .* cannot be", True),
        (patched(144, ">Q", 0), CorruptImage, "block 0 .* cannot be", True),
        (patched(144, ">Q", first_block()[0]), CorruptImage, "block 0 .* cannot be", True),
        (patched(136, ">4Q", *[1 << 40] * 4), CorruptImage, "cannot be", True),
        (patched(136, ">4Q", *[(1 << 40) + n for n in range(4)]), CorruptImage, "behind the end", True),
        (patched(first_block()[0], ">H", 0), CorruptImage, "damaged zlib", True),
        (patched(first_block()[1] - 4, ">I", 7), CorruptImage, "damaged zlib", True),
    ],
)
def test_what_cannot_be(tmp_path, qemu_img, data, kind, message, refused_by_qemu):
    with pytest.raises(kind, match=message):
        content_of(CloopReader(Memory(data)))
    assert bool(by_qemu(qemu_img, tmp_path, data)) == refused_by_qemu


def test_the_end_of_a_file_cannot_get_lost():
    for size in range(0, len(SOUND), 700):
        with pytest.raises(ImageError):
            content_of(CloopReader(Memory(SOUND[:size])))
