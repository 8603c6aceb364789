# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The VHDX writer, judged by qemu-img (two versions), 7-Zip and the inspector that the cloud runs."""

from __future__ import annotations

import hashlib
import json
import random
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats import registry
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhdx.reader import VhdxReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhdx.options import Options
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.identity import fingerprint
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
UNIT = 64 * KIB

# name: size of the disk, units that hold data
DISKS = {
    "1 MiB": (MIB, [0, 15]),
    "one sector": (512, [0]),
    "10 MiB and a sector": (10 * MIB + 512, [3, 4, 5, 16, 160]),
    "64 MiB": (64 * MIB, [*range(0, 1024, 37), 1023]),
    "all zero": (64 * MIB, []),
    "all random": (9 * MIB, range(144)),
    "3 GiB": (3 * GIB, [0, 1, 16384, 49151]),
    # A chunk has 4 GiB: entries for sector bitmaps lie between those of the blocks.
    "300 GiB": (300 * GIB, [7, 65535, 65536, 131072, 17 * 16384 + 5, 200 * 16384, 300 * 16384 - 1]),
}
OPTIONS = [("dynamic", "0"), ("dynamic", "1M"), ("dynamic", "32M"), ("dynamic", "256M"), ("fixed", "0"), ("fixed", "1048576")]


def parts(size, units, seed=5):
    """(guest offset, data) of units that follow each other, as a caller of the writer cuts them."""
    chance = random.Random(seed)
    runs = []
    for unit in units:
        data = chance.randbytes(min(UNIT, size - unit * UNIT))
        if runs and runs[-1][0] + len(runs[-1][1]) == unit * UNIT:
            runs[-1] = (runs[-1][0], runs[-1][1] + data)
        else:
            runs.append((unit * UNIT, data))
    return runs


def write(path, size, runs, subformat="dynamic", **options):
    with Sink(path) as sink:
        writer = registry.create_writer(registry.target("vhdx", subformat, False, options), sink, size)
        for start, data in runs:
            writer.write(start, memoryview(data))
        # As the transfer does, which cuts a disk at the same places whatever it comes from.
        writer.identity.add(fingerprint((start + at, data[at : at + UNIT]) for start, data in runs for at in range(0, len(data), UNIT)))
        writer.finish()
        sink.commit()
    return path


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout!r} {done.stderr!r}"
    return done.stdout


def bytes_of(path, start, end):
    with open(path, "rb") as file:
        file.seek(start)
        return file.read(end - start)


def first_block(image):
    """Where the table ends, by the second entry of the region table."""
    offset, length = struct.unpack("<QI", bytes_of(image, 0x30010 + 32 + 16, 0x30010 + 32 + 28))
    return offset + length


@pytest.fixture(scope="module", params=DISKS, ids=[name.replace(" ", "-") for name in DISKS])
def disk(request, tmp_path_factory):
    """A raw disk: its path, size and parts."""
    size, units = DISKS[request.param]
    path, runs = tmp_path_factory.mktemp("disk") / "disk.raw", parts(size, units)
    with open(path, "wb") as file:
        for start, data in runs:
            file.seek(start)
            file.write(data)
        file.truncate(size)
    return path, size, runs


@pytest.mark.parametrize(("subformat", "block"), OPTIONS)
def test_judges(disk, tmp_path, qemu_img, qemu_img_system, seven_zip, oslo_inspector, subformat, block):
    raw, size, runs = disk
    image = write(tmp_path / "any name.vhdx", size, runs, subformat, block_size=block)
    for program in (qemu_img, qemu_img_system):
        run(program, "check", "-f", "vhdx", image)
        assert json.loads(run(program, "info", "--output=json", image))["virtual-size"] == size
    if size < GIB:
        run(qemu_img, "compare", "-f", "raw", "-F", "vhdx", raw, image)
    else:  # qemu-img would read all the zeros, for minutes
        for start, data in runs:
            at, end = max(0, start - MIB), min(size, start + len(data) + MIB)
            source = f"driver=raw,offset={at},size={end - at},file.driver=vhdx,file.file.filename={image}"
            run(qemu_img, "convert", "--image-opts", source, "-O", "raw", tmp_path / "part")
            assert (tmp_path / "part").read_bytes() == bytes_of(raw, at, end)
    if subformat == "dynamic":
        used = block_size(block, size)
        touched = {at // used for start, data in runs for at in range(start, start + len(data), UNIT)}
        ratio = 4 * GIB // used
        table = {number + number // ratio: 6 | first_block(image) + place * used for place, number in enumerate(sorted(touched))}
        count = -(-size // used)
        entries = struct.unpack(f"<{count + (count - 1) // ratio}Q", bytes_of(image, 3 * MIB, 3 * MIB + 8 * (count + (count - 1) // ratio)))
        assert {at: entry for at, entry in enumerate(entries) if entry} == table
    if size < 100 * MIB and not size % 2048:  # 7-Zip also refuses qemu's images of other sizes
        assert run(seven_zip, "x", "-so", "-tVHDX", image) == raw.read_bytes()
    found = oslo_inspector.detect_file_format(str(image))
    found.safety_check()
    assert (str(found), found.virtual_size) == ("vhdx", size)
    reader = VhdxReader(FileStorage(image))
    for start, data in runs:
        assert reader.read_at(start, len(data)) == data
    assert sum(extent.length for extent in reader.extents()) == size
    assert reader.check().clean
    assert reader.describe().subformat == subformat


def test_only_what_is_written_takes_room(tmp_path):
    image = write(tmp_path / "image.vhdx", 10 * GIB, [(5 * GIB, b"x" * UNIT)])
    assert image.stat().st_size == (4 + 16) * MIB  # header, log, metadata, table; a whole block
    assert image.stat().st_blocks * 512 < MIB
    image = write(tmp_path / "image.vhdx", 33 * MIB, [], "fixed", block_size="32M")
    assert image.stat().st_size == (4 + 64) * MIB


def test_the_layout(tmp_path):
    """What Hyper-V and the specification want to see, byte by byte."""
    content = write(tmp_path / "image.vhdx", 6 * MIB, [(2 * MIB, b"a" * 2 * MIB), (5 * MIB, b"b" * UNIT)], block_size="1M").read_bytes()
    assert content[:8] == b"vhdxfile"
    assert content[8 : 8 + 512].decode("utf-16-le").rstrip("\0") == "vmimage.prep"
    numbers = []
    for at in (0x10000, 0x20000):
        signature, _crc, number, file_guid, data_guid, log_guid, log_version, version, log_length, log_offset = struct.unpack_from(
            "<4sIQ16s16s16sHHIQ", content, at
        )
        assert (signature, log_guid, log_version, version, log_length, log_offset) == (b"head", bytes(16), 0, 1, MIB, MIB)
        assert len({file_guid, data_guid, bytes(16)}) == 3
        numbers.append(number)
    assert numbers[0] < numbers[1]
    assert content[0x30000:0x40000] == content[0x40000:0x50000]
    regions = [struct.unpack_from("<16sQII", content, 0x30010 + 32 * index) for index in range(2)]
    assert [entry[1:] for entry in regions] == [(2 * MIB, MIB, 1), (3 * MIB, MIB, 1)]
    assert not any(content[MIB : 2 * MIB])
    assert struct.unpack_from("<6Q", content, 3 * MIB) == (0, 0, 6 | 4 * MIB, 6 | 5 * MIB, 0, 6 | 6 * MIB)
    assert content[4 * MIB : 7 * MIB] == b"a" * 2 * MIB + (b"b" * UNIT).ljust(MIB, b"\0")
    assert len(content) == 7 * MIB


def test_a_run_that_begins_in_the_last_block_and_goes_on_behind_it(tmp_path, qemu_img):
    runs = [(0, b"a" * UNIT), (MIB // 2, b"b" * 2 * MIB), (4 * MIB, b"c" * UNIT), (4 * MIB + 2 * UNIT, b"d" * UNIT)]
    image = write(tmp_path / "image.vhdx", 8 * MIB, runs, block_size="1M")
    assert image.stat().st_size == (4 + 4) * MIB
    raw = bytearray(8 * MIB)
    for start, data in runs:
        raw[start : start + len(data)] = data
    run(qemu_img, "convert", "-f", "vhdx", "-O", "raw", image, tmp_path / "raw")
    assert (tmp_path / "raw").read_bytes() == raw


def test_the_table_does_not_reach_into_the_first_block(tmp_path):
    """Its last chunk is not whole, and its region is as good as full."""
    blocks = 31 * 4096 + 4000  # with 31 entries for bitmaps: 7 less than 1 MiB holds
    image = write(tmp_path / "image.vhdx", blocks * MIB, [(0, b"f" * UNIT), ((blocks - 1) * MIB, b"l" * UNIT)], block_size="1M")
    assert image.stat().st_size == (4 + 2) * MIB
    reader = VhdxReader(FileStorage(image))
    assert reader.read_at(0, UNIT + 1) == b"f" * UNIT + b"\0"
    assert reader.read_at((blocks - 1) * MIB - 1, UNIT + 2) == b"\0" + b"l" * UNIT + b"\0"


def test_the_largest_disk(tmp_path, qemu_img):
    image = write(tmp_path / "image.vhdx", 64 * TIB, [(64 * TIB - UNIT, b"z" * UNIT)], block_size="1M")
    assert image.stat().st_size == (3 + 513 + 1) * MIB
    # qemu holds the whole table in memory, but can.
    assert json.loads(run(qemu_img, "info", "--output=json", image))["virtual-size"] == 64 * TIB
    assert VhdxReader(FileStorage(image)).read_at(64 * TIB - 2, 5) == b"zz"
    for size in (64 * TIB + 1, 0):
        with pytest.raises(UnsupportedImage, match="cannot hold a disk"):
            write(tmp_path / "refused", size, [])


@pytest.mark.parametrize(
    ("option", "size", "expected"),
    [
        ("0", GIB, 8 * MIB),
        ("0", GIB + 1, 16 * MIB),
        ("0", 100 * GIB + 1, 32 * MIB),
        ("0", 32 * TIB + 1, 64 * MIB),
        ("1M", GIB, MIB),
        ("2048k", GIB, 2 * MIB),
        ("33554432", GIB, 32 * MIB),
        ("256M", GIB, 256 * MIB),
    ],
)
def test_block_sizes(option, size, expected):
    assert block_size(option, size) == expected


def block_size(option, size):
    return Options.of(registry.target("vhdx", options={"block_size": option})).block_for(size)


@pytest.mark.parametrize("option", ["", "M", "x", "-1", "3M", "512K", "1G", "1.5M", "1MB", " 1M", "1_0M", "\u0661M", "9" * 400])
def test_block_sizes_that_are_none(option):
    with pytest.raises(UnsupportedImage, match="block_size"):
        block_size(option, GIB)


def digest(path, *arguments, **options):
    return hashlib.sha256(write(path, *arguments, **options).read_bytes()).hexdigest()


def test_the_same_disk_gives_the_same_bytes(tmp_path):
    size, runs = 5 * MIB + 512, parts(5 * MIB + 512, [1, 2, 3, 40, 80])
    cut = [(start + at, data[at : at + UNIT]) for start, data in runs for at in range(0, len(data), UNIT)]
    first = digest(tmp_path / "first", size, runs)
    assert digest(tmp_path / "second", size, cut) == first
    others = [
        digest(tmp_path / "other", size, runs, "fixed"),
        digest(tmp_path / "other", size, runs, block_size="1M"),
        digest(tmp_path / "other", size + 512, runs[:-1]),
        digest(tmp_path / "other", size, parts(size, [1, 2, 3, 40, 80], seed=6)),
    ]
    assert len({first, *others}) == 5


def test_the_bytes_of_this_version(tmp_path):
    """The same on every Python and node; who changes what is written changes this on purpose."""
    found = digest(tmp_path / "image", 3 * MIB, [(MIB, bytes(range(256)) * 256)], block_size="1M")
    assert found == "9a9b9f6f12d371bf55e87e0a09473295b17cc434124bcf567e81a7f1edded9cf"
