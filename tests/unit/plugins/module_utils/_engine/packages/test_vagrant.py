# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vagrant boxes by their metadata, and archives without any: which disks they have, and what is refused."""

from __future__ import annotations

import json

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import (
    ImageError,
    InvalidImage,
    LimitExceeded,
    UnsafeReference,
    UnsupportedImage,
)
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.container import MissingFile
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.opening import open_package
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.plain import envelope_of, stem
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.vagrant import MAX_DISKS, parse_box
from build_boxes import box, box_disks
from package_parts import content, image, tar

GIB = 1 << 30


def parse(metadata, *files, name="/boxes/debian-12.box!metadata.json"):
    data = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
    return parse_box(data, name, files={file: 1000 for file in ("metadata.json", *files)}, open_name=no_file)


def no_file(name):
    raise AssertionError(f"{name} was opened")


DISKS = {
    "libvirt, first format": ({"provider": "libvirt", "virtual_size": 16}, ["box.img"], ["box.img"]),
    "libvirt, no disks listed": ({"provider": "libvirt", "disks": []}, ["box.img", "other.img"], ["box.img"]),
    "libvirt, second format": (
        {"provider": "libvirt", "disks": [{"path": "b.img"}, {"path": "a/a.img", "name": "x"}]},
        ["a/a.img", "b.img"],
        ["b.img", "a/a.img"],
    ),
    "libvirt, a disk twice": ({"provider": "libvirt", "disks": [{"path": "a.img"}, {"path": "a.img"}]}, ["a.img"], ["a.img"]),
    "qemu": ({"provider": "qemu"}, ["box.img", "efi.img"], ["box.img"]),
    "hyperv": (
        {"provider": "hyperv"},
        ["Virtual Hard Disks/a.vhdx", "Virtual Hard Disks/b.VHD", "Virtual Machines/1.vmcx"],
        ["Virtual Hard Disks/a.vhdx", "Virtual Hard Disks/b.VHD"],
    ),
    "vmware, one file": ({"provider": "vmware_desktop"}, ["disk.vmdk", "a.nvram"], ["disk.vmdk"]),
    "vmware, in extents": (
        {"provider": "vmware_fusion"},
        ["disk.vmdk", "disk-s001.vmdk", "Disk-S002.vmdk", "two-flat.vmdk", "two.vmdk"],
        ["disk.vmdk", "two.vmdk"],
    ),
    "vmware, a name like an extent's": ({"provider": "vmware_desktop"}, ["disk-s001.vmdk"], ["disk-s001.vmdk"]),
    "parallels": (
        {"provider": "parallels"},
        ["a.pvm/h.hdd/DiskDescriptor.xml", "a.pvm/h.hdd/h.hdd", "a.pvm/h.hdd/h.hdd.0.{1}.hds"],
        ["a.pvm/h.hdd/h.hdd.0.{1}.hds"],
    ),
    "parallels, plain": ({"provider": "parallels"}, ["a.pvm/h.hdd"], ["a.pvm/h.hdd"]),
    "utm": ({"provider": "utm"}, ["box.utm/Data/1.qcow2", "box.utm/Data/efi_vars.fd", "box.utm/config.plist"], ["box.utm/Data/1.qcow2"]),
}


@pytest.mark.parametrize("name", DISKS)
def test_disks(name):
    metadata, files, disks = DISKS[name]
    envelope = parse(metadata, *files)
    assert [disk.file_ref for disk in envelope.disks] == disks
    parts = [file for file in files if file.endswith(".vmdk") and file not in disks]
    assert [file.href for file in envelope.files] == disks + parts
    assert envelope.writer == f"Vagrant ({metadata['provider']})"
    (system,) = envelope.systems
    assert (system.id, system.name, envelope.version, envelope.warnings) == ("", "debian-12", "", [])
    assert {file.size for file in envelope.files} == {1000}


@pytest.mark.parametrize(
    ("size", "capacity"), [(16, 16 * GIB), (0.5, GIB // 2), (0, None), (-1, None), ("16", None), (True, None), (1 << 40, None), (1e300, None), (None, None)]
)
def test_the_virtual_size(size, capacity):
    envelope = parse({"provider": "libvirt", "virtual_size": size})
    assert [disk.capacity for disk in envelope.disks] == [capacity]


def test_the_virtual_size_is_of_one_disk():
    metadata = {"provider": "libvirt", "virtual_size": 3, "disks": [{"path": "a"}, {"path": "b"}]}
    assert [disk.capacity for disk in parse(metadata).disks] == [None, None]


@pytest.mark.parametrize(
    ("said", "known"), [("amd64", "x86_64"), ("ARM64", "aarch64"), ("x86_64", "x86_64"), ("i386", None), (None, None), (["amd64"], None), ("", None)]
)
def test_the_architecture(said, known):
    system = parse({"provider": "libvirt", "architecture": said}).systems[0]
    assert (system.os.architecture, system.os.source) == (known, "metadata.json" if known else None)


REFUSED = {
    "nothing": (b"", InvalidImage, "not JSON"),
    "no JSON": (b"provider: libvirt", InvalidImage, "not JSON"),
    "not UTF-8": (b'{"provider": "\xff"}', InvalidImage, "not JSON"),
    "a size that was forgotten": (b'{"provider": "libvirt", "virtual_size": }', InvalidImage, "not JSON"),
    "a list": (b"[]", InvalidImage, "no JSON object"),
    "no provider": (b"{}", InvalidImage, "no provider"),
    "a provider that is no text": (b'{"provider": 1}', InvalidImage, "no provider"),
    "two providers": (b'{"provider": "libvirt", "provider": "docker"}', InvalidImage, "two values"),
    "two paths": (b'{"provider": "libvirt", "disks": [{"path": "a", "path": "b"}]}', InvalidImage, "two values"),
    "not a number": (b'{"provider": "libvirt", "virtual_size": NaN}', InvalidImage, "NaN is no number"),
    "a number without end": (b'{"provider": "libvirt", "virtual_size": %s}' % (b"9" * 500_000), InvalidImage, "a number has 500000 digits"),
    "deep": (b'{"a":' * 100_000, InvalidImage, "not JSON"),
    "large": (b" " * (1 << 20) + b"{}", LimitExceeded, "the most that is read"),
    "disks that are no list": (b'{"provider": "libvirt", "disks": {"path": "a"}}', InvalidImage, "without a path"),
    "a disk that is none": (b'{"provider": "libvirt", "disks": ["a"]}', InvalidImage, "without a path"),
    "a disk without a path": (b'{"provider": "libvirt", "disks": [{"name": "a"}]}', InvalidImage, "without a path"),
    "an empty path": (b'{"provider": "qemu", "disks": [{"path": ""}]}', InvalidImage, "without a path"),
    "a path that is no text": (b'{"provider": "libvirt", "disks": [{"path": 1}]}', InvalidImage, "without a path"),
    "many disks": (json.dumps({"provider": "libvirt", "disks": [{"path": "a"}] * (MAX_DISKS + 1)}).encode(), LimitExceeded, "more than"),
    "no disk": (b'{"provider": "hyperv"}', InvalidImage, "no disk"),
    "no descriptor": (b'{"provider": "virtualbox"}', InvalidImage, r"\.ovf file"),
    "a provider without disks": (b'{"provider": "docker\\u0007"}', UnsupportedImage, r"'docker\\\\x07'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    data, error, message = REFUSED[name]
    with pytest.raises(error, match=message) as caught:
        parse(data)
    assert caught.value.path == "/boxes/debian-12.box!metadata.json"


def test_a_byte_order_mark():
    assert len(parse(b'\xef\xbb\xbf{"provider": "libvirt"}').disks) == 1


OUTSIDE = {
    "../secret": UnsafeReference,
    "/etc/passwd": UnsafeReference,
    "a/../../secret": UnsafeReference,
    "%2e%2e/secret": UnsafeReference,
    "https://example.org/a": ImageError,
    "absent.img": MissingFile,
    "nul\0": ImageError,
    "\ud800": MissingFile,
}


@pytest.mark.parametrize("path", OUTSIDE, ids=ascii)
def test_disks_outside(tmp_path, path):
    """The box can be described; the disk cannot be opened."""
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "box"
    folder.mkdir()
    metadata = json.dumps({"provider": "libvirt", "disks": [{"path": path}]})
    (folder / "metadata.json").write_text(metadata)
    (tmp_path / "a.box").write_bytes(tar({"metadata.json": metadata.encode()}))
    for place in (folder, tmp_path / "a.box"):
        with open_package(str(place)) as package:
            (disk,) = package.disks()
            with pytest.raises(OUTSIDE[path]):
                package.open_disk(disk)


@pytest.mark.parametrize("name", ["plain", "a!b", "a!metadata.json"])
def test_a_box_that_was_unpacked(tmp_path, name):
    """As Vagrant keeps it; the Vagrantfile is a link to itself, so that nobody can open it."""
    folder = tmp_path / name / "0" / "libvirt!"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text('{"provider": "libvirt", "format": "qcow2", "virtual_size": 1}')
    (folder / "box.img").write_bytes(image(content(), "qcow2"))
    (folder / "Vagrantfile").symlink_to("Vagrantfile")
    with open_package(str(folder)) as package:
        assert (package.kind, package.systems[0].name) == ("vagrant", "libvirt!")
        (disk,) = package.disks()
        storage = package.open_disk(disk)
        assert storage.read_at(0, 4) == b"QFI\xfb"
        storage.close()


def test_a_box_in_a_folder_of_its_archive(tmp_path):
    metadata = b'{"provider": "hyperv"}'
    files = {"box/metadata.json": metadata, "box/Virtual Hard Disks/a.vhdx": image(content(), "vhdx"), "box/._a.vhdx": b"macOS"}
    (tmp_path / "a!b.box").write_bytes(tar(files))
    with open_package(str(tmp_path / "a!b.box")) as package:
        assert package.systems[0].name == "a!b"
        assert package.envelope.files[0].size == len(image(content(), "vhdx"))
        assert [(disk.disk_id, disk.file, disk.problem) for disk in package.disks()] == [("Virtual Hard Disks/a.vhdx", "box/Virtual Hard Disks/a.vhdx", None)]


def test_a_box_with_a_descriptor_is_ovf(tmp_path):
    """Whatever its metadata says."""
    made = box(tmp_path / "a.box", "libvirt", box_disks("qcow2", "box.img"), others={"box.ovf": b""})
    with pytest.raises(InvalidImage, match="not well-formed"):
        open_package(str(made.path))


def test_plain_archives():
    """In the archive's order, whatever the names."""
    files = [("b/two.bin", 5), ("readme.txt", 3), ("a.img", 7)]
    envelope = envelope_of(files, lambda name: name != "readme.txt", "/x/image-12.5.tar.gz")
    assert [(disk.id, disk.file_ref, disk.capacity) for disk in envelope.disks] == [("b/two.bin", "b/two.bin", None), ("a.img", "a.img", None)]
    assert [(file.href, file.size) for file in envelope.files] == [("b/two.bin", 5), ("a.img", 7)]
    assert (envelope.writer, envelope.systems[0].name) == (None, "image-12.5")
    assert envelope.systems[0].hardware.drives == []


def test_plain_archives_without_an_image():
    files = [(f"file\n{number}", 1) for number in range(10)]
    with pytest.raises(InvalidImage, match="no disk image") as caught:
        envelope_of(files, lambda _name: False, "/x/a.zip")
    assert (caught.value.path, caught.value.hint) == ("/x/a.zip", "It has: " + ", ".join(f"'file\\\\n{number}'" for number in range(5)))
    with pytest.raises(InvalidImage, match="It has: nothing"):
        envelope_of([], lambda _name: True, "/x/a.zip")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/x.d/a.tar.gz", "a"),
        ("a.b-1.2.TGZ", "a.b-1.2"),
        ("a", "a"),
        (".box", ".box"),
        ("a.raw.zip", "a.raw"),
        ("a.ova.xz", "a"),
        ("/x/a.box", "a"),
        ("a.", "a."),
    ],
)
def test_names_of_archives(path, name):
    assert stem(path) == name
