# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kernel, a ramdisk and a file system as far as their headers go: make_sources.py FOLDER makes kernel, ramdisk and root.img."""

from __future__ import annotations

import gzip
import os
import struct
import sys

MIB = 1 << 20


def kernel() -> bytes:
    """A bzImage (Linux, Documentation/arch/x86/boot.rst), of an odd number of bytes."""
    data = bytearray(bytes(range(256)) * 300 + b"x")
    data[0x1F1] = 1
    struct.pack_into("<I", data, 0x1F4, (len(data) - 1024) // 16)
    data[0x1FE:0x206] = b"\x55\xaa\xeb\x66HdrS"
    struct.pack_into("<H", data, 0x206, 0x020F)
    struct.pack_into("<H", data, 0x20E, 0x300)
    data[0x211] = 1
    struct.pack_into("<H", data, 0x236, 1)
    data[0x500:0x530] = b"6.1.0-1-test (builder@test) #1 SMP".ljust(48, b"\0")
    return bytes(data)


def ramdisk() -> bytes:
    """A cpio archive (newc) without a file, packed with gzip."""
    fields = (1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields) + b"TRAILER!!!\0"
    return gzip.compress(header + bytes(-len(header) % 4))


def filesystem() -> bytes:
    """The superblock of an ext2 file system, and something in the middle."""
    data = bytearray(6 * MIB)
    fields = (16, len(data) // 1024, 0, 0, 0, 1, 0, 0, 8192, 8192, 16, 0, 0, 0, 20, 0xEF53, 1, 1, 0, 0, 0, 0, 1, 0, 0)
    struct.pack_into("<13I6H4I2H", data, 1024, *fields)
    struct.pack_into("<IHHI", data, 1024 + 84, 11, 128, 0, 0)
    data[1024 + 104 : 1024 + 120] = bytes(range(1, 17))
    data[3 * MIB : 3 * MIB + 8] = b"CONTENTS"
    return bytes(data)


def main() -> None:
    for name, data in (("kernel", kernel()), ("ramdisk", ramdisk()), ("root.img", filesystem())):
        with open(os.path.join(sys.argv[1], name), "wb") as file:
            file.write(data)


main()
