# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tar index against archives that others wrote: GNU tar, libarchive's bsdtar, Python; and against damaged ones."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, InvalidImage, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages import tar
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

GIB = 1 << 30
SHORT = {"vm.ovf": b"<x/>", "a file (1).mf": b"", "disk.vmdk": bytes(range(256)) * 9, "\u865a\u62df.vmdk": b"1" * 512}
LONG = {**SHORT, "folder-with-a-name-of-some-length/" * 4 + "disk.vmdk": b"2" * 513}
LONGER = {**LONG, "n" * 251: b"3" * 100}
WRITERS = [
    *[("tar", f"--format={form}", names) for form, names in (("v7", SHORT), ("oldgnu", LONGER), ("gnu", LONGER), ("ustar", LONG), ("posix", LONGER))],
    *[("bsdtar", f"--format={form}", names) for form, names in (("v7tar", SHORT), ("gnutar", LONGER), ("ustar", LONG), ("pax", LONGER))],
]
PYTHON = [(tarfile.USTAR_FORMAT, LONG), (tarfile.GNU_FORMAT, LONGER), (tarfile.PAX_FORMAT, LONGER)]


def index(data):
    return tar.read_index(Memory(data, "test.tar"))


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


def header(name, typeflag=b"0", size=0, field=None, body=b"", magic=b"ustar\x0000"):
    """A header block made by hand, with a right checksum, and its body."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = field or b"%011o\0" % size
    block[148:156] = b" " * 8
    block[156:157] = typeflag
    block[257:265] = magic
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + body + bytes(-len(body) % 512)


def pax(*records, typeflag=b"x"):
    """A pax header of (key, value) records."""
    body = b""
    for key, value in records:
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest) + 1
        while len(b"%d" % length) + len(rest) != length:
            length += 1
        body += b"%d" % length + rest
    return header(b"pax", typeflag, len(body), body=body)


def check(storage, expected):
    members = {member.name: member for member in tar.read_index(storage) if member.kind != tar.FOLDER}
    assert set(members) == set(expected)
    for name, content in expected.items():
        member = members[name]
        assert (member.kind, member.size) == (tar.DATA, len(content))
        assert storage.window(member.offset, member.size, name).read_at(0, 1 << 20) == content


@pytest.mark.parametrize(("writer", "option", "names"), WRITERS)
def test_what_other_programs_wrote(writer, option, names, tmp_path, program):
    for name, content in names.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run([program(writer), "-c", option, "-f", "../a.tar", "--", *names], cwd=tmp_path / "in", check=True, env=environment)
    check(FileStorage(tmp_path / "a.tar"), names)


@pytest.mark.parametrize(("form", "names"), PYTHON)
def test_what_python_wrote(form, names):
    check(Memory(archive(*names.items(), form=form)), names)


@pytest.mark.parametrize("option", ["--format=gnu", "--format=posix"])
@pytest.mark.parametrize("writer", ["tar", "bsdtar"])
def test_a_member_of_more_than_8_gib(writer, option, tmp_path, program):
    """The header comes from the program; the 9 GiB behind it are a hole, and another member follows."""
    option = {"--format=gnu": "--format=gnutar", "--format=posix": "--format=pax"}[option] if writer == "bsdtar" else option
    with open(tmp_path / "big", "wb") as big:
        big.truncate(9 * GIB)
        big.write(b"first bytes")
    with subprocess.Popen(
        [program(writer), "-c", *(["--no-read-sparse"] if writer == "bsdtar" else []), option, "-f", "-", "big"], cwd=tmp_path, stdout=subprocess.PIPE
    ) as process:
        start = process.stdout.read(16384)
        process.kill()
    at = start.index(b"first bytes")
    with open(tmp_path / "a.tar", "wb") as target:
        target.write(start[:at])
        target.seek(at + 9 * GIB)
        target.write(archive(("small", b"behind")))
    storage = FileStorage(tmp_path / "a.tar")
    big, small = tar.read_index(storage)
    assert (big.name, big.size, big.offset, big.kind) == ("big", 9 * GIB, at, tar.DATA)
    assert storage.read_at(small.offset, small.size) == b"behind"
    assert "small" in subprocess.run(["tar", "-tf", tmp_path / "a.tar"], check=True, stdout=subprocess.PIPE).stdout.decode()


@pytest.mark.parametrize("options", [["gnu"], ["oldgnu"], ["posix", "0.0"], ["posix", "0.1"], ["posix", "1.0"]])
def test_sparse_members_of_gnu_tar_are_seen_and_skipped(options, tmp_path):
    with open(tmp_path / "holes", "wb") as holes:
        for number in range(40):  # more runs than the first header holds
            holes.seek(number * 65536 * 2)
            holes.write(b"x" * 4096)
        holes.truncate(1 << 24)
    (tmp_path / "behind").write_bytes(b"behind")
    version = [f"--sparse-version={options[1]}"] if len(options) > 1 else []
    subprocess.run(["tar", "-cSf", "a.tar", f"--format={options[0]}", *version, "holes", "behind"], cwd=tmp_path, check=True)
    storage = FileStorage(tmp_path / "a.tar")
    holes, behind = tar.read_index(storage)
    assert (holes.name, holes.kind) == ("holes", tar.SPARSE)
    assert holes.size < 1 << 20
    assert (behind.name, storage.read_at(behind.offset, behind.size)) == ("behind", b"behind")


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


def test_names_that_are_not_utf_8_survive():
    (member,) = index(header(b"disk-\xff.vmdk"))
    assert os.fsencode(member.name) == b"disk-\xff.vmdk"


def test_the_end_may_be_short():
    data = archive(("a", b"1" * 512), ("b", b"22"))
    ends_with_b = 512 * 4
    for end in (ends_with_b, ends_with_b - 510, ends_with_b + 512, ends_with_b + 700, ends_with_b + 1024):
        assert [member.name for member in index(data[:end])] == ["a", "b"], end
    assert len(index(data[: ends_with_b + 1024] + b"garbage behind the end" * 99)) == 2


def test_only_headers_are_read():
    class Counting(Memory):
        count = 0

        def read_at(self, offset, length):
            self.count += length
            return super().read_at(offset, length)

    storage = Counting(archive(("big", bytes(1 << 20)), ("b", b"22")))
    assert len(tar.read_index(storage)) == 2
    assert storage.count == 3 * 512


BAD = {
    "not tar": (b"#!/bin/sh\n" + bytes(1000), InvalidImage, "not a tar archive"),
    "zeros": (bytes(10240), InvalidImage, "no member"),
    "empty": (b"", InvalidImage, "no member"),
    "header cut": (archive(("a", b"1"))[:1024] + header(b"b")[:100], CorruptImage, "412 bytes of it are missing"),
    "header damaged": (archive(("a", b"1"))[:1024] + b"Z" + header(b"b")[1:], CorruptImage, "wrong checksum"),
    "data cut": (archive(("a", b"1" * 1000))[:700], CorruptImage, "812 of the 1000 bytes"),
    "negative size": (header(b"a", field=b"\xff" * 12), CorruptImage, "no number, or negative"),
    "size is text": (header(b"a", field=b"12 34 56 78 "), CorruptImage, "no number, or negative"),
    "base 256, huge": (header(b"a", field=b"\x80" + b"\xff" * 11), CorruptImage, "are missing"),
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
    "folder with data": (pax((b"size", b"512")) + header(b"a", b"5", body=bytes(512)), CorruptImage, "is a folder, but has 512 bytes"),
    "multi-volume": (header(b"a", b"M"), UnsupportedImage, "multi-volume"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_said(name):
    data, kind, message = BAD[name]
    with pytest.raises(kind, match=message) as caught:
        index(data)
    assert caught.value.path == "test.tar"


def test_the_map_of_a_sparse_member_is_bounded():
    block = bytearray(header(b"a", b"S"))
    block[482] = 1
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    with pytest.raises(LimitExceeded, match="map of a sparse"):
        index(bytes(block) + b"\1" * (2 << 20))
    with pytest.raises(CorruptImage, match="sparse member's map"):
        index(bytes(block) + b"\1" * 600)


def test_the_number_of_members_is_bounded(monkeypatch):
    monkeypatch.setattr(tar, "MAX_ARCHIVE_MEMBERS", 10)
    assert len(index(header(b"a") * 10)) == 10
    with pytest.raises(LimitExceeded, match="more than 10 members"):
        index(header(b"a") * 11)


def test_no_single_damaged_byte_crashes():
    data = pax((b"path", b"long"), (b"size", b"3")) + header(b"a", size=3, body=b"abc") + header(b"S", b"S") + header(b"l", b"2") + bytes(1024)
    padding = {*range(560, 1024), *range(1539, 2048), *range(len(data) - 1024, len(data))}
    for position in sorted(set(range(len(data))) - padding):
        for value in (0, 0x31, 0x80, 0xFF):
            damaged = data[:position] + bytes([value]) + data[position + 1 :]
            try:
                index(damaged)
            except ImageError:
                pass
