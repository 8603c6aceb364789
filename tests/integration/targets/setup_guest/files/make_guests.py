# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks with a small system on them, made by programs that are not ours: make_guests.py FOLDER makes FOLDER/guests/*.

The kernel and the ramdisk in them are FOLDER/kernel and FOLDER/ramdisk; other-kernel is that of the second version. What a
partition holds is there as a file of its own, to compare with: root.fs, other.fs, data.fs. The system of other.fs has a
kernel without a ramdisk, and does not start without data.fs.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys

MIB = 1 << 20
FILESYSTEM = 12 * MIB
VERSION, OTHER_VERSION = "6.1.0-1-test", "5.10.0-2-test"
UUID, OTHER_UUID, DATA_UUID = "2d1b1a3c-4ad0-4d52-a29d-ae47f8b0e2a5", "9c4bfd0e-0c5e-4a51-8f0d-9c5a1f7f1b11", "5c1f3a2e-52b7-4f0b-8a53-3f6a0f5f7c22"
ENTRY = "menuentry '%(title)s' {\n\tsearch --no-floppy --fs-uuid --set=root %(uuid)s\n\tlinux /boot/vmlinuz-%(version)s root=UUID=%(uuid)s ro quiet\n"
INITRD = "\tinitrd /boot/initrd.img-%(version)s\n"
ISOLINUX = "default install\nlabel install\n  kernel /install/vmlinuz\n  append vga=788 initrd=/install/initrd.gz --- quiet\n"
DESCRIPTOR = """<?xml version="1.0"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
  <References><File ovf:href="guest-disk1.vmdk" ovf:id="file1"/></References>
  <DiskSection><Info>Disks</Info><Disk ovf:capacity="%d" ovf:diskId="disk1" ovf:fileRef="file1"
    ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"/></DiskSection>
  <VirtualSystem ovf:id="guest"><Info>A machine</Info></VirtualSystem>
</Envelope>
"""


def run(*command: str, **options: object) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)  # type: ignore[call-overload]


def write(path: str, data: bytes) -> None:
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


def filesystem(name: str, uuid: str, files: dict[str, bytes]) -> None:
    """An ext4 file system NAME.fs with the files."""
    for path, data in files.items():
        write(f"{name}/{path}", data)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-U", uuid, "-L", name, "-d", name, f"{name}.fs", f"{FILESYSTEM // 1024}k")
    shutil.rmtree(name)


def system(name: str, uuid: str, distribution: str, kernels: dict[str, bytes], ramdisk: bytes | None, mounts: str = "") -> None:
    menu = "set default=0\n"
    files = {"etc/os-release": f'ID={distribution}\nVERSION_ID="12"\nNAME={distribution}\n'.encode(), "sbin/init": b"#!/bin/sh\n", "usr/bin/true": b""}
    for version, kernel in kernels.items():
        files[f"boot/vmlinuz-{version}"] = kernel
        menu += ENTRY % {"title": f"{distribution}, {version}", "uuid": uuid, "version": version}
        if ramdisk is not None:
            files[f"boot/initrd.img-{version}"] = ramdisk
            menu += INITRD % {"version": version}
        menu += "}\n"
    files["boot/grub/grub.cfg"] = menu.encode()
    files["etc/fstab"] = f"UUID={uuid} / ext4 errors=remount-ro 0 1\n{mounts}".encode()
    filesystem(name, uuid, files)


def disk(name: str, label: str, *contents: str) -> None:
    """A raw disk with one partition for each of the files, and one MiB more behind each than it needs."""
    step = FILESYSTEM // MIB + 1
    table = f"label: {label}\n" + "".join(f"start={(1 + at * step) * 2048}, size={step * 2048}, type=L\n" for at in range(len(contents)))
    with open(name, "wb") as image:
        image.truncate((2 + len(contents) * step) * MIB)
    run("sfdisk", "-q", name, input=table.encode())
    with open(name, "r+b") as image:
        for at, content in enumerate(contents):
            image.seek((1 + at * step) * MIB)
            with open(content, "rb") as file:
                image.write(file.read())


def appliance() -> None:
    """guest.ova, of the disk guest.raw."""
    names = ["guest.ovf", "guest.mf", "guest-disk1.vmdk"]
    run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", "guest.raw", names[2])
    write(names[0], (DESCRIPTOR % os.path.getsize("guest.raw")).encode())
    lines = []
    for name in (names[0], names[2]):
        with open(name, "rb") as file:
            lines.append(f"SHA256({name})= {hashlib.sha256(file.read()).hexdigest()}\n")
    write(names[1], "".join(lines).encode())
    run("tar", "--format=ustar", "-cf", "guest.ova", *names)
    for name in names:
        os.unlink(name)


def discs(kernel: bytes, ramdisk: bytes) -> None:
    """disc.iso, which only CD-ROM drives boot, and hybrid.iso, which is a disk as well."""
    write("disc/install/vmlinuz", kernel)
    write("disc/install/initrd.gz", ramdisk)
    write("disc/isolinux/isolinux.cfg", ISOLINUX.encode())
    run("xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-V", "TEST 12", "-o", "disc.iso", "disc", stderr=subprocess.DEVNULL)
    run("grub-mkrescue", "--install-modules=normal linux", "--locales=", "--fonts=", "--themes=", "-o", "hybrid.iso", "disc", stderr=subprocess.DEVNULL)
    shutil.rmtree("disc")


def main() -> None:
    folder = sys.argv[1]
    contents = {}
    for name in ("kernel", "ramdisk"):
        with open(os.path.join(folder, name), "rb") as file:
            contents[name] = file.read()
    kernel, ramdisk = contents["kernel"], contents["ramdisk"]
    other_kernel = kernel.replace(VERSION.encode() + b" ", OTHER_VERSION.encode() + b" ")
    write(os.path.join(folder, "other-kernel"), other_kernel)
    os.makedirs(os.path.join(folder, "guests.new"))
    os.chdir(os.path.join(folder, "guests.new"))

    system("root", UUID, "debian", {VERSION: kernel, OTHER_VERSION: other_kernel}, ramdisk)
    system("other", OTHER_UUID, "ubuntu", {VERSION: kernel}, None, f"UUID={DATA_UUID} /usr ext4 defaults 0 2\n")
    filesystem("data", DATA_UUID, {"letter.txt": b"dear me\n"})
    write("key", b"secret")
    with open("secret.fs", "wb") as file:
        file.truncate(FILESYSTEM + MIB)
    run("cryptsetup", "luksFormat", "--batch-mode", "--type=luks1", "--pbkdf-force-iterations=1000", "--key-file=key", "secret.fs")

    disk("guest.raw", "dos", "root.fs")
    disk("two.raw", "gpt", "root.fs", "other.fs")
    disk("data.raw", "dos", "data.fs")
    disk("split.raw", "dos", "other.fs", "data.fs")
    disk("secret.raw", "gpt", "secret.fs")
    shutil.copy("guest.raw", "my guest.raw")
    run("xz", "-k", "-0", "guest.raw")
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", "guest.raw", "guest.qcow2")
    with open("guest.raw", "rb") as file:
        write("cut.raw", file.read(FILESYSTEM // 2))
    write("letter.img", b"This is no disk image, but a letter.\n")
    appliance()
    discs(kernel, ramdisk)
    os.rename("../guests.new", "../guests")


main()
