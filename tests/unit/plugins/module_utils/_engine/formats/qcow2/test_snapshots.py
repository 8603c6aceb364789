# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Internal snapshots of qcow2 images, chosen and read. qemu-img makes them and says what they show."""

from __future__ import annotations

import json
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, InvalidImage, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.qcow2 import layout
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.qcow2.reader import Qcow2Reader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

MIB = 1 << 20


def run(*command, cwd=None):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, cwd=cwd).stdout


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


def shown(image, name):
    """The content of a snapshot by our reader."""
    reader = Qcow2Reader(FileStorage(image))
    reader.use_snapshot(name)
    content = content_of(reader)
    assert len(content) == reader.virtual_size
    return content


@pytest.fixture(scope="module")
def image(tmp_path_factory, qemu_img, qemu_io):
    """Snapshots of 2 MiB named first, twice, twice and, of 4 MiB, 1; their ids are 1 to 4."""
    image = tmp_path_factory.mktemp("snapshots") / "disk.qcow2"
    run(qemu_img, "create", "-q", "-f", "qcow2", "-o", "cluster_size=4k", image, "2M")
    for number, name in enumerate(("first", "twice", "twice", "1"), 1):
        run(qemu_io, "-c", f"write -P {number} {number * 100}k 200k", image)
        run(qemu_img, "snapshot", "-c", name, image)
        if number == 3:
            run(qemu_img, "resize", "-q", image, "4M")
            run(qemu_io, "-c", "write -P 7 3M 100k", image)
    run(qemu_io, "-c", "write -P 9 0 4M", image)
    return image


@pytest.mark.parametrize(("name", "number", "size"), [("first", 1, 2), ("1", 1, 2), ("2", 2, 2), ("3", 3, 2), ("4", 4, 4)])
def test_chosen_by_name_or_id(image, qemu_img, tmp_path, name, number, size):
    """An id goes before a name, as with qemu-img, which gives each of them the size of the current disk."""
    run(qemu_img, "convert", "-l", name, "-O", "raw", image, tmp_path / "judge.raw")
    judge = (tmp_path / "judge.raw").read_bytes()
    assert judge[number * 100 << 10] == number
    before = image.read_bytes()
    assert shown(image, name) == judge[: size * MIB]
    assert not judge[size * MIB :].strip(b"\0")
    assert image.read_bytes() == before


def test_any_range_of_a_snapshot(image):
    whole = shown(image, "4")
    reader = Qcow2Reader(FileStorage(image))
    reader.use_snapshot("4")
    for start in range(0, 4 * MIB, 77777):
        assert reader.read_at(start, 100001) == whole[start : start + 100001]
    assert reader.check().clean


def test_a_name_that_is_not_enough(image):
    with pytest.raises(InvalidImage, match=r"2 snapshots are called 'twice': 'twice' \(id 2\), 'twice' \(id 3\)"):
        shown(image, "twice")
    with pytest.raises(InvalidImage, match=r"no snapshot 'third'; there are: 'first' \(id 1\)"):
        shown(image, "third")


def test_the_list_is_that_of_qemu_img(image, qemu_img):
    told = json.loads(run(qemu_img, "info", "--output=json", image))["snapshots"]
    ours = Qcow2Reader(FileStorage(image)).describe().snapshots
    assert [snapshot["disk_size"] for snapshot in ours] == [2 * MIB, 2 * MIB, 2 * MIB, 4 * MIB]
    assert [{key: snapshot[key.replace("-", "_")] for key in told[0]} for snapshot in ours] == told


def test_over_a_backing_file(qemu_img, qemu_io, tmp_path):
    (tmp_path / "base.raw").write_bytes(bytes(range(256)) * 6000)
    run(qemu_img, "create", "-q", "-f", "qcow2", "-b", "base.raw", "-F", "raw", "disk.qcow2", "2M", cwd=tmp_path)
    run(qemu_io, "-c", "write -P 1 64k 64k", "-c", "write -z 512k 64k", tmp_path / "disk.qcow2")
    run(qemu_img, "snapshot", "-c", "one", tmp_path / "disk.qcow2")
    run(qemu_io, "-c", "write -P 2 0 2M", tmp_path / "disk.qcow2")
    run(qemu_img, "convert", "-l", "one", "-O", "raw", "disk.qcow2", "judge.raw", cwd=tmp_path)
    with open_source(Request(str(tmp_path / "disk.qcow2"), references=str(tmp_path), snapshot="one")) as source:
        assert content_of(source.reader) == (tmp_path / "judge.raw").read_bytes()
    with open_source(Request(str(tmp_path / "disk.qcow2"), snapshot="one")) as source, pytest.raises(UnsupportedImage, match=r"base\.raw"):
        content_of(source.reader)


def test_no_snapshots_at_all(tmp_path, qemu_img):
    run(qemu_img, "create", "-q", "-f", "qcow2", tmp_path / "disk.qcow2", "1M")
    with pytest.raises(InvalidImage, match="the image has none"):
        shown(tmp_path / "disk.qcow2", "1")
    run(qemu_img, "create", "-q", "-f", "qcow2", "-o", "data_file=data", "disk.qcow2", "1M", cwd=tmp_path)
    with pytest.raises(UnsupportedImage, match="another file"):
        shown(tmp_path / "disk.qcow2", "1")


def entry_of(data, number):
    """Where an entry of the snapshot table begins."""
    at = struct.unpack_from(">Q", data, 64)[0]
    for _skipped in range(number - 1):
        fields = layout.SNAPSHOT.unpack(data, at)
        at += -(-(layout.SNAPSHOT.size + fields.extra_data_size + fields.id_str_size + fields.name_size) // 8) * 8
    return at


def patched(image, number, offset, form, value):
    data = bytearray(image.read_bytes())
    struct.pack_into(form, data, entry_of(data, number) + offset, value)
    return bytes(data)


def test_what_lies_behind_the_end_of_the_disk_is_none_of_it(image):
    """As the state of a virtual machine does."""
    reader = Qcow2Reader(Memory(patched(image, 4, 48, ">Q", 2 * MIB)))
    reader.use_snapshot("4")
    assert content_of(reader) == shown(image, "4")[: 2 * MIB]


def test_a_snapshot_without_a_size_has_the_current_one(image, qemu_img, tmp_path):
    """Its L1 table covers less: nothing was there."""
    data = bytearray(image.read_bytes())
    at = entry_of(data, 1)
    size = layout.SNAPSHOT.unpack(data, at).extra_data_size
    struct.pack_into(">I", data, at + 36, 8)
    struct.pack_into(">H", data, at + 12, 1 + size - 8)  # the rest of the extra data becomes a part of the id
    (tmp_path / "disk.qcow2").write_bytes(data)
    reader = Qcow2Reader(FileStorage(tmp_path / "disk.qcow2"))
    reader.use_snapshot("first")
    assert reader.virtual_size == 4 * MIB
    run(qemu_img, "convert", "-l", "snapshot.name=first", "-O", "raw", tmp_path / "disk.qcow2", tmp_path / "judge.raw")
    assert content_of(reader) == (tmp_path / "judge.raw").read_bytes()
    assert reader.check().corruptions  # version 3 demands the size


@pytest.mark.parametrize(
    ("offset", "form", "value", "error", "text"),
    [
        (0, ">Q", 4096 + 512, CorruptImage, "not aligned"),
        (0, ">Q", 1 << 40, CorruptImage, "behind the end"),
        (8, ">I", 1, CorruptImage, "its disk needs 2"),
        (8, ">I", 1 << 23, LimitExceeded, "L1 table has 8388608 entries"),
        (48, ">Q", 4 * MIB - 1, CorruptImage, "no multiple of 512"),
        (48, ">Q", 1 << 62, LimitExceeded, "the most that is taken"),
    ],
)
def test_a_damaged_entry_is_refused_when_it_is_chosen(image, offset, form, value, error, text):
    reader = Qcow2Reader(Memory(patched(image, 4, offset, form, value)))
    assert reader.read_at(0, 8) == b"\t" * 8
    with pytest.raises(error, match=text):
        reader.use_snapshot("4")
    if error is CorruptImage and offset == 0:
        assert reader.check().corruptions
