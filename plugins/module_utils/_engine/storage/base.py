# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Where bytes live. A format reads through a Storage and does not know whether it is a file or a part of an archive."""

from __future__ import annotations

import abc
import typing as t

from ..errors import CorruptImage


class Storage(abc.ABC):
    """Read-only random access to a bounded run of bytes.

    ``name`` is the path for messages; a member of an archive is ``archive.ova!disk1.vmdk``.
    ``sequential`` tells that going back is expensive (a compressed stream): readers of such storage are read in order,
    by one thread.
    """

    name: str
    size: int
    """bytes"""
    sequential = False

    @abc.abstractmethod
    def read_at(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``offset``; fewer only where the storage ends.

        :raises AccessError: the operating system could not read
        """

    def read_exact(self, offset: int, length: int, what: str) -> bytes:
        """Exactly ``length`` bytes at ``offset``; ``what`` names the structure for the message.

        :raises CorruptImage: the range is not inside the storage
        """
        self.require(offset, length, what)
        data = self.read_at(offset, length)
        if len(data) != length:
            raise CorruptImage(f"{what} could not be read whole: the file is being cut while it is read", path=self.name, offset=offset)
        return data

    def read_into(self, offset: int, buffer: memoryview, what: str) -> None:
        """Fill ``buffer`` from ``offset``, as :meth:`read_exact` but without making new bytes.

        :raises CorruptImage: the range is not inside the storage
        """
        buffer[:] = self.read_exact(offset, len(buffer), what)

    def require(self, offset: int, length: int, what: str) -> None:
        """Make sure that a range which a table names is inside the storage.

        :raises CorruptImage: it is not; the image is truncated or the table damaged
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise CorruptImage(
                f"{what} ends at byte {offset + length}, behind the end of the file ({self.size} bytes): truncated, or a damaged table",
                path=self.name,
                offset=offset,
                hint="Fetch the file again",
            )

    def data_ranges(self, start: int = 0, end: int | None = None) -> t.Iterator[tuple[int, int]]:
        """The (offset, length) runs that may hold data, in order; what lies between them is a hole and reads as zeros."""
        end = self.size if end is None else min(end, self.size)
        if end > start:
            yield start, end - start

    def allocated(self) -> int:
        """Bytes that the storage occupies on its file system."""
        return self.size

    def window(self, offset: int, size: int, name: str) -> Storage:
        """A part of this storage as a storage of its own, without a copy.

        :raises CorruptImage: the part is not inside this storage
        """
        self.require(offset, size, name)
        return Window(self, offset, size, name)

    def changed(self) -> bool:
        """Whether the bytes were changed by somebody since the storage was opened."""
        return False

    def close(self) -> None:
        """Free what is held. Harmless to call twice."""


class Window(Storage):
    """A run of bytes inside another storage: a disk in an OVA, for one."""

    def __init__(self, parent: Storage, offset: int, size: int, name: str) -> None:
        self._parent = parent
        self._offset = offset
        self.size = size
        self.name = name
        self.sequential = parent.sequential

    def read_at(self, offset: int, length: int) -> bytes:
        if offset >= self.size:
            return b""
        return self._parent.read_at(self._offset + offset, min(length, self.size - offset))

    def read_into(self, offset: int, buffer: memoryview, what: str) -> None:
        self.require(offset, len(buffer), what)
        self._parent.read_into(self._offset + offset, buffer, what)

    def data_ranges(self, start: int = 0, end: int | None = None) -> t.Iterator[tuple[int, int]]:
        if self.sequential:  # a compressed stream knows of no holes, and to name its end it would decode all of it
            yield from super().data_ranges(start, end)
            return
        end = self.size if end is None else min(end, self.size)
        for offset, length in self._parent.data_ranges(self._offset + start, self._offset + end):
            yield offset - self._offset, length

    def changed(self) -> bool:
        return self._parent.changed()


class Memory(Storage):
    """Bytes in memory: small structures, tests, fuzzing."""

    def __init__(self, data: bytes, name: str = "memory") -> None:
        self._data = data
        self.size = len(data)
        self.name = name

    def read_at(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]
