# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""btrfs on volumes that mkfs.btrfs fills, judged by what was put in, by btrfs restore and by blkid."""

from __future__ import annotations

import os
import random
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.btrfs.reader import Btrfs
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.btrfs.superblock import identify
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.tree import Tree
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

SIZE = 256 << 20


@pytest.fixture(scope="module")
def folder(trees, tmp_path_factory):
    """A folder of files of all kinds."""
    path = tmp_path_factory.mktemp("btrfs") / "tree"
    trees.build_tree(path, 21, 30)
    (path / os.fsdecode(b"not \xff UTF-8")).write_bytes(b"text")
    os.mkfifo(path / "fifo")
    return path


@pytest.fixture
def filled(program, folder, tmp_path):
    """filled(options) makes a volume with the folder's files."""

    def filled(*options, source=folder):
        image = tmp_path / "image"
        image.unlink(missing_ok=True)
        with image.open("wb") as file:
            file.truncate(SIZE)
        made = subprocess.run([program("mkfs.btrfs"), "-q", *options, "--rootdir", source, image], check=False, capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        return image

    return filled


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("-n", "4096", "-m", "single"),
        ("-n", "65536", "-m", "dup", "-d", "dup"),
        ("-O", "^no-holes,^extref,^skinny-metadata", "-R", "^free-space-tree"),
        ("--mixed",),
        ("--shrink",),
        ("-s", "16384"),
        ("--csum", "xxhash"),
        ("--csum", "sha256"),
        ("--csum", "blake2"),
    ],
    ids=" ".join,
)
def test_files_are_what_was_put_in(filled, folder, trees, read_all, options):
    filesystem = Btrfs(FileStorage(filled(*options)))
    assert read_all(filesystem) == trees.contents(folder)
    assert filesystem.warnings == []
    kinds = {name: filesystem.node(key).kind for name, key in filesystem.listing(filesystem.root)}
    assert kinds[b"fifo"] == "other"
    modes = {place.path: place.node.mode for place in Tree(filesystem).walk() if place.node.kind == "file"}
    assert modes == {path: (folder / path[1:]).stat().st_mode & 0o7777 for path in modes}


def test_files_are_what_btrfs_restores(filled, program, trees, read_all, tmp_path):
    image = filled()
    restored = tmp_path / "restored"
    restored.mkdir()
    subprocess.run([program("btrfs"), "restore", "-S", "-i", image, restored], check=True, capture_output=True)
    found = read_all(Btrfs(FileStorage(image)))
    expected = trees.contents(restored)
    assert len(expected) > 400
    assert found == expected


def test_the_signature_is_that_of_blkid(filled, program):
    image = filled("-L", "my root", "-U", "11111111-2222-3333-4444-555555555555")
    said = subprocess.run([program("blkid"), "-p", "-o", "export", image], check=True, capture_output=True, text=True).stdout
    tags = dict(line.split("=", 1) for line in said.splitlines())
    found = identify(FileStorage(image))
    assert (found.type, found.usage, found.label, found.uuid) == (tags["TYPE"], tags["USAGE"], "my root", tags["UUID"])
    assert found.size == SIZE


def test_a_uuid_that_was_changed_afterwards(filled, program, folder, trees, read_all):
    image = filled()
    before = identify(FileStorage(image)).uuid
    subprocess.run([program("btrfstune"), "-m", image], check=True, capture_output=True)
    assert identify(FileStorage(image)).uuid != before
    assert read_all(Btrfs(FileStorage(image))) == trees.contents(folder)


def test_sparse_files_have_holes(filled, folder):
    for options in ((), ("-O", "^no-holes")):
        filesystem = Btrfs(FileStorage(filled(*options)))
        storage = filesystem.content(Tree(filesystem).find("/sparse.bin").node)
        expected = (folder / "sparse.bin").read_bytes()
        assert storage.size == len(expected)
        rebuilt = bytearray(len(expected))
        for offset, length in storage.data_ranges():
            rebuilt[offset : offset + length] = storage.read_exact(offset, length, "data")
        assert rebuilt == expected


def test_metadata_that_is_damaged_is_read_from_its_copy(filled, folder, program, trees, read_all):
    image = filled("-m", "dup", "-n", "4096")
    said = subprocess.run([program("btrfs"), "inspect-internal", "dump-tree", "-t", "chunk", image], check=True, capture_output=True, text=True).stdout
    places = [int(line.split()[5]) for line in said.split("METADATA|DUP", 1)[1].splitlines() if "devid 1 offset" in line][:2]
    size = 1 << 20
    with image.open("r+b") as file:
        file.seek(places[0])
        first = file.read(size)
        file.seek(places[1])
        assert file.read(size) == first
        file.seek(places[0])
        file.write(random.Random(1).randbytes(size))
    filesystem = Btrfs(FileStorage(image))
    assert read_all(filesystem) == trees.contents(folder)
    assert "second copies" in filesystem.warnings[0]
    with image.open("r+b") as file:
        file.seek(places[1])
        file.write(bytes(size))
    with pytest.raises(CorruptImage, match="does not agree with its checksum"):
        read_all(Btrfs(FileStorage(image)))


def test_one_of_two_devices_is_not_read(program, tmp_path):
    images = [tmp_path / "one", tmp_path / "two"]
    for image in images:
        with image.open("wb") as file:
            file.truncate(SIZE)
    subprocess.run([program("mkfs.btrfs"), "-q", "-d", "raid0", "-m", "raid1", *images], check=True, capture_output=True)
    for image in images:
        assert "one of 2 devices" in identify(FileStorage(image)).warnings[0]
        with pytest.raises(UnsupportedImage, match="needs its other devices"):
            Btrfs(FileStorage(image))
