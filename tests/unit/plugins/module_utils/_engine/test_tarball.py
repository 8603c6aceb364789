# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tarballs that we make: the same bytes each time, and what other programs take out of them."""

from __future__ import annotations

import gzip
import hashlib
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, InvalidImage, SpaceError, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extract import extract, plan
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.uec import open_uec
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.uec_names import names, prefix_of
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink
from ansible_collections.vmimage.prep.plugins.module_utils._engine.tarball import difference, open_tarball, write

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "tools"))

from build_uec import MIB, build_disk, build_filesystem, build_kernel, build_ramdisk, layouts, pack, write_files  # noqa: E402


@pytest.fixture
def sources(tmp_path):
    write_files(tmp_path, {"kernel": build_kernel(), "ramdisk": build_ramdisk(), "image": build_filesystem()})
    return tmp_path


def create(folder, dest, *, image="image", kernel="kernel", ramdisk="ramdisk", style="ubuntu", flavour=None, mtime=0, threads=2):
    members = names(prefix_of(str(dest)), style=style, flavour=flavour, ramdisk=ramdisk is not None)
    ramdisk_path = str(folder / ramdisk) if ramdisk else None
    with open_tarball(Request(str(folder / image)), str(folder / kernel), ramdisk_path, members, mtime) as tarball, Sink(dest) as sink:
        checks = write(tarball, sink, threads=threads)
        sink.commit()
        assert difference(str(dest), tarball) is None
    return checks


def different(folder, dest, **options):
    members = names(prefix_of(str(dest)), style="ubuntu", flavour=None, ramdisk=True)
    with open_tarball(Request(str(folder / "image")), str(folder / "kernel"), str(folder / "ramdisk"), members, options.get("mtime", 0)) as tarball:
        return difference(str(dest), tarball)


def test_the_bytes_are_always_the_same(sources):
    """What is compressed is known by its digest; how it is compressed depends on the node's zlib alone."""
    create(sources, sources / "a-amd64.tar.gz", ramdisk=None, threads=1)
    create(sources, sources / "a-amd64.tgz", ramdisk=None, threads=3)
    packed = (sources / "a-amd64.tar.gz").read_bytes()
    assert packed == (sources / "a-amd64.tgz").read_bytes()
    assert packed[:10] == bytes.fromhex("1f8b08000000000000ff")
    with tarfile.open(sources / "a-amd64.tgz", "r:gz") as tar:
        assert tar.getnames() == ["a-amd64-vmlinuz", "a-amd64.img"]
    assert hashlib.sha256(gzip.decompress(packed)).hexdigest() == "d89fed8962a4d732f11884d08c730d2cbda13aa16a48e6250c029021ead4f536"


@pytest.mark.parametrize("style", ["ubuntu", "cirros", "ec2"])
@pytest.mark.parametrize("ramdisk", ["ramdisk", None])
def test_devstack_takes_it(sources, program, style, ramdisk):
    """tar -zxf and the loops of devstack's upload_image, run by bash."""
    create(sources, sources / "t.tar.gz", style=style, ramdisk=ramdisk)
    script = r"""
        set -e
        xdir=$PWD/x; mkdir "$xdir"; tar -zxf t.tar.gz -C "$xdir"
        kernel=$(for f in "$xdir/"*-vmlinuz* "$xdir/"aki-*/image; do [ -f "$f" ] && echo "$f" && break; done; true)
        ramdisk=$(for f in "$xdir/"*-initrd* "$xdir/"ari-*/image; do [ -f "$f" ] && echo "$f" && break; done; true)
        image=$(for f in "$xdir/"*.img "$xdir/"ami-*/image; do [ -f "$f" ] && echo "$f" && break; done; true)
        cmp kernel "$kernel"; cmp image "$image"
        if [ -e "$1" ]; then cmp ramdisk "$ramdisk"; else [ -z "$ramdisk" ]; fi
    """
    program("tar")
    subprocess.run([program("bash"), "-c", script, "bash", ramdisk or "/nowhere"], cwd=sources, check=True)


def test_other_programs_read_it(sources, program):
    create(sources, sources / "t.tar.gz", flavour="virtual", mtime=1700000000)
    subprocess.run([program("gzip"), "-t", "t.tar.gz"], cwd=sources, check=True)
    for tar in ("tar", "bsdtar"):
        (sources / tar).mkdir()
        subprocess.run([program(tar), "-C", tar, "-xzf", "t.tar.gz"], cwd=sources, check=True)
        assert (sources / tar / "t-vmlinuz-virtual").read_bytes() == build_kernel()
        assert (sources / tar / "t-initrd-virtual").read_bytes() == build_ramdisk()
        assert (sources / tar / "t.img").read_bytes() == build_filesystem()
        assert (sources / tar / "t.img").stat().st_mtime == 1700000000


@pytest.mark.parametrize("form", ["qcow2", "vmdk", "vhdx"])
def test_images_of_other_formats(sources, qemu_img, form):
    subprocess.run([qemu_img, "convert", "-f", "raw", "-O", form, "image", f"image.{form}"], cwd=sources, check=True)
    create(sources, sources / "raw.tar.gz")
    create(sources, sources / "raw.tgz", image=f"image.{form}")
    assert (sources / "raw.tar.gz").read_bytes() == (sources / "raw.tgz").read_bytes()


def test_a_compressed_image(sources, program):
    subprocess.run([program("gzip"), "-k", "image"], cwd=sources, check=True)
    create(sources, sources / "raw.tar.gz")
    create(sources, sources / "raw.tgz", image="image.gz")
    assert (sources / "raw.tar.gz").read_bytes() == (sources / "raw.tgz").read_bytes()


@pytest.mark.parametrize("layout", ["cirros", "ec2", "ubuntu-initrd"])
def test_from_the_field_and_back(tmp_path, program, layout):
    """What GNU tar packed is extracted, and packed again twice: the same bytes, and the same files."""
    program("tar")
    write_files(tmp_path / "in", layouts()[layout])
    name = {"cirros": "cirros-1.0-x86_64-uec", "ec2": "1", "ubuntu-initrd": "old-i386"}[layout]
    pack(tmp_path / "in", tmp_path / f"{name}.tar.gz")
    with open_uec(str(tmp_path / f"{name}.tar.gz")) as uec:
        (tmp_path / "out").mkdir()
        extract(uec, str(tmp_path / "out"), plan(uec, str(tmp_path / "out")))
        trio = {role: file.name for role, file in uec.trio().items()}
    for again in ("first", "second"):
        (tmp_path / again).mkdir()
        style = "ubuntu" if layout.startswith("ubuntu") else layout
        flavour = "server" if style == "ubuntu" else None
        create(tmp_path / "out", tmp_path / again / f"{name}.tar.gz", **trio, style=style, flavour=flavour)
    made = (tmp_path / "first" / f"{name}.tar.gz").read_bytes()
    assert made == (tmp_path / "second" / f"{name}.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "first" / f"{name}.tar.gz") as tar:
        assert {name: tar.extractfile(name).read() for name in tar.getnames()} == {name: layouts()[layout][name] for name in trio.values()}


def test_differences(sources):
    dest = sources / "t.tar.gz"
    create(sources, dest)
    assert different(sources, dest) is None
    assert "content differs" in different(sources, dest, mtime=1)
    with open(sources / "image", "r+b") as file:
        file.seek(2 * MIB)
        file.write(b"altered")
    assert "content differs" in different(sources, dest)
    (sources / "image").write_bytes(build_filesystem())
    whole = dest.read_bytes()
    for damage in (whole[:-9], whole + b"x", b"", b"text"):
        dest.write_bytes(damage)
        assert different(sources, dest).startswith("dest cannot be kept")
    (sources / "image").write_bytes(build_filesystem(2 * MIB))
    create(sources, dest)
    (sources / "image").write_bytes(build_filesystem(MIB))
    assert different(sources, dest) is not None


def test_what_it_was_compressed_by_is_no_matter(sources, program):
    create(sources, sources / "t.tar.gz")
    subprocess.run([program("gzip"), "-d", "t.tar.gz"], cwd=sources, check=True)
    subprocess.run([program("gzip"), "-1", "t.tar"], cwd=sources, check=True)
    assert different(sources, sources / "t.tar.gz") is None


def test_sources_that_are_something_else(sources):
    write_files(sources, {"disk": build_disk(), "text": b"text\n" * 200, "zeros": bytes(MIB), "cut": build_kernel()[:9000]})
    for options, error, match in (
        ({"image": "disk"}, UnsupportedImage, "partition table, a whole disk.*ami_build"),
        ({"image": "kernel"}, ImageError, "kernel"),
        ({"image": "ramdisk"}, ImageError, "."),
        ({"kernel": "ramdisk"}, InvalidImage, "initial RAM file system, not a Linux kernel"),
        ({"kernel": "cut"}, InvalidImage, "cut off"),
        ({"kernel": "text"}, InvalidImage, "not a Linux kernel"),
        ({"ramdisk": "kernel"}, InvalidImage, "not an initial RAM"),
        ({"ramdisk": "image"}, InvalidImage, "not an initial RAM"),
    ):
        with pytest.raises(error, match=match):
            create(sources, sources / "t.tar.gz", **options)
    assert not (sources / "t.tar.gz").exists()
    create(sources, sources / "t.tar.gz", image="zeros")


def test_images_that_are_qcow2_with_a_disk_in_them(sources, qemu_img):
    write_files(sources, {"disk": build_disk()})
    subprocess.run([qemu_img, "convert", "-f", "raw", "-O", "qcow2", "disk", "disk.qcow2"], cwd=sources, check=True)
    with pytest.raises(UnsupportedImage, match="ami_build"):
        create(sources, sources / "t.tar.gz", image="disk.qcow2")


def test_a_full_disk_leaves_nothing(sources, monkeypatch):
    def full(_self, _offset, _data):
        raise SpaceError("no space is left")

    monkeypatch.setattr(Sink, "write_at", full)
    with pytest.raises(SpaceError):
        create(sources, sources / "t.tar.gz")
    assert sorted(path.name for path in sources.iterdir()) == ["image", "kernel", "ramdisk"]


def test_what_was_written_is_read_again(sources, monkeypatch):
    def wrong(self, offset, data):
        real(self, offset, bytes(len(data)) if offset else data)

    real = Sink.write_at
    monkeypatch.setattr(Sink, "write_at", wrong)
    with pytest.raises(CorruptImage):
        create(sources, sources / "t.tar.gz")
    assert not (sources / "t.tar.gz").exists()
