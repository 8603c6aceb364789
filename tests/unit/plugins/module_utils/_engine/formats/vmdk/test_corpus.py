# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real VMDKs of other programs, with known content; and malformed ones."""

from __future__ import annotations

import csv
import importlib.util

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import ImageError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vmdk.reader import open_vmdk
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

READABLE = ("monolithicSparse", "streamOptimized")


def digest(reader, path, tool):
    """(virtual size, digest of what is not zero) by the corpus' own tool."""
    with open(path, "wb") as file:
        for extent in reader.extents():
            if not extent.is_zero:
                file.seek(extent.start)
                file.write(reader.read_extent(extent))
        file.truncate(reader.virtual_size)
    return tool.nz64k(path)


@pytest.fixture(scope="module")
def cases(shared):
    """The tool that lays a case out, and the rows of the manifest."""
    spec = importlib.util.spec_from_file_location("corpus_tool", shared / "corpus/tool.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    with open(shared / "corpus/MANIFEST.tsv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["format"] == "vmdk" and row["role"] == "primary"]
    return tool, [row for row in rows if (shared / "corpus" / row["file"]).exists()]


def test_right_or_refused(cases, tmp_path):
    tool, rows = cases
    assert len(rows) > 25
    right = 0
    for row in rows:
        path = tool.materialize(row["case"], tmp_path / row["case"])
        expected = (int(row["virtual_size"]), row["nz64k_digest"]) if row["nz64k_digest"] else None
        reader = reason = None
        try:
            reader = open_vmdk(FileStorage(path))
            reason = reader.unreadable_reason()
            found = digest(reader, tmp_path / "out.raw", tool)
        except ImageError:
            found = None
        if found is not None:
            assert found == expected, row["case"]
            assert not reader.check().corruptions, row["case"]
            right += 1
        elif row["expect"] == "ok":
            # A disk in several files, or a delta: described, with its size.
            assert reason, row["case"]
            assert reader.virtual_size == expected[0], row["case"]
        else:
            assert row["expect"] in ("error", "ok-or-error"), row["case"]
    assert right >= 11


@pytest.mark.parametrize(
    ("case", "writer"),
    [
        ("vmdk-ovftool-v3", "VMware (ovftool or vSphere export)"),
        ("vmdk-vbox-export-ubuntu", "VirtualBox"),
        ("vmdk-cot-blank-vmdktool", "vmdktool"),
        ("vmdk-ws-cosmos-fstest", "VMware"),
        ("vmdk-vddk-monolithicSparse", "VMware"),
        ("vmdk-qemu-stream", "qemu"),
        ("gen-q72-monolithicSparse", "qemu"),
    ],
)
def test_writers_are_told_apart(cases, tmp_path, case, writer):
    info = open_vmdk(FileStorage(cases[0].materialize(case, tmp_path))).describe()
    assert info.writer == writer
    assert info.subformat in READABLE
