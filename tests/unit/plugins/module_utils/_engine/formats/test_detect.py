# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Detection by content: every format has its name, contradictions are found, and what is no disk is said so."""

from __future__ import annotations

import contextlib
import gzip
import io
import struct
import tarfile
import zlib

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AmbiguousImage, InvalidImage, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats import registry
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.detect import detect, require_disk
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.stream import open_stream

DESCRIPTOR = b'# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "x-flat.vmdk" 0\n'


def at(*pieces, size=262144):
    """Zeros with (offset, bytes) laid over them; offsets below zero count from the end."""
    data = bytearray(size)
    for offset, piece in pieces:
        offset = offset if offset >= 0 else size + offset
        data[offset : offset + len(piece)] = piece
    return bytes(data)


def partition(kind=0x83, start=1, sectors=100, status=0):
    return struct.pack("<BxxxBxxxII", status, kind, start, sectors)


MBR = (446, partition() + bytes(48) + b"\x55\xaa")


def gpt(sector=512, good=True):
    header = bytearray(struct.pack("<8sIII", b"EFI PART", 0x10000, 92, 0) + bytes(72))
    header[16:20] = struct.pack("<I", zlib.crc32(header) ^ (not good))
    return sector, bytes(header)


def iso(kind=1, sector=16):
    return sector * 2048, bytes([kind]) + b"CD001\x01"


def udf(step=2048):
    return [(32768 + n * step, b"\0" + name + b"\x01") for n, name in enumerate((b"BEA01", b"NSR02", b"TEA01"))]


def vhd_footer(size, kind=2, data_offset=0xFFFFFFFFFFFFFFFF, good=True):
    footer = bytearray(struct.pack(">8sIIQI4sI4sQQI", b"conectix", 2, 0x10000, data_offset, 0, b"qem2", 0, b"Wi2k", size, size, 0))
    footer += struct.pack(">II", kind, 0) + bytes(512 - 68)
    footer[64:68] = struct.pack(">I", ~sum(footer) & 0xFFFFFFFF)
    footer[9] ^= not good
    return bytes(footer)


def fixed_vhd(*pieces, size=262144):
    return at(*pieces, size=size) + vhd_footer(size)


def tar(*names, form=tarfile.USTAR_FORMAT):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    return file.getvalue()


def old_tar(name):
    """A header as before POSIX: nothing but its checksum tells."""
    data = bytearray(tar(name))
    data[257:265] = bytes(8)
    data[148:156] = b"%06o\0 " % sum(data[:148] + b" " * 8 + data[156:512])
    return bytes(data)


READ_ONLY = ("qcow", "qed", "parallels", "bochs", "cloop")
KOLY = (-512, b"koly" + struct.pack(">II", 4, 512))
KNOWN = {
    "qcow": at((0, b"QFI\xfb" + struct.pack(">I", 1))),
    "qcow2": at((0, b"QFI\xfb" + struct.pack(">I", 3))),
    "qed": at((0, b"QED\0")),
    "vmdk": at((0, b"KDMV" + struct.pack("<I", 1))),
    "vdi": at((0, b"<<< any text >>>\n"), (64, struct.pack("<I", 0xBEDA107F))),
    "vhd": fixed_vhd(),
    "vhdx": at((0, b"vhdxfile")),
    "luks": at((0, b"LUKS\xba\xbe\0\x02")),
    "iso": at(iso()),
    "udf": at(*udf()),
    "cdraw": at((0, b"\0" + b"\xff" * 10 + b"\0"), (16 * 2352 + 17, b"CD001")),
    "encrcdsa": at((0, b"encrcdsa\0\0\0\x02")),
    "gzip": gzip.compress(b"x"),
    "xz": b"\xfd7zXZ\0\0\x04",
    "bzip2": b"BZh91AY&SY",
    "zstd": b"\x28\xb5\x2f\xfd\0",
    "lz4": b"\x04\x22\x4d\x18",
    "zip": b"PK\x03\x04",
    "7z": b"7z\xbc\xaf\x27\x1c",
    "tar": tar("disk.raw"),
    "ova": tar("a.ovf", "a.mf"),
    "vagrant": tar("./Vagrantfile", "./box-disk001.vmdk", "./box.ovf"),
    "xva": tar("ova.xml"),
    "dmg": at(KOLY),
    "sparseimage": at((0, b"sprs\0\0\0\x03")),
    "asif": at((0, b"shdw\0\0\0\x01")),
    "vma": at((0, b"VMA\0\0\0\0\x01")),
    "parallels": at((0, b"WithouFreSpacExt")),
    "bochs": at((0, b"Bochs Virtual HD Image")),
    "cloop": at((0, b"#!/bin/sh\n#V2.0 Format\n")),
    "ewf": at((0, b"EVF\x09\x0d\x0a\xff\0")),
    "wim": at((0, b"MSWIM\0\0\0")),
    "android-sparse": at((0, struct.pack("<I", 0xED26FF3A))),
    "squashfs": at((0, b"hsqs")),
    "ovf": b'<?xml version="1.0"?>\n<!-- x -->\n<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">\n',
    "raw": at(),
}


def found(data, **options):
    return detect(Memory(data), **options)


@pytest.mark.parametrize("name", KNOWN)
def test_every_format_has_its_name(name):
    detection = found(KNOWN[name])
    assert detection.best.format == name
    assert not detection.ambiguous
    assert detection.best.reader or detection.best.tool or detection.best.category in ("archive", "compression")
    if detection.best.reader:
        assert registry.lookup(detection.best.reader)


@pytest.mark.parametrize("name", sorted(set(KNOWN) - {"qcow2", "vmdk", "vdi", "vhd", "vhdx", "iso", "udf", "luks", "dmg", "raw", *READ_ONLY}))
def test_what_is_only_named_is_refused_with_advice(name):
    storage = Memory(KNOWN[name], name="some-file")
    with pytest.raises(UnsupportedImage) as caught:
        require_disk(detect(storage), storage)
    assert str(caught.value).startswith("some-file: this is a") or "compressed data" in str(caught.value)
    assert caught.value.hint


VARIANTS = {
    "qcow2 of another version": ("qcow2", at((0, b"QFI\xfb" + struct.pack(">I", 4)))),
    "vmdk of another version": ("vmdk", at((0, b"KDMV" + struct.pack("<I", 9)))),
    "vmdk of esx (cowd)": ("vmdk", at((0, b"COWD"))),
    "vmdk of esx (sesparse)": ("vmdk", at((0, struct.pack("<QQ", 0xCAFEBABE, 0x200000001)))),
    "vmdk descriptor": ("vmdk", DESCRIPTOR),
    "vmdk descriptor, padded": ("vmdk", DESCRIPTOR.ljust(20 * 512, b"\0")),
    "vmdk descriptor with BOM, CRLF, comments, no title": ("vmdk", b"\xef\xbb\xbf# made by hand\r\n\r\n  \r\nVersion = 1\r\nCID=1\r\n"),
    "dynamic vhd": ("vhd", at((0, vhd_footer(1 << 20, 3, 512)), (512, b"cxsparse"), (-512, vhd_footer(1 << 20, 3, 512)))),
    "dynamic vhd, cut": ("vhd", at((0, vhd_footer(1 << 20, 3, 512)), (512, b"cxsparse"))),
    "dynamic vhd, first footer lost": ("vhd", at((512, b"cxsparse"), (-512, vhd_footer(1 << 20, 3, 512)))),
    "fixed vhd with a partition table": ("vhd", fixed_vhd(MBR, gpt())),
    "fixed vhd, footer of 511 bytes": ("vhd", at() + vhd_footer(262144)[:511]),
    "fixed vhd of an unknown type": ("vhd", at() + vhd_footer(262144, 99)),
    "luks2, second header only": ("luks", at((0x4000, b"SKUL\xba\xbe"))),
    "iso that begins with a boot record": ("iso", at(iso(0), iso(1, 17))),
    "iso and udf": ("iso", at(iso(), (17 * 2048, b"\xffCD001\x01"), *[(offset + 4096, name) for offset, name in udf()])),
    "udf with blocks of 4096": ("udf", at(*udf(4096))),
    "hybrid iso": ("iso", at(iso(), (446, partition(0x17, 0, 500, 0x80) + bytes(48) + b"\x55\xaa"), gpt())),
    "pzstd": ("zstd", b"\x50\x2a\x4d\x18\x04\0\0\0abcd\x28\xb5\x2f\xfd"),
    "empty bzip2": ("bzip2", b"BZh9\x17rE8P\x90\0\0\0\0"),
    "empty zip": ("zip", b"PK\5\6" + bytes(18)),
    "compressed dmg": ("dmg", at((0, b"BZh91AY&SY"), KOLY)),
    "dmg with partitions": ("dmg", at(MBR, gpt(), KOLY)),
    "tar without ustar": ("tar", old_tar("a")),
    "gnu tar": ("tar", tar("a", form=tarfile.GNU_FORMAT)),
    "ova with a pax header": ("ova", tar("ü" * 120 + ".ovf", form=tarfile.PAX_FORMAT)),
    "ova with a long name of GNU's": ("ova", tar("a" * 120 + ".ovf", form=tarfile.GNU_FORMAT)),
}


@pytest.mark.parametrize("case", VARIANTS)
def test_variants(case):
    name, data = VARIANTS[case]
    detection = found(data)
    assert (detection.best.format, detection.ambiguous) == (name, ())


def test_all_matches_are_reported():
    detection = found(VARIANTS["hybrid iso"][1])
    assert [match.format for match in detection.matches] == ["iso", "gpt", "mbr"]
    assert [match.format for match in detection.contents] == ["gpt", "mbr"]
    assert [match.format for match in found(VARIANTS["iso and udf"][1]).matches] == ["iso", "udf"]
    assert [match.format for match in found(KNOWN["ova"]).matches] == ["ova", "tar"]
    assert [match.format for match in found(VARIANTS["compressed dmg"][1]).matches] == ["dmg", "bzip2"]


CONTRADICTIONS = {
    "vmdk descriptor, then a disk": ({"vmdk", "raw"}, at((0, DESCRIPTOR), (4096, b"disk"))),
    "vmdk descriptor, then a big hole": ({"vmdk", "raw"}, at((0, DESCRIPTOR), size=2 << 20)),
    "version=1, then a disk": ({"vmdk", "raw"}, at((0, b"version=1\n"), (512, b"\x01"))),
    "vmdk descriptor, then an iso": ({"vmdk", "raw", "iso"}, at((0, DESCRIPTOR), iso())),
    "qcow2 and iso": ({"qcow2", "iso"}, at((0, b"QFI\xfb\0\0\0\x03"), iso())),
    "qcow2 with an mbr": ({"qcow2", "mbr"}, at((0, b"QFI\xfb\0\0\0\x03"), MBR)),
    "qcow2 with a gpt": ({"qcow2", "gpt"}, at((0, b"QFI\xfb\0\0\0\x03"), gpt(good=False))),
    "vdi with an mbr": ({"vdi", "mbr"}, at((64, struct.pack("<I", 0xBEDA107F)), MBR)),
    "fixed vhd and qcow2": ({"vhd", "qcow2"}, fixed_vhd((0, b"QFI\xfb\0\0\0\x03"))),
    "fixed vhd around a dynamic one": ({"vhd"}, fixed_vhd((0, vhd_footer(1 << 20, 3, 512)), (512, b"cxsparse"))),
    "fixed vhd and iso": ({"vhd", "iso"}, fixed_vhd(iso())),
    "gzip and fixed vhd": ({"gzip", "vhd"}, fixed_vhd((0, b"\x1f\x8b\x08"))),
    "luks and vdi": ({"luks", "vdi"}, at((0, b"LUKS\xba\xbe"), (64, struct.pack("<I", 0xBEDA107F)))),
    "zip and iso": ({"zip", "iso"}, at((0, b"PK\x03\x04"), iso())),
    "tar and iso": ({"tar", "iso"}, at((0, tar("a")), iso())),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions(case):
    names, data = CONTRADICTIONS[case]
    storage = Memory(data)
    detection = detect(storage)
    assert {match.format for match in detection.ambiguous} == names
    for declared in (None, "raw", "iso", "qcow2"):
        with pytest.raises(AmbiguousImage, match="programs would disagree"):
            require_disk(detection, storage, declared=declared)


def test_a_stream_is_judged_by_its_content():
    data = fixed_vhd(MBR, size=3 << 20)
    stream = open_stream(Memory(gzip.compress(data)), "gzip")
    quick = detect(stream, tail=False)
    assert (quick.best.format, quick.whole) == ("raw", False)
    assert stream._size is None
    assert detect(stream).best.format == "vhd"
    ova = open_stream(Memory(gzip.compress(KNOWN["ova"])), "gzip")
    assert detect(ova).best.format == "ova"


@pytest.mark.parametrize("length", [0, 1, 3, 7, 8, 64, 100, 257, 511, 512, 513, 32769, 65536])
def test_short_files(length):
    """Every beginning of every format, and noise, gets an answer."""
    for data in [*KNOWN.values(), *(data for _name, data in VARIANTS.values()), b"\xff" * length, bytes(length), b"\x55\xaa" * length]:
        storage = Memory(data[:length])
        detection = detect(storage)
        assert detection.matches
        with contextlib.suppress(InvalidImage, AmbiguousImage, UnsupportedImage):
            assert require_disk(detection, storage) in registry.FORMATS


def test_a_nested_footer_does_not_make_a_vhd():
    for footer in (vhd_footer(1000), vhd_footer(262144, good=False), vhd_footer(262144, 3, 512), vhd_footer(262144, 4, 1 << 60)):
        detection = detect(Memory(at() + footer))
        assert (detection.best.format, len(detection.notes)) == ("raw", 1)
        assert "VHD" in detection.notes[0]


def test_a_declared_format_has_to_be_the_detected_one():
    for name in ("qcow2", "vmdk", "vdi", "vhd", "vhdx", "iso", *READ_ONLY):
        storage = Memory(KNOWN[name])
        detection = detect(storage)
        assert require_disk(detection, storage) == name
        assert require_disk(detection, storage, declared="vpc" if name == "vhd" else name.upper()) == name
        with pytest.raises(InvalidImage, match="declared as raw, but this is"):
            require_disk(detection, storage, declared="raw")
        with pytest.raises(InvalidImage, match="declared as"):
            require_disk(detection, storage, declared="vdi" if name != "vdi" else "vmdk")
        with pytest.raises(UnsupportedImage):
            require_disk(detection, storage, declared="no-such-format")
    for name in ("tar", "gzip", "vma"):
        storage = Memory(KNOWN[name])
        with pytest.raises(InvalidImage):
            require_disk(detect(storage), storage, declared="raw")
    for name in ("luks", "udf", "raw"):  # bytes that mean themselves to the guest
        storage = Memory(KNOWN[name])
        assert require_disk(detect(storage), storage, declared="raw") == "raw"
