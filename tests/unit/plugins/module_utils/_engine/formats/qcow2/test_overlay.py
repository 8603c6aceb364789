# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""qcow2 images that hold only what their backing file does not have, judged by qemu-img."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import (
    AccessError,
    CorruptImage,
    InvalidImage,
    UnsafeReference,
    UnsupportedImage,
)
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats import registry
from ansible_collections.vmimage.prep.plugins.module_utils._engine.produce import produce
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink

MIB = 1 << 20
SIZE = 4 * MIB + 512 * 7


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True).stdout


def contents():
    """A disk and its base: parts that are the same, changed, only here, only there, nowhere; of all lengths."""
    chance = random.Random(11)
    disk, base = bytearray(SIZE), bytearray(SIZE)
    at = 0
    while at < SIZE:
        length = 1 << chance.randrange(9, 19)
        old, new = chance.randbytes(length), b"0123456789abcdef" * (length // 16)
        mine, its = chance.choice([(old, old), (old, old), (new, old), (new, b""), (b"", old), (b"", b"")])
        disk[at : at + length], base[at : at + length] = mine.ljust(length, b"\0"), its.ljust(length, b"\0")
        at += length
    return bytes(disk[:SIZE]), bytes(base[:SIZE])


DISK, BASE = contents()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "disk.raw").write_bytes(DISK)
    (tmp_path / "base.raw").write_bytes(BASE)
    return tmp_path


def write(folder, dest="top.qcow2", source="disk.raw", base="base.raw", form="raw", compress=False, threads=1, references=None, **options):
    given = {"backing_file": base, "backing_fmt": form, **options}
    with open_source(Request(str(folder / source))) as opened, Sink(str(folder / dest)) as sink:
        found = produce(
            opened,
            registry.target("qcow2", None, compress, given),
            sink,
            base_folder=str(references or folder),
            verify_content=True,
            threads=threads,
        )
        sink.commit()
    return found


CASES = [{}, {"compat": "0.10"}, {"cluster_size": "512"}, {"compat": "0.10", "cluster_size": "512"}, {"cluster_size": "2M"}]
CASES += [{"extended_l2": "on"}, {"extended_l2": "on", "cluster_size": "2M"}, {"extended_l2": "on", "cluster_size": "16K", "refcount_bits": "1"}]
PREALLOCATED = [{"extended_l2": "on", "cluster_size": size, "preallocation": how} for size, how in (("16K", "metadata"), ("64K", "full"))]


@pytest.mark.parametrize(
    ("compress", "options"), [(compress, options) for compress in (False, True) for options in CASES] + [(False, options) for options in PREALLOCATED], ids=str
)
def test_the_disk_seen_through_both(folder, qemu_img, qemu_img_system, compress, options):
    write(folder, compress=compress, **options)
    write(folder, "again.qcow2", compress=compress, threads=3, **options)
    top = folder / "top.qcow2"
    assert top.read_bytes() == (folder / "again.qcow2").read_bytes()
    assert b"leak" not in run(qemu_img, "check", top)
    info = json.loads(run(qemu_img, "info", "--output=json", top))
    assert (info["backing-filename"], info["backing-filename-format"]) == ("base.raw", "raw")
    for judge in (qemu_img, qemu_img_system):
        run(judge, "convert", "-f", "qcow2", "-O", "raw", top, folder / "judge.raw")
        assert (folder / "judge.raw").read_bytes() == DISK


@pytest.mark.parametrize(("options", "unit"), [({}, 65536), ({"cluster_size": "4K"}, 4096), ({"extended_l2": "on"}, 2048)], ids=str)
def test_only_what_differs_is_there(folder, qemu_img, options, unit):
    """By qemu-img's map of each unit: below what is the same, zeros what hides the base, data what differs."""
    write(folder, **options)
    found = json.loads(run(qemu_img, "map", "--output=json", folder / "top.qcow2"))
    for extent in found:
        for at in range(extent["start"] // unit * unit, extent["start"] + extent["length"], unit):
            mine, its = DISK[at : at + unit], BASE[at : at + unit]
            assert (extent["depth"] == 1) == (mine == its), at
            if extent["depth"] == 0:
                assert extent["zero"] == (not mine.strip(b"\0")), at


@pytest.mark.parametrize(
    ("form", "option"), [("qcow2", "cluster_size=4k"), ("vmdk", "subformat=monolithicSparse"), ("vdi", ""), ("vpc", "force_size=on"), ("vhdx", "")]
)
def test_bases_of_other_formats(folder, qemu_img, form, option):
    run(qemu_img, "convert", "-O", form, *(["-o", option] if option else []), folder / "base.raw", folder / "base.img")
    write(folder, base="base.img", form=form)
    assert json.loads(run(qemu_img, "info", "--output=json", folder / "top.qcow2"))["backing-filename-format"] == form
    run(qemu_img, "compare", "-f", "qcow2", "-F", "raw", folder / "top.qcow2", folder / "disk.raw")
    run(qemu_img, "check", folder / "top.qcow2")


@pytest.mark.parametrize("size", [512, MIB + 512, SIZE - 512, SIZE + 512, 9 * MIB])
@pytest.mark.parametrize("options", [{}, {"compat": "0.10"}, {"extended_l2": "on", "cluster_size": "2M"}], ids=str)
def test_a_base_of_another_size(folder, qemu_img, size, options):
    (folder / "base.raw").write_bytes(BASE[:size].ljust(size, b"\x77"))
    write(folder, **options)
    run(qemu_img, "check", folder / "top.qcow2")
    run(qemu_img, "convert", "-f", "qcow2", "-O", "raw", folder / "top.qcow2", folder / "judge.raw")
    assert (folder / "judge.raw").read_bytes() == DISK


def test_what_fills_up_the_last_sector_hides_the_base(folder, qemu_img):
    (folder / "disk.raw").write_bytes(b"\x55" * MIB + b"end!")
    (folder / "base.raw").write_bytes(b"\x55" * MIB + b"end!" + b"\x77" * MIB)
    for compat in ("1.1", "0.10"):
        write(folder, cluster_size="512", compat=compat)
        run(qemu_img, "convert", "-O", "raw", folder / "top.qcow2", folder / "judge.raw")
        assert (folder / "judge.raw").read_bytes() == b"\x55" * MIB + b"end!".ljust(512, b"\0")


def test_the_same_disk_and_an_empty_one(folder, qemu_img):
    found = write(folder, source="base.raw")
    assert found.content == 0
    assert (folder / "top.qcow2").stat().st_size <= 5 * 65536
    (folder / "empty.raw").write_bytes(bytes(SIZE))
    found = write(folder, source="empty.raw")
    assert found.content == 0
    assert (folder / "top.qcow2").stat().st_size <= 5 * 65536
    run(qemu_img, "check", folder / "top.qcow2")
    run(qemu_img, "compare", "-f", "qcow2", "-F", "raw", folder / "top.qcow2", folder / "empty.raw")


def test_overlays_on_overlays_and_a_source_that_is_read_in_order(folder, qemu_img):
    (folder / "sub").mkdir()
    write(folder, "sub/middle.qcow2", base=str(folder / "base.raw"), cluster_size="4K")
    changed = bytearray(DISK)
    changed[MIB : MIB + 5000] = bytes(5000)
    changed[3 * MIB : 3 * MIB + 9] = b"unlike it"
    (folder / "disk.gz").write_bytes(gzip.compress(bytes(changed), 1))
    write(folder, source="disk.gz", base="sub/middle.qcow2", form="qcow2", threads=3)
    run(qemu_img, "convert", "-O", "raw", folder / "top.qcow2", folder / "judge.raw")
    assert (folder / "judge.raw").read_bytes() == changed
    assert (folder / "top.qcow2").stat().st_size <= 8 * 65536


def test_a_name_that_leaves_no_room_for_names_of_features(folder, qemu_img):
    """The first cluster of 512 bytes has a header, and the name."""
    name = "b" * 200
    os.rename(folder / "base.raw", folder / name)
    write(folder, base=name, cluster_size="512")
    run(qemu_img, "check", folder / "top.qcow2")
    run(qemu_img, "compare", "-f", "qcow2", "-F", "raw", folder / "top.qcow2", folder / "disk.raw")
    with pytest.raises(UnsupportedImage, match="does not fit into a cluster of 512 bytes"):
        write(folder, "other.qcow2", base="./" * 150 + name, cluster_size="512")


@pytest.mark.parametrize(
    ("base", "form", "error", "reason"),
    [
        ("base.raw", "qcow2", InvalidImage, "declared as qcow2"),
        ("other.qcow2", "raw", InvalidImage, "declared as raw"),
        ("missing.raw", "raw", AccessError, "no such file"),
        ("top.qcow2", "qcow2", CorruptImage, "its own backing file"),
        ("over.qcow2", "qcow2", CorruptImage, "its own backing file"),
        ("../base.raw", "raw", UnsafeReference, "leads out"),
        ("/etc/passwd", "raw", UnsafeReference, "does not lie in the folder"),
        ("nbd:localhost:1", "raw", UnsafeReference, "never followed"),
        ("link.raw", "raw", UnsafeReference, "symbolic link"),
    ],
)
def test_bases_that_cannot_be(folder, qemu_img, base, form, error, reason):
    run(qemu_img, "create", "-f", "qcow2", folder / "other.qcow2", "1M")
    run(qemu_img, "create", "-f", "qcow2", folder / "top.qcow2", "1M")
    run(qemu_img, "create", "-f", "qcow2", "-b", "top.qcow2", "-F", "qcow2", folder / "over.qcow2")
    (folder / "link.raw").symlink_to("base.raw")
    before = (folder / "top.qcow2").read_bytes()
    with pytest.raises(error, match=reason):
        write(folder, base=base, form=form)
    assert (folder / "top.qcow2").read_bytes() == before


def test_a_folder_that_is_not_allowed_and_one_that_would_mislead(folder):
    (folder / "allowed").mkdir()
    os.rename(folder / "base.raw", folder / "allowed" / "base.raw")
    with pytest.raises(UnsafeReference, match=r"would mean .*/base\.raw', which is not the file"):
        write(folder, references=folder / "allowed")
    target = registry.target("qcow2", options={"backing_file": "allowed/base.raw", "backing_fmt": "raw"})
    with open_source(Request(str(folder / "disk.raw"))) as source, Sink(str(folder / "top.qcow2")) as sink:
        with pytest.raises(UnsafeReference, match="may not be read"):
            produce(source, target, sink)
