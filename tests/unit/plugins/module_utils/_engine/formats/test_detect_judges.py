# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Detection beside the judges: real images by their manifest, images that qemu-img and mkfs make, oslo.utils' inspector."""

from __future__ import annotations

import bz2
import csv
import gzip
import lzma
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.detect import detect, require_disk
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

OPEN = {"gz": gzip.open, "xz": lzma.open, "bz2": bz2.open, "none": open}

# The manifest's format where content says something else, and why.
EXPLAINED = {
    "qcow1-tsk-image": "qcow",  # a name of ours
    "udf-cdio-test-udf1": "iso",  # a bridge: ISO 9660 and UDF
    "bochs-afl5": "vhd",  # conectix at 0; oslo.utils and qemu say so, too
    "bad-vhd-fixed-no-footer": "raw",  # the manifest expects raw
    "bad-vdi-signature": "raw",  # the manifest expects raw
}
# What oslo.utils calls otherwise: it takes any 55 AA for a "gpt", hybrids for contradictory, and knows neither fixed VHD,
# DMG, Parallels, Bochs, VMA, UDF nor short headers.
OSLO_SAYS = {"vhd": {"gpt", "raw"}, "raw": {"gpt"}, "iso": {"contradiction"}, "qcow": {"qcow2"}}
OSLO_KNOWS_NOT = {"udf", "parallels", "dmg", "bochs", "vma", "qcow2"}


def detected(path):
    storage = FileStorage(path)
    try:
        return detect(storage)
    finally:
        storage.close()


def oslo_says(inspector, path):
    try:
        return str(inspector.detect_file_format(path))
    except inspector.ImageFormatError:
        return "contradiction"


def shared_cases(shared):
    with open(shared / "corpus/MANIFEST.tsv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [row for row in rows if row["split"] == "shared" and row["role"] == "primary"]


def test_the_corpus(shared, oslo_inspector, tmp_path):
    wrong = []
    unlike = set()
    cases = shared_cases(shared)
    for row in cases:
        path = tmp_path / "image"
        with OPEN[row["encoding"]](shared / "corpus" / row["file"], "rb") as source, open(path, "wb") as image:
            while data := source.read(1 << 20):
                if any(data):
                    image.write(data)
                else:
                    image.seek(len(data), 1)
            image.truncate(int(row["image_bytes"]))
        found = detected(path)
        if found.best.format != EXPLAINED.get(row["case"], row["format"]) or found.ambiguous:
            wrong.append((row["case"], row["format"], found.matches, found.ambiguous))
        oslo = oslo_says(oslo_inspector, path)
        if oslo != found.best.format:
            assert oslo in OSLO_SAYS.get(found.best.format, ()) or (oslo == "raw" and found.best.format in OSLO_KNOWS_NOT), row["case"]
            unlike.add((row["case"], oslo, found.best.format))
    assert len(cases) > 100
    assert not wrong
    assert len(unlike) < 20


def test_packages(shared):
    corpus = shared / "ovf-corpus"
    unlike = {}
    for kind in ("ova", "ovf", "vmdk"):
        found = {path: detected(path).best.format for path in corpus.rglob(f"*.{kind}")}
        assert found
        unlike.update({path.name: name for path, name in found.items() if name != kind})
    assert unlike == {
        "testserver-no-ovf.ova": "tar",
        "testserver-not-tar.ova": "other",  # a picture
        "UnOS2-over-limit.ovf": "raw",  # empty
        "descriptor.ovf": "text",  # an error page
        "invalid_env.ovf": "text",  # <FakeEnvelope>
        "jeos_corrupted.ovf": "raw",
    }


@pytest.mark.parametrize(
    ("driver", "options", "name"),
    [
        ("qcow2", (), "qcow2"),
        ("qcow2", ("-o", "compat=0.10"), "qcow2"),
        ("qcow", (), "qcow"),
        ("qed", (), "qed"),
        ("vmdk", (), "vmdk"),
        ("vmdk", ("-o", "subformat=streamOptimized"), "vmdk"),
        ("vmdk", ("-o", "subformat=monolithicFlat"), "vmdk"),
        ("vmdk", ("-o", "subformat=twoGbMaxExtentSparse"), "vmdk"),
        ("vdi", (), "vdi"),
        ("vdi", ("-o", "static=on"), "vdi"),
        ("vpc", (), "vhd"),
        ("vpc", ("-o", "subformat=fixed"), "vhd"),
        ("vpc", ("-o", "subformat=fixed,force_size=on"), "vhd"),
        ("vhdx", (), "vhdx"),
        ("vhdx", ("-o", "subformat=fixed"), "vhdx"),
        ("parallels", (), "parallels"),
        ("raw", (), "raw"),
    ],
)
def test_what_qemu_makes(driver, options, name, qemu_img, tmp_path):
    path = tmp_path / "image"
    subprocess.run([qemu_img, "create", "-q", "-f", driver, *options, path, "4M"], check=True)
    found = detected(path)
    assert (found.best.format, found.ambiguous, found.notes) == (name, (), ())
    storage = FileStorage(path)
    assert require_disk(found, storage) == name
    storage.close()


@pytest.mark.parametrize("flat", [False, True])
def test_a_disk_inside_is_no_contradiction(flat, qemu_img, tmp_path):
    """A partitioned disk in every format that keeps it in one file."""
    raw = tmp_path / "raw"
    sector = bytes(446) + bytes.fromhex("80000000830000000100000000100000") + bytes(48) + b"\x55\xaa"
    raw.write_bytes(sector + b"EFI PART" + bytes((4 << 20) - 520))
    for driver, options, name in (
        ("qcow2", "cluster_size=512", "qcow2"),
        ("vmdk", "subformat=monolithicSparse", "vmdk"),
        ("vdi", f"static={'on' if flat else 'off'}", "vdi"),
        ("vpc", f"subformat={'fixed' if flat else 'dynamic'}", "vhd"),
        ("vhdx", f"subformat={'fixed' if flat else 'dynamic'}", "vhdx"),
        ("parallels", "cluster_size=4096", "parallels"),
    ):
        image = tmp_path / "image"
        subprocess.run([qemu_img, "convert", "-f", "raw", "-O", driver, "-o", options, raw, image], check=True)
        found = detected(image)
        assert (found.best.format, found.ambiguous) == (name, ()), driver


@pytest.mark.parametrize(
    ("command", "content"),
    [
        (["mkfs.vfat", "{}"], "fat"),
        (["mkfs.vfat", "-F", "12", "{}"], "fat"),
        (["mkfs.ext4", "-q", "{}"], "ext"),
        (["mkntfs", "-q", "-F", "{}"], "ntfs"),
        (["mkswap", "-q", "{}"], "swap"),
        (["parted", "-s", "{}", "mklabel", "gpt"], "gpt"),
        (["parted", "-s", "{}", "mklabel", "msdos", "mkpart", "primary", "1MiB", "2MiB"], "mbr"),
        (["parted", "-s", "{}", "mklabel", "mac"], "apm"),
    ],
)
def test_what_makers_of_volumes_make(command, content, tmp_path, program):
    program(command[0])
    path = tmp_path / "image"
    with open(path, "wb") as file:
        file.truncate(8 << 20)
    subprocess.run([part.replace("{}", str(path)) for part in command], check=True, capture_output=True)
    found = detected(path)
    assert (found.best.format, found.contents[0].format, found.ambiguous) == ("raw", content, ())
    assert ("mbr" in [match.format for match in found.contents]) == (content in ("mbr", "gpt"))
