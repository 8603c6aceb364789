# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Reading VMDK: disks in a single sparse file; those that need other files when these may be read.

Source: VMware, "Virtual Disk Format 5.0"; the writers are told apart by what the images of each have in common.
"""

from __future__ import annotations

import re
import typing as t

from ...errors import CorruptImage, InvalidImage, LimitExceeded, UnsupportedImage, printable
from ...extents import Extent, merge, skip_holes
from ...limits import MAX_DESCRIPTOR, SECTOR
from ...storage.base import Storage
from ..base import CheckResult, ImageInfo, Reader, Reference, check_virtual_size
from ..probes.text import STALE
from . import cowd, layout, sesparse
from . import descriptor as text
from . import parts as files_of_disk
from .esx import EsxReader
from .grains import GrainFile
from .siblings import advice
from .space import check_space
from .sparse import SparseExtent

if t.TYPE_CHECKING:  # pragma: no cover
    from ..chain import Files

_SIGN = re.compile(rb"disk\s*descriptor\s*file|createtype", re.IGNORECASE)
_TEXT = bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100)) + b"\t\r\n"


def open_vmdk(storage: Storage) -> Reader:
    """The reader for what the first bytes say.

    :raises ImageError: the storage is no VMDK, or not a sound one
    """
    head = storage.read_at(0, SECTOR)
    if head.startswith(layout.MAGIC):
        return SparseReader(storage)
    if head.startswith((cowd.MAGIC, sesparse.MAGIC)):
        return EsxReader(storage)
    start = head.partition(b"\0")[0]
    if start and not start.translate(None, _TEXT):
        return DescriptorReader(storage)
    raise InvalidImage("not a VMDK: neither a sparse extent nor a text descriptor", path=storage.name, offset=0)


class SparseReader(Reader):
    """A sparse extent with its embedded descriptor: monolithicSparse, streamOptimized."""

    format = "vmdk"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self.extent = SparseExtent(storage)
        header = self.extent.header
        self.descriptor: text.Descriptor | None = None
        if header.descriptor_offset:
            start = header.descriptor_offset * SECTOR
            raw = storage.read_exact(start, header.descriptor_size * SECTOR, "the embedded descriptor")
            if raw.strip(b"\0"):  # qemu leaves the room for it empty in the parts of a split disk
                self.descriptor = text.parse(raw, storage.name, start)
        self._check_size()
        # A header without capacity only carries the descriptor of a disk in other files.
        self.virtual_size = self.extent.size or check_virtual_size(_sectors(self.descriptor) * SECTOR, storage.name)

    def _check_size(self) -> None:
        header, sectors = self.extent.header, _sectors(self.descriptor)
        # VirtualBox rounds the header's size up to whole grains, but not the descriptor's; else both are the same.
        if self._is_alone() and header.capacity not in (sectors, -(-sectors // header.grain_size) * header.grain_size):
            raise CorruptImage(f"the header gives the disk {header.capacity} sectors, the descriptor {sectors}", path=self.storage.name, offset=12)

    def describe(self) -> ImageInfo:
        header, embedded = self.extent.header, self.descriptor
        info = ImageInfo(
            format=self.format,
            virtual_size=self.virtual_size,
            subformat=self._subformat(),
            cluster_size=header.grain,
            compressed=header.compressed,
            encrypted=embedded is not None and embedded.encrypted,
            dirty=header.unclean_shutdown,
            writer=_writer(header, embedded),
            references=self.references(),
            format_specific={"version": header.version, **_specific(embedded)},
        )
        for line in info.format_specific.get("extents", []) if self._is_alone() else []:
            line.update(cluster_size=header.grain, compressed=header.compressed)
        if embedded is None:
            return info
        if self._is_alone() and _sectors(embedded) != header.capacity:
            info.warnings.append(f"the descriptor gives the disk {_sectors(embedded)} sectors, the header {header.capacity}, which counts")
        if any("/" in (line.name or "") for line in embedded.extents):
            info.warnings.append("the descriptor gives the file a name with a slash; OpenStack refuses such an image")
        if self.unreadable_reason() is None and (embedded.create_type or "").lower() != (info.subformat or "").lower():
            info.warnings.append(f"the descriptor says createType {printable(embedded.create_type or 'nothing')}, the header {info.subformat}")
        return info

    def _subformat(self) -> str | None:
        if self.extent.header.compressed:
            return "streamOptimized"
        if self.descriptor is not None and not self._is_alone():
            return self.descriptor.create_type
        return "monolithicSparse" if self.descriptor is not None else None

    def _is_alone(self) -> bool:
        """Whether the descriptor describes a disk in one sparse file, this one."""
        lines = self.descriptor.extents if self.descriptor else []
        return self.extent.size > 0 and len(lines) == 1 and lines[0].type == "SPARSE"

    def references(self) -> list[Reference]:
        if self.descriptor is None:
            return []
        found = [] if self._is_alone() else _extent_references(self.descriptor)
        return found + _parent_references(self.descriptor)

    def follow(self, files: Files) -> None:
        if self.descriptor is not None and self._is_alone():
            self.parent = _open_parent(self.descriptor, files, self.storage.name)

    def unreadable_reason(self) -> str | None:
        if self.descriptor is None:
            return f"a sparse extent without a descriptor: one of the files of a split disk ({advice(self.storage)}), or damaged"
        if not self._is_alone():
            return _elsewhere(self.descriptor)
        if self.descriptor.encrypted:
            return files_of_disk.ENCRYPTED
        return _delta(self.descriptor) if self.descriptor.has_parent and self.parent is None else None

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        self.require_readable()
        start, end = self.range(start, length)
        yield from self.over_parent((extent.clip(start, end) for extent in merge(self.extent.extents(start, end))), end)

    def check(self) -> CheckResult:
        result = super().check()
        check_space([self.extent], result)
        return result


class DescriptorReader(Reader):
    """A descriptor in a file of its own: the data is in other files, or on a device."""

    format = "vmdk"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        if storage.size > MAX_DESCRIPTOR:
            raise LimitExceeded(f"a VMDK descriptor of {storage.size} bytes is too large ({MAX_DESCRIPTOR} is the most that is taken)", path=storage.name)
        raw = storage.read_exact(0, storage.size, "the VMDK descriptor")
        end = raw.find(b"\0")
        if end >= 0 and raw[end + 1 + STALE :].strip(b"\0"):
            raise InvalidImage("other data follows the text: not a VMDK descriptor", path=storage.name, offset=end)
        if not _SIGN.search(raw):
            raise InvalidImage("a text, but not a VMDK descriptor", path=storage.name, offset=0)
        self.descriptor = text.parse(raw, storage.name)
        if self.descriptor.create_type is None or not self.descriptor.extents:
            raise CorruptImage("the VMDK descriptor names no createType or no extent", path=storage.name)
        self.virtual_size = check_virtual_size(self.descriptor.sectors * SECTOR, storage.name)
        self._parts: list[files_of_disk.Part] | None = None

    def describe(self) -> ImageInfo:
        specific = _specific(self.descriptor)
        files = self._grain_files()
        for line, part in zip(specific["extents"], self._parts or []):
            if part.grains is not None:
                line.update(cluster_size=part.grains.grain, compressed=part.grains.compressed)
        grains = {file.grain for file in files}
        return ImageInfo(
            format=self.format,
            virtual_size=self.virtual_size,
            subformat=self.descriptor.create_type,
            cluster_size=grains.pop() if len(grains) == 1 else None,
            compressed=any(file.compressed for file in files),
            encrypted=self.descriptor.encrypted,
            dirty=any(file.dirty for file in files),
            writer=_writer(None, self.descriptor),
            references=self.references(),
            format_specific=specific,
        )

    def _grain_files(self) -> list[GrainFile]:
        return [part.grains for part in self._parts or [] if part.grains is not None]

    def references(self) -> list[Reference]:
        return _extent_references(self.descriptor) + _parent_references(self.descriptor)

    def follow(self, files: Files) -> None:
        if files_of_disk.obstacle(self.descriptor) is None:
            self._parts = files_of_disk.open_parts(self.descriptor, files, self.storage.name)
            self.parent = _open_parent(self.descriptor, files, self.storage.name)

    def unreadable_reason(self) -> str | None:
        return _elsewhere(self.descriptor) if self._parts is None else None

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        self.require_readable()
        start, end = self.range(start, length)
        own = files_of_disk.extents(self._parts or [], start, end)
        return merge(skip_holes(self.over_parent(own, end)))

    def check(self) -> CheckResult:
        result = super().check()
        check_space(self._grain_files(), result)
        return result


def _open_parent(descriptor: text.Descriptor, files: Files, path: str) -> Reader | None:
    """The disk that a delta is a delta of; None for a disk that is complete.

    :raises CorruptImage: the parent is not in the state in which the delta was begun
    """
    if not descriptor.has_parent:
        return None
    if descriptor.parent_name is None and not files.knows_parent:
        raise UnsupportedImage(f"a delta of the disk with the CID {descriptor.parent_cid:08x}, for which it has no file name", path=path)
    if descriptor.parent_cid == text.NO_PARENT:
        raise CorruptImage("the descriptor names a parent, but says that there is none (parentCID)", path=path)
    parent = files.image([name for name in (descriptor.parent_name,) if name is not None], "vmdk", moved=True)
    found = parent.descriptor if isinstance(parent, (SparseReader, DescriptorReader)) else None
    if found is None or found.cid != descriptor.parent_cid:
        raise CorruptImage(
            f"the delta belongs to a disk with the content ID {descriptor.parent_cid:08x}, '{printable(parent.storage.name)}' has "
            + (f"{found.cid:08x}" if found else "none"),
            path=path,
            hint="The parent was written to since, or is another disk of that name",
        )
    return parent


def _sectors(descriptor: text.Descriptor | None) -> int:
    return descriptor.sectors if descriptor else 0


def _extent_references(descriptor: text.Descriptor) -> list[Reference]:
    return [Reference("extent", line.name, line.format) for line in descriptor.extents if line.name is not None]


def _parent_references(descriptor: text.Descriptor) -> list[Reference]:
    return [Reference("parent", descriptor.parent_name or "", "vmdk")] if descriptor.has_parent else []


def _elsewhere(descriptor: text.Descriptor) -> str:
    names = [printable(line.name) for line in descriptor.extents if line.name is not None]
    listed = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
    kind = printable(descriptor.create_type or "unknown")
    reason = f"a VMDK of type {kind}: its data is not in this file but in {listed or 'none'}"
    never = files_of_disk.obstacle(descriptor)
    return f"{reason}; {never}" if never else reason


def _delta(descriptor: text.Descriptor) -> str:
    parent = printable(descriptor.parent_name) if descriptor.parent_name else f"the disk with the CID {descriptor.parent_cid:08x}"
    return f"a snapshot (delta) of another disk; the rest of its data is in the parent, {parent}"


def _specific(descriptor: text.Descriptor | None) -> dict[str, t.Any]:
    """What qemu-img shows as format-specific information, and the keys of the disk data base that matter to an upload."""
    if descriptor is None:
        return {}
    lines = [
        {"access": line.access, "virtual_size": line.sectors * SECTOR, "format": line.type, "filename": line.name, "offset": (line.offset or 0) * SECTOR}
        for line in descriptor.extents
    ]
    found: dict[str, t.Any] = {"create_type": descriptor.create_type, "cid": descriptor.cid, "parent_cid": descriptor.parent_cid, "extents": lines}
    for name, key in (
        ("adapter_type", "ddb.adaptertype"),
        ("hw_version", "ddb.virtualhwversion"),
        ("tools_version", "ddb.toolsversion"),
        ("uuid", "ddb.uuid"),
        ("uuid", "ddb.uuid.image"),
        ("long_content_id", "ddb.longcontentid"),
        ("change_track_path", "changetrackpath"),
        ("encoding", "encoding"),
        ("thin_provisioned", "ddb.thinprovisioned"),
        ("logical_sector_size", "ddb.logicalsectorsize"),
    ):
        if key in descriptor.values:
            found[name] = descriptor.values[key]
    return found


def _writer(header: layout.Header | None, descriptor: text.Descriptor | None) -> str | None:
    """The program that wrote the descriptor, by what only that program writes."""
    if descriptor is None:
        return None
    values = descriptor.values
    if "ddb.uuid.image" in values:
        return "VirtualBox"
    if "created by VMDK stream converter" in descriptor.text:
        return "VMDKstream"
    if header is not None and header.footer and "ddb.longcontentid" in values and '"generated-stream.vmdk"' in descriptor.text:
        return "VMware (ovftool or vSphere export)"
    if values.get("ddb.toolsversion") == "6532" and "ddb.longcontentid" not in values:
        return "vmdktool"
    if (descriptor.create_type or "").lower() in ("vmfs", "vmfssparse", "sesparse"):
        return "VMware ESX"
    if values.get("ddb.uuid", "").startswith("60 00 C2") or "isnativesnapshot" in values or "ddb.encoding" in values:
        return "VMware"
    if header is not None and header.compressed and "encoding" in values and not header.footer and not header.rgd_offset:
        return "open-vmdk"
    if '#DDB\n\nddb.virtualHWVersion = "' in descriptor.text and header is not None and header.rgd_offset:
        return "qemu"
    return None
