# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Kernels of Linux, by their content: for which processor, and which version.

Sources: Linux, Documentation/arch/x86/boot.rst, arch/arm64/booting.rst, arch/riscv/boot-image-header.rst, arch/arm/boot/compressed/head.S,
arch/s390/boot/head.S and drivers/firmware/efi/libstub/zboot-header.S; "PE Format" (Microsoft) for images that firmware starts;
the UAPI Group's "Unified Kernel Image" specification.
"""

from __future__ import annotations

import dataclasses
import re

from ..errors import CorruptImage, ImageError, LimitExceeded, UnsupportedImage, printable
from ..limits import KIB, MIB
from ..storage.base import Memory, Storage
from ..structure import Structure
from . import unpack
from .boot.pe import read_pe
from .boot.uki import read_uki
from .elf import ET_DYN, ET_EXEC, read_elf

X86 = Structure(
    "<",
    ("setup_sects", "B"),
    ("root_flags", "H"),
    ("syssize", "I"),
    ("ram_size", "H"),
    ("vid_mode", "H"),
    ("root_dev", "H"),
    ("boot_flag", "H"),
    ("jump", "H"),
    ("header", "4s"),
    ("version", "H"),
    ("realmode_swtch", "I"),
    ("start_sys_seg", "H"),
    ("kernel_version", "H"),
    ("type_of_loader", "B"),
    ("loadflags", "B"),
)
"""boot.rst, "The Real-Mode Kernel Header", from byte 0x1F1 on"""
X86_AT, XLOADFLAGS_AT = 0x1F1, 0x236
LOADED_HIGH = 0x01
XLF_KERNEL_64 = 0x01
_XLOADFLAGS_SINCE = 0x20C
_OLD_SETUP_SECTS = 4

ZBOOT = Structure("<", ("mz", "2s"), ("_", "H"), ("zimg", "4s"), ("payload_offset", "I"), ("payload_size", "I"), ("_", "8s"), ("compression", "32s"))
ARM64_MAGIC_AT, ARM64_MAGIC = 0x38, b"ARM\x64"
RISCV_MAGIC_AT, RISCV_MAGIC = 0x38, b"RSC\x05"
ARM_MAGIC_AT, ARM_MAGIC = 0x24, (b"\x18\x28\x6f\x01", b"\x01\x6f\x28\x18")
S390_MAGIC_AT, S390_MAGIC = 0x10008, b"S390EP"

_HEAD = 128 * KIB
_MAX_SCAN = 64 * MIB
"""bytes of a kernel that are searched for the line with its version"""
_BANNER = re.compile(rb"Linux version ([0-9][!-~]{0,127}) \(")
_OVERLAP = 256
_RELEASE = re.compile(r"[0-9]+\.[0-9][!-~]*")


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel of Linux."""

    type: str
    """``bzImage``, ``zImage``, ``Image`` (arm64, RISC-V), ``zboot`` (packed with a loader for EFI), ``vmlinux`` (ELF), ``uki`` (with its
    ramdisk and command line in one file for EFI) or ``s390``"""
    version: str | None
    """as ``uname -r`` says: ``6.1.0-18-amd64``; None: it is not in reach"""
    architecture: str | None
    """``x86_64``, ``aarch64``, …"""
    compression: str | None = None
    """what the whole file is packed with, as ``gzip`` of an arm64 Image"""
    size: int | None = None
    """bytes that the kernel says its file has at least, where it says; a smaller file is cut off"""


def identify_kernel(storage: Storage) -> Kernel | None:
    """Which kernel a file is; None when it is none.

    :raises ImageError: the file cannot be read
    """
    head = storage.read_at(0, _HEAD)
    compression = unpack.compression_of(head[: unpack.MAX_MAGIC])
    if compression is None:
        return _plain(storage, head)
    return _packed(storage, compression)


def _plain(storage: Storage, head: bytes) -> Kernel | None:
    if len(head) < KIB:
        return None
    if head[0x202:0x206] == b"HdrS" and head[0x1FE:0x200] == b"\x55\xaa":
        return _x86(storage, head)
    if head[4:8] == b"zimg" and head.startswith(b"MZ"):
        return _zboot(storage, head)
    if head[ARM64_MAGIC_AT : ARM64_MAGIC_AT + 4] == ARM64_MAGIC:
        return Kernel("Image", _banner(storage, None), "aarch64")
    if head[RISCV_MAGIC_AT : RISCV_MAGIC_AT + 4] == RISCV_MAGIC:
        return Kernel("Image", _banner(storage, None), "riscv64")
    if head[ARM_MAGIC_AT : ARM_MAGIC_AT + 4] in ARM_MAGIC:
        return Kernel("zImage", None, "armv7l")
    if head[S390_MAGIC_AT : S390_MAGIC_AT + 6] == S390_MAGIC:
        return Kernel("s390", _banner(storage, None), "s390x")
    if head.startswith(b"MZ"):
        return _uki(storage)
    return _elf(storage, None)


def _uki(storage: Storage) -> Kernel | None:
    try:
        uki = read_uki(storage)
    except CorruptImage:
        return None
    return None if uki is None else Kernel("uki", uki.version, uki.machine)


def _machine(storage: Storage) -> str | None:
    """What a program for EFI is made for."""
    try:
        program = read_pe(storage)
    except CorruptImage:
        return None
    return None if program is None else program.machine


def _x86(storage: Storage, head: bytes) -> Kernel:
    fields = X86.unpack(head, X86_AT)
    version = None
    if fields.kernel_version:
        start = fields.kernel_version + 0x200
        words = head[start : start + 256].partition(b"\0")[0].decode("ascii", "replace").split()
        if words and _RELEASE.fullmatch(words[0]):
            version = printable(words[0])
    flags = int.from_bytes(head[XLOADFLAGS_AT : XLOADFLAGS_AT + 2], "little")
    if fields.version >= _XLOADFLAGS_SINCE:
        architecture: str | None = "x86_64" if flags & XLF_KERNEL_64 else "i686"
    else:  # before Linux 3.8 only a kernel with a loader for EFI says it
        architecture = _machine(storage)
    size = ((fields.setup_sects or _OLD_SETUP_SECTS) + 1) * 512 + fields.syssize * 16
    return Kernel("bzImage" if fields.loadflags & LOADED_HIGH else "zImage", version, architecture, None, size)


def _zboot(storage: Storage, head: bytes) -> Kernel:
    fields = ZBOOT.unpack(head)
    compression = fields.compression.partition(b"\0")[0].decode("ascii", "replace")
    version = None
    end = fields.payload_offset + fields.payload_size
    if compression in unpack.READABLE and end <= storage.size:
        payload = storage.window(fields.payload_offset, fields.payload_size, storage.name)
        version = _banner(payload, compression)
    return Kernel("zboot", version, _machine(storage), None, end)


def _elf(storage: Storage, compression: str | None, head: Storage | None = None) -> Kernel | None:
    elf = read_elf(head or storage)
    if elf is None or elf.type not in (ET_EXEC, ET_DYN):
        return None
    version = _banner(storage, compression)
    return None if version is None else Kernel("vmlinux", version, elf.architecture, compression)


def _packed(storage: Storage, compression: str) -> Kernel | None:
    """A file that is packed as a whole: arm64's and RISC-V's Image, an ELF file."""
    if compression not in unpack.READABLE:
        return None
    try:
        head = next(unpack.pieces(storage, 0, compression), b"")
    except (CorruptImage, LimitExceeded, UnsupportedImage):
        return None
    for at, magic, architecture in ((ARM64_MAGIC_AT, ARM64_MAGIC, "aarch64"), (RISCV_MAGIC_AT, RISCV_MAGIC, "riscv64")):
        if head[at : at + 4] == magic:
            return Kernel("Image", _banner(storage, compression), architecture, compression)
    return _elf(storage, compression, Memory(head, storage.name))


def _banner(storage: Storage, compression: str | None) -> str | None:
    """The version in the line that the kernel greets with, if it is among the first bytes."""
    tail = b""
    done = 0
    try:
        for piece in unpack.pieces(storage, 0, compression):
            match = _BANNER.search(tail + piece)
            if match is not None:
                return match[1].decode("ascii")
            done += len(piece)
            if done > _MAX_SCAN:
                return None
            tail = piece[-_OVERLAP:]
    except ImageError:
        return None
    return None
