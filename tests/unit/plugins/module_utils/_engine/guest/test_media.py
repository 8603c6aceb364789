# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What optical discs are for, what boots from them, and the kernels in them: from file lists, and from discs that xorriso and grub-mkrescue make."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.iso9660.reader import Iso9660
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.tree import Tree
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.detect import detect
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.iso.reader import IsoReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.files import Files
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.media import describe_media
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.media_boot import efi_loaders
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.media_kernels import find_kernels, parse_entries
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.disk import DiskStorage


def bzimage(version):
    """The head of a kernel for x86-64 (Linux' boot protocol 2.12)."""
    data = bytearray(4096)
    data[0x1FE:0x200] = b"\x55\xaa"
    struct.pack_into("<H4sHIHH", data, 0x200, 0x6AEB, b"HdrS", 0x020C, 0, 0, 0x800)
    data[0x211] = 1
    struct.pack_into("<H", data, 0x236, 1)
    data[0xA00 : 0xA00 + len(version) + 1] = version.encode() + b"\0"
    return bytes(data)


KERNEL = bzimage("6.1.0-18-amd64")
DISCS = {
    "debian-netinst": (
        "Debian 12.5.0 amd64 n",
        {
            "/.disk/info": 'Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST with firmware 20240210-11:27',
            "/install.amd/vmlinuz": KERNEL,
            "/install.amd/initrd.gz": b"x",
        },
        ("installer", "debian", "12.5.0", "x86_64", "/.disk/info"),
        [("/install.amd/vmlinuz", ("/install.amd/initrd.gz",))],
    ),
    "debian-live": (
        "d-live 12.5.0 gn amd64",
        {
            "/.disk/info": "Official Debian GNU/Linux Live 12.5.0 gnome 2024-02-10T11:29",
            "/live/filesystem.squashfs": b"hsqs",
            "/live/vmlinuz-6.1.0-18-amd64": KERNEL,
            "/live/initrd.img-6.1.0-18-amd64": b"x",
        },
        ("live", "debian", "12.5.0", "x86_64", "/.disk/info"),
        [("/live/vmlinuz-6.1.0-18-amd64", ("/live/initrd.img-6.1.0-18-amd64",))],
    ),
    "ubuntu-server": (
        "Ubuntu-Server 22.04.3 LTS amd64",
        {
            "/.disk/info": 'Ubuntu-Server 22.04.3 LTS "Jammy Jellyfish" - Release amd64 (20230810)',
            "/casper/vmlinuz": KERNEL,
            "/casper/initrd": b"x",
            "/casper/hwe-vmlinuz": bzimage("6.2.0-26-generic"),
            "/casper/hwe-initrd": b"y",
            "/casper/ubuntu-server-minimal.squashfs": b"hsqs",
        },
        ("installer", "ubuntu", "22.04.3", "x86_64", "/.disk/info"),
        [("/casper/hwe-vmlinuz", ("/casper/hwe-initrd",)), ("/casper/vmlinuz", ("/casper/initrd",))],
    ),
    "fedora-server": (
        "Fedora-S-dvd-x86_64-39",
        {
            "/.treeinfo": "[general]\nfamily = Fedora\nname = Fedora 39\nversion = 39\narch = x86_64\nplatforms = x86_64,xen\n",
            "/.discinfo": "1698919183.0\n39\nx86_64\n",
            "/images/pxeboot/vmlinuz": KERNEL,
            "/images/pxeboot/initrd.img": b"x",
            "/images/install.img": b"hsqs",
        },
        ("installer", "fedora", "39", "x86_64", "/.treeinfo"),
        [("/images/pxeboot/vmlinuz", ("/images/pxeboot/initrd.img",))],
    ),
    "rhel": (
        "RHEL-9-2-0-BaseOS-x86_64",
        {"/.treeinfo": "[general]\nfamily = Red Hat Enterprise Linux\nversion = 9.2\narch = x86_64\n"},
        ("installer", "rhel", "9.2", "x86_64", "/.treeinfo"),
        [],
    ),
    "fedora-live": (
        "Fedora-WS-Live-39-1-5",
        {"/.discinfo": "1698919183.0\nFedora 39\nx86_64\n", "/LiveOS/squashfs.img": b"hsqs"},
        ("live", "fedora", "39", "x86_64", "/.discinfo"),
        [],
    ),
    "opensuse": (
        "openSUSE-Leap-15.5-DVD-x86_64",
        {"/media.1/products": "/ openSUSE-Leap 15.5-1\n", "/boot/x86_64/loader/linux": KERNEL, "/boot/x86_64/loader/initrd": b"x"},
        ("installer", "opensuse", "15.5", "x86_64", "/media.1/products"),
        [("/boot/x86_64/loader/linux", ("/boot/x86_64/loader/initrd",))],
    ),
    "arch": (
        "ARCH_202402",
        {"/arch/version": "2024.02.01\n", "/arch/boot/x86_64/vmlinuz-linux": KERNEL, "/arch/boot/x86_64/initramfs-linux.img": b"x"},
        ("installer", "arch", "2024.02.01", "x86_64", "/arch/version"),
        [("/arch/boot/x86_64/vmlinuz-linux", ("/arch/boot/x86_64/initramfs-linux.img",))],
    ),
    "rescue": ("RESCUE1100", {"/sysresccd/VERSION": "11.00\n"}, ("rescue", None, "11.00", None, "/sysresccd/VERSION"), []),
    "alpine": (
        "alpine-virt 3.19.1 x86_64",
        {"/.alpine-release": "alpine-virt-3.19.1 240126\n", "/boot/vmlinuz-virt": KERNEL, "/boot/initramfs-virt": b"x"},
        ("installer", "alpinelinux", "3.19.1", "x86_64", "/.alpine-release"),
        [("/boot/vmlinuz-virt", ("/boot/initramfs-virt",))],
    ),
    "windows": ("MY_WINDOWS", {"/sources/install.wim": b"MSWIM", "/sources/boot.wim": b""}, ("installer", "windows", None, None, "/sources/install.wim"), []),
    "windows-udf": ("CCCOMA_X64FRE_EN-US_DV9", {"/readme.txt": "UDF"}, ("installer", "windows", None, "x86_64", "the volume's label"), []),
    "freebsd": ("14_0_RELEASE_AMD64_CD", {"/boot/kernel/kernel": b"\x7fELF"}, ("installer", "freebsd", "14.0", "x86_64", "the volume's label"), []),
    "virtio": ("virtio-win-0.1.240", {"/viostor/w10/amd64/viostor.inf": b""}, ("drivers", None, "0.1.240", None, "the volume's label"), []),
    "virtio-renamed": ("DRIVERS", {"/virtio-win_license.txt": b""}, ("drivers", None, None, None, "/virtio-win_license.txt"), []),
    "nocloud": ("cidata", {"/user-data": "#cloud-config", "/meta-data": ""}, ("config", None, None, None, "the volume's label"), []),
    "config-drive": ("config-2", {"/openstack/latest/meta_data.json": "{}"}, ("config", None, None, None, "the volume's label"), []),
    "gparted": ("GParted-live", {"/live/filesystem.squashfs": b""}, ("rescue", None, None, None, "/live/filesystem.squashfs"), []),
    "data": ("BACKUP", {"/letter.txt": "Dear"}, ("data", None, None, None, None), []),
    "damaged": ("X", {"/.treeinfo": "[general\nnonsense", "/.disk/info": ""}, ("data", None, None, None, None), []),
}


@pytest.mark.parametrize("disc", DISCS)
def test_discs(disc, guest_tree):
    label, files, expected, kernels = DISCS[disc]
    found = describe_media(guest_tree(files), label)
    assert tuple(found[key] for key in ("kind", "distro", "version", "architecture", "source")) == expected
    assert [(kernel["kernel"], kernel["ramdisks"]) for kernel in found["kernels"]] == kernels
    assert not found["warnings"]


ISOLINUX = """
path
include menu.cfg
default vesamenu.c32
"""
MENU = """
menu title Installer
include txt.cfg
label memory
  kernel /boot/memtest86
label other
  kernel vmlinuz
"""
TXT = """
label install
\tmenu label ^Install
\tkernel /install.amd/vmlinuz
\tappend vga=788 initrd=/install.amd/initrd.gz --- quiet
label expert
\tkernel /install.amd/vmlinuz
\tappend priority=low initrd=/install.amd/initrd.gz,more.gz
"""
GRUB = """
menuentry --hotkey=g 'Graphical install' {
    set background_color=black
    linux    ($root)/install.amd/vmlinuz vga=788 --- quiet
    initrd   /install.amd/gtk/initrd.gz
}
menuentry "With variables" {
    linux $prefix/vmlinuz
    initrd $prefix/initrd
}
"""


def test_kernels_that_boot_loaders_name(guest_tree):
    files = {
        "/isolinux/isolinux.cfg": ISOLINUX,
        "/isolinux/menu.cfg": MENU,
        "/isolinux/aa-first-by-name.cfg": TXT.replace("Install", "Wrong"),
        "/isolinux/txt.cfg": TXT,
        "/isolinux/vmlinuz": bzimage("5.10.0-1-amd64"),
        "/isolinux/more.gz": b"",
        "/boot/grub/grub.cfg": GRUB,
        "/boot/memtest86": KERNEL,
        "/install.amd/vmlinuz": "-> ../real",
        "/install.amd/initrd.gz": b"",
        "/install.amd/gtk/initrd.gz": b"",
        "/real": KERNEL,
    }
    found = [
        (kernel.title, kernel.kernel, kernel.ramdisks, kernel.command_line, kernel.version, kernel.source) for kernel in find_kernels(Files(guest_tree(files)))
    ]
    both = ("/install.amd/initrd.gz", "/isolinux/more.gz")
    assert found == [
        ("other", "/isolinux/vmlinuz", (), "", "5.10.0-1-amd64", "/isolinux/menu.cfg"),
        ("Install", "/real", ("/install.amd/initrd.gz",), "vga=788 --- quiet", "6.1.0-18-amd64", "/isolinux/txt.cfg"),
        ("expert", "/real", both, "priority=low", "6.1.0-18-amd64", "/isolinux/txt.cfg"),
        ("Graphical install", "/real", ("/install.amd/gtk/initrd.gz",), "vga=788 --- quiet", "6.1.0-18-amd64", "/boot/grub/grub.cfg"),
    ]


def test_configurations_that_are_none():
    for text in ("", "kernel", "label", "menuentry {", "initrd x", "append initrd=", "linux ($root)", "title\nlinux \0", "menu label"):
        assert len(list(parse_entries(text, "/"))) <= 1
    assert [entry.kernel for entry in parse_entries("title T\nlinux /EFI/x\ninitrd /y\noptions root=1", "/loader/entries")] == ["/EFI/x"]


def named(image):
    found = detect(FileStorage(image))
    return "ambiguous" if found.ambiguous else found.best.format


def facts_of(image):
    reader = IsoReader(FileStorage(image))
    info = reader.describe()
    warnings = list(info.warnings)
    specific = info.format_specific
    loaders = efi_loaders(reader, specific["el_torito"], warnings)
    media = describe_media(Tree(Iso9660(DiskStorage(reader))), specific["volume_identifier"])
    return specific, loaders, media, warnings


@pytest.fixture
def efi_image(program, tmp_path):
    """A FAT file system with a boot loader's name in it."""
    path = tmp_path / "efi.img"
    path.write_bytes(bytes(1 << 20))
    subprocess.run([program("mkfs.vfat", first="/sbin"), path], check=True, capture_output=True)
    subprocess.run([program("mmd"), "-i", path, "::/EFI", "::/EFI/BOOT"], check=True)
    subprocess.run([program("mcopy"), "-i", path, "-", "::/EFI/BOOT/BOOTX64.EFI"], input=b"MZ", check=True)
    return path


def test_an_isohybrid(program, tmp_path, efi_image):
    """As Debian's discs are made: isolinux for BIOS, a FAT image for UEFI, and both again for a disk."""
    folder = tmp_path / "tree"
    (folder / "isolinux").mkdir(parents=True)
    (folder / "isolinux/isolinux.bin").write_bytes(bytes(4096))
    (folder / "isolinux/isolinux.cfg").write_text("label x\n kernel /vmlinuz\n append initrd=/initrd.gz quiet\n")
    (folder / "vmlinuz").write_bytes(KERNEL)
    (folder / "initrd.gz").write_bytes(b"x")
    (folder / "efi.img").write_bytes(efi_image.read_bytes())
    (tmp_path / "mbr").write_bytes(b"\xfa\x33\xc0".ljust(432, b"\x90"))
    image = tmp_path / "hybrid.iso"
    command = [program("xorriso"), "-as", "mkisofs", "-quiet", "-R", "-V", "HYBRID", "-b", "isolinux/isolinux.bin", "-no-emul-boot", "-boot-load-size", "4"]
    command += ["-eltorito-alt-boot", "-e", "efi.img", "-no-emul-boot", "-isohybrid-gpt-basdat", "-isohybrid-mbr", tmp_path / "mbr", "-o", image, folder]
    subprocess.run(command, check=True, capture_output=True)
    assert named(image) == "iso"
    specific, loaders, media, warnings = facts_of(image)
    assert specific["boot"] == {"cd": ["bios", "efi"], "disk": ["bios", "efi"]}
    assert [(entry["platform"], entry["bytes"]) for entry in specific["el_torito"]] == [("bios", 2048), ("efi", 1 << 20)]
    assert [(loader.architecture, loader.path) for loader in loaders] == [("x86_64", "/EFI/BOOT/BOOTX64.EFI")] * 2
    assert [loader.place.split()[0] for loader in loaders] == ["el_torito", "partition"]
    assert [(kernel["kernel"], kernel["ramdisks"], kernel["command_line"]) for kernel in media["kernels"]] == [("/vmlinuz", ("/initrd.gz",), "quiet")]
    assert not warnings
    # The catalog may say "up to the end of the disc".
    data = bytearray(image.read_bytes())
    entry = data.index(struct.pack("<HI", 2048, specific["el_torito"][1]["load_rba"]))
    data[entry : entry + 2] = b"\1\0"
    start = specific["el_torito"][1]["offset"]
    image.write_bytes(data)
    assert facts_of(image)[0]["el_torito"][1]["bytes"] == 1 << 20
    # What is promised and is not there is told.
    data[start : start + 512] = bytes(512)
    image.write_bytes(data)
    specific, loaders, _media, warnings = facts_of(image)
    assert specific["boot"] == {"cd": ["bios", "efi"], "disk": ["bios"]}
    assert not loaders
    assert warnings == ["the El Torito boot image for efi cannot be read: there is no FAT file system"]


def test_a_disk_with_a_disc_in_a_partition_is_a_disk(program, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(b"x")
    subprocess.run([program("genisoimage"), "-quiet", "-o", tmp_path / "disc.iso", tmp_path / "tree"], check=True)
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(1 << 20) + (tmp_path / "disc.iso").read_bytes().ljust(1 << 20, b"\0"))
    subprocess.run([program("sfdisk", first="/sbin"), "-q", disk], input=b"2048,2048,83\n", check=True)
    assert named(disk) == "raw"


def test_grub_mkrescue(program, tmp_path):
    if not all(Path("/usr/lib/grub", target).is_dir() for target in ("i386-pc", "x86_64-efi")):
        pytest.skip("no modules of GRUB here (grub-pc-bin, grub-efi-amd64-bin)")
    program("mcopy")
    folder = tmp_path / "tree"
    (folder / "boot/grub").mkdir(parents=True)
    (folder / "boot/vmlinuz").write_bytes(KERNEL)
    (folder / "boot/initrd").write_bytes(b"x")
    (folder / "boot/grub/grub.cfg").write_text("menuentry 'Linux' {\n linux /boot/vmlinuz console=ttyS0\n initrd /boot/initrd\n}\n")
    image = tmp_path / "rescue.iso"
    subprocess.run([program("grub-mkrescue"), "-o", image, folder], check=True, capture_output=True)
    assert named(image) == "iso"
    specific, loaders, media, warnings = facts_of(image)
    assert specific["boot"] == {"cd": ["bios", "efi"], "disk": ["bios", "efi"]}
    report = subprocess.run([program("xorriso"), "-indev", image, "-report_el_torito", "plain"], check=True, capture_output=True, text=True).stdout
    images = [line.split() for line in report.splitlines() if line.startswith("El Torito boot img")]
    assert [(entry["load_rba"], entry["sector_count"]) for entry in specific["el_torito"]] == [(int(words[-1]), int(words[-2])) for words in images]
    assert {(loader.architecture, loader.path.upper()) for loader in loaders} == {("x86_64", "/EFI/BOOT/BOOTX64.EFI")}
    assert len(loaders) == 2
    assert (media["kind"], media["source"]) == ("live", "/boot/grub/grub.cfg")
    assert [(kernel["title"], kernel["command_line"]) for kernel in media["kernels"]] == [("Linux", "console=ttyS0")]
    assert not warnings
