# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Formats that begin with a magic number. Sources: formats.md's table, qemu's block/*.c, the formats' specifications."""

from __future__ import annotations

import struct

from ..registry import FORMATS
from .match import ARCHIVE, COMPRESSION, DISK, ENCRYPTED, OTHER, Match

_QEMU = "qemu-img"
_APPLE = "hdiutil (macOS)"

# (offset, magic, what it is): what is only named. The formats that are read stand in the registry, with their signatures.
_SIGNATURES = (
    (0, b"COWD", Match("vmdk", DISK, "a VMware COW disk (vmfsSparse extent)", 95, reader="vmdk")),
    (0, struct.pack("<Q", 0xCAFEBABE), Match("vmdk", DISK, "a VMware seSparse extent", 95, reader="vmdk")),
    (0, b"VMA\0", Match("vma", ARCHIVE, "a Proxmox VMA backup", 100, tool="vma extract (Proxmox VE)")),
    (0, b"sprs\0", Match("sparseimage", DISK, "a macOS sparse image", 95, tool=_APPLE)),
    (0, b"shdw\0", Match("asif", DISK, "an Apple sparse image (ASIF)", 95, tool="diskutil image (macOS 26)")),
    (0, b"EVF\x09\x0d\x0a\xff\0", Match("ewf", DISK, "an Expert Witness (E01) image", 100, tool="ewfexport (libewf)")),
    (0, b"LVF\x09\x0d\x0a\xff\0", Match("ewf", DISK, "an Expert Witness (L01) file collection", 100, tool="ewfmount (libewf)")),
    (0, b"EVF2\x0d\x0a\x81\0", Match("ewf", DISK, "an Expert Witness (Ex01) image", 100, tool="ewfexport (libewf)")),
    (0, b"MSWIM\0\0\0", Match("wim", ARCHIVE, "a Windows imaging (WIM) archive", 100, tool="wimlib-imagex")),
    (0, struct.pack("<I", 0xED26FF3A), Match("android-sparse", DISK, "an Android sparse image", 95, tool="simg2img")),
    (0, b"hsqs", Match("squashfs", ARCHIVE, "a squashfs image", 95, tool="unsquashfs")),
    (0, b"sqsh", Match("squashfs", ARCHIVE, "a squashfs image", 90, tool="unsquashfs")),
    (0, b"LUKS\xba\xbe", Match("luks", ENCRYPTED, "an encrypted LUKS volume", 100, reader="luks", tool="cryptsetup, with its key")),
    (0, b"encrcdsa", Match("encrcdsa", ENCRYPTED, "an encrypted Apple disk image", 100, tool="hdiutil (macOS), with its password")),
    (0, b"\x1f\x8b\x08", Match("gzip", COMPRESSION, "gzip-compressed data", 90)),
    (0, b"\xfd7zXZ\0", Match("xz", COMPRESSION, "xz-compressed data", 95)),
    (0, b"\x28\xb5\x2f\xfd", Match("zstd", COMPRESSION, "zstd-compressed data", 95)),
    (0, b"\x04\x22\x4d\x18", Match("lz4", COMPRESSION, "lz4-compressed data", 95, tool="lz4")),
    (0, b"\x02\x21\x4c\x18", Match("lz4", COMPRESSION, "lz4-compressed data (legacy frames)", 95, tool="lz4")),
    (0, b"PK\x03\x04", Match("zip", ARCHIVE, "a ZIP archive", 95, tool="unzip")),
    (0, b"PK\x05\x06", Match("zip", ARCHIVE, "an empty ZIP archive", 95, tool="unzip")),
    (0, b"7z\xbc\xaf\x27\x1c", Match("7z", ARCHIVE, "a 7-Zip archive", 100, tool="7z")),
)

# What people pass by mistake, and no disk begins with.
_NO_DISKS = (
    (0, b"\x89PNG\r\n\x1a\n", "a PNG picture"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\x7fELF", "a program or library (ELF)"),
    (0, b"!<arch>\n", "an ar archive, such as a Debian package"),
    (0, b"\xed\xab\xee\xdb", "an RPM package"),
    (0, b"Rar!\x1a\x07", "a RAR archive"),
    (0, b"070701", "a cpio archive, such as an initramfs"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a Microsoft Office document"),
    (4, b"ftyp", "a video (MP4)"),
    (0, b"\xa2\x72\x19\xf6\1\0\0\0", "a VMware change-tracking file (-ctk.vmdk), which holds nothing of the disk"),
)

_BZIP2_FIRST = (b"1AY&SY", b"\x17rE8P\x90")  # a block, or the end of an empty stream
_LUKS2_COPIES = (0x4000, 0x8000, 0x10000, 0x20000)


def magic_matches(head: bytes) -> list[Match]:
    """All formats whose magic number the content begins with.

    :param head: the first bytes of the content
    """
    found = [
        Match(form.name, DISK, form.description, 100, reader=form.name)
        for form in FORMATS.values()
        if any(head.startswith(magic, offset) for offset, magic in form.signatures)
    ]
    found += [match for offset, magic, match in _SIGNATURES if head.startswith(magic, offset)]
    found += [match for match in (_qcow(head), _vmdk(head), _bzip2(head), _skippable_zstd(head)) if match]
    if not found and any(head.startswith(b"SKUL\xba\xbe", offset) for offset in _LUKS2_COPIES):
        found.append(Match("luks", ENCRYPTED, "an encrypted LUKS2 volume whose first header is lost", 60, reader="luks", tool="cryptsetup, with its key"))
    return found


def other_matches(head: bytes) -> list[Match]:
    """Files that are known and no disks.

    :param head: the first bytes of content that is no image and has no partition table or file system
    """
    return [Match("other", OTHER, what, 90) for offset, magic, what in _NO_DISKS if head.startswith(magic, offset)]


def _qcow(head: bytes) -> Match | None:
    if not head.startswith(b"QFI\xfb") or len(head) < 8:
        return None
    version = struct.unpack_from(">I", head, 4)[0]
    if version == 1:
        return Match("qcow", DISK, "a qcow (version 1) image", 100, reader="qcow")
    if version in (2, 3):
        return Match("qcow2", DISK, f"a qcow2 image (version {version})", 100, reader="qcow2")
    return Match("qcow2", DISK, f"a qcow image of the unknown version {version}", 90)


def _vmdk(head: bytes) -> Match | None:
    if not head.startswith(b"KDMV") or len(head) < 8:
        return None
    version = struct.unpack_from("<I", head, 4)[0]
    if version in (1, 2, 3):
        return Match("vmdk", DISK, "a VMDK image (sparse extent)", 100, reader="vmdk")
    return Match("vmdk", DISK, f"a VMDK image of the unknown version {version}", 90)


def _bzip2(head: bytes) -> Match | None:
    if head[:3] == b"BZh" and head[3:4] in b"123456789" and head.startswith(_BZIP2_FIRST, 4):
        return Match("bzip2", COMPRESSION, "bzip2-compressed data", 100)
    return None


def _skippable_zstd(head: bytes) -> Match | None:
    """zstd data that begins with a skippable frame (RFC 8878, 3.1.2), as pzstd writes it."""
    if len(head) < 8 or head[1:4] != b"\x2a\x4d\x18" or head[0] >> 4 != 5:
        return None
    frame = 8 + int(struct.unpack_from("<I", head, 4)[0])
    return Match("zstd", COMPRESSION, "zstd-compressed data", 90) if head.startswith(b"\x28\xb5\x2f\xfd", frame) else None
