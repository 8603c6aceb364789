# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks and snapshots of ESX: COWD and seSparse extents built here by their specification, judged by qemu-img."""

from __future__ import annotations

import random
import struct
import subprocess

import build_vmdk
import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import DATA, HOLE, ZERO
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vmdk.cowd import CowdExtent
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vmdk.reader import open_vmdk
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vmdk.sesparse import SeSparseExtent
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

SECTOR = 512
SECTORS = 32768 + 4096 + 24  # two tables of an seSparse extent, many of a COWD one, and three grains
TYPES = {"cowd": ("vmfsSparse", "VMFSSPARSE"), "sesparse": ("seSparse", "SESPARSE"), "flat": ("vmfs", "VMFS")}


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


def judge(qemu_img, path):
    run(qemu_img, "convert", "-f", "vmdk", "-O", "raw", path, path.with_suffix(".raw"))
    return path.with_suffix(".raw").read_bytes()


def part(kind, sectors, seed):
    """A data file with content by chance."""
    if kind == "flat":
        return random.Random(seed).randbytes(sectors * SECTOR)
    if kind == "cowd":
        grain = (1, 8, 128)[seed % 3]
        grains = build_vmdk.sparse_grains(sectors, grain, seed)
        return build_vmdk.cowd(sectors, grains, grain=grain, seed=(None, seed)[seed % 2])
    grains = build_vmdk.sparse_grains(sectors, 8, seed, kinds=(build_vmdk.UNMAPPED, build_vmdk.ZERO))
    return build_vmdk.sesparse(sectors, grains, seed=(None, seed)[seed % 2], skip=4090 if seed % 3 else 0)


def chain(folder, kinds, seed, sectors=SECTORS):
    """Disks of some kinds, each a delta of the one before; every second one in two files. The path of the last."""
    parent = None
    for level, kind in enumerate(kinds):
        cuts = [0, 4096 * (seed % 5 + 1) + 8, sectors] if (seed + level) % 2 else [0, sectors]
        lines = []
        for number, (first, end) in enumerate(zip(cuts, cuts[1:])):
            name = f"level {level} part {number}.vmdk"
            (folder / name).write_bytes(part(kind, end - first, seed * 10 + level * 3 + number))
            lines.append(f'RW {end - first} {TYPES[kind][1]} "{name}"')
        path = folder / f"level{level}.vmdk"
        path.write_text(build_vmdk.descriptor(TYPES[kind][0], lines, cid=seed + level, parent=parent))
        parent = (seed + level, path.name)
    return path


CHAINS = ["cowd", "cowd", "sesparse", "sesparse", "flat cowd", "flat sesparse", "cowd sesparse cowd", "flat cowd cowd"]


@pytest.mark.parametrize("seed", range(len(CHAINS)))
def test_disks_and_deltas(tmp_path, qemu_img, seed):
    path = chain(tmp_path, CHAINS[seed].split(), seed)
    wanted = judge(qemu_img, path)
    with open_source(Request(str(path), references=str(tmp_path))) as source:
        reader = source.reader
        assert content_of(reader) == wanted
        assert not reader.check().corruptions
        assert reader.describe().writer == "VMware ESX"
        chance = random.Random(seed)
        for _try in range(20):
            start = chance.randrange(len(wanted))
            assert reader.read_at(start, 5000) == wanted[start : start + 5000]
    with open_source(Request(str(path))) as source, pytest.raises(UnsupportedImage, match="its data is not in this file"):
        source.reader.extents()


def test_a_delta_over_a_hosted_disk(tmp_path, qemu_img, qemu_io):
    """A disk that went from Workstation to ESX, and a snapshot there; and the other way round."""
    run(qemu_img, "create", "-q", "-f", "vmdk", "-o", "zeroed_grain=on", tmp_path / "base.vmdk", "20M")
    run(qemu_io, "-f", "vmdk", "-c", "write -P 7 1M 9M", "-c", "write -z 2M 1M", tmp_path / "base.vmdk")
    cid = open_vmdk(Memory((tmp_path / "base.vmdk").read_bytes())).descriptor.cid
    (tmp_path / "delta.bin").write_bytes(part("sesparse", 40960, 1))
    (tmp_path / "delta.vmdk").write_text(build_vmdk.descriptor("seSparse", ['RW 40960 SESPARSE "delta.bin"'], cid=5, parent=(cid, "base.vmdk")))
    run(qemu_img, "create", "-q", "-f", "vmdk", "-b", "delta.vmdk", "-F", "vmdk", tmp_path / "top.vmdk")
    run(qemu_io, "-f", "vmdk", "-c", "write -P 9 3M 100k", tmp_path / "top.vmdk")
    for name in ("delta", "top"):
        with open_source(Request(str(tmp_path / f"{name}.vmdk"), references=str(tmp_path))) as source:
            assert content_of(source.reader) == judge(qemu_img, tmp_path / f"{name}.vmdk")


def test_a_delta_whose_parent_was_changed(tmp_path):
    path = chain(tmp_path, ("flat", "cowd"), 4)
    text = (tmp_path / "level0.vmdk").read_text()
    (tmp_path / "level0.vmdk").write_text(text.replace("CID=00000004", "CID=00000003", 1))
    with pytest.raises(CorruptImage, match="content ID"), open_source(Request(str(path), references=str(tmp_path))):
        pass


def test_runs_are_found_as_such():
    """Not a run for each of the grains; and a grain's number turns over after 4096 in an seSparse entry."""
    cowd = CowdExtent(Memory(bytes(build_vmdk.cowd(12288, {number: b"x" for number in range(10, 8000)}))))
    # The tables lie between the grains.
    assert [(extent.kind, extent.start // 512, extent.length // 512) for extent in cowd.extents(0, cowd.size)] == [
        (HOLE, 0, 10),
        (DATA, 10, 4086),
        (DATA, 4096, 3904),
        (HOLE, 8000, 192),
        (HOLE, 8192, 4096),
    ]
    grains = {number: b"x" for number in range(100)}
    grains.update({number: build_vmdk.UNMAPPED if number % 2 else build_vmdk.ZERO for number in range(200, 300)})
    sesparse = SeSparseExtent(Memory(bytes(build_vmdk.sesparse(32768 * 2, grains, skip=4095))))
    assert [(extent.kind, extent.start // 4096, extent.length // 4096) for extent in sesparse.extents(0, sesparse.size)] == [
        (DATA, 0, 1),
        (DATA, 1, 99),
        (HOLE, 100, 100),
        (ZERO, 200, 100),
        (HOLE, 300, 3796),
        (HOLE, 4096, 4096),
    ]


def test_what_an_unmapped_grain_still_holds_does_not_matter(tmp_path, qemu_img):
    """The guest gave it back; its entry may go on naming it."""
    raw = build_vmdk.sesparse(32768, {0: b"a" * 4096, 1: b"b" * 4096, 2: b"c" * 4096})
    table = struct.unpack_from("<Q", raw, 18 * 8)[0] * SECTOR
    struct.pack_into("<2Q", raw, table + 8, 1 << 60 | 1 << 48, 2 << 60 | 77)
    (tmp_path / "x.bin").write_bytes(raw)
    (tmp_path / "x.vmdk").write_text(build_vmdk.descriptor("seSparse", ['RW 32768 SESPARSE "x.bin"']))
    with open_source(Request(str(tmp_path / "x.vmdk"), references=str(tmp_path))) as source:
        assert content_of(source.reader) == judge(qemu_img, tmp_path / "x.vmdk") == (b"a" * 4096).ljust(1 << 24, b"\0")


# Without a descriptor


GEOMETRY = (2, 64, 32)  # of 4096 sectors


BY_ITSELF = {
    "root": (build_vmdk.cowd(4096, {5: b"root" * 128}, geometry=GEOMETRY), True),
    "root whose last cylinder is not whole": (build_vmdk.cowd(4100, {5: b"root" * 128}, geometry=GEOMETRY), True),
    "delta": (build_vmdk.cowd(4096, {5: b"delta" * 102}), False),
    "child": (build_vmdk.cowd(4096, {5: b"child" * 102}, flags=2, geometry=GEOMETRY), False),
    "another geometry": (build_vmdk.cowd(4096, {5: b"odd" * 170}, geometry=(9, 64, 32)), False),
    "all grains": (build_vmdk.cowd(4096, {number: bytes([number]) * 65536 for number in range(32)}, grain=128), True),
    "all but one grain": (build_vmdk.cowd(4096, {number: bytes([number]) * 65536 for number in range(31)}, grain=128), False),
    "sesparse": (build_vmdk.sesparse(4096, {number: bytes([number % 251]) * 4096 if number % 2 else build_vmdk.ZERO for number in range(512)}), True),
    "sesparse, all but one grain": (build_vmdk.sesparse(4096, dict.fromkeys(range(511), build_vmdk.UNMAPPED)), False),
    "sesparse, all but one table": (build_vmdk.sesparse(65536, dict.fromkeys(range(4096), build_vmdk.ZERO)), False),
}


@pytest.mark.parametrize(("raw", "whole"), BY_ITSELF.values(), ids=BY_ITSELF)
def test_an_extent_by_itself(tmp_path, qemu_img, raw, whole):
    """Read only where no other disk can show through; then as through a descriptor of its own."""
    (tmp_path / "x.bin").write_bytes(raw)
    with open_source(Request(str(tmp_path / "x.bin"))) as source:
        reader = source.reader
        info = reader.describe()
        assert (info.format, info.virtual_size, reader.references()) == (
            "vmdk",
            struct.unpack_from("<I", raw, 12 if raw[:4] == b"COWD" else 16)[0] * SECTOR,
            [],
        )
        if not whole:
            assert "the descriptor" in reader.unreadable_reason()
            with pytest.raises(UnsupportedImage, match="another disk"):
                reader.extents()
            return
        create_type, kind = TYPES["cowd" if info.subformat == "vmfsSparse" else "sesparse"]
        (tmp_path / "x.vmdk").write_text(build_vmdk.descriptor(create_type, [f'RW {info.virtual_size // SECTOR} {kind} "x.bin"']))
        assert content_of(reader) == judge(qemu_img, tmp_path / "x.vmdk")
        assert reader.check().clean


# Damage


def cowd_with(offset, form, *values):
    raw = build_vmdk.cowd(16384, {0: b"a" * 512, 1: b"b" * 512, 5000: b"c" * 512, 16383: b"d" * 512}, geometry=(8, 64, 32))
    struct.pack_into(f"<{form}", raw, offset, *values)
    return raw


def sesparse_with(offset, form, *values):
    raw = build_vmdk.sesparse(32768, {number: b"a" * 4096 for number in range(4096)})
    struct.pack_into(f"<{form}", raw, offset, *values)
    return raw


GD, GT = 4 * 512, 5 * 512
SGT = (6 + 1) * 512
DAMAGED = {
    "cowd version": (cowd_with(4, "I", 2), UnsupportedImage, "version 2"),
    "cowd marked inconsistent": (cowd_with(8, "I", 7), CorruptImage, "inconsistent"),
    "cowd grain 0": (cowd_with(16, "I", 0), CorruptImage, "power of two"),
    "cowd grain 3": (cowd_with(16, "I", 3), CorruptImage, "power of two"),
    "cowd grain huge": (cowd_with(16, "I", 1 << 22), LimitExceeded, "too large"),
    "cowd directory in the header": (cowd_with(20, "I", 3), CorruptImage, "in the header"),
    "cowd directory behind the end": (cowd_with(20, "I", 1 << 30), CorruptImage, "behind the end"),
    "cowd directory too small": (cowd_with(24, "I", 3), CorruptImage, "too small"),
    "cowd directory huge": (cowd_with(24, "I", 0xFFFFFFFF), CorruptImage, "behind the end"),
    "cowd table in the metadata": (cowd_with(GD, "I", 4), CorruptImage, "in the metadata"),
    "cowd table behind the end": (cowd_with(GD, "I", 1 << 31), CorruptImage, "behind the end"),
    "cowd table twice, and twice": (cowd_with(GD, "4I", 5, 5, 5, 5), CorruptImage, "the same"),
    "cowd grain in the metadata": (cowd_with(GT, "I", 4), CorruptImage, "in the metadata"),
    "cowd grain behind the end": (cowd_with(GT, "I", 0xFFFFFFFF), CorruptImage, "behind the end"),
    "cowd one grain for many": (cowd_with(GT, "2000I", *[50] * 2000), CorruptImage, "the same grain"),
    "sesparse version": (sesparse_with(8, "Q", 0x300000001), UnsupportedImage, "version"),
    "sesparse grain size": (sesparse_with(24, "Q", 16), UnsupportedImage, "grains of 16"),
    "sesparse table size": (sesparse_with(32, "Q", 32), UnsupportedImage, "tables of 32"),
    "sesparse flags": (sesparse_with(40, "Q", 1), UnsupportedImage, "flags"),
    "sesparse reserved": (sesparse_with(72, "Q", 1), UnsupportedImage, "not known"),
    "sesparse padding": (sesparse_with(500, "Q", 1), UnsupportedImage, "not known"),
    "sesparse volatile magic": (sesparse_with(512, "Q", 0), CorruptImage, "magic"),
    "sesparse dirty": (sesparse_with(536, "Q", 1), UnsupportedImage, "journal"),
    "sesparse volatile padding": (sesparse_with(700, "Q", 1), UnsupportedImage, "not known"),
    "sesparse volatile header behind the end": (sesparse_with(80, "Q", 1 << 54), CorruptImage, "behind the end"),
    "sesparse directory too small": (sesparse_with(16, "Q", 64 * 32768 + 8), CorruptImage, "too small"),
    "sesparse disk too large": (sesparse_with(16, "Q", 1 << 60), LimitExceeded, "disk of"),
    "sesparse directory in the header": (sesparse_with(128, "Q", 0), CorruptImage, "in the header"),
    "sesparse directory entry": (sesparse_with(6 * 512, "Q", 2 << 60), CorruptImage, "no grain table"),
    "sesparse table behind the tables": (sesparse_with(6 * 512, "Q", 1 << 60 | 1), CorruptImage, "no grain table"),
    "sesparse tables behind the end": (sesparse_with(144, "Q", 1 << 40), CorruptImage, "behind the end"),
    "sesparse entry of no kind": (sesparse_with(SGT, "Q", 4 << 60), CorruptImage, "no grain"),
    "sesparse entry without a kind": (sesparse_with(SGT, "Q", 1), CorruptImage, "no grain"),
    "sesparse grain behind the grains": (sesparse_with(SGT, "Q", 3 << 60 | 1), CorruptImage, "no grain"),
    "sesparse grains behind the end": (sesparse_with(192, "Q", 1 << 40), CorruptImage, "behind the end"),
    "sesparse one grain for many": (sesparse_with(SGT, "4096Q", *[3 << 60] * 4096), CorruptImage, "no error: it is checked below"),
}


@pytest.mark.parametrize(("raw", "kind", "reason"), DAMAGED.values(), ids=DAMAGED)
def test_damage(raw, kind, reason):
    if "checked below" in reason:  # as many bytes are named as there are: only the check looks who names them
        found = open_vmdk(Memory(bytes(raw))).check()
        assert "have the same place" in found.corruptions[0]
        return
    with pytest.raises(kind, match=reason) as caught:
        content_of(open_vmdk(Memory(bytes(raw))))
    assert caught.value.path == "memory"


def test_not_closed_cleanly():
    assert open_vmdk(Memory(bytes(cowd_with(1648, "I", 1)))).describe().dirty
    assert not open_vmdk(Memory(bytes(cowd_with(1648, "I", 0)))).describe().dirty


@pytest.mark.parametrize("raw", [cowd_with(0, ""), sesparse_with(0, "")], ids=["cowd", "sesparse"])
def test_cut_anywhere(raw):
    for length in [*range(0, 5000, 97), *range(5000, len(raw), len(raw) // 50), len(raw) - 1]:
        with pytest.raises(ImageError):
            content_of(open_vmdk(Memory(bytes(raw[:length]))))


def test_a_disk_of_62_tib(tmp_path):
    sectors = 62 << 31
    last = sectors // 8 - 1
    (tmp_path / "x.bin").write_bytes(build_vmdk.sesparse(sectors, {0: b"first" * 819, last: b"last" * 1024}))
    (tmp_path / "x.vmdk").write_text(build_vmdk.descriptor("seSparse", [f'RW {sectors} SESPARSE "x.bin"']))
    with open_source(Request(str(tmp_path / "x.vmdk"), references=str(tmp_path))) as source:
        source.reader.describe()
        extents = list(source.reader.extents())
        assert [(extent.kind, extent.start) for extent in extents] == [(DATA, 0), (HOLE, 4096), (DATA, last * 4096)]
        assert source.reader.read_extent(extents[2]) == b"last" * 1024
