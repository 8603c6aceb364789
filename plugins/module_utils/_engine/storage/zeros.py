# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""A disk that has nothing on it yet."""

from __future__ import annotations

import typing as t

from .base import Storage


class ZeroStorage(Storage):
    """Zeros, and nothing but a hole.

    :param size: bytes
    :param name: for messages
    """

    def __init__(self, size: int, name: str) -> None:
        self.size = size
        self.name = name

    def read_at(self, offset: int, length: int) -> bytes:
        return bytes(max(0, min(length, self.size - offset)))

    def data_ranges(self, start: int = 0, end: int | None = None) -> t.Iterator[tuple[int, int]]:
        return iter(())

    def allocated(self) -> int:
        return 0
