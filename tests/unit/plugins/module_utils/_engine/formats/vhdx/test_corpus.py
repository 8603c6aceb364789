# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real VHDX images of other programs, with known content; and malformed ones."""

from __future__ import annotations

import csv
import importlib.util

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import ImageError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhdx.reader import VhdxReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage


@pytest.fixture(scope="module")
def cases(shared):
    """The tool that lays a case out, and the rows of the manifest."""
    spec = importlib.util.spec_from_file_location("corpus_tool", shared / "corpus/tool.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    with open(shared / "corpus/MANIFEST.tsv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["format"] == "vhdx" and row["role"] == "primary"]
    return tool, [row for row in rows if (shared / "corpus" / row["file"]).exists()]


def digest(reader, path, tool):
    """(virtual size, digest of what is not zero) by the corpus' own tool."""
    with open(path, "wb") as file:
        for extent in reader.extents():
            if not extent.is_zero:
                file.seek(extent.start)
                file.write(reader.read_extent(extent))
        file.truncate(reader.virtual_size)
    return tool.nz64k(path)


def test_right_or_refused(cases, tmp_path):
    tool, rows = cases
    assert len(rows) >= 14
    right = []
    for row in rows:
        path = tool.materialize(row["case"], tmp_path / row["case"])
        expected = (int(row["virtual_size"]), row["nz64k_digest"]) if row["nz64k_digest"] else None
        reader = None
        try:
            reader = VhdxReader(FileStorage(path))
            found = digest(reader, tmp_path / "out.raw", tool)
        except ImageError:
            found = None
        if row["case"] == "bad-vhdx-bat-reserved-state":
            # The state that a draft called unmapped: zeros, as for qemu, which the manifest has as a note only.
            assert found[1].startswith(row["qemu10_convert"].split(":")[2])
        elif found is not None:
            assert found == expected, row["case"]
            # Read by the copy of a region table that others refuse: right, and yet to be reported.
            assert reader.check().clean == (row["case"] != "bad-vhdx-region1-bad"), row["case"]
            right.append(row["case"])
        elif row["expect"] == "ok":
            assert reader.describe().subformat == "differencing", row["case"]
            assert reader.unreadable_reason(), row["case"]
        elif row["expect"] == "check-reports":
            assert reader.check().corruptions, row["case"]
        else:
            assert row["expect"] in ("error", "ok-or-error"), row["case"]
    assert len(right) >= 9
    assert "vhdx-iotest-dirtylog" in right


@pytest.mark.parametrize(
    ("case", "parent"),
    [
        ("vhdx-dissect-avhdx-noparent", ".\\Generation 1_49C4BAF3-4B25-4406-8C4B-D39E65C32385.avhdx"),
        ("vhdx-win-fat-diff", ".\\fat-parent.vhdx"),
    ],
)
def test_a_checkpoint_names_its_parent(cases, tmp_path, case, parent):
    reader = VhdxReader(FileStorage(cases[0].materialize(case, tmp_path)))
    assert [reference.name for reference in reader.references()] == [parent]
    assert parent in reader.unreadable_reason()
    assert reader.describe().format_specific["parent_locator"]["parent_linkage"].startswith("{")


def test_who_wrote_it(cases, tmp_path):
    info = VhdxReader(FileStorage(cases[0].materialize("vhdx-dissect-dynamic", tmp_path))).describe()
    assert info.writer == "Microsoft Windows 10.0.18363.0"
    assert (info.cluster_size, info.format_specific["physical_sector_size"]) == (32 << 20, 4096)
