# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The files that the data of a disk with a descriptor of its own lies in.

Source: VMware, "Virtual Disk Format 5.0", section "The Extent Description".
"""

from __future__ import annotations

import typing as t

from ...errors import CorruptImage, printable
from ...extents import DATA, ZERO, Extent
from ...limits import SECTOR
from ...storage.base import Storage
from . import cowd
from .descriptor import Descriptor, ExtentLine
from .grains import GrainFile
from .sesparse import SeSparseExtent
from .sparse import SparseExtent

if t.TYPE_CHECKING:  # pragma: no cover
    from ..chain import Files

_FILES = ("FLAT", "VMFS", "SPARSE", "VMFSSPARSE", "SESPARSE", "ZERO")
_FLAT = ("FLAT", "VMFS")
ENCRYPTED = "encrypted by VMware, and only where its key is can it be decrypted: clone it there to a disk that is not"
_DEVICES = ("fulldevice", "partitioneddevice", "vmfsraw", "vmfsrdm", "vmfsrdmp", "vmfsrawdevicemap", "vmfspassthroughrawdevicemap")
_CREATE_TYPES = (
    *("monolithicflat", "twogbmaxextentflat", "2gbmaxextentflat", "monolithicsparse", "twogbmaxextentsparse", "2gbmaxextentsparse", "custom"),
    *("streamoptimized", "vmfs", "vmfspreallocated", "vmfseagerzeroedthick", "vmfsthin", "vmfssparse", "sesparse"),
)
"""those whose data is in files; what kind of file each is its line says"""


class Part(t.NamedTuple):
    """What one line of the extent description stands for. All in bytes; without ``flat`` and ``grains`` it is zeros."""

    start: int
    """guest offset"""
    size: int
    flat: Storage | None = None
    offset: int = 0
    """where the part begins in ``flat``"""
    grains: GrainFile | None = None


def obstacle(descriptor: Descriptor) -> str | None:
    """Why the disk cannot be read even when its files may be; or None."""
    kind = (descriptor.create_type or "").lower()
    types = {line.type for line in descriptor.extents}
    if kind in _DEVICES or types & {"VMFSRDM", "VMFSRAW"}:
        return "that is a physical device or a mapping of one, which is not read: copy the device itself"
    if descriptor.encrypted:
        return ENCRYPTED
    if kind == "vsansparse":
        return "that is a snapshot on vSAN, which is not supported: let ESXi clone the disk (vmkfstools -i)"
    if kind not in _CREATE_TYPES:
        return "disks of this type are not known"
    if any(line.access == "NOACCESS" for line in descriptor.extents):
        return "a part of the disk must not be read (NOACCESS)"
    unknown = sorted(types.difference(_FILES))
    return f"extents of type {unknown[0]} are not known" if unknown else None


def open_parts(descriptor: Descriptor, files: Files, path: str) -> list[Part]:
    """Open the disk's files, in the order of the guest's bytes.

    :param descriptor: one without ``obstacle``
    :param path: the descriptor's, for messages
    :raises CorruptImage: a file is shorter than the descriptor says, or a sparse extent of another size
    :raises ImageError: a file cannot be opened, or is no sparse extent
    """
    parts: list[Part] = []
    flats: dict[str, Storage] = {}
    start = 0
    for line in descriptor.extents:
        size = line.sectors * SECTOR
        if line.name is None:
            parts.append(Part(start, size))
        elif line.type in _FLAT:
            if line.type == "FLAT" and line.offset is None:
                raise CorruptImage(f"the extent '{printable(line.name)}' has no offset, which FLAT must have", path=path)
            flat = flats.get(line.name)
            if flat is None:  # several parts may lie in one flat file
                flat = flats[line.name] = files.open(line.name)
            offset = (line.offset or 0) * SECTOR
            flat.require(offset, size, f"the extent with guest offset {start:#x}")
            parts.append(Part(start, size, flat=flat, offset=offset))
        else:
            parts.append(Part(start, size, grains=_open_grains(line, files)))
        start += size
    return parts


def _open_grains(line: ExtentLine, files: Files) -> GrainFile:
    storage = files.open(line.name or "")
    found: GrainFile
    if line.type == "SESPARSE":
        found = SeSparseExtent(storage)
    elif storage.read_at(0, len(cowd.MAGIC)) == cowd.MAGIC:  # before there was VMFSSPARSE they were called SPARSE, too
        found = cowd.CowdExtent(storage)
    else:
        found = SparseExtent(storage)
    # As in a disk of one file, the size may be rounded up to whole grains.
    size = line.sectors * SECTOR
    if found.size not in (size, -(-size // found.grain) * found.grain):
        raise CorruptImage(f"the descriptor gives the extent {line.sectors} sectors, its own header {found.size // SECTOR}", path=storage.name, offset=12)
    return found


def extents(parts: list[Part], start: int, end: int) -> t.Iterator[Extent]:
    """Runs of the guest range ``start`` to ``end`` (bytes), clipped to it.

    :raises CorruptImage: as SparseExtent.extents
    """
    for part in parts:
        first, last = max(start, part.start), min(end, part.start + part.size)
        if first >= last:
            continue
        if part.grains is not None:
            inside, behind = first - part.start, last - part.start
            for extent in part.grains.extents(inside, behind):
                clipped = extent.clip(inside, behind)
                yield clipped._replace(start=clipped.start + part.start)
        elif part.flat is not None:
            yield Extent(first, last - first, DATA, part.flat, part.offset + first - part.start)
        else:
            yield Extent(first, last - first, ZERO)
