# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small sound volumes for tests/tools/fuzz_filesystems, as the programs make them that Linux distributions have for it."""

from __future__ import annotations

import gzip
import os
import shutil
import struct
import subprocess
import sys
import typing as t
import zlib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from build_tree import build_tree  # noqa: E402

MIB = 1 << 20
UUID = "01234567-89ab-4cde-8f01-23456789abcd"
WHEN = 1_700_000_000
"""time stamp of all files, so that volumes differ little from run to run"""
PLAIN_NAMES = ("a", "README", "UPPER.TXT", "many.dots.in.name", "ünïcode-ß", "x" * 100, "#hash")
EXT = {
    "ext2-1k": (8, "-t", "ext2", "-b", "1024"),
    "ext3": (16, "-t", "ext3", "-b", "1024", "-I", "256"),
    "ext4": (16, "-t", "ext4"),
    "ext4-plain": (16, "-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^has_journal"),
    "ext4-inline": (16, "-t", "ext4", "-b", "1024", "-I", "512", "-O", "inline_data,^metadata_csum,^has_journal"),
    "ext4-groups": (16, "-t", "ext4", "-b", "1024", "-g", "512", "-N", "2048", "-O", "meta_bg,^resize_inode,^has_journal,uninit_bg,^metadata_csum"),
    "ext4-bigalloc": (16, "-t", "ext4", "-b", "1024", "-C", "4096", "-O", "bigalloc,^has_journal"),
}
XFS = {
    "xfs-5": ("-m", f"uuid={UUID}"),
    "xfs-5-small": ("-m", f"uuid={UUID}", "-b", "size=1k", "-n", "size=8k"),
    "xfs-4": ("-m", f"crc=0,uuid={UUID}"),
    "xfs-4-small": ("-m", f"crc=0,uuid={UUID}", "-b", "size=512", "-i", "size=256"),
}
BTRFS = {"btrfs": (), "btrfs-16k-dup": ("-m", "dup", "-n", "16k"), "btrfs-4k": ("-m", "single", "-n", "4k")}
FAT = {"fat12": (4, "-F", "12"), "fat16": (16, "-F", "16", "-s", "1"), "fat32": (36, "-F", "32", "-s", "1")}
ISO = {"iso": ("-R", "-J"), "iso-joliet": ("-J", "-joliet-long", "-D"), "iso-plain": ("-iso-level", "3", "-D"), "iso-rr": ("-R", "-l")}


class Missing(Exception):
    """A program that is needed is not there."""


def make_volumes(kind: str, folder: Path) -> t.Iterator[Path]:
    """Volumes of a kind, which are named after their configurations.

    :param folder: an empty one
    :raises Missing: a program is not there
    """
    yield from KINDS[kind](folder)


def run(program: str, *arguments: t.Any, said: str = "", good: t.Sequence[int] = (0,)) -> None:
    """Run a program.

    :param said: what it is told on its standard input
    :param good: exit statuses of success
    :raises Missing: the program is not there
    """
    found = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin{os.pathsep}/sbin")
    if found is None:
        raise Missing(program)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(WHEN), "E2FSPROGS_FAKE_TIME": str(WHEN), "MTOOLS_SKIP_CHECK": "1"}
    done = subprocess.run([found, *map(str, arguments)], check=False, capture_output=True, text=True, env=environment, input=said)
    if done.returncode not in good:
        raise RuntimeError(f"{program} {' '.join(map(str, arguments))}: {done.stderr}")


def filled(folder: Path, **how: t.Any) -> Path:
    """A random folder with time stamps that are always the same."""
    build_tree(folder, 5, 24, crowded=120, **how)
    for path in folder.rglob("*"):
        os.utime(path, (WHEN, WHEN), follow_symlinks=False)
    return folder


def blank(path: Path, mebibytes: int) -> Path:
    with path.open("wb") as file:
        file.truncate(mebibytes * MIB)
    return path


def make_ext(folder: Path) -> t.Iterator[Path]:
    tree = filled(folder / "tree")
    for name, (size, *options) in EXT.items():
        image = blank(folder / name, size)
        run("mke2fs", "-q", "-F", "-U", UUID, "-E", f"hash_seed={UUID}", *options, "-d", tree, image)
        if name == "ext4":
            run("e2fsck", "-fyD", image, good=(0, 1))  # directories get an index
        yield image


def make_xfs(folder: Path) -> t.Iterator[Path]:
    tree = filled(folder / "tree", names=PLAIN_NAMES, links=False)
    (folder / "prototype").write_text(prototype(tree), encoding="utf-8")
    for name, options in XFS.items():
        image = blank(folder / name, 64)
        run("mkfs.xfs", "-q", "--unsupported", *options, "-p", folder / "prototype", image)
        yield image


def prototype(tree: Path) -> str:
    """A folder as mkfs.xfs takes it: see mkfs.xfs(8), section -p."""
    lines = ["/dev/null", "0 0", "d--755 0 0"]

    def add(folder: Path) -> None:
        for path in sorted(folder.iterdir()):
            if path.is_dir():
                lines.append(f"{path.name} d--755 0 0")
                add(path)
            else:
                lines.append(f"{path.name} ---644 0 0 {path}")
        lines.append("$")

    add(tree)
    for number, target in enumerate(("short", "t" * 300)):
        lines.insert(3, f"link{number} l--777 0 0 {target}")
    return "\n".join(lines) + "\n"


def make_btrfs(folder: Path) -> t.Iterator[Path]:
    tree = filled(folder / "tree")
    for name, options in BTRFS.items():
        image = blank(folder / name, 128)
        run("mkfs.btrfs", "-q", "-f", "-U", UUID, *options, "--rootdir", tree, "--shrink", image)
        yield image


def make_fat(folder: Path) -> t.Iterator[Path]:
    tree = filled(folder / "tree", names=PLAIN_NAMES, links=False)
    shutil.rmtree(tree / "crowded")
    for name, (size, *options) in FAT.items():
        image = blank(folder / name, size)
        run("mkfs.vfat", "--invariant", *options, image)
        run("mcopy", "-i", image, "-s", "-Q", "-m", *[path for path in sorted(tree.iterdir()) if name != "fat12" or path.stat().st_size < MIB], "::")
        yield image


def make_iso(folder: Path) -> t.Iterator[Path]:
    tree = filled(folder / "tree", names=PLAIN_NAMES)
    for name, options in ISO.items():
        run("genisoimage", "-quiet", *options, "-o", folder / name, tree)
        yield folder / name


def make_lvm(folder: Path) -> t.Iterator[Path]:
    """A physical volume, made by hand, with two logical volumes: one in two pieces, one striped over two places."""
    tree = filled(folder / "tree")
    inner = blank(folder / "inner", 8)
    run("mke2fs", "-q", "-F", "-t", "ext2", "-b", "1024", "-U", UUID, "-d", tree, inner)
    data = inner.read_bytes()
    disk = bytearray(24 * MIB)
    half = len(data) // 2
    disk[MIB : MIB + half], disk[12 * MIB : 12 * MIB + half] = data[half:], data[:half]
    striped = blank(folder / "striped", 4)
    run("mke2fs", "-q", "-F", "-t", "ext2", "-U", UUID, striped)
    data = striped.read_bytes()
    for number, at in enumerate(range(0, len(data), 128 * 512)):
        place = (17 if number % 2 == 0 else 5) * MIB + number // 2 * 128 * 512
        disk[place : place + 128 * 512] = data[at : at + 128 * 512]
    names = {"identifier": "000000-0000-0000-0000-0000-0000-000001"}
    text = _LVM_TEXT.format(**names).encode() + b"\0"
    lists = struct.pack("<8Q", MIB, 0, 0, 0, 4096, 65536, 0, 0)
    rest = (struct.pack("<I", 32) + b"LVM2 001" + names["identifier"].replace("-", "").encode() + struct.pack("<Q", len(disk)) + lists).ljust(492, b"\0")
    disk[512:1024] = b"LABELONE" + struct.pack("<QI", 1, _lvm_crc(rest)) + rest
    disk[4096 + 512 : 4096 + 512 + len(text)] = text
    area = (b" LVM2 x[5A%r0N*>" + struct.pack("<IQQ", 1, 4096, 65536) + struct.pack("<QQII", 512, len(text), _lvm_crc(text), 0)).ljust(508, b"\0")
    disk[4096 : 4096 + 512] = struct.pack("<I", _lvm_crc(area)) + area
    (folder / "lvm").write_bytes(disk)
    yield folder / "lvm"


_LVM_TEXT = """vg {{ id = "vg" seqno = 3 status = ["RESIZEABLE", "READ", "WRITE"] extent_size = 2048
physical_volumes {{ pv0 {{ id = "{identifier}" device = "/dev/vda" status = ["ALLOCATABLE"] dev_size = 49152 pe_start = 2048 pe_count = 22 }} }}
logical_volumes {{
root {{ id = "root" status = ["READ", "WRITE", "VISIBLE"] segment_count = 2
segment1 {{ start_extent = 0 extent_count = 4 type = "striped" stripe_count = 1 stripes = ["pv0", 11] }}
segment2 {{ start_extent = 4 extent_count = 4 type = "striped" stripe_count = 1 stripes = ["pv0", 0] }} }}
data {{ id = "data" status = ["READ", "WRITE", "VISIBLE"] segment_count = 1
segment1 {{ start_extent = 0 extent_count = 4 type = "striped" stripe_count = 2 stripe_size = 128 stripes = ["pv0", 16, "pv0", 4] }} }} }} }}
contents = "Text Format Volume Group"
version = 1
"""


def _lvm_crc(data: bytes) -> int:
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def make_guest(folder: Path) -> t.Iterator[Path]:
    """A disk with what is looked at in a guest: a GPT, an ESP, a root file system with a boot loader's configuration."""
    tree = folder / "tree"
    kernel = bytearray(4096)
    kernel[0x1FE:0x200], kernel[0x202:0x206], kernel[0x206:0x208], kernel[0x20E:0x210] = b"\x55\xaa", b"HdrS", b"\x0f\x02", b"\0\x03"
    kernel[0x500:0x520] = b"6.1.0-1-amd64 (root@host)".ljust(32, b"\0")
    names = b"".join(_cpio(name) for name in ("lib/modules/6.1.0-1-amd64/virtio_blk.ko", "lib/modules/6.1.0-1-amd64/ext4.ko", "TRAILER!!!"))
    grub = "set default=0\nmenuentry 'Linux' {\n linux /boot/vmlinuz-6.1.0-1-amd64 root=UUID=%s ro console=ttyS0\n initrd /boot/initrd.img-6.1.0-1-amd64\n}\n"
    files = {
        "etc/os-release": b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n',
        "etc/fstab": f"UUID={UUID} / ext4 defaults 0 1\nLABEL=ESP /boot/efi vfat defaults 0 2\n".encode(),
        "etc/cloud/cloud.cfg": b"system_info:\n  default_user:\n    name: debian\ndatasource_list: [ OpenStack, None ]\n",
        "boot/vmlinuz-6.1.0-1-amd64": bytes(kernel),
        "boot/initrd.img-6.1.0-1-amd64": gzip.compress(names, mtime=0),
        "boot/config-6.1.0-1-amd64": b"CONFIG_VIRTIO_BLK=m\nCONFIG_EXT4_FS=m\n",
        "boot/grub/grub.cfg": (grub % UUID).encode(),
        "boot/grub/grubenv": b"# GRUB Environment Block\nsaved_entry=0\n".ljust(1024, b"#"),
        "boot/loader/entries/one.conf": b"title One\nversion 6.1\nlinux /boot/vmlinuz-6.1.0-1-amd64\noptions root=/dev/vda2\n",
        "usr/bin/sh": b"\x7fELF\2\1\1\0".ljust(16, b"\0") + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 0, 64, 0, 0),
        "lib/modules/6.1.0-1-amd64/modules.builtin": b"kernel/drivers/virtio/virtio_pci.ko\n",
    }
    for name, content in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    (tree / "bin").symlink_to("usr/bin")
    (tree / "vmlinuz").symlink_to("boot/vmlinuz-6.1.0-1-amd64")
    root, esp = blank(folder / "root", 8), blank(folder / "esp", 4)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^has_journal", "-U", UUID, "-d", tree, root)
    run("mkfs.vfat", "--invariant", "-n", "ESP", esp)
    run("mmd", "-i", esp, "::EFI", "::EFI/BOOT")
    run("mcopy", "-i", esp, "-Q", tree / "usr/bin/sh", "::EFI/BOOT/BOOTX64.EFI")
    disk = blank(folder / "guest", 16)
    table = "label: gpt\nstart=2048, size=8192, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\nstart=10240, size=16384, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709\n"
    run("sfdisk", "-q", disk, said=table)
    with disk.open("r+b") as file:
        for start, part in ((2048, esp), (10240, root)):
            file.seek(start * 512)
            file.write(part.read_bytes())
    yield disk


def _cpio(name: str) -> bytes:
    """An empty file in a "newc" archive."""
    numbers = [1, 0o100644, 0, 0, 1, 0, 0, 0, 0, 0, 0, len(name) + 1, 0]
    entry = b"070701" + b"".join(b"%08x" % number for number in numbers) + name.encode() + b"\0"
    return entry.ljust(-(-len(entry) // 4) * 4, b"\0")


KINDS: dict[str, t.Callable[[Path], t.Iterator[Path]]] = {
    "ext": make_ext,
    "xfs": make_xfs,
    "btrfs": make_btrfs,
    "fat": make_fat,
    "iso": make_iso,
    "lvm": make_lvm,
    "guest": make_guest,
}
