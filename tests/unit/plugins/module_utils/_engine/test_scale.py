# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Time and memory do not grow with the size of a disk, and little images do not stand for endless work."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats import registry
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.qcow2 import layout as qcow2
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vmdk import layout as vmdk
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40
PATIENCE = 180
"""Seconds after which work counts as endless, on a machine as busy as may be: it takes two at most on one that is not"""


# Not getrusage(): what it says of a process begins with the memory of the one that started it.
MEASURE = """
import atexit, re, runpy, sys
report, *sys.argv = sys.argv[1:]
def note():
    with open("/proc/self/status") as status, open(report, "w") as file:
        file.write(re.search("VmHWM:[ \\t]+([0-9]+)", status.read())[1])
atexit.register(note)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def measured(engine, tmp_path_factory):
    """Runs the engine: measured(*arguments) -> (exit status, what it said, MiB of memory); it may not be endless."""
    report = tmp_path_factory.mktemp("measured") / "memory"

    def run(*arguments):
        python, *command = engine.command(*arguments)
        done = subprocess.run(
            [python, "-c", MEASURE, report, *command],
            cwd=engine.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout, int(report.read_text()) / 1024

    return run


def describe(measured, image, size):
    for options in ([], ["--check"]):
        code, said, memory = measured("info", image, *options)
        assert code == 0, said
        assert json.loads(said)["virtual_size"] == size
        assert memory < 100
    code, said, memory = measured("compare", image, image)
    assert (code, said) == (0, "the images are the same\n")
    assert memory < 100


EMPTY = {
    "qcow2": (["-f", "qcow2"], 60 * TIB),
    "qcow2, small clusters": (["-f", "qcow2", "-o", "cluster_size=512"], 128 * GIB),
    "qcow2, large clusters": (["-f", "qcow2", "-o", "cluster_size=2M"], 64 * TIB),
    "qcow2, all allocated": (["-f", "qcow2", "-o", "preallocation=metadata"], 256 * GIB),
    "vhdx": (["-f", "vhdx"], 64 * TIB),
    "vmdk": (["-f", "vmdk"], 2 * TIB),
    "vdi": (["-f", "vdi"], 16 * TIB),
    "vhd": (["-f", "vpc", "-o", "force_size=on"], 2040 * GIB),
}


@pytest.mark.parametrize("case", EMPTY)
def test_a_large_empty_disk_of_qemu(measured, qemu_img, tmp_path, case):
    options, size = EMPTY[case]
    subprocess.run([qemu_img, "create", "-q", *options, tmp_path / "image", str(size)], check=True)
    describe(measured, "image", size)


OURS = {
    "raw": (["--format", "raw"], 8 * TIB),
    "qcow2": (["--format", "qcow2"], 8 * TIB),
    "qcow2, compressed": (["--format", "qcow2", "--compress"], 8 * TIB),
    "vhdx, small blocks": (["--format", "vhdx", "-o", "block_size=1M"], 8 * TIB),
    "vhdx, fixed": (["--format", "vhdx", "--subformat", "fixed"], 8 * TIB),
    "vdi": (["--format", "vdi"], 8 * TIB),
    "vmdk": (["--format", "vmdk"], 2000 * GIB),
    "vmdk, stream": (["--format", "vmdk", "--subformat", "streamOptimized"], 2000 * GIB),
    "vhd": (["--format", "vhd"], 2000 * GIB),
    "vhd, fixed": (["--format", "vhd", "--subformat", "fixed"], 2000 * GIB),
}


@pytest.mark.parametrize("case", OURS)
def test_a_large_sparse_disk_of_ours(measured, tmp_path, case):
    """With data in the beginning, in the middle and at the very end."""
    options, size = OURS[case]
    with open(tmp_path / "raw", "wb") as file:
        try:
            file.truncate(size)
        except OSError as error:
            pytest.skip(f"the file system takes no such file: {error}")
        for offset in (0, size // 2, size - 4096):
            file.seek(offset)
            file.write(b"DATA" * 1024)
    code, said, memory = measured("convert", "raw", "image", *options)
    assert (code, said) == (0, "")
    assert memory < 100
    assert os.stat(tmp_path / "image").st_blocks * 512 < 64 * MIB
    describe(measured, "image", size)
    assert measured("compare", "raw", "image")[:2] == (0, "the images are the same\n")


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A disk of 256 MiB without zeros."""
    path = tmp_path_factory.mktemp("full") / "disk.raw"
    pieces = [random.Random(number).randbytes(MIB) for number in range(3)] + [b"a line of text\n" * (MIB // 15) + b"\n"]
    with open(path, "wb") as file:
        for number in range(256):
            file.write(pieces[number % 4])
        file.truncate(256 * MIB)
    return path


@pytest.mark.parametrize("case", ["raw", "qcow2", "qcow2, compressed", "vmdk, stream", "vhdx, fixed", "vdi"])
def test_the_memory_of_a_conversion_is_bounded(measured, full, tmp_path, case):
    for source, dest, options in ((full, "image", OURS[case][0]), ("image", "back", ["--format", "raw"])):
        code, said, memory = measured("convert", source, dest, *options)
        assert (code, said) == (0, "")
        assert memory < 120
    assert measured("compare", full, "back")[0] == 0


def test_the_memory_for_many_compressed_clusters_is_bounded(measured, tmp_path):
    count, cluster = 200_000, 512
    with Sink(tmp_path / "image") as sink:
        writer = registry.create_writer(registry.target("qcow2", compress=True, options={"cluster_size": "512"}), sink, count * cluster)
        payload = writer.encode(b"COMPRESS" * (cluster // 8))
        for number in range(count):
            writer.write(number * cluster, payload)
        writer.finish()
        sink.commit()
    code, said, memory = measured("info", "--check", "image")
    assert code == 0, said
    assert json.loads(said)["allocation"]["compressed"] == count * cluster
    assert memory < 60


def test_one_grain_table_for_a_whole_disk_is_refused(measured, tmp_path):
    """A few hundred KiB that would keep a reader busy for a minute: each entry of the directory names the same table."""
    tables = 65536
    sectors = tables * vmdk.GRAIN * vmdk.GTES_PER_GT
    text = f'version=1\nCID=12345678\nparentCID=ffffffff\ncreateType="monolithicSparse"\nRW {sectors} SPARSE "x.vmdk"\n'
    directory = 21
    table = directory + tables * 4 // 512
    grains = -(-(table + 4) // 128) * 128
    header = vmdk.SPARSE_EXTENT_HEADER.pack(
        magicNumber=vmdk.MAGIC,
        version=1,
        flags=1,
        capacity=sectors,
        grainSize=vmdk.GRAIN,
        descriptorOffset=1,
        descriptorSize=20,
        numGTEsPerGT=512,
        rgdOffset=0,
        gdOffset=directory,
        overHead=grains,
        uncleanShutdown=0,
        endLineChars=vmdk.END_LINE_CHARS,
        compressAlgorithm=0,
    )
    image = header.ljust(512, b"\0") + text.encode().ljust(20 * 512, b"\0") + struct.pack("<I", table) * tables
    image += b"".join(struct.pack("<I", grains + 128 * (number % 2)) for number in range(512))
    (tmp_path / "image").write_bytes(image.ljust((grains + 256) * 512, b"\0"))
    code, said, _memory = measured("convert", "image", "dest", "--format", "raw")
    assert code == 1
    assert "several table entries name the same grain or table" in said


@pytest.mark.parametrize("snapshots", [0, 65536])
def test_one_table_for_a_whole_qcow2_is_refused(measured, tmp_path, snapshots):
    cluster, entries = 65536, 131072
    l1, l2 = cluster, cluster * 17
    header = qcow2.HEADER_V2.pack(
        magic=qcow2.MAGIC,
        version=2,
        backing_file_offset=0,
        backing_file_size=0,
        cluster_bits=16,
        size=MIB if snapshots else 64 * TIB,
        crypt_method=0,
        l1_size=entries,
        l1_table_offset=l1,
        refcount_table_offset=l2 + cluster,
        refcount_table_clusters=1,
        nb_snapshots=snapshots,
        snapshots_offset=l2 + 2 * cluster if snapshots else 0,
    )
    image = header.ljust(cluster, b"\0") + struct.pack(">Q", 0 if snapshots else l2) * entries
    image += struct.pack(">QQ", l2, l2 + cluster) * (cluster // 16) + bytes(cluster)
    fields = dict.fromkeys(qcow2.SNAPSHOT.names, 0)
    pair = [qcow2.SNAPSHOT.pack(**{**fields, "l1_table_offset": l1 + number * cluster, "l1_size": entries - 8192}) for number in (0, 1)]
    (tmp_path / "image").write_bytes(image + b"".join(pair) * (snapshots // 2))
    code, said, memory = measured("info", "--check", "image")
    if snapshots:  # that much can be counted when each table is looked at once
        assert code == 0, said
        assert json.loads(said)["check"]["corruptions"]
    else:
        assert code == 1
        assert "two entries of the L1 table name the same L2 table" in said
    assert memory < 256
