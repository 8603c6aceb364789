# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What volumes hold: made by the makers of their file systems, or by hand, and judged by blkid."""

from __future__ import annotations

import contextlib
import os
import random
import struct
import subprocess
import uuid
import zlib

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import ImageError, InvalidImage, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.recognise import identify, open_filesystem
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

KIB, MIB = 1 << 10, 1 << 20
UUID = "12345678-9abc-4def-8012-3456789abcde"
RAW_UUID = uuid.UUID(UUID).bytes


@pytest.fixture
def blkid(program):
    """{TYPE, USAGE, LABEL, UUID, VERSION: text}, without those that are not there."""
    tool = program("blkid")

    def ask(path):
        found = {}
        for tag in ("TYPE", "USAGE", "LABEL", "UUID", "VERSION"):
            done = subprocess.run([tool, "-p", "-o", "value", "-s", tag, path], check=False, capture_output=True, text=True)
            found[tag] = done.stdout.rstrip("\n")
        return {tag: value for tag, value in found.items() if value}

    return ask


def as_blkid(signature):
    said = {"TYPE": signature.type, "USAGE": signature.usage, "LABEL": signature.label, "UUID": signature.uuid, "VERSION": signature.version}
    return {tag: value for tag, value in said.items() if value is not None}


MADE = [
    (["mkntfs", "-q", "-F", "-Q", "-L", "Größe 1", "{}"], "ntfs", 64 * MIB - 512),
    (["mkntfs", "-q", "-F", "-Q", "-s", "4096", "-c", "65536", "{}"], "ntfs", None),
    (["mkfs.exfat", "-L", "Größe 1", "{}"], "exfat", 64 * MIB),
    (["mkfs.exfat", "-c", "4096", "{}"], "exfat", 64 * MIB),
    (["mkswap", "-L", "paging", "-U", UUID, "{}"], "swap", 64 * MIB),
    (["mkswap", "-p", "65536", "{}"], "swap", 64 * MIB),
    (["mkfs.f2fs", "-q", "-l", "Größe 1", "{}"], "f2fs", 64 * MIB),
    (["mkudffs", "-b", "512", "-l", "Größe 1", "{}"], "udf", None),
    (["mkudffs", "-b", "2048", "-l", "plain", "{}"], "udf", None),
    (["mkudffs", "-b", "4096", "{}"], "udf", None),
    (["cryptsetup", "luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000", "--key-file", "{key}", "{}"], "crypto_LUKS", None),
    (
        [
            "cryptsetup",
            "luksFormat",
            "-q",
            "--type",
            "luks2",
            "--label",
            "secret",
            "--pbkdf",
            "pbkdf2",
            "--pbkdf-force-iterations",
            "1000",
            "--key-file",
            "{key}",
            "{}",
        ],
        "crypto_LUKS",
        None,
    ),
]


@pytest.mark.parametrize(("words", "name", "size"), MADE, ids=[" ".join(words[:1] + words[2:6]) for words, _name, _size in MADE])
def test_what_others_make_is_named_as_blkid_does(program, blkid, tmp_path, words, name, size):
    path, key = tmp_path / "disk.img", tmp_path / "key"
    key.write_bytes(b"key")
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    subprocess.run(
        [program(words[0]), *(word.format(path, key=key) for word in words[1:])], check=True, capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8"}
    )
    signature = identify(FileStorage(path))
    assert as_blkid(signature) == blkid(path)
    assert signature.type == name
    assert signature.warnings == ()
    assert size is None or signature.size == size
    with pytest.raises(UnsupportedImage):
        open_filesystem(FileStorage(path))


def test_images_of_folders(program, blkid, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(random.Random(1).randbytes(100_000))
    squashfs, erofs = tmp_path / "squashfs", tmp_path / "erofs"
    subprocess.run([program("mksquashfs"), folder, squashfs, "-quiet", "-no-progress"], check=True, capture_output=True)
    subprocess.run([program("mkfs.erofs"), "-U", UUID, erofs, folder], check=True, capture_output=True)
    found = identify(FileStorage(squashfs))
    assert as_blkid(found) == blkid(squashfs)
    assert 100_000 < found.size <= squashfs.stat().st_size
    found = identify(FileStorage(erofs))
    assert as_blkid(found) == blkid(erofs)
    assert (found.uuid, found.size) == (UUID, erofs.stat().st_size)


def placed(*parts, size=128 * KIB):
    data = bytearray(size)
    for offset, stored in parts:
        data[offset : offset + len(stored)] = stored
    return bytes(data)


def crc(data):
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


def lvm2(sector=1):
    rest = (struct.pack("<I", 32) + b"LVM2 001" + b"abcdef0123456789ABCDEF0123456789").ljust(492, b"\0")
    return placed((sector * 512, b"LABELONE" + struct.pack("<QI", sector, crc(rest)) + rest), size=4 * MIB)


def raid_1(offset):
    block = bytearray(256 + 2 * 4)
    struct.pack_into("<II", block, 0, 0xA92B4EFC, 1)
    block[16:32] = RAW_UUID
    block[32:43] = b"host:myraid"
    struct.pack_into("<Q", block, 144, offset // 512)
    struct.pack_into("<I", block, 220, 3)
    struct.pack_into("<3H", block, 256, 0, 1, 0xFFFF)
    block = block[:262]
    total = sum(struct.unpack_from("<65I", block)) + struct.unpack_from("<H", block, 260)[0]
    struct.pack_into("<I", block, 216, (total & 0xFFFFFFFF) + (total >> 32))
    return placed((offset, bytes(block)), size=4 * MIB)


def raid_0():
    words = [0xA92B4EFC, 0, 90, 0, 0, *struct.unpack(">I", RAW_UUID[:4]), 0, 1, 512, 2, 2, 0, 0, *struct.unpack(">3I", RAW_UUID[4:])]
    return placed((4 * MIB - 64 * KIB, struct.pack("<16I", *words)), size=4 * MIB)


def swsuspend(page):
    header = struct.pack("<III", 1, 255, 0) + RAW_UUID + b"paging".ljust(16, b"\0")
    return placed((1024, header), (page - 10, b"S1SUSPEND\0"), size=4 * MIB)


FORGED = {
    "LVM2_member": lvm2(),
    "LVM2_member in sector 0": lvm2(0),
    "LVM2_member in sector 3": lvm2(3),
    "linux_raid_member 0.90": raid_0(),
    "linux_raid_member 1.0": raid_1(4 * MIB - 8 * KIB),
    "linux_raid_member 1.1": raid_1(0),
    "linux_raid_member 1.2": raid_1(4 * KIB),
    "swsuspend": swsuspend(4096),
    "swsuspend of 64 KiB pages": swsuspend(65536),
    "jfs": placed((32768, b"JFS1"), (32784, struct.pack("<IHHIH", 4096, 12, 3, 512, 9)), (32768 + 136, RAW_UUID + b"old disk"), size=16 * MIB),
    "reiserfs": placed(
        (65536 + 12, struct.pack("<I", 18)), (65536 + 44, struct.pack("<H", 4096)), (65536 + 52, b"ReIsEr2Fs"), (65536 + 84, RAW_UUID + b"suse"), size=MIB
    ),
    "ufs": placed((65536 + 1372, struct.pack("<I", 0x19540119)), (65536 + 680, b"bsd"), (65536 + 144, struct.pack("<II", 0x4F3C2B1A, 0x1234567)), size=MIB),
    "VMFS": placed((2 * MIB, b"\x5e\xf1\xab\x2f" + struct.pack("<IB", 1, 31) + RAW_UUID + bytes(4) + b"datastore1"), size=3 * MIB),
    "VMFS_volume_member": placed((MIB, b"\x0d\xd0\x01\xc0" + struct.pack("<I", 3)), (MIB + 532, b"49edf842-dcb35d37-b383-0021280083cf"), size=3 * MIB),
    "DM_verity_hash": placed((0, b"verity\0\0" + struct.pack("<II", 1, 1) + RAW_UUID)),
    "DM_integrity": placed((0, b"integrt\0\x03")),
    "BitLocker of Vista": placed((0, b"\xeb\x52\x90-FVE-FS-")),
    "ReFS": placed((0, b"\0\0\0ReFS\0")),
}


@pytest.mark.parametrize("name", FORGED)
def test_signatures_are_named_as_blkid_does(blkid, tmp_path, name):
    path = tmp_path / "disk.img"
    path.write_bytes(FORGED[name])
    signature = identify(FileStorage(path))
    assert as_blkid(signature) == blkid(path)
    assert signature.type == name.split()[0]


def test_the_members_of_a_bitlocker_volume_are_named():
    disk = placed(
        (0, b"\xeb\x58\x90-FVE-FS-"),
        (176, struct.pack("<Q", 0x10000)),
        (0x10000, b"-FVE-FS-" + struct.pack("<HH", 0, 2)),
        (0x10000 + 80, uuid.UUID(UUID).bytes_le),
    )
    assert as_blkid(identify(Memory(disk))) == {"TYPE": "BitLocker", "USAGE": "crypto", "UUID": UUID, "VERSION": "2"}


def xdr(text):
    return struct.pack(">I", len(text)) + text + bytes(-len(text) % 4)


def pair(name, kind, value):
    body = xdr(name) + struct.pack(">II", kind, 1) + value
    return struct.pack(">II", len(body) + 8, 64) + body


def test_a_member_of_a_zfs_pool(blkid, tmp_path):
    inner = pair(b"guid", 8, struct.pack(">Q", 9)) + bytes(8)
    pairs = [
        pair(b"version", 8, struct.pack(">Q", 5000)),
        pair(b"name", 9, xdr(b"rpool")),
        pair(b"state", 8, struct.pack(">Q", 0)),
        pair(b"txg", 8, struct.pack(">Q", 4)),
        pair(b"pool_guid", 8, struct.pack(">Q", 17728452234567890123)),
        pair(b"guid", 8, struct.pack(">Q", 5)),
        pair(b"vdev_tree", 19, struct.pack(">II", 0, 1) + inner),
    ]
    label = b"\1\1\0\0" + struct.pack(">II", 0, 1) + b"".join(pairs) + bytes(8)
    path = tmp_path / "disk.img"
    uberblock = struct.pack("<QQQ", 0x00BAB10C, 5000, 4)
    parts = [
        (start + at, stored)
        for start in (0, 256 * KIB)
        for at, stored in ((16 * KIB, label), *((128 * KIB + KIB * number, uberblock) for number in range(128)))
    ]
    path.write_bytes(placed(*parts, size=65 * MIB))
    said = blkid(path)
    assert (said["TYPE"], said["LABEL"], said["UUID"]) == ("zfs_member", "rpool", "17728452234567890123")
    assert as_blkid(identify(FileStorage(path))) == said


def test_an_empty_volume_holds_nothing():
    for data in (b"", bytes(100), bytes(4096), bytes(MIB), b"\xff" * MIB, random.Random(1).randbytes(MIB)):
        assert identify(Memory(data)) is None
        with pytest.raises(InvalidImage):
            open_filesystem(Memory(data))


def test_what_is_not_read_is_named():
    with pytest.raises(UnsupportedImage, match="a file system of the type reiserfs, which is not read"):
        open_filesystem(Memory(FORGED["reiserfs"]))
    with pytest.raises(UnsupportedImage, match="an LVM physical volume"):
        open_filesystem(Memory(lvm2()))


def test_a_container_comes_before_what_is_in_it(program, tmp_path):
    """RAID 1 with its superblock at the end looks like the file system on it."""
    path = tmp_path / "disk.img"
    path.write_bytes(raid_1(4 * MIB - 8 * KIB))
    subprocess.run([program("mkfs.ext4"), "-q", path, "3900k"], check=True, capture_output=True)
    assert identify(FileStorage(path)).type == "linux_raid_member"


def test_leftovers_are_told(program, tmp_path):
    path = tmp_path / "disk.img"
    path.write_bytes(placed((2 * MIB, FORGED["VMFS"][2 * MIB :]), size=64 * MIB))
    subprocess.run([program("mkntfs"), "-q", "-F", "-Q", path], check=True, capture_output=True)
    with path.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(FORGED["VMFS"][2 * MIB : 2 * MIB + 512])
    found = identify(FileStorage(path))
    assert (found.type, found.warnings) == ("ntfs", ("there are traces of VMFS on the volume, too",))


@pytest.mark.parametrize(
    "words", [["mkfs.ext4", "-q"], ["mkfs.xfs", "-q"], ["mkfs.btrfs", "-q"], ["mkfs.vfat"], ["genisoimage", "-quiet", "-R", "-J", "-V", "disc"]]
)
def test_readable_file_systems_are_opened(program, blkid, tmp_path, words):
    path, folder = tmp_path / "disk.img", tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"content")
    tool = program(words[0])
    if words[0] == "genisoimage":
        subprocess.run([tool, *words[1:], "-o", path, folder], check=True, capture_output=True)
    else:
        with path.open("wb") as file:
            file.truncate(320 * MIB)
        subprocess.run([tool, *words[1:], path], check=True, capture_output=True)
    said = blkid(path)
    signature = identify(FileStorage(path))
    assert {tag: value for tag, value in as_blkid(signature).items() if tag != "VERSION"} == {tag: value for tag, value in said.items() if tag != "VERSION"}
    filesystem = open_filesystem(FileStorage(path))
    assert filesystem.signature.type == said["TYPE"]
    assert filesystem.root.kind == "directory"


def test_of_a_disc_with_udf_the_iso_9660_is_read(program, blkid, tmp_path):
    path, folder = tmp_path / "disc.iso", tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"content")
    subprocess.run([program("genisoimage"), "-quiet", "-R", "-udf", "-V", "disc", "-o", path, folder], check=True, capture_output=True)
    signature = identify(FileStorage(path))
    assert (as_blkid(signature), signature.warnings) == (blkid(path), ())
    disc = open_filesystem(FileStorage(path))
    assert [name for name, _key in disc.listing(disc.root)] == [b"file"]
    assert "read as ISO 9660, which may show fewer files than the UDF beside it" in disc.warnings


def test_mutations_are_recognised_or_not(program, tmp_path):
    """Damage never ends in anything but a type, nothing, or the engine's own error."""
    disks = list(FORGED.values())
    for words in (MADE[0][0], MADE[2][0], MADE[7][0]):
        path = tmp_path / "made.img"
        path.write_bytes(bytes(8 * MIB))
        subprocess.run(
            [program(words[0]), *(word.format(path) for word in words[1:])], check=True, capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8"}
        )
        disks.append(path.read_bytes())
    disks = [disk for disk in disks if len(disk) <= 8 * MIB]
    used = [[at for at in range(0, len(disk), 512) if any(disk[at : at + 512])] for disk in disks]
    chance = random.Random(5)
    for number in range(1000):
        mutant = bytearray(disks[number % len(disks)])
        for _change in range(chance.randrange(1, 8)):
            mutant[chance.choice(used[number % len(disks)]) + chance.randrange(512)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        if number % 7 == 0:
            del mutant[chance.randrange(len(mutant)) :]
        with contextlib.suppress(ImageError):
            open_filesystem(Memory(bytes(mutant)))
