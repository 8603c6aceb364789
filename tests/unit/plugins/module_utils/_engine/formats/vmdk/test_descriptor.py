# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMDK descriptors: what is a known line, what is refused, what is listed."""

from __future__ import annotations

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, InvalidImage, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vmdk import descriptor
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vmdk.reader import open_vmdk
from ansible_collections.vmimage.prep.plugins.module_utils._engine.identity import ContentIdentity
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

HEAD = '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'


def read(text):
    return open_vmdk(Memory(text if isinstance(text, bytes) else text.encode()))


def test_every_kind_of_extent_line():
    lines = [
        'RW 2048 FLAT "a b-f001.vmdk" 0',
        '  rdonly 1024 flat "b.vmdk" 63  ',
        "NOACCESS 63 ZERO",
        'RW 10 SPARSE "s001.vmdk"',
        'RW 20 VMFS "x-flat.vmdk"',
        'RW 30 VMFSSPARSE "x-delta.vmdk"',
        'RW 40 SESPARSE "x-sesparse.vmdk"',
        'RW 50 VMFSRDM "x-rdm.vmdk"',
        'RW 60 FLAT "\\\\.\\PhysicalDrive0" 63 partitionUUID \\\\?\\Volume{1}\\',
    ]
    reader = read(HEAD + "\n".join(lines))
    assert reader.virtual_size == (2048 + 1024 + 63 + 10 + 20 + 30 + 40 + 50 + 60) * 512
    found = [(ref.role, ref.name, ref.format) for ref in reader.references()]
    assert found == [
        ("extent", "a b-f001.vmdk", "raw"),
        ("extent", "b.vmdk", "raw"),
        ("extent", "s001.vmdk", "vmdk"),
        ("extent", "x-flat.vmdk", "raw"),
        ("extent", "x-delta.vmdk", "vmdk"),
        ("extent", "x-sesparse.vmdk", "vmdk"),
        ("extent", "x-rdm.vmdk", "raw"),
        ("extent", "\\\\.\\PhysicalDrive0", "raw"),
    ]
    extents = reader.describe().format_specific["extents"]
    assert extents[1] == {"access": "RDONLY", "virtual_size": 524288, "format": "FLAT", "filename": "b.vmdk", "offset": 63 * 512}
    assert extents[2] == {"access": "NOACCESS", "virtual_size": 63 * 512, "format": "ZERO", "filename": None, "offset": 0}


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("RW 2048", "\n\nRW 2048"),  # qemu-img counts the extent twice
        lambda text: "\ufeff" + text,
        lambda text: text.replace("=", " = "),
        lambda text: text.replace("createType", "CREATETYPE"),
        lambda text: text.rstrip("\n"),
        lambda text: text + "\0" * 700,
        lambda text: text + " \n \n",
        lambda text: text.replace("# Disk DescriptorFile", "# Description file created by VMDK stream converter"),
    ],
)
def test_forms_that_mean_the_same(change):
    reader = read(change(HEAD + 'RW 2048 FLAT "disk-flat.vmdk" 0\nddb.adapterType = "ide"\n'))
    info = reader.describe()
    assert (reader.virtual_size, info.subformat, info.format_specific["adapter_type"]) == (1 << 20, "monolithicFlat", "ide")
    assert [ref.name for ref in info.references] == ["disk-flat.vmdk"]


def test_names_of_other_code_pages():
    for raw, name in ((b"gr\xc3\xbc\xc3\x9fe.vmdk", "grüße.vmdk"), (b"gr\xfc\xdfe.vmdk", "grüße.vmdk"), (b"\x81.vmdk", "\x81.vmdk")):
        assert read(HEAD.encode() + b'RW 8 VMFS "' + raw + b'"\n').references()[0].name == name


@pytest.mark.parametrize(
    ("encoding", "raw", "name"),
    [
        ("windows-1252", b"caf\xe9 \x80.vmdk", "café €.vmdk"),
        ("windows-1252", b"\xc3\xa9.vmdk", "Ã©.vmdk"),  # it would be UTF-8, too
        ("windows-1251", b"\xe4\xe8\xf1\xea.vmdk", "диск.vmdk"),
        ("windows-936", b"\xb4\xc5\xc5\xcc.vmdk", "磁盘.vmdk"),
        ("GBK", b"\xb4\xc5\xc5\xcc.vmdk", "磁盘.vmdk"),
        ("Shift_JIS", b"\x83f\x83B\x83X\x83N\x95\x5c.vmdk", "ディスク表.vmdk"),  # the last one's second byte is that of a backslash
        ("UTF-8", "磁盘.vmdk".encode(), "磁盘.vmdk"),
        ("UTF-8", b"caf\xe9.vmdk", "café.vmdk"),  # it is not
        ("windows-1252", b"\x81.vmdk", "\x81.vmdk"),  # no character of it
        ("IBM-037", b"caf\xc3\xa9.vmdk", "café.vmdk"),  # not one in which a descriptor can be written
        ("windows-9999", b"caf\xc3\xa9.vmdk", "café.vmdk"),
        ("rot13", b"caf\xc3\xa9.vmdk", "café.vmdk"),
        ("utf-7", b"+AGE-.vmdk", "+AGE-.vmdk"),
    ],
)
def test_the_encoding_that_is_declared(encoding, raw, name):
    text = HEAD.replace("CID=", f'encoding="{encoding}"\nCID=', 1).encode() + b'RW 8 VMFS "' + raw + b'"\n'
    reader = read(text)
    assert reader.references()[0].name == name
    assert reader.describe().format_specific["encoding"] == encoding


@pytest.mark.parametrize("version", ["1", "2", "3", "4"])
def test_versions(version):
    head = HEAD.replace("version=1", f"version={version}").replace("createType", 'isNativeSnapshot="no"\nchangeTrackPath="x-ctk.vmdk"\ncreateType')
    found = read(head + 'RW 8 VMFS "x-flat.vmdk"\n').describe().format_specific
    assert (found["create_type"], found["change_track_path"]) == ("monolithicFlat", "x-ctk.vmdk")


@pytest.mark.parametrize("version", ["0", "5", "10", "one"])
def test_versions_that_are_not_known(version):
    with pytest.raises(UnsupportedImage, match="version"):
        read(HEAD.replace("version=1", f"version={version}") + 'RW 8 VMFS "x-flat.vmdk"\n')


@pytest.mark.parametrize("name", ["/etc/passwd", "../../secret", "/dev/sda", "json:{}", "http://host/x"])
def test_names_are_listed_and_nothing_else(name):
    reader = read(HEAD + f'RW 2048 FLAT "{name}" 0\n')
    assert [ref.name for ref in reader.references()] == [name]
    with pytest.raises(UnsupportedImage, match="monolithicFlat"):
        reader.extents()


def test_a_parent_without_a_name():
    reader = read(HEAD.replace("parentCID=ffffffff", "parentCID=12ab") + 'RW 8 VMFSSPARSE "x-delta.vmdk"\n')
    assert [(ref.role, ref.name) for ref in reader.references()] == [("extent", "x-delta.vmdk"), ("parent", "")]


def test_control_characters_do_not_reach_a_message():
    reason = read(HEAD.encode() + b'RW 8 VMFS "\xc2\x9b31mred.vmdk"\n').unreadable_reason()
    assert "\x9b" not in reason
    assert "red.vmdk" in reason


EXTENT = 'RW 8 FLAT "x" 0\n'
BAD = {
    "no known line": HEAD + "hello\n" + EXTENT,
    "no CID": HEAD.replace("CID=fffffffe\n", "") + EXTENT,
    "no parentCID": HEAD.replace("parentCID=ffffffff\n", "") + EXTENT,
    "CID is no number": HEAD.replace("fffffffe", "xyz") + EXTENT,
    "no createType": HEAD.replace('createType="monolithicFlat"\n', "") + EXTENT,
    "no extents": HEAD,
    "createType twice": HEAD + 'createType="monolithicSparse"\n' + EXTENT,
    "parent twice": HEAD + 'parentFileNameHint="a"\nparentFileNameHint="b"\n' + EXTENT,
    "extent without a name": HEAD + "RW 8 FLAT\n",
    "ZERO with a name": HEAD + 'RW 8 ZERO "x"\n',
    "negative size": HEAD + 'RW -8 FLAT "x" 0\n',
    "size is no number": HEAD + 'RW 0x10 FLAT "x" 0\n',
    "size of other digits": HEAD + 'RW ٨ FLAT "x" 0\n',
    "name is not closed": HEAD + 'RW 8 FLAT "x 0\n',
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_not_known_is_refused(text):
    with pytest.raises(CorruptImage) as caught:
        read(text)
    assert caught.value.path == "memory"


def test_limits():
    with pytest.raises(LimitExceeded, match="descriptor"):
        read(HEAD + "#" * (1 << 20))
    with pytest.raises(LimitExceeded, match="extents"):
        read(HEAD + "RW 1 ZERO\n" * 10_001)
    with pytest.raises(LimitExceeded, match="disk of"):
        read(HEAD + f"RW {'9' * 20} ZERO\n")


@pytest.mark.parametrize(
    "raw",
    [b"", bytes(512), b"KDMX" + bytes(508), b"\x7fELF" + bytes(600), b"<html>not found</html>", (HEAD + EXTENT).encode().ljust(600, b"\0") + b"data"],
)
def test_other_content_is_refused(raw):
    with pytest.raises(InvalidImage):
        read(raw)


def test_the_error_says_where():
    with pytest.raises(ImageError) as caught:
        read(HEAD + "hello\n")
    assert caught.value.offset == len(HEAD)


@pytest.mark.parametrize(
    ("adapter", "sectors", "cylinders", "heads"),
    [("lsilogic", 1, 1, 255), ("buslogic", 255 * 63 + 1, 2, 255), ("lsilogic", 1 << 34, 65535, 255), ("ide", 16 * 63 * 5, 5, 16), ("ide", 1 << 34, 16383, 16)],
)
def test_geometry(adapter, sectors, cylinders, heads):
    identity = ContentIdentity("test", sectors * 512)
    found = descriptor.parse(descriptor.build("monolithicSparse", sectors, descriptor.Options(adapter, "7"), identity), "x.vmdk")
    values = found.values
    assert (values["ddb.geometry.cylinders"], values["ddb.geometry.heads"], values["ddb.geometry.sectors"]) == (str(cylinders), str(heads), "63")
    assert (found.sectors, found.extents[0].name, found.has_parent) == (sectors, "disk.vmdk", False)


def test_parse_ends_at_the_first_nul():
    found = descriptor.parse(HEAD.encode() + b"\0garbage \xff without form\n", "x.vmdk")
    assert found.create_type == "monolithicFlat"
