# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ramdisks that the usual tools made."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest import initramfs, lz4, unpack
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.initramfs import find_modules, identify_initramfs
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

PACKERS = {
    None: ["cat"],
    "gzip": ["gzip", "-n"],
    "xz": ["xz", "--check=crc32"],
    "zstd": ["zstd", "-q", "-19"],
    "lz4": ["lz4", "-l", "-q", "-9"],
    "bzip2": ["bzip2"],
    "lzma": ["lzma"],
    "lzo": ["lzop"],
}
READ = [name for name in PACKERS if name != "lzo"]
MODULES = {"virtio_blk", "virtio_pci", "dm_mod", "ext4"}
FILES = {
    "init": b"#!/bin/sh\n",
    "usr/lib/modules/6.1.0/kernel/drivers/block/virtio_blk.ko": bytes(5000),
    "usr/lib/modules/6.1.0/kernel/drivers/virtio/virtio_pci.ko.xz": b"x" * 1234,
    "usr/lib/modules/6.1.0/kernel/drivers/md/dm-mod.ko.zst": b"y",
    "usr/lib/modules/6.1.0/kernel/fs/ext4/ext4.ko.gz": b"",
    "usr/lib/modules/6.1.0/modules.dep": b"kernel/fs/xfs/xfs.ko:\n",
    "etc/xfs.ko.conf": b"",
}


@pytest.fixture(scope="module")
def archive(tmp_path_factory, program):
    """archive({path: content}) gives a cpio archive that cpio(1) made."""

    def archive(files):
        folder = tmp_path_factory.mktemp("files")
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        names = "\n".join(files).encode() + b"\n"
        command = [program("cpio"), "-o", "-H", "newc", "--quiet", "--reproducible"]
        return subprocess.run(command, cwd=folder, input=names, check=True, capture_output=True).stdout

    return archive


@pytest.fixture(scope="module")
def pack(program):
    """pack(data, compression) gives what the compression's own tool makes of it."""

    def pack(data, compression):
        command = PACKERS[compression]
        return subprocess.run([program(command[0]), *command[1:], *(["-c"] if compression else [])], input=data, check=True, capture_output=True).stdout

    return pack


@pytest.mark.parametrize("compression", PACKERS)
def test_identified(archive, pack, compression):
    found = identify_initramfs(Memory(pack(archive(FILES), compression)))
    assert found == initramfs.Initramfs(compression, False)


@pytest.mark.parametrize("compression", READ)
def test_modules(archive, pack, compression):
    found = find_modules(Memory(pack(archive(FILES), compression)), ())
    assert found == initramfs.Modules(frozenset(MODULES), True, None)


@pytest.mark.parametrize("compression", READ)
def test_behind_microcode(archive, pack, compression):
    """Debian's and dracut's: an archive that is not packed comes first, and zeros fill it up."""
    early = archive({"kernel/x86/microcode/GenuineIntel.bin": b"m" * 7777})
    storage = Memory(early + bytes(-len(early) % 512 + 512) + pack(archive(FILES), compression))
    assert identify_initramfs(storage) == initramfs.Initramfs(compression, True)
    assert find_modules(storage, ()).names == MODULES


def test_modules_in_several_archives(archive, pack):
    """Ubuntu's: what is packed already stands in archives that are not packed as a whole."""
    first = archive({"usr/lib/modules/6.8.0/kernel/drivers/net/virtio_net.ko.zst": b"z" * 100})
    second = archive({"usr/lib/modules/6.8.0/kernel/drivers/nvme/host/nvme.ko.zst": b"z" * 99})
    storage = Memory(first + second + bytes(64) + pack(archive(FILES), "zstd"))
    assert identify_initramfs(storage) == initramfs.Initramfs("zstd", True)
    found = find_modules(storage, ())
    assert found.names == MODULES | {"virtio_net", "nvme"}
    assert found.complete


def test_archives_packed_together(archive, pack):
    """cat a.gz b.gz, and two archives in one stream."""
    other = archive({"lib/modules/1/nvme.ko": b""})
    assert find_modules(Memory(pack(archive(FILES), "gzip") + pack(other, "gzip")), ()).names == MODULES | {"nvme"}
    assert find_modules(Memory(pack(archive(FILES) + bytes(4096) + other, "gzip")), ()).names == MODULES | {"nvme"}


def test_it_ends_when_all_is_found(archive, pack):
    data = pack(archive({**FILES, "last": random.Random(2).randbytes(1 << 20)}), "gzip")
    found = find_modules(Memory(data[: len(data) // 2]), {"virtio_blk"})
    assert found.names == {"virtio_blk"}
    assert not found.complete


def test_what_is_not_read_is_named(archive, pack):
    found = find_modules(Memory(pack(archive(FILES), "lzo")), {"virtio_blk"})
    assert found == initramfs.Modules(frozenset(), False, "lzo compression is not read")


def test_a_bomb_is_not_unpacked(archive, pack, monkeypatch):
    monkeypatch.setattr(initramfs, "MAX_CONTENT", 1 << 20)
    data = pack(archive({"big": bytes(3 << 20), **FILES}), "gzip")
    found = find_modules(Memory(data), ())
    assert found == initramfs.Modules(frozenset(), False, "only its first 1048576 bytes are looked through")


def test_zstd_in_plain_python_has_a_bound(archive, pack, monkeypatch):
    monkeypatch.setattr(unpack, "MAX_PLAIN_ZSTD", 1 << 20)
    monkeypatch.setattr(unpack, "_bound", lambda compression: 1 << 20)
    found = find_modules(Memory(pack(archive({"big": bytes(3 << 20), **FILES}), "zstd")), ())
    assert not found.complete
    assert "zstd" in found.reason


@pytest.mark.parametrize("data", [b"", bytes(5000), b"0707", b"not an archive", b"\x1f\x8b\x08" + bytes(100)])
def test_no_ramdisk(data):
    assert identify_initramfs(Memory(data)) is None


def test_a_packed_text_is_no_ramdisk(pack):
    assert identify_initramfs(Memory(pack(b"only a text", "gzip"))) is None


def test_as_lsinitramfs_lists_it(program):
    """This machine's own, if it has one."""
    images = sorted(Path("/boot").glob("initrd.img-*")) if Path("/boot").is_dir() else []
    if not images or not os.access(images[0], os.R_OK):
        pytest.skip("no ramdisk on this machine, or none that may be read")
    said = subprocess.run([program("lsinitramfs"), images[0]], check=True, capture_output=True, text=True).stdout
    theirs = {line.rpartition("/")[2].partition(".ko")[0].replace("-", "_") for line in said.splitlines() if line.endswith((".ko", ".ko.xz", ".ko.zst"))}
    assert find_modules(Memory(images[0].read_bytes()), ()).names == theirs


@pytest.mark.parametrize("compression", READ)
def test_damage(archive, pack, compression):
    """Damaged ramdisks give an answer or a typed error, and no name that could not be in them."""
    random_ = random.Random(5)
    data = pack(archive(FILES), compression)
    for _attempt in range(60):
        damaged = bytearray(data)
        for _byte in range(random_.randrange(1, 5)):
            damaged[random_.randrange(len(damaged))] = random_.randrange(256)
        del damaged[random_.randrange(len(damaged) // 2, 2 * len(damaged)) :]
        storage = Memory(bytes(damaged))
        found = find_modules(storage, ())
        assert len(found.names) <= len(MODULES)
        try:
            identified = identify_initramfs(storage)
        except ImageError:
            continue
        assert identified is None or identified.compression in PACKERS


@pytest.mark.parametrize("seed", range(8))
def test_lz4_blocks(pack, seed):
    random_ = random.Random(seed)
    data = b""
    for _part in range(400):
        length = random_.randrange(400)
        data += random_.choice([bytes(length), b"ab" * length, random_.randbytes(length)])
    assert b"".join(lz4.read_legacy(Memory(pack(data, "lz4")), 0)) == data


def test_lz4_of_several_blocks(pack):
    data = random.Random(1).randbytes(1 << 16) * 140
    assert len(data) > lz4.BLOCK
    assert b"".join(lz4.read_legacy(Memory(pack(data, "lz4")), 0)) == data


def test_lz4_cut_off(pack):
    data = pack(random.Random(1).randbytes(10000), "lz4")
    with pytest.raises(CorruptImage):
        list(lz4.read_legacy(Memory(data[:-1]), 0))
