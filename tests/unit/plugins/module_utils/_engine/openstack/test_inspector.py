# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What OpenStack sees in a file: we say of any what oslo.utils says, when it reads as Glance's file store does."""

from __future__ import annotations

import importlib.util
import io
import random
import struct
import tempfile

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.inspector import inspect
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

CHUNK = 64 << 10
CUTS = (0, 8, 31, 63, 64, 100, 511, 512, 591, 592, 600, 1535, 1536, 2000, 34815, 34816, 65536, 196608, 262143, 262144)


def theirs(inspector, stream):
    """Of each format that is seen: which checks fail (or that it is cut), and whether its size can be told. None: an error that Glance lets pass."""
    wrapper = inspector.InspectWrapper(stream)
    while wrapper.read(CHUNK):
        pass
    wrapper.close()
    try:
        formats = wrapper.formats
    except AttributeError:
        return None
    return {str(found): (checks, checks == "cut" or _sized(found)) for found in formats for checks in [_checks(inspector, found)]}


def _checks(inspector, found):
    try:
        found.safety_check()
    except inspector.SafetyCheckFailed as error:
        return sorted(error.failures)
    except inspector.ImageFormatError:
        return "cut"
    return []


def _sized(found):
    try:
        found.virtual_size  # noqa: B018  # pylint: disable=pointless-statement
    except (KeyError, struct.error):
        return False
    return True


def ours(storage):
    found = inspect(storage)
    if found.failed:
        return None
    seen = {each.format: (sorted(failure.check for failure in each.failures), each.sized) if each.whole else ("cut", True) for each in found.sightings}
    return seen or {"raw": ([], True)}


def agree(inspector, data):
    expected = theirs(inspector, io.BytesIO(data))
    assert ours(Memory(data, "image")) == expected
    return expected


def test_every_kind_of_file(uploads, oslo_inspector):
    answers = {name: agree(oslo_inspector, (uploads.folder / name).read_bytes()) for name in uploads.names}
    assert answers["text-accents"] is None
    assert answers["text-vmdk"] == {"vmdk": ([], False)}
    assert answers["vmdk-footer"] == {"vmdk": ([], True)}
    assert answers["vmdk-footer-other"] == answers["vmdk-footer-marker"] == {"vmdk": (["footer"], True)}
    assert answers["iso-gpt"].keys() == {"iso", "gpt"}


def test_cut_and_damaged(uploads, oslo_inspector):
    chance = random.Random(11)
    different = set()
    for name in uploads.names:
        data = (uploads.folder / name).read_bytes()
        for cut in (*CUTS, len(data) // 2, len(data) - 1, len(data) - 512):
            different.add(str(agree(oslo_inspector, data[: max(0, cut)])))
        for _round in range(12 if data else 0):
            damaged = bytearray(data)
            for _byte in range(chance.choice((1, 3, 10))):
                damaged[chance.randrange(min(len(damaged), chance.choice((64, 128, 600, 4096, 300000))))] = chance.choice((0, 1, 4, 32, 255))
            different.add(str(agree(oslo_inspector, bytes(damaged))))
    assert len(different) > 20


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'createType="monolithicSparse"', b'createType="twoGbMaxExtentSp"'),
        (b'createType="monolithicSparse"', b'createType = "monolithicSpar"'),
        (b'createType="monolithicSparse"', b'createType="monolithicSparse\n'),
        (b'SPARSE "', b'SPARSE/"'),
        (b"# The Disk Data Base", b"! The Disk Data Base"),
        (b"# Extent description", b"# Extent descr\xc3\xadtion"),
        (b"RW 4096 SPARSE", b"XX 4096 SPARSE"),
        (b"RW 4096 SPARSE", b"#W 4096 SPARSE"),
    ],
)
def test_descriptors(uploads, oslo_inspector, old, new):
    data = (uploads.folder / "vmdk").read_bytes()
    assert old in data
    assert agree(oslo_inspector, data.replace(old, new)) == {"vmdk": (["descriptor"], True)}


@pytest.mark.parametrize("bit", range(64))
def test_features_of_qcow2(uploads, oslo_inspector, bit):
    data = bytearray((uploads.folder / "qcow2").read_bytes()[:4096])
    struct.pack_into(">Q", data, 72, 1 << bit)
    assert agree(oslo_inspector, bytes(data))["qcow2"] == ((["data_file"] if bit == 2 else [] if bit < 4 else ["unknown_features"]), True)


def test_tables_of_vhdx(uploads, oslo_inspector):
    """They are read as they stream by: what is named too late is not seen, and what is damaged not missed."""
    data = (uploads.folder / "vhdx").read_bytes()
    table, size, region = data.find(b"metadata"), data.find(bytes.fromhex("2442a52f")), data.find(bytes.fromhex("06a27c8b"))
    data = data[: table + (192 << 10)]
    chance = random.Random(3)
    answers = set()
    for _round in range(400):
        image = bytearray(data)
        for _change in range(chance.choice((1, 2))):
            at = chance.choice((0, 150 << 10, 192 << 10, (192 << 10) + chance.randrange(CHUNK), 256 << 10, table - 512, table - CHUNK, table + 512, 2**64 - 1))
            change = chance.randrange(5)
            if change == 0:
                struct.pack_into("<Q", image, region + 16, at)
            elif change == 1:
                image[(192 << 10) + chance.randrange(96)] = chance.randrange(256)
            elif change == 2:
                image[table + chance.randrange(300)] = chance.choice((0, 1, 255))
            elif change == 3:
                struct.pack_into("<H", image, table + 10, chance.choice((0, 1, 2047, 2048, 65535)))
            else:
                struct.pack_into("<II", image, size + 16, chance.choice((0, 8, 65535, 65536, 70000, 2**32 - 1)), chance.choice((0, 4, 8, 16, 2**32 - 1)))
        if chance.random() < 0.2:
            del image[chance.choice((table + 100, table + CHUNK, table + CHUNK + 1, 256 << 10, (256 << 10) + 1)) :]
        answers.add(str(agree(oslo_inspector, bytes(image))))
    assert answers == {str({"vhdx": answer}) for answer in (([], True), ([], False), ("cut", True))}


def test_the_corpus(tmp_path, shared, oslo_inspector):
    """Real images of all kinds."""
    spec = importlib.util.spec_from_file_location("corpus_tool", shared / "corpus" / "tool.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    seen = 0
    for row in tool.rows():
        if row["role"] == "primary" and (shared / "corpus" / row["file"]).exists() and int(row["image_bytes"]) < 64 << 20:
            with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
                image = tool.materialize(row["case"], folder)
                storage = FileStorage(image)
                with open(image, "rb") as stream:
                    assert ours(storage) == theirs(oslo_inspector, stream), image
                storage.close()
            seen += 1
    assert seen > 60
