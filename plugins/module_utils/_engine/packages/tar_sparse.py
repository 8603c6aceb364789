# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The maps of sparse members in tar archives: which parts of a file the archive has.

Source: GNU tar manual, "Storing Sparse Files": old GNU format, and the PAX formats 0.0, 0.1 and 1.0 (libarchive writes
the last, too). star's own formats are refused; nothing that packs disk images writes them.
"""

from __future__ import annotations

import array
import re
import typing as t

from ..errors import CorruptImage, ImageError, LimitExceeded, UnsupportedImage, printable
from ..formats.probes.tar import HEADER, MAX_NUMBER, number
from ..limits import MAX_VIRTUAL_SIZE
from ..storage.base import Storage
from ..storage.sparse import SparseMap
from ..structure import Structure

BLOCK = HEADER.size

MAX_SPARSE_RUNS = 1 << 20
"""of all members of an archive; a disk of 100 GiB with a long life has some hundred thousand"""

_OLD_GNU = Structure("<", ("_", "386s"), ("sp", "96s"), ("isextended", "B"), ("realsize", "12s"), ("_", "17s"))
_OLD_GNU_MORE = Structure("<", ("sp", "504s"), ("isextended", "B"), ("_", "7s"))
_FIELD = 12
_ENTRY = 2 * _FIELD
"""offset and numbytes"""

PREFIX = b"GNU.sparse."
_NAME, _MAJOR, _MINOR = PREFIX + b"name", PREFIX + b"major", PREFIX + b"minor"
_REAL_SIZE, _SIZE, _NUM_BLOCKS, _MAP = PREFIX + b"realsize", PREFIX + b"size", PREFIX + b"numblocks", PREFIX + b"map"
_PAIR = PREFIX + b"offset", PREFIX + b"numbytes"
_ONCE = (_NAME, _MAJOR, _MINOR, _REAL_SIZE, _SIZE, _NUM_BLOCKS, _MAP)

_DECIMAL = re.compile(rb"[0-9]{1,19}")
_MAX_LINE = 19

Pairs = t.Iterable[tuple[int, int]]


class Sparse(t.NamedTuple):
    """How a sparse member is stored."""

    runs: SparseMap
    size: int
    """bytes of the file"""
    start: int
    """where its data begin in the archive, behind the map"""


class PaxSparse:
    """The ``GNU.sparse`` records in the pax headers of one member. False when there are none."""

    def __init__(self) -> None:
        self._values: dict[bytes, bytes] = {}
        self._pairs: list[bytes] = []

    def __bool__(self) -> bool:
        return bool(self._values or self._pairs)

    @property
    def name(self) -> bytes | None:
        """The file's name. Its ``path`` is one for programs that do not know sparse members."""
        return self._values.get(_NAME)

    def add(self, storage: Storage, key: bytes, text: bytes, where: int) -> None:
        """Take in a record.

        :param where: the header's offset in the archive
        :raises CorruptImage: it contradicts another
        :raises UnsupportedImage: it is none that is known
        """
        if key in _PAIR:
            if key != _PAIR[len(self._pairs) % 2]:
                raise _corrupt(storage, where, f"{printable(key)} is not in its place")
            self._pairs.append(text)
        elif key not in _ONCE:
            raise UnsupportedImage(f"an archive member has a record {printable(key)}, which is not known", path=storage.name, offset=where)
        elif self._values.setdefault(key, text) != text:
            raise _corrupt(storage, where, f"there are two of {printable(key)}")

    def read(self, storage: Storage, start: int, size: int, room: int) -> Sparse:
        """The map, and where the data begin.

        :param start: where the member's bytes begin in the archive
        :param size: how many there are
        :param room: how many runs may be in the map
        :raises CorruptImage: the map is damaged, or does not fit the member
        :raises LimitExceeded: too many runs, or too large a file
        :raises UnsupportedImage: a version that is not known
        """
        version = self._number(storage, start, _MAJOR, 0), self._number(storage, start, _MINOR, 0)
        if version not in ((0, 0), (0, 1), (1, 0)):
            raise UnsupportedImage(f"a sparse archive member of version {version[0]}.{version[1]}", path=storage.name, offset=start)
        if bool(self._pairs) + (_MAP in self._values) + (version == (1, 0)) != 1:
            raise _corrupt(storage, start, "there is no map, or more than one")
        sizes = {_decimal(storage, start, self._values[key]) for key in (_REAL_SIZE, _SIZE) if key in self._values}
        if len(sizes) != 1:
            raise _corrupt(storage, start, "the file has no size, or two")
        (real,) = sizes
        if version == (1, 0):
            numbers, length = _read_map(storage, start, size, room)
        else:
            texts = self._values[_MAP].split(b",") if _MAP in self._values else self._pairs
            numbers, length = array.array("q", (_decimal(storage, start, text) for text in texts)), 0
        if len(numbers) % 2 or self._number(storage, start, _NUM_BLOCKS, len(numbers) // 2) != len(numbers) // 2:
            raise _corrupt(storage, start, "the number of its runs is wrong")
        runs = _build(storage, start, zip(numbers[::2], numbers[1::2]), real, size - length, room)
        return Sparse(runs, real, start + length)

    def _number(self, storage: Storage, where: int, key: bytes, default: int) -> int:
        return _decimal(storage, where, self._values[key]) if key in self._values else default


def read_old_gnu(storage: Storage, block: bytes, start: int, size: int, room: int) -> Sparse:
    """The map of a member of type ``S``, which begins in its header and goes on in the blocks behind it.

    :param block: the header
    :param start: where the header ends in the archive
    :param size: bytes stored of the member
    :param room: how many runs may be in the map
    :raises CorruptImage: the map is damaged, or does not fit the member
    :raises LimitExceeded: too many runs, or too large a file
    """
    header = _OLD_GNU.unpack(block)
    real = number(header.realsize)
    if real is None:
        raise _corrupt(storage, start, "the size of the file is no number")
    behind = start

    def pairs() -> Pairs:
        nonlocal behind
        part = header
        while True:
            entries: bytes = part.sp
            used = len(entries.rstrip(b"\0"))
            for at in range(0, used, _ENTRY):
                numbytes = entries[at + _FIELD : at + _ENTRY]
                offset, length = number(entries[at : at + _FIELD]), number(numbytes)
                # Programs take an entry without a length for the end of the map.
                if offset is None or length is None or numbytes[0] == 0:
                    raise _corrupt(storage, behind, "an offset or a length is no number")
                yield offset, length
            if not part.isextended:
                return
            if used <= len(entries) - _ENTRY:
                raise _corrupt(storage, behind, "it goes on behind its end")
            part = _OLD_GNU_MORE.unpack(read_forward(storage, behind, BLOCK, "the map of a sparse archive member"))
            behind += BLOCK

    runs = _build(storage, start, pairs(), real, size, room)
    return Sparse(runs, real, behind)


def read_forward(storage: Storage, offset: int, length: int, what: str) -> bytes:
    """As ``Storage.read_exact``, but without asking a compressed archive for its size, which would decode all of it.

    :raises CorruptImage: the archive ends before
    """
    data = storage.read_at(offset, length)
    return data if len(data) == length else storage.read_exact(offset, length, what)


def _build(storage: Storage, where: int, pairs: Pairs, size: int, stored: int, room: int) -> SparseMap:
    """Check a map: in order, inside the file, as many bytes as are stored.

    GNU tar begins each run in a block of its own, other programs right behind the run before. That is the same as long as
    only the last run ends inside a block; what programs write is so.
    """
    if size > MAX_VIRTUAL_SIZE:
        raise LimitExceeded(f"a sparse archive member of {size} bytes ({MAX_VIRTUAL_SIZE} are allowed)", path=storage.name, offset=where)
    runs = SparseMap()
    end = 0
    for count, (offset, length) in enumerate(pairs):
        if count >= room:
            raise _too_many(storage, where)
        if not end <= offset <= offset + length <= size:
            raise _corrupt(storage, where, f"{length} bytes at {offset} overlap others, or lie outside of the file's {size}")
        if length and runs.stored % BLOCK:
            raise _corrupt(storage, where, f"the run before {offset} is no whole number of blocks")
        runs.add(offset, length)
        end = offset + length
    if runs.stored != stored:
        raise _corrupt(storage, where, f"it speaks of {runs.stored} bytes, and {stored} are stored")
    return runs


def _read_map(storage: Storage, start: int, size: int, room: int) -> tuple[array.array[int], int]:
    """Version 1.0: lines in front of the data, first the number of runs; padded to a whole block.

    :return: offsets and lengths in turn, and the bytes that the map takes
    """
    numbers = array.array("q")
    wanted = 1
    length = 0
    rest = b""
    while len(numbers) < wanted:
        if len(rest) > _MAX_LINE or length + BLOCK > size:
            raise _corrupt(storage, start + length, "it has no end")
        *lines, rest = (rest + read_forward(storage, start + length, BLOCK, "the map of a sparse archive member")).split(b"\n")
        length += BLOCK
        for line in lines:
            if len(numbers) < wanted:
                numbers.append(_decimal(storage, start, line))
            if len(numbers) == 1:
                wanted = 1 + 2 * numbers[0]
        if numbers and numbers[0] > room:
            raise _too_many(storage, start)
    return numbers[1:], length


def _decimal(storage: Storage, where: int, text: bytes) -> int:
    value = int(text) if _DECIMAL.fullmatch(text) else -1
    if not 0 <= value <= MAX_NUMBER:
        raise _corrupt(storage, where, f"{printable(text[:40])!r} is no number")
    return value


def _corrupt(storage: Storage, where: int, what: str) -> ImageError:
    return CorruptImage(f"the map of a sparse archive member is damaged: {what}", path=storage.name, offset=where)


def _too_many(storage: Storage, where: int) -> ImageError:
    return LimitExceeded(f"sparse archive members of more than {MAX_SPARSE_RUNS} runs", path=storage.name, offset=where)
