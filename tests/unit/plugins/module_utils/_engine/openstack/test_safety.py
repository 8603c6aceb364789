# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is called safe for OpenStack, beside what its own inspector says."""

from __future__ import annotations

import importlib.util
import subprocess
import tempfile

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import ImageError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.safety import unsafe_reason
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source

SECTOR = 512
PROTECTIVE = bytes([0, 0, 2, 0, 0xEE, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 0xFF, 0x7F, 0, 0])
LINUX = bytes([0x80, 32, 33, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0x70, 0, 0])
IMPOSSIBLE = bytes([0x12, *LINUX[1:]])


def ours(path):
    try:
        with open_source(Request(str(path))) as source:
            return unsafe_reason(source)
    except ImageError as error:
        return str(error)


def theirs(inspector, path):
    try:
        inspector.detect_file_format(str(path)).safety_check()
    except (inspector.ImageFormatError, inspector.SafetyCheckFailed) as error:
        return str(error) or "refused"
    return None


def make(qemu_img, path, *options):
    subprocess.run([qemu_img, "create", "-q", *options, str(path), "8M"], check=True, cwd=path.parent)
    return path


@pytest.mark.parametrize(
    ("options", "safe"),
    [
        (["-f", "qcow2"], True),
        (["-f", "qcow2", "-o", "compat=0.10"], True),
        (["-f", "qcow2", "-o", "lazy_refcounts=on"], True),
        (["-f", "qcow2", "-o", "compression_type=zstd"], True),
        (["-f", "qcow2", "-o", "extended_l2=on"], False),
        (["-f", "qcow2", "-o", "data_file=data.raw"], False),
        (["-f", "qcow2", "-b", "base.raw", "-F", "raw"], False),
        (["-f", "vmdk"], True),
        (["-f", "vmdk", "-o", "subformat=streamOptimized"], True),
        (["-f", "vmdk", "-o", "subformat=monolithicFlat"], False),
        (["-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse"], False),
        (["-f", "vdi"], True),
        (["-f", "vhdx"], True),
        (["-f", "vpc", "-o", "subformat=dynamic"], True),
        (["-f", "qed"], False),
        (["-f", "raw"], True),
    ],
)
def test_images_by_qemu(tmp_path, qemu_img, oslo_inspector, options, safe):
    make(qemu_img, tmp_path / "base.raw", "-f", "raw")
    image = make(qemu_img, tmp_path / "image", *options)
    assert (ours(image) is None) == (theirs(oslo_inspector, image) is None) == safe


@pytest.mark.parametrize(
    ("partitions", "safe"),
    [
        ([LINUX], True),
        ([PROTECTIVE], True),
        ([PROTECTIVE, LINUX], False),
        ([bytes(16), PROTECTIVE], False),
        ([PROTECTIVE[:8] + b"\2" + PROTECTIVE[9:]], False),
        ([PROTECTIVE[:2] + b"\1" + PROTECTIVE[3:]], False),
        ([IMPOSSIBLE], False),
        ([LINUX, LINUX, LINUX, LINUX], True),
        ([], False),
    ],
)
def test_boot_records(tmp_path, oslo_inspector, partitions, safe):
    sector = bytearray(SECTOR)
    sector[510:] = b"\x55\xaa"
    for index, entry in enumerate(partitions):
        sector[446 + 16 * index : 462 + 16 * index] = entry
    (tmp_path / "disk.raw").write_bytes(sector + bytes(16 << 20))
    assert (ours(tmp_path / "disk.raw") is None) == (theirs(oslo_inspector, tmp_path / "disk.raw") is None) == safe


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'createType="monolithicSparse"', b'createType="twoGbMaxExtentSp"'),
        (b'SPARSE "image"', b'SPARSE "/mage"'),
        (b"# The Disk Data Base", b"! The Disk Data Base"),
        (b"# Extent description", b"# Extent descr\xc3\xadtion"),
        (b"RW 16384 SPARSE", b"XX 16384 SPARSE"),
    ],
)
def test_descriptors(tmp_path, qemu_img, oslo_inspector, old, new):
    image = make(qemu_img, tmp_path / "image", "-f", "vmdk")
    raw = image.read_bytes()
    assert old in raw
    assert ours(image) is None
    image.write_bytes(raw.replace(old, new.ljust(len(old))))
    assert ours(image) is not None
    assert theirs(oslo_inspector, image) is not None


def test_what_wraps_an_image(tmp_path, qemu_img):
    make(qemu_img, tmp_path / "image", "-f", "qcow2")
    subprocess.run(["gzip", "-k", str(tmp_path / "image")], check=True)
    assert ours(tmp_path / "image.gz") == "it is wrapped in gzip, and only the bare image is taken"


def test_what_we_call_safe_is_safe(tmp_path, shared, oslo_inspector):
    """Of the corpus: the services may take more than we do, never less."""
    spec = importlib.util.spec_from_file_location("corpus_tool", shared / "corpus" / "tool.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    seen = 0
    for row in tool.rows():
        if row["role"] == "primary" and (shared / "corpus" / row["file"]).exists() and row["format"] != "raw":
            with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
                image = tool.materialize(row["case"], folder)
                if ours(image) is None:
                    assert theirs(oslo_inspector, image) is None, image
                    seen += 1
    assert seen > 40
