# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VDI, judged by qemu-img, 7-Zip and oslo.utils: their images read, ours read by them."""

from __future__ import annotations

import json
import random
import resource
import runpy
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import ImageError, LimitExceeded
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import DATA, HOLE
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import create_writer, target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vdi.reader import VdiReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.identity import fingerprint
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink

MIB = 1 << 20
TIB = 1 << 40
UNIT = 64 << 10
FREE = 0xFFFFFFFF
SUBFORMATS = ["dynamic", "fixed"]


def run(*command, text=True):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=text).stdout


def write(path, size, runs, subformat="dynamic"):
    """A VDI with runs of (guest offset, bytes)."""
    with Sink(path) as sink:
        writer = create_writer(target("vdi", subformat), sink, size)
        assert writer.unit == UNIT
        for start, data in runs:
            writer.write(start, data)
        # As the transfer does, which cuts a disk at the same places whatever it comes from.
        writer.identity.add(fingerprint((start + at, data[at : at + UNIT]) for start, data in runs for at in range(0, len(data), UNIT)))
        writer.finish()
        sink.commit()
    return path


def raw(path, size, runs):
    with path.open("wb") as file:
        for start, data in runs:
            file.seek(start)
            file.write(data)
        file.truncate(size)
    return path


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


def random_runs(size, seed=5):
    """Runs that begin and end inside blocks, cross them, continue each other, and touch both ends of the disk."""
    chance = random.Random(seed)
    if size <= 8 * UNIT:
        return [(0, chance.randbytes(size))]
    spans = [(0, UNIT), (UNIT, 3 * UNIT), (MIB, 3 * MIB), (5 * MIB - UNIT, 2 * UNIT), (5 * MIB + 4 * UNIT, UNIT), (size // UNIT * UNIT, size % UNIT)]
    return [(start, chance.randbytes(length)) for start, length in spans if length and start + length <= size]


@pytest.mark.parametrize("subformat", SUBFORMATS)
@pytest.mark.parametrize("size", [512, UNIT, UNIT + 512, MIB, 10 * MIB + 512])
def test_others_read_what_is_written(tmp_path, qemu_img, seven_zip, oslo_inspector, size, subformat):
    runs = random_runs(size)
    disk = raw(tmp_path / "disk.raw", size, runs)
    image = write(tmp_path / "disk.vdi", size, runs, subformat)
    assert json.loads(run(qemu_img, "info", "--output=json", "-f", "vdi", image))["virtual-size"] == size
    run(qemu_img, "check", "-f", "vdi", image)
    run(qemu_img, "compare", "-f", "raw", "-F", "vdi", disk, image)
    assert run(seven_zip, "x", "-tvdi", "-so", image, text=False) == disk.read_bytes()
    inspector = oslo_inspector.detect_file_format(str(image))
    inspector.safety_check()
    assert (str(inspector), inspector.virtual_size) == ("vdi", size)
    reader = VdiReader(FileStorage(image))
    assert reader.describe().subformat == subformat
    assert content_of(reader) == disk.read_bytes()
    assert reader.check().clean


@pytest.mark.parametrize("subformat", SUBFORMATS)
@pytest.mark.parametrize("size", [0, 64 * MIB, 127 << 30])
def test_an_empty_disk(tmp_path, qemu_img, size, subformat):
    image = write(tmp_path / "disk.vdi", size, [], subformat)
    run(qemu_img, "compare", "-f", "raw", "-F", "vdi", raw(tmp_path / "disk.raw", size, []), image)
    assert image.stat().st_blocks * 512 < 2 * MIB  # holes
    assert image.stat().st_size == (2 * MIB if size else MIB) + (size if subformat == "fixed" else 0)
    kinds = [(extent.length, extent.kind) for extent in VdiReader(FileStorage(image)).extents()]
    assert kinds == ([(size, HOLE)] if size else [])


def test_a_size_of_no_sectors_is_padded(tmp_path, qemu_img):
    image = write(tmp_path / "disk.vdi", 1000, [(0, b"x" * 1000)])
    assert VdiReader(FileStorage(image)).virtual_size == 1024
    assert run(qemu_img, "convert", "-f", "vdi", "-O", "raw", image, tmp_path / "back.raw") == ""
    assert (tmp_path / "back.raw").read_bytes() == b"x" * 1000 + bytes(24)


def block_map(image, count):
    return struct.unpack_from(f"<{count}I", image.read_bytes(), MIB)


def test_blocks_are_appended_whole_in_the_order_of_the_guest(tmp_path):
    image = write(tmp_path / "disk.vdi", 9 * MIB, random_runs(9 * MIB))
    assert block_map(image, 9) == (0, 1, 2, 3, 4, 5, FREE, FREE, FREE)
    assert image.stat().st_size == 8 * MIB
    image = write(tmp_path / "disk.vdi", 9 * MIB, [(2 * MIB, b"a" * UNIT), (8 * MIB + UNIT, b"b" * UNIT)])
    assert block_map(image, 9) == (FREE, FREE, 0, FREE, FREE, FREE, FREE, FREE, 1)
    assert image.stat().st_size == 4 * MIB


def test_holes_of_the_file_are_holes_of_the_disk(tmp_path):
    image = write(tmp_path / "disk.vdi", 9 * MIB, [(MIB + UNIT, b"a" * UNIT), (8 * MIB + UNIT, b"b" * UNIT)], "fixed")
    extents = [(extent.start, extent.length, extent.offset) for extent in VdiReader(FileStorage(image)).extents() if extent.kind == DATA]
    assert extents == [(MIB + UNIT, UNIT, 3 * MIB + UNIT), (8 * MIB + UNIT, UNIT, 10 * MIB + UNIT)]


def test_the_bytes_depend_on_the_content_alone(tmp_path):
    size, runs = 10 * MIB, random_runs(10 * MIB)
    image = write(tmp_path / "one.vdi", size, runs).read_bytes()
    pieces = [(start + at, data[at : at + UNIT]) for start, data in runs for at in range(0, len(data), UNIT)]
    assert write(tmp_path / "two.vdi", size, pieces).read_bytes() == image
    other = write(tmp_path / "other.vdi", size, [(0, b"x" * UNIT)])
    uuids = [VdiReader(FileStorage(tmp_path / name)).describe().format_specific for name in ("one.vdi", "other.vdi")]
    assert len({info[use] for info in uuids for use in ("uuid_create", "uuid_modify")}) == 4
    assert all(info["uuid_create"][14] == "8" for info in uuids), other  # version 8, where it has to stand


@pytest.mark.parametrize("options", ["static=off", "static=on"])
def test_reads_what_qemu_img_writes(tmp_path, qemu_img, options):
    size = 10 * MIB + 512
    disk = raw(tmp_path / "disk.raw", size, random_runs(size))
    image = tmp_path / "disk.vdi"
    run(qemu_img, "convert", "-f", "raw", "-O", "vdi", "-o", options, disk, image)
    reader = VdiReader(FileStorage(image))
    assert content_of(reader) == disk.read_bytes()
    info = reader.describe()
    assert (info.writer, info.cluster_size, info.warnings, info.references) == ("QEMU VM Virtual Disk Image", MIB, [], [])
    assert reader.check().clean
    assert reader.read_at(MIB - 7, 20) == disk.read_bytes()[MIB - 7 : MIB + 13]
    assert reader.read_at(size - 5, 20) == disk.read_bytes()[-5:]
    assert list(reader.extents(size, 10)) == []


def test_the_largest_disk_costs_little(tmp_path):
    """Its map has 256 MiB, and is neither written nor read in one piece."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    image = write(tmp_path / "disk.vdi", 64 * TIB, [(64 * TIB - UNIT, b"x" * UNIT)])
    reader = VdiReader(FileStorage(image))
    assert reader.describe().virtual_size == 64 * TIB
    assert [(extent.length, extent.kind) for extent in reader.extents()] == [(64 * TIB - UNIT, HOLE), (UNIT, DATA)]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 128 << 10  # KiB
    image.unlink()
    with pytest.raises(LimitExceeded):
        write(image, 64 * TIB + 512, [])


def test_the_corpus(shared, tmp_path):
    """Each sound image is read right, each malformed one refused."""
    tool = shared / "corpus/tool.py"
    digest = runpy.run_path(str(tool))["nz64k"]
    rows = [line.split("\t") for line in (shared / "corpus/MANIFEST.tsv").read_text(encoding="utf-8").splitlines()]
    for row in (dict(zip(rows[0], values)) for values in rows[1:]):
        if (row["format"], row["role"], row["split"]) != ("vdi", "primary", "shared"):
            continue
        image = run("python3", tool, "materialize", row["case"], tmp_path / row["case"]).strip()
        try:
            content = content_of(VdiReader(FileStorage(image)))
        except ImageError:
            assert row["expect"] != "ok", row["case"]
            continue
        assert row["expect"] == "ok", row["case"]
        copy = tmp_path / "disk.raw"
        copy.write_bytes(content)
        assert digest(copy)[1] == row["nz64k_digest"], row["case"]
