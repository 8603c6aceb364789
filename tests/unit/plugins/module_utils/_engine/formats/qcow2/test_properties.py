# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a qcow2 image says of itself: the same as qemu-img info says, and nothing that keeps it from being read."""

from __future__ import annotations

import json
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.qcow2 import layout
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.qcow2.reader import Qcow2Reader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

SECRET = ("--object", "secret,id=key,data=secret")


def run(*command, cwd=None):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, cwd=cwd).stdout


def told(qemu_img, image):
    """The format's own part of qemu-img info, with underscores."""

    def with_underscores(value):
        if isinstance(value, dict):
            return {key.replace("-", "_"): with_underscores(part) for key, part in value.items()}
        return [with_underscores(part) for part in value] if isinstance(value, list) else value

    return with_underscores(json.loads(run(qemu_img, "info", "--output=json", image))["format-specific"]["data"])


OPTIONS = ["compat=0.10", "lazy_refcounts=on", "refcount_bits=1", "extended_l2=on", "compression_type=zstd", "data_file=x.data", "data_file=y,data_file_raw=on"]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_same_as_qemu_img_says(tmp_path, qemu_img, options):
    run(qemu_img, "create", "-q", "-f", "qcow2", "-o", options, "disk.qcow2", "1M", cwd=tmp_path)
    image = tmp_path / "disk.qcow2"
    assert Qcow2Reader(FileStorage(image)).describe().format_specific == told(qemu_img, image)


@pytest.fixture(scope="module")
def marked(tmp_path_factory, qemu_img):
    """An image with three bitmaps, one of them left in use."""
    image = tmp_path_factory.mktemp("marked") / "disk.qcow2"
    run(qemu_img, "create", "-q", "-f", "qcow2", image, "1M")
    for options in (["-g", "4k", image, "first"], ["--disable", image, "zwéite"], ["--disable", image, "x" * 1023]):
        run(qemu_img, "bitmap", "--add", *options)
    data = bytearray(image.read_bytes())
    data[Qcow2Reader(Memory(bytes(data))).header.bitmap_directory_offset + 15] |= 1
    image.write_bytes(data)
    return image


def test_bitmaps(marked, qemu_img):
    info = Qcow2Reader(FileStorage(marked)).describe()
    assert info.format_specific == told(qemu_img, marked)
    assert info.format_specific["bitmaps"][0] == {"name": "first", "granularity": 4096, "flags": ["in-use", "auto"]}
    assert not info.warnings


def test_more_bitmaps_than_are_shown(tmp_path, qemu_img):
    image = tmp_path / "disk.qcow2"
    run(qemu_img, "create", "-q", "-f", "qcow2", image, "1M")
    run(qemu_img, "bitmap", "--add", image, "a")
    data = bytearray(image.read_bytes())
    directory = Qcow2Reader(Memory(bytes(data))).header.bitmap_directory_offset
    at = data.index(struct.pack(">II", layout.EXT_BITMAPS, layout.BITMAPS_EXTENSION.size)) + 8
    entry = bytes(data[directory : directory + 32])
    data[at : at + 24] = layout.BITMAPS_EXTENSION.pack(nb_bitmaps=1000, bitmap_directory_size=32000, bitmap_directory_offset=directory)
    data[directory : directory + 32000] = entry * 1000
    info = Qcow2Reader(Memory(bytes(data))).describe()
    assert len(info.format_specific["bitmaps"]) == 256
    assert "1000 bitmaps" in info.warnings[0]


@pytest.mark.parametrize(("at", "form", "value"), [(0, ">Q", 77), (17, ">B", 64), (18, ">H", 0), (18, ">H", 1024), (20, ">I", 0xFFFFFFF0)])
def test_a_damaged_bitmap_directory_is_a_warning(marked, at, form, value):
    data = bytearray(marked.read_bytes())
    struct.pack_into(form, data, Qcow2Reader(Memory(bytes(data))).header.bitmap_directory_offset + at, value)
    reader = Qcow2Reader(Memory(bytes(data)))
    assert "bitmaps cannot be read" in reader.describe().warnings[0]
    assert reader.read_at(0, 1 << 20) == bytes(1 << 20)
    assert reader.check().corruptions


def test_bitmaps_that_were_not_kept_up(marked):
    data = bytearray(marked.read_bytes())
    data[95] = 0
    info = Qcow2Reader(Memory(bytes(data))).describe()
    assert "bitmaps" not in info.format_specific
    assert "bitmaps" in info.warnings[0]


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory, qemu_img):
    image = tmp_path_factory.mktemp("encrypted") / "luks.qcow2"
    options = "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10,encrypt.hash-alg=sha1"
    run(qemu_img, "create", "-q", *SECRET, "-f", "qcow2", "-o", options, image, "1M")
    return image


def test_a_luks_header(encrypted, qemu_img):
    reader = Qcow2Reader(FileStorage(encrypted))
    specific = reader.describe().format_specific
    assert specific.pop("encrypt_format") == "luks"
    assert specific == told(qemu_img, encrypted)
    assert "encrypted (LUKS)" in reader.unreadable_reason()
    run(qemu_img, "check", *SECRET, "--image-opts", f"driver=qcow2,file.filename={encrypted},encrypt.key-secret=key")
    assert reader.check().clean


def test_a_luks_header_that_is_none(encrypted):
    data = bytearray(encrypted.read_bytes())
    data[Qcow2Reader(Memory(bytes(data))).header.crypto_offset] ^= 1
    info = Qcow2Reader(Memory(bytes(data))).describe()
    assert info.format_specific["encrypt"] == {"format": "luks"}
    assert "encryption's header" in info.warnings[0]


@pytest.fixture(scope="module")
def plain(tmp_path_factory, qemu_img, qemu_io):
    image = tmp_path_factory.mktemp("plain") / "disk.qcow2"
    run(qemu_img, "create", "-q", "-f", "qcow2", image, "1M")
    run(qemu_io, "-c", "write -P 3 0 100k", image)
    return image.read_bytes()


def test_an_image_marked_as_corrupt_is_read(plain, tmp_path, qemu_img):
    image = tmp_path / "disk.qcow2"
    image.write_bytes(plain[:79] + b"\2" + plain[80:])
    reader = Qcow2Reader(FileStorage(image))
    info = reader.describe()
    assert info.format_specific == told(qemu_img, image)
    assert info.format_specific["corrupt"] is True
    assert "marked as corrupt" in info.warnings[0]
    run(qemu_img, "convert", "-O", "raw", image, tmp_path / "judge.raw")
    assert reader.read_at(0, 1 << 20) == (tmp_path / "judge.raw").read_bytes()


def test_unknown_features(plain, tmp_path, qemu_img):
    """Compatible and autoclear ones do not matter; an incompatible one has the name that the image has for it."""
    image = tmp_path / "disk.qcow2"
    image.write_bytes(plain[:80] + b"\xff" * 7 + b"\xfe" + b"\xff" * 7 + b"\xf0" + plain[96:])
    reader = Qcow2Reader(FileStorage(image))
    assert reader.describe().format_specific == told(qemu_img, image)
    assert reader.read_at(0, 4) == b"\3\3\3\3"
    names = plain.index(struct.pack(">I", layout.EXT_FEATURE_NAMES)) + 8
    data = bytearray(plain)
    data[72] = 0x80
    data[names : names + 48] = bytes([0, 63]) + b"a feature of tomorrow".ljust(46, b"\0")
    with pytest.raises(UnsupportedImage, match="a feature of tomorrow"):
        Qcow2Reader(Memory(bytes(data)))


def test_a_raw_data_file_with_a_backing_file(tmp_path, qemu_img):
    run(qemu_img, "create", "-q", "-f", "raw", "base.raw", "1M", cwd=tmp_path)
    run(qemu_img, "create", "-q", "-f", "qcow2", "-o", "data_file=x", "-b", "base.raw", "-F", "raw", "disk.qcow2", cwd=tmp_path)
    data = bytearray((tmp_path / "disk.qcow2").read_bytes())
    data[95] |= layout.AUTOCLEAR_RAW_DATA
    with pytest.raises(CorruptImage, match="the whole disk"):
        Qcow2Reader(Memory(bytes(data)))
