# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernels by their content."""

from __future__ import annotations

import gzip
import lzma
import os
import random
import struct
import subprocess
from pathlib import Path

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import ImageError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.kernel import Kernel, identify_kernel
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

from .test_elf import elf

BANNER = b"Linux version 6.6.1-test (someone@somewhere) (gcc 12) #1 SMP\0"
TEXT = random.Random(3).randbytes(200_000)


def pack(data):
    """The same bytes at any time."""
    return gzip.compress(data, mtime=0)


def bzimage(version=b"6.1.0-18-amd64 (debian@debian.org) #1 SMP", protocol=0x20F, xloadflags=0x3F, loadflags=1, size=64 * 1024):
    """The header of arch/x86/boot/header.S and zeros behind it."""
    data = bytearray(size)
    data[0:2] = b"MZ"
    struct.pack_into("<BHI", data, 0x1F1, 3, 1, (size - 4 * 512) // 16)
    struct.pack_into("<HH4sH", data, 0x1FE, 0xAA55, 0x66EB, b"HdrS", protocol)
    struct.pack_into("<HBB", data, 0x20E, 0x300, 0, loadflags)
    struct.pack_into("<H", data, 0x236, xloadflags)
    data[0x500 : 0x500 + len(version)] = version
    return bytes(data)


def image(magic):
    """arm64's and RISC-V's Image."""
    data = bytearray(b"MZ" + bytes(62) + TEXT + BANNER + TEXT)
    data[0x38:0x3C] = magic
    return bytes(data)


def pe(machine):
    """A program for EFI without sections, as the loader of a zboot image has it at 0x40."""
    return b"PE\0\0" + struct.pack("<HHIIIHH", machine, 0, 0, 0, 0, 0, 0)


def zboot(payload, compression):
    head = bytearray(4096)
    struct.pack_into("<2sH4sII8s32s", head, 0, b"MZ", 0, b"zimg", 4096, len(payload), bytes(8), compression)
    struct.pack_into("<4sI", head, 0x38, b"\xcd\x23\x82\x81", 0x40)  # LINUX_PE_MAGIC, and where the PE header is
    head[0x40 : 0x40 + 24] = pe(0xAA64)
    return bytes(head) + payload


def uki(**sections):
    """A program for EFI with these sections, as ukify lays it out, without what would run."""
    head = bytearray(1024)
    head[:2] = b"MZ"
    struct.pack_into("<I", head, 0x3C, 0x80)
    struct.pack_into("<4sHHIIIHH", head, 0x80, b"PE\0\0", 0x8664, len(sections), 0, 0, 0, 0, 0x22)
    data = b""
    for number, (name, content) in enumerate(sections.items()):
        section = (f".{name}".encode(), len(content), 0, len(content), len(head) + len(data), bytes(12), 0x40000040)
        struct.pack_into("<8sIIII12sI", head, 0x98 + 40 * number, *section)
        data += content
    return bytes(head) + data


def test_uki():
    assert identify_kernel(Memory(uki(linux=bzimage(), uname=b"6.9.1-test"))) == Kernel("uki", "6.9.1-test", "x86_64")
    assert identify_kernel(Memory(uki(text=b"no kernel"))) is None


def test_bzimage():
    found = identify_kernel(Memory(bzimage()))
    assert found == Kernel("bzImage", "6.1.0-18-amd64", "x86_64", None, 64 * 1024)


def test_bzimage_as_file_reads_it(tmp_path, program):
    path = tmp_path / "vmlinuz"
    path.write_bytes(bzimage(b"5.14.0-427.el9.x86_64 (mock) #1"))
    said = subprocess.run([program("file"), "-b", path], check=True, capture_output=True, text=True).stdout
    assert "bzImage" in said
    assert "version 5.14.0-427.el9.x86_64 " in said
    assert identify_kernel(Memory(path.read_bytes())).version == "5.14.0-427.el9.x86_64"


def test_the_machines_own_kernel(program):
    kernels = sorted(Path("/boot").glob("vmlinuz-*")) if Path("/boot").is_dir() else []
    if not kernels or not os.access(kernels[0], os.R_OK):
        pytest.skip("no kernel on this machine, or none that may be read")
    said = subprocess.run([program("file"), "-b", kernels[0]], check=True, capture_output=True, text=True).stdout
    found = identify_kernel(Memory(kernels[0].read_bytes()))
    assert found.type in said
    assert f"version {found.version} " in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"xloadflags": 0}, ("bzImage", "i686")),
        ({"loadflags": 0}, ("zImage", "x86_64")),
        ({"protocol": 0x204}, ("bzImage", None)),
    ],
)
def test_other_kernels_of_x86(arguments, expected):
    found = identify_kernel(Memory(bzimage(**arguments)))
    assert (found.type, found.architecture) == expected


def test_a_boot_program_that_is_no_linux():
    assert identify_kernel(Memory(bzimage(b"Memtest86+ v6"))).version is None


@pytest.mark.parametrize(("magic", "architecture"), [(b"ARM\x64", "aarch64"), (b"RSC\x05", "riscv64")])
@pytest.mark.parametrize("compression", [None, "gzip", "xz"])
def test_image(magic, architecture, compression):
    data = {None: bytes, "gzip": pack, "xz": lzma.compress}[compression](image(magic))
    assert identify_kernel(Memory(data)) == Kernel("Image", "6.6.1-test", architecture, compression)


def test_image_packed_with_zstd(program):
    data = subprocess.run([program("zstd"), "-q", "-c"], input=image(b"ARM\x64"), check=True, capture_output=True).stdout
    assert identify_kernel(Memory(data)) == Kernel("Image", "6.6.1-test", "aarch64", "zstd")


def test_zboot():
    data = zboot(pack(image(b"ARM\x64")), b"gzip")
    assert identify_kernel(Memory(data)) == Kernel("zboot", "6.6.1-test", "aarch64", None, len(data))
    cut_off = identify_kernel(Memory(data[:-10]))
    assert (cut_off.version, cut_off.size) == (None, len(data))


@pytest.mark.parametrize(("machine", "name"), [((21,), "ppc64le"), ((62,), "x86_64")])
def test_vmlinux(machine, name):
    assert identify_kernel(Memory(elf(*machine) + TEXT + BANNER)) == Kernel("vmlinux", "6.6.1-test", name)
    assert identify_kernel(Memory(pack(elf(*machine) + TEXT + BANNER))) == Kernel("vmlinux", "6.6.1-test", name, "gzip")


def test_kernel_of_s390x():
    data = bytearray(0x20000)
    data[0x10008:0x1000E] = b"S390EP"
    assert identify_kernel(Memory(bytes(data) + BANNER)) == Kernel("s390", "6.6.1-test", "s390x")


def test_kernel_of_arm():
    data = bytearray(8192)
    data[0x24:0x28] = b"\x18\x28\x6f\x01"
    assert identify_kernel(Memory(bytes(data))) == Kernel("zImage", None, "armv7l")


def test_a_line_across_two_pieces():
    size = (256 << 10) - 20
    data = image(b"ARM\x64")[:64] + bytes(size - 64) + BANNER
    assert identify_kernel(Memory(data)).version == "6.6.1-test"


@pytest.mark.parametrize(
    "data", [b"", b"MZ", bytes(100_000), elf(62) + TEXT, b"MZ" + bytes(5000), pack(b"text"), b"\x1f\x8b" + TEXT, b"\x89LZO\0\r\n\x1a\n" + TEXT]
)
def test_no_kernel(data):
    assert identify_kernel(Memory(data)) is None


@pytest.mark.parametrize("data", [bzimage(), pack(image(b"ARM\x64")), zboot(pack(image(b"ARM\x64")), b"gzip")])
def test_damage(data):
    random_ = random.Random(9)
    types = set()
    for _attempt in range(100):
        damaged = bytearray(data)
        for _byte in range(random_.randrange(1, 6)):
            damaged[random_.randrange(min(len(damaged), 2048))] = random_.randrange(256)
        del damaged[random_.randrange(1, 2 * len(damaged)) :]
        try:
            found = identify_kernel(Memory(bytes(damaged)))
        except ImageError:
            continue
        types.add(found.type if found else None)
    assert types <= {None, "bzImage", "zImage", "Image", "zboot"}
