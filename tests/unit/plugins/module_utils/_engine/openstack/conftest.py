# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of every kind that somebody may upload, safe ones and others. Most are qemu-img's."""

from __future__ import annotations

import gzip
import io
import random
import struct
import subprocess
import tarfile
import types

import pytest

SECTOR = 512
SIZE = 2 << 20
LINUX = bytes([0x80, 32, 33, 0, 0x83, 0, 0, 0, 64, 0, 0, 0, 0, 8, 0, 0])
PROTECTIVE = bytes([0, 0, 2, 0, 0xEE, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 0xFF, 0x0F, 0, 0])
IMPOSSIBLE = bytes([0x12, *LINUX[1:]])

BY_QEMU = {
    "qcow2": ["qcow2"],
    "qcow2-compressed": ["qcow2", "-c"],
    "qcow2-zstd": ["qcow2", "-c", "-o", "compression_type=zstd"],
    "qcow2-v2": ["qcow2", "-o", "compat=0.10"],
    "qcow2-lazy": ["qcow2", "-o", "lazy_refcounts=on"],
    "qcow2-extended": ["qcow2", "-o", "extended_l2=on"],
    "qcow2-4k": ["qcow2", "-o", "cluster_size=4k"],
    "qcow": ["qcow"],
    "vmdk": ["vmdk"],
    "vmdk-v3": ["vmdk", "-o", "compat6=on"],
    "vmdk-stream": ["vmdk", "-o", "subformat=streamOptimized"],
    "vmdk-flat": ["vmdk", "-o", "subformat=monolithicFlat"],
    "vmdk-split": ["vmdk", "-o", "subformat=twoGbMaxExtentSparse"],
    "vmdk-split-flat": ["vmdk", "-o", "subformat=twoGbMaxExtentFlat"],
    "vdi": ["vdi"],
    "vdi-static": ["vdi", "-o", "static=on"],
    "vhd": ["vpc", "-o", "force_size=on"],
    "vhd-geometry": ["vpc"],
    "vhd-fixed": ["vpc", "-o", "subformat=fixed,force_size=on"],
    "vhdx": ["vhdx"],
    "vhdx-fixed": ["vhdx", "-o", "subformat=fixed"],
    "qed": ["qed"],
    "parallels": ["parallels"],
}
"""name → arguments of qemu-img convert -O"""


def disk(*entries, signature=b"\x55\xaa", size=SIZE):
    """A raw disk with these primary partitions."""
    sector = bytearray(SECTOR)
    sector[510:] = signature
    for index, entry in enumerate(entries):
        sector[446 + 16 * index : 462 + 16 * index] = entry
    return bytes(sector) + random.Random(7).randbytes(size // 4) + bytes(size - size // 4 - SECTOR)


def disc(*entries):
    """An ISO 9660 image as far as its first descriptors tell; with partitions a hybrid one."""
    image = bytearray(disk(*entries, signature=b"\x55\xaa" if entries else b"\0\0"))
    descriptor = bytearray(2048)
    descriptor[:7] = b"\1CD001\1"
    struct.pack_into("<I", descriptor, 80, SIZE // 2048)
    struct.pack_into(">I", descriptor, 84, SIZE // 2048)
    struct.pack_into("<H", descriptor, 128, 2048)
    struct.pack_into(">H", descriptor, 130, 2048)
    descriptor[156:190] = struct.pack("<BBIIII7sBBBHH2s", 34, 0, 20, 0, 2048, 0, bytes(7), 2, 0, 0, 1, 0, b"\1\0")
    image[32768 : 32768 + 4096] = bytes(descriptor) + b"\xffCD001\1".ljust(2048, b"\0")
    return bytes(image)


def kernel():
    """An x86 kernel as far as its header tells."""
    image = bytearray(random.Random(5).randbytes(64 << 10))
    image[446:510] = b"\x12" * 64
    image[510:518] = b"\x55\xaa\xeb\x66HdrS"
    return bytes(image)


def stream(*, footer=None, marker=3):
    """A VMDK that keeps its directory's place for a footer, as VMware writes them; without content."""
    header = struct.pack("<4sIIQQQQIQQQB4sH433x", b"KDMV", 3, 0x30001, SIZE // SECTOR, 128, 1, 20, 512, 0, 2**64 - 1, 128, 0, b"\n \r\n", 1)
    text = f'# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="streamOptimized"\n\nRW {SIZE // SECTOR} SPARSE "disk.vmdk"\n'
    at = struct.pack("<Q", 200)
    last = header[:56] + at + header[64:] if footer is None else footer(header)
    directory = bytes(SECTOR * 107)
    return header + text.encode().ljust(20 * SECTOR, b"\0") + directory + struct.pack("<QII496x", 1, 0, marker) + last + bytes(SECTOR)


def packed(name, content):
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for member, data in (("disk.ovf", OVF), (name, content)):
                info = tarfile.TarInfo(member)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return buffer.getvalue()


OVF = b"""<?xml version="1.0"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
<References><File ovf:id="file1" ovf:href="disk.vmdk"/></References><DiskSection><Info/>
<Disk ovf:diskId="disk1" ovf:fileRef="file1" ovf:capacity="2097152"/></DiskSection><VirtualSystem ovf:id="vm"><Info/></VirtualSystem></Envelope>"""


def _written(folder):
    """name → content of what needs no program."""
    return {
        "empty": b"",
        "few": random.Random(1).randbytes(100),
        "zeros": bytes(SIZE),
        "mbr": disk(LINUX),
        "gpt": disk(PROTECTIVE),
        "four": disk(LINUX, LINUX, LINUX, LINUX),
        "unpartitioned": disk(),
        "bad-flag": disk(IMPOSSIBLE),
        "hybrid": disk(PROTECTIVE, LINUX),
        "second": disk(bytes(16), PROTECTIVE),
        "bad-start": disk(PROTECTIVE[:8] + b"\2" + PROTECTIVE[9:]),
        "bad-chs": disk(PROTECTIVE[:1] + b"\1\1" + PROTECTIVE[3:]),
        "fat": disk()[:16] + b"\2" + disk()[17:21] + b"\xf8" + disk()[22:],
        "fat-one": disk()[:16] + b"\1" + disk()[17:21] + b"\xf8" + disk()[22:],
        "iso": disc(),
        "iso-hybrid": disc(LINUX),
        "iso-gpt": disc(PROTECTIVE),
        "kernel": kernel(),
        "ramdisk": gzip.compress(b"070701" + bytes(1000), mtime=0),
        "luks": (b"LUKS\xba\xbe\0\1" + bytes(584)).ljust(SIZE, b"\0"),
        "luks2": (b"LUKS\xba\xbe\0\2" + bytes(584)).ljust(SIZE, b"\0"),
        "vmdk-footer": stream(),
        "vmdk-footer-other": stream(footer=lambda header: header),
        "vmdk-footer-marker": stream(marker=2),
        "text": b"#!/bin/sh\n" + b"echo hello\n" * 100,
        "text-accents": b"#!/bin/sh\n" + b"echo hello\n" * 100 + "echo olé\n".encode(),
        "text-vmdk": b'# Disk DescriptorFile\ncreateType="monolithicSparse"\nRW 1 SPARSE "x"\n' + b"#" * 600,
        "mbr.gz": gzip.compress(disk(LINUX), mtime=0),
        "qcow2.gz": gzip.compress((folder / "qcow2").read_bytes(), mtime=0),
        "ova": packed("disk.vmdk", (folder / "vmdk-stream").read_bytes()),
        "qcow2-cut": (folder / "qcow2").read_bytes()[:300000],
        "qcow2-300": (folder / "qcow2").read_bytes()[:300],
        "qcow2-iso": (folder / "qcow2").read_bytes()[:32768] + b"\1CD001\1" + (folder / "qcow2").read_bytes()[32775:],
    }


@pytest.fixture(scope="session")
def uploads(tmp_path_factory, qemu_img):
    """``folder``, and the ``names`` of the files in it that are to be looked at."""
    folder = tmp_path_factory.mktemp("uploads")
    (folder / "disk").write_bytes(disk(LINUX))

    def run(*arguments):
        subprocess.run([qemu_img, *arguments], check=True, cwd=folder, stdout=subprocess.DEVNULL)

    for name, arguments in BY_QEMU.items():
        run("convert", "-f", "raw", "-O", *arguments, "disk", name)
    run("create", "-q", "-f", "qcow2", "-b", "disk", "-F", "raw", "qcow2-backing")
    run("create", "-q", "-f", "qcow2", "-o", "compat=0.10", "-b", "disk", "-F", "raw", "qcow2-v2-backing")
    run("create", "-q", "-f", "qcow2", "-o", "data_file=qcow2-data.raw", "qcow2-data", "1M")
    run("create", "-q", "-f", "vmdk", "-b", "vmdk", "-F", "vmdk", "vmdk-child")
    run("create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=pw", "-o", "encrypt.format=aes,encrypt.key-secret=s", "qcow2-secret", "1M")
    (folder / "hybrid.raw").write_bytes(disk(PROTECTIVE, LINUX))
    run("convert", "-f", "raw", "-O", "qcow2", "hybrid.raw", "qcow2-hybrid")
    written = _written(folder)
    for name, content in written.items():
        (folder / name).write_bytes(content)
    others = ["qcow2-backing", "qcow2-v2-backing", "qcow2-data", "qcow2-secret", "qcow2-hybrid", "vmdk-child", "vmdk-split-s001", "vmdk-flat-flat"]
    return types.SimpleNamespace(folder=folder, names=[*BY_QEMU, *others, *written])
