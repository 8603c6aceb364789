# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy on raw: what a disk can be when no format says so, and what a user may declare."""

from __future__ import annotations

import random
import struct

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import InvalidImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.detect import detect, require_disk
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

NOISE = random.Random(1).getrandbits(8 * 65536).to_bytes(65536, "little")


def disk(**options):
    """64 KiB of zeros with pieces of bytes at offsets: disk(at446=…)."""
    data = bytearray(65536)
    for where, piece in options.items():
        offset = int(where[2:])
        data[offset : offset + len(piece)] = piece
    return bytes(data)


def entry(status, kind, start, sectors):
    return struct.pack("<BxxxBxxxII", status, kind, start, sectors)


def sector(*entries, head=b""):
    return head.ljust(446, b"\0") + b"".join(entries).ljust(64, b"\0") + b"\x55\xaa"


FAT_BPB = b"\xeb\x3c\x90mkfs.fat" + struct.pack("<HBHBHHBH", 512, 4, 1, 2, 512, 64, 0xF8, 8)
ROW = entry(0x80, 0x83, 1, 100)
CONTENTS = {
    "mbr": (["mbr"], sector(ROW)),
    "mbr of GRUB": (["mbr"], sector(ROW, head=b"\xeb\x63\x90" + b"\x10\x8e\xd0\xbc\0\xb0")),
    "protective mbr": (["mbr"], sector(entry(0, 0xEE, 1, 0xFFFFFFFF))),
    "a lone sector": (["mbr"], sector(entry(0, 7, 2048, 99999999))),
    "no partitions": ([], sector()),
    "bad status": ([], sector(entry(0x13, 0x83, 1, 100))),
    "type without a length": ([], sector(ROW, entry(0, 0x83, 5, 0))),
    "length without a type": ([], sector(ROW, entry(0, 0, 5, 9))),
    "partition outside": ([], disk(at0=sector(entry(0, 0x83, 128, 9)))),
    "fat": (["fat"], sector(head=FAT_BPB)),
    "fat with something like partitions": (["fat"], sector(ROW, head=FAT_BPB)),
    "ntfs": (["ntfs"], sector(ROW, head=b"\xeb\x52\x90NTFS    ")),
    "exfat": (["exfat"], sector(ROW, head=b"\xeb\x76\x90EXFAT   ")),
    "bitlocker": (["bitlocker"], sector(ROW, head=b"\xeb\x58\x90-FVE-FS-")),
    "ext": (["ext"], disk(at1024=struct.pack("<II", 16, 64), at1080=b"\x53\xef")),
    "xfs": (["xfs"], disk(at0=b"XFSB")),
    "btrfs": (["btrfs"], disk() + bytes(64) + b"_BHRfS_M" + bytes(440)),
    "lvm2": (["lvm2"], disk(at512=b"LABELONE" + bytes(16) + b"LVM2 001")),
    "swap": (["swap"], disk(at4086=b"SWAPSPACE2")),
    "apple": (["apm"], disk(at0=b"ER\x02\0", at512=b"PM\0\0")),
    "gpt, 4 KiB sectors": (["gpt"], disk(at4096=b"EFI PART")),
}


@pytest.mark.parametrize("case", CONTENTS)
def test_contents_of_a_raw_disk(case):
    names, data = CONTENTS[case]
    storage = Memory(data)
    detection = detect(storage)
    assert [match.format for match in detection.contents] == names
    assert detection.best.format == "raw"
    assert require_disk(detection, storage) == "raw"
    assert detection.best.confidence == (80 if names else 10)


NO_DISKS = {
    "an HTML page": b"\n<!DOCTYPE html>\n<html><title>404</title></html>\n",
    "an XML file": b"<Error><Code>AccessDenied</Code></Error>\n",
    "a JSON file": b'{"error": "not found"}\n',
    "a script": b"#!/bin/sh\necho\n",
    "a file of checksums": b"SHA256 (disk.img) = 0123\n",
    "a text file": "Zurück zur Übersicht\n".encode("latin-1") * 300,
    "a Linux kernel (bzImage)": disk(at446=ROW, at510=b"\x55\xaaHdrS"[:2], at514=b"HdrS"),
}


@pytest.mark.parametrize("kind", NO_DISKS)
def test_what_is_no_disk(kind):
    storage = Memory(NO_DISKS[kind])
    detection = detect(storage)
    assert [match.category for match in detection.matches if match.format != "mbr"] == ["other"]
    with pytest.raises(InvalidImage, match="not a disk image") as caught:
        require_disk(detection, storage)
    assert f"this is {kind}," in str(caught.value)
    assert require_disk(detection, storage, declared="raw") == "raw"


def test_more_text():
    for data in (b"\xff\xfeh\0i\0\n\0", ("ü" * 70000).encode()[:131072] + b"\n", b"a" * 200, b"a\n" * 100000):
        assert detect(Memory(data)).best.format == "text", data[:20]
    for data in (b"a" * 65536, b"text\n" + bytes(507), b"a\n" * 100000 + bytes(512), NOISE):
        assert detect(Memory(data)).best.format == "raw", data[:20]


def test_unknown_content_is_raw_only_if_it_can_be():
    for data, message in ((b"", "empty"), (NOISE[:1], "1 bytes are less"), (NOISE[:511], "511 bytes are less")):
        storage = Memory(data)
        detection = detect(storage)
        assert (detection.best.format, len(detection.notes)) == ("raw", 1)
        with pytest.raises(InvalidImage, match=message):
            require_disk(detection, storage)
        if data:
            assert require_disk(detection, storage, declared="raw") == "raw"
        else:
            with pytest.raises(InvalidImage):
                require_disk(detection, storage, declared="raw")
    storage = Memory(NOISE)
    assert require_disk(detect(storage), storage) == "raw"
    with pytest.raises(InvalidImage, match="declare the format raw"):
        require_disk(detect(storage), storage, allow_raw=False)


def test_a_vdi_without_its_signature_is_told():
    detection = detect(Memory(disk(at0=b"<<< Oracle VM VirtualBox Disk Image >>>\n")))
    assert "VDI" in detection.notes[0]


def test_files_that_are_no_disks_are_told_by_name():
    for start, what in (
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"%PDF-1.7\n", "PDF"),
        (b"\x7fELF\2\1\1", "ELF"),
        (b"\0\0\0\x20ftypisom", "MP4"),
        (b"\xa2\x72\x19\xf6\1\0\0\0", "ctk"),
    ):
        storage = Memory(start + NOISE)
        with pytest.raises(InvalidImage, match=what):
            require_disk(detect(storage), storage)
    partitioned = bytearray(disk(at0=b"\x7fELF"))
    partitioned[446:462] = bytes([0x80, 0, 2, 0, 0x83, 0, 0, 0]) + (1).to_bytes(4, "little") + (1).to_bytes(4, "little")
    partitioned[510:512] = b"\x55\xaa"
    assert detect(Memory(bytes(partitioned))).best.format == "raw"
