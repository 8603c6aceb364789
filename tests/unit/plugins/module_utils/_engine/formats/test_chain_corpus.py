# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real images that need other files, with known content: right when these may be read, refused when not."""

from __future__ import annotations

import importlib.util

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import ImageError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source

READABLE = [
    "gen-q72-v3-overlay",
    "gen-q72-v3-datafile-noraw",
    "gen-q72-vmdk-overlay",
    "vmdk-vddk-2gbsparse",
    "vmdk-vddk-monolithicFlat",
    "vmdk-desc-blankline",
    "vmdk-desc-rdonly-extent",
    "vmdk-desc-crlf",
    "vhd-win-fat-diff",
    "vhdx-win-fat-diff",
]
NEVER = [
    "bad-qcow2-backing-etcpasswd",
    "bad-qcow2-datafile-etcpasswd",
    "bad-vmdk-flat-etcpasswd",
    "bad-vmdk-extent-missing",
    "vmdk-desc-fullDevice",
    "vhdx-dissect-avhdx-noparent",
]


@pytest.fixture(scope="module")
def tool(shared):
    """The corpus' own tool, which lays cases out and digests disks."""
    spec = importlib.util.spec_from_file_location("corpus_tool", shared / "corpus/tool.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


def raw(image, folder, references):
    """Write what the image shows to a file."""
    out = folder / "out-of-the-engine.raw"
    with open_source(Request(str(image), references=str(folder) if references else None)) as source, open(out, "wb") as file:
        for extent in source.reader.extents():
            if not extent.is_zero:
                file.seek(extent.start)
                file.write(source.reader.read_extent(extent))
        file.truncate(source.reader.virtual_size)
    return out


@pytest.mark.parametrize("case", READABLE)
def test_right_with_the_other_files_and_refused_without(tool, tmp_path, case):
    row = next(row for row in tool.rows() if row["case"] == case and row["role"] == "primary")
    image = tool.materialize(case, tmp_path)
    with pytest.raises(ImageError):
        raw(image, tmp_path, references=False)
    size, digest = tool.nz64k(raw(image, tmp_path, references=True))
    assert (str(size), digest) == (row["virtual_size"], row["nz64k_digest"])


@pytest.mark.parametrize("case", NEVER)
def test_refused_always(tool, tmp_path, case):
    image = tool.materialize(case, tmp_path)
    for references in (False, True):
        with pytest.raises(ImageError):
            raw(image, tmp_path, references)
