# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The map of what is allocated, beside qemu-img's; and how it is drawn."""

from __future__ import annotations

import json
import random
import re
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import COMPRESSED, DATA, HOLE, ZERO, Extent
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.base import ImageInfo, Reader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.report.allocation import allocation
from ansible_collections.vmimage.prep.plugins.module_utils._engine.report.picture import allocation_strip
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

MIB, TIB = 1 << 20, 1 << 40


class Given(Reader):
    """An image of the extents that it is given."""

    format = "given"

    def __init__(self, size, extents):
        super().__init__(Memory(b"", "given"))
        self.virtual_size = size
        self._extents = extents

    def describe(self):
        return ImageInfo("given", self.virtual_size)

    def extents(self, start=0, length=None):
        return iter(self._extents)


@pytest.fixture(scope="module")
def images(tmp_path_factory, qemu_img, qemu_io):
    """A disk with data at random places, and zeros that are written, in several formats."""
    tmp_path = tmp_path_factory.mktemp("images")
    chance = random.Random(7)
    raw, path = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    with open(raw, "wb") as file:
        file.truncate(40 * MIB + 512)
        for _number in range(60):
            file.seek(chance.randrange(0, 620) * 65536)
            file.write(chance.randbytes(chance.randrange(1, 3 * 65536)))
    subprocess.run([qemu_img, "convert", "-O", "qcow2", raw, path], check=True)
    subprocess.run([qemu_io, "-c", "write -z 1M 3M", "-c", "write -z 39M 512k", path], check=True, stdout=subprocess.DEVNULL)
    for name, options in {
        "small.qcow2": ["-c", "-O", "qcow2"],
        "stream.vmdk": ["-O", "vmdk", "-o", "subformat=streamOptimized"],
        "disk.vdi": ["-O", "vdi"],
    }.items():
        subprocess.run([qemu_img, "convert", *options, path, tmp_path / name], check=True)
    return tmp_path


@pytest.mark.parametrize("name", ["disk.raw", "disk.qcow2", "small.qcow2", "stream.vmdk", "disk.vdi"])
@pytest.mark.parametrize("columns", [7, 512])
def test_the_sums_are_those_of_qemu_img(images, qemu_img, name, columns):
    listed = subprocess.run([qemu_img, "map", "--output=json", images / name], check=True, capture_output=True)
    expected = {"content": 0, "zeros": 0}
    parts = {}
    with open_source(Request(str(images / name))) as source:
        found = allocation(source.reader, columns)
    for run in json.loads(listed.stdout):
        expected["content" if run["data"] and not run["zero"] else "zeros"] += run["length"]
        if run["data"] and not run["zero"]:
            start, end = run["start"], run["start"] + run["length"]
            while start < end:
                edge = min(end, (start // found.part + 1) * found.part)
                parts[start // found.part] = parts.get(start // found.part, 0) + edge - start
                start = edge
    assert {"content": found.content, "zeros": found.totals[ZERO] + found.totals[HOLE]} == expected
    assert len(found.parts[DATA]) <= columns
    assert [data + packed for data, packed in zip(found.parts[DATA], found.parts[COMPRESSED])] == [parts.get(at, 0) for at in range(len(found.parts[DATA]))]


def test_a_huge_disk_costs_no_more_than_its_runs():
    extents = [Extent(0, MIB, DATA), Extent(MIB, 2 * TIB - 2 * MIB, HOLE), Extent(2 * TIB - MIB, MIB, ZERO)]
    found = allocation(Given(2 * TIB, extents))
    assert (found.totals, found.stored) == ({DATA: MIB, COMPRESSED: 0, ZERO: MIB, HOLE: 2 * TIB - 2 * MIB}, MIB)
    assert found.parts[DATA] == [MIB] + 511 * [0]
    assert found.parts[ZERO] == 511 * [0] + [MIB]
    assert found.content == MIB


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 512 * 512, 512 * 512 + 1, 2 * TIB - 512])
def test_the_parts_are_the_disk(size):
    found = allocation(Given(size, [Extent(0, size, DATA)] if size else []))
    assert sum(found.parts[DATA]) == sum(found.length(number) for number in range(len(found.parts[DATA]))) == size
    assert len(found.parts[DATA]) <= 512
    assert found.part % 512 == 0


def test_what_is_little_is_seen():
    """One byte of data in the middle of a large disk is still drawn, and no column is higher than the picture."""
    found = allocation(Given(2 * TIB, [Extent(0, TIB, ZERO), Extent(TIB, 512, DATA), Extent(TIB + 512, TIB - 512, ZERO)]))
    picture = allocation_strip(found, "map", 2 * TIB)
    assert re.search(r'<path d="M256 97H257V100H256z" class="data"/>', picture)
    assert all(0 <= int(height) <= 100 for height in re.findall(r"V(\d+)", picture))
    assert 'aria-label="map: 0.01 % data, 99.99 % marked as zeros"' in picture
