# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a guest from booting in OpenStack: a guest that is well, and one fault after the other."""

from __future__ import annotations

import json
import random

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.drivers import find_drivers
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.facts import guest_facts
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.files import Files
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.firmware import Firmware
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.guest import Guest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.osrelease import OperatingSystem
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.risks import find_risks
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.roots import find_roots
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.risks_system import system_risks
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.system import examine_system

from .test_elf import elf
from .test_kernel import bzimage, uki

VERSION = "6.1.0-18-amd64"
MODULES = f"/usr/lib/modules/{VERSION}"
BUILTIN = "kernel/fs/ext4/ext4.ko\nkernel/drivers/virtio/virtio_pci.ko\n"
DEP = "kernel/drivers/block/virtio_blk.ko.xz:\nkernel/drivers/scsi/virtio_scsi.ko.xz: a.ko\nkernel/drivers/net/virtio_net.ko:\nkernel/drivers/md/dm-mod.ko:\n"


def cpio(*names):
    """A ramdisk of empty files."""
    data = b""
    for name in [*(name.encode() for name in names), b"TRAILER!!!"]:
        head = b"070701" + b"%08X" * 13 % (1, 0o100644, 0, 0, 1, 0, 0, 0, 0, 0, 0, len(name) + 1, 0)
        data += head + name + b"\0" * (1 + -(len(head) + len(name) + 1) % 4)
    return data


def menu(options):
    return f"DEFAULT linux\nLABEL linux\n  KERNEL /boot/vmlinuz-{VERSION}\n  INITRD /boot/initrd.img-{VERSION}\n  APPEND {options}\n"


GOOD = {
    "/etc/os-release": "ID=debian\nVERSION_ID=12\n",
    "/etc/fstab": "UUID=uuid-2 / ext4 defaults 0 1\nUUID=uuid-1 /boot/efi vfat\nproc /proc proc\n/dev/sr0 /media auto\n",
    "/etc/machine-id": "",
    "/bin/sh": elf(62),
    "/boot/efi": None,
    "/boot/extlinux/extlinux.conf": menu("root=UUID=uuid-2 ro console=tty0 console=ttyS0,115200n8"),
    f"/boot/vmlinuz-{VERSION}": bzimage(VERSION.encode()),
    f"/boot/initrd.img-{VERSION}": cpio("init", "lib/modules/x/virtio_blk.ko"),
    f"{MODULES}/modules.builtin": BUILTIN,
    f"{MODULES}/modules.dep": DEP,
    "/usr/bin/cloud-init": b"",
    "/usr/bin/growpart": b"",
    "/usr/sbin/qemu-ga": b"",
}


@pytest.fixture
def risks(partition):
    """risks({path: content}) gives the risks of the good guest with other files; None removes one."""

    def risks(changes):
        files = {path: content for path, content in {**GOOD, **changes}.items() if content is not None or path in ("/boot/efi",)}
        volumes = [partition(1, {"/EFI/BOOT/BOOTX64.EFI": b""}, filesystem="vfat"), partition(2, files)]
        system = examine_system(find_roots(volumes)[0], volumes)
        return {risk.code: risk for risk in system_risks(system, volumes)}

    return risks


def test_a_guest_that_is_well(risks):
    assert risks({}) == {}


FAULTS = [
    ({f"/boot/initrd.img-{VERSION}": cpio("init")}, "no_virtio_in_initramfs", "error"),
    ({f"/boot/initrd.img-{VERSION}": cpio("virtio_scsi.ko")}, "no_virtio_blk", "warning"),
    ({f"/boot/initrd.img-{VERSION}": b"\x89LZO\0\r\n\x1a\n" + bytes(100)}, "virtio_unknown", "note"),
    ({f"{MODULES}/modules.builtin": "kernel/drivers/virtio/virtio_pci.ko\n"}, "no_root_driver", "error"),
    ({f"{MODULES}/modules.dep": DEP.replace("virtio_net", "e1000")}, "no_virtio_net", "warning"),
    ({f"/boot/initrd.img-{VERSION}": None}, "initramfs_missing", "error"),
    ({f"/boot/vmlinuz-{VERSION}": None}, "kernel_missing", "error"),
    ({f"/boot/vmlinuz-{VERSION}": bzimage(VERSION.encode())[:-8192]}, "kernel_truncated", "error"),
    ({f"/boot/vmlinuz-{VERSION}": bzimage(b"5.5.5 x")}, "no_modules", "warning"),
    ({"/boot/extlinux/extlinux.conf": None}, "no_boot_entry", "warning"),
    ({"/boot/extlinux/extlinux.conf": menu("root=UUID=uuid-2 console=tty0")}, "no_serial_console", "warning"),
    ({"/boot/extlinux/extlinux.conf": menu("root=/dev/sda2 console=ttyS0")}, "root_by_device", "error"),
    ({"/boot/extlinux/extlinux.conf": menu("root=/dev/vda2 console=ttyS0")}, "root_by_device", "note"),
    ({"/boot/extlinux/extlinux.conf": menu("root=LABEL=gone console=ttyS0")}, "root_not_found", "error"),
    ({"/boot/extlinux/extlinux.conf": menu("console=ttyS0")}, "no_root_option", "note"),
    ({"/boot/extlinux/extlinux.conf": menu("root=UUID=uuid-2 resume=UUID=gone console=ttyS0")}, "resume_not_found", "warning"),
    ({"/etc/fstab": "UUID=gone /srv ext4 defaults\n"}, "fstab_device_missing", "error"),
    ({"/etc/fstab": "/dev/sdb1 /srv ext4 defaults,nofail\n"}, "fstab_device_missing", "note"),
    ({"/etc/fstab": "UUID=gone none swap sw\n"}, "fstab_device_missing", "warning"),
    ({"/etc/fstab": "/dev/sda1 /boot/efi vfat\n"}, "fstab_by_device", "warning"),
    ({"/bin/sh": elf(183)}, "kernel_architecture", "error"),
    ({"/bin/sh": elf(3, 32)}, "kernel_architecture", "note"),
    ({"/usr/bin/cloud-init": None}, "no_cloud_init", "warning"),
    ({"/etc/cloud/cloud-init.disabled": ""}, "cloud_init_disabled", "warning"),
    ({"/etc/cloud/cloud.cfg": "datasource_list: [ Ec2 ]\n"}, "no_openstack_datasource", "error"),
    ({"/etc/machine-id": "0123\n"}, "machine_id_set", "warning"),
    ({"/etc/ssh/ssh_host_rsa_key": b""}, "ssh_host_keys", "warning"),
    ({"/etc/udev/rules.d/70-persistent-net.rules": "NAME=eth0\n"}, "network_by_mac", "warning"),
    ({"/usr/bin/growpart": None}, "no_grow_root", "note"),
    ({"/usr/sbin/qemu-ga": None}, "no_guest_agent", "note"),
]


@pytest.mark.parametrize(("changes", "code", "level"), FAULTS, ids=[f"{number}-{fault[1]}" for number, fault in enumerate(FAULTS)])
def test_one_fault(risks, changes, code, level):
    found = risks(changes)
    assert found[code].level == level
    assert found[code].text
    assert [other for other in found if found[other].level == "error"] == [code] * (level == "error")


def test_a_root_in_a_logical_volume(logical, partition):
    """Without its driver in the ramdisk it is not found."""
    files = {**GOOD, "/etc/fstab": "/dev/mapper/vg-root / ext4\n", "/boot/extlinux/extlinux.conf": menu("root=/dev/mapper/vg-root console=ttyS0")}
    volumes = [partition(1, {}), logical("vg/root", files)]
    found = {risk.code: risk for risk in system_risks(examine_system(find_roots(volumes)[0], volumes), volumes)}
    assert sorted(found) == ["lvm_root", "no_root_driver"]
    assert found["no_root_driver"].text.startswith("dm_mod, ")


def test_a_unified_kernel_image(partition):
    """Its ramdisk is inside."""
    program = uki(linux=bzimage(VERSION.encode()), initrd=cpio("virtio_blk.ko"), uname=VERSION.encode(), cmdline=b"root=UUID=uuid-2 console=ttyS0")
    files = {path: content for path, content in GOOD.items() if not path.startswith(("/boot/extlinux", "/boot/vmlinuz", "/boot/initrd"))}
    volumes = [partition(1, {"/EFI/BOOT/BOOTX64.EFI": program}, filesystem="vfat"), partition(2, files)]
    system = examine_system(find_roots(volumes)[0], volumes)
    assert [(kernel.kernel.type, kernel.version) for kernel in system.kernels] == [("uki", VERSION)]
    assert system.drivers.status["virtio_blk"] == "initramfs"
    assert [risk.code for risk in system_risks(system, volumes)] == []


@pytest.mark.parametrize("seed", range(40))
def test_damaged_files(partition, seed):
    """Whatever stands in the files, there are facts."""
    random_ = random.Random(seed)
    files = dict(GOOD)
    for path in random_.sample(sorted(GOOD), 5):
        content = GOOD[path]
        if content is None:
            continue
        data = bytearray(content.encode() if isinstance(content, str) else content)
        for _place in range(random_.randrange(1, 20)):
            if data:
                data[random_.randrange(len(data))] = random_.randrange(256)
        files[path] = random_.choice([bytes(data), bytes(data[: len(data) // 2]), random_.randbytes(2000), "-> loop", f"-> {path}", None])
    volumes = [partition(1, {"/EFI/BOOT/BOOTX64.EFI": b""}, filesystem="vfat"), partition(2, files)]
    for root in find_roots(volumes):
        system = examine_system(root, volumes)
        guest = Guest(volumes, [(root, system.os)], system, system.os, firmware("uefi"), list(system_risks(system, volumes)), system.files.warnings)
        assert json.loads(json.dumps(guest_facts(guest)))["root"]["volume"] == "vda2"


def test_drivers_of_a_configuration(guest_tree):
    """A kernel without modules tells by its configuration."""
    files = Files(guest_tree({f"/boot/config-{VERSION}": "CONFIG_VIRTIO_BLK=y\nCONFIG_VIRTIO_PCI=y\nCONFIG_SCSI_VIRTIO=m\n# CONFIG_XFS_FS is not set\n"}))
    found = find_drivers(files, VERSION, [])
    assert {module: found.status[module] for module in ("virtio_blk", "virtio_pci", "virtio_scsi", "xfs")} == {
        "virtio_blk": "builtin",
        "virtio_pci": "builtin",
        "virtio_scsi": "missing",
        "xfs": "missing",
    }
    assert found.sources == [f"/boot/config-{VERSION}"]


def test_drivers_of_nothing(guest_tree):
    found = find_drivers(Files(guest_tree({"/a": ""})), None, [("/missing", None)])
    assert set(found.status.values()) == {"unknown"}
    assert found.reason == "/missing cannot be opened"


def firmware(value=None, **changes):
    bios = "GRUB" if value in ("bios", "both") else None
    uefi = ["vda1:EFI/BOOT/BOOTX64.EFI"] if value in ("uefi", "both") else []
    return Firmware(value, bios, uefi, ["x86_64"] * len(uefi), ["reason"], changes.get("vendor_only", []), changes.get("inactive", False))


@pytest.mark.parametrize(
    ("found", "codes"),
    [
        (firmware("both"), []),
        (firmware("bios"), ["bios_only"]),
        (firmware("uefi"), ["uefi_only"]),
        (firmware(), ["no_boot_code"]),
        (firmware(vendor_only=["debian"]), ["no_removable_loader"]),
        (firmware(inactive=True), ["no_active_partition"]),
    ],
)
def test_firmware(partition, found, codes):
    volumes = [partition(1, GOOD)]
    system = examine_system(find_roots(volumes)[0], volumes)
    own = {risk.code for risk in system_risks(system, volumes)}
    assert [risk.code for risk in find_risks(volumes, ["vda1"], system, system.os, found, object()) if risk.code not in own] == codes


@pytest.mark.parametrize(("program", "code"), [(elf(183), "loader_architecture"), (elf(22, 64, ">"), None)])
def test_firmware_of_other_architectures(partition, program, code):
    volumes = [partition(1, {**GOOD, "/bin/sh": program})]
    system = examine_system(find_roots(volumes)[0], volumes)
    found = [risk.code for risk in find_risks(volumes, ["vda1"], system, system.os, firmware("both"), object())]
    assert ("loader_architecture" in found) == (code is not None)


def test_errors_come_first(partition):
    found = find_risks([partition(1, {})], ["vda1", "vda2"], None, None, firmware("uefi"), object())
    assert [(risk.level, risk.code) for risk in found] == [("error", "several_systems"), ("note", "uefi_only")]


def test_windows_and_nothing():
    windows = OperatingSystem("windows", "windows", None, None, None, "low", "ntfs on vda1")
    assert [risk.code for risk in find_risks([], [], None, windows, firmware("both"), object())] == ["windows_drivers_unknown"]
    assert [risk.code for risk in find_risks([], [], None, None, firmware("both"), object())] == ["no_system"]
