# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The VMDK writers, judged by qemu-img (two versions), 7-Zip and the inspector that the cloud runs."""

from __future__ import annotations

import json
import random
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats import registry
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.convert import convert

MIB = 1 << 20
SUBFORMATS = ["monolithicSparse", "streamOptimized"]


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout!r} {done.stderr!r}"
    return done.stdout


def write(raw, path, subformat, **options):
    reader = registry.open_reader("raw", FileStorage(raw) if not isinstance(raw, bytes) else Memory(raw))
    with Sink(path) as sink:
        convert(reader, registry.create_writer(registry.target("vmdk", subformat, False, options), sink, reader.virtual_size))
        sink.commit()


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


# name: size of the disk, {offset: data}
DISKS = {
    "1 MiB": (MIB, {0: noise(70_000), 500_000: b"text " * 20_000}),
    "no multiple of a grain": (10 * MIB + 512, {0: b"x" * 512, 5 * MIB: noise(200_000), 10 * MIB: noise(512)}),
    "64 MiB": (64 * MIB, {at: b"the quick brown fox " * 5_000 for at in range(0, 60 * MIB, 3 * MIB)}),
    "3 GiB": (3 << 30, {at + 12_345: noise(100_000, at) for at in range(0, 3 << 30, 300 * MIB)}),
    "one sector": (512, {0: b"a" * 512}),
    "less than a grain": (4 * 512, {600: b"abc"}),
    "a grain and a sector": (65536 + 512, {0: noise(65536 + 512)}),
    "all zero": (16 * MIB, {}),
    "all random": (9 * MIB, {0: noise(9 * MIB)}),
    "across the end of a grain table": (32 * MIB + 65536, {32 * MIB - 65536: noise(131_072)}),
    "data in the last table only": (200 * MIB, {199 * MIB: noise(1000)}),
}


@pytest.fixture(scope="module", params=DISKS, ids=[name.replace(" ", "-") for name in DISKS])
def disk(request, tmp_path_factory):
    size, parts = DISKS[request.param]
    path = tmp_path_factory.mktemp("disk") / "disk.raw"
    with open(path, "wb") as file:
        for at, data in parts.items():
            file.seek(at)
            file.write(data)
        file.truncate(size)
    return path


@pytest.fixture(params=SUBFORMATS)
def image(request, disk, tmp_path):
    path = tmp_path / "any name.vmdk"
    write(disk, path, request.param)
    return path


def test_qemu_img_finds_no_fault_and_the_same_content(disk, image, qemu_img):
    run(qemu_img, "check", "-f", "vmdk", image)
    run(qemu_img, "compare", "-f", "raw", "-F", "vmdk", disk, image)
    assert json.loads(run(qemu_img, "info", "--output=json", image))["virtual-size"] == disk.stat().st_size


def test_the_distributions_qemu_img_as_well(disk, image, qemu_img_system):
    run(qemu_img_system, "check", "-f", "vmdk", image)
    run(qemu_img_system, "compare", "-f", "raw", "-F", "vmdk", disk, image)


def test_7_zip_reads_the_same_content(disk, image, seven_zip):
    run(seven_zip, "t", "-tvmdk", image)
    if disk.stat().st_size < 300 * MIB:
        assert run(seven_zip, "x", "-tvmdk", "-so", image) == disk.read_bytes()


def test_the_clouds_inspector_lets_it_pass(disk, image, oslo_inspector):
    found = oslo_inspector.detect_file_format(str(image))
    assert str(found) == "vmdk"
    assert found.virtual_size == disk.stat().st_size
    found.safety_check()


def test_our_own_reader_agrees(disk, image):
    reader = registry.open_reader("vmdk", FileStorage(image))
    with open(disk, "rb") as file:
        for extent in reader.extents():
            file.seek(extent.start)
            if extent.is_zero:
                assert not file.read(min(extent.length, MIB)).strip(b"\0")
            else:
                assert file.read(extent.length) == reader.read_extent(extent)
    assert reader.check().clean
    assert reader.describe().warnings == []


@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_descriptor_says_what_was_asked_for(tmp_path, qemu_img, subformat):
    write(noise(3 * MIB), tmp_path / "disk.vmdk", subformat, adapter_type="ide", hwversion="19")
    info = registry.open_reader("vmdk", FileStorage(tmp_path / "disk.vmdk")).describe()
    assert (info.subformat, info.cluster_size, info.compressed) == (subformat, 65536, subformat == "streamOptimized")
    specific = info.format_specific
    assert (specific["create_type"], specific["adapter_type"], specific["hw_version"]) == (subformat, "ide", "19")
    assert specific["parent_cid"] == 0xFFFFFFFF
    assert specific["long_content_id"].endswith(f"{specific['cid']:08x}")
    theirs = json.loads(run(qemu_img, "info", "--output=json", tmp_path / "disk.vmdk"))["format-specific"]["data"]
    assert (theirs["cid"], theirs["create-type"]) == (specific["cid"], subformat)


@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_identity_is_the_contents(tmp_path, subformat):
    """Neither the name nor the time make a difference; a single byte or the size do."""
    content = noise(MIB)
    ids = set()
    for name, disk in {"a": content, "b": content[:-1] + b"\0", "c": content + bytes(512)}.items():
        write(disk, tmp_path / name, subformat)
        ids.add(registry.open_reader("vmdk", FileStorage(tmp_path / name)).describe().format_specific["cid"])
    assert len(ids) == 3
    write(content, tmp_path / "again, elsewhere", subformat)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "again, elsewhere").read_bytes()


@pytest.mark.parametrize("subformat", SUBFORMATS)
@pytest.mark.parametrize("options", [{"adapter_type": "scsi"}, {"hwversion": "0"}, {"hwversion": '7"\nRW 1 FLAT "/etc/passwd'}, {"hwversion": "٧"}])
def test_values_that_no_machine_knows_are_refused(tmp_path, subformat, options):
    with pytest.raises(UnsupportedImage, match="option"):
        write(bytes(512), tmp_path / "disk.vmdk", subformat, **options)
    assert not (tmp_path / "disk.vmdk").exists()


def test_a_single_write_across_several_grain_tables(tmp_path, qemu_img):
    size = 70 * MIB + 512  # a table covers 32 MiB
    content = bytearray(random.Random(8).randbytes(MIB) * 71)[:size]
    (tmp_path / "disk.raw").write_bytes(bytes(MIB) + content[MIB:])
    with Sink(tmp_path / "disk.vmdk") as sink:
        writer = registry.create_writer(registry.target("vmdk"), sink, size)
        writer.write(MIB, memoryview(content)[MIB:])
        writer.finish()
        sink.commit()
    run(qemu_img, "compare", "-f", "raw", "-F", "vmdk", tmp_path / "disk.raw", tmp_path / "disk.vmdk")


@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_an_empty_disk_is_refused(tmp_path, subformat):
    with pytest.raises(UnsupportedImage, match="0 bytes"):
        write(b"", tmp_path / "disk.vmdk", subformat)


@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_data_behind_the_reach_of_the_tables_is_refused(tmp_path, subformat):
    """A table entry counts sectors in 32 bits."""
    with Sink(tmp_path / "disk.vmdk") as sink:
        writer = registry.create_writer(registry.target("vmdk", subformat), sink, 3 << 40)
        if subformat == "streamOptimized":
            writer._end = (1 << 32) - 128
        else:
            writer._file.end = (1 << 32) - 128
        data = writer.encode(noise(65536))
        with pytest.raises(UnsupportedImage, match="2 TiB"):
            [writer.write(at, data) for at in range(0, MIB, 65536)]


@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_a_huge_empty_disk_costs_nothing(tmp_path, qemu_img, subformat):
    size = 63 << 40
    with Sink(tmp_path / "disk.vmdk") as sink:
        writer = registry.create_writer(registry.target("vmdk", subformat), sink, size)
        writer.write(size - 65536, writer.encode(noise(65536)))
        writer.finish()
        sink.commit()
    assert (tmp_path / "disk.vmdk").stat().st_blocks * 512 < 40 * MIB
    assert json.loads(run(qemu_img, "info", "--output=json", tmp_path / "disk.vmdk"))["virtual-size"] == size
    reader = registry.open_reader("vmdk", FileStorage(tmp_path / "disk.vmdk"))
    first, last = reader.extents()
    assert (first.kind, first.length) == ("hole", size - 65536)
    assert reader.read_extent(last) == noise(65536)
