# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Reads VDI images (VirtualBox), versions 0 and 1.1. See layout.py for the source of the rules."""

from __future__ import annotations

import mmap
import typing as t

from ...errors import CorruptImage, ImageError, InvalidImage, LimitExceeded, UnsupportedImage, printable
from ...extents import DATA, HOLE, Extent, merge, skip_holes
from ...extents import ZERO as ZERO_KIND
from ...limits import SECTOR
from ...storage.base import Storage
from ...structure import Fields
from ..base import CheckResult, ImageInfo, Reader, Reference, check_virtual_size, whole_sectors
from ..entries import run_end, table
from .layout import (
    DIFFERENCING,
    FREE,
    HEADER_0,
    HEADER_1,
    MAX_BLOCKS,
    NO_UUID,
    PREHEADER,
    SIGNATURE,
    SIGNATURE_OFFSET,
    TYPES,
    UNDO,
    VERSION_0,
    VERSION_1_1,
    ZERO,
    uuid_text,
)

if t.TYPE_CHECKING:  # pragma: no cover
    from ..chain import Files

_PIECE = 1 << 16
"""entries of the block map read at once (256 KiB)"""
_GLANCE = 1 << 10
"""blocks: who asks for so few of a disk with a large map does not have the whole map checked"""


class VdiReader(Reader):
    """A VDI image. The content of a differencing image is given when its parent may be read; undo images are only described.

    :raises InvalidImage: no VDI signature
    :raises CorruptImage: the header contradicts itself or the size of the file
    :raises UnsupportedImage: a version, image type or block layout that nothing here reads
    :raises LimitExceeded: the disk or the block map is too large
    """

    format = "vdi"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self._file_info, self._header = _read_header(storage)
        self._check_header()
        # "VBoxManage convertfromraw" made images of odd sizes; their last sector is stored whole.
        self.virtual_size = whole_sectors(check_virtual_size(self._header.cbDisk, storage.name))
        self._blocks = -(-self.virtual_size // self._header.cbBlock)
        """map entries that the disk needs; there may be more"""
        self._allocated: int | None = None
        """allocated blocks of the disk, known when the map has been checked"""

    def _check_header(self) -> None:
        header, name = self._header, self.storage.name
        if header.u32Type not in TYPES:
            raise UnsupportedImage(f"VDI image type {header.u32Type} is not known (1 dynamic, 2 fixed, 3 undo, 4 differencing)", path=name)
        if header.cbBlockExtra:
            raise UnsupportedImage(f"VDI with {header.cbBlockExtra} extra bytes in front of each block (cbBlockExtra) is not supported", path=name)
        if header.cbSector not in (0, SECTOR):
            raise UnsupportedImage(f"VDI with sectors of {header.cbSector} bytes is not supported", path=name)
        if header.cbBlock < SECTOR or header.cbBlock & (header.cbBlock - 1):
            raise CorruptImage(f"VDI block size of {header.cbBlock} bytes is not a power of two of at least {SECTOR}", path=name)
        if header.cBlocks > MAX_BLOCKS:
            raise LimitExceeded(f"VDI block map has {header.cBlocks} entries; {MAX_BLOCKS} is the most that is taken", path=name)
        if header.cBlocks * header.cbBlock < header.cbDisk:
            raise CorruptImage(f"VDI disk of {header.cbDisk} bytes has a map for {header.cBlocks} blocks of {header.cbBlock} bytes only", path=name)
        if header.offData < header.offBlocks + 4 * header.cBlocks:
            raise CorruptImage("VDI blocks begin inside the block map (offData)", path=name, offset=header.offData)
        self.storage.require(header.offBlocks, 4 * header.cBlocks, "VDI block map")

    def describe(self) -> ImageInfo:
        header = self._header
        info = ImageInfo(
            self.format,
            self.virtual_size,
            subformat=TYPES[header.u32Type],
            cluster_size=header.cbBlock,
            writer=printable(self._file_info) or None,
            references=self.references(),
        )
        info.format_specific = {
            "version": f"{header.u32Version >> 16}.{header.u32Version & 0xFFFF}",
            "image_flags": header.fFlags,
            "comment": printable(_text(header.szComment)),
            "off_blocks": header.offBlocks,
            "off_data": header.offData,
            "geometry": {"cylinders": header.cCylinders, "heads": header.cHeads, "sectors": header.cSectors, "sector_size": header.cbSector},
            "blocks": header.cBlocks,
            "blocks_allocated": header.cBlocksAllocated,
            "uuid_create": uuid_text(header.uuidCreate),
            "uuid_modify": uuid_text(header.uuidModify),
            "uuid_linkage": uuid_text(header.uuidLinkage),
            "uuid_parent_modify": uuid_text(header.uuidParentModify),
        }
        if header.cbDisk % SECTOR:
            info.warnings.append(f"the header's size of {header.cbDisk} bytes is no multiple of {SECTOR}; the last sector counts whole")
        return info

    def references(self) -> list[Reference]:
        """A VDI names its parent by identifier, not by file."""
        return [Reference("parent", uuid_text(self._header.uuidLinkage), self.format)] if self._has_parent() else []

    def _has_parent(self) -> bool:
        header = self._header
        return header.u32Type in (UNDO, DIFFERENCING) or header.uuidLinkage != NO_UUID or header.uuidParentModify != NO_UUID

    def follow(self, files: Files) -> None:
        header = self._header
        if header.u32Type != DIFFERENCING or header.uuidLinkage == NO_UUID:
            return

        def is_parent(storage: Storage) -> bool:
            try:
                return bool(_read_header(storage)[1].uuidCreate == header.uuidLinkage)
            except ImageError:
                return False

        parent = t.cast(VdiReader, files.search(is_parent, self.format, f"the VDI with UUID {uuid_text(header.uuidLinkage)}"))
        if parent._header.uuidModify != header.uuidParentModify:
            raise CorruptImage(
                f"'{printable(parent.storage.name)}' was written to since the differencing VDI was made "
                f"(modification {uuid_text(parent._header.uuidModify)} instead of {uuid_text(header.uuidParentModify)})",
                path=self.storage.name,
            )
        self.parent = parent

    def unreadable_reason(self) -> str | None:
        if not self._has_parent() or self.parent is not None:
            return None
        return (
            f"the VDI holds only the differences to its parent, the disk with UUID {uuid_text(self._header.uuidLinkage)}; "
            "merge them first (VBoxManage clonemedium does)"
        )

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        """As the reader's contract has it; two entries with one block are told where the whole disk is asked for."""
        self.require_readable()
        start, end = self.range(start, length)
        if start < end:
            block = self._header.cbBlock
            first, last = start // block, -(-end // block)
            if self._blocks <= _PIECE or last - first > _GLANCE:
                self._check_map()
            runs = self._runs(first, last)
            yield from merge(skip_holes(self.over_parent((self._extent(*run).clip(start, end) for run in runs), end)))

    def check(self) -> CheckResult:
        """The general check; the header's count of blocks; and blocks that no entry of the map names."""
        result = super().check()
        counted, allocated = self._header.cBlocksAllocated, self._allocated
        if allocated is None or result.corruptions:
            return result
        if counted != allocated:
            problem = f"the header counts {counted} allocated blocks, the block map has {allocated}"
            # VirtualBox appends at the header's count: too low, and the next write of a guest overwrites a block.
            (result.corruptions if counted < allocated else result.leaks).append(problem)
        stored = max(0, self.storage.size - self._header.offData) // self._header.cbBlock
        if stored > max(allocated, counted):
            result.leaks.append(f"the file has {stored} blocks, of which the block map names {allocated}")
        return result

    def _extent(self, first: int, count: int, entry: int) -> Extent:
        start = first * self._header.cbBlock
        length = min(count * self._header.cbBlock, self.virtual_size - start)
        if entry == FREE:
            return Extent(start, length, HOLE)
        if entry == ZERO:
            return Extent(start, length, ZERO_KIND)
        return Extent(start, length, DATA, self.storage, self._header.offData + entry * self._header.cbBlock)

    def _check_map(self) -> None:
        """Once, before extents are given: each allocated block belongs to one map entry.

        Two entries with one block cannot both be right, so the disk would be wrong.
        """
        if self._allocated is not None:
            return
        header = self._header
        # One byte for each block of the file, in pages that only take memory where a block is used.
        stored = max(0, self.storage.size - header.offData) // header.cbBlock
        used = mmap.mmap(-1, max(1, min(header.cBlocks, stored)), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        allocated = 0
        for first, count, entry in self._runs(0, self._blocks):
            if entry >= ZERO:
                continue
            twice = used.find(b"\1", entry, entry + count)
            if twice >= 0:
                raise CorruptImage(
                    f"VDI block map entry {first + twice - entry} names block {twice}, which another entry names, too",
                    path=self.storage.name,
                    offset=header.offBlocks + 4 * (first + twice - entry),
                )
            used[entry : entry + count] = b"\x01" * count
            allocated += count
        self._allocated = allocated

    def _runs(self, first: int, end: int) -> t.Iterator[tuple[int, int, int]]:
        """Map entries ``first`` to ``end`` as runs (first entry, count, value of the first).

        In a run all entries are FREE, all are ZERO, or the blocks follow each other in the file, and are inside of it.
        """
        header = self._header
        for piece in range(first, end, _PIECE):
            count = min(_PIECE, end - piece)
            raw = self.storage.read_exact(self._header.offBlocks + 4 * piece, 4 * count, "VDI block map")
            entries = table(raw, "I", "little")
            position = 0
            while position < count:
                value = entries[position]
                after = run_end(entries, position, count, 1 if value < ZERO else 0)
                if value < ZERO:
                    length = after - position
                    if value + length > header.cBlocks:
                        raise CorruptImage(
                            f"VDI block map entry {piece + position} names block {value} of {header.cBlocks}",
                            path=self.storage.name,
                            offset=header.offBlocks + 4 * (piece + position),
                        )
                    # All blocks are whole, also one that reaches beyond the disk's end: where bytes are missing, the file was cut.
                    self.storage.require(header.offData + value * header.cbBlock, length * header.cbBlock, f"VDI block {value}")
                yield piece + position, after - position, value
                position = after


def _read_header(storage: Storage) -> tuple[str, Fields]:
    """The pre-header's text and the header, version 0 completed with what version 1 would say."""
    raw = storage.read_at(0, PREHEADER.size + HEADER_1.size)
    if len(raw) < PREHEADER.size or PREHEADER.unpack(raw).u32Signature != SIGNATURE:
        raise InvalidImage("not a VDI image: no signature", path=storage.name, offset=SIGNATURE_OFFSET)
    pre = PREHEADER.unpack(raw)
    layout = {VERSION_0: HEADER_0, VERSION_1_1: HEADER_1}.get(pre.u32Version)
    if layout is None:
        raise UnsupportedImage(f"VDI version {pre.u32Version >> 16}.{pre.u32Version & 0xFFFF} is not supported", path=storage.name)
    storage.require(PREHEADER.size, layout.size, "VDI header")
    header = layout.unpack(raw, PREHEADER.size)
    header["u32Version"] = pre.u32Version
    end = PREHEADER.size + layout.size
    if layout is HEADER_0:
        header.update(cbBlockExtra=0, offBlocks=end, offData=end + 4 * header.cBlocks, uuidParentModify=NO_UUID)
    else:
        end = PREHEADER.size + header.cbHeader
        if header.cbHeader < HEADER_1.size:
            raise CorruptImage(f"VDI header of {header.cbHeader} bytes is shorter than {HEADER_1.size}", path=storage.name, offset=PREHEADER.size)
        if header.offBlocks < end:
            raise CorruptImage("VDI block map begins inside the header (offBlocks)", path=storage.name, offset=header.offBlocks)
    return _text(pre.szFileInfo).strip("<> \n"), header


def _text(stored: bytes) -> str:
    return stored.partition(b"\0")[0].decode("utf-8", "backslashreplace")
