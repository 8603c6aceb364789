# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""A logical volume that goes over several physical ones in turn."""

from __future__ import annotations

import heapq
import typing as t

from ...storage.base import Storage


class StripedStorage(Storage):
    """Chunks of storages in turn: the first chunk of each, the second of each …

    :param stripes: all of one size, whole chunks
    :param chunk: bytes
    :param name: for messages
    """

    def __init__(self, stripes: t.Sequence[Storage], chunk: int, name: str) -> None:
        self.name = name
        self.size = sum(stripe.size for stripe in stripes)
        self.sequential = any(stripe.sequential for stripe in stripes)
        self._stripes = stripes
        self._chunk = chunk
        self._row = chunk * len(stripes)

    def read_at(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size)
        parts = []
        while 0 <= offset < end:
            row, rest = divmod(offset, self._row)
            number, inside = divmod(rest, self._chunk)
            part = self._stripes[number].read_at(row * self._chunk + inside, min(self._chunk - inside, end - offset))
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def data_ranges(self, start: int = 0, end: int | None = None) -> t.Iterator[tuple[int, int]]:
        """Whole rows: one in which a stripe has data counts as data."""
        end = self.size if end is None else min(end, self.size)
        if start >= end:
            return
        first, last = start // self._row * self._chunk, -(-end // self._row) * self._chunk
        begin = behind = start
        for row, rows_end in heapq.merge(*(self._rows(stripe, first, last) for stripe in self._stripes)):
            run_start, run_end = max(row * self._row, start), min(rows_end * self._row, end)
            if run_start > behind:
                if behind > begin:
                    yield begin, behind - begin
                begin = run_start
            behind = max(behind, run_end)
        if behind > begin:
            yield begin, behind - begin

    def changed(self) -> bool:
        return any(stripe.changed() for stripe in self._stripes)

    def _rows(self, stripe: Storage, start: int, end: int) -> t.Iterator[tuple[int, int]]:
        for offset, length in stripe.data_ranges(start, end):
            yield offset // self._chunk, -(-(offset + length) // self._chunk)
