# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VHD, judged by qemu-img (old and new), 7-Zip and oslo.utils: their images read, ours read by them."""

from __future__ import annotations

import json
import random
import runpy
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import ImageError, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import DATA, HOLE
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import create_writer, target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhd.layout import FOOTER, geometry
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhd.reader import VhdReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.identity import fingerprint
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink

MIB = 1 << 20
UNIT = 64 << 10
SUBFORMATS = ["dynamic", "fixed"]
LARGEST = 0xFF000000 * 512


def run(*command, text=True):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=text).stdout


def write(path, size, runs, subformat="dynamic"):
    """A VHD with runs of (guest offset, bytes)."""
    with Sink(path) as sink:
        writer = create_writer(target("vhd", subformat), sink, size)
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
    spans = [(0, UNIT), (UNIT, 3 * UNIT), (MIB, 4 * MIB), (8 * MIB - UNIT, 2 * UNIT), (8 * MIB + 4 * UNIT, UNIT), (size // UNIT * UNIT, size % UNIT)]
    return [(start, chance.randbytes(length)) for start, length in spans if length and start + length <= size]


@pytest.mark.parametrize("subformat", SUBFORMATS)
@pytest.mark.parametrize("size", [512, UNIT, UNIT + 512, MIB, 13 * MIB + 512])
def test_others_read_what_is_written(tmp_path, qemu_img, qemu_img_system, seven_zip, oslo_inspector, size, subformat):
    runs = random_runs(size)
    disk = raw(tmp_path / "disk.raw", size, runs)
    image = write(tmp_path / "disk.vhd", size, runs, subformat)
    for qemu in (qemu_img, qemu_img_system):
        assert json.loads(run(qemu, "info", "--output=json", "-f", "vpc", image))["virtual-size"] == size
        run(qemu, "compare", "-f", "raw", "-F", "vpc", disk, image)
    assert run(seven_zip, "x", "-tvhd", "-so", image, text=False) == disk.read_bytes()
    if subformat == "dynamic":  # oslo.utils sees a fixed VHD's content only
        inspector = oslo_inspector.detect_file_format(str(image))
        inspector.safety_check()
        assert (str(inspector), inspector.virtual_size) == ("vhd", size)
    reader = VhdReader(FileStorage(image))
    info = reader.describe()
    assert (info.subformat, info.warnings) == (subformat, [])
    assert content_of(reader) == disk.read_bytes()
    assert reader.check().clean


@pytest.mark.parametrize("subformat", SUBFORMATS)
@pytest.mark.parametrize("size", [MIB, 64 * MIB, 127 << 30, LARGEST])
def test_an_empty_disk(tmp_path, qemu_img, qemu_img_system, size, subformat):
    image = write(tmp_path / "disk.vhd", size, [], subformat)
    disk = raw(tmp_path / "disk.raw", size, [])
    for qemu in (qemu_img, qemu_img_system):
        assert json.loads(run(qemu, "info", "--output=json", "-f", "vpc", image))["virtual-size"] == size
        run(qemu, "compare", "-f", "raw", "-F", "vpc", disk, image)
    assert image.stat().st_blocks * 512 < 5 * MIB  # holes
    if subformat == "fixed":
        assert image.stat().st_size == size + 512
    assert [(extent.length, extent.kind) for extent in VhdReader(FileStorage(image)).extents()] == [(size, HOLE)]


@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_a_disk_that_is_too_large_is_refused(tmp_path, subformat):
    with pytest.raises(LimitExceeded, match="at most 2040 GiB"):
        write(tmp_path / "disk.vhd", LARGEST + 1, [], subformat)
    assert list(tmp_path.iterdir()) == []


def test_a_size_of_no_sectors_is_padded(tmp_path, qemu_img):
    for subformat in SUBFORMATS:
        image = write(tmp_path / "disk.vhd", 1000, [(0, b"x" * 1000)], subformat)
        run(qemu_img, "convert", "-f", "vpc", "-O", "raw", image, tmp_path / "back.raw")
        assert (tmp_path / "back.raw").read_bytes() == b"x" * 1000 + bytes(24) == content_of(VhdReader(FileStorage(image)))


def test_blocks_are_whole_and_aligned(tmp_path):
    image = write(tmp_path / "disk.vhd", 13 * MIB, [(2 * MIB + UNIT, b"a" * UNIT), (12 * MIB, b"b" * MIB)])
    content = image.read_bytes()
    table = struct.unpack_from(">7I", content, 1536)
    assert [block for block, sector in enumerate(table) if sector != 0xFFFFFFFF] == [1, 6]
    bitmaps = [table[1] * 512, table[6] * 512]
    assert [(bitmap + 512) % 4096 for bitmap in bitmaps] == [0, 0]
    assert [content[bitmap : bitmap + 512] for bitmap in bitmaps] == [b"\xff" * 512] * 2
    assert len(content) == bitmaps[1] + 512 + 2 * MIB + 512
    assert content[:512] == content[-512:]
    extents = [(extent.start, extent.length, extent.offset) for extent in VhdReader(FileStorage(image)).extents() if extent.kind == DATA]
    assert extents == [(2 * MIB + UNIT, UNIT, bitmaps[0] + 512 + UNIT), (12 * MIB, MIB, bitmaps[1] + 512)]


@pytest.mark.parametrize("subformat", SUBFORMATS)
def test_the_bytes_depend_on_the_content_alone(tmp_path, subformat):
    size, runs = 13 * MIB, random_runs(13 * MIB)
    image = write(tmp_path / "one.vhd", size, runs, subformat).read_bytes()
    pieces = [(start + at, data[at : at + UNIT]) for start, data in runs for at in range(0, len(data), UNIT)]
    assert write(tmp_path / "two.vhd", size, pieces, subformat).read_bytes() == image
    write(tmp_path / "other.vhd", size, [(0, b"x" * UNIT)], subformat)
    uuids = {VhdReader(FileStorage(tmp_path / name)).describe().format_specific["unique_id"] for name in ("one.vhd", "other.vhd")}
    assert len(uuids) == 2


@pytest.mark.parametrize("options", ["subformat=dynamic", "subformat=dynamic,force_size=on", "subformat=fixed", "subformat=fixed,force_size=on"])
def test_reads_what_qemu_img_writes(tmp_path, qemu_img, options):
    size = 13 * MIB + 512
    disk = raw(tmp_path / "disk.raw", size, random_runs(size))
    image = tmp_path / "disk.vhd"
    run(qemu_img, "convert", "-f", "raw", "-O", "vpc", "-o", options, disk, image)
    reader = VhdReader(FileStorage(image))
    content = content_of(reader)
    assert content[:size] == disk.read_bytes()
    assert not any(content[size:])  # without force_size, qemu rounds up to a geometry
    assert (len(content) == size) == ("force_size" in options)
    info = reader.describe()
    assert (info.writer, info.warnings, info.references) == ("QEMU", [], [])
    assert reader.check().clean
    assert reader.read_at(2 * MIB - 7, 20) == content[2 * MIB - 7 : 2 * MIB + 13]
    assert reader.read_at(len(content) - 5, 20) == content[-5:]
    assert list(reader.extents(len(content), 10)) == []


@pytest.mark.parametrize("size", [1, 10 * MIB, 41 * MIB, 136 * MIB, 248 * MIB, 504 * MIB, 31 << 30, 32 << 30, 127 << 30])
def test_the_geometry_is_the_one_that_qemu_img_calculates(tmp_path, qemu_img, size):
    """Without force_size, qemu-img chooses a size that a geometry covers exactly."""
    image = tmp_path / "disk.vhd"
    run(qemu_img, "create", "-f", "vpc", image, size)
    footer = FOOTER.unpack(image.read_bytes(), image.stat().st_size - 512)
    assert (footer.cylinders, footer.heads, footer.sectors_per_track) == geometry(footer.current_size // 512)


def test_the_corpus(shared, tmp_path):
    """Each sound image is read right or, with a parent, refused by name; no malformed one is read wrong."""
    tool = shared / "corpus/tool.py"
    digest = runpy.run_path(str(tool))["nz64k"]
    rows = [line.split("\t") for line in (shared / "corpus/MANIFEST.tsv").read_text(encoding="utf-8").splitlines()]
    for row in (dict(zip(rows[0], values)) for values in rows[1:]):
        if (row["format"], row["role"], row["split"]) != ("vhd", "primary", "shared"):
            continue
        image = run("python3", tool, "materialize", row["case"], tmp_path / row["case"]).strip()
        try:
            reader = VhdReader(FileStorage(image))
            extents = list(reader.extents())
        except UnsupportedImage:
            assert row["case"] == "vhd-win-fat-diff"
            continue
        except ImageError:
            assert row["expect"] != "ok", row["case"]
            continue
        assert row["expect"].startswith("ok"), row["case"]
        copy = tmp_path / "disk.raw"
        raw(copy, reader.virtual_size, [(extent.start, reader.read_extent(extent)) for extent in extents if not extent.is_zero])
        assert digest(copy) == (int(row["virtual_size"]), row["nz64k_digest"]), row["case"]


def test_the_parents_of_a_real_differencing_disk(shared, tmp_path):
    image = run("python3", shared / "corpus/tool.py", "materialize", "vhd-win-fat-diff", tmp_path).strip()
    info = VhdReader(FileStorage(image)).describe()
    assert info.subformat == "differencing"
    assert {reference.name for reference in info.references} >= {"C:\\Projects\\dfvfs\\test_data\\fat-parent.vhd", ".\\fat-parent.vhd"}
    assert {(reference.role, reference.format) for reference in info.references} == {("parent", "vhd")}
