# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check: what is found in the use of a file's space, and what qemu-img says of the same images."""

from __future__ import annotations

import json
import random
import struct
import subprocess

import build_vmdk
import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vmdk import space
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vmdk.reader import open_vmdk
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

GT, RGT = 27 * 512, 22 * 512


def run(*command, check=True):
    return subprocess.run([str(part) for part in command], check=check, capture_output=True, text=True)


@pytest.fixture
def sparse(tmp_path, qemu_img):
    """Ten grains of which all but the first have data, one behind the other from byte 65536 on."""
    (tmp_path / "disk.raw").write_bytes(bytes(65536) + random.Random(1).randbytes(9 * 65536))
    run(qemu_img, "convert", "-f", "raw", "-O", "vmdk", tmp_path / "disk.raw", tmp_path / "disk.vmdk")
    return bytearray((tmp_path / "disk.vmdk").read_bytes())


def poke(raw, offset, form, *values):
    struct.pack_into(f"<{form}", raw, offset, *values)


def checked(raw):
    return open_vmdk(Memory(bytes(raw))).check()


def test_a_sound_image(sparse):
    assert checked(sparse).clean


def test_grains_that_no_table_names(sparse):
    for table in (GT, RGT):
        poke(sparse, table + 4 * 3, "3I", 0, 0, 0)
    found = checked(sparse)
    assert (found.corruptions, found.leaks) == ([], ["memory: 3 grains are named by no table"])
    assert checked(sparse + bytes(65536)).leaks == ["memory: 4 grains are named by no table"]
    assert checked(sparse + bytes(65535)).leaks == ["memory: 3 grains are named by no table"]


def test_a_grain_that_two_entries_name(sparse):
    for table in (GT, RGT):
        poke(sparse, table + 4 * 3, "I", 128)
    found = checked(sparse)
    assert "have the same place (at byte 0x10000; 65536 bytes" in found.corruptions[0]
    assert not found.leaks


def test_grains_that_overlap(sparse):
    for table in (GT, RGT):
        poke(sparse, table + 4 * 3, "I", 128 + 5)
    assert "65536 bytes in all" in checked(sparse).corruptions[0]


def test_one_grain_does_not_stand_for_a_disk(sparse):
    """Read, not only checked: the file would become as large as its table says."""
    for table in (GT, RGT):
        poke(sparse, table, "10I", *[128] * 10)
    with pytest.raises(CorruptImage, match="the same grain"):
        list(open_vmdk(Memory(bytes(sparse[: 2 * 65536]))).extents())


def test_grains_beside_the_stream(tmp_path, qemu_img, sparse):
    """A compressed grain that no table names is found where there is a gap; other markers are none."""
    run(qemu_img, "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", tmp_path / "disk.raw", tmp_path / "s.vmdk")
    stream = bytearray((tmp_path / "s.vmdk").read_bytes())
    assert checked(stream).clean
    table = struct.unpack_from("<I", stream, struct.unpack_from("<Q", stream, 56)[0] * 512)[0] * 512
    redundant = struct.unpack_from("<I", stream, struct.unpack_from("<Q", stream, 48)[0] * 512)[0] * 512
    for place in dict.fromkeys((table, redundant)):
        poke(stream, place + 4 * 3, "I", 0)
    assert checked(stream).leaks == ["memory: 1 grains are named by no table"]


def test_what_a_cowd_file_has_in_reserve_is_no_leak():
    raw = build_vmdk.cowd(4096, {number: b"x" for number in range(4096)})
    assert checked(raw).clean
    assert checked(raw + bytes(16 << 20)).clean  # ESX lets the file grow in steps
    poke(raw, 28, "I", len(raw) // 512)
    raw = build_vmdk.cowd(4096, {number: b"x" for number in range(4096)}, geometry=(2, 64, 32))
    poke(raw, 5 * 512 + 40, "2I", 0, 0)
    assert checked(raw).leaks == ["memory: 2 grains are named by no table"]


def test_more_ranges_than_are_kept_at_once(sparse, monkeypatch):
    """The same is found when neighbours have to be joined on the way."""
    for table in (GT, RGT):
        poke(sparse, table + 4, "9I", 128, 1024, 256, 384, 896, 512, 640, 768, 1152)
    assert checked(sparse).clean
    monkeypatch.setattr(space, "_KEPT", 2)
    assert checked(sparse).clean
    for table in (GT, RGT):
        poke(sparse, table + 4 * 9, "I", 256)
    assert "65536 bytes in all" in checked(sparse).corruptions[0]


@pytest.mark.parametrize("damage", ["nothing", "a grain behind the end", "a leak"])
def test_as_qemu_img_says(tmp_path, qemu_img, sparse, damage):
    for table in (GT, RGT):
        if damage == "a grain behind the end":
            poke(sparse, table + 8, "I", 1 << 24)
        elif damage == "a leak":
            poke(sparse, table + 8, "I", 0)
    (tmp_path / "x.vmdk").write_bytes(sparse)
    corrupt = run(qemu_img, "check", "-f", "vmdk", tmp_path / "x.vmdk", check=False).returncode != 0
    found = checked(sparse)
    assert bool(found.corruptions) == corrupt == ("behind" in damage)
    assert bool(found.leaks) == (damage == "a leak")  # which qemu-img does not look for


@pytest.mark.parametrize("subformat", ["monolithicSparse", "streamOptimized", "twoGbMaxExtentSparse", "monolithicFlat"])
def test_described_as_by_qemu_img(tmp_path, qemu_img, sparse, subformat):
    path = tmp_path / "x.vmdk"
    options = f"subformat={subformat},adapter_type=lsilogic"
    run(qemu_img, "convert", "-f", "raw", "-O", "vmdk", "-o", options, tmp_path / "disk.raw", path)
    wanted = json.loads(run(qemu_img, "info", "--output=json", path).stdout)
    with open_source(Request(str(path), references=str(tmp_path))) as source:
        info = source.reader.describe()
    found, theirs = info.format_specific, wanted["format-specific"]["data"]
    assert (found["create_type"], found["cid"], found["parent_cid"]) == (theirs["create-type"], theirs["cid"], theirs["parent-cid"])
    assert found["adapter_type"] == "lsilogic"
    assert (info.virtual_size, info.cluster_size) == (wanted["virtual-size"], wanted.get("cluster-size"))
    for ours, other in zip(found["extents"], theirs["extents"]):
        assert (ours["virtual_size"], ours.get("cluster_size"), bool(ours.get("compressed"))) == (
            other["virtual-size"],
            other.get("cluster-size"),
            other.get("compressed", False),
        )
    assert len(found["extents"]) == len(theirs["extents"])
