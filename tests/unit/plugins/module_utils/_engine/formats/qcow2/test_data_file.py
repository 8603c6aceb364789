# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""qcow2 images whose data is in another file. qemu-img makes them and says what they show."""

from __future__ import annotations

import os
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError, CorruptImage, UnsafeReference, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.qcow2 import layout
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source

SIZE = 3 * (1 << 20) + 1536


def run(*command, cwd=None):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, cwd=cwd).stdout


@pytest.fixture
def image(qemu_img, qemu_io, tmp_path):
    """Data in the first cluster, in others and in the last sector; a cluster of zeros; and clusters that are not there."""
    run(qemu_img, "create", "-q", "-f", "qcow2", "-o", "data_file=disk.bin", "disk.qcow2", SIZE, cwd=tmp_path)
    writes = ("write -P 1 0 70k", f"write -P 2 {SIZE - 512} 512", "write -P 3 1M 300k", "write -z 1088k 64k")
    run(qemu_io, "-f", "qcow2", *(word for write in writes for word in ("-c", write)), "disk.qcow2", cwd=tmp_path)
    return tmp_path / "disk.qcow2"


def opened(image, folder):
    return open_source(Request(str(image), references=folder and str(folder)))


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


def l2_table(data):
    """Offset of the only L2 table."""
    return struct.unpack_from(">Q", data, struct.unpack_from(">Q", data, 40)[0])[0] & layout.OFFSET_MASK


def test_the_data_file_is_read_in_the_folder_only(image, qemu_img):
    run(qemu_img, "convert", "-O", "raw", image.name, "judge.raw", cwd=image.parent)
    wanted = (image.parent / "judge.raw").read_bytes()
    assert wanted.count(1) == 70 << 10
    with opened(image, image.parent) as source:
        assert content_of(source.reader) == wanted
        assert source.reader.check().clean
        assert source.reader.unreadable_reason() is None
    with opened(image, None) as source, pytest.raises(UnsupportedImage, match=r"disk\.bin"):
        next(source.reader.extents())


def test_a_data_file_over_a_backing_file(qemu_img, qemu_io, tmp_path):
    (tmp_path / "base.raw").write_bytes(b"\x55" * SIZE)
    run(qemu_img, "create", "-q", "-f", "qcow2", "-o", "data_file=disk.bin", "-b", "base.raw", "-F", "raw", "disk.qcow2", cwd=tmp_path)
    run(qemu_io, "-c", "write -P 9 100k 4k", "-c", "write -z 1M 64k", "disk.qcow2", cwd=tmp_path)
    run(qemu_img, "convert", "-O", "raw", "disk.qcow2", "judge.raw", cwd=tmp_path)
    with opened(tmp_path / "disk.qcow2", tmp_path) as source:
        assert content_of(source.reader) == (tmp_path / "judge.raw").read_bytes()


@pytest.mark.parametrize("cut", [1, 512, SIZE])
def test_a_data_file_that_was_cut(image, cut):
    os.truncate(image.parent / "disk.bin", SIZE - cut)
    with opened(image, image.parent) as source, pytest.raises(CorruptImage, match="behind the end of the file"):
        content_of(source.reader)


@pytest.mark.parametrize(
    ("index", "entry", "match"),
    [
        (1, layout.COPIED, "is said to be at 0x0"),
        (0, layout.COPIED | 0x10000, "is said to be at 0x10000"),
        (3, layout.COPIED | 0x40000, "is said to be at 0x40000"),
        (2, layout.COMPRESSED_FLAG | 0x20000, "compressed"),
        (2, layout.COPIED | 0x20200, "aligned"),
        (2, 1 << 60, "reserved"),
    ],
)
def test_clusters_that_cannot_be_there(image, index, entry, match):
    data = bytearray(image.read_bytes())
    struct.pack_into(">Q", data, l2_table(data) + index * 8, entry)
    image.write_bytes(data)
    with opened(image, image.parent) as source, pytest.raises(CorruptImage, match=match):
        content_of(source.reader)


def test_data_files_that_are_not_read(image, tmp_path):
    data = image.read_bytes()
    folder = image.parent
    (folder / "link.bin").symlink_to("disk.bin")
    for name, kind in ((b"link.bin", UnsafeReference), (b"nothing.", AccessError), (b"/etc/pwd", UnsafeReference), (b"../x.bin", UnsafeReference)):
        image.write_bytes(data.replace(b"disk.bin", name))
        with pytest.raises(kind), opened(image, folder):
            pass
    # The feature bit alone, without a name: the data cannot be found.
    image.write_bytes(data.replace(b"\x44\x41\x54\x41\x00\x00\x00\x08", b"none\x00\x00\x00\x08"))
    with opened(image, folder) as source:
        assert "does not name" in source.reader.unreadable_reason()
