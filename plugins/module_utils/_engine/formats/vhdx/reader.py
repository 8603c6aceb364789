# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Reading VHDX: dynamic, fixed and, with their parents, differencing. Source: [MS-VHDX]."""

from __future__ import annotations

import typing as t

from ...errors import CorruptImage, printable
from ...extents import Extent, merge, skip_holes, within
from ...limits import MIB
from ...storage.base import Storage
from ..base import CheckResult, ImageInfo, Reader, Reference
from . import bat, layout
from .check import check_leaks, check_region_tables
from .log import replay
from .metadata import read_metadata

if t.TYPE_CHECKING:  # pragma: no cover
    from ..chain import Files

# The order in which a parent is looked for ([MS-VHDX] 2.6.2.6.3).
_PARENT_PATHS = ("relative_path", "volume_path", "absolute_win32_path")
_PARENT_LINKS = ("parent_linkage", "parent_linkage2")


class VhdxReader(Reader):
    """A VHDX or AVHDX image.

    An image that was not closed is read as it is after its log was replayed; the file itself is not changed.
    """

    format = "vhdx"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self._warnings: list[str] = []
        self._creator = layout.read_creator(storage)
        self.header = layout.read_header(storage, self._warnings)
        self._dirty = self.header.log_guid != layout.NO_GUID
        self._replayed = 0
        """entries of the log"""
        if self._dirty:
            overlay = replay(storage, self.header)
            self.storage, self._replayed = overlay, overlay.entries
        regions = layout.read_regions(self.storage, self._warnings)
        self._areas = [layout.Area(0, MIB, "the header section"), *regions.values()]
        if self.header.log_length:
            self._areas.append(layout.Area(self.header.log_offset, self.header.log_length, "the log"))
        layout.require_apart(self._areas, storage.name)
        self.metadata = read_metadata(self.storage, regions[layout.METADATA_REGION])
        self.virtual_size = self.metadata.virtual_disk_size
        self._bat = regions[layout.BAT_REGION]
        if self.metadata.bat_entries * bat.ENTRY_SIZE > self._bat.length:
            wanted = self.metadata.bat_entries
            raise CorruptImage(f"{self._bat.name} has no room for the {wanted} entries of the disk", path=storage.name, offset=self._bat.offset)

    def describe(self) -> ImageInfo:
        metadata, header = self.metadata, self.header
        specific: dict[str, t.Any] = {
            "creator": printable(self._creator),
            "logical_sector_size": metadata.logical_sector_size,
            "physical_sector_size": metadata.physical_sector_size,
            "virtual_disk_id": layout.guid_text(metadata.virtual_disk_id),
            "file_write_guid": layout.guid_text(header.file_write_guid),
            "data_write_guid": layout.guid_text(header.data_write_guid),
            "sequence_number": header.sequence_number,
            "leave_blocks_allocated": metadata.fixed,
            "has_parent": metadata.parent is not None,
            "log_offset": header.log_offset,
            "log_length": header.log_length,
            "log_guid": layout.guid_text(header.log_guid) if self._dirty else None,
            "log_state": "replayed in memory" if self._dirty else "empty",
            "log_entries": self._replayed,
            "bat_offset": self._bat.offset,
            "bat_entries": metadata.bat_entries,
        }
        if metadata.parent is not None:
            specific["parent_locator"] = {printable(key): printable(value) for key, value in metadata.parent.items()}
        warnings = list(self._warnings)
        if self._dirty:
            warnings.append("the image was not closed; it is read as it is after its log was replayed")
        if metadata.logical_sector_size != 512:
            warnings.append(f"the disk counts in sectors of {metadata.logical_sector_size} bytes; its partition table is not found where sectors have 512")
        return ImageInfo(
            format=self.format,
            virtual_size=self.virtual_size,
            subformat="differencing" if metadata.parent is not None else "fixed" if metadata.fixed else "dynamic",
            cluster_size=metadata.block_size,
            dirty=self._dirty,
            writer=printable(self._creator) or None,
            references=self.references(),
            format_specific=specific,
            warnings=warnings,
        )

    def references(self) -> list[Reference]:
        if self.metadata.parent is None:
            return []
        # Several paths of one file: the first one stands for it, all are in the description.
        return [Reference("parent", next(iter(self._parent_paths()), ""), self.format)]

    def _parent_paths(self) -> list[str]:
        locator = self.metadata.parent or {}
        return [locator[key] for key in _PARENT_PATHS if locator.get(key)]

    def follow(self, files: Files) -> None:
        locator = self.metadata.parent
        if locator is None:
            return
        parent = t.cast(VhdxReader, files.image(self._parent_paths(), self.format, moved=True))
        # One of the two has to be the parent's identity, which every change of its data changes ([MS-VHDX] 2.6.2.6.3).
        wanted = [locator[key].strip("{}").lower() for key in _PARENT_LINKS if locator.get(key)]
        found = parent.header.data_write_guid
        if found == layout.NO_GUID or layout.guid_text(found) not in wanted:
            raise CorruptImage(
                f"the parent of the differencing disk has the identity {printable(' or '.join(wanted)) or 'that is not given'}, "
                f"'{printable(parent.storage.name)}' has {layout.guid_text(found)}",
                path=self.storage.name,
                hint="The parent was written to since, or is another disk of that name",
            )
        self.parent = parent

    def unreadable_reason(self) -> str | None:
        if self.metadata.parent is None or self.parent is not None:
            return None
        parent = printable(self.references()[0].name) or "which it does not name"
        return f"the image is a differencing disk (checkpoint); the rest of its data lies in its parent, {parent}"

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        self.require_readable()
        start, end = self.range(start, length)
        claims = bat.Claims(self.storage, self._areas)
        blocks = merge(bat.walk(self.storage, self._bat, self.metadata, claims, start, end))
        yield from merge(skip_holes(self.over_parent(within(blocks, start, end), end)))

    def check(self) -> CheckResult:
        """The general check; the copy of the region table; and blocks that nothing names, unless a writer was interrupted."""
        result = super().check()
        check_region_tables(self.storage, result)
        if not result.corruptions and not self._dirty:
            check_leaks(self.storage, self._bat, self.metadata, self._areas, result)
        return result
