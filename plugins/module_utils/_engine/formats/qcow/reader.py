# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Reads qcow images of version 1. See layout.py for the source of the rules."""

from __future__ import annotations

import array
import itertools
import typing as t

from ...codecs import DEFLATE
from ...errors import CorruptImage, InvalidImage, UnsupportedImage, printable
from ...extents import COMPRESSED, DATA, HOLE, Extent, Stored
from ...limits import SECTOR
from ...storage.base import Storage
from ..base import ImageInfo, Reference, check_virtual_size
from ..two_level import TwoLevelReader, run_end
from . import layout

if t.TYPE_CHECKING:  # pragma: no cover
    from ..chain import Files

_TABLES_FOR_DESCRIPTION, _ENTRIES = 8, 1 << 16


class QcowReader(TwoLevelReader):
    """A qcow image, version 1. The content of an overlay is given when its backing file may be read; encrypted images are only described.

    :raises InvalidImage: no qcow signature
    :raises UnsupportedImage: another version, an encryption that nothing here knows, or a disk that ends inside a sector
    :raises CorruptImage: the header contradicts itself or the size of the file
    :raises LimitExceeded: the disk or its L1 table is too large
    """

    format = "qcow"
    order = "big"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self._header = header = layout.HEADER.unpack(storage.read_at(0, layout.HEADER.size).ljust(layout.HEADER.size, b"\0"))
        name = storage.name
        if header.magic != layout.MAGIC:
            raise InvalidImage("not a qcow image: no signature", path=name, offset=0)
        if header.version != layout.VERSION:
            raise UnsupportedImage(f"qcow version {header.version} is not read here", path=name, offset=4)
        storage.require(0, layout.HEADER.size, "the header")
        if not layout.MIN_CLUSTER_BITS <= header.cluster_bits <= layout.MAX_CLUSTER_BITS:
            raise CorruptImage(f"clusters of 2^{header.cluster_bits} bytes; 512 bytes to 64 KiB are possible", path=name, offset=32)
        if not layout.MIN_L2_BITS <= header.l2_bits <= layout.MAX_L2_BITS:
            raise CorruptImage(f"L2 tables of 2^{header.l2_bits} entries; 64 to 8192 are possible", path=name, offset=33)
        if header.crypt_method not in (layout.CRYPT_NONE, layout.CRYPT_AES):
            raise UnsupportedImage(f"encryption method {header.crypt_method} is not known", path=name, offset=36)
        if not header.size:
            raise CorruptImage("a disk of 0 bytes", path=name, offset=24)
        if header.size % SECTOR:
            raise UnsupportedImage(f"the disk has {header.size} bytes, no multiple of {SECTOR}: programs disagree about its last sector", path=name, offset=24)
        self.virtual_size = check_virtual_size(header.size, name)
        self._backing = self._read_backing_name()
        self.set_tables(header.l1_table_offset, 1 << header.l2_bits, 1 << header.cluster_bits, layout.HEADER.size)

    def _read_backing_name(self) -> str | None:
        header = self._header
        if not header.backing_file_offset or not header.backing_file_size:
            return None
        if header.backing_file_size > layout.MAX_BACKING_NAME:
            raise CorruptImage(
                f"the backing file name has {header.backing_file_size} bytes; {layout.MAX_BACKING_NAME} are possible", path=self.storage.name, offset=16
            )
        return self.storage.read_exact(header.backing_file_offset, header.backing_file_size, "the backing file name").decode("utf-8", "surrogateescape")

    def describe(self) -> ImageInfo:
        encrypted = self._header.crypt_method != layout.CRYPT_NONE
        return ImageInfo(
            self.format,
            self.virtual_size,
            cluster_size=self.cluster_size,
            compressed=False if self.unreadable_reason() else self._is_compressed(),
            encrypted=encrypted,
            references=self.references(),
            format_specific={"encrypt_format": "aes"} if encrypted else {},
        )

    def _is_compressed(self) -> bool | None:
        """By the first tables alone: an image is compressed as a whole or not at all."""
        l1 = self.table(self.l1_offset, min(self.l1_entries, _ENTRIES), "the L1 table")
        stored = None
        for offset in itertools.islice(filter(None, l1), _TABLES_FOR_DESCRIPTION):
            entries = [entry for entry in self.table(offset, self.l2_entries, "an L2 table") if entry]
            if any(entry & layout.COMPRESSED_FLAG for entry in entries):
                return True
            stored = False if entries else stored
        return stored

    def references(self) -> list[Reference]:
        return [] if self._backing is None else [Reference("backing", self._backing)]

    def follow(self, files: Files) -> None:
        if self._backing is not None and self._header.crypt_method == layout.CRYPT_NONE:
            self.parent = files.image([self._backing], None)

    def unreadable_reason(self) -> str | None:
        if self._header.crypt_method != layout.CRYPT_NONE:
            return "the content is encrypted (AES); decrypt it with qemu-img first"
        if self._backing is not None and self.parent is None:
            name = printable(self._backing)
            return f"the image is an overlay; the rest of its data lies in the backing file, '{name}'; merge them first (qemu-img convert does)"
        return None

    def runs(self, guest: int, entries: array.array[int], where: int) -> t.Iterator[Extent]:
        storage, bits, cluster = self.storage, self._header.cluster_bits, self.cluster_size
        shift = 63 - bits
        index = 0
        while index < len(entries):
            entry, start = entries[index], guest + (index << bits)
            after = index + 1
            if entry & layout.COMPRESSED_FLAG:
                stored, offset = entry >> shift & cluster - 1, entry & (1 << shift) - 1
                storage.require(offset, stored, "a compressed cluster")
                if not stored or offset < self.first:
                    raise CorruptImage(f"a compressed cluster of {stored} bytes at {offset:#x} cannot be", path=storage.name, offset=where + 8 * index)
                yield Extent(start, cluster, COMPRESSED, storage, offset, Stored(DEFLATE, stored, cluster, 0))
            elif not entry:
                after = run_end(entries, index, 0)
                yield Extent(start, (after - index) << bits, HOLE)
            else:
                if entry % SECTOR:
                    raise CorruptImage(f"the offset {entry:#x} of a cluster is not aligned to a sector", path=storage.name, offset=where + 8 * index)
                after = run_end(entries, index, cluster)
                length = (after - index) << bits
                storage.require(entry, min(length, self.virtual_size - start), f"the data of guest offset {start:#x}")
                yield Extent(start, length, DATA, storage, entry)
            index = after
