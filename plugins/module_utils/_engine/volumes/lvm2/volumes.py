# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The logical volumes on given physical volumes, as storages. Linear and striped ones are read; others are named, with the reason."""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t

from ...errors import ImageError, LimitExceeded, printable
from ...storage.base import Storage
from ...storage.joined import JoinedStorage
from ...storage.zeros import ZeroStorage
from .group import Group, Logical, Physical, Segment, read_group
from .label import MAX_AREAS, MAX_METADATA_IN_ALL, Label, read_label, read_metadata
from .striped import StripedStorage

_STRIPED, _ZERO = "striped", "zero"
_KINDS = {
    "thin": "a thin volume: its blocks are wherever its pool has put them",
    "thin-pool": "a pool of thin volumes, which is no volume by itself",
    "cache": "a cached volume: what it holds may be in the cache only",
    "cache-pool": "the cache of another volume",
    "writecache": "a volume with a write cache: what it holds may be in the cache only",
    "vdo": "a VDO volume: compressed and deduplicated",
    "vdo-pool": "a pool of VDO volumes, which is no volume by itself",
    "mirror": "a mirror",
    "error": "a volume of which a part was lost",
}


Warn = t.Callable[[str, str], None]


def _silent(name: str, text: str) -> None:
    """Nobody wants to know."""


@dataclasses.dataclass(frozen=True)
class LogicalVolume:
    """A logical volume that a guest sees."""

    group: str
    volume: str
    uuid: str
    """as LVM prints it"""
    size: int
    """bytes"""
    storage: Storage | None
    """None: it cannot be read, for the ``reason``"""
    reason: str | None = None

    @property
    def name(self) -> str:
        """``group/volume``, as LVM's commands take it"""
        return f"{self.group}/{self.volume}"


def device_paths(name: str) -> tuple[str, str]:
    """The paths at which a guest finds a logical volume, by its ``group/volume``. In /dev/mapper dashes are doubled, and one stands between the two."""
    return f"/dev/{name}", f"/dev/mapper/{name.replace('-', '--').replace('/', '-', 1)}"


def logical_volumes(physical: t.Sequence[tuple[str, Storage]], warn: Warn = _silent) -> list[LogicalVolume]:
    """The visible logical volumes of all volume groups, in the order of their metadata.

    :param physical: volumes that may be physical volumes, of one disk or of several, with their names for messages
    :param warn: is told the name of a physical volume and what is wrong with it; what can be read without it is read
    """
    devices: dict[str, tuple[str, Storage]] = {}
    groups: dict[str, Group] = {}
    seen: dict[bytes, int] = {}
    for name, storage in physical:
        label = read_label(storage)
        if label is None:
            continue
        if label.uuid in devices:
            warn(name, f"it is the same physical volume as {devices[label.uuid][0]}, so it is not looked at")
            continue
        devices[label.uuid] = (name, storage)
        for group in _groups(name, storage, label, seen, warn):
            if group.uuid not in groups or group.seqno > groups[group.uuid].seqno:
                groups[group.uuid] = group
    return [volume for group in groups.values() for volume in _volumes(group, devices)]


def _groups(name: str, storage: Storage, label: Label, seen: dict[bytes, int], warn: Warn) -> t.Iterator[Group]:
    """What the metadata areas of a physical volume say, if no other said the same. Each holds the whole group.

    :param seen: the texts read so far, by their hash, with their lengths
    """
    for offset, size in label.areas[:MAX_AREAS]:
        try:
            text = read_metadata(storage, offset, size)
            digest = hashlib.sha256(text or b"").digest()
            if text is None or digest in seen:
                continue
            seen[digest] = len(text)
            if sum(seen.values()) > MAX_METADATA_IN_ALL:
                raise LimitExceeded(f"more than {MAX_METADATA_IN_ALL} bytes of LVM's metadata that differ", path=storage.name, offset=offset)
            yield read_group(text, storage.name)
        except ImageError as error:
            warn(name, error.message)


def _volumes(group: Group, devices: t.Mapping[str, tuple[str, Storage]]) -> t.Iterator[LogicalVolume]:
    stores = {segment.cow_store for logical in group.logical.values() for segment in logical.segments}
    for logical in group.logical.values():
        if not logical.visible:
            continue
        storage: Storage | None = None
        reason = "a snapshot: only what has changed is in it" if logical.name in stores else _reason(group, logical, devices)
        if reason is None:
            name = f"{group.name}/{logical.name}"
            storage = JoinedStorage([_part(group, segment, devices, name) for segment in logical.segments], name)
        yield LogicalVolume(printable(group.name), printable(logical.name), logical.uuid, logical.extents * group.extent_size, storage, reason)


def _reason(group: Group, logical: Logical, devices: t.Mapping[str, tuple[str, Storage]]) -> str | None:
    """Why a volume cannot be read; None when it can."""
    if not logical.segments:
        return "a volume without extents"
    for segment in logical.segments:
        if segment.type not in (_STRIPED, _ZERO):
            kind = _KINDS.get(segment.type, f"a volume of the type {printable(segment.type)}")
            return f"{kind}; only linear and striped volumes are read"
        for name, first in segment.stripes:
            physical = group.physical.get(name)
            if physical is None:
                return (
                    f"it lies on another logical volume, {printable(name)}"
                    if name in group.logical
                    else f"its metadata names no physical volume {printable(name)}"
                )
            count = segment.extents // len(segment.stripes)
            if first + count > physical.extents:
                return "its metadata names extents that the physical volume does not have"
            if physical.uuid not in devices:
                return f"a physical volume of the group is missing: {printable(physical.uuid)}"
            device, storage = devices[physical.uuid]
            if physical.start + (first + count) * group.extent_size > storage.size:
                return f"the physical volume {device} is smaller than it was: the disk was cut"
        if segment.stripe_size and segment.extents // len(segment.stripes) * group.extent_size % segment.stripe_size:
            return "its stripes are no whole chunks"
    return None


def _part(group: Group, segment: Segment, devices: t.Mapping[str, tuple[str, Storage]], name: str) -> Storage:
    """The bytes of a segment; _reason() has found nothing against it."""
    size = segment.extents * group.extent_size
    if segment.type == _ZERO:
        return ZeroStorage(size, name)
    each = size // len(segment.stripes)
    parts = [_window(group.physical[key], first * group.extent_size, each, devices, name) for key, first in segment.stripes]
    return parts[0] if len(parts) == 1 else StripedStorage(parts, segment.stripe_size, name)


def _window(physical: Physical, offset: int, size: int, devices: t.Mapping[str, tuple[str, Storage]], name: str) -> Storage:
    return devices[physical.uuid][1].window(physical.start + offset, size, name)
