# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""streamOptimized, sector by sector: what vSphere and ovftool expect and no oracle here looks at.

Source of the layout: VMware, "Virtual Disk Format 5.0"; the fields are those of files that ovftool and VirtualBox wrote.
"""

from __future__ import annotations

import random
import struct
import zlib

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats import registry
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink

GRAIN = 65536
HEADER = "<4sIIQQQQIQQQB4sH"
NAMES = "magic version flags capacity grain descriptor descriptor_size gtes rgd gd overhead unclean newline compression".split()


def stream(path, grains, size):
    """The file's bytes; ``grains``: {number: data}."""
    with Sink(path) as sink:
        writer = registry.create_writer(registry.target("vmdk", "streamOptimized"), sink, size)
        for number, data in grains.items():
            writer.write(number * GRAIN, writer.encode(data))
        writer.finish()
        sink.commit()
    return path.read_bytes()


def header(raw, at=0):
    return dict(zip(NAMES, struct.unpack_from(HEADER, raw, at)))


def walk(raw):
    """Read as a stream, without any table: (kind, sector, value, data) from the first grain to the end of the stream."""
    found = []
    sector = header(raw)["overhead"]
    while True:
        value, size, kind = struct.unpack_from("<QII", raw, sector * 512)
        if size:
            found.append(("grain", sector, value, raw[sector * 512 + 12 : sector * 512 + 12 + size]))
            sector += -(-(size + 12) // 512)
            continue
        found.append((("end", "table", "directory", "footer")[kind], sector, value, raw[(sector + 1) * 512 : (sector + 1 + value) * 512]))
        sector += 1 + value
        if kind == 0:
            assert sector * 512 == len(raw)
            return found


@pytest.fixture(scope="module")
def content():
    chance = random.Random(3)
    # In the first, third and fourth table (512 grains each); the last grain is cut by the disk's end.
    return {0: b"a" * GRAIN, 7: chance.randbytes(GRAIN), 511: b"b" * GRAIN, 1024: b"c" * GRAIN, 1536: b"d" * 1024}


@pytest.fixture(scope="module")
def raw(tmp_path_factory, content):
    return stream(tmp_path_factory.mktemp("stream") / "disk.vmdk", content, 1536 * GRAIN + 1024)


def test_header(raw):
    assert header(raw) == {
        "magic": b"KDMV",
        "version": 3,  # ESXi: "sparse VMDK version too old" below
        "flags": 0x30001,
        "capacity": 1536 * 128 + 2,
        "grain": 128,
        "descriptor": 1,
        "descriptor_size": 1,
        "gtes": 512,
        "rgd": 0,
        "gd": 0xFFFFFFFFFFFFFFFF,
        "overhead": 128,
        "unclean": 0,
        "newline": b"\n \r\n",
        "compression": 1,
    }


def test_order(raw):
    kinds = [kind for kind, *_rest in walk(raw)]
    assert kinds == ["grain", "grain", "grain", "table", "grain", "table", "grain", "table", "directory", "footer", "end"]


def test_a_stream_reader_finds_every_grain(raw, content):
    found = {value // 128: zlib.decompress(data) for kind, _sector, value, data in walk(raw) if kind == "grain"}
    assert found.pop(1536) == content[1536].ljust(GRAIN, b"\0")
    assert found == {number: data for number, data in content.items() if number != 1536}


def test_tables_and_directory_point_to_them(raw):
    parts = walk(raw)
    (directory,) = [struct.unpack("<128I", data) for kind, _sector, _value, data in parts if kind == "directory"]
    assert [bool(entry) for entry in directory[:5]] == [True, False, True, True, False]
    assert not any(directory[4:])
    tables = {sector + 1: struct.unpack("<512I", data) for kind, sector, _value, data in parts if kind == "table"}
    assert sorted(tables) == sorted(entry for entry in directory if entry)
    grains = {sector: value // 128 for kind, sector, value, _data in parts if kind == "grain"}
    mapped = {entry: index * 512 + slot for index in (0, 2, 3) for slot, entry in enumerate(tables[directory[index]]) if entry}
    assert mapped == grains


def test_footer_is_the_header_with_the_directorys_place(raw):
    footer = header(raw, len(raw) - 1024)
    (directory,) = [sector + 1 for kind, sector, *_rest in walk(raw) if kind == "directory"]
    assert footer == {**header(raw), "gd": directory}
    assert struct.unpack_from("<QII", raw, len(raw) - 1536) == (1, 0, 3)
    assert not any(raw[-512:])


def test_descriptor(raw):
    text = raw[512:1024].rstrip(b"\0").decode("ascii")
    lines = text.splitlines()
    assert lines[0] == "# Disk DescriptorFile"
    assert 'createType="streamOptimized"' in lines
    assert 'RW 196610 SPARSE "disk.vmdk"' in lines
    assert {'ddb.adapterType = "lsilogic"', 'ddb.geometry.heads = "255"', 'ddb.geometry.sectors = "63"', 'ddb.virtualHWVersion = "7"'} <= set(lines)
    assert text.endswith("\n")


def test_a_grain_that_does_not_shrink(tmp_path):
    raw = stream(tmp_path / "disk.vmdk", {0: random.Random(1).randbytes(GRAIN)}, GRAIN)
    (size,) = [len(data) for kind, _sector, _value, data in walk(raw) if kind == "grain"]
    assert size > GRAIN


def test_nothing_at_all(tmp_path):
    raw = stream(tmp_path / "disk.vmdk", {}, 40 << 20)
    assert [kind for kind, *_rest in walk(raw)] == ["directory", "footer", "end"]
