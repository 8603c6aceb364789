# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole disks, made by the usual tools without root."""

from __future__ import annotations

import json
import random
import subprocess

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AmbiguousImage, ImageError, InvalidImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import open_reader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.facts import guest_facts
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.guest import inspect_guest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.disk import DiskStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.partitions import read_partition_table

from .test_risks import GOOD, VERSION, menu

MIB = 1 << 20
ROOT_UUID = "11111111-2222-3333-4444-000000000001"
SWAP_UUID = "11111111-2222-3333-4444-000000000002"
SCRIPT = """label: gpt
start=1MiB, size=2MiB, type=U, name=esp
start=3MiB, size=1MiB, type=S, name=swap
start=4MiB, size=12MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=root
"""
FILES = {
    **GOOD,
    "/etc/fstab": f"UUID={ROOT_UUID} / ext4\nLABEL=EFI /boot/efi vfat\nUUID={SWAP_UUID} none swap\n",
    "/etc/hostname": "template\n",
    "/boot/extlinux/extlinux.conf": menu(f"root=UUID={ROOT_UUID} ro console=ttyS0"),
}


def inspect(data, root=None):
    reader = open_reader("raw", Memory(data, "disk.raw"))
    return inspect_guest(DiskStorage(reader), read_partition_table(reader), root=root)


@pytest.fixture(scope="module")
def make(tmp_path_factory, program):
    """The parts of a disk: a folder of files in ext4, an ESP, swap."""
    run = subprocess.run

    def ext4(files, size, uuid=ROOT_UUID):
        work = tmp_path_factory.mktemp("ext4")
        for path, content in files.items():
            target = work / "files" / path.lstrip("/")
            if content is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        image = work / "image"
        run([program("mkfs.ext4"), "-q", "-U", uuid, "-L", "root", "-d", work / "files", image, f"{size}M"], check=True)
        return image.read_bytes()

    def esp(size):
        image = tmp_path_factory.mktemp("esp") / "image"
        image.write_bytes(bytes(size * MIB))
        run([program("mkfs.vfat"), "-n", "EFI", "-i", "12345678", image], check=True, stdout=subprocess.DEVNULL)
        run([program("mmd"), "-i", image, "::/EFI", "::/EFI/BOOT"], check=True)
        run([program("mcopy"), "-i", image, "-", "::/EFI/BOOT/BOOTX64.EFI"], input=b"MZ", check=True)
        return image.read_bytes()

    def swap(size):
        image = tmp_path_factory.mktemp("swap") / "image"
        image.write_bytes(bytes(size * MIB))
        run([program("mkswap"), "-U", SWAP_UUID, "-L", "swap", image], check=True, capture_output=True)
        return image.read_bytes()

    def disk(size, script, parts):
        image = tmp_path_factory.mktemp("disk") / "image"
        image.write_bytes(bytes(size * MIB))
        run([program("sfdisk"), "-q", image], input=script.encode(), check=True)
        data = bytearray(image.read_bytes())
        for start, part in parts.items():
            data[start * MIB : start * MIB + len(part)] = part
        return bytes(data)

    return {"ext4": ext4, "esp": esp, "swap": swap, "disk": disk}


@pytest.fixture(scope="module")
def good_disk(make):
    return make["disk"](18, SCRIPT, {1: make["esp"](2), 3: make["swap"](1), 4: make["ext4"](FILES, 12)})


def test_facts(good_disk):
    guest = inspect(good_disk)
    facts = guest_facts(guest)
    assert json.loads(json.dumps(facts)) == facts
    keys = ("volume", "partition", "type", "label", "uuid", "use", "source")
    assert [tuple(volume[key] for key in keys) for volume in facts["filesystems"]] == [
        ("vda1", 1, "vfat", "EFI", "1234-5678", "/boot/efi", "/etc/fstab:2"),
        ("vda2", 2, "swap", "swap", SWAP_UUID, "swap", "signature"),
        ("vda3", 3, "ext4", "root", ROOT_UUID, "/", "/etc/os-release"),
    ]
    assert facts["filesystems"][2]["occupied"] == 12 * MIB
    assert facts["root"] == {"volume": "vda3", "subvolume": None, "source": "/etc/os-release"}
    assert (facts["os"]["os_distro"], facts["os"]["os_version"], facts["os"]["source"]) == ("debian", "12", "/etc/os-release")
    assert facts["architecture"] == {"value": "x86_64", "source": "/bin/sh"}
    assert facts["hostname"] == {"value": "template", "source": "/etc/hostname"}
    assert (facts["firmware"]["value"], facts["firmware"]["uefi"]) == ("uefi", ["vda1:EFI/BOOT/BOOTX64.EFI"])
    assert [(kernel["path"], kernel["version"], kernel["initrds"], kernel["default"]) for kernel in facts["kernels"]] == [
        (f"/boot/vmlinuz-{VERSION}", VERSION, [f"/boot/initrd.img-{VERSION}"], True)
    ]
    assert facts["boot"]["root"] == f"UUID={ROOT_UUID}"
    assert facts["boot"]["consoles"] == ["ttyS0"]
    assert facts["drivers"]["virtio_blk"] == "initramfs"
    assert [risk["code"] for risk in facts["risks"]] == ["uefi_only"]
    assert facts["warnings"] == []


def test_several_systems(make, good_disk):
    script = SCRIPT.replace("size=12MiB", "size=6MiB") + "start=10MiB, size=6MiB, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709\n"
    one, other = make["ext4"](GOOD, 6), make["ext4"]({**GOOD, "/etc/os-release": "ID=ubuntu\n"}, 6, SWAP_UUID)
    disk = make["disk"](18, script, {1: make["esp"](2), 4: one, 10: other})
    guest = inspect(disk)
    facts = guest_facts(guest)
    assert facts["os"] is None
    assert [(system["root"], system["os"]["os_distro"]) for system in facts["systems"]] == [("vda3", "debian"), ("vda4", "ubuntu")]
    assert facts["risks"][0]["code"] == "several_systems"
    with pytest.raises(AmbiguousImage, match="vda3, vda4"):
        guest.require_system()
    assert inspect(disk, SWAP_UUID).require_system().os.distro == "ubuntu"
    assert guest_facts(inspect(disk, "vda3"))["os"]["os_distro"] == "debian"
    with pytest.raises(InvalidImage, match="vda9"):
        inspect(disk, "vda9")


def test_a_file_system_alone(make):
    """An AMI's image: no partition table, and no boot loader."""
    guest = inspect(make["ext4"](FILES, 12))
    assert guest.require_system().root.name == "vda"
    assert guest.firmware.value is None
    assert "no_partition_table" in [risk.code for risk in guest.risks]


def test_windows(tmp_path, program, make):
    image = tmp_path / "ntfs"
    image.write_bytes(bytes(8 * MIB))
    subprocess.run([program("mkntfs"), "-q", "-F", "-f", "-L", "System", image], check=True, capture_output=True)
    facts = guest_facts(inspect(make["disk"](10, "label: dos\nstart=1MiB, size=8MiB, type=7, bootable\n", {1: image.read_bytes()})))
    assert (facts["os"]["os_type"], facts["os"]["os_distro"], facts["os"]["confidence"]) == ("windows", "windows", "low")
    assert facts["systems"] == []
    assert "windows_drivers_unknown" in [risk["code"] for risk in facts["risks"]]


@pytest.mark.parametrize("data", [b"", bytes(512), bytes(MIB), b"text" * 1000])
def test_nothing(data):
    guest = inspect(data.ljust(512, b"\0"))
    assert guest_facts(guest)["os"] is None
    with pytest.raises(InvalidImage, match="no operating system"):
        guest.require_system()


def test_damage(good_disk):
    """Whatever is damaged, there are facts or a typed error."""
    random_ = random.Random(11)
    told = 0
    for _attempt in range(25):
        disk = bytearray(good_disk)
        for _place in range(random_.randrange(1, 30)):
            at = random_.choice([random_.randrange(len(disk)), random_.randrange(4 * MIB, 4 * MIB + 300_000), random_.randrange(MIB, MIB + 20_000)])
            disk[at : at + 20] = random_.randbytes(len(disk[at : at + 20]))
        try:
            facts = guest_facts(inspect(bytes(disk)))
        except ImageError:
            continue
        json.dumps(facts)
        told += facts["os"] is not None
    assert told > 5
