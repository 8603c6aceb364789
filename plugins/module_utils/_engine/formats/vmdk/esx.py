# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The data file of an ESX snapshot by itself, without the descriptor that says what it is a delta of."""

from __future__ import annotations

import typing as t

from ...errors import CorruptImage
from ...extents import HOLE, Extent, merge
from ...storage.base import Storage
from ..base import CheckResult, ImageInfo, Reader
from . import cowd, sesparse
from .grains import GrainFile
from .siblings import advice
from .space import check_space


class EsxReader(Reader):
    """A COWD or seSparse file: a disk if it is the root of one, or has all of the disk's grains."""

    format = "vmdk"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self.extent: GrainFile
        if storage.read_at(0, len(cowd.MAGIC)) == cowd.MAGIC:
            self._subformat, self.extent = "vmfsSparse", cowd.CowdExtent(storage)
        else:
            self._subformat, self.extent = "seSparse", sesparse.SeSparseExtent(storage)
        self.virtual_size = self.extent.size
        self._complete: bool | None = None

    def describe(self) -> ImageInfo:
        return ImageInfo(self.format, self.virtual_size, self._subformat, cluster_size=self.extent.grain, dirty=self.extent.dirty, writer="VMware ESX")

    def unreadable_reason(self) -> str | None:
        if self._complete is None:
            self._complete = self._is_complete()
        if self._complete:
            return None
        return f"a data file ({self._subformat}) of a snapshot: what is not in it is in another disk, which the descriptor names; {advice(self.storage)}"

    def _is_complete(self) -> bool:
        if isinstance(self.extent, cowd.CowdExtent) and self.extent.is_root:
            return True
        try:
            return not any(extent.kind == HOLE for extent in self.extent.extents(0, self.virtual_size))
        except CorruptImage:
            return True  # whoever reads it will be told so

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        self.require_readable()
        start, end = self.range(start, length)
        return (extent.clip(start, end) for extent in merge(self.extent.extents(start, end)))

    def check(self) -> CheckResult:
        result = super().check()
        check_space([self.extent], result)
        return result
