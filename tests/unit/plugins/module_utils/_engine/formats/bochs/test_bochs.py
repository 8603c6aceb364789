# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bochs' growing images, made by a builder that qemu-img judges: it has to read what is read here."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import HOLE
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.bochs.reader import BochsReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

sys.path.insert(0, str(Path(__file__).resolve().parents[6] / "tools"))

import build_others  # noqa: E402

TIB = 1 << 40


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


def some_disk(size, seed=1):
    chance = random.Random(seed)
    disk = bytearray(size)
    for at in range(512, size, 20 * 512):
        length = min(chance.randrange(1, 15) * 512, size - at)
        disk[at : at + length] = chance.randbytes(length)
    return bytes(disk)


@pytest.mark.parametrize(
    ("size", "wishes"),
    [
        (512, {}),
        (100 * 512, {"version": 1}),
        (4096, {"extent": 512, "seed": 1}),
        (1 << 20, {"extent": 65536, "seed": 2, "bitmap": 700}),
        ((1 << 20) + 1536, {"extent": 4096, "seed": 3, "version": 1, "bitmap": 3}),
        (3 << 20, {"extent": 2 << 20, "spare": 0}),
    ],
)
def test_reads_what_qemu_reads(tmp_path, qemu_img, size, wishes):
    disk = some_disk(size)
    data = build_others.bochs(disk, **wishes)
    (tmp_path / "image").write_bytes(data)
    subprocess.run([qemu_img, "convert", "-f", "bochs", "-O", "raw", tmp_path / "image", tmp_path / "raw"], check=True)
    assert (tmp_path / "raw").read_bytes() == disk
    reader = BochsReader(Memory(data))
    assert content_of(reader) == disk
    chance = random.Random(size)
    for _unused in range(20):
        start, length = chance.randrange(size), chance.randrange(1, 50_000)
        assert reader.read_at(start, length) == disk[start : start + length]
    assert reader.check().clean
    info = reader.describe()
    assert (info.virtual_size, info.cluster_size, info.subformat) == (size, wishes.get("extent", 4096), "Growing")
    assert info.format_specific["version"] == wishes.get("version", 2)


@pytest.mark.parametrize("subtype", [b"Undoable", b"Volatile"])
def test_changes_to_another_disk_are_only_described(subtype):
    reader = BochsReader(Memory(build_others.bochs(some_disk(65536), subtype=subtype)))
    assert reader.describe().subformat == subtype.decode()
    with pytest.raises(UnsupportedImage, match="another disk"):
        content_of(reader)


def patched(offset, form, *values, size=65536):
    data = bytearray(build_others.bochs(some_disk(size)))
    struct.pack_into(form, data, offset, *values)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (patched(32, "8s", b"Dedolog"), "type 'Dedolog Growing'"),
        (patched(48, "8s", b"Shrinks"), "type 'Redolog Shrinks'"),
        (patched(64, "<I", 0x30000), "version 3"),
        (patched(68, "<I", 256), "inside the header"),
        (patched(68, "<I", 1 << 31), "catalog ends"),
        (patched(72, "<I", 15), "the disk needs 16"),
        (patched(72, "<I", 0x100001), "catalog has"),
        (patched(72, "<I", 1 << 20), "catalog ends"),
        (patched(76, "<I", 0), "bitmaps of 0 bytes"),
        (patched(76, "<I", 1 << 30), "bitmaps of"),
        (patched(80, "<I", 256), "extents of 256"),
        (patched(80, "<I", 5000), "extents of 5000"),
        (patched(80, "<I", 16 << 20), "extents of 16777216"),
        (patched(88, "<Q", 65 * TIB), "declares a disk"),
        (patched(512, "<I", 1), "name extent 1"),
        (patched(512, "<I", 100_000), "bitmap of an extent ends"),
    ],
)
def test_what_cannot_be(data, message):
    with pytest.raises((CorruptImage, UnsupportedImage, LimitExceeded), match=message):
        content_of(BochsReader(Memory(data)))


def test_a_large_disk_costs_nothing():
    header = build_others.bochs(bytes(8 << 20), extent=8 << 20, spare=(1 << 20) - 1)
    data = header[:88] + struct.pack("<Q", 8 * TIB) + header[96:]
    assert [(extent.length, extent.kind) for extent in BochsReader(Memory(data)).extents()] == [(8 * TIB, HOLE)]


def test_the_end_of_a_file_cannot_get_lost():
    whole = build_others.bochs(b"data" * 16384)
    for size in range(0, len(whole), 700):
        with pytest.raises(ImageError):
            content_of(BochsReader(Memory(whole[:size])))
