# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The log of an image that was not closed: replayed in memory. Source: [MS-VHDX] 2.3 "Log", 2.3.3 "Log Replay".

The source is never written. What the log would write into the file lies over it as a storage of its own.
"""

from __future__ import annotations

import bisect

from ...errors import CorruptImage, LimitExceeded, UnsupportedImage
from ...limits import MAX_TABLE
from ...storage.base import Storage
from ...structure import Fields, Structure
from .crc32c import is_sealed
from .layout import MAX_FILE_SIZE

LOG_ENTRY_HEADER = Structure(
    "<",
    ("signature", "4s"),
    ("checksum", "I"),
    ("entry_length", "I"),
    ("tail", "I"),
    ("sequence_number", "Q"),
    ("descriptor_count", "I"),
    ("_", "I"),
    ("log_guid", "16s"),
    ("flushed_file_offset", "Q"),
    ("last_file_offset", "Q"),
)
ZERO_DESCRIPTOR = Structure("<", ("zero_signature", "4s"), ("_", "I"), ("zero_length", "Q"), ("file_offset", "Q"), ("sequence_number", "Q"))
DATA_DESCRIPTOR = Structure("<", ("data_signature", "4s"), ("trailing_bytes", "4s"), ("leading_bytes", "8s"), ("file_offset", "Q"), ("sequence_number", "Q"))
DATA_SECTOR = Structure("<", ("data_signature", "4s"), ("sequence_high", "I"), ("data", "4084s"), ("sequence_low", "I"))

SECTOR = 4096
"""bytes: the unit of the log"""
MAX_LOG = MAX_TABLE
"""bytes"""
MAX_ZERO_RANGES = 1 << 16


class Overlay(Storage):
    """A storage with changes over it.

    :param base: what lies below; is closed with the overlay
    :param size: bytes; what it has more than the base reads as zeros
    """

    entries = 0
    """of the log that were replayed into it"""

    def __init__(self, base: Storage, size: int) -> None:
        self._base = base
        self.name = base.name
        self.size = size
        self.sequential = base.sequential
        self._pages: dict[int, bytes] = {}
        self._offsets: list[int] = []
        # Zeroed ranges, apart from each other and in order.
        self._starts: list[int] = []
        self._ends: list[int] = []

    def put_below(self, offset: int, data: bytes) -> None:
        """Write one sector, unless something was written there already: changes are given from the last to the first."""
        index = bisect.bisect_right(self._starts, offset) - 1
        if offset not in self._pages and not (index >= 0 and offset < self._ends[index]):
            self._pages[offset] = data
            bisect.insort(self._offsets, offset)

    def zero_below(self, offset: int, length: int) -> None:
        """Zero a range of sectors, where nothing was written already."""
        end = offset + length
        first = bisect.bisect_left(self._ends, offset)
        last = bisect.bisect_right(self._starts, end)
        if first < last:
            offset = min(offset, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._starts[first:last] = [offset]
        self._ends[first:last] = [end]

    def read_at(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size - offset))
        end = offset + length
        data = self._base.read_at(offset, length)
        zeros = range(bisect.bisect_right(self._ends, offset), bisect.bisect_left(self._starts, end))
        pages = self._offsets[bisect.bisect_right(self._offsets, offset - SECTOR) : bisect.bisect_left(self._offsets, end)]
        if len(data) == length and not zeros and not pages:
            return data
        if len(data) < min(length, self._base.size - offset):
            return data  # the file is being cut: the caller tells
        changed = bytearray(data.ljust(length, b"\0"))
        for index in zeros:
            first, last = max(self._starts[index], offset), min(self._ends[index], end)
            changed[first - offset : last - offset] = bytes(last - first)
        for page in pages:
            first, last = max(page, offset), min(page + SECTOR, end)
            changed[first - offset : last - offset] = self._pages[page][first - page : last - page]
        return bytes(changed)

    def allocated(self) -> int:
        return self._base.allocated()

    def changed(self) -> bool:
        return self._base.changed()

    def close(self) -> None:
        self._base.close()


class Log:
    """The circular log of a file.

    :param header: the file's current header
    :raises LimitExceeded: the log is larger than any that a writer makes
    """

    def __init__(self, storage: Storage, header: Fields) -> None:
        self.storage = storage
        self.offset, self.length, self.guid = header.log_offset, header.log_length, header.log_guid
        if self.length > MAX_LOG:
            raise LimitExceeded(f"a log of {self.length} bytes to replay; {MAX_LOG} is the most that is taken", path=storage.name, offset=self.offset)
        self._data = storage.read_exact(self.offset, self.length, "the log")
        self._entries: dict[int, Fields | None] = {}
        # Sound entries do not overlap, and few stale ones lie between them: a log that claims more wastes our time.
        self._to_check = 2 * self.length

    def read(self, offset: int, length: int) -> bytes:
        """Bytes of the log; behind its end comes its beginning."""
        return self._data[offset : offset + length] + self._data[: max(0, offset + length - self.length)]

    def entry(self, offset: int) -> Fields | None:
        """The header of the sound entry that begins at ``offset`` of the log, with that ``offset``; or None."""
        if offset not in self._entries:
            self._entries[offset] = self._look(offset)
        return self._entries[offset]

    def _look(self, offset: int) -> Fields | None:
        header = LOG_ENTRY_HEADER.unpack(self._data, offset)
        header["offset"] = offset
        length = header.entry_length
        if header.signature != b"loge" or header.log_guid != self.guid or not header.sequence_number:
            return None
        if not SECTOR <= length <= self.length or length % SECTOR or header.tail % SECTOR or header.tail >= self.length:
            return None
        self._to_check -= length
        if self._to_check < 0:
            raise LimitExceeded("the log's entries overlap each other", path=self.storage.name, offset=self.offset + offset)
        return header if is_sealed(self.read(offset, length)) else None

    def sequence(self, start: int) -> tuple[list[Fields], int]:
        """The entries that follow each other from ``start`` on, and the offset at which they end."""
        found: list[Fields] = []
        offset = start
        entry = self.entry(offset)
        while entry is not None and (not found or entry.sequence_number == found[-1].sequence_number + 1):
            found.append(entry)
            offset = (offset + entry.entry_length) % self.length
            entry = self.entry(offset)
        return found, offset

    def active(self) -> list[Fields]:
        """The entries to replay, in their order: of all sequences that hold the tail of their last entry, the youngest.

        :raises CorruptImage: there is none
        """
        best: list[Fields] = []
        start = 0
        while start < self.length:
            found, following = self.sequence(start)
            if not found:
                start += SECTOR
                continue
            offsets = [entry.offset for entry in found]
            head = found[-1]
            if head.tail in offsets and (not best or head.sequence_number > best[-1].sequence_number):
                best = found[offsets.index(head.tail) :]
            if following <= start:
                break  # went round
            start = following
        if not best:
            raise CorruptImage("the image was not closed, and its log holds no entries that can be replayed", path=self.storage.name, offset=self.offset)
        return best

    def descriptors(self, entry: Fields) -> list[tuple[int, int, bytes]]:
        """The changes of one entry in their order: (file offset, length, data), in bytes; no data means zeros.

        :raises CorruptImage: what the entry holds is not what its descriptors say
        """
        data = self.read(entry.offset, entry.entry_length)
        room = LOG_ENTRY_HEADER.size + entry.descriptor_count * ZERO_DESCRIPTOR.size
        sector = -(-room // SECTOR) * SECTOR
        if sector > len(data):
            raise self._broken(entry, "has no room for its descriptors")
        changes = []
        for where in range(LOG_ENTRY_HEADER.size, room, ZERO_DESCRIPTOR.size):
            kind = data[where : where + 4]
            if kind == b"zero":
                zero = ZERO_DESCRIPTOR.unpack(data, where)
                change = (zero.file_offset, zero.zero_length, b"")
                number = zero.sequence_number
            elif kind == b"desc":
                if sector + SECTOR > len(data):
                    raise self._broken(entry, "has no room for its data")
                described, stored = DATA_DESCRIPTOR.unpack(data, where), DATA_SECTOR.unpack(data, sector)
                number = described.sequence_number
                if stored.data_signature != b"data" or stored.sequence_high << 32 | stored.sequence_low != number:
                    raise self._broken(entry, "has a data sector that is not its own")
                change = (described.file_offset, SECTOR, described.leading_bytes + stored.data + described.trailing_bytes)
                sector += SECTOR
            else:
                raise self._broken(entry, "has an unknown descriptor")
            if number != entry.sequence_number or change[0] % SECTOR or change[1] % SECTOR:
                raise self._broken(entry, "has a descriptor that is not aligned or not its own")
            changes.append(change)
        return changes

    def _broken(self, entry: Fields, what: str) -> CorruptImage:
        return CorruptImage(f"an entry of the log {what}", path=self.storage.name, offset=self.offset + entry.offset)


def replay(storage: Storage, header: Fields) -> Overlay:
    """The image as it is after its log was replayed.

    :param header: the file's current header, with a log GUID
    :raises CorruptImage: no entries can be replayed, or the file is shorter than it was when they were written
    :raises UnsupportedImage: another version of the log
    :raises LimitExceeded: the log is larger, or zeroes more ranges, than any that a writer makes
    """
    if header.log_version != 0:
        raise UnsupportedImage(f"the image was not closed, and its log has the unknown version {header.log_version}", path=storage.name)
    log = Log(storage, header)
    entries = log.active()
    flushed = max(entry.flushed_file_offset for entry in entries)
    if storage.size < flushed:
        raise CorruptImage(f"the file has {storage.size} bytes; its log says that it had {flushed}: truncated", path=storage.name)
    # The last entry knows how long the file is to be after all of them.
    size = max(storage.size, entries[-1].last_file_offset)
    if size > MAX_FILE_SIZE:
        raise LimitExceeded(f"a VHDX file of {size} bytes, says its log; {MAX_FILE_SIZE} is the most that is taken", path=storage.name, offset=log.offset)
    overlay = Overlay(storage, size)
    overlay.entries = len(entries)
    zeroed = 0
    for entry in reversed(entries):
        for offset, length, data in reversed(log.descriptors(entry)):
            if offset + length > size:
                raise CorruptImage(
                    f"the log changes byte {offset + length}, behind the end of the file ({size} bytes)", path=storage.name, offset=log.offset + entry.offset
                )
            if data:
                overlay.put_below(offset, data)
            elif length:
                zeroed += 1
                if zeroed > MAX_ZERO_RANGES:
                    raise LimitExceeded(f"the log zeroes more than {MAX_ZERO_RANGES} ranges", path=storage.name, offset=log.offset)
                overlay.zero_below(offset, length)
    return overlay
