# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which package a tar archive is, behind members of every kind that tar programs write."""

from __future__ import annotations

import io
import tarfile

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.detect import detect
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.probes.tar import checksum_fits, number
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

GIB = 1 << 30


def member(name, form, data=b"", size=None, **kwargs):
    info = tarfile.TarInfo(name)
    info.size = len(data) if size is None else size
    for key, value in kwargs.items():
        setattr(info, key, value)
    return info.tobuf(form) + data + bytes(-len(data) % 512)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_behind_a_disk_of_9_gib(form, tmp_path):
    with open(tmp_path / "a.ova", "wb") as file:
        file.write(member("disk.vmdk", form, size=9 * GIB))
        file.seek(9 * GIB, io.SEEK_CUR)
        file.write(member("vm.ovf", form) + bytes(1024))
    with tarfile.open(tmp_path / "a.ova") as archive:
        assert archive.getnames() == ["disk.vmdk", "vm.ovf"]
    assert detect(FileStorage(tmp_path / "a.ova")).best.format == "ova"


@pytest.mark.parametrize(
    "before",
    [
        b"",
        member("x" * 300, tarfile.GNU_FORMAT),
        member("x" * 300, tarfile.PAX_FORMAT, pax_headers={"comment": "11 path=a.txt\n5"}),
        tarfile.TarInfo.create_pax_global_header({"comment": "9 path=a"}),
        member("x", tarfile.GNU_FORMAT, type=tarfile.SYMTYPE, linkname="y" * 300),
        member("x", tarfile.PAX_FORMAT, data=b"1" * 700, mtime=1.5),
    ],
)
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_behind_other_members(before, form):
    for name, expected in (("vm.ovf", "ova"), ("./box/metadata.json", "vagrant"), ("other", "tar")):
        assert detect(Memory(before + member(name, form) + bytes(1024))).best.format == expected


def test_suns_pax_header():
    data = bytearray(member("b" * 200 + ".ovf", tarfile.PAX_FORMAT) + bytes(1024))
    data[156:157] = b"X"
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    assert detect(Memory(bytes(data))).best.format == "ova"


def test_sizes_that_lead_nowhere(tmp_path):
    """The second member is never looked for where it cannot be."""
    for size in (b"\x80" + b"\xff" * 11, b"\xff" * 12, b"\x80" + ((1 << 63) - 1).to_bytes(11, "big"), b"77777777777\0"):
        data = bytearray(member("a", tarfile.GNU_FORMAT) + member("vm.ovf", tarfile.GNU_FORMAT))
        data[124:136] = size
        data[148:156] = b" " * 8
        data[148:156] = b"%06o\0 " % sum(data[:512])
        (tmp_path / "a.tar").write_bytes(data)
        assert detect(FileStorage(tmp_path / "a.tar")).best.format == "tar"


def test_numbers():
    for value in (0, 1, 8 * GIB - 1, 8 * GIB, (1 << 63) - 1):
        assert number(tarfile.itn(value, 12, tarfile.GNU_FORMAT)) == value
    assert number(tarfile.itn(-1, 12, tarfile.GNU_FORMAT)) is None
    for field in (b"\x80" + (1 << 63).to_bytes(11, "big"), b"\x81" + bytes(11), b"12 4567", b"8", b"-1", b"0x1", b"1\0" + b"2"):
        assert number(field) is None, field
    for field in (b"  17 \0", b"0000017\0", b"17"):
        assert number(field) == 15, field
    assert number(bytes(12)) == number(b" " * 12) == 0
    assert not checksum_fits(bytes(512))
