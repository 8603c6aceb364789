# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's command as a user or another program calls it: exit status, one line that says what is wrong, nothing left."""

from __future__ import annotations

import bz2
import hashlib
import json
import lzma
import os
import re
import socket
import subprocess

import pytest

# name of the image, arguments behind it, kind of the error, what its sentence has to say (in this order)
REFUSED = {
    "text file": ("text", [], "invalid", "text: this is a text file, not a disk image"),
    "error page instead of a download": ("html", [], "invalid", "html: this is an HTML page, not a disk image"),
    "empty file": ("empty", [], "invalid", "empty: the file is empty"),
    "less than a sector": ("tiny", [], "invalid", "tiny: no known disk image format fits the content, and 100 bytes are less"),
    "truncated qcow2": ("cut", [], "corrupt", "cut: the L1 table ends at byte … behind the end of the file (… bytes): truncated … Fetch the file again"),
    "qcow2 with a backing file": ("overlay", [], "unsupported", "overlay: … overlay … backing file, 'base.raw'; merge them first (qemu-img convert does)"),
    "encrypted qcow2": ("encrypted", [], "unsupported", "encrypted: the content is encrypted (LUKS); decrypt it"),
    "two formats in one file": ("both", [], "ambiguous", "both: the content fits a qcow2 image (version 3) and an ISO 9660 image: … Make the image anew"),
    "two formats, one declared": ("both", ["--src-format", "qcow2"], "ambiguous", "both: the content fits a qcow2 image"),
    "another format declared": ("qcow2", ["--src-format", "vmdk"], "invalid", "qcow2: declared as vmdk, but this is a qcow2 image (version 3)"),
    "raw declared": ("qcow2", ["--src-format", "raw"], "invalid", "qcow2: declared as raw, but this is a qcow2 image"),
    "unknown format declared": ("qcow2", ["--src-format", "foo"], "unsupported", "no format is called 'foo' (there are: bochs, "),
    "too large": ("qcow2", ["--max-size", "1000"], "limit_exceeded", "qcow2: the disk has 3145728 bytes; at most 1000 are allowed here"),
    "too large when decompressed": ("gz", ["--max-size", "100000"], "limit_exceeded", "gz: more than 100000 bytes come out of the compressed file"),
    "truncated gzip": ("gz-cut", [], "corrupt", "gz-cut: the gzip data ends in the middle: truncated (at byte 0x… Fetch the file again"),
    "gzip with a wrong checksum": ("gz-crc", [], "corrupt", "gz-crc: damaged gzip data … incorrect data check … Fetch the file again"),
    "disk of no package": ("qcow2", ["--disk", "one"], "unsupported", "qcow2: a disk can be chosen in a package only, and this is none"),
}


def says(sentence, wanted):
    """Whether the parts of ``wanted``, which … separates, come in the sentence in this order."""
    position = 0
    for part in (part.strip() for part in wanted.split("…")):
        position = sentence.find(part, position)
        if position < 0:
            return False
        position += len(part)
    return True


@pytest.mark.parametrize("case", REFUSED)
def test_a_source_that_is_refused(engine, images, case, tmp_path):
    name, options, kind, wanted = REFUSED[case]
    source = os.path.relpath(images.folder / name, tmp_path)
    for command in (["convert", source, "dest", "--format", "vmdk", *options], ["compare", source, source, *options]):
        sentence = engine.fails(kind, *command)
        assert says(sentence.replace(f"{source}:", f"{name}:"), wanted), sentence
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["overlay", "encrypted"])
def test_what_cannot_be_converted_is_described(engine, images, name):
    info = json.loads(engine.succeeds("info", images.folder / name, "--check"))
    assert not info["readable"]
    assert ("backing file" if name == "overlay" else "encrypted") in info["unreadable_reason"]
    assert info["backing_filename"] == ("base.raw" if name == "overlay" else None)
    assert info["encrypted"] == (name == "encrypted")


def test_what_is_no_file(engine, images, tmp_path):
    os.mkdir(tmp_path / "folder")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(tmp_path / "socket"))
        for name, kind, wanted in (
            ("missing", "access", "missing: cannot open the file: no such file or folder"),
            ("folder", "invalid", "folder: is no package: there is no .ovf file in it"),
            ("fifo", "access", "fifo: is neither a regular file nor a block device"),
            ("socket", "access", "socket: "),
            ("/dev/zero", "access", "/dev/zero: is neither a regular file nor a block device"),
            (f"{images.raw}/x", "access", "x: cannot open the file: a part of the path is not a folder"),
        ):
            for command in (["detect", name], ["info", name], ["convert", name, "dest", "--format", "raw"], ["compare", images.raw, name]):
                if command[0] != "detect" or name != "folder":
                    assert says(engine.fails(kind, *command), wanted), command
    assert sorted(os.listdir(tmp_path)) == ["fifo", "folder", "socket"]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (["--format", "foo"], "no format is called 'foo' (there are: iso, qcow2, raw, vdi, vhd, vhdx, vmdk)"),
        (
            ["--format", "vmdk", "--subformat", "foo"],
            "vmdk cannot be written as 'foo' (it has: monolithicSparse, streamOptimized, monolithicFlat, twoGbMaxExtentSparse, twoGbMaxExtentFlat)",
        ),
        (["--format", "raw", "--subformat", "foo"], "raw cannot be written as 'foo' (it has: no subformats)"),
        (["--format", "vdi", "--compress"], "vdi dynamic cannot be compressed"),
        (["--format", "qcow2", "-o", "data_file=x"], "qcow2 has no option data_file (it has: backing_file, backing_fmt, cluster_size, compat, "),
        (["--format", "qcow2", "-o", "cluster_size"], "an option is given as key=value, not 'cluster_size'"),
        (["--format", "qcow2", "-o", "cluster_size=3"], "cluster_size is a power of two from 512 to 2M, not '3'"),
        (["--format", "vhdx", "-o", "block_size=3"], "vhdx option block_size is a power of two from 1M to 256M, or 0 for the usual size, not '3'"),
        (["--format", "iso"], "qcow2: a disk in qcow2 format does not become an ISO"),
    ],
)
def test_a_target_that_there_is_not(engine, images, tmp_path, options, wanted):
    assert says(engine.fails("unsupported", "convert", images.qcow2, "dest", *options), wanted)
    assert os.listdir(tmp_path) == []


def test_a_place_that_the_result_cannot_take(engine, images, tmp_path):
    os.mkdir(tmp_path / "folder")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_bytes(b"old")
    for dest, wanted in (
        ("folder", "folder: is a folder; name the file to write"),
        ("nowhere/dest", "nowhere: cannot write in the folder: no such file or folder"),
        ("file/dest", "file/dest: cannot look at the destination: a part of the path is not a folder"),
        ("fifo", "fifo: exists and is not a regular file"),
        ("/dev/null", "/dev/null: exists and is not a regular file"),
        ("x" * 300, "the name is too long"),
    ):
        assert says(engine.fails("access", "convert", images.qcow2, dest, "--format", "raw"), wanted), dest
    assert sorted(os.listdir(tmp_path)) == ["fifo", "file", "folder"]
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize("arguments", [["info"], ["compare", "one"], ["bogus"], ["convert", "a", "b"], ["info", "a", "--max-size", "many"]])
def test_a_command_that_is_not_one(engine, arguments):
    assert "--help" in engine.fails("usage", *arguments)


def test_compare_says_the_same_different_or_cannot_tell(engine, images, tmp_path):
    assert engine.succeeds("compare", images.raw, images.qcow2) == "the images are the same\n"
    changed = bytearray(images.content)
    changed[0x12345] ^= 1
    (tmp_path / "other").write_bytes(changed)
    done = engine("compare", images.qcow2, "other")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"content differs at guest offset 0x12345\n", b"")
    (tmp_path / "longer").write_bytes(images.content + bytes(4096))
    assert engine.succeeds("compare", "longer", images.vmdk) == "the images are the same\n"
    (tmp_path / "longer").write_bytes(images.content + b"\1" * 512)
    assert engine("compare", images.vmdk, "longer").returncode == 1


@pytest.mark.parametrize("name", ["plain", "with space", "line\nbreak", "-dash", "$(touch hello)", "ünïcode 名", os.fsdecode(b"bytes \xff\xfe"), "*?[x]"])
def test_any_file_name(engine, images, tmp_path, name):
    source, dest = tmp_path / name, tmp_path / f"{name} too"
    source.write_bytes(images.qcow2.read_bytes())
    engine.succeeds("convert", source, dest, "--format", "raw")
    assert dest.read_bytes() == images.content
    assert json.loads(engine.succeeds("info", source))["format"] == "qcow2"
    source.write_bytes(b"")
    assert engine.fails("invalid", "info", source).endswith("the file is empty")
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.parametrize("inner", ["raw", "qcow2"])
@pytest.mark.parametrize("codec", ["gz", "xz", "bz2"])
def test_compressed_images(engine, images, tmp_path, inner, codec):
    data = (images.folder / inner).read_bytes()
    if inner == "raw" and codec == "gz":
        packed = images.gz.read_bytes()
    elif codec == "gz":
        packed = subprocess.run(["gzip", "-1c"], input=data, capture_output=True, check=True).stdout
    else:
        packed = lzma.compress(data, preset=0) if codec == "xz" else bz2.compress(data, 1)
    (tmp_path / "packed").write_bytes(packed)
    engine.succeeds("convert", "packed", "dest", "--format", "vdi")
    engine.succeeds("compare", "dest", images.raw)
    info = json.loads(engine.succeeds("info", "packed"))
    assert [layer["format"] for layer in info["layers"]] == [{"gz": "gzip", "bz2": "bzip2"}.get(codec, codec)]
    assert info["format"] == inner
    assert sorted(os.listdir(tmp_path)) == ["dest", "packed"]


def test_what_is_in_the_way_is_replaced_only_by_a_whole_result(engine, images, tmp_path):
    dest = tmp_path / "dest"
    dest.write_bytes(b"old")
    engine.fails("corrupt", "convert", images.cut, dest, "--format", "raw")
    engine.fails("corrupt", "convert", images.gz_crc, dest, "--format", "raw")
    assert dest.read_bytes() == b"old"
    engine.succeeds("convert", images.gz, dest, "--format", "raw")
    assert dest.read_bytes() == images.content
    assert os.listdir(tmp_path) == ["dest"]


def test_info_is_what_image_info_documents(engine, images):
    """The keys of plugins/modules/image_info.py, RETURN, for any format."""
    source = (engine.tool.parents[2] / "plugins/modules/image_info.py").read_text(encoding="utf-8")
    image = source.partition("RETURN = ")[2].partition("\nimage:\n")[2].partition("\npackage:\n")[0]
    documented = set(re.findall(r"^ {4}(\w+):$", image, re.MULTILINE))
    assert len(documented) > 20
    for name in ("raw", "qcow2", "vmdk", "gz", "encrypted"):
        info = json.loads(engine.succeeds("info", images.folder / name))
        assert set(info) == documented - {"check", "allocation", "content_checksums", "guest", "media", "openstack", "verdict"}
        if info["readable"]:
            checked = json.loads(engine.succeeds("info", "--check", images.folder / name))
            assert set(checked) == documented - {"content_checksums", "guest", "media", "openstack", "verdict"}
            assert checked["check"] == {"clean": True, "corruptions": [], "leaks": []}


def test_digest_is_that_of_the_raw_disk(engine, images):
    wanted = {"sha256": hashlib.sha256(images.content).hexdigest()}
    for name in ("raw", "qcow2", "vmdk", "gz"):
        assert json.loads(engine.succeeds("digest", images.folder / name)) == wanted


def test_output_that_cannot_be_written(engine, images):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(engine.command("compare", images.raw, images.raw), stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert done.stderr.decode().startswith("error: space: standard output: cannot write the answer: no space is left")
    assert done.stderr.count(b"\n") == 1
    with subprocess.Popen(engine.command("info", images.qcow2), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1
