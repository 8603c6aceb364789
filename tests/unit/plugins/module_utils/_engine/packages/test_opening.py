# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages in everything that people wrap them in: what is inside decides, and no wrapping is deep or large without end."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import subprocess
import tarfile
import zipfile

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import (
    AccessError,
    AmbiguousImage,
    CorruptImage,
    InvalidImage,
    LimitExceeded,
    NeedsKernel,
    UnsupportedImage,
)
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.opening import open_package
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source, source_identity
from build_ova import descriptor, manifest, pack
from build_uec import build_disk, layouts

MIB = 1 << 20
HREF = "disk.raw"
COMPRESS = {"gzip": lambda data: gzip.compress(data, 1), "xz": lambda data: lzma.compress(data, preset=0), "bzip2": lambda data: bz2.compress(data, 1)}
CONFIGURED = """
  <DeploymentOptionSection><Info>Sizes</Info>
    <Configuration ovf:id="small" ovf:default="true"><Label>s</Label><Description>s</Description></Configuration>
    <Configuration ovf:id="large"><Label>l</Label><Description>l</Description></Configuration>
  </DeploymentOptionSection>
  <VirtualSystem """


def disk(seed=1):
    """A raw disk: noise, a hole, and a partition table, so that it is told from any other bytes."""
    content = bytearray(random.Random(seed).randbytes(MIB) + bytes(MIB) + b"the end.".rjust(MIB, b"-"))
    content[446:462] = bytes([0x80, 0, 2, 0, 0x83, 0, 0, 0]) + (64).to_bytes(4, "little") + (2048).to_bytes(4, "little")
    content[462:512] = bytes(48) + b"\x55\xaa"
    return bytes(content)


DISK = disk()


def members(folder=""):
    ovf = descriptor(HREF, size=len(DISK), capacity=len(DISK)).replace(b"<VirtualSystem ", CONFIGURED.encode())
    files = {"vm.ovf": ovf, HREF: DISK}
    return [(f"{folder}{name}", data) for name, data in {"vm.ovf": ovf, "vm.mf": manifest(files), HREF: DISK}.items()]


def tar(files, form=tarfile.PAX_FORMAT):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def zipped(files, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return file.getvalue()


def deflated(files):
    return zipped(files, zipfile.ZIP_DEFLATED)


def compressed(codec):
    return lambda files: COMPRESS[codec](tar(files))


OVA = tar(members())
WRAPPINGS = {
    "ova": (OVA, "ova", []),
    "ova in a folder of its own": (tar(members("./vm/")), "ova", []),
    "zip": (zipped(members()), "ovf", []),
    "zip, deflated": (deflated(members("vm/")), "ovf", []),
    **{f"ova in {codec}": (COMPRESS[codec](OVA), "ova", [codec]) for codec in COMPRESS},
    "ova in zip": (zipped([("vm.ova", OVA)]), "ova", ["zip"]),
    "ova in zip, deflated": (deflated([("readme.txt", b"Read me."), ("x/vm.ova", OVA)]), "ova", ["zip"]),
    "ova in tar": (tar([("vm.ova", OVA)]), "ova", ["tar"]),
    "ova in tar.gz": (COMPRESS["gzip"](tar([("vm.ova", OVA)])), "ova", ["gzip", "tar"]),
    "ova.gz in tar": (tar([("vm.ova.gz", COMPRESS["gzip"](OVA))]), "ova", ["tar", "gzip"]),
    "ova.xz in zip": (zipped([("vm.ova.xz", COMPRESS["xz"](OVA))]), "ova", ["zip", "xz"]),
    "zip in zip": (zipped([("vm.zip", zipped(members()))]), "ovf", ["zip"]),
}


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def write(folder, data, name="misleading.name"):
    path = folder / name
    path.write_bytes(data)
    return str(path)


def judge(path, kind, layers):
    """What is in it is what was put in, and everything is closed again."""
    before = descriptors()
    with open_package(path) as package:
        assert (package.kind, package.layers, package.name, package.path) == (kind, layers, "vm", path)
        assert (package.system().id, package.envelope.configuration) == ("appliance", "small")
        storage = package.open_disk(package.disks()[0])
        assert storage.read_at(0, len(DISK) + 1) == DISK
        assert storage.read_at(len(DISK) - 8, 8) == b"the end."
        storage.close()
        assert len(package.verify_manifest("require").files) == 2
    with open_package(path, configuration="large") as package:
        assert package.envelope.configuration == "large"
    with open_source(Request(path, spool_folder="/nonexistent", manifest="require")) as source:
        assert (source.reader.format, source.reader.virtual_size) == ("raw", len(DISK))
        assert [layer["format"] for layer in source.layers] == [*layers, kind]
    assert descriptors() == before


@pytest.mark.parametrize("name", WRAPPINGS)
def test_every_wrapping(tmp_path, name):
    data, kind, layers = WRAPPINGS[name]
    judge(write(tmp_path, data), kind, layers)


def test_a_folder_and_its_descriptor_by_any_name(tmp_path):
    for name, data in members():
        write(tmp_path, data, name)
    judge(str(tmp_path), "ovf", [])
    judge(str(tmp_path / "vm.ovf"), "ovf", [])


@pytest.mark.parametrize("codec", ["gzip", "zstd", "xz"])
def test_archives_of_other_programs(tmp_path, program, codec):
    for name, data in members():
        write(tmp_path, data, name)
    names = [name for name, _data in members()]
    subprocess.run([program("bsdtar"), "-C", tmp_path, f"--{codec}", "-cf", tmp_path / "packed", *names], check=True)
    judge(str(tmp_path / "packed"), "ova", [codec])


NO_PACKAGE = {
    "a disk": (DISK, InvalidImage, "not a package"),
    "a compressed disk": (COMPRESS["gzip"](DISK), InvalidImage, "not a package"),
    "nothing": (b"", InvalidImage, "not a package"),
    "two descriptors": (tar([*members(), ("b.ovf", b"<x/>")]), AmbiguousImage, "2 OVF descriptors"),
    "two descriptors in folders": (zipped([*members("a/"), *members("b/")]), AmbiguousImage, "2 OVF descriptors"),
    "a cut archive": (OVA[: len(OVA) // 2], CorruptImage, "cut"),
    "a cut compressed archive": (COMPRESS["gzip"](OVA)[:-100], CorruptImage, None),
    "a damaged compressed archive": (COMPRESS["gzip"](OVA)[:-6] + b"\0\0\0\0\0\0", CorruptImage, None),
    "a cut archive in another": (tar([("vm.ova", OVA[: len(OVA) // 2])]), CorruptImage, "cut"),
    "only text": (tar([("readme", b"Read me.\n" * 100), ("news", b"No news.\n" * 100)]), InvalidImage, None),
}


@pytest.mark.parametrize("name", NO_PACKAGE)
def test_what_is_no_package(tmp_path, name):
    data, error, message = NO_PACKAGE[name]
    path = write(tmp_path, data)
    before = descriptors()
    with pytest.raises(error, match=message):
        open_package(path)
    assert descriptors() == before


def test_a_folder_that_is_no_package(tmp_path):
    with pytest.raises(InvalidImage, match=r"no \.ovf file"):
        open_package(str(tmp_path))
    with pytest.raises(AccessError):
        open_package(str(tmp_path / "nothing"))
    with pytest.raises(InvalidImage, match="folder"):
        open_source(Request(str(tmp_path)))


def nested(depth):
    data = tar(members())
    for level in range(depth):
        data = tar([(f"{level}.tar", data)])
    return data


def test_depth(tmp_path):
    with open_package(write(tmp_path, nested(3))) as package:
        assert package.layers == ["tar"] * 3
    for depth in (4, 30):
        path = write(tmp_path, nested(depth))
        before = descriptors()
        with pytest.raises(LimitExceeded, match="inside of each other"):
            open_package(path)
        assert descriptors() == before


def test_compressed_twice(tmp_path):
    with pytest.raises((InvalidImage, UnsupportedImage)):
        open_package(write(tmp_path, gzip.compress(gzip.compress(OVA))))


def bomb(size):
    """An OVA whose disk is zeros, compressed as far as gzip does."""
    return gzip.compress(tar([("vm.ovf", descriptor(HREF, size=size, capacity=size)), (HREF, bytes(size))]), 9)


def test_what_comes_out_is_bounded(tmp_path):
    data = bomb(300 * MIB)
    path = write(tmp_path, data)
    before = descriptors()
    with pytest.raises(LimitExceeded, match="max_size"):
        open_package(path)
    with pytest.raises(LimitExceeded, match="more than"):
        open_package(path, max_size=100 * MIB)
    with pytest.raises(LimitExceeded, match="max_size"):
        open_package(write(tmp_path, tar([("vm.ova.gz", data)]), "wrapped"))
    with pytest.raises(LimitExceeded):
        open_source(Request(path, max_size=100 * MIB))
    with open_package(path, max_size=301 * MIB) as package:
        assert package.disks()[0].located.file.size == 300 * MIB
    assert descriptors() == before


def test_what_comes_out_of_a_compressed_member_is_bounded(tmp_path):
    data = gzip.compress(bytes(300 * MIB), 9)
    ovf = descriptor("disk.gz", size=len(data), capacity=300 * MIB, file_attributes='ovf:compression="gzip"')
    pack(tmp_path / "bomb.ova", [("vm.ovf", ovf), ("disk.gz", data)])
    before = descriptors()
    with pytest.raises(LimitExceeded, match="max_size"):
        open_source(Request(str(tmp_path / "bomb.ova")))
    with open_source(Request(str(tmp_path / "bomb.ova"), max_size=300 * MIB)) as source:
        assert source.reader.virtual_size == 300 * MIB
    assert descriptors() == before


def test_a_name_and_a_configuration_that_are_not_there(tmp_path):
    path = write(tmp_path, tar([("disk.raw", DISK)]))
    with pytest.raises(InvalidImage, match="deployment configurations"):
        open_package(path, configuration="small")
    with pytest.raises(InvalidImage, match="no deployment configuration"):
        open_package(write(tmp_path, OVA), configuration="huge")


ARCHIVES = {"tar": tar, "zip": zipped, "zip, deflated": deflated, "tar.gz": compressed("gzip"), "tar.xz": compressed("xz")}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_of_images(tmp_path, kind):
    wrap = ARCHIVES[kind]
    path = write(tmp_path, wrap([("readme.txt", b"Read me.\n"), ("a/disk.raw", DISK)]))
    with open_package(path) as package:
        assert package.kind == "archive"
        assert [disk.file for disk in package.disks()] == ["a/disk.raw"]
        storage = package.open_disk(package.disks()[0])
        assert storage.read_at(0, len(DISK) + 1) == DISK
    path = write(tmp_path, wrap([("one", DISK), ("two", disk(2))]))
    with pytest.raises(AmbiguousImage, match="2 disks"):
        open_source(Request(path))
    with open_source(Request(path, disk="two", spool_folder="/nonexistent")) as source:
        assert source.reader.read_at(0, 3 * MIB) == disk(2)


@pytest.mark.parametrize("subformat", ["monolithicFlat", "twoGbMaxExtentSparse"])
@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_of_a_disk_in_several_files(tmp_path, qemu_img, kind, subformat):
    (tmp_path / "raw").write_bytes(DISK)
    (tmp_path / "vm").mkdir()
    command = [qemu_img, "convert", "-f", "raw", "-O", "vmdk", "-o", f"subformat={subformat}", "../raw", "disk.vmdk"]
    subprocess.run(command, cwd=tmp_path / "vm", check=True)
    files = [(f"vm/{path.name}", path.read_bytes()) for path in sorted((tmp_path / "vm").iterdir())]
    assert len(files) == 2
    with open_source(Request(write(tmp_path, ARCHIVES[kind](files)), spool_folder=str(tmp_path))) as source:
        assert (source.disk.file, source.reader.virtual_size) == ("vm/disk.vmdk", len(DISK))
        assert source.reader.read_at(0, len(DISK)) == DISK
        assert set(source.package.contents()) == {name for name, _data in files}


def test_members_that_a_hostile_archive_puts_in_front(tmp_path):
    """Decoys fill the memory that is kept for later; the package behind them is read all the same."""
    decoys = [(f"{number}.json", b"{}" * MIB) for number in range(20)]
    judge(write(tmp_path, COMPRESS["gzip"](tar([*decoys, *members()]))), "ova", ["gzip"])
    judge(write(tmp_path, COMPRESS["gzip"](tar(list(reversed(members()))))), "ova", ["gzip"])


def test_what_tells_the_content_again(tmp_path):
    """The identity of a package is that of all of its files, however its descriptor is named."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, data in members():
        write(folder, data, name)
    write(folder, members()[0][1], "vm.xml")
    (tmp_path / "link.ovf").symlink_to(folder / "vm.ovf")
    paths = [str(folder), str(folder / "vm.ovf"), str(tmp_path / "link.ovf"), str(folder / "vm.xml")]
    before = [source_identity(path) for path in paths]
    assert all(None not in found.values() for found in before)
    write(folder, DISK[:-1] + b".", HREF)
    assert all(source_identity(path)[HREF] != found[HREF] for path, found in zip(paths, before))
    assert set(before[0]) == {name for name, _data in members()}
    path = write(tmp_path, OVA)
    assert source_identity(path)["size"] == len(OVA)


@pytest.mark.parametrize("layout", ["cirros", "ubuntu-initrd"])
@pytest.mark.parametrize("compress", [bytes, COMPRESS["gzip"]])
def test_a_uec_tarball_has_no_disk(tmp_path, layout, compress):
    """Its image boots with the kernel beside it only: an error of its own, so that a caller can go on with the other module."""
    path = tmp_path / "guest.tar"
    path.write_bytes(compress(tar(layouts()[layout].items())))
    with pytest.raises(NeedsKernel, match="is a UEC tarball: its image boots with '.*vmlinuz.*' only.*uec_extract") as caught, open_source(Request(str(path))):
        pass
    assert caught.value.kind == "needs_kernel"


def test_a_uec_tarball_with_a_disk_beside_its_image(tmp_path):
    """Ubuntu's tarballs have both: the disk is what boots by itself."""
    path = tmp_path / "server.tar.gz"
    path.write_bytes(COMPRESS["gzip"](tar(layouts()["ubuntu"].items())))
    with open_source(Request(str(path))) as source:
        assert source.layers[-1]["member"] == "server-amd64-disk1.img"
        assert b"".join(source.reader.read_extent(extent) for extent in source.reader.extents()) == build_disk()


def test_a_name_alone_makes_no_kernel(tmp_path):
    path = tmp_path / "disk.tar"
    path.write_bytes(tar([("a-vmlinuz", b"text"), ("a.img", DISK)]))
    with open_source(Request(str(path))) as source:
        assert source.layers[-1]["member"] == "a.img"
