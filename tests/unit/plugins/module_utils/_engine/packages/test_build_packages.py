# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages of kinds that nobody publishes: other programs find in them what the builders say, and so do we."""

from __future__ import annotations

import gzip
import hashlib
import os
import subprocess
import tarfile
from xml.etree import ElementTree

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.opening import open_package
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from build_packages import BUILDERS, main
from package_parts import ENVELOPE, QEMU_NAMES

WITH_MANIFEST = [
    *("chunked", "chunked_listed_whole", "compressed", "compressed_chunked", "one_piece", "one_piece_without_number", "parent_ref", "collection", "names"),
    *(name for name in BUILDERS if name.startswith("in_")),
    "ova_in_zip",
]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """built(name): a package, made once."""
    made = {}

    def build(name):
        if name not in made:
            made[name] = BUILDERS[name](tmp_path_factory.mktemp(name))
        return made[name]

    return build


def unpack(path, folder, bsdtar):
    """The folder with the package's files, as libarchive extracts them."""
    if path.suffix == ".ovf":
        return path.parent
    folder.mkdir()
    subprocess.run([bsdtar, "-xf", path, "-C", folder], check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    inner = list(folder.rglob("*.ova"))
    return unpack(inner[0], folder / "inner", bsdtar) if inner else folder


def whole(disk, folder, target):
    """The disk's image: where it is, or its pieces joined, decompressed."""
    data = b"".join((folder / name).read_bytes() for name in disk.files)
    packed = data.startswith(b"\x1f\x8b")
    if len(disk.files) == 1 and not packed:
        return folder / disk.files[0]
    target.write_bytes(gzip.decompress(data) if packed else data)
    return target


def content(qemu_img, path, form, raw):
    """What QEMU reads in an image."""
    subprocess.run([qemu_img, "convert", "-f", QEMU_NAMES.get(form, form), "-O", "raw", path, raw], check=True)
    return hashlib.sha256(raw.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", BUILDERS)
def test_other_programs_find_the_same(built, tmp_path, program, qemu_img, name):
    package = built(name)
    folder = unpack(package.path, tmp_path / "files", program("bsdtar"))
    for descriptor in folder.rglob("*.ovf"):
        root = ElementTree.parse(descriptor).getroot()
        assert [element.get(f"{{{ENVELOPE}}}id") for element in root.iter(f"{{{ENVELOPE}}}VirtualSystem")] == list(package.systems)
    for manifest in folder.rglob("*.mf"):
        for line in manifest.read_text().splitlines():
            listed, digest = line.partition("(")[2].split(")= ")
            if (manifest.parent / listed).exists():
                algorithm = line.partition("(")[0].lower()
                assert hashlib.new(algorithm, (manifest.parent / listed).read_bytes()).hexdigest() == digest
    for disk in [disk for disks in package.systems.values() for disk in disks if disk.files]:
        image = whole(disk, folder, tmp_path / "image")
        assert content(qemu_img, image, disk.format, tmp_path / "content") == disk.sha256, disk.id


@pytest.mark.parametrize("name", BUILDERS)
def test_we_find_it(built, name):
    package = built(name)
    with open_package(str(package.path)) as found:
        assert (found.kind, found.writer, found.envelope.configuration) == (package.kind, package.writer, package.configuration)
        assert [system.id or system.name for system in found.systems] == list(package.systems)
        for system, disks in zip(found.systems, package.systems.values()):
            assert [(disk.disk_id, disk.bus, disk.parent, disk.located is not None) for disk in found.disks(system)] == [
                (disk.id, disk.bus, disk.parent, disk.files != ()) for disk in disks
            ]
            assert [disk.boot for disk in found.disks(system)] == [True] + [False] * (len(disks) - 1)


@pytest.mark.parametrize("name", BUILDERS)
def test_we_read_it(built, name, tmp_path):
    package = built(name)
    manifest = "require" if name in WITH_MANIFEST else "verify"
    for system, disks in package.systems.items():
        for disk in disks:
            with open_source(Request(str(package.path), system=system, disk=disk.id, manifest=manifest, spool_folder=str(tmp_path))) as source:
                assert source.reader.format == disk.format
                assert source.reader.virtual_size == len(disk.content)
                assert hashlib.sha256(source.reader.read_at(0, len(disk.content))).hexdigest() == disk.sha256, disk.id


@pytest.mark.parametrize("name", WITH_MANIFEST)
def test_manifests(built, name):
    with open_package(str(built(name).path)) as package:
        assert package.verify_manifest("require").missing == []


def test_the_same_bytes_every_time(built, tmp_path):
    for name in BUILDERS:
        again = BUILDERS[name](tmp_path / name)
        assert again.path.read_bytes() == built(name).path.read_bytes(), name
        assert again.systems == built(name).systems


def test_the_layout_of_ovirt(built):
    """Data at multiples of a page, room behind the images, two blocks of zeros at the end and no more."""
    path = built("ovirt").path
    with tarfile.open(path) as archive:
        members = archive.getmembers()
    assert members[0].name == "vm.ovf"
    disks = [member for member in members[1:] if member.name != "pad"]
    assert [member.name for member in disks] == [disk.files[0] for disk in built("ovirt").systems["vm"][::-1]]
    assert [member.offset_data % 4096 for member in disks] == [0, 0]
    assert path.stat().st_size == disks[-1].offset_data + -(-disks[-1].size // 512) * 512 + 1024
    data = path.read_bytes()
    assert all(data[member.offset_data + member.size - 512 * 1024 : member.offset_data + member.size].count(0) == 512 * 1024 for member in disks)


def test_listings_of_gnu_tar_and_seven_zip(built, program, seven_zip):
    for name in ("in_tar", "ovirt", "compressed_chunked", "collection", "names"):
        path = built(name).path
        listed = subprocess.run([program("tar"), "--quoting-style=literal", "-tf", path], check=True, capture_output=True).stdout.decode().splitlines()
        with tarfile.open(path) as archive:
            assert listed == archive.getnames()
    for name in ("in_zip", "in_stored_zip", "images_in_zip", "box_qemu_zip"):
        subprocess.run([seven_zip, "t", built(name).path], check=True, capture_output=True)


def test_the_size_in_a_box_is_rounded(built, tmp_path):
    """It differs from the image's own, which is no defect, as everybody rounds it."""
    with open_source(Request(str(built("box_libvirt").path), spool_folder=str(tmp_path))) as source:
        assert source.package.disks()[0].capacity == 1 << 30
        assert source.package.warnings == []


def test_the_command(tmp_path, capsys):
    main(str(tmp_path), "empty_disk", "box_libvirt_disks")
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "empty_disk/vm.ova"), str(tmp_path / "box_libvirt_disks/debian.box")]
    assert (tmp_path / "box_libvirt_disks/expected.json").read_text().count('"sha256"') == 2
