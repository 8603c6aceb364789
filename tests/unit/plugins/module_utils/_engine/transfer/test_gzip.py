# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""gzip in pieces: the same bytes whatever the threads, holes for nothing, and gzip(1) and zlib take it."""

from __future__ import annotations

import gzip
import random
import subprocess
import zlib

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory, Window
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.joined import JoinedStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.zeros import ZeroStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer import gzip as ours

PIECE = ours.PIECE


def text(length, seed=1):
    """Bytes that shrink by about a half."""
    return random.Random(seed).getrandbits(4 * length).to_bytes(length // 2, "little").hex().encode()[:length]


def write(storage, path, threads=2):
    with Sink(path) as sink:
        ours.write_gzip(storage, sink, threads=threads)
        sink.commit()
    return path.read_bytes()


@pytest.mark.parametrize("length", [0, 1, 1000, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 77])
def test_what_comes_out(tmp_path, length):
    data = text(length + length % 2)[:length]
    packed = write(Memory(data), tmp_path / "file.gz")
    assert gzip.decompress(packed) == data
    assert zlib.decompress(packed, 31) == data  # one member alone, as old readers want it
    assert packed == write(Memory(data), tmp_path / "again.gz", threads=1)


def test_holes_and_zeros_are_the_same_and_cost_nothing(tmp_path):
    data = text(PIECE // 2)
    sparse = JoinedStorage([Memory(data), ZeroStorage(40 * PIECE + 5, "zeros"), Memory(data)], "joined")
    full = Memory(data + bytes(40 * PIECE + 5) + data)
    packed = write(sparse, tmp_path / "sparse.gz")
    assert packed == write(full, tmp_path / "full.gz")
    assert gzip.decompress(packed) == full.read_at(0, full.size)
    assert len(packed) < 1.2 * len(zlib.compress(full.read_at(0, full.size)))


def test_what_is_read_in_order(tmp_path):
    class InOrder(Window):
        def read_at(self, offset, length):
            assert offset >= self.position
            self.position = offset + length
            return super().read_at(offset, length)

    data = text(3 * PIECE)
    storage = InOrder(Memory(data), 0, len(data), "stream")
    storage.sequential, storage.position = True, 0
    assert write(storage, tmp_path / "file.gz", threads=3) == write(Memory(data), tmp_path / "other.gz")


def test_more_than_the_trailer_counts(tmp_path):
    """RFC 1952: the size is given modulo 2^32."""
    packed = write(ZeroStorage((1 << 32) + 12345, "zeros"), tmp_path / "file.gz")
    assert int.from_bytes(packed[-4:], "little") == 12345


def test_the_size_is_near_gzip_s_own(tmp_path, program):
    data = text(5 * PIECE)
    theirs = subprocess.run([program("gzip"), "-6"], input=data, stdout=subprocess.PIPE, check=True).stdout
    assert len(write(Memory(data), tmp_path / "file.gz")) < 1.002 * len(theirs)


@pytest.mark.parametrize("lengths", [(1, 1), (0, 5), (5, 0), (1000, 123456), (PIECE, 3)])
def test_checksums_of_two_parts_are_put_together(lengths):
    first, second = (random.Random(length).getrandbits(8 * length + 1).to_bytes(length + 1, "little")[:length] for length in lengths)
    assert ours._multiply(zlib.crc32(first), ours._shift(len(second))) ^ zlib.crc32(second) == zlib.crc32(first + second)
