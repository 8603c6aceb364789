# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compressed streams as a storage: the right bytes in any order, bounded memory, spooling, sizes that nobody declares."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import random
import threading
import zlib

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError, CorruptImage, LimitExceeded, SpaceError, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.raw import RawReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage import stream as module
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory, Storage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.spool import spool
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.stream import open_stream

MIB = 1 << 20
COMPRESS = {"gzip": lambda data: gzip.compress(data, 1), "xz": lambda data: lzma.compress(data, preset=0), "bzip2": bz2.compress}


def noise(length, seed=1):
    """Bytes that compress to about a half, different everywhere."""
    return random.Random(seed).getrandbits(4 * length).to_bytes(length // 2, "little").hex().encode()


@pytest.fixture(scope="module")
def content():
    """9.5 MiB with a hole of zeros: whole sectors, but no multiple of a piece."""
    return noise(3 * MIB) + bytes(2 * MIB) + noise(4 * MIB, 2) + b"the end." * 64 * 1017


@pytest.fixture(scope="module")
def compressed(content):
    return {codec: compress(content) for codec, compress in COMPRESS.items()}


class Counting(Memory):
    """Tells how often and how much was read."""

    def __init__(self, data):
        super().__init__(data)
        self.bytes_read = 0

    def read_at(self, offset, length):
        data = super().read_at(offset, length)
        self.bytes_read += len(data)
        return data


class Repeated(Storage):
    """A compressed file of many equal streams that exists only once."""

    name = "repeated"

    def __init__(self, member, count):
        self._member = member
        self.size = len(member) * count

    def read_at(self, offset, length):
        length = min(length, self.size - offset)
        size = len(self._member)
        first = offset % size
        return (self._member * (2 + (first + length) // size))[first : first + length]


@pytest.mark.parametrize("codec", COMPRESS)
def test_reading_in_order(codec, content, compressed):
    stream = open_stream(Memory(compressed[codec]), codec)
    assert stream.sequential
    position = 0
    for length in (1, 511, 512, 65536, MIB, 3 * MIB, 5, 64 * MIB):
        assert stream.read_at(position, length) == content[position : position + length]
        position += length
    assert stream.size == len(content)
    assert stream.read_at(len(content), 10) == b""
    assert stream.read_at(len(content) - 3, 10) == content[-3:]


@pytest.mark.parametrize("codec", COMPRESS)
def test_reading_in_any_order(codec, content, compressed, monkeypatch):
    monkeypatch.setattr(module, "_KEPT", 1)
    monkeypatch.setattr(module, "_MARK_STEP", 1)
    stream = open_stream(Memory(compressed[codec]), codec)
    dice = random.Random(codec)
    for round_ in range(25):
        offset = dice.randrange(len(content) + 10)
        length = dice.choice((1, 4096, MIB, 2 * MIB + 3))
        assert stream.read_at(offset, length) == content[offset : offset + length], (offset, length)
        if round_ == 12:
            assert stream.size == len(content)


def test_gzip_goes_back_to_a_mark_and_not_to_the_beginning(content):
    data = gzip.compress(content * 4, 1)
    source = Counting(data)
    stream = open_stream(source, "gzip")
    assert stream.size == 4 * len(content)
    before = source.bytes_read
    offset = 3 * len(content) + 12345
    assert stream.read_at(offset, 4096) == (content * 4)[offset : offset + 4096]
    assert source.bytes_read - before < len(data) / 4


def test_marks_are_thinned_out(monkeypatch):
    monkeypatch.setattr(module, "_MARKS", 6)
    monkeypatch.setattr(module, "_MARK_STEP", 1)
    content = b"".join(noise(MIB, seed) for seed in range(20))
    stream = open_stream(Memory(gzip.compress(content, 1)), "gzip")
    assert stream.size == len(content)
    assert 2 <= len(stream._marks) <= 6
    for offset in range(19 * MIB + 5, 0, -5 * MIB):
        assert stream.read_at(offset, 100) == content[offset : offset + 100]


def test_the_beginning_costs_one_small_decode(content, compressed):
    source = Counting(compressed["gzip"])
    stream = open_stream(source, "gzip")
    assert stream.read_at(0, 512) == content[:512]
    once = source.bytes_read
    assert once < 2 * MIB
    for offset in (32768, 0, 65536, MIB - 512):
        assert stream.read_at(offset, 512) == content[offset : offset + 512]
    assert source.bytes_read == once


def test_the_end_is_at_hand_after_measuring(content, compressed):
    source = Counting(compressed["xz"])
    stream = open_stream(source, "xz")
    seen = []
    assert stream.measure(lambda *step: seen.append(step)) == len(content)
    assert seen[-1] == ("decompress", source.size, source.size)
    once = source.bytes_read
    assert stream.read_at(len(content) - 1536, 1536) == content[-1536:]
    assert stream.read_at(len(content) - 65536, 70000) == content[-65536:]
    assert stream.measure() == len(content)
    assert source.bytes_read == once


def test_reading_in_order_after_measuring_decodes_once_more_only(content, compressed):
    source = Counting(compressed["bzip2"])
    stream = open_stream(source, "bzip2")
    stream.measure()
    once = source.bytes_read
    assert b"".join(stream.read_at(at, MIB) for at in range(0, len(content), MIB)) == content
    assert source.bytes_read <= 2 * once + 4096


def test_a_raw_disk_in_gzip_needs_no_unpacking(content, compressed):
    reader = RawReader(open_stream(Memory(compressed["gzip"]), "gzip"))
    assert reader.virtual_size == len(content)
    extents = list(reader.extents())
    assert [(extent.start, extent.length, extent.kind) for extent in extents] == [(0, len(content), "data")]
    assert reader.read_at(5 * MIB, 4096) == content[5 * MIB : 5 * MIB + 4096]


@pytest.mark.parametrize("codec", COMPRESS)
@pytest.mark.parametrize("measured", [False, True])
def test_spool(codec, measured, content, compressed, tmp_path):
    source = Counting(compressed[codec])
    stream = open_stream(source, codec)
    if measured:
        stream.measure()
    with open(tmp_path / "spool", "w+b") as file:
        spooled = spool(stream, file.fileno())
    assert not spooled.sequential
    once = source.bytes_read
    assert stream.size == spooled.size == len(content)
    assert spooled.read_at(7 * MIB, 2 * MIB) == content[7 * MIB : 9 * MIB]
    assert spooled.read_at(MIB // 2, 2 * MIB) == content[MIB // 2 :][: 2 * MIB]
    assert source.bytes_read == once
    assert (tmp_path / "spool").read_bytes() == content
    if os.stat(tmp_path / "spool").st_blocks * 512 < len(content):  # the file system has holes
        assert len(list(spooled.data_ranges())) == 2
    assert (spooled.allocated(), spooled.changed()) == (stream.allocated(), False)
    spooled.close()
    stream.close()
    stream.close()


@pytest.mark.parametrize("length", [0, 1, MIB - 1, MIB, MIB + 1, 2 * MIB])
def test_sizes_around_a_piece(length, tmp_path):
    content = noise(2 * MIB)[:length]
    stream = open_stream(Memory(gzip.compress(content, 1)), "gzip")
    assert stream.size == length
    assert stream.read_at(0, 3 * MIB) == content
    with open(tmp_path / "spool", "w+b") as file:
        assert spool(open_stream(Memory(gzip.compress(content, 1)), "gzip"), file.fileno()).size == length
    assert (tmp_path / "spool").read_bytes() == content


def test_a_full_file_system(content, compressed):
    with open("/dev/full", "r+b", buffering=0) as full:
        with pytest.raises((SpaceError, AccessError)):
            spool(open_stream(Memory(compressed["gzip"]), "gzip"), full.fileno())


@pytest.mark.parametrize("codec", COMPRESS)
def test_a_bomb_stops_at_the_limit(codec):
    member = COMPRESS[codec](bytes(16 * MIB))
    source = Repeated(member, (1 << 40) // (16 * MIB))  # 1 TiB of zeros
    stream = open_stream(source, codec)
    with pytest.raises(LimitExceeded, match="more than 52428800 bytes"):
        stream.measure(max_size=50 * MIB)
    assert sum(map(len, stream._pieces)) <= 6 * MIB
    with pytest.raises(LimitExceeded):
        stream.read_at(60 * MIB, 1)
    small = open_stream(Memory(member), codec)
    assert small.size == 16 * MIB
    with pytest.raises(LimitExceeded):
        small.measure(max_size=MIB)


def test_the_declared_size_is_not_believed():
    member = zlib.compressobj(1, zlib.DEFLATED, 31)
    data = bytearray(member.compress(b"x" * 1000) + member.flush())
    two = bytes(data) * 2  # the last ISIZE says 1000
    assert open_stream(Memory(two), "gzip").size == 2000
    data[-4:] = (5).to_bytes(4, "little")
    with pytest.raises(CorruptImage, match="length"):
        open_stream(Memory(bytes(data)), "gzip").measure()


def test_many_tiny_members_cost_little():
    member = gzip.compress(b"z", 1)
    assert open_stream(Memory(member * 20000), "gzip").read_at(0, 30000) == b"z" * 20000


def test_threads_get_the_right_bytes(content, compressed):
    stream = open_stream(Memory(compressed["gzip"]), "gzip")
    wrong = []

    def read(seed):
        dice = random.Random(seed)
        for _round in range(15):
            offset = dice.randrange(len(content))
            if stream.read_at(offset, 70000) != content[offset : offset + 70000]:
                wrong.append(offset)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_cannot_be_opened():
    with pytest.raises(CorruptImage, match="empty"):
        open_stream(Memory(b""), "gzip")
    with pytest.raises(UnsupportedImage, match="lz4"):
        open_stream(Memory(b"\x04\x22\x4d\x18"), "lz4")
    for codec in COMPRESS:
        with pytest.raises(CorruptImage, match="does not begin"):
            open_stream(Memory(b"text"), codec).read_at(0, 1)
