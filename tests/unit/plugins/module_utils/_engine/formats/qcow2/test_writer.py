# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The qcow2 writers, judged by qemu-img."""

from __future__ import annotations

import json
import random
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats import registry
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.qcow2.reader import Qcow2Reader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.convert import convert


def write(content, path, compress=False, **options):
    reader = registry.open_reader("raw", Memory(content) if isinstance(content, bytes) else FileStorage(content))
    with Sink(path) as sink:
        writer = registry.create_writer(registry.target("qcow2", None, compress, options), sink, reader.virtual_size)
        convert(reader, writer)
        sink.commit()


def disk(size, seed=1):
    """Random, repetitive and zero parts; the last bytes are data."""
    chance = random.Random(seed)
    content = bytearray(size)
    for at in range(0, size, 3 << 16):
        part = chance.randbytes(1 << 16) if chance.random() < 0.5 else b"abcdefgh" * 8192
        content[at : at + (1 << 16)] = part[: size - at]
    content[-7:] = b"the end"
    return bytes(content)


CASES = [(size, {}) for size in (512, 65536, 1 << 20, (10 << 20) + 512)]
CASES += [(2 << 20, {"compat": "0.10"}), (3 << 20, {"cluster_size": "4096"}), (1 << 20, {"cluster_size": "512"}), (9 << 20, {"cluster_size": "2M"})]


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
@pytest.mark.parametrize(("size", "options"), CASES)
def test_qemu_img_finds_no_fault_and_the_same_content(tmp_path, qemu_img, size, options, compress):
    content = disk(size)
    raw, image = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    raw.write_bytes(content)
    write(content, image, compress, **options)
    subprocess.run([qemu_img, "check", image], check=True, capture_output=True)
    subprocess.run([qemu_img, "compare", "-f", "raw", "-F", "qcow2", raw, image], check=True, capture_output=True)
    info = json.loads(subprocess.run([qemu_img, "info", "--output=json", image], check=True, capture_output=True).stdout)
    assert info["virtual-size"] == size
    assert info["format-specific"]["data"]["compat"] == options.get("compat", "1.1")
    assert Qcow2Reader(FileStorage(image)).check().clean


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "compressed"])
def test_tables_that_do_not_fit_one_cluster(tmp_path, qemu_img, compress):
    """Several L2 tables, an L1 table and refcounts of more than one cluster; data on both sides of each table's end."""
    raw, image = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    with open(raw, "wb") as file:
        for at in range(0, 256 << 20, 7 << 20):
            file.seek(at)
            file.write(random.Random(at).randbytes(70001))
        file.truncate(256 << 20)
    write(raw, image, compress, cluster_size="512")
    subprocess.run([qemu_img, "check", image], check=True, capture_output=True)
    subprocess.run([qemu_img, "compare", "-f", "raw", "-F", "qcow2", raw, image], check=True, capture_output=True)


def test_runs_across_the_end_of_an_l2_table(tmp_path, qemu_img):
    raw, image = tmp_path / "disk.raw", tmp_path / "disk.qcow2"
    with open(raw, "wb") as file:
        file.seek((512 << 20) - (1 << 20))  # an L2 table of 64 KiB clusters maps 512 MiB
        file.write(random.Random(5).randbytes(2 << 20))
        file.truncate(1 << 30)
    write(raw, image)
    subprocess.run([qemu_img, "check", image], check=True, capture_output=True)
    subprocess.run([qemu_img, "compare", "-f", "raw", "-F", "qcow2", raw, image], check=True, capture_output=True)


def test_an_empty_disk_has_no_clusters(tmp_path, qemu_img):
    image = tmp_path / "disk.qcow2"
    write(bytes(1 << 20), image)
    subprocess.run([qemu_img, "check", image], check=True, capture_output=True)
    assert image.stat().st_size <= 5 * 65536
    assert Qcow2Reader(FileStorage(image)).describe().compressed is None


def test_an_odd_size_is_padded_to_a_sector(tmp_path):
    image = tmp_path / "disk.qcow2"
    write(b"x" * 1028, image)
    assert Qcow2Reader(FileStorage(image)).virtual_size == 1536


def test_the_cloud_takes_it_for_what_it_is(tmp_path, oslo_inspector):
    image = tmp_path / "disk.qcow2"
    for compress in (False, True):
        for compat in ("0.10", "1.1"):
            write(disk(1 << 20), image, compress, compat=compat)
            found = oslo_inspector.detect_file_format(str(image))
            assert str(found) == "qcow2"
            found.safety_check()


def test_the_window_is_small_enough_for_other_readers(tmp_path, seven_zip):
    """7-Zip inflates with a window of 4 KiB, as the format says, and fails on a larger one."""
    image = tmp_path / "disk.qcow2"
    write((b"0123456789abcdef" * 4096 + random.Random(4).randbytes(8192)) * 16, image, compress=True)
    subprocess.run([seven_zip, "t", "-tqcow", image], check=True, capture_output=True)


@pytest.mark.parametrize("options", [{"cluster_size": "1000"}, {"cluster_size": "4M"}, {"cluster_size": "-1"}, {"compat": "2"}, {"colour": "red"}])
def test_options_that_cannot_be_are_refused(tmp_path, options):
    with pytest.raises(UnsupportedImage):
        write(bytes(512), tmp_path / "disk.qcow2", **options)
    assert not list(tmp_path.iterdir())


def test_too_large_for_its_clusters(tmp_path):
    with Sink(tmp_path / "disk.qcow2") as sink, pytest.raises(UnsupportedImage, match="cluster_size"):
        registry.create_writer(registry.target("qcow2", options={"cluster_size": "512"}), sink, 60 << 40)
