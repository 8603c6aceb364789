# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small disks and discs that say on the serial line that they were booted, in every format that people hand over.

One disk boots by BIOS alone, with the program of build_ova.py, one by UEFI alone, with GRUB in an EFI system partition. Each says what
stands in one of its last sectors, so the end of the disk has arrived, too.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import build_ova  # noqa: E402
import build_uec  # noqa: E402
from build_boxes import box  # noqa: E402
from build_others import bochs, cloop  # noqa: E402
from package_parts import attributes, disk_element, drive, envelope, file_element, hardware, item, package, scsi, system, tar, with_manifest  # noqa: E402

MIB = 1 << 20
SECTOR = 512
SIZE = 8 * MIB
MARKER = build_ova.MARKER
BIOS, UEFI = "bios", "uefi"
GPT_SECTORS = 33
"""of the second table, at the disk's end"""
SERIAL = "serial --unit=0 --speed=115200\nterminal_output serial\n"

QEMU: dict[str, tuple[str, ...]] = {
    "qcow2": ("qcow2",),
    "qcow2 version 2": ("qcow2", "-o", "compat=0.10"),
    "qcow2 compressed": ("qcow2", "-c"),
    "qcow2 zstd": ("qcow2", "-c", "-o", "compression_type=zstd"),
    "qcow2 extended": ("qcow2", "-o", "extended_l2=on"),
    "qcow": ("qcow",),
    "vmdk monolithicSparse": ("vmdk",),
    "vmdk streamOptimized": ("vmdk", "-o", "subformat=streamOptimized"),
    "vmdk monolithicFlat": ("vmdk", "-o", "subformat=monolithicFlat"),
    "vmdk twoGbMaxExtentSparse": ("vmdk", "-o", "subformat=twoGbMaxExtentSparse"),
    "vmdk twoGbMaxExtentFlat": ("vmdk", "-o", "subformat=twoGbMaxExtentFlat"),
    "vdi": ("vdi",),
    "vdi static": ("vdi", "-o", "static=on"),
    "vhd": ("vpc", "-o", "force_size=on"),
    "vhd of whole cylinders": ("vpc",),
    "vhd fixed": ("vpc", "-o", "subformat=fixed,force_size=on"),
    "vhdx": ("vhdx",),
    "vhdx fixed": ("vhdx", "-o", "subformat=fixed"),
    "qed": ("qed",),
    "parallels": ("parallels",),
}
"""name → qemu-img convert's format and options"""
PACKED = {"raw.gz": ("gzip", "raw"), "raw.xz": ("xz", "raw"), "raw.zst": ("zstd", "raw"), "raw.bz2": ("bzip2", "raw"), "qcow2.xz": ("xz", "qcow2")}
"""name → program, and what it compresses"""
OTHERS: dict[str, t.Callable[[bytes], bytes]] = {"bochs": bochs, "cloop": cloop}
VMX = """.encoding = "UTF-8"
displayName = "machine"
virtualHW.version = "19"
guestOS = "otherlinux-64"
firmware = "{firmware}"
memsize = "512"
sata0.present = "TRUE"
sata0:0.present = "TRUE"
sata0:0.fileName = "disk.vmdk"
"""


def make_uefi_disk(path: Path, size: int = SIZE) -> None:
    """Write a disk with a GPT and nothing but an EFI system partition; without boot code."""
    marker = size // SECTOR - GPT_SECTORS - 2
    work = path.with_suffix(".work")
    work.mkdir()
    (work / "grub.cfg").write_text(f"{SERIAL}cat (hd0){marker}+1\nhalt\n")
    loader = ["-O", "x86_64-efi", "-p", "/", "-c", work / "grub.cfg", "-o", work / "BOOTX64.EFI", "serial", "terminal", "cat", "halt"]
    _run("grub-mkimage", *loader)
    _blank(work / "esp", size - 3 * MIB)
    _run("mkfs.vfat", work / "esp")
    _run("mmd", "-i", work / "esp", "::/EFI", "::/EFI/BOOT")
    _run("mcopy", "-i", work / "esp", work / "BOOTX64.EFI", "::/EFI/BOOT")
    _blank(path, size)
    _run("sfdisk", "-q", path, text=f"label: gpt\nstart={MIB // SECTOR}, size={(size - 3 * MIB) // SECTOR}, type=U\n")
    with path.open("r+b") as disk:
        disk.seek(MIB)
        disk.write((work / "esp").read_bytes())
        disk.seek(marker * SECTOR)
        disk.write(MARKER.encode())
    shutil.rmtree(work)


class Boots:
    """Makes the files, of a disk for one firmware, in a folder.

    :param firmware: ``bios`` or ``uefi``
    """

    def __init__(self, folder: Path, qemu_img: str, firmware: str) -> None:
        self.folder, self.qemu_img, self.firmware = folder, qemu_img, firmware
        self.disk = self._named("raw") / "disk.raw"
        if firmware == BIOS:
            build_ova.make_disk(self.disk, SIZE)
        else:
            make_uefi_disk(self.disk)

    def path(self, name: str) -> Path:
        """The file to start from, in a folder of its own."""
        if name == "raw":
            return self.disk
        folder = self._named(name)
        if name in QEMU:
            return self.convert(folder / "disk", *QEMU[name])
        if name in PACKED:
            program, other = PACKED[name]
            source = self.disk if other == "raw" else self.convert(folder / "disk.qcow2", *QEMU[other])
            path = folder / f"disk.{name}"
            path.write_bytes(_run(program, "-c", source))
            return path
        if name in OTHERS:
            (folder / "disk").write_bytes(OTHERS[name](self.disk.read_bytes()))
            return folder / "disk"
        return BUILT[name](self, folder)

    def _named(self, name: str) -> Path:
        folder = self.folder / f"{name} {self.firmware}"
        folder.mkdir(parents=True)
        return folder

    def convert(self, path: Path, form: str, *options: str) -> Path:
        _run(self.qemu_img, "convert", "-q", "-f", "raw", "-O", form, *options, self.disk, path)
        return path

    def stream(self, folder: Path) -> bytes:
        """The disk as packages have it."""
        return self.convert(folder / "stream", *QEMU["vmdk streamOptimized"]).read_bytes()


def _vmware(controller: str, sata: bool = False) -> t.Callable[[Boots, Path], Path]:
    def build(boots: Boots, folder: Path) -> Path:
        """An OVA of VMware's; SCSI controllers of four models, or SATA."""
        disk = boots.stream(folder)
        place = item(20, 3, "SATA controller 0", Address=0, ResourceSubType="vmware.sata.ahci") if sata else scsi(3, controller)
        card = item(10, 7, "Network adapter 1", ResourceSubType="VmxNet3")
        firmware = f'      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="{"efi" if boots.firmware == UEFI else "bios"}"/>\n'
        body = system("machine", hardware(place, drive("vmdisk1"), card, extra=firmware))
        ovf = envelope(file_element("file1", "machine-disk1.vmdk", disk), disk_element("vmdisk1", SIZE, "file1"), body)
        return _ova(folder, with_manifest("machine.ovf", {"machine.ovf": ovf, "machine-disk1.vmdk": disk}))

    return build


def _virtualbox(boots: Boots, folder: Path) -> Path:
    """An OVA of VirtualBox's: IDE with BIOS, SATA with EFI, as its own proposals for new machines are."""
    disk, uefi = boots.stream(folder), boots.firmware == UEFI
    place = item(20, 3, "sataController0", Address=0, ResourceSubType="AHCI") if uefi else item(5, 3, "ideController0", Address=0, ResourceSubType="PIIX4")
    own = '<Firmware type="EFI"/>' if uefi else ""
    machine = f"""    <vbox:Machine ovf:required="false" version="1.19-linux" uuid="{{1}}" name="machine" OSType="Linux_64">
      <ovf:Info>Complete VirtualBox machine configuration in VirtualBox format</ovf:Info>
      <Hardware>{own}<Chipset type="{"ICH9" if uefi else "PIIX3"}"/></Hardware>
    </vbox:Machine>
"""
    body = system("machine", hardware(place, drive("vmdisk1"), kind="virtualbox-2.2") + machine)
    names = ' xmlns:vbox="http://www.virtualbox.org/ovf/machine"'
    ovf = envelope(file_element("file1", "machine-disk001.vmdk"), disk_element("vmdisk1", SIZE, "file1"), body, namespaces=names)
    return _ova(folder, {"machine.ovf": ovf, "machine-disk001.vmdk": disk})


def _ovirt(boots: Boots, folder: Path) -> Path:
    """An OVA of oVirt's: qcow2, on virtio with BIOS and on virtio-scsi with UEFI; sizes in GiB."""
    disk, uefi = boots.convert(folder / "disk", *QEMU["qcow2"]).read_bytes(), boots.firmware == UEFI
    more = attributes(volume_format="COW", volume_type="Sparse", disk_interface="VirtIO_SCSI" if uefi else "VirtIO", boot="true", disk_alias="vm_Disk1")
    disks = disk_element("disk1", 1, "image1", "byte * 2^30", "http://www.gnome.org/~markmc/qcow-image-format.html", more)
    place = item(17, "image1", "vm_Disk1", HostResource="ovf:/disk/disk1", extra="        <Type>disk</Type>\n")
    body = system("machine", f"    <BiosType>{3 if uefi else 1}</BiosType>\n" + hardware(place, kind="ENGINE 4.5.0.0"))
    ovf = envelope(file_element("image1", "image1", disk), disks, body, namespaces=' xmlns:ovirt="http://www.ovirt.org/ovf"')
    return _ova(folder, {"vm.ovf": ovf, "image1": disk})


def _ova(folder: Path, files: dict[str, bytes]) -> Path:
    return package(folder / "machine.ova", tar(files), "ova", None, {}).path


def _box_libvirt(boots: Boots, folder: Path) -> Path:
    disk = boots.convert(folder / "box.img", *QEMU["qcow2"]).read_bytes()
    return box(folder / "machine.box", "libvirt", [], others={"box.img": disk}, format="qcow2", virtual_size=1).path


def _box_vmware(boots: Boots, folder: Path) -> Path:
    disk = boots.convert(folder / "disk.vmdk", *QEMU["vmdk monolithicSparse"]).read_bytes()
    vmx = VMX.format(firmware="efi" if boots.firmware == UEFI else "bios").encode()
    return box(folder / "machine.box", "vmware_desktop", [], others={"machine.vmx": vmx, "disk.vmdk": disk}).path


BUILT: dict[str, t.Callable[[Boots, Path], Path]] = {
    "ova of VMware, lsilogic": _vmware("lsilogic"),
    "ova of VMware, lsilogicsas": _vmware("lsilogicsas"),
    "ova of VMware, pvscsi": _vmware("VirtualSCSI"),
    "ova of VMware, SATA": _vmware("", sata=True),
    "ova of VirtualBox": _virtualbox,
    "ova of oVirt": _ovirt,
    "box of libvirt": _box_libvirt,
    "box of VMware": _box_vmware,
}
NAMES = ("raw", *PACKED, *QEMU, *OTHERS, *BUILT)


def make_disc(path: Path) -> None:
    """Write a disc that both firmwares boot, from a CD-ROM drive and from a disk, by the program that GRUB has for it."""
    tree = path.with_suffix(".tree")
    (tree / "boot/grub").mkdir(parents=True)
    (tree / "boot/grub/grub.cfg").write_text(f"{SERIAL}cat /marker\nhalt\n")
    (tree / "marker").write_text(MARKER)
    modules = "--install-modules=normal serial terminal cat halt iso9660 part_gpt part_msdos"
    _run("grub-mkrescue", modules, "--locales=", "--fonts=", "--themes=", "-o", path, tree)
    shutil.rmtree(tree)


def make_tarball(path: Path, root: Path) -> None:
    """Write a UEC tarball: kernel and ramdisk of a Debian, and a file system with as much of it as says that it was booted.

    :param root: the root folder of an installed Debian
    """
    tree, files = path.with_suffix(".root"), path.with_suffix(".files")
    for name in ("usr/bin", "usr/sbin", "dev", "proc", "sys", "run", "tmp", "etc"):
        (tree / name).mkdir(parents=True)
    libraries = (root / "usr/lib/x86_64-linux-gnu/libc.so.6", root / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
    (tree / "usr/lib/x86_64-linux-gnu").mkdir(parents=True)
    (tree / "usr/lib64").mkdir()
    for library in libraries:
        shutil.copy(library, tree / library.relative_to(root))
    (tree / "usr/lib64/ld-linux-x86-64.so.2").symlink_to("../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
    for name in ("bin", "sbin", "lib", "lib64"):
        (tree / name).symlink_to(f"usr/{name}")
    shutil.copy(root / "usr/bin/dash", tree / "usr/bin/sh")
    (tree / "usr/sbin/init").write_text("#!/bin/sh\nread -r line </etc/marker\nread -r words </proc/cmdline\necho \"$line: $words\" >/dev/ttyS0\n"
                                        "echo o >/proc/sysrq-trigger\nwhile :; do :; done\n")  # fmt: skip
    (tree / "usr/sbin/init").chmod(0o755)
    (tree / "etc/marker").write_text(f"{MARKER}\n")
    files.mkdir()
    _run("mke2fs", "-q", "-t", "ext4", "-d", tree, files / "machine.img", "16M")
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    shutil.copy(kernel, files / "machine-vmlinuz")
    (ramdisk,) = (root / "boot").glob("initrd.img-*")
    shutil.copy(ramdisk, files / "machine-initrd")
    build_uec.pack(files, path)
    shutil.rmtree(tree)
    shutil.rmtree(files)


def _run(*command: str | Path, text: str = "") -> bytes:
    """Run a program, and return what it says.

    :raises RuntimeError: it fails
    """
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def _blank(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)
