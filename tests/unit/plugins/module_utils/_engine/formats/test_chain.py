# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Chains of qcow2 images made by qemu-img, which also says what their guests see; and chains that are refused."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import (
    AccessError,
    AmbiguousImage,
    BusyError,
    CorruptImage,
    ImageError,
    InvalidImage,
    LimitExceeded,
    UnsafeReference,
    UnsupportedImage,
)
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import create_writer, target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.limits import MAX_REFERENCE_DEPTH
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.convert import convert

MIB = 1 << 20


def run(*command, cwd=None):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, cwd=cwd).stdout


@pytest.fixture
def create(qemu_img, tmp_path):
    """Makes an image in a folder of tmp_path; ``form`` is the declared format of the backing file, None for none."""

    def create(name, size=MIB, backing=None, form="qcow2", options="", how="qcow2"):
        below = ["-u", "-b", backing, "-F", form or "raw"] if backing else []
        run(qemu_img, "create", "-q", "-f", how, *(["-o", options] if options else []), *below, tmp_path / name, size)
        if backing and form is None:
            drop_declaration(tmp_path / name)
        return tmp_path / name

    return create


def drop_declaration(path):
    """Take the backing format extension away, as older programs did not write it: its type becomes one nobody knows."""
    data = bytearray(path.read_bytes())
    at = data.index(b"\xe2\x79\x2a\xca")
    data[at : at + 4] = b"none"
    path.write_bytes(data)


@contextlib.contextmanager
def opened(path, folder=None):
    with open_source(Request(str(path), references=str(folder or path.parent))) as source:
        yield source.reader


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


def refused(path, kind, match, folder=None):
    """That opening is refused, and that it leaves no descriptor open."""
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(kind, match=match), opened(path, folder):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("seed", range(12))
def test_three_levels_of_any_size(create, qemu_img, qemu_io, tmp_path, seed):
    chance = random.Random(seed)
    below, form = None, chance.choice(["raw", "qcow2", "vmdk", "vdi", "vhdx"])
    for level in range(3):
        size = chance.choice([MIB, 3 * MIB, 4 * MIB + 512 * 33])
        options = "" if level == 0 else f"cluster_size={chance.choice([512, 4096, 65536, MIB])}"
        how = form if level == 0 else "qcow2"
        image = create(f"level{level}", size, below, form, options, how)
        writes = []
        for _write in range(6):
            start, length = chance.randrange(size // 512) * 512, 512 * chance.randint(1, 600)
            kind = chance.choice([f"write -P {chance.randint(1, 255)}"] * 3 + ["write -z"] if form != "vmdk" or level else ["write -P 1"])
            writes += ["-c", f"{kind} {start} {min(length, size - start)}"]
        run(qemu_io, "-f", how, *writes, image)
        below, form = image.name, how
    run(qemu_img, "convert", "-f", "qcow2", "-O", "raw", image, tmp_path / "judge.raw")
    wanted = (tmp_path / "judge.raw").read_bytes()
    with opened(image) as reader:
        assert content_of(reader) == wanted
        assert reader.check().clean
        for _read in range(20):
            start, length = chance.randrange(len(wanted)), chance.randint(1, MIB)
            assert reader.read_at(start, length) == wanted[start : start + length]
    with open_source(Request(str(image))) as source, pytest.raises(UnsupportedImage, match="overlay"):
        next(source.reader.extents())


def test_what_lies_behind_a_shorter_backing_file_is_zero(create, tmp_path):
    (tmp_path / "base.raw").write_bytes(b"\x55" * (MIB + 512))
    with opened(create("top", 4 * MIB, "base.raw", "raw")) as reader:
        assert reader.virtual_size == 4 * MIB
        assert content_of(reader) == (b"\x55" * (MIB + 512)).ljust(4 * MIB, b"\0")


def test_a_file_of_the_chain_that_changes_meanwhile(create, tmp_path):
    (tmp_path / "base.raw").write_bytes(b"\x55" * MIB)
    with opened(create("top", MIB, "base.raw", "raw")) as reader, Sink(str(tmp_path / "out.raw")) as sink:
        os.utime(tmp_path / "base.raw", ns=(1, 1))
        with pytest.raises(BusyError, match=r"base\.raw"):
            convert(reader, create_writer(target("raw"), sink, MIB))


def test_closing_the_reader_closes_all(create):
    for level in range(3):
        image = create(f"level{level}", backing=f"level{level - 1}" if level else None)
    before = len(os.listdir("/proc/self/fd"))
    with opened(image) as reader:
        assert len(os.listdir("/proc/self/fd")) == before + 3
        reader.close()
        assert len(os.listdir("/proc/self/fd")) == before


def test_relative_names_start_where_the_image_lies(create, tmp_path):
    for name in ("a", "a/b", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/b/base.raw").write_bytes(b"\x01" * MIB)
    (tmp_path / "base.raw").write_bytes(b"\x02" * MIB)
    create("a/middle", backing="b/base.raw", form="raw")
    with opened(create("top", backing="a/middle"), tmp_path) as reader:
        assert reader.read_at(0, 1) == b"\x01"
    with opened(create("a/top", backing="middle"), tmp_path) as reader:
        assert reader.read_at(0, 1) == b"\x01"
    # An image that lies elsewhere names what is in the folder itself.
    with opened(create("other/top", backing="base.raw", form="raw"), tmp_path / "a/b") as reader:
        assert reader.read_at(0, 1) == b"\x01"
    refused(create("a/outside", backing="../base.raw", form="raw"), UnsafeReference, "leads out", tmp_path)
    refused(create("a/nothing", backing="base.raw", form="raw"), AccessError, "no such file", tmp_path)


def test_absolute_names(create, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/base.raw").write_bytes(b"\x01" * MIB)
    (tmp_path / "base.raw").write_bytes(b"\x02" * MIB)
    with opened(create("in/top", backing=tmp_path / "in/base.raw", form="raw")) as reader:
        assert reader.read_at(0, 1) == b"\x01"
    # qcow2 has no means to tell whether the file of that name in the folder is the one that was meant.
    refused(create("in/outside", backing=tmp_path / "base.raw", form="raw"), UnsafeReference, "does not lie in the folder")
    refused(create("in/passwd", backing="/etc/passwd", form="raw"), UnsafeReference, "/etc/passwd")


@pytest.mark.parametrize("name", ["json:{}", "nbd://host/x", "file:base.raw", "http://host/base.raw"])
def test_protocols(create, qemu_img, tmp_path, name):
    (tmp_path / "base.raw").write_bytes(bytes(MIB))
    image = create("top", backing="x" * len(name), form="raw")
    image.write_bytes(image.read_bytes().replace(b"x" * len(name), name.encode()))
    refused(image, UnsafeReference, "protocols")


def test_loops(create, tmp_path):
    refused(create("self", backing="self"), CorruptImage, "loop")
    create("a", backing="b")
    create("b", backing="c")
    create("c", backing="a")
    refused(tmp_path / "a", CorruptImage, "loop")
    os.link(create("one", backing="two"), tmp_path / "two")
    refused(tmp_path / "one", CorruptImage, "loop")


def test_the_longest_chain(create, tmp_path):
    for level in range(MAX_REFERENCE_DEPTH + 2):
        create(f"level{level}", backing=f"level{level - 1}" if level else None)
    with opened(tmp_path / f"level{MAX_REFERENCE_DEPTH}") as reader:
        assert content_of(reader) == bytes(MIB)
    refused(tmp_path / f"level{MAX_REFERENCE_DEPTH + 1}", LimitExceeded, "chain")


def test_what_is_no_file(create, tmp_path):
    (tmp_path / "base.raw").write_bytes(bytes(MIB))
    (tmp_path / "link").symlink_to("base.raw")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    for name, kind in (("link", UnsafeReference), ("folder", UnsafeReference), ("fifo", UnsafeReference), ("missing", AccessError)):
        refused(create(f"over-{name}", backing=name, form="raw"), kind, name)
    refused(tmp_path / "over-link", AccessError, "no such file", tmp_path / "nowhere")


def test_a_declared_format_must_be_the_file_s(create, tmp_path):
    (tmp_path / "plain").write_bytes(b"\x55" * MIB)
    create("image")
    with opened(create("top", backing="plain", form="raw")) as reader:
        assert reader.read_at(0, 1) == b"\x55"
    refused(create("wrong", backing="plain", form="qcow2"), InvalidImage, "declared as qcow2")
    # Read as raw this may be what the guest wrote there itself (CVE-2014-3641); it may also be a slip. Nobody can tell.
    refused(create("nested", backing="image", form="raw"), InvalidImage, "declared as raw")
    refused(create("other", backing="image", form="vmdk"), InvalidImage, "declared as vmdk")
    refused(create("device", backing="plain", form="host_device"), UnsupportedImage, "host_device")


def test_without_a_declared_format_the_content_decides(create, tmp_path):
    create("image", 2 * MIB)
    with opened(create("top", backing="image", form=None)) as reader:
        assert reader.parent.format == "qcow2"
    disk = bytearray(MIB)
    disk[446:462] = b"\x80\0\x02\0\x83\0\x20\0" + (1).to_bytes(4, "little") + (2000).to_bytes(4, "little")
    disk[510:512] = b"\x55\xaa"
    (tmp_path / "partitioned").write_bytes(disk)
    with opened(create("over-partitioned", backing="partitioned", form=None)) as reader:
        assert content_of(reader) == disk
    # Nothing speaks for a raw disk: it might as well be an image of an unknown kind, or one whose header is lost.
    (tmp_path / "unknown").write_bytes(b"\x55" * MIB)
    refused(create("over-unknown", backing="unknown", form=None), InvalidImage, "declare the format")
    (tmp_path / "both").write_bytes((tmp_path / "image").read_bytes()[:32768].ljust(32768, b"\0") + b"\x01CD001\x01" + bytes(MIB))
    refused(create("over-both", backing="both", form=None), AmbiguousImage, "fits")


def test_a_damaged_or_encrypted_base_is_refused(create, qemu_img, tmp_path):
    image = create("base", MIB)
    create("top", backing="base")
    data = image.read_bytes()
    image.write_bytes(data[: len(data) // 2])
    refused(tmp_path / "top", CorruptImage, "behind the end of the file")
    run(
        qemu_img,
        "create",
        "-q",
        "-f",
        "qcow2",
        "--object",
        "secret,id=s,data=x",
        "-o",
        "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10",
        image,
        MIB,
    )
    refused(tmp_path / "top", UnsupportedImage, "encrypted")


def test_an_image_without_references_does_not_look_at_the_folder(create, tmp_path):
    with opened(create("plain"), tmp_path / "nowhere") as reader:
        assert content_of(reader) == bytes(MIB)


def test_a_compressed_overlay(create, tmp_path):
    (tmp_path / "base.raw").write_bytes(b"\x55" * MIB)
    run("xz", "-k", create("top", backing="base.raw", form="raw"))
    with opened(tmp_path / "top.xz") as reader:
        assert content_of(reader) == b"\x55" * MIB
    run("xz", tmp_path / "base.raw")
    refused(create("over", backing="base.raw.xz", form=None), UnsupportedImage, "xz")


def test_every_refusal_is_one_of_ours(create, tmp_path):
    """Whatever name stands in the image, what comes out is an ImageError that can be printed."""
    image = create("top", backing="x" * 60, form="raw")
    data = image.read_bytes()
    chance = random.Random(5)
    for _name in range(200):
        name = bytes(chance.choice(b"\0\x01./\\:abcjson{}\xff\xc3~%") for _char in range(60))
        image.write_bytes(data.replace(b"x" * 60, name))
        with pytest.raises(ImageError) as caught, opened(image):
            pass
        assert str(caught.value).isprintable()
