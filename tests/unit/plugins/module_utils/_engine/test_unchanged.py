# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is done with an image as a source leaves its files as they were, to the byte and to the time of change."""

from __future__ import annotations

import importlib.util
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import ImageError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.inspect import describe
from ansible_collections.vmimage.prep.plugins.module_utils._engine.produce import produce
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.compare import compare

IMAGES = {
    "raw": ["-f", "raw"],
    "qcow2": ["-f", "qcow2"],
    "qcow2 subclusters": ["-f", "qcow2", "-o", "extended_l2=on"],
    "qcow": ["-f", "qcow"],
    "qed": ["-f", "qed"],
    "parallels": ["-f", "parallels"],
    "vdi": ["-f", "vdi"],
    "vdi fixed": ["-f", "vdi", "-o", "static=on"],
    "vhd": ["-f", "vpc"],
    "vhd fixed": ["-f", "vpc", "-o", "subformat=fixed"],
    "vhdx": ["-f", "vhdx"],
    "vmdk": ["-f", "vmdk"],
    "vmdk flat": ["-f", "vmdk", "-o", "subformat=monolithicFlat"],
    "vmdk split": ["-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse"],
}
CORPUS = ("vhdx-iotest-dirtylog", "gen-q72-v3-dirty", "vhd-win-fat-diff", "vhdx-win-fat-diff", "vdi-vbox-hoho", "vmdk-ovftool-v3", "bad-vhdx-header1-bad")


def state(folder):
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode) for path in folder.iterdir()}


def use(image, out, src_format=None):
    with open_source(Request(str(image), src_format=src_format, references=str(image.parent))) as source:
        assert describe(source, check=True)["readable"]
        assert compare(source.reader, source.reader) is None
        with Sink(str(out)) as sink:
            produce(source, target("qcow2"), sink, verify_content=True)
            sink.commit()


@pytest.mark.parametrize("name", IMAGES)
def test_an_image_of_qemu(tmp_path, qemu_img, qemu_io, name):
    folder = tmp_path / "images"
    folder.mkdir()
    options = IMAGES[name]
    subprocess.run([qemu_img, "create", "-q", *options, str(folder / "image"), "4M"], check=True)
    subprocess.run([qemu_io, *options[:2], "-c", "write -P 7 1M 64k", str(folder / "image")], check=True, stdout=subprocess.DEVNULL)
    before = state(folder)
    use(folder / "image", tmp_path / "out", "raw" if name == "raw" else None)
    assert state(folder) == before


def test_a_qcow2_image_whose_writer_was_killed(tmp_path, qemu_img, qemu_io):
    folder = tmp_path / "images"
    folder.mkdir()
    image = folder / "image"
    subprocess.run([qemu_img, "create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", str(image), "4M"], check=True)
    subprocess.run([qemu_io, "-f", "qcow2", "-c", "write -P 7 1M 64k", "-c", "flush", "-c", "sigraise 9", str(image)], check=False, capture_output=True)
    before = state(folder)
    assert before["image"][0][79] & 1, "it is not marked as dirty"
    use(image, tmp_path / "out")
    assert state(folder) == before


@pytest.mark.parametrize("case", CORPUS)
def test_an_image_of_the_corpus(tmp_path, shared, case):
    spec = importlib.util.spec_from_file_location("corpus_tool", shared / "corpus" / "tool.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    folder = tmp_path / "images"
    image = folder / tool.materialize(case, str(folder))
    before = state(folder)
    use(image, tmp_path / "out")
    assert state(folder) == before


def test_a_damaged_image(tmp_path, qemu_img):
    folder = tmp_path / "images"
    folder.mkdir()
    subprocess.run([qemu_img, "create", "-q", "-f", "vhdx", str(folder / "image"), "4M"], check=True)
    with open(folder / "image", "r+b") as file:
        file.truncate(1 << 20)
    before = state(folder)
    with pytest.raises(ImageError):
        use(folder / "image", tmp_path / "out")
    assert state(folder) == before
    assert not (tmp_path / "out").exists()
