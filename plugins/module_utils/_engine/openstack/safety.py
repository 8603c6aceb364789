# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Whether the services take a file for a disk image that is safe to open.

Source: oslo.utils, imageutils/format_inspector.py, which Glance, Nova, Cinder and Ironic run on what is uploaded: its
formats' safety checks, and that two formats at once are refused.
"""

from __future__ import annotations

import re
import struct

from ..errors import ImageError
from ..formats.base import Reader
from ..formats.registry import lookup
from ..formats.vmdk import layout as vmdk
from ..limits import MAX_DESCRIPTOR, SECTOR
from ..source import Source
from ..storage.base import Storage

_VMDK_TYPES = ("monolithicsparse", "streamoptimized")
_CREATE_TYPE = re.compile(r'createtype="([^"]{0,63})"')
_EXTENT = re.compile(r"(rw|rdonly|noaccess)( |$)")
_KNOWN_LINE = re.compile(r"(#|ddb|[^ =]*=|(rw|rdonly|noaccess)( |$))")
_PARTITION = struct.Struct("<B3sB3sII")
_PROTECTIVE = 0xEE
_FAT_COPIES, _FAT_MEDIA = (0x10, 2), (0x15, 0xF8)


def unsafe_reason(source: Source) -> str | None:
    """Why OpenStack refuses the file as it is, whatever it is said to be; or None.

    :raises ImageError: a structure that has to be read for it is damaged
    """
    reader = source.reader
    if source.layers:
        return f"it is wrapped in {source.layers[0]['format']}, and only the bare image is taken"
    if source.detection.ambiguous:
        return f"it is more than one format at once: {', '.join(match.format for match in source.detection.ambiguous)}"
    if lookup(reader.format).disk_format is None:
        return f"Glance does not take {reader.format} images"
    info = reader.describe()
    if info.encrypted:
        return "its content is encrypted"
    if info.format_specific.get("extended_l2"):
        return "it has extended L2 entries, a feature that is not taken"
    references = reader.references()
    if references:
        return f"it names another file, {references[0].name!r} ({references[0].role})"
    if reader.format == "vmdk":
        return _vmdk_reason(reader.storage)
    return _boot_sector_reason(reader)


def _vmdk_reason(storage: Storage) -> str | None:
    header = vmdk.SPARSE_EXTENT_HEADER.unpack(storage.read_exact(0, SECTOR, "the VMDK header"))
    size = header.descriptorSize * SECTOR
    if size > MAX_DESCRIPTOR:
        return "its descriptor is too large"
    raw = storage.read_exact(header.descriptorOffset * SECTOR, size, "the VMDK descriptor").partition(b"\0")[0]
    try:
        text = raw.decode("ascii").lower()
    except UnicodeDecodeError:
        return "its descriptor is not plain ASCII"
    found = _CREATE_TYPE.search(text)
    if found is None or found[1] not in _VMDK_TYPES:
        return f"VMDKs of type {found[1] if found else 'unknown'} are not taken, only monolithicSparse and streamOptimized"
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    strange = [line for line in lines if not _KNOWN_LINE.match(line)]
    if strange:
        return f"its descriptor has a line that is not understood, {strange[0][:60]!r}"
    extents = [line for line in lines if _EXTENT.match(line)]
    if not extents:
        return "its descriptor has no extent"
    if any("/" in line for line in extents):
        return "its descriptor names a file in another folder"
    return None


def _boot_sector_reason(reader: Reader) -> str | None:
    """A raw disk with a boot record is judged by its primary partitions; a FAT boot sector is not one."""
    if reader.format not in ("raw", "iso"):
        return None
    try:
        sector = reader.read_at(0, SECTOR)
    except ImageError:
        return None
    if len(sector) < SECTOR or sector[510:] != b"\x55\xaa" or all(sector[at] == value for at, value in (_FAT_COPIES, _FAT_MEDIA)):
        return None
    if reader.format == "iso":
        return "it is an ISO with a partition table, which counts as two formats at once (gpt, iso)"
    entries = [_PARTITION.unpack_from(sector, 446 + 16 * index) for index in range(4)]
    used = [index for index, entry in enumerate(entries) if entry[2]]
    if any(entry[0] not in (0, 0x80) for entry in entries):
        return "a partition in its boot record has an impossible boot flag"
    protective = [entry for entry in entries if entry[2] == _PROTECTIVE]
    if protective and used != [0]:
        return "its boot record has partitions beside the one that protects the GPT"
    if any(entry[1] != b"\0\2\0" or entry[4] != 1 for entry in protective):
        return "the partition that protects its GPT does not begin at sector 1 (0/0/2)"
    if not used:
        return "its boot record has no partition"
    return None
