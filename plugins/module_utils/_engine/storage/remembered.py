# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The beginning and the end of something that is expensive to go back to, kept in memory when it was passed."""

from __future__ import annotations

import typing as t

from .base import Storage


class RememberedStorage(Storage):
    """A storage of which some bytes are at hand.

    :param parent: gives all other bytes; not closed with this one
    :param head: bytes from offset 0
    :param tail: bytes up to the end
    """

    def __init__(self, parent: Storage, head: bytes, tail: bytes) -> None:
        self._parent = parent
        self._head = head
        self._tail = tail
        self.name = parent.name
        self.size = parent.size
        self.sequential = parent.sequential and len(head) < self.size

    def read_at(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        if end <= len(self._head):
            return self._head[offset:end]
        start = self.size - len(self._tail)
        if offset >= start:
            return self._tail[offset - start : end - start]
        return self._parent.read_at(offset, end - offset)

    def data_ranges(self, start: int = 0, end: int | None = None) -> t.Iterator[tuple[int, int]]:
        return self._parent.data_ranges(start, end)

    def changed(self) -> bool:
        return self._parent.changed()
