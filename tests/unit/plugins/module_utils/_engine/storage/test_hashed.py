# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Digests made while somebody reads: hashlib is the judge, and what was read in its order is not read again."""

from __future__ import annotations

import concurrent.futures
import gzip
import hashlib
import random

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory, Storage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.hashed import _WAITING, HashedStorage, Room
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.stream import open_stream

MIB = 1 << 20
ALGORITHMS = ("sha1", "sha256", "sha512")


class Watched(Memory):
    """Tells how much was read, and whether it was closed."""

    bytes_read = 0
    closed = 0

    def read_at(self, offset, length):
        data = super().read_at(offset, length)
        self.bytes_read += len(data)
        return data

    def close(self):
        self.closed += 1


def content(length, seed=1):
    return random.Random(seed).randbytes(length)


def expected(data, algorithms=ALGORITHMS):
    return {name: hashlib.new(name, data).hexdigest() for name in algorithms}


def filled(storage, offset, length):
    buffer = bytearray(b"\xa5" * length)
    storage.read_into(offset, memoryview(buffer), "data")
    found = bytes(buffer)
    buffer[:] = b"\x5a" * length  # the caller's buffer is used again: what waits must not be in it
    return found


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, MIB, 9 * MIB + 5])
def test_nobody_reads(size):
    data = content(size)
    parent = Watched(data)
    storage = HashedStorage(parent, ALGORITHMS)
    told = []
    assert storage.digests(told.append) == expected(data)
    assert storage.digests() == expected(data)
    assert (sum(told), storage.read_again, parent.bytes_read) == (size, size, size)


@pytest.mark.parametrize("seed", range(12))
def test_random_reads(seed):
    dice = random.Random(seed)
    data = content(dice.choice((100_000, 5 * MIB + 17, 41 * MIB + 1)), seed)
    storage = HashedStorage(Memory(data), ["sha256"])
    for _round in range(dice.choice((3, 60))):
        offset = dice.randrange(len(data))
        length = min(dice.choice((1, 512, 4096, 4097, 65536, 3 * MIB, 9 * MIB)), len(data) - offset)
        read = dice.choice((storage.read_at, lambda start, count: filled(storage, start, count), storage.window(0, len(data), "w").read_at))
        assert read(offset, length) == data[offset : offset + length], (offset, length)
        if dice.random() < 0.05:
            assert storage.digests() == expected(data, ["sha256"])
    assert storage.digests() == expected(data, ["sha256"])
    assert storage.read_again <= len(data)


@pytest.mark.parametrize("into", [True, False])
@pytest.mark.parametrize("length", [4096, 65536, 2 * MIB, 20 * MIB])
def test_what_is_read_in_order_is_not_read_again(length, into):
    data = content(21 * MIB + 3)
    parent = Watched(data)
    storage = HashedStorage(parent, ALGORITHMS)
    for offset in range(0, len(data), length):
        count = min(length, len(data) - offset)
        assert (filled(storage, offset, count) if into else storage.read_at(offset, count)) == data[offset : offset + count]
    assert storage.digests() == expected(data)
    assert (storage.read_again, parent.bytes_read) == (0, len(data))


def test_tables_at_the_end_are_looked_up_first():
    data = content(40 * MIB)
    storage = HashedStorage(Memory(data), ["sha256"])
    storage.read_at(0, 512)
    for offset in range(len(data) - 512 * 100, len(data), 512):  # a footer, and tables behind the data
        storage.read_at(offset, 512)
    storage.read_at(30 * MIB, MIB)
    for offset in range(512, len(data), 65536):
        storage.read_at(offset, min(65536, len(data) - offset))
    assert storage.digests() == expected(data, ["sha256"])
    assert storage.read_again == 0


def test_headers_between_what_is_read():
    """Compressed grains with a header each, which a reader may take for read already."""
    data = content(8 * MIB)
    storage = HashedStorage(Memory(data), ["sha256"])
    for offset in range(0, len(data), 32768):
        storage.read_at(offset + 512, 32768 - 512)
    assert storage.digests() == expected(data, ["sha256"])
    assert storage.read_again == 512 * (len(data) // 32768)


def test_a_hole_is_read_for_the_digest_only():
    data = content(6 * MIB) + bytes(30 * MIB) + content(6 * MIB, 2)
    storage = HashedStorage(Memory(data), ["sha256"])
    for offset in [*range(0, 6 * MIB, MIB), *range(36 * MIB, 42 * MIB, MIB)]:
        storage.read_at(offset, MIB)
    assert storage.digests() == expected(data, ["sha256"])
    assert 30 * MIB <= storage.read_again <= 36 * MIB


def test_little_waits_in_memory():
    data = content(64 * MIB)
    room = Room()
    storage, other = HashedStorage(Memory(data), ["sha256"], room), HashedStorage(Memory(data), ["sha256"], room)
    most = 0
    for length, order in (
        (65536, reversed(range(MIB, 20 * MIB, 65536))),
        (5000, range(21 * MIB, 40 * MIB, 10_000)),
        (3 * MIB, range(42 * MIB, 60 * MIB, MIB)),
    ):
        for offset in order:
            storage.read_at(offset, length)
            other.read_at(offset + 100_000, length)
            assert sum(len(waiting) for file in (storage, other) for waiting in file._waiting.values()) == room.taken
            most = max(most, room.taken)
    assert MIB < most <= _WAITING
    assert storage.digests() == other.digests() == expected(data, ["sha256"])
    assert (storage._waiting, other._waiting, room.taken) == ({}, {}, 0)


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_that_overtake_each_other(threads):
    data = content(32 * MIB + 7)
    storage = HashedStorage(Memory(data), ALGORITHMS)
    starts = list(range(0, len(data), 2 * MIB))
    dice = random.Random(threads)
    groups = [starts[at : at + threads] for at in range(0, len(starts), threads)]
    for group in groups:
        dice.shuffle(group)

    def work(offset):
        length = min(2 * MIB, len(data) - offset)
        return filled(storage, offset, length) == data[offset : offset + length]

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        assert all(pool.map(work, [offset for group in groups for offset in group]))
    assert storage.digests() == expected(data)
    # Never more than what the threads have under way at once.
    assert storage.read_again <= len(data) // 2


def test_threads_that_read_anywhere():
    data = content(24 * MIB)
    storage = HashedStorage(Memory(data), ["sha512"])

    def work(seed):
        dice = random.Random(seed)
        for _round in range(40):
            offset = dice.randrange(len(data) - MIB)
            length = dice.randrange(1, MIB)
            if storage.read_at(offset, length) != data[offset : offset + length]:
                return False
        return True

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert all(pool.map(work, range(6)))
    assert storage.digests() == expected(data, ["sha512"])


def test_a_compressed_stream_is_decoded_once():
    data = content(5 * MIB) + bytes(3 * MIB)
    source = Watched(gzip.compress(data, 1))
    stream = open_stream(source, "gzip")
    storage = HashedStorage(stream, ["sha256"])
    assert storage.sequential
    for offset in range(0, 8 * MIB, 65536):
        storage.read_at(offset, 65536)
    assert storage.size == len(data)
    once = source.bytes_read
    assert storage.digests() == expected(data, ["sha256"])
    assert storage.read_again == 0
    assert source.bytes_read == once < source.size + MIB


class Cut(Memory):
    """Claims more bytes than it has: a file that shrinks while it is read."""

    def __init__(self, data, size):
        super().__init__(data)
        self.size = size


def test_a_file_that_is_cut_while_it_is_read():
    storage = HashedStorage(Cut(content(5000), 9000), ["sha256"])
    assert storage.read_at(0, 9000) == content(5000)
    with pytest.raises(CorruptImage, match="cut while it is read"):
        storage.digests()


def test_it_is_the_parent_in_all_else():
    class Parent(Storage):
        name, size, sequential = "parent", 10, True

        def read_at(self, offset, length):
            return bytes(10)[offset : offset + length]

        def data_ranges(self, start=0, end=None):
            yield start, 3

        def allocated(self):
            return 7

        def changed(self):
            return True

    storage = HashedStorage(Parent(), ["md5"])
    assert (storage.name, storage.size, storage.sequential, storage.allocated(), storage.changed()) == ("parent", 10, True, 7, True)
    assert list(storage.data_ranges(2)) == [(2, 3)]
    parent = Watched(b"")
    HashedStorage(parent, []).close()
    assert parent.closed == 1
