# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tar index against archives that others wrote: GNU tar, libarchive's bsdtar, Python; and against damaged ones."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import tarfile

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, InvalidImage, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages import tar
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.members import open_member
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory, Storage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.stream import open_stream
from build_tar import END, GNU, header, pax, sparse

GIB = 1 << 30
TOO_BIG = "no number, negative, or 2"
SHORT = {"vm.ovf": b"<x/>", "a file (1).mf": b"", "disk.vmdk": bytes(range(256)) * 9, "\u865a\u62df.vmdk": b"1" * 512}
LONG = {**SHORT, "folder-with-a-name-of-some-length/" * 4 + "disk.vmdk": b"2" * 513}
LONGER = {**LONG, "n" * 251: b"3" * 100, "another-folder-with-a-long-name/" * 12 + "n" * 200: b"4" * 1000}
WRITERS = [
    *[("tar", f"--format={form}", names) for form, names in (("v7", SHORT), ("oldgnu", LONGER), ("gnu", LONGER), ("ustar", LONG), ("posix", LONGER))],
    *[("bsdtar", f"--format={form}", names) for form, names in (("v7tar", SHORT), ("gnutar", LONGER), ("ustar", LONG), ("pax", LONGER))],
]
PYTHON = [(tarfile.USTAR_FORMAT, LONG), (tarfile.GNU_FORMAT, LONGER), (tarfile.PAX_FORMAT, LONGER)]


def index(data):
    return list(tar.members(Memory(data, "test.tar")))


def archive(*members, form=tarfile.USTAR_FORMAT):
    """An archive by Python; members: (name, bytes) or a TarInfo."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as target:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                target.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                target.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def check(storage, expected):
    found = {}
    for member in tar.members(storage):
        if member.kind != tar.FOLDER:
            assert (member.kind, member.stored, member.sparse) == (tar.DATA, member.size, None)
            content = open_member(storage, member, member.name)
            assert (content.name, content.size) == (member.name, member.size)
            found[member.name] = content.read_at(0, 1 << 20)
    assert found == expected


class Forward(Storage):
    """A compressed archive at its worst: what was passed is gone, and the size is only known at the end."""

    sequential = True

    def __init__(self, data):
        self.name = "test.tar"
        self._data = data
        self._position = 0
        self._ended = False

    def read_at(self, offset, length):
        assert offset >= self._position
        data = self._data[offset : offset + length]
        self._position = offset + len(data)
        self._ended = len(data) < length or not data.strip(b"\0")
        return data

    @property
    def size(self):
        assert self._ended
        return len(self._data)


@pytest.mark.parametrize(("writer", "option", "names"), WRITERS)
def test_what_other_programs_wrote(writer, option, names, tmp_path, program):
    for name, content in names.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run([program(writer), "-c", option, "-f", "../a.tar", "--", *names], cwd=tmp_path / "in", check=True, env=environment)
    check(FileStorage(tmp_path / "a.tar"), names)
    check(Forward((tmp_path / "a.tar").read_bytes()), names)
    subprocess.run([program(writer), "-c", option, "-f", "a.tar", "./in"], cwd=tmp_path, check=True, env=environment)
    check(FileStorage(tmp_path / "a.tar"), {f"./in/{name}": content for name, content in names.items()})


@pytest.mark.parametrize(("writer", "option"), sorted({(writer, option) for writer, option, _names in WRITERS}))
def test_names_that_are_not_utf_8(writer, option, tmp_path, program):
    name = os.fsdecode(b"disk-\xff\xfe.vmdk")
    (tmp_path / name).write_bytes(b"content")
    subprocess.run([program(writer), "-c", option, "-f", "a.tar", name], cwd=tmp_path, check=True, env={**os.environ, "LC_ALL": "C.UTF-8"})
    check(FileStorage(tmp_path / "a.tar"), {name: b"content"})


@pytest.mark.parametrize(("form", "names"), PYTHON)
def test_what_python_wrote(form, names):
    check(Memory(archive(*names.items(), form=form)), names)
    check(Forward(archive(*names.items(), form=form)), names)


def test_a_compressed_archive_is_passed_once(tmp_path):
    """A decoder that was made to go back would begin anew."""
    content = {f"{number}.bin": bytes([number]) * (3 << 20) for number in range(6)}
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(archive(*content.items()), 1))
    storage = open_stream(FileStorage(tmp_path / "a.tar.gz"), "gzip")
    resumed = []
    storage._resume = resumed.append
    for member in tar.members(storage):
        data = open_member(storage, member, member.name)
        assert list(data.data_ranges()) == [(0, member.size)]
        for offset in range(0, member.size, 1 << 20):
            assert data.read_at(offset, 1 << 20) == content[member.name][offset : offset + (1 << 20)]
    assert not resumed
    assert storage.size % 10240 == 0


def test_damage_of_a_compressed_archive():
    data = archive(("a", b"1" * 5000), ("b", b"2" * 5000))
    for cut, message in ((7000, "4144 of the 5000 bytes of member 'b'"), (5000, "512 of the 5000 bytes of member 'a'"), (6000, "144 bytes of it are missing")):
        with pytest.raises(CorruptImage, match=message):
            list(tar.members(open_stream(Memory(gzip.compress(data[:cut]), "a.tar.gz"), "gzip")))
    for cut in (100, 4, 1):  # in the padding behind the archive's end, and in gzip's checksum
        with pytest.raises(CorruptImage, match="truncated"):
            list(tar.members(open_stream(Memory(gzip.compress(data + bytes(1 << 20), 0)[:-cut], "a.tar.gz"), "gzip")))
    for size, message in ((1 << 62, "bytes of member 'a' are missing"), (9 << 30, "bytes of member 'a' are missing")):
        with pytest.raises(CorruptImage, match=message):
            list(tar.members(open_stream(Memory(gzip.compress(header(b"a", size=size) + data), "a.tar.gz"), "gzip")))
    with pytest.raises(CorruptImage, match="extension header ends at byte"):
        list(tar.members(open_stream(Memory(gzip.compress(header(b"L", b"L", 1000, body=b"x" * 100)), "a.tar.gz"), "gzip")))


@pytest.mark.parametrize("option", ["--format=gnu", "--format=posix"])
@pytest.mark.parametrize("writer", ["tar", "bsdtar", "python"])
def test_a_member_of_more_than_8_gib(writer, option, tmp_path, program):
    """The header comes from the program; the 9 GiB behind it are a hole, and another member follows."""
    option = {"--format=gnu": "--format=gnutar", "--format=posix": "--format=pax"}[option] if writer == "bsdtar" else option
    with open(tmp_path / "big", "wb") as file:
        file.truncate(9 * GIB)
        file.write(b"first bytes")
    if writer == "python":
        info = tarfile.TarInfo("big")
        info.size = 9 * GIB
        start = info.tobuf(tarfile.GNU_FORMAT if option == "--format=gnu" else tarfile.PAX_FORMAT) + b"first bytes"
    else:
        sparse_files = ["--no-read-sparse"] if writer == "bsdtar" else []
        with subprocess.Popen([program(writer), "-c", *sparse_files, option, "-f", "-", "big"], cwd=tmp_path, stdout=subprocess.PIPE) as process:
            start = process.stdout.read(16384)
            process.kill()
    at = start.index(b"first bytes")
    with open(tmp_path / "a.tar", "wb") as target:
        target.write(start[:at] + b"first bytes")
        target.seek(at + 9 * GIB)
        target.write(archive(("small", b"behind")))
    storage = FileStorage(tmp_path / "a.tar")
    big, small = tar.members(storage)
    window = open_member(storage, big, "big")
    assert sum(length for _offset, length in window.data_ranges()) < 1 << 20
    assert (window.size, window.read_at(0, 12), window.read_at(9 * GIB - 1, 10)) == (9 * GIB, b"first bytes\0", b"\0")
    assert (big.name, big.size, big.offset, big.kind) == ("big", 9 * GIB, at, tar.DATA)
    assert storage.read_at(small.offset, small.size) == b"behind"
    assert "small" in subprocess.run(["tar", "-tf", tmp_path / "a.tar"], check=True, stdout=subprocess.PIPE).stdout.decode()


def test_entries_without_data_are_listed_as_what_they_are():
    members = []
    for name, kind in (("folder", b"5"), ("soft", b"2"), ("hard", b"1"), ("tty", b"3"), ("sda", b"4"), ("pipe", b"6")):
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "vm.ovf" if kind in b"12" else ""
        members.append(info)
    kinds = [member.kind for member in index(archive(("vm.ovf", b""), *members))]
    assert kinds == [tar.DATA, tar.FOLDER, tar.SYMBOLIC_LINK, tar.HARD_LINK, tar.DEVICE, tar.DEVICE, tar.FIFO]
    assert index(header(b"old-folder/", typeflag=b"\0"))[0].kind == tar.FOLDER
    assert index(header(b"label", typeflag=b"V"))[0].kind == tar.OTHER


def signed(block):
    """The header with its sum as old Sun tar made it."""
    total = int(block[148:154], 8) - 256 * sum(byte > 127 for byte in block)
    return block[:148] + b"%06o\0 " % total + block[156:]


A, B = archive(("a", b"1" * 512), ("b", b"22")), archive(("c", b"333"))
ENDS = {
    "one block of zeros, records": A[: 4 * 512] + bytes(512),
    "two blocks of zeros": A[: 4 * 512] + bytes(1024),
    "no block of zeros": A[: 4 * 512],
    "no padding of the last member": A[: 4 * 512 - 510],
    "zeros that are no whole block": A[: 4 * 512] + bytes(188),
    "a large record": A + bytes(1 << 16),
    "garbage behind the end": A[: 4 * 512] + bytes(1024) + b"garbage behind the end" * 99,
    "an archive behind the end": A + B,
    "an archive behind a lone block of zeros": A[: 4 * 512] + bytes(512) + B,
    "an archive instead of the end": A[: 4 * 512] + B,
    "Sun's pax headers": pax((b"path", b"x" * 200), typeflag=b"X") + header(b"short", size=3, body=b"123") + END,
    "global pax headers": pax((b"comment", b"0123"), typeflag=b"g") + A + END,
    "many global pax headers": pax((b"comment", b"0123"), typeflag=b"g") + A[:1024] + pax((b"comment", b"4567"), typeflag=b"g") + A[1024:],
    "a version that is none": header(b"name", magic=b"ustar\0  ", tail=b"folder") + END,
    "no magic, and something instead of a prefix": header(b"name", magic=bytes(8), tail=b"folder") + END,
    "GNU's magic, and something instead of a prefix": header(b"name", magic=GNU, tail=b"00000000000\0") + END,
    "signed sums": signed(header(b"name-\xe4\xf6")) + END,
}


@pytest.mark.parametrize("name", ENDS)
def test_other_programs_find_the_same_members(name, tmp_path, program):
    (tmp_path / "a.tar").write_bytes(ENDS[name])
    expected = [os.fsencode(member.name) for member in index(ENDS[name])]
    assert expected
    assert [os.fsencode(member.name) for member in tar.members(Forward(ENDS[name]))] == expected
    # bsdtar takes an archive without its end for one, too, but complains of a part of a block.
    for reader in ("tar", "bsdtar"):
        found = subprocess.run([program(reader), "-tf", tmp_path / "a.tar"], check=False, stdout=subprocess.PIPE, env={**os.environ, "LC_ALL": "C"}).stdout
        assert _unescaped(found.splitlines()) == expected, reader


def _unescaped(names):
    return [name.decode("unicode_escape").encode("latin-1") for name in names]


def test_what_gnu_tar_puts_into_global_headers(tmp_path, program):
    (tmp_path / "a").write_bytes(b"content")
    subprocess.run([program("tar"), "-cf", "a.tar", "--format=posix", "--pax-option=comment=some text,a=b", "-V", "label", "a"], cwd=tmp_path, check=True)
    assert (tmp_path / "a.tar").read_bytes()[156:157] == b"g"
    check(FileStorage(tmp_path / "a.tar"), {"a": b"content"})


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_no_volume_of_several_is_taken_for_an_archive(form, tmp_path, program):
    (tmp_path / "a").write_bytes(b"content" * 10000)
    names = [f"v{number}.tar" for number in range(9)]
    volumes = [argument for name in names for argument in ("-f", name)]
    subprocess.run([program("tar"), "-cM", "-L", "20", f"--format={form}", *volumes, "a"], cwd=tmp_path, check=True)
    volumes = [tmp_path / name for name in names if (tmp_path / name).exists()]
    assert len(volumes) > 2
    with pytest.raises(CorruptImage, match="of the 70000 bytes of member 'a' are missing"):
        list(tar.members(FileStorage(volumes[0])))
    for volume in volumes[1:]:
        with pytest.raises(UnsupportedImage, match="multi-volume"):
            list(tar.members(FileStorage(volume)))


def test_members_that_are_plain_ustar():
    names = {"a": b"1", "f/" * 60 + "b": b"2"}
    assert [member.standard for member in index(archive(*names.items()))] == [True, True]
    assert [member.standard for member in index(archive(*names.items(), form=tarfile.PAX_FORMAT))] == [True, False]
    assert [member.standard for member in index(archive(*names.items(), form=tarfile.GNU_FORMAT))] == [False, False]


def test_a_cut_member_is_not_given_at_all():
    found = tar.members(Memory(archive(("a", b"1" * 512), ("b", b"2" * 5000))[:3000]))
    assert next(found).name == "a"
    with pytest.raises(CorruptImage, match="of member 'b' are missing"):
        next(found)


def test_only_headers_are_read():
    class Counting(Memory):
        count = 0

        def read_at(self, offset, length):
            self.count += length
            return super().read_at(offset, length)

    storage = Counting(archive(("big", bytes(1 << 20)), ("b", b"22")))
    assert len(list(tar.members(storage))) == 2
    assert storage.count == 3 * 512


BAD = {
    "not tar": (b"#!/bin/sh\n" + bytes(1000), InvalidImage, "not a tar archive"),
    "zeros": (bytes(10240), InvalidImage, "no member"),
    "empty": (b"", InvalidImage, "no member"),
    "header cut": (archive(("a", b"1"))[:1024] + header(b"b")[:100], CorruptImage, "412 bytes of it are missing"),
    "header damaged": (archive(("a", b"1"))[:1024] + b"Z" + header(b"b")[1:], CorruptImage, "wrong checksum"),
    "data cut": (archive(("a", b"1" * 1000))[:700], CorruptImage, "812 of the 1000 bytes"),
    "negative size": (header(b"a", field=b"\xff" * 12), CorruptImage, TOO_BIG),
    "size is text": (header(b"a", field=b"12 34 56 78 "), CorruptImage, TOO_BIG),
    "base 256, huge": (header(b"a", field=b"\x80" + b"\xff" * 11), CorruptImage, TOO_BIG),
    "base 256, as large as can be": (header(b"a", size=(1 << 63) - 1), CorruptImage, "are missing"),
    "base 256, without end": (header(b"a", field=b"\x81" + bytes(11)), CorruptImage, TOO_BIG),
    "pax, size of 2^63": (pax((b"size", b"9223372036854775808")) + header(b"a"), CorruptImage, "size that is no number"),
    "pax, two sizes": (pax((b"size", b"512"), (b"size", b"1024")) + header(b"a"), CorruptImage, "not the only one"),
    "pax, another size than the header (CVE-2025-62518)": (pax((b"size", b"512")) + header(b"a", body=header(b"hidden")), CorruptImage, "two sizes"),
    "pax, size of a folder": (pax((b"size", b"512")) + header(b"a", b"5", size=512, body=bytes(512)), CorruptImage, "is a folder, but has 512 bytes"),
    "pax, negative size (CVE-2025-8194)": (pax((b"size", b"-512")) + header(b"a"), CorruptImage, "size that is no number"),
    "pax, size of 400 digits": (pax((b"size", b"9" * 400)) + header(b"a"), CorruptImage, "size that is no number"),
    "pax, length 0 (CVE-2019-20907)": (header(b"p", b"x", 8, body=b"0 a=b\n\0\0") + header(b"a"), CorruptImage, "pax header is damaged"),
    "pax, second record without length": (header(b"p", b"x", 15, body=b"8 a=bcd\npath=x\n") + header(b"a"), CorruptImage, "pax header is damaged"),
    "pax, length past the end": (header(b"p", b"x", 8, body=b"99 a=bc\n") + header(b"a"), CorruptImage, "pax header is damaged"),
    "pax, no member behind": (pax((b"path", b"a")), CorruptImage, "where a member is announced"),
    "pax, two paths": (pax((b"path", b"a"), (b"path", b"b")) + header(b"c"), CorruptImage, "two names"),
    "pax and GNU, two names": (header(b"L", b"L", 2, body=b"q\0") + pax((b"path", b"a")) + header(b"c"), CorruptImage, "two names"),
    "pax, global path": (pax((b"path", b"a"), typeflag=b"g") + header(b"c"), CorruptImage, "global pax header"),
    "pax, huge": (header(b"p", b"x", 8 << 30) + header(b"a"), LimitExceeded, "extension header"),
    "long name, huge": (header(b"p", b"L", 2 << 20, body=b"n" * (2 << 20)), LimitExceeded, "extension header"),
    "long name, cut": (header(b"p", b"L", 1000, body=b"n" * 100), CorruptImage, "truncated"),
    "many long names": (header(b"p", b"L", 2, body=b"n\0") * 5000, LimitExceeded, "extension headers for one"),
    "name with NUL": (pax((b"path", b"a\0b")) + header(b"c"), CorruptImage, "no usable name"),
    "no name": (header(b""), CorruptImage, "no usable name"),
    "link with data": (header(b"a", b"2", 512, body=bytes(512)), CorruptImage, "is a symbolic link, but has 512 bytes"),
    "folder with data": (header(b"a/", size=512, body=bytes(512)), CorruptImage, "is a folder, but has 512 bytes"),
    "multi-volume": (header(b"a", b"M"), UnsupportedImage, "multi-volume"),
    "multi-volume, pax": (pax((b"GNU.volume.offset", b"0"), typeflag=b"g") + header(b"a"), UnsupportedImage, "multi-volume"),
    "star's sparse file": (header(b"a", b"S"), UnsupportedImage, "format of star"),
    "star's sparse file, pax": (pax((b"SCHILY.realsize", b"5")) + header(b"a"), UnsupportedImage, "format of star"),
    "pax, global size": (pax((b"size", b"0"), typeflag=b"g") + header(b"a"), CorruptImage, "global pax header"),
    "pax, global sparse file": (pax((b"GNU.sparse.major", b"1"), typeflag=b"g") + header(b"a"), CorruptImage, "global pax header"),
    "long link, cut": (header(b"p", b"K", 1000, body=b"n" * 100), CorruptImage, "truncated"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said(name):
    data, kind, message = BAD[name]
    with pytest.raises(kind, match=message) as caught:
        index(data)
    assert caught.value.path == "test.tar"


def test_the_number_of_members_is_bounded(monkeypatch):
    monkeypatch.setattr(tar, "MAX_ARCHIVE_MEMBERS", 10)
    assert len(index(header(b"a") * 10)) == 10
    with pytest.raises(LimitExceeded, match="more than 10 members"):
        index(header(b"a") * 11)


def test_extension_headers_are_bounded():
    body = pax((b"comment", b"x" * (1 << 20)))[512:][: 1 << 20]
    body = body[: (1 << 20) - 1] + b"\n"
    big = header(b"p", b"x", len(body), body=b"1048576" + body[7:]) + header(b"a")
    assert len(index(big * 64)) == 64
    with pytest.raises(LimitExceeded, match="in a whole archive"):
        index(big * 65)


def test_no_single_damaged_byte_crashes():
    data = (
        pax((b"path", b"long"), (b"size", b"3"))
        + header(b"a", size=3, body=b"abc")
        + sparse(b"s", [(0, 512), (1024, 7)], 2048, "old")
        + bytes(1024)
        + sparse(b"t", [(0, 5)], 1024, "0.1")
        + bytes(512)
        + header(b"l", b"2")
        + END
    )
    assert [member.name for member in index(data)] == ["long", "s", "t", "l"]
    for position in range(len(data) - len(END)):
        if data[position] or position % 16 == 0:
            for value in (0, 0x31, 0x80, 0xFF):
                damaged = data[:position] + bytes([value]) + data[position + 1 :]
                try:
                    index(damaged)
                except ImageError:
                    pass
