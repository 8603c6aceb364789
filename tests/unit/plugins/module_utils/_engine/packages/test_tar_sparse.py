# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sparse members of tar archives: written by GNU tar and bsdtar, read by them and by Python; and maps that lie."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import tarfile
import tracemalloc

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages import tar, tar_sparse
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.members import open_member
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.stream import open_stream
from build_tar import END, header, padded, pax, sparse

MIB, GIB = 1 << 20, 1 << 30
VERSIONS = ("old", "0.0", "0.1", "1.0")
WRITERS = {
    "old GNU": ["tar", "-cS", "--format=oldgnu"],
    "GNU": ["tar", "-cS", "--format=gnu"],
    "0.0": ["tar", "-cS", "--format=posix", "--sparse-version=0.0"],
    "0.1": ["tar", "-cS", "--format=posix", "--sparse-version=0.1"],
    "1.0": ["tar", "-cS", "--format=posix", "--sparse-version=1.0"],
    "libarchive": ["bsdtar", "-c", "--format=pax"],
}


def index(data):
    return list(tar.members(Memory(data, "test.tar")))


def content(storage, member):
    return open_member(storage, member, member.name).read_at(0, member.size)


def write_holes(path, size, runs):
    """A file of these (offset, bytes) runs."""
    with open(path, "wb") as file:
        file.truncate(size)
        for offset, data in runs:
            os.pwrite(file.fileno(), data, offset)


@pytest.fixture
def files(tmp_path):
    """Files with holes of every kind, by name; what is left out is at most a page too little."""
    folder = tmp_path / "in"
    folder.mkdir()
    dice = random.Random(1)
    write_holes(folder / "hole", 3 * MIB, [])
    write_holes(folder / "empty", 0, [])
    write_holes(folder / "no-hole", 10_000, [(0, dice.randbytes(10_000))])
    write_holes(folder / "begins-with-data", 5 * MIB, [(0, dice.randbytes(5000))])
    write_holes(folder / "ends-with-data", 5 * MIB - 100, [(3 * MIB + 7, dice.randbytes(9)), (5 * MIB - 200, dice.randbytes(100))])
    write_holes(folder / ("long-name-" * 20), MIB, [(MIB // 2, b"x")])
    write_holes(folder / "fragments", 600 * 65536, [(number * 65536, dice.randbytes(3000)) for number in range(600)])
    return folder


@pytest.mark.parametrize("writer", WRITERS)
def test_what_other_programs_wrote(writer, files, tmp_path, program):
    names = sorted(os.listdir(files))
    command, *options = WRITERS[writer]
    subprocess.run([program(command), *options, "-f", "../a.tar", *names], cwd=files, check=True)
    stored = os.path.getsize(tmp_path / "a.tar")
    assert stored < 3 * MIB < sum(os.path.getsize(files / name) for name in names) // 10
    storage = FileStorage(tmp_path / "a.tar")
    found = {member.name: member for member in tar.members(storage)}
    assert list(found) == names
    for name, member in found.items():
        assert (member.kind, member.size) == (tar.DATA, os.path.getsize(files / name))
        assert content(storage, member) == (files / name).read_bytes(), name
    assert len(found["fragments"].sparse) == 600
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress((tmp_path / "a.tar").read_bytes(), 1))
    stream = open_stream(FileStorage(tmp_path / "a.tar.gz"), "gzip")
    for member in tar.members(stream):
        assert content(stream, member) == (files / member.name).read_bytes(), member.name


@pytest.mark.parametrize("writer", WRITERS)
def test_a_member_of_more_than_8_gib(writer, tmp_path, program):
    write_holes(tmp_path / "huge", 9 * GIB, [(offset, b"x" * 100) for offset in (0, 5 * GIB + 12345, 9 * GIB - 100)])
    (tmp_path / "behind").write_bytes(b"behind")
    command, *options = WRITERS[writer]
    subprocess.run([program(command), *options, "-f", "a.tar", "huge", "behind"], cwd=tmp_path, check=True)
    storage = FileStorage(tmp_path / "a.tar")
    huge, behind = tar.members(storage)
    file, known = open_member(storage, huge, "huge"), FileStorage(tmp_path / "huge")
    assert (file.size, file.allocated()) == (9 * GIB, huge.stored)
    ranges = list(file.data_ranges())
    assert ranges == list(known.data_ranges())
    for offset, length in [*ranges, (3 * GIB, 5000), (9 * GIB - 50, 100), (5 * GIB - 10, 20_000)]:
        assert file.read_at(offset, length) == known.read_at(offset, length)
    assert content(storage, behind) == b"behind"


def random_holes(dice, runs):
    """A file with so many runs: their places, its content, and what is stored. Holes of any length, also such as no file system has."""
    places, whole, stored = [], bytearray(), b""
    for number in range(runs):
        hole = dice.choice((0, 1, 511, 100_000)) if places else 3
        length = 0 if number == runs - 1 else 777 if number == runs - 2 else dice.choice((512, 1536))
        places.append((len(whole) + hole, length))
        data = bytes([number + 1]) * length
        whole += bytes(hole) + data
        stored += data
    return places, bytes(whole), stored


@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_made_by_hand_is_read_by_all_alike(version, tmp_path, program):
    dice = random.Random(1)
    data, expected = b"", {}
    for runs in (1, 4, 5, 25, 26, 60):  # 4 in a header of the old format, and 21 in each block behind it
        places, whole, stored = random_holes(dice, runs)
        data += sparse(b"%d" % runs, places, len(whole), version) + padded(stored)
        expected[str(runs)] = whole
    data += header(b"behind", size=3, body=b"abc") + END
    expected["behind"] = b"abc"
    assert {member.name: content(Memory(data), member) for member in index(data)} == expected
    (tmp_path / "a.tar").write_bytes(data)
    for reader in ("tar", "bsdtar"):
        (tmp_path / reader).mkdir()
        subprocess.run([program(reader), "-xf", "../a.tar"], cwd=tmp_path / reader, check=True)
        assert {path.name: path.read_bytes() for path in (tmp_path / reader).iterdir()} == expected, reader
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert {info.name: archive.extractfile(info).read() for info in archive} == expected


ONE = [(512, 512)]
X = b"x" * 512
RECORD = b"GNU.sparse."


def in_data(table, *, real=b"1024", size=None, major=b"1", more=()):
    """A member of version 1.0 with this map."""
    body = padded(table)
    records = (RECORD + b"major", major), (RECORD + b"minor", b"0"), (RECORD + b"realsize", real), *more
    return pax(*records) + header(b"a", size=len(body) + 512 if size is None else size, body=body) + X + END


def in_pax(*records, stored=512):
    """A member with these records."""
    return pax(*((RECORD + key, value) for key, value in records)) + header(b"a", size=stored, body=X) + END


def old(runs, real, *, stored=None, patch=()):
    """A member of the old format; ``patch``: (offset, bytes) to write into its header and what is behind it."""
    data = bytearray(sparse(b"a", runs, real, "old", stored) + X + END)
    for offset, new in patch:
        data[offset : offset + len(new)] = new
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


SIZE = (b"size", b"1024")
LIES = {
    **{f"{version}: backwards": (sparse(b"a", [(1024, 512), (0, 512)], 2048, version) + X * 2, "512 bytes at 0 overlap") for version in VERSIONS},
    **{f"{version}: overlap": (sparse(b"a", [(0, 512), (511, 512)], 2048, version) + X * 2, "512 bytes at 511 overlap") for version in VERSIONS},
    **{f"{version}: a run ends inside a block": (sparse(b"a", [(0, 5), (512, 5)], 1024, version) + X, "no whole number of blocks") for version in VERSIONS},
    **{f"{version}: behind the end": (sparse(b"a", [(513, 512)], 1024, version) + X, "outside of the file's 1024") for version in VERSIONS},
    **{f"{version}: empty run behind the end": (sparse(b"a", [*ONE, (1025, 0)], 1024, version) + X, "outside of the file's 1024") for version in VERSIONS},
    **{f"{version}: more than is stored": (sparse(b"a", ONE, 1024, version, 511) + X, "speaks of 512 bytes, and 511 are stored") for version in VERSIONS},
    **{f"{version}: less than is stored": (sparse(b"a", ONE, 1024, version, 513) + X, "speaks of 512 bytes, and 513 are stored") for version in VERSIONS},
    **{f"{version}: nothing is stored": (sparse(b"a", [], 1024, version, 1) + X, "map") for version in VERSIONS},
    **{f"{version}: data cut": (sparse(b"a", ONE, 1024, version) + X[:500], "12 of the 512 bytes of member 'a' are missing") for version in VERSIONS},
    **{f"{version}: 2^63": (sparse(b"a", [((1 << 63) - 512, 512)], 1 << 63, version) + X, "is no number") for version in VERSIONS},
    "old: offset negative": (old(ONE, 1024, patch=[(386, b"\xff" * 12)]), "offset or a length is no number"),
    "old: length negative": (old(ONE, 1024, patch=[(398, b"\xff" * 12)]), "offset or a length is no number"),
    "old: length is text": (old(ONE, 1024, patch=[(398, b"00000000009\0")]), "offset or a length is no number"),
    "old: entry without a length": (old([(0, 0), *ONE], 1024, patch=[(398, bytes(12))]), "offset or a length is no number"),
    "old: size is no number": (old(ONE, 1024, patch=[(483, b"x" * 12)]), "size of the file is no number"),
    "old: size negative": (old(ONE, 1024, patch=[(483, b"\xff" * 12)]), "size of the file is no number"),
    "old: goes on behind its end": (old(ONE, 1024, patch=[(482, b"\1")]), "goes on behind its end"),
    "old: cut in its map": (sparse(b"a", [(n * 1024, 512) for n in range(6)], 8192, "old")[:900], "map of a sparse archive member ends at byte 1024"),
    "old, and pax": (pax((RECORD + b"size", b"1024")) + sparse(b"a", ONE, 1024, "old") + X, "two maps"),
    "no map": (in_pax(SIZE), "no map, or more than one"),
    "no map, but a name": (in_pax((b"name", b"other")), "no map, or more than one"),
    "two maps": (in_pax(SIZE, (b"map", b"0,512"), (b"offset", b"0"), (b"numbytes", b"512")), "no map, or more than one"),
    "map in headers and data": (in_data(b"1\n0\n512\n", more=[(RECORD + b"map", b"0,512")]), "no map, or more than one"),
    "no size": (in_pax((b"map", b"0,512")), "no size, or two"),
    "two sizes": (in_pax(SIZE, (b"realsize", b"2048"), (b"map", b"0,512")), "no size, or two"),
    "two maps of one kind": (in_pax(SIZE, (b"map", b"0,512"), (b"map", b"512,512")), "two of GNU.sparse.map"),
    "count is wrong": (in_pax(SIZE, (b"numblocks", b"2"), (b"map", b"0,512")), "number of its runs is wrong"),
    "odd map": (in_pax(SIZE, (b"map", b"0,512,1024")), "number of its runs is wrong"),
    "odd pairs": (in_pax(SIZE, (b"offset", b"0"), (b"numbytes", b"512"), (b"offset", b"1024")), "number of its runs is wrong"),
    "pairs turned round": (in_pax(SIZE, (b"numbytes", b"512"), (b"offset", b"0")), "GNU.sparse.numbytes is not in its place"),
    "empty map": (in_pax(SIZE, (b"map", b"")), "'' is no number"),
    "map with a sign": (in_pax(SIZE, (b"map", b"0,-512")), "'-512' is no number"),
    "map with spaces": (in_pax(SIZE, (b"map", b"0, 512")), "' 512' is no number"),
    "size of 4000 digits": (in_pax((b"size", b"9" * 4000), (b"map", b"0,512")), "9' is no number"),
    "map of a folder": (pax((RECORD + b"size", b"1024"), (RECORD + b"map", b"0,512")) + header(b"a", b"5", size=512, body=X), "is a folder"),
    "map of a hole in a folder": (pax((RECORD + b"size", b"1024"), (RECORD + b"map", b"0,0")) + header(b"a", b"5"), "is a folder"),
    "map of a link": (pax((RECORD + b"size", b"1024"), (RECORD + b"map", b"0,0")) + header(b"a", b"2"), "is a symbolic link"),
    "1.0: no map": (in_data(b"", size=0), "has no end"),
    "1.0: count is no number": (in_data(b"one\n"), "'one' is no number"),
    "1.0: count negative": (in_data(b"-1\n0\n512\n"), "'-1' is no number"),
    "1.0: fewer lines than it says": (in_data(b"2\n0\n512\n"), "no number|has no end"),
    "1.0: a line without end": (in_data(b"1\n0\n" + b"5" * 600), "has no end"),
    "1.0: goes on in the data": (in_data(b"99\n" + b"0\n0\n" * 98 + b"0\n512\n", size=0), "has no end"),
    "1.0: goes on behind the data": (in_data(b"199\n" + b"0\n0\n" * 198 + b"0\n512\n", size=512), "has no end"),
    "1.0: an empty line": (in_data(b"1\n\n512\n"), "'' is no number"),
    "1.0: cut in its map": (in_data(b"1\n0\n512\n")[: 3 * 512 + 100], "map of a sparse archive member ends at byte"),
}


@pytest.mark.parametrize("name", LIES)
def test_maps_that_lie(name):
    data, message = LIES[name]
    with pytest.raises(CorruptImage, match=message) as caught:
        index(data)
    assert caught.value.path == "test.tar"


def test_what_is_not_known():
    for data, message in (
        (in_data(b"1\n0\n512\n", major=b"2"), "version 2.0"),
        (in_pax(SIZE, (b"minor", b"7"), (b"map", b"0,512")), "version 0.7"),
        (in_pax(SIZE, (b"mystery", b"1"), (b"map", b"0,512")), "GNU.sparse.mystery"),
    ):
        with pytest.raises(UnsupportedImage, match=message):
            index(data)


def test_what_other_programs_may_write():
    for data in (
        in_pax(SIZE, (b"major", b"0"), (b"minor", b"1"), (b"map", b"512,512")),
        in_pax((b"realsize", b"1024"), (b"map", b"512,512")),
        in_data(b"1\n512\n512\n", more=[(RECORD + b"size", b"1024")]),
        in_data(b"2\n512\n512\n1024\n0\n"),
    ):
        (member,) = index(data)
        assert (list(member.sparse), content(Memory(data), member)) == ([(512, 512)], bytes(512) + X)


@pytest.mark.parametrize("version", VERSIONS)
def test_files_that_no_disk_is(version):
    with pytest.raises(LimitExceeded, match="member of 70368744177665 bytes"):
        index(sparse(b"a", [], (64 << 40) + 1, version) + END if version == "old" else sparse(b"a", [(0, 0)], (64 << 40) + 1, version) + END)
    (member,) = index(sparse(b"a", [(0, 0)], 64 << 40, version) + END)
    assert (member.size, member.stored, len(member.sparse)) == (64 << 40, 0, 0)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_number_of_runs_is_bounded(version, monkeypatch):
    monkeypatch.setattr(tar_sparse, "MAX_SPARSE_RUNS", 100)
    monkeypatch.setattr(tar, "MAX_SPARSE_RUNS", 100)
    runs = [(number * 1024, 512) for number in range(101)]
    one = sparse(b"a", runs[:50], 1 << 20, version) + X * 50
    assert [len(member.sparse) for member in index(one * 2)] == [50, 50]
    for data in (one * 3, sparse(b"a", runs, 1 << 20, version) + X * 101):
        with pytest.raises(LimitExceeded, match="more than 100 runs"):
            index(data)


@pytest.mark.parametrize("name", ["old, empty entries", "old, entries of nothing", "1.0, count", "1.0, entries of nothing", "0.1", "0.0"])
def test_maps_without_end_cost_no_memory(name, monkeypatch):
    """Maps that an archive of a few kilobytes can hold when it is compressed."""
    monkeypatch.setattr(tar, "MAX_SPARSE_RUNS", 10_000)
    nothing = (b"%011o\0" % 0) * 42 + b"\1" + bytes(7)
    entry = (b"%011o\0" % 0) * 8
    data = {
        "old, empty entries": old([(0, 0)] * 5, 0, patch=[(512, (bytes(504) + b"\1" + bytes(7)))]) + bytes(504) + b"\1" + bytes(7),
        "old, entries of nothing": old([(0, 0)] * 5, 0, patch=[(386, entry)])[:512] + nothing * 1000,
        "1.0, count": in_data(b"%d\n" % ((1 << 63) - 1) + b"0\n" * 1000),
        "1.0, entries of nothing": in_data(b"10001\n" + b"0\n" * 1_000_000),
        "0.1": in_pax(SIZE, (b"map", b"0," * 250_000 + b"0"), stored=0),
        "0.0": in_pax(SIZE, *[(b"offset", b"0"), (b"numbytes", b"0")] * 15_000, (b"offset", b"9999"), (b"numbytes", b"0"), stored=0),
    }[name]
    tracemalloc.start()
    try:
        with pytest.raises((LimitExceeded, CorruptImage)):
            index(data)
        assert tracemalloc.get_traced_memory()[1] < 40 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("version", VERSIONS)
def test_random_damage_never_crashes(version):
    dice = random.Random(version)
    runs = [(number * 1024, 512) for number in range(30)]
    data = sparse(b"a", runs, 1 << 15, version) + X * 30 + END
    reference = index(data)
    assert len(reference[0].sparse) == 30
    end = len(data) - len(END) - 30 * 512
    for _round in range(1500):
        damaged = bytearray(data)
        for _byte in range(dice.choice((1, 1, 2, 5))):
            damaged[dice.randrange(end)] = dice.choice((0, 10, 32, 44, 48, 49, 55, 57, 61, 128, 255))
        for start in range(0, end, 512):  # the checksums of headers fit again
            if damaged[start + 257 : start + 262] == b"ustar":
                damaged[start + 148 : start + 156] = b" " * 8
                damaged[start + 148 : start + 156] = b"%06o\0 " % sum(damaged[start : start + 512])
        try:
            found = index(bytes(damaged))
        except ImageError:
            continue
        for member in found:
            if member.kind == tar.DATA:
                assert len(open_member(Memory(bytes(damaged)), member, "x").read_at(0, 1 << 16)) == min(member.size, 1 << 16)


def test_no_more_of_a_map_is_read_than_makes_sense():
    class Counting(Memory):
        count = 0

        def read_at(self, offset, length):
            self.count += length
            return super().read_at(offset, length)

    for table, message in (
        (b"1048577\n" + b"0\n" * 100_000, "more than 1048576 runs"),
        (b"1" * 100_000, "has no end"),
        (b"1\n" + bytes(100_000), "has no end"),
    ):
        storage = Counting(in_data(table))
        with pytest.raises(ImageError, match=message):
            list(tar.members(storage))
        assert storage.count <= 6 * 512


def test_a_disk_of_many_runs_is_listed_with_little_memory():
    count = 50_000
    table = padded(b"%d\n" % count + b"".join(b"%d\n512\n" % (number * 4096) for number in range(count)))
    size = count * 4096
    records = (RECORD + b"major", b"1"), (RECORD + b"minor", b"0"), (RECORD + b"realsize", b"%d" % size)
    data = pax(*records) + header(b"a", size=len(table) + count * 512, body=table) + b"z" * count * 512 + END
    tracemalloc.start()
    try:
        (member,) = index(data)
        assert tracemalloc.get_traced_memory()[0] < 2 * MIB
    finally:
        tracemalloc.stop()
    assert len(member.sparse) == count
    storage = open_member(Memory(data), member, "a")
    assert storage.read_at(size - 4097, 3) == b"\0zz"
