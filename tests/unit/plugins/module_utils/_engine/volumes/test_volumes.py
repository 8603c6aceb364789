# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The volumes of a disk, with tables made by sfdisk and volume groups made by lvm."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.raw import RawReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.disk import DiskStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.partitions import read_partition_table
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.lvm2.volumes import device_paths
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.volumes import disk_volumes, find_volumes, logical_volumes_in

MIB = 1 << 20


def volumes_of(path, name="vda"):
    reader = RawReader(FileStorage(path))
    return find_volumes(DiskStorage(reader), read_partition_table(reader), name)


def partition(sfdisk, path, script):
    """A disk whose partitions each hold their own number, again and again; (number, start, length) as sfdisk says."""
    with path.open("wb") as file:
        file.truncate(32 * MIB)
    subprocess.run([sfdisk, "-q", "--no-reread", "--no-tell-kernel", path], check=True, input=script, text=True)
    said = json.loads(subprocess.run([sfdisk, "--json", path], check=True, capture_output=True).stdout)["partitiontable"]
    return [(int(part["node"][len(str(path)) :]), part["start"] * 512, part["size"] * 512) for part in said["partitions"]]


def fill(path, places):
    with path.open("r+b") as file:
        for number, start, length in places:
            file.seek(start)
            file.write(bytes([number]) * length)


@pytest.mark.parametrize(
    ("script", "skipped"),
    [
        ("label: dos\nsize=2M, type=83\nsize=3M, type=8e\n", ()),
        ("label: dos\nsize=2M\nsize=20M, type=5\nsize=3M\nsize=4M\n", (2,)),
        ("label: gpt\nsize=2M, type=U\nsize=3M\n5: size=4M\n", ()),
    ],
)
def test_partitions_are_volumes(program, tmp_path, script, skipped):
    path = tmp_path / "disk.img"
    places = [place for place in partition(program("sfdisk"), path, script) if place[0] not in skipped]
    fill(path, places)
    found = volumes_of(path)
    assert [(int(volume.name[3:]), volume.partition.start, volume.storage.size) for volume in found] == places
    for volume, (number, _start, length) in zip(found, places):
        assert volume.storage.read_at(0, length + 1) == bytes([number]) * length
        assert (volume.reason, volume.warnings, volume.logical_volume) == (None, [], None)


def test_a_disk_without_a_table_is_a_volume(tmp_path):
    disk = Memory(bytes(8 * MIB))
    (volume,) = find_volumes(disk, None)
    assert (volume.name, volume.storage, volume.partition, volume.reason) == ("vda", disk, None, None)


def test_partitions_behind_the_end_are_cut(program, tmp_path):
    path = tmp_path / "disk.img"
    partition(program("sfdisk"), path, "label: dos\nsize=2M\nsize=4M\nsize=4M\n")
    os.truncate(path, 4 * MIB)
    first, second, third = volumes_of(path, "nvme0n1")
    assert (first.name, first.storage.size, first.warnings) == ("nvme0n1p1", 2 * MIB, [])
    assert (second.name, second.storage.size) == ("nvme0n1p2", MIB)
    assert second.warnings == [f"it is cut at the end of the disk: {3 * MIB} bytes are missing"]
    assert (third.storage, third.reason) == (None, "it begins behind the end of the disk")


def test_of_a_hybrid_table_the_gpt_counts(program, tmp_path):
    path = tmp_path / "disk.img"
    partition(program("sfdisk"), path, "label: gpt\nsize=2M\nsize=3M\n")
    subprocess.run([program("sgdisk"), "-h", "2", path], check=True, capture_output=True)
    table = read_partition_table(RawReader(FileStorage(path)))
    assert table.protective_mbr == "hybrid"
    assert [volume.name for volume in volumes_of(path)] == ["vda1", "vda2"]


def lvm_on(device, folder, lvm, *commands):
    config = f"""
        devices {{ use_devicesfile=0 obtain_device_list_from_udev=0 filter=["a|^{device}$|","r|.*|"] }}
        global {{ use_lvmpolld=0 event_activation=0 locking_dir="{folder}/locks" }}
        activation {{ udev_sync=0 udev_rules=0 monitoring=0 }}
        backup {{ backup=0 archive=0 }}"""
    for command, *arguments in commands:
        subprocess.run([lvm, command, "--driverloaded", "n", "--config", config, *arguments], check=True, capture_output=True)


def volume_group(path, start, length, tools):
    """A physical volume in a part of a file; the volumes root and swap in it hold 1 and 2, again and again."""
    losetup, lvm = tools
    if os.geteuid():
        pytest.skip("only root may set up loop devices")
    words = [losetup, "-f", "--show", "-o", str(start), "--sizelimit", str(length), path]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no loop devices here: {done.stderr.strip()}")
    device = done.stdout.strip()
    create = ("lvcreate", "-an", "-Zn", "-Wn", "-y")
    try:
        lvm_on(
            device,
            path.parent,
            lvm,
            ("pvcreate", "-ff", "-y", device),
            ("vgcreate", "-s", "1M", "vg", device),
            (*create, "-L", "3M", "-n", "root", "vg"),
            (*create, "-L", "2M", "-n", "swap", "vg"),
        )
    finally:
        subprocess.run([losetup, "-d", device], check=True)
    with path.open("r+b") as file:
        file.seek(start + MIB)  # pe_start
        file.write(b"\1" * (3 * MIB) + b"\2" * (2 * MIB))


@pytest.fixture
def lvm_tools(program):
    return program("losetup"), program("lvm")


@pytest.mark.parametrize("on_partition", [True, False])
def test_logical_volumes_are_found_in_partitions_and_on_a_whole_disk(program, tmp_path, lvm_tools, on_partition):
    path = tmp_path / "disk.img"
    start, length = 0, 12 * MIB
    if on_partition:
        _first, (_number, start, length) = partition(program("sfdisk"), path, "label: gpt\nsize=2M\nsize=12M, type=lvm\n")
    else:
        path.write_bytes(bytes(length))
    volume_group(path, start, length, lvm_tools)
    found = volumes_of(path)
    assert [volume.name for volume in found] == [*(["vda1", "vda2"] if on_partition else ["vda"]), "vg/root", "vg/swap"]
    root, swap = found[-2:]
    assert root.storage.read_at(0, root.storage.size) == b"\1" * (3 * MIB)
    assert swap.storage.read_at(0, swap.storage.size) == b"\2" * (2 * MIB)
    assert (device_paths(root.name)[1], root.partition, root.reason) == ("/dev/mapper/vg-root", None, None)
    assert all(volume.warnings == [] for volume in found)


def test_what_is_wrong_with_a_physical_volume_stands_with_it(program, tmp_path, lvm_tools):
    path = tmp_path / "disk.img"
    (_number, start, length), second = partition(program("sfdisk"), path, "label: gpt\nsize=12M, type=lvm\nsize=12M\n")
    volume_group(path, start, length, lvm_tools)
    with path.open("r+b") as file:
        file.seek(start)
        copy = file.read(length)
        file.seek(second[1])
        file.write(copy)
        file.seek(start + 4096 + 5)  # the header of the metadata area
        file.write(b"\xff\xff")
    found = volumes_of(path)
    assert [(volume.name, volume.warnings) for volume in found] == [
        ("vda1", ["the header of LVM's metadata area is damaged"]),
        ("vda2", ["it is the same physical volume as vda1, so it is not looked at"]),
    ]
    # Of two disks, the second one may know what the first one has lost.
    disk = DiskStorage(RawReader(FileStorage(path)))
    table = read_partition_table(RawReader(FileStorage(path)))
    good = disk_volumes(disk, table)[1:]
    assert [volume.name for volume in logical_volumes_in(good)] == ["vg/root", "vg/swap"]
