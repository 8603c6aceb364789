# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""File systems and members of larger volumes that a magic number tells and whose label stands beside it.

Sources: the kernel's headers (fs/f2fs, fs/erofs, fs/jfs, fs/reiserfs, fs/bcachefs, fs/squashfs, drivers/md/dm-verity and
dm-integrity), "Apple File System Reference" (nx_superblock_t), Apple's TN1150 (HFS+), FreeBSD's sys/ufs/ffs/fs.h,
"Resilient File System (ReFS)" of libyal, vmfs-tools' vmfs_fs.h and vmfs_lvm.h; types and words are those of blkid(8).
"""

from __future__ import annotations

import dataclasses
import functools
import struct
import typing as t

from ...limits import KIB, MIB
from ...storage.base import Storage
from ..base import Signature
from .values import CRYPTO, FILESYSTEM, OTHER, RAID, identifier, text

_SUPERBLOCK = 2 * KIB
"""Bytes read: as far as any field of the table reaches."""
_BCACHE = bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")
_BCACHEFS = bytes.fromhex("c68573f666ce90a9d96a60cf803df7ef")


def _identifier(stored: bytes) -> str | None:
    return identifier(stored[:16])


@dataclasses.dataclass(frozen=True)
class Known:
    """How a type is told. ``start`` is the superblock's offset in the volume in bytes; all others count from there."""

    type: str
    usage: str
    start: int
    magic: bytes
    at: int = 0
    label: tuple[int, int, str] | None = None
    """offset, bytes, encoding"""
    uuid: int | None = None
    as_uuid: t.Callable[[bytes], str | None] = _identifier
    """what begins there, as blkid prints it"""
    version: tuple[int, str, str] | None = None
    """offset, format of the struct module, format of the text"""
    fixed_version: str | None = None
    size: t.Callable[[bytes], int] | None = None
    """bytes that the file system has, from the superblock"""
    plausible: t.Callable[[bytes], bool] | None = None
    """what else must be so, where the magic number is short"""


def _number(data: bytes, offset: int, form: str) -> int:
    return int(struct.unpack_from(form, data, offset)[0])


def _vmfs_uuid(stored: bytes) -> str:
    first, second, third = struct.unpack_from("<IIH", stored)
    return f"{first:08x}-{second:08x}-{third:04x}-{stored[10:16].hex()}"


def _vmfs_name(stored: bytes) -> str | None:
    return text(stored[:35])


def _ufs_id(stored: bytes) -> str | None:
    first, second = struct.unpack_from("<II", stored)
    return f"{first:08x}{second:08x}" if first or second else None


def _is_jfs(data: bytes) -> bool:
    size, log2 = struct.unpack_from("<IH", data, 16)
    return bool(log2 < 32 and size == 1 << log2)


def _is_hfs_plus(data: bytes) -> bool:
    version, block = _number(data, 2, ">H"), _number(data, 40, ">I")
    return version in (4, 5) and block >= 512 and block & (block - 1) == 0


def _is_reiserfs(data: bytes) -> bool:
    return _number(data, 44, "<H") >= 512


def _f2fs_size(data: bytes) -> int:
    return _number(data, 0x24, "<Q") << min(_number(data, 0x10, "<I"), 16)


def _erofs_size(data: bytes) -> int:
    return _number(data, 36, "<I") << min(data[12], 16)


def _ufs2_size(data: bytes) -> int:
    return _number(data, 1080, "<Q") * _number(data, 52, "<I")


KNOWN = {
    "bcache": (
        Known("bcache", OTHER, 4 * KIB, _BCACHE, 24, (72, 32, "utf-8"), 40, version=(16, "<Q", "{}"), plausible=lambda data: _number(data, 8, "<Q") == 8),
    ),
    "bcachefs": tuple(
        Known("bcachefs", FILESYSTEM, start, _BCACHEFS, 24, (72, 32, "utf-8"), 56, plausible=lambda data: _number(data, 104, "<Q") in (8, 4096))
        for start in (4 * KIB, 2 * MIB)
    ),
    "verity": (Known("DM_verity_hash", CRYPTO, 0, b"verity\0\0", uuid=16, version=(8, "<I", "{}")),),
    "integrity": (Known("DM_integrity", CRYPTO, 0, b"integrt\0", version=(8, "<B", "{}"), plausible=lambda data: data[8] > 0),),
    "vmfs_volume": (Known("VMFS_volume_member", RAID, MIB, b"\x0d\xd0\x01\xc0", uuid=532, as_uuid=_vmfs_name, version=(4, "<I", "{}")),),
    "vdo": (Known("vdo", OTHER, 0, b"dmvdo001", uuid=40),),
    "stratis": (Known("stratis", RAID, 512, b"!Stra0tis\x86\xff\x02^\x41rh", 4),),
    "reiserfs": tuple(
        Known("reiserfs", FILESYSTEM, 64 * KIB, magic, 52, label, uuid, fixed_version=version, plausible=_is_reiserfs)
        for magic, label, uuid, version in (
            (b"ReIsEr2Fs", (100, 16, "utf-8"), 84, "3.6"),
            (b"ReIsEr3Fs", (100, 16, "utf-8"), 84, "JR"),
            (b"ReIsErFs", None, None, "3.5"),
        )
    ),
    "jfs": (Known("jfs", FILESYSTEM, 32 * KIB, b"JFS1", label=(152, 16, "utf-8"), uuid=136, plausible=_is_jfs),),
    "hfsplus": tuple(Known("hfsplus", FILESYSTEM, KIB, magic, plausible=_is_hfs_plus) for magic in (b"H+", b"HX")),
    "ufs": (
        Known("ufs", FILESYSTEM, 64 * KIB, b"\x19\x01\x54\x19", 1372, (680, 32, "utf-8"), 144, _ufs_id, fixed_version="2", size=_ufs2_size),
        Known("ufs", FILESYSTEM, 8 * KIB, b"\x54\x19\x01\0", 1372, uuid=144, as_uuid=_ufs_id, fixed_version="1"),
    ),
    "refs": (Known("ReFS", FILESYSTEM, 0, b"\0\0\0ReFS\0"),),
    "squashfs": (
        Known(
            "squashfs", FILESYSTEM, 0, b"hsqs", version=(28, "<HH", "{}.{}"), size=lambda data: _number(data, 40, "<Q"), plausible=lambda data: data[28] >= 4
        ),
    ),
    "vmfs": (Known("VMFS", FILESYSTEM, 2 * MIB, b"\x5e\xf1\xab\x2f", label=(29, 128, "utf-8"), uuid=9, as_uuid=_vmfs_uuid, version=(8, "<B", "{}")),),
    "f2fs": (Known("f2fs", FILESYSTEM, KIB, b"\x10\x20\xf5\xf2", label=(124, 1024, "utf-16-le"), uuid=108, version=(4, "<HH", "{}.{}"), size=_f2fs_size),),
    "apfs": (Known("apfs", FILESYSTEM, 0, b"NXSB", 32, uuid=72),),
    "erofs": (
        Known("erofs", FILESYSTEM, KIB, b"\xe2\xe1\xf5\xe0", label=(64, 16, "utf-8"), uuid=48, size=_erofs_size, plausible=lambda data: 9 <= data[12] <= 16),
    ),
}


def probes(*names: str) -> list[t.Callable[[Storage], Signature | None]]:
    """Functions that tell what a volume holds, if it is that.

    :param names: keys of KNOWN
    """
    return [functools.partial(_identify, name) for name in names]


def _identify(name: str, storage: Storage) -> Signature | None:
    for known in KNOWN[name]:
        data = storage.read_at(known.start, _SUPERBLOCK)
        if not data.startswith(known.magic, known.at):
            continue
        data = data.ljust(_SUPERBLOCK, b"\0")
        if known.plausible and not known.plausible(data):
            continue
        version = known.fixed_version
        if known.version:
            offset, form, words = known.version
            version = words.format(*struct.unpack_from(form, data, offset))
        return Signature(
            type=known.type,
            usage=known.usage,
            label=text(data[known.label[0] : known.label[0] + known.label[1]], known.label[2]) if known.label else None,
            uuid=known.as_uuid(data[known.uuid :]) if known.uuid is not None else None,
            version=version,
            size=known.size(data) if known.size else None,
        )
    return None
