# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transfer: convert, compare, digest, over readers and writers that are known to be right."""

from __future__ import annotations

import hashlib
import random

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import BusyError, CorruptImage, IntegrityFailure, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import DATA, HOLE, Extent
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.base import ImageInfo, Reader, Target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.raw import RawReader, RawWriter
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.cells import CELL, in_order, runs
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.compare import compare
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.convert import convert, survey
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.digest import digests, verify_checksum


class Pieces(Reader):
    """A disk made of given runs of a storage, with holes between them."""

    format = "pieces"

    def __init__(self, storage, size, pieces):
        super().__init__(storage)
        self.virtual_size = size
        self.pieces = pieces

    def describe(self):
        return ImageInfo(self.format, self.virtual_size)

    def extents(self, start=0, length=None):
        position = 0
        for guest, count, host in self.pieces:
            if guest > position:
                yield Extent(position, guest - position, HOLE)
            self.storage.require(host, count, "a piece")
            yield Extent(guest, count, DATA, self.storage, host)
            position = guest + count
        if position < self.virtual_size:
            yield Extent(position, self.virtual_size - position, HOLE)


def to_raw(reader, path, threads=2):
    with Sink(path) as sink:
        convert(reader, RawWriter(sink, reader.virtual_size, Target("raw")), threads=threads)
        sink.commit()
    return path.read_bytes()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_pieces_come_out_where_they_belong(tmp_path, threads):
    chance = random.Random(1)
    host = chance.randbytes(9 * CELL)
    size = 7 * CELL + 512
    expected = bytearray(size)
    pieces, position = [], 0
    while position < size - 3000:
        position += chance.choice([0, 512, 5000, CELL])
        count = min(chance.choice([512, 4096, 70000, CELL, 3 * CELL]), size - position)
        if count <= 0:
            break
        start = chance.randrange(len(host) - count)
        pieces.append((position, count, start))
        expected[position : position + count] = host[start : start + count]
        position += count
    assert to_raw(Pieces(Memory(host), size, pieces), tmp_path / "out", threads) == expected


def test_data_that_is_missing_is_found_before_anything_is_written(tmp_path):
    reader = Pieces(Memory(bytes(4096)), 1 << 20, [(0, 4096, 0), (1 << 19, 4096, 2048)])
    with pytest.raises(CorruptImage, match="behind the end"):
        to_raw(reader, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_zeros_become_holes_wherever_they_come_from(tmp_path):
    data = bytearray(8 << 20)
    data[4 << 20 : (4 << 20) + 4096] = b"x" * 4096
    assert to_raw(RawReader(Memory(bytes(data))), tmp_path / "out") == data
    assert (tmp_path / "out").stat().st_blocks * 512 <= 64 << 10


def test_a_source_that_changes_is_refused(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(b"x" * 8192)
    reader = RawReader(FileStorage(path))
    path.write_bytes(b"y" * 8192 + b"z")
    with pytest.raises(BusyError):
        to_raw(reader, tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(("unit", "start", "end"), [(512, 0, 5000), (4096, 4096, 70000), (65536, 0, 65537)])
def test_runs_are_the_units_that_are_not_zero(unit, start, end):
    chance = random.Random(unit)
    data = bytearray(CELL)
    for _spot in range(9):
        data[chance.randrange(start, end)] = 1
    expected = {at for at in range(start, end, unit) if any(data[at : min(at + unit, end)])}
    found = list(runs(data, start, end, unit))
    assert {at for begin, stop in found for at in range(begin, stop, unit)} == expected
    assert all(left[1] < right[0] for left, right in zip(found, found[1:]))


def test_tasks_come_back_in_order_and_errors_at_their_place():
    def task(number):
        if number == 7:
            raise ValueError(number)
        return number

    results = in_order([lambda n=n: task(n) for n in range(20)], 3)
    assert [next(results) for _number in range(7)] == list(range(7))
    with pytest.raises(ValueError, match="7"):
        next(results)


def test_compare_tells_the_first_difference():
    left = bytearray(random.Random(1).randbytes(3 * CELL))
    for offset in (0, 511, CELL - 1, CELL, 2 * CELL + 4097, 3 * CELL - 1):
        right = bytearray(left)
        right[offset] ^= 0x40
        difference = compare(RawReader(Memory(bytes(left))), RawReader(Memory(bytes(right))))
        assert difference.offset == offset
        assert f"{offset:#x}" in difference.reason
    assert compare(RawReader(Memory(bytes(left))), RawReader(Memory(bytes(left)))) is None


def test_compare_sees_through_holes_and_sizes():
    data = random.Random(1).randbytes(8192)
    left = Pieces(Memory(data), 1 << 20, [(65536, 8192, 0)])
    assert compare(left, RawReader(Memory(bytes(65536) + data))) is None
    assert compare(RawReader(Memory(bytes(65536) + data + b"1".rjust(512, b"\0"))), left).offset == 65536 + 8192 + 511


def test_survey_counts_guest_bytes():
    found = survey(Pieces(Memory(bytes(8192)), 1 << 20, [(65536, 8192, 0)]))
    assert (found.data, found.hole, found.content) == (8192, (1 << 20) - 8192, 8192)


def test_digests_are_those_of_the_standard_library(tmp_path):
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.seek(9 << 20)
        file.write(b"in the middle")
        file.truncate(20 << 20)
    content = path.read_bytes()
    found = digests(FileStorage(path), ["md5", "sha256", "sha512"])
    assert found == {name: hashlib.new(name, content).hexdigest() for name in ("md5", "sha256", "sha512")}


def test_checksums_are_verified_and_their_form_is():
    storage = Memory(b"content")
    verify_checksum(storage, "SHA256: " + hashlib.sha256(b"content").hexdigest().upper())
    with pytest.raises(IntegrityFailure, match="sha1"):
        verify_checksum(storage, "sha1:" + "0" * 40)
    for wrong in ("sha256", "sha256:12", "crc:1234", "md5:" + "g" * 32, ""):
        with pytest.raises(UnsupportedImage):
            verify_checksum(storage, wrong)
