# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ISO 9660: described from images built byte by byte and by other tools, passed through, refused when truncated."""

from __future__ import annotations

import random
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.detect import detect
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.iso.reader import IsoReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

BLOCKS = 32


def both(form, number):
    return struct.pack("<" + form, number) + struct.pack(">" + form, number)


def descriptor(kind, *pieces):
    data = bytearray(2048)
    data[:7] = bytes([kind]) + b"CD001\x01"
    for offset, piece in pieces:
        data[offset : offset + len(piece)] = piece
    return bytes(data)


def primary(blocks=BLOCKS, block_size=2048, root=28):
    record = struct.pack("<BB", 34, 0) + both("I", root) + both("I", 2048) + bytes(7) + b"\x02" + bytes(8)
    return descriptor(
        1,
        (8, b"LINUX".ljust(32)),
        (40, "Ärger\0".encode().ljust(32)),
        (80, both("I", blocks)),
        (128, both("H", block_size)),
        (156, record),
        (574, b"MAKER 1.0".ljust(128)),
        (813, b"2026010203040500\0"),
    )


JOLIET = descriptor(2, (88, b"%/E"), (128, both("H", 2048)))
BOOT = descriptor(0, (7, b"EL TORITO SPECIFICATION".ljust(32, b"\0")), (71, struct.pack("<I", 27)))
END = descriptor(255)


def catalog(*entries):
    """A validation entry with its checksum, then 32-byte entries."""
    first = bytearray(b"\x01\0\0\0" + b"maker".ljust(24, b"\0") + b"\0\0\x55\xaa")
    total = sum(struct.unpack("<16H", first)) & 0xFFFF
    first[28:30] = struct.pack("<H", -total & 0xFFFF)
    return bytes(first) + b"".join(entry.ljust(32, b"\0") for entry in entries)


CATALOG = catalog(
    struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 4, 29),
    struct.pack("<BBH", 0x91, 0xEF, 2),
    struct.pack("<BBHBBHI", 0x88, 0, 0, 0, 0, 4, 30),
    b"\x44",
    struct.pack("<BBHBBHI", 0x00, 2, 0, 0, 0, 1, 31),
)


def image(*descriptors, boot_catalog=b"", root=b"", blocks=BLOCKS):
    data = bytearray(blocks * 2048)
    for number, piece in [*enumerate(descriptors, 16), (27, boot_catalog), (28, root)]:
        data[number * 2048 : number * 2048 + len(piece)] = piece
    return bytes(data)


def rock_ridge(*entries):
    area = b"SP\x07\x01\xbe\xef\0" + b"".join(entries)
    return bytes([34 + len(area)]) + bytes(33) + area


WHOLE = image(primary(), BOOT, JOLIET, END, boot_catalog=CATALOG, root=rock_ridge(b"TF\x05\x01\0", b"PX\x04\x01"))


def test_describe():
    reader = IsoReader(Memory(WHOLE))
    info = reader.describe()
    assert (info.format, info.virtual_size, info.writer) == ("iso", BLOCKS * 2048, "MAKER 1.0")
    specific = info.format_specific
    assert specific["volume_identifier"] == "Ärger"
    assert specific["system_identifier"] == "LINUX"
    assert (specific["volume_space_size"], specific["logical_block_size"]) == (BLOCKS, 2048)
    assert (specific["joliet"], specific["rock_ridge"], specific["udf"], specific["hybrid"]) == (True, True, False, [])
    assert [(entry["platform"], entry["bootable"], entry["emulation"], entry["load_rba"]) for entry in specific["el_torito"]] == [
        ("bios", True, False, 29),
        ("efi", True, False, 30),
        ("efi", False, True, 31),
    ]
    assert [(entry["offset"], entry["bytes"]) for entry in specific["el_torito"]] == [(29 * 2048, 2048), (30 * 2048, 2048), (31 * 2048, 1440 * 1024)]
    assert specific["boot"] == {"cd": ["bios", "efi"], "disk": []}
    assert (specific["volume_size"], specific["appended_size"]) == (BLOCKS * 2048, 0)
    assert info.warnings == ["the image boots as a CD only, not as a disk: it has no partition table"]
    plain = IsoReader(Memory(image(primary(), END))).describe()
    assert not plain.warnings
    assert not any(plain.format_specific[key] for key in ("joliet", "rock_ridge", "udf", "el_torito", "hybrid"))


def test_a_hybrid():
    partition = struct.pack("<BxxxBxxxII", 0x80, 0x17, 0, BLOCKS * 4)
    info = IsoReader(Memory(WHOLE[:446] + partition + bytes(48) + b"\x55\xaa" + WHOLE[512:])).describe()
    assert info.format_specific["hybrid"] == ["mbr"]
    assert info.format_specific["boot"]["disk"] == [], "there is a table, and no code"
    assert not info.warnings


def gpt(*starts):
    """The sectors of a GPT with partitions that begin at these sectors; only what is looked at."""
    header = b"EFI PART" + bytes(64) + struct.pack("<QII", 2, len(starts) + 1, 128)
    return header.ljust(512, b"\0") + bytes(128) + b"".join(b"\1" * 32 + struct.pack("<Q", start) + bytes(88) for start in starts)


FAT = struct.pack("<3s8sHBHBHHBH", b"\xeb\x3c\x90", b"mkfs.fat", 512, 4, 1, 2, 512, 2880, 0xF8, 9).ljust(512, b"\0")


@pytest.mark.parametrize(
    ("code", "table", "expected"),
    [
        (b"\xfa", b"", ["bios"]),
        (b"", gpt(30 * 4), ["efi"]),
        (b"\xfa", gpt(4, 30 * 4), ["bios", "efi"]),
        (b"\xfa", gpt(4, 1 << 40), ["bios"]),
        (b"", b"EFI PART" + b"\xff" * 504, []),
    ],
)
def test_it_boots_as_a_disk(code, table, expected):
    partition = struct.pack("<BxxxBxxxII", 0x80, 0xEE, 1, BLOCKS * 4)
    head = code.ljust(446, b"\0") + partition + bytes(48) + b"\x55\xaa" + table
    info = IsoReader(Memory(head + WHOLE[len(head) : 30 * 2048] + FAT + WHOLE[30 * 2048 + 512 :])).describe()
    assert info.format_specific["boot"]["disk"] == expected
    assert [entry["bytes"] for entry in info.format_specific["el_torito"]][1] == 1440 * 1024, "the FAT file system tells, as the catalog cannot"


@pytest.mark.parametrize("behind", [0, 150 * 2048, 512])
def test_it_passes_through(behind):
    data = WHOLE + b"\x07" * behind
    reader = IsoReader(Memory(data))
    assert reader.read_at(0, reader.virtual_size) == data
    assert [(extent.kind, extent.length) for extent in reader.extents()] == [("data", len(data))]
    assert reader.check().clean


@pytest.mark.parametrize("cut", [1, 512, 2048, 10 * 2048, len(WHOLE) - 17 * 2048])
def test_a_truncated_image_is_described_and_not_read(cut):
    reader = IsoReader(Memory(WHOLE[:-cut]))
    assert "truncated" in reader.describe().warnings[0]
    assert not reader.check().clean
    with pytest.raises(CorruptImage, match="truncated: its volume has 65536 bytes"):
        list(reader.extents())
    with pytest.raises(CorruptImage):
        reader.read_at(0, 512)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (image(END), "no primary volume descriptor"),
        (image(BOOT, END), "no primary volume descriptor"),
        (image(primary())[: 17 * 2048 - 1], "no primary volume descriptor"),
        (bytes(65536), "no primary volume descriptor"),
        (b"", "no primary volume descriptor"),
        (image(primary(block_size=0), END), "blocks of 0 bytes"),
        (image(primary(block_size=12336), END), "blocks of 12336 bytes"),
    ],
)
def test_malformed(data, message):
    with pytest.raises(CorruptImage, match=message):
        IsoReader(Memory(data))


def test_a_damaged_catalog_is_told():
    for broken in (b"", CATALOG[:1] + b"\x01" + CATALOG[2:], bytes(2048)):
        info = IsoReader(Memory(image(primary(), BOOT, END, boot_catalog=broken))).describe()
        assert info.warnings == ["the El Torito boot catalog is damaged"]
    outside = BOOT[:71] + b"\xff\xff\xff\xff" + BOOT[75:]
    assert "damaged" in IsoReader(Memory(image(primary(root=0xFFFFFFFF), outside, END))).describe().warnings[0]


def test_mutations_raise_nothing_else():
    dice = random.Random(3)
    for _round in range(3000):
        data = bytearray(WHOLE)
        for _change in range(dice.randrange(1, 6)):
            start = dice.choice((16, 17, 18, 19, 27, 28)) * 2048
            data[start + dice.choice((0, 1, 7, 71, 80, 128, 156, 158, 166)) + dice.randrange(40)] = dice.choice((0, 1, 0x7F, 0xFF, dice.randrange(256)))
        storage = Memory(bytes(data[: dice.choice((len(data), dice.randrange(len(data))))]))
        detect(storage)
        try:
            reader = IsoReader(storage)
            reader.describe()
            list(reader.extents())
        except ImageError:
            pass


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["genisoimage", "-quiet", "-J", "-R"], {"joliet", "rock_ridge"}),
        (["genisoimage", "-quiet", "-udf"], {"udf"}),
        (["genisoimage", "-quiet"], set()),
        (["xorriso", "-as", "mkisofs", "-quiet", "-J", "-b", "boot", "-no-emul-boot"], {"joliet", "rock_ridge", "el_torito"}),
    ],
)
def test_what_other_tools_make(command, expected, tmp_path, program):
    program(command[0])
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/boot").write_bytes(b"\xf4" * 2048)
    path = tmp_path / "x.iso"
    subprocess.run([*command, "-V", "VOLUME", "-o", path, tmp_path / "tree"], check=True, capture_output=True)
    reader = IsoReader(FileStorage(path))
    specific = reader.describe().format_specific
    assert specific["volume_identifier"] == "VOLUME"
    assert reader.volume_size <= reader.virtual_size == path.stat().st_size
    assert {key for key in ("joliet", "rock_ridge", "udf", "el_torito") if specific[key]} == expected
    list(reader.extents())
    reader.close()
