# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What a volume holds, in the words of blkid(8), and the reader for it. Source of order and precedence: util-linux, libblkid.

A file system that is read tells itself in its own ``superblock.identify``; those that are only named stand in ``named/``.
All are imported where they are used: AnsiballZ ships what the source names.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import InvalidImage, UnsupportedImage
from ..storage.base import Storage
from .base import Filesystem, Signature

if t.TYPE_CHECKING:  # pragma: no cover
    Probe = t.Callable[[Storage], t.Optional[Signature]]

_WHAT = {
    "LVM2_member": "an LVM physical volume, which holds logical volumes and no files",
    "linux_raid_member": "a member of a Linux software RAID",
    "crypto_LUKS": "a volume that LUKS encrypted",
    "BitLocker": "a volume that BitLocker encrypted",
    "swap": "swap space, which holds no files",
    "swsuspend": "swap space with a suspended system",
    "zfs_member": "a member of a ZFS pool",
}
_DISCS = {"udf", "iso9660", "hfsplus"}
"""lie beside each other on discs that several systems shall read"""


def identify(storage: Storage) -> Signature | None:
    """What a volume holds; None when nothing is recognised.

    Members of a RAID or a volume group and encrypted volumes come first, as what seems to be a file system in them is
    only a part of one. Of two file systems the one that blkid asks for first is taken, with a warning: one of them is a
    leftover of the volume's former use. ISO 9660 beside UDF, or HFS+, is meant to be so.

    :raises ImageError: the image is damaged there
    """
    for probe in _containers():
        found = probe(storage)
        if found is not None:
            return found
    signatures = [found for found in (probe(storage) for probe in _filesystems()) if found is not None]
    if not signatures:
        return None
    first, *others = signatures
    left = [found.type for found in others if {first.type, found.type} - _DISCS]
    if left:
        return dataclasses.replace(first, warnings=(*first.warnings, f"there are traces of {' and '.join(left)} on the volume, too"))
    return first


def open_filesystem(storage: Storage) -> Filesystem:
    """The file system on a volume, ready to be read. Of a disc that has UDF and ISO 9660, it is the latter.

    :raises InvalidImage: nothing is recognised on the volume
    :raises UnsupportedImage: it holds something that is recognised but not read; the message names it
    :raises CorruptImage: the file system is damaged
    """
    found = identify(storage)
    if found is None:
        raise InvalidImage("no file system is recognised", path=storage.name)
    if found.type in ("ext2", "ext3", "ext4"):
        from .ext.reader import Ext

        return Ext(storage)
    if found.type == "xfs":
        from .xfs.reader import Xfs

        return Xfs(storage)
    if found.type == "btrfs":
        from .btrfs.reader import Btrfs

        return Btrfs(storage)
    if found.type == "vfat":
        from .fat.reader import Fat

        return Fat(storage)
    if found.type in ("iso9660", "udf"):
        from .iso9660 import superblock
        from .iso9660.reader import Iso9660

        if superblock.identify(storage) is not None:
            disc = Iso9660(storage)
            if found.type == "udf":
                disc.warnings.append("read as ISO 9660, which may show fewer files than the UDF beside it")
            return disc
    raise UnsupportedImage(f"this is {_WHAT.get(found.type, f'a file system of the type {found.type}, which is not read')}", path=storage.name)


def _containers() -> t.Iterator[Probe]:
    """What holds volumes or is encrypted, in blkid's order."""
    from .named import luks, lvm2, raid, simple, windows

    yield raid.identify
    yield lvm2.identify
    yield from simple.probes("verity", "integrity")
    yield luks.identify
    yield from simple.probes("vmfs_volume", "stratis")
    yield windows.bitlocker


def _filesystems() -> t.Iterator[Probe]:
    """What holds files, or swap, in blkid's order."""
    from .btrfs import superblock as btrfs
    from .ext import superblock as ext
    from .fat import superblock as fat
    from .iso9660 import superblock as iso9660
    from .named import simple, swap, udf, windows, zfs
    from .xfs import superblock as xfs

    yield from simple.probes("bcache", "bcachefs", "vdo")
    yield fat.identify
    yield swap.identify
    yield xfs.identify
    yield ext.identify
    yield from simple.probes("reiserfs", "jfs")
    yield udf.identify
    yield iso9660.identify
    yield zfs.identify
    yield from simple.probes("hfsplus", "ufs")
    yield windows.ntfs
    yield from simple.probes("refs", "squashfs")
    yield btrfs.identify
    yield from simple.probes("vmfs")
    yield windows.exfat
    yield from simple.probes("f2fs", "apfs", "erofs")
