# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real images of the formats that are only read, with known content; and malformed ones."""

from __future__ import annotations

import csv
import importlib.util

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import ImageError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import open_reader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage


@pytest.mark.parametrize("form", ["qcow1", "qed", "parallels", "bochs"])
def test_right_or_refused(shared, tmp_path, form):
    spec = importlib.util.spec_from_file_location("corpus_tool", shared / "corpus/tool.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    with open(shared / "corpus/MANIFEST.tsv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if (row["format"], row["role"]) == (form, "primary")]
    rows = [row for row in rows if (shared / "corpus" / row["file"]).exists()]
    assert rows
    for row in rows:
        path = tool.materialize(row["case"], tmp_path / row["case"])
        if row["expect"] != "ok":
            with pytest.raises(ImageError):
                open_reader(form, FileStorage(path))
            continue
        reader = open_reader(form, FileStorage(path))
        with open(tmp_path / "raw", "wb") as file:
            for extent in reader.extents():
                file.write(reader.read_extent(extent))
        assert tool.nz64k(tmp_path / "raw") == (int(row["virtual_size"]), row["nz64k_digest"]), row["case"]
        assert reader.check().clean, row["case"]
