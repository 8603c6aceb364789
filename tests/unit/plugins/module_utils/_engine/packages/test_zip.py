# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The zip reader against archives that others wrote: Python, Info-ZIP, 7-Zip, libarchive's bsdtar; and against damaged ones."""

from __future__ import annotations

import io
import lzma
import os
import random
import stat
import struct
import subprocess
import tracemalloc
import zipfile
import zlib

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, InvalidImage, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages import zip as archive
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.container import Archive
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.members import (
    DATA,
    DEVICE,
    FIFO,
    FOLDER,
    SYMBOLIC_LINK,
    open_member,
)
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


def patched(data, signature, offset, value):
    """The archive with a value in the first structure of a kind."""
    at = data.index(signature) + offset
    return data[:at] + value + data[at + len(value) :]


def holding(packed, method, crc32, size):
    """An archive of one member, whose stored bytes are given."""
    data = made({"a": packed}, zipfile.ZIP_STORED)
    for signature, at in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
        data = patched(data, signature, at, struct.pack("<H", method))
        data = patched(data, signature, at + 6, struct.pack("<III", crc32, len(packed), size))
    return data


def lengthened(more):
    """An archive of one stored member, both of whose headers give it more bytes than it has."""
    data = made({"a": b"abc"}, zipfile.ZIP_STORED)
    for signature, at in ((b"PK\3\4", 18), (b"PK\1\2", 20)):
        data = patched(data, signature, at, struct.pack("<II", 3 + more, 3 + more))
    return data


def by_python(method):
    def write(folder):
        with zipfile.ZipFile(folder / "a.zip", "w", method) as out:
            for name in FILES:
                out.write(folder / name, name)

    return write


class _Pipe(io.BytesIO):
    """What cannot be gone back in: sizes follow the content."""

    def seekable(self):
        return False

    def tell(self):
        raise io.UnsupportedOperation


def streamed(folder):
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as out:
        for name in FILES:
            out.write(folder / name, name)
    (folder / "a.zip").write_bytes(pipe.getvalue())


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


def test_a_zip64_member_that_contradicts_itself():
    """The sizes in the Zip64 field of a member's own header count, too."""
    data = made({"a": b"abc"}, zipfile.ZIP_STORED, force_zip64=True)
    data = patched(data, b"PK\3\4", 18, b"\xff" * 8)  # as newer Pythons do
    with zipfile.ZipFile(io.BytesIO(data)) as theirs:
        assert theirs.read("a") == b"abc"
    assert [member.size for member in members(data)] == [3]
    at = 30 + 1 + 4
    assert data[at : at + 16] == struct.pack("<QQ", 3, 3)
    with pytest.raises(CorruptImage, match="contradicts the archive's directory"):
        members(data[:at] + struct.pack("<QQ", 3, 4) + data[at + 16 :])


def with_zip64_end(data, offset=0, value=b""):
    """The archive with a Zip64 end in front of its other end, which would do; with a value in it or in its locator."""
    entries, size, start = struct.unpack("<10xHII2x", data[-22:])
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, size, start)
    added = record + struct.pack("<4sIQI", b"PK\6\7", 0, len(data) - 22, 1)
    return data[:-22] + added[:offset] + value + added[offset + len(value) :] + data[-22:]


def test_a_zip64_end_that_was_not_needed():
    assert [member.name for member in members(with_zip64_end(SMALL))] == ["a", "b"]


@pytest.mark.parametrize(("offset", "value"), [(8, b"\3\0"), (10, b"\3\0"), (12, b"\1\0\0\0"), (16, b"\0\0\0\0")])
def test_two_ends_that_disagree(offset, value):
    """Programs take either."""
    with pytest.raises(CorruptImage, match="contradicts the other one"):
        members(patched(with_zip64_end(SMALL), b"PK\5\6", offset, value))


@pytest.mark.parametrize(
    ("offset", "value", "kind", "message"),
    [
        (0, b"XX", CorruptImage, "Zip64 end of the archive is damaged"),
        (4, b"\x2d", CorruptImage, "Zip64 end of the archive is damaged"),
        (56 + 4, b"\1", UnsupportedImage, "one part of several"),
        (56 + 8, b"\0", CorruptImage, "Zip64 end of the archive is damaged"),
        (56 + 14, b"\1", CorruptImage, "behind the end of the file"),
        (56 + 16, b"\2", UnsupportedImage, "one part of several"),
    ],
)
def test_a_damaged_zip64_end(offset, value, kind, message):
    with pytest.raises(kind, match=message):
        members(with_zip64_end(SMALL, offset, value))


def test_a_member_in_another_part():
    """By its number in the entry, or in its Zip64 field."""
    data = patched(SMALL, b"PK\1\2", 34, b"\1")
    with pytest.raises(UnsupportedImage, match="one part of several"):
        members(data)
    info = zipfile.ZipInfo("a")
    info.extra = struct.pack("<HHI", 1, 4, 1)
    data = patched(made({info: b"x"}, zipfile.ZIP_STORED), b"PK\1\2", 34, b"\xff\xff")
    with pytest.raises(UnsupportedImage, match="one part of several"):
        members(data)
    assert [member.name for member in members(data.replace(info.extra, struct.pack("<HHI", 1, 4, 0)))] == ["a"]


def named(name, raw=None, system=3, flags=0, extra=b"", mode=0):
    """An archive of one member, whose name's bytes are ``raw``."""
    info = zipfile.ZipInfo(name)
    info.create_system, info.extra, info.external_attr = system, extra, mode << 16
    data = made({info: b"x"}, zipfile.ZIP_STORED)
    if raw is not None:
        assert (len(raw), data.count(name.encode())) == (len(name), 2)
        data = data.replace(name.encode(), raw)
    return patched(patched(data, b"PK\1\2", 8, struct.pack("<H", flags)), b"PK\3\4", 6, struct.pack("<H", flags))


def unicode_path(raw, name):
    return struct.pack("<HHBI", 0x7075, 5 + len(name.encode()), 1, zlib.crc32(raw)) + name.encode()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (named("u.vmdk", b"\x81.vmdk", system=0), "\u00fc.vmdk"),
        (named("uu.vmdk", "\u00fc.vmdk".encode(), flags=1 << 11), "\u00fc.vmdk"),
        (named("uu.vmdk", "\u00fc.vmdk".encode()), "\u00fc.vmdk"),
        (named("u.vmdk", b"\x81.vmdk"), "\udc81.vmdk"),
        (named("u.vmdk", extra=unicode_path(b"u.vmdk", "\u00fc.vmdk")), "\u00fc.vmdk"),
        (named("u.vmdk", extra=unicode_path(b"v.vmdk", "\u00fc.vmdk")), "u.vmdk"),
        (named("vm/disk", b"vm\\disk", system=0), "vm/disk"),
        (named("vm/disk", b"vm\\disk"), "vm\\disk"),
        (named("a/b/c", b"a/b\\c", system=0), "a/b\\c"),
        (named("vm/disk", b"vm\\disk", flags=1 << 11), "vm\\disk"),
        (named("../x"), "../x"),
    ],
)
def test_names(data, name):
    assert [member.name for member in members(data)] == [name]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (named("u.vmdk", b"\x81.vmdk", flags=1 << 11), "is not UTF-8"),
        (named("u.vmdk", flags=1 << 11, extra=unicode_path(b"u.vmdk", "\u00fc.vmdk")), "two names"),
        (named("u.vmdk", extra=2 * unicode_path(b"u.vmdk", "\u00fc.vmdk")), "same extra field twice"),
        (named("disk/"), "is a folder, but has 1 bytes"),
        (named("disk", mode=stat.S_IFDIR | 0o755), "is a folder, but has 1 bytes"),
    ],
)
def test_names_that_are_refused(data, message):
    with pytest.raises(CorruptImage, match=message):
        members(data)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [(SYMBOLIC_LINK, stat.S_IFLNK), (DEVICE, stat.S_IFBLK), (DEVICE, stat.S_IFCHR), (FIFO, stat.S_IFIFO), (DATA, stat.S_IFREG), (DATA, 0)],
)
@pytest.mark.parametrize("system", [0, 3, 19])
def test_kinds(kind, mode, system):
    (member,) = members(named("a", mode=mode | 0o777, system=system))
    assert member.kind == kind


def test_links_and_folders_by_info_zip(tmp_path, program):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("folder/file")
    subprocess.run([program("zip"), "-qry", "a.zip", "folder", "link"], cwd=tmp_path, check=True)
    found = {member.name: member.kind for member in archive.members(FileStorage(tmp_path / "a.zip"))}
    assert found == {"folder/": FOLDER, "folder/file": DATA, "link": SYMBOLIC_LINK}


@pytest.mark.parametrize("system", [0, 11])
def test_a_folder_by_a_program_that_writes_backslashes(system):
    data = made({"vm/": b""}, zipfile.ZIP_STORED).replace(b"vm/", b"vm\\")
    assert [(member.name, member.kind) for member in members(patched(data, b"PK\1\2", 5, bytes([system])))] == [("vm/", FOLDER)]


@pytest.mark.parametrize(("method", "pack"), [(95, lzma.compress), (93, lambda data: b"\x28\xb5\x2f\xfd\x20" + bytes([len(data)]) + _raw_block(data))])
def test_methods_that_come_from_elsewhere(method, pack):
    content = bytes(range(200))
    storage = Memory(holding(pack(content), method, zlib.crc32(content), len(content)), "test.zip")
    (member,) = archive.members(storage)
    assert open_member(storage, member, "a").read_at(0, 300) == content


def _raw_block(data):
    """The last block of a zstd frame, not compressed (RFC 8878, 3.1.1.2)."""
    return (len(data) << 3 | 1).to_bytes(3, "little") + data


def test_what_cannot_be_decompressed_is_listed_and_refused_when_it_is_opened(tmp_path, program):
    (tmp_path / "disk.raw").write_bytes(NOISE[:5000] * 2)
    subprocess.run([program("7zz"), "a", "-tzip", "-psecret", "locked.zip", "disk.raw"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([program("7zz"), "a", "-tzip", "-psecret", "-mem=AES256", "aes.zip", "disk.raw"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    for method in ("Deflate64", "LZMA", "PPMd"):
        subprocess.run([program("7zz"), "a", "-tzip", f"-mm={method}", f"{method}.zip", "disk.raw"], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    for name, message in (
        ("locked.zip", "stored with encryption"),
        ("aes.zip", "stored with encryption"),
        ("Deflate64.zip", "stored with Deflate64"),
        ("LZMA.zip", "stored with LZMA"),
        ("PPMd.zip", "stored with PPMd"),
    ):
        storage = FileStorage(tmp_path / name)
        (member,) = archive.members(storage)
        assert (member.name, member.size) == ("disk.raw", 10_000)
        with pytest.raises(UnsupportedImage, match=message):
            open_member(storage, member, "disk.raw")


SMALL = made({"a": b"abcdefgh" * 100, "b": b"x"}, zipfile.ZIP_STORED)
PACKED = made({"a": b"abcdefgh" * 100})
PACKED_TWO = made({"a": b"abcdefgh" * 100, "b": b"x"})


def _streamed():
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a", b"abcdefgh" * 100)
        out.writestr("b", b"x")
    return pipe.getvalue()


STREAMED = _streamed()


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (b"", InvalidImage, "end is missing"),
        (SMALL[:-1], InvalidImage, "end is missing"),
        (SMALL + b"x", InvalidImage, "end is missing"),
        (b"MZ program" + SMALL, CorruptImage, "does not lie in front of its end"),
        (patched(SMALL, b"PK\5\6", 20, b"\x16\0") + SMALL[-22:], CorruptImage, "holds another end"),
        (SMALL[:-2] + b"\7\0comment", None, None),
        (SMALL[:-2] + b"\4\0PK\5\6", CorruptImage, "holds another end"),
        (SMALL[:-2] + b"\x20\0PK\5\6" + bytes(28), CorruptImage, "holds another end"),
        (patched(SMALL, b"PK\5\6", 4, b"\1"), UnsupportedImage, "one part of several"),
        (patched(SMALL, b"PK\5\6", 8, b"\3\0\3\0"), CorruptImage, "directory of the zip archive is damaged"),
        (patched(SMALL, b"PK\5\6", 8, b"\1\0\1\0"), CorruptImage, "longer than its entries"),
        (patched(SMALL, b"PK\1\2", 0, b"XX"), CorruptImage, "directory of the zip archive is damaged"),
        (patched(SMALL, b"PK\3\4", 30, b"c"), CorruptImage, "contradicts the archive's directory"),
        (patched(SMALL, b"PK\3\4", 8, b"\x08"), CorruptImage, "contradicts the archive's directory"),
        (patched(SMALL, b"PK\5\6", 6, b"\1"), UnsupportedImage, "one part of several"),
        (patched(SMALL, b"PK\5\6", 8, b"\1"), UnsupportedImage, "one part of several"),
        (patched(SMALL, b"PK\3\4", 6, b"\1"), CorruptImage, "contradicts the archive's directory"),
        (patched(SMALL, b"PK\3\4", 6, b"\x08"), CorruptImage, "contradicts the archive's directory"),
        (patched(SMALL, b"PK\3\4", 14, b"\0\0\0\0"), CorruptImage, "contradicts the archive's directory"),
        (patched(SMALL, b"PK\3\4", 22, b"\1"), CorruptImage, "contradicts the archive's directory"),
        (patched(STREAMED, b"PK\3\4", 18, b"\xff" * 8), None, None),
        (holding(b"abc", 0, zlib.crc32(b"abc"), 4), CorruptImage, "has 3 bytes, and 4 of content"),
        (lengthened(1), CorruptImage, "ends behind the beginning of the directory"),
        (patched(SMALL, b"PK\3\4", 28, b"\xff\xff"), CorruptImage, "ends behind the beginning of the directory"),
        (patched(SMALL, b"PK\1\2", 42, b"\x08"), CorruptImage, "ends behind the beginning of the directory"),
        (patched(SMALL, b"PK\1\2", 42, b"\xff\xff\xff\xff"), CorruptImage, "announces a Zip64 number and has none"),
        (patched(STREAMED, b"PK\3\4", 14, b"\1"), CorruptImage, "contradicts the archive's directory"),
        (patched(STREAMED, b"PK\3\4", 18, b"\1"), CorruptImage, "contradicts the archive's directory"),
        (patched(STREAMED, b"PK\3\4", 22, b"\1"), CorruptImage, "contradicts the archive's directory"),
        (STREAMED, None, None),
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


@pytest.mark.parametrize(
    ("flags", "method", "message"),
    [
        (1 << 6, 8, "stored with encryption"),
        (1 << 5, 8, "stored with patch data"),
        (1, 99, "stored with encryption"),
        (0, 200, "stored with compression method 200"),
    ],
)
def test_what_no_tool_here_writes(flags, method, message):
    data = PACKED
    for signature, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data = patched(data, signature, at, struct.pack("<HH", flags, method))
    (member,) = members(data)
    with pytest.raises(UnsupportedImage, match=message):
        open_member(Memory(data), member, "a")


def test_a_header_whose_numbers_are_hidden():
    """Of an encrypted archive with masked headers (APPNOTE 7.2.4); the directory counts."""
    data = PACKED
    for signature, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data = patched(data, signature, at, struct.pack("<H", 1 | 1 << 6 | 1 << 13))
    (member,) = members(patched(data, b"PK\3\4", 14, bytes(12)))
    assert (member.size, member.codec) == (800, "encryption")


def test_members_that_overlap():
    """All entries of the directory mean the same bytes: small archives that become huge."""
    first = SMALL.index(b"PK\1\2")
    entry = SMALL[first : SMALL.index(b"PK\1\2", first + 1)]
    directory = entry * 50
    data = SMALL[:first] + directory + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 50, 50, len(directory), first, 0)
    with pytest.raises(CorruptImage, match="overlaps another one"):
        members(data)
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == ["a"] * 50


@pytest.mark.parametrize("streaming", [False, True])
def test_a_member_that_only_programs_see_that_read_from_the_beginning(streaming, program):
    """Its own header is there, and the directory does not name it."""
    whole = STREAMED if streaming else PACKED_TWO
    first = whole.index(b"PK\1\2")
    second = whole.index(b"PK\1\2", first + 1)
    end = len(whole) - 22
    for kept in (whole[first:second], whole[second:end]):
        data = whole[:first] + kept + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(kept), first, 0)
        assert len(zipfile.ZipFile(io.BytesIO(data)).namelist()) == 1
        seen = subprocess.run([program("bsdtar"), "-tf", "-"], input=data, capture_output=True, check=True)
        assert seen.stdout.split() == [b"a", b"b"]
        with pytest.raises(CorruptImage, match="a member that its directory does not name"):
            members(data)


DESCRIPTORS = {
    "12 bytes": lambda size: struct.pack("<III", 7, 2, size),
    "16 bytes": lambda size: struct.pack("<4sIII", b"PK\7\x08", 7, 2, size),
    "20 bytes": lambda size: struct.pack("<IQQ", 7, 2, size),
    "24 bytes": lambda size: struct.pack("<4sIQQ", b"PK\7\x08", 7, 2, size),
}


@pytest.mark.parametrize("size", [0, 0x04034B50])
@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("descriptor", DESCRIPTORS)
def test_descriptors_of_all_kinds_with_a_member_behind_them(descriptor, hidden, size):
    """The size 0x04034b50 looks like a header's signature."""
    header = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 8, 8, 0, 0, 0, 0, 0, 1, 0) + b"a"
    data = header + b"\3\0" + DESCRIPTORS[descriptor](size)
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 8, 8, 0, 0, 7, 2, size, 1, 0, 0, 0, 0, 0, 0) + b"a"
    data += (header + b"\3\0") * hidden
    data += entry + struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(data), 0)
    if hidden:
        with pytest.raises(CorruptImage, match="a member that its directory does not name"):
            members(data)
    else:
        assert [(member.name, member.size) for member in members(data)] == [("a", size)]


def test_a_gap_without_a_member_is_no_harm():
    """Such as a block of signatures in front of the directory."""
    first = SMALL.index(b"PK\1\2")
    data = SMALL[:first] + b"signatures" * 20 + SMALL[first:]
    data = patched(data, b"PK\5\6", 16, struct.pack("<I", first + 200))
    assert [member.name for member in members(data)] == ["a", "b"]


def test_too_many_members():
    data = patched(patched(made({"a": b"x"}), b"PK\5\6", 8, b"\xff" * 4), b"PK\5\6", 12, b"\xff" * 8)
    end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1 << 40, 1 << 40, len(data) - 22, 0)
    huge = data[:-22] + end + struct.pack("<4sIQI", b"PK\6\7", 0, len(data) - 22, 1) + data[-22:]
    with pytest.raises(LimitExceeded, match="1099511627776 members"):
        members(huge)
    end = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, 65 * MIB, 0)
    with pytest.raises(LimitExceeded, match="a directory of 68157440 bytes"):
        members(data[:-22] + end + huge[-42:])


def test_a_long_directory_is_read_in_parts(tmp_path):
    """20 MiB of names and comments, of which the comments (and the directory as a whole) are never in memory."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as out:
        for number in range(330):
            info = zipfile.ZipInfo(f"{number:03}")
            info.comment = b"c" * 0xFFFF
            out.writestr(info, b"x")
    storage = FileStorage(tmp_path / "a.zip")
    assert storage.size > 20 * MIB
    tracemalloc.start()
    try:
        names = [member.name for member in archive.members(storage)]
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert names == [f"{number:03}" for number in range(330)]
    assert peak < 4 * MIB


@pytest.mark.parametrize("size", [800, MIB, 3 * MIB, 3 * MIB + 1])
@pytest.mark.parametrize(("what", "message"), [("crc", "the CRC-32 [0-9a-f]{8} instead of"), ("more", "bytes instead of"), ("less", "more than")])
def test_a_member_that_is_not_what_the_directory_says(size, what, message):
    """However often it is read, and however large it is: streams are decoded in pieces."""
    content = bytes(size)
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    told = size + {"crc": 0, "more": 1, "less": -1}[what]
    data = holding(packer.compress(content) + packer.flush(), 8, zlib.crc32(content) ^ (what == "crc"), told)
    storage = Memory(data, "test.zip")
    (member,) = archive.members(storage)
    opened = open_member(storage, member, "a")
    for _number in range(2):
        with pytest.raises(CorruptImage, match=message):
            opened.read_at(0, told)


def test_going_back_does_not_count_twice():
    content = bytes(range(256)) * 4096 * 12
    storage = Memory(made({"a": content}))
    (member,) = archive.members(storage)
    opened = open_member(storage, member, "a")
    for offset, length in ((0, 9 * MIB), (3 * MIB, MIB), (1, 2), (7 * MIB, 5 * MIB), (0, 12 * MIB)):
        assert opened.read_at(offset, length) == content[offset : offset + length]


def test_what_follows_the_deflated_data_of_a_member_is_refused():
    (member,) = members(PACKED)
    longer = member._replace(stored=member.stored + 1)
    with pytest.raises(CorruptImage, match="something else follows the end of the deflate data"):
        open_member(Memory(PACKED), longer, "a").read_at(0, 1000)


def test_more_than_is_plausible_comes_out():
    """300 MiB of zeros out of 300 KiB: only when it is said that they may."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    zeros = bytes(MIB)
    packed = (packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH)) * 300 + packer.flush()
    crc32 = 0
    for _number in range(300):
        crc32 = zlib.crc32(zeros, crc32)
    storage = Memory(holding(packed, 8, crc32, 300 * MIB), "test.zip")
    (member,) = archive.members(storage)
    with pytest.raises(LimitExceeded, match="times as many"):
        open_member(storage, member, "a").read_at(member.size - 1, 1)
    with pytest.raises(LimitExceeded, match="more than 1048576 bytes"):
        open_member(storage, member, "a", MIB).read_at(0, 2 * MIB)
    assert Archive(storage, GIB).open("a").read_at(member.size - 1, 2) == b"\0"


def test_a_zip_archive_in_a_stream():
    storage = Memory(SMALL)
    storage.sequential = True
    with pytest.raises(UnsupportedImage, match="begins with its end"):
        archive.members(storage)


def test_random_damage_is_refused_or_means_the_same_to_others():
    """Whatever is taken has the names and the content that Python's zipfile finds, where that takes it."""
    chance = random.Random(5)
    refused = agreed = 0
    for _number in range(1500):
        data = bytearray(chance.choice((PACKED, SMALL, STREAMED, PACKED_TWO)))
        for _count in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        storage = Memory(bytes(data), "test.zip")
        ours = {}
        try:
            for member in archive.members(storage):
                if member.codec is None:
                    continue  # whoever reads all of it compares the checksum
                content = open_member(storage, member, member.name)
                ours[member.offset] = content.read_at(0, content.size)
        except ImageError:
            refused += 1
            continue
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as judge:
                theirs = [judge.read(info) for info in judge.infolist() if info.compress_type]
        except (zipfile.BadZipFile, NotImplementedError):
            continue
        assert list(ours.values()) == theirs
        agreed += 1
    assert refused > 600
    assert agreed > 300
