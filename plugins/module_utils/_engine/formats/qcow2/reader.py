# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Reading qcow2. Source: qemu, docs/interop/qcow2.rst, sections "Cluster mapping" and "Snapshots"."""

from __future__ import annotations

import itertools
import typing as t

from ...errors import UnsupportedImage, printable
from ...extents import Extent, merge, skip_holes, within
from ...storage.base import Storage
from ..base import CheckResult, ImageInfo, Reader, Reference
from . import layout
from .mapping import Mapping
from .properties import format_specific
from .snapshots import choose, read_snapshots, require_disk

if t.TYPE_CHECKING:  # pragma: no cover
    from ..chain import Files

_TABLES_FOR_DESCRIPTION = 8


class Qcow2Reader(Reader):
    """A qcow2 image, version 2 or 3: its active state, or that of an internal snapshot."""

    format = "qcow2"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self.header = header = layout.read_header(storage)
        self.virtual_size = header.size
        self.snapshots = read_snapshots(storage, header)
        self._mapping = Mapping(storage, header, header.size, header.l1_table_offset, header.l1_size)

    def describe(self) -> ImageInfo:
        header = self.header
        warnings: list[str] = []
        return ImageInfo(
            format=self.format,
            virtual_size=self.virtual_size,
            cluster_size=header.cluster_size,
            compressed=self._is_compressed(),
            encrypted=bool(header.crypt_method),
            dirty=bool(header.incompatible_features & layout.DIRTY),
            snapshots=[snapshot.describe() for snapshot in self.snapshots.entries],
            references=self.references(),
            format_specific=format_specific(self.storage, header, warnings),
            warnings=warnings,
        )

    def references(self) -> list[Reference]:
        found = []
        if self.header.backing_file is not None:
            found.append(Reference("backing", self.header.backing_file, self.header.backing_format))
        if self.header.data_file is not None or self.header.data_elsewhere:
            found.append(Reference("data_file", self.header.data_file or "", "raw"))
        return found

    def use_snapshot(self, name: str) -> None:
        if self.header.data_elsewhere:
            raise UnsupportedImage("the data lies in another file, which has no snapshots", path=self.storage.name)
        snapshot = choose(self.snapshots.entries, name, self.storage.name)
        self.virtual_size = require_disk(snapshot, self.header, self.storage.name)
        self._mapping = Mapping(self.storage, self.header, self.virtual_size, snapshot.l1_table_offset, snapshot.l1_size)

    def follow(self, files: Files) -> None:
        header = self.header
        if header.crypt_method:
            return
        if header.data_elsewhere and header.data_file:
            self._mapping.data = files.open(header.data_file)
        if header.backing_file is not None:
            self.parent = files.image([header.backing_file], header.backing_format or None)

    def unreadable_reason(self) -> str | None:
        header = self.header
        if header.crypt_method:
            return f"the content is encrypted ({'LUKS' if header.crypt_method == 2 else 'AES'}); decrypt it with qemu-img first"
        if self._mapping.data is None:
            return f"the data lies in another file, {self._named(header.data_file)}"
        if header.backing_file is not None and self.parent is None:
            name = self._named(header.backing_file)
            return f"the image is an overlay; the rest of its data lies in the backing file, {name}; merge them first (qemu-img convert does)"
        return None

    def _named(self, name: str | None) -> str:
        return f"'{printable(name)}'" if name else "which it does not name"

    def _is_compressed(self) -> bool | None:
        """Whether any cluster is compressed, by the first tables alone: an image is compressed as a whole or not at all."""
        if self.unreadable_reason() is not None:
            return False
        stored = False
        for offset in itertools.islice(self._mapping.l2_tables(), _TABLES_FOR_DESCRIPTION):
            for entry in filter(None, self._mapping.l2_entries(offset)):
                if entry & layout.COMPRESSED_FLAG:
                    return True
                stored = True
        return False if stored else None

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        self.require_readable()
        start, end = self.range(start, length)
        yield from merge(skip_holes(self.over_parent(within(merge(self._mapping.clusters(start, end)), start, end), end)))

    def check(self) -> CheckResult:
        """Walk all structures, of all snapshots too. An image whose content cannot be given is checked as far as its own file goes."""
        from .check import check_refcounts

        result = super().check() if self.unreadable_reason() is None else CheckResult()
        if not result.corruptions:
            check_refcounts(self.storage, self.header, self.snapshots, result)
        return result
