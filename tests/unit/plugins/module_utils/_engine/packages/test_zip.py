# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The zip reader against archives that others wrote: Python, Info-ZIP, 7-Zip, libarchive's bsdtar; and against damaged ones."""

from __future__ import annotations

import io
import os
import random
import stat
import struct
import subprocess
import zipfile

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, InvalidImage, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages import zip as archive
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.members import DATA, FOLDER, SYMBOLIC_LINK, open_member
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

MIB = 1 << 20
GIB = 1 << 30
NOISE = random.Random(7).randbytes(MIB)
FILES = {
    "vm.ovf": b"<x/>",
    "a folder/disk (1).vmdk": NOISE + bytes(3 * MIB) + NOISE[:12345],
    "\u865a\u62df.vmdk": b"text " * 20_000,
    "empty": b"",
}


def members(data):
    return list(archive.members(Memory(data, "test.zip")))


def made(files=None, method=zipfile.ZIP_DEFLATED, **kwargs):
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as out:
        for name, data in (FILES if files is None else files).items():
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            info.compress_type = method
            with out.open(info, "w", **kwargs) as file:
                file.write(data)
    return target.getvalue()


def by_python(method):
    def write(folder):
        with zipfile.ZipFile(folder / "a.zip", "w", method) as out:
            for name in FILES:
                out.write(folder / name, name)

    return write


def streamed(folder):
    class Pipe(io.RawIOBase):
        def __init__(self, file):
            self.file = file

        def writable(self):
            return True

        def write(self, data):
            return self.file.write(data)

    with open(folder / "a.zip", "wb") as file, zipfile.ZipFile(Pipe(file), "w", zipfile.ZIP_DEFLATED) as out:
        for name in FILES:
            out.write(folder / name, name)


def zip64(folder):
    (folder / "a.zip").write_bytes(made(force_zip64=True))


def by(*command):
    def write(folder):
        subprocess.run([*command, *FILES], cwd=folder, check=True, stdout=subprocess.DEVNULL)

    return write


WRITERS = {
    "Python, stored": by_python(zipfile.ZIP_STORED),
    "Python, deflated": by_python(zipfile.ZIP_DEFLATED),
    "Python, bzip2": by_python(zipfile.ZIP_BZIP2),
    "Python, streamed": streamed,
    "Python, Zip64": zip64,
    "Info-ZIP": by("zip", "-q", "a.zip"),
    "Info-ZIP, streamed": by("sh", "-c", 'zip -q - "$@" | cat >a.zip', "sh"),
    "7-Zip": by("7zz", "a", "-tzip", "a.zip"),
    "7-Zip, best": by("7zz", "a", "-tzip", "-mx=9", "a.zip"),
    "bsdtar": by("bsdtar", "--format=zip", "-cf", "a.zip"),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_what_others_wrote(writer, tmp_path, program):
    for tool in ("zip", "7zz", "bsdtar"):
        program(tool)
    for name, data in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    WRITERS[writer](tmp_path)
    storage = FileStorage(tmp_path / "a.zip")
    found = {member.name: member for member in archive.members(storage) if member.kind != FOLDER}
    assert {name: member.size for name, member in found.items()} == {name: len(data) for name, data in FILES.items()}
    chance = random.Random(writer)
    for name, data in FILES.items():
        content = open_member(storage, found[name], name)
        assert content.size == len(data)
        assert content.read_at(0, len(data) + 1) == data
        for _number in range(20):
            offset, length = chance.randrange(len(data) + 1), chance.randrange(100_000)
            assert content.read_at(offset, length) == data[offset : offset + length]


def test_a_member_of_more_than_4_gib(tmp_path):
    """Headers and directory by Python; the 5 GiB between them are a hole."""

    class Skipping(io.RawIOBase):
        """Writes what is not zero."""

        def __init__(self, file):
            self.file = file

        def writable(self):
            return True

        def seekable(self):
            return True

        def seek(self, offset, whence=0):
            return self.file.seek(offset, whence)

        def tell(self):
            return self.file.tell()

        def write(self, data):
            if len(data) == 64 * MIB:
                self.file.seek(len(data), 1)
                return len(data)
            return self.file.write(data)

        def flush(self):
            self.file.flush()

    zeros = bytes(64 * MIB)
    with open(tmp_path / "a.zip", "wb") as file:
        out = zipfile.ZipFile(Skipping(file), "w")
        with out.open("disk.raw", "w", force_zip64=True) as member:
            member._crc = 0
            for _number in range(5 * 16):
                member._file_size += len(zeros)
                out.fp.write(zeros)
            member._compress_size = member._file_size
        out.writestr("behind", b"behind")
        out.close()
    assert os.stat(tmp_path / "a.zip").st_blocks * 512 < MIB
    storage = FileStorage(tmp_path / "a.zip")
    big, small = archive.members(storage)
    assert (big.name, big.size) == ("disk.raw", 5 * GIB)
    disk = open_member(storage, big, "disk.raw")
    assert sum(length for _offset, length in disk.data_ranges()) < MIB
    assert (disk.read_at(5 * GIB - 10, 20), open_member(storage, small, "behind").read_at(0, 9)) == (bytes(10), b"behind")


def test_names_and_kinds():
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    windows = zipfile.ZipInfo("folder/disk.vhd")
    windows.create_system = 0
    data = made({"folder/": b"", link: b"target", windows: b"x"}, zipfile.ZIP_STORED).replace(b"folder/disk.vhd", b"folder\\disk.vhd")
    assert [(member.name, member.kind) for member in members(data)] == [("folder/", FOLDER), ("link", SYMBOLIC_LINK), ("folder/disk.vhd", DATA)]


def test_what_cannot_be_decompressed_is_listed_and_refused_when_it_is_opened(tmp_path, program):
    (tmp_path / "disk.raw").write_bytes(NOISE[:5000] * 2)
    subprocess.run([program("7zz"), "a", "-tzip", "-psecret", "locked.zip", "disk.raw"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([program("7zz"), "a", "-tzip", "-mm=Deflate64", "wide.zip", "disk.raw"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    for name, message in (("locked.zip", "stored with encryption"), ("wide.zip", "stored with method 9")):
        storage = FileStorage(tmp_path / name)
        (member,) = archive.members(storage)
        assert (member.name, member.size) == ("disk.raw", 10_000)
        with pytest.raises(UnsupportedImage, match=message):
            open_member(storage, member, "disk.raw")


def patched(data, signature, offset, value):
    """The archive with a value in the first structure of a kind."""
    at = data.index(signature) + offset
    return data[:at] + value + data[at + len(value) :]


SMALL = made({"a": b"abcdefgh" * 100, "b": b"x"}, zipfile.ZIP_STORED)
PACKED = made({"a": b"abcdefgh" * 100})
END = len(SMALL) - 22


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (b"", InvalidImage, "end is missing"),
        (SMALL[:-1], InvalidImage, "end is missing"),
        (SMALL + b"x", InvalidImage, "end is missing"),
        (b"MZ program" + SMALL, CorruptImage, "does not lie in front of its end"),
        (patched(SMALL, b"PK\5\6", 20, b"\x16\0") + SMALL[-22:], CorruptImage, "two ends"),
        (patched(SMALL, b"PK\5\6", 4, b"\1"), UnsupportedImage, "one part of several"),
        (patched(SMALL, b"PK\5\6", 8, b"\3\0\3\0"), CorruptImage, "directory of the zip archive is damaged"),
        (patched(SMALL, b"PK\5\6", 8, b"\1\0\1\0"), CorruptImage, "longer than its entries"),
        (patched(SMALL, b"PK\1\2", 0, b"XX"), CorruptImage, "directory of the zip archive is damaged"),
        (patched(SMALL, b"PK\3\4", 30, b"c"), CorruptImage, "contradicts the archive's directory"),
        (patched(SMALL, b"PK\3\4", 8, b"\x08"), CorruptImage, "contradicts the archive's directory"),
        (patched(SMALL, b"PK\3\4", 22, b"\1"), CorruptImage, "contradicts the archive's directory"),
        (patched(SMALL, b"PK\3\4", 28, b"\xff\xff"), CorruptImage, "ends behind the beginning of the directory"),
        (patched(SMALL, b"PK\1\2", 42, b"\x08"), CorruptImage, "contradicts the archive's directory"),
        (patched(SMALL, b"PK\1\2", 42, b"\xff\xff\xff\xff"), CorruptImage, "no Zip64 size"),
        (patched(SMALL, b"PK\1\2", 46, b"\0"), CorruptImage, "contradicts the archive's directory"),
        (patched(patched(SMALL, b"PK\1\2", 46, b"\0"), b"PK\3\4", 30, b"\0"), CorruptImage, "no usable name"),
        (patched(patched(SMALL, b"PK\1\2", 8, b"\0\x08\0\0"), b"PK\3\4", 6, b"\0\x08"), None, None),
    ],
)
def test_damage(data, kind, message):
    if kind is None:
        assert [member.name for member in members(data)] == ["a", "b"]
    else:
        with pytest.raises(kind, match=message):
            members(data)


def test_members_that_overlap():
    """All entries of the directory mean the same bytes: small archives that become huge."""
    first = SMALL.index(b"PK\1\2")
    entry = SMALL[first : SMALL.index(b"PK\1\2", first + 1)]
    directory = entry * 50
    data = SMALL[:first] + directory + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 50, 50, len(directory), first, 0)
    with pytest.raises(CorruptImage, match="overlaps another one"):
        members(data)
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == ["a"] * 50


def test_too_many_members():
    data = patched(made({"a": b"x"}, force_zip64=True), b"PK\5\6", 8, b"\1\0\1\0")
    end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1 << 40, 1 << 40, len(data) - 22, 0)
    huge = data[:-22] + end + struct.pack("<4sIQI", b"PK\6\7", 0, len(data) - 22, 1) + data[-22:]
    with pytest.raises(LimitExceeded, match="1099511627776 members"):
        members(huge)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("crc", b"\1\2\3\4", "the CRC-32 [0-9a-f]{8} instead of 04030201"),
        ("size", struct.pack("<I", 801), "800 bytes instead of 801"),
        ("size", b"\x1f\3\0\0", "more than 799"),
    ],
)
def test_a_member_that_is_not_what_the_directory_says(field, value, message):
    local, central = {"crc": (14, 16), "size": (22, 24)}[field]
    data = patched(patched(PACKED, b"PK\3\4", local, value), b"PK\1\2", central, value)
    storage = Memory(data, "test.zip")
    (member,) = archive.members(storage)
    with pytest.raises(CorruptImage, match=message):
        open_member(storage, member, "a").read_at(0, 1000)


def test_a_zip_archive_in_a_stream():
    storage = Memory(SMALL)
    storage.sequential = True
    with pytest.raises(UnsupportedImage, match="begins with its end"):
        archive.members(storage)


def test_random_damage_never_crashes():
    chance = random.Random(5)
    refused = 0
    for _number in range(1500):
        data = bytearray(PACKED if chance.random() < 0.5 else SMALL)
        for _count in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        storage = Memory(bytes(data), "test.zip")
        try:
            for member in archive.members(storage):
                content = open_member(storage, member, member.name)
                assert len(content.read_at(0, content.size)) == member.size
        except ImageError:
            refused += 1
    assert 200 < refused < 1500
