# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What blkid says of an ISO 9660 volume. Sources: ECMA-119, section 8.4; util-linux, libblkid/src/superblocks/iso9660.c."""

from __future__ import annotations

from ...errors import ImageError
from ...formats.iso.layout import HEAD, joliet_volume, primary_volume, volume_descriptors
from ...formats.probes.optical import FIRST
from ...storage.base import Storage
from ...structure import Fields
from ..base import Signature

_NO_DATE = (b"0" * 16 + b"\0", bytes(17))


def identify(storage: Storage) -> Signature | None:
    """What blkid says of an ISO 9660 volume; None when it is none."""
    try:
        if storage.read_at(FIRST + 1, 5) != b"CD001":
            return None
        descriptors = list(volume_descriptors(storage.read_at(0, HEAD)))
        _offset, primary = primary_volume(storage, descriptors)
    except ImageError:
        return None
    joliet = joliet_volume(descriptors)
    return signature(storage, primary, joliet[1] if joliet else None)


def signature(storage: Storage, primary: Fields, joliet: Fields | None) -> Signature:
    """The label and identity of a volume.

    :param primary: its primary volume descriptor
    :param joliet: its supplementary one, which can have letters that the primary one cannot
    """
    size = primary.volume_space_size * primary.logical_block_size
    warnings = []
    if size > storage.size:
        warnings.append(f"the ISO 9660 file system has {size} bytes, its volume only {storage.size}: truncated")
    return Signature(
        "iso9660",
        "filesystem",
        _label(primary.volume_identifier, joliet.volume_identifier if joliet else b"") or None,
        _uuid(primary.modification_date) or _uuid(primary.creation_date),
        "Joliet Extension" if joliet else None,
        size,
        tuple(warnings),
    )


def _label(plain: bytes, wide: bytes) -> str:
    """Joliet's name has lower case and all letters, but only 16 of them: the end of the primary one's is put behind it if they are the same name."""
    short = plain.split(b"\0")[0].decode("utf-8", "backslashreplace").rstrip(" ")
    long = wide.decode("utf-16-be", "replace").split("\0")[0]
    if not long.strip(" "):
        return short
    if len(short) > 16 and len(long) >= 16 and all(one.upper() == other.upper() or other == "_" for one, other in zip(long, short)):
        return long[:16] + short[16:]
    return long.rstrip(" ")


def _uuid(date: bytes) -> str | None:
    """A date of the descriptor as blkid makes an identity of it: ``2026-11-24-10-00-00-00``."""
    if date in _NO_DATE or not date[:16].isdigit():
        return None
    digits = date[:16].decode("ascii")
    return "-".join([digits[:4], *(digits[at : at + 2] for at in range(4, 16, 2))])
