# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ext2, ext3 and ext4 as mke2fs, which can fill a file system, debugfs and e2fsck write them; judged by what was put in, and by their word."""

from __future__ import annotations

import hashlib
import random
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, InvalidImage, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.ext import directories
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.ext.layout import EXTENT_HEADER, FLAG_INDEX
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.ext.reader import Ext
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.ext.superblock import NOT_REPLAYED, checksum, identify
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.tree import Tree
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

MIB = 1 << 20
FUZZ = Path(__file__).resolve().parents[5] / "tools/fuzz_filesystems"
SHAPES = {
    "ext2-1k": ("-t", "ext2", "-b", "1024", "-I", "128"),
    "ext2-rev0": ("-t", "ext2", "-r", "0", "-b", "1024"),
    "ext2-no-filetype": ("-t", "ext2", "-b", "4096", "-O", "^filetype,^sparse_super,^resize_inode"),
    "ext3": ("-t", "ext3", "-b", "2048"),
    "ext4": ("-t", "ext4"),
    "ext4-old": ("-t", "ext4", "-b", "1024", "-I", "128", "-O", "^64bit,^metadata_csum,uninit_bg"),
    "ext4-no-extents": ("-t", "ext4", "-b", "1024", "-O", "^extents,^64bit,^metadata_csum"),
    "ext4-no-flex": ("-t", "ext4", "-b", "1024", "-g", "512", "-O", "^flex_bg,^resize_inode,^metadata_csum"),
    "ext4-inline": ("-t", "ext4", "-O", "inline_data"),
    "ext4-inline-512": ("-t", "ext4", "-b", "1024", "-I", "512", "-O", "inline_data"),
    "ext4-inline-1024": ("-t", "ext4", "-I", "1024", "-O", "inline_data,^metadata_csum"),
    "ext4-bigalloc": ("-t", "ext4", "-O", "bigalloc", "-C", "16384"),
    "ext4-bigalloc-1k": ("-t", "ext4", "-b", "1024", "-C", "8192", "-g", "2048", "-O", "bigalloc,meta_bg,^resize_inode"),
    "ext4-meta-bg": ("-t", "ext4", "-b", "1024", "-g", "512", "-N", "4096", "-O", "meta_bg,^resize_inode"),
    "ext4-meta-bg-32": ("-t", "ext4", "-b", "1024", "-g", "512", "-N", "4096", "-O", "meta_bg,^resize_inode,^64bit,^flex_bg"),
    "ext4-sparse2": ("-t", "ext4", "-b", "1024", "-g", "512", "-N", "4096", "-O", "sparse_super2,^sparse_super,meta_bg,^resize_inode"),
    "ext4-64k": ("-t", "ext4", "-b", "65536"),
    "ext4-64k-inodes": ("-t", "ext4", "-b", "65536", "-I", "4096", "-O", "^has_journal"),
    "ext4-all": ("-t", "ext4", "-O", "metadata_csum_seed,large_dir,casefold,encrypt,mmp,quota,project,verity,ea_inode,orphan_file,stable_inodes"),
}


def make(program, path, *options, folder=None, size=64 * MIB):
    """A file system in a file."""
    filled = ("-d", str(folder)) if folder else ()
    with path.open("wb") as file:
        file.truncate(size)
    command = [
        program("mke2fs", first="/sbin"),
        "-q",
        "-F",
        "-U",
        "01234567-89ab-4cde-8f01-23456789abcd",
        "-E",
        "hash_seed=01234567-89ab-4cde-8f01-23456789abcd",
    ]
    subprocess.run([*command, *options, *filled, str(path)], check=True, capture_output=True)
    return path


def debugfs(program, path, *commands):
    """What debugfs says when it is told to do these things."""
    script = path.with_suffix(".debugfs")
    script.write_text("\n".join(commands) + "\n", encoding="utf-8")
    done = subprocess.run([program("debugfs", first="/sbin"), "-w", "-f", str(script), str(path)], check=True, capture_output=True)
    return done.stdout.decode("utf-8", "replace")


def dumped(program, path, name):
    """The digest of what debugfs finds in a file."""
    out = path.with_suffix(".dump")
    debugfs(program, path, f"dump {name} {out}")
    return hashlib.sha256(out.read_bytes()).hexdigest()


def opened(path):
    return Ext(FileStorage(path))


def digest(filesystem, path):
    place = Tree(filesystem).find(path)
    storage = filesystem.content(place.node)
    return hashlib.sha256(storage.read_exact(0, storage.size, path)).hexdigest()


@pytest.fixture(scope="session")
def folder(trees, tmp_path_factory):
    made = tmp_path_factory.mktemp("ext") / "tree"
    trees.build_tree(made, 7, 40, crowded=300)
    return made


@pytest.fixture(scope="session")
def filled(folder, program, tmp_path_factory):
    """filled(shape) gives an image with the folder in it."""
    made = {}
    place = tmp_path_factory.mktemp("ext")

    def filled(shape):
        if shape not in made:
            made[shape] = make(program, place / f"{shape}.img", *SHAPES[shape], "-L", "a label", "-M", "/somewhere", folder=folder)
        return made[shape]

    return filled


@pytest.mark.parametrize("shape", SHAPES)
def test_all_that_was_put_in_is_found(shape, filled, folder, trees, read_all, program):
    image = filled(shape)
    filesystem = opened(image)
    expected = {**trees.contents(folder), "lost+found": "/"}
    if "inline" in shape:  # mke2fs 1.47.0 cuts files that end with a hole, as debugfs sees, too
        expected["sparse.bin"] = dumped(program, image, "/sparse.bin")
    assert read_all(filesystem) == expected
    assert filesystem.warnings == []


@pytest.mark.parametrize("shape", SHAPES)
def test_signature_is_what_blkid_says(shape, filled, program):
    image = filled(shape)
    said = subprocess.run([program("blkid", first="/sbin"), "-p", "-o", "export", str(image)], check=True, capture_output=True, text=True).stdout
    words = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    found = identify(FileStorage(image))
    assert (found.type, found.usage, found.version) == (words["TYPE"], words["USAGE"], words["VERSION"])
    assert (found.label, found.uuid) == (words["LABEL"].replace("\\", ""), words["UUID"])
    facts = subprocess.run([program("dumpe2fs", first="/sbin"), "-h", str(image)], check=True, capture_output=True, text=True).stdout
    numbers = dict(re.findall(r"^(Block count|Block size): +([0-9]+)$", facts, re.M))
    assert found.size == int(numbers["Block count"]) * int(numbers["Block size"])


def test_files_in_many_pieces(program, tmp_path):
    """Trees of extents with two levels above the extents; lists of lists of blocks."""
    chance = random.Random(3)
    folder = tmp_path / "tree"
    folder.mkdir()
    for number in range(1000):
        (folder / f"f{number:04}").write_bytes(b"x")
    (tmp_path / "large").write_bytes(chance.randbytes(700 * 1024 + 77))
    for shape in ("ext4", "ext2"):
        image = make(program, tmp_path / f"{shape}.img", "-t", shape, "-b", "1024", folder=folder, size=8 * MIB)
        debugfs(program, image, *(f"rm /f{number:04}" for number in range(0, 1000, 2)), f"write {tmp_path}/large /large")
        filesystem = opened(image)
        inode = Tree(filesystem).find("/large").node.detail
        if shape == "ext4":
            assert EXTENT_HEADER.unpack(inode.fields.i_block).eh_depth == 2
        assert digest(filesystem, "/large") == hashlib.sha256((tmp_path / "large").read_bytes()).hexdigest() == dumped(program, image, "/large")


def test_lists_of_lists_of_lists_and_holes(program, tmp_path):
    """A file of 1 KiB blocks needs all three kinds of lists from 65 MiB; what lies between is a hole in our eyes, too."""
    folder = tmp_path / "tree"
    folder.mkdir()
    with (folder / "large").open("wb") as file:
        for place in (0, 11 * 1024, 13 * 1024, 300 * 1024, 70 * MIB, 90 * MIB + 5):
            file.seek(place)
            file.write(b"data at %d" % place)
        file.truncate(100 * MIB)
    for shape in ("ext2", "ext4"):
        image = make(program, tmp_path / f"{shape}.img", "-t", shape, "-b", "1024", folder=folder, size=4 * MIB)
        filesystem = opened(image)
        storage = filesystem.content(Tree(filesystem).find("/large").node)
        ranges = list(storage.data_ranges())
        assert storage.size == 100 * MIB
        assert sum(length for _start, length in ranges) == storage.allocated() <= 64 * 1024
        assert digest(filesystem, "/large") == hashlib.sha256((folder / "large").read_bytes()).hexdigest()


def test_directories_with_an_index_of_two_levels(program, tmp_path):
    folder = tmp_path / "tree"
    folder.mkdir()
    names = {f"{number:05}{'n' * 190}".encode() for number in range(900)}
    for name in names:
        (folder / name.decode()).touch()
    image = make(program, tmp_path / "image", "-t", "ext4", "-b", "1024", "-N", "1200", folder=folder, size=8 * MIB)
    done = subprocess.run([program("e2fsck", first="/sbin"), "-fyD", str(image)], check=False, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout
    filesystem = opened(image)
    assert filesystem.root.detail.has(FLAG_INDEX)
    assert "Indirect levels: 1" in debugfs(program, image, "htree_dump /")
    assert {name for name, _key in filesystem.listing(filesystem.root)} == names | {b"lost+found"}
    assert filesystem.child(filesystem.root, min(names)) is not None
    assert filesystem.child(filesystem.root, b"missing") is None


def test_reserved_blocks_are_a_hole(program, tmp_path):
    """What fallocate(2) reserved and nobody wrote is on the disk, with whatever was there."""
    image = make(program, tmp_path / "image", "-t", "ext4", "-b", "1024", size=4 * MIB)
    (tmp_path / "small").write_bytes(b"s" * 3000)
    debugfs(program, image, f"write {tmp_path}/small /small", "fallocate /small 0 99", "set_inode_field /small size 102400")
    filesystem = opened(image)
    storage = filesystem.content(Tree(filesystem).find("/small").node)
    assert list(storage.data_ranges()) == [(0, 3072)]
    assert storage.read_exact(0, 102400, "small") == b"s" * 3000 + bytes(99400)


def test_encrypted_files_alone_are_refused(program, tmp_path):
    image = make(program, tmp_path / "image", "-t", "ext4", "-O", "encrypt", size=4 * MIB)
    (tmp_path / "small").write_bytes(b"content")
    commands = [f"write {tmp_path}/small {name}" for name in ("plain", "secret")]
    debugfs(program, image, "mkdir dir", *commands, "set_inode_field secret flags 0x80800", "set_inode_field dir flags 0x80800")
    filesystem = opened(image)
    tree = Tree(filesystem)
    assert tree.read("/plain", 100) == b"content"
    with pytest.raises(UnsupportedImage, match="is encrypted"):
        tree.read("/secret", 100)
    with pytest.raises(UnsupportedImage, match="is encrypted"):
        tree.names("/dir")


def test_directories_that_do_not_tell_upper_from_lower_case(program, tmp_path):
    image = make(program, tmp_path / "image", "-t", "ext4", "-O", "casefold", size=4 * MIB)
    (tmp_path / "small").write_bytes(b"content")
    debugfs(program, image, "mkdir dir", f"write {tmp_path}/small dir/Größe", f"write {tmp_path}/small Other", "set_inode_field dir flags 0x40080000")
    tree = Tree(opened(image))
    assert tree.read("/dir/GRÖSSE", 100) == b"content"
    assert not tree.exists("/dir/Grösser")
    assert not tree.exists("/other")


def test_other_files_are_named(program, tmp_path):
    image = make(program, tmp_path / "image", "-t", "ext4", size=4 * MIB)
    debugfs(program, image, "mknod pipe p", "mknod disk b 8 1")
    kinds = {place.path: place.node.kind for place in Tree(opened(image)).walk()}
    assert kinds == {"/lost+found": "directory", "/pipe": "other", "/disk": "other"}


@pytest.mark.parametrize(
    ("command", "warning"),
    [
        ("feature needs_recovery", NOT_REPLAYED),
        ("set_super_value state 0", "the ext4 file system was not unmounted cleanly: it may be inconsistent"),
        ("set_super_value state 3", "the ext4 file system is marked as having errors: e2fsck was not run since they were found"),
    ],
)
def test_what_is_not_as_it_should_be_is_told(command, warning, program, tmp_path):
    image = make(program, tmp_path / "image", "-t", "ext4", size=4 * MIB)
    debugfs(program, image, command)
    assert identify(FileStorage(image)).warnings == (warning,)
    assert opened(image).warnings == [warning]


def test_unknown_features_are_named(program, tmp_path):
    image = make(program, tmp_path / "image", "-t", "ext4", "-O", "^metadata_csum", size=4 * MIB)
    debugfs(program, image, "set_super_value feature_incompat 0x480012c3")
    with pytest.raises(UnsupportedImage, match=r"compression, dirdata, the unknown feature 0x8000000, the unknown feature 0x40000000$"):
        opened(image)


def test_a_journal_of_its_own_is_no_file_system(program, tmp_path):
    image = make(program, tmp_path / "image", "-O", "journal_dev", "-L", "journal", size=4 * MIB)
    found = identify(FileStorage(image))
    assert (found.type, found.usage, found.label) == ("jbd", "other", "journal")
    with pytest.raises(UnsupportedImage, match="journal_dev"):
        opened(image)


def patched(program, tmp_path, places, *options):
    """An ext4 file system with one file, and changed bytes: {place: bytes}."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(b"content" * 1000)
    data = bytearray(make(program, tmp_path / "image", "-t", "ext4", "-b", "1024", *options, folder=tmp_path / "tree", size=4 * MIB).read_bytes())
    for place, new in places(Ext(Memory(bytes(data)))).items():
        data[place : place + len(new)] = new
    return Memory(bytes(data))


def file_node(filesystem):
    return Tree(filesystem).find("/file").node


DAMAGES = {
    "superblock": (lambda filesystem: {1024 + 0x88: b"x"}, "the checksum of the superblock is wrong"),
    "descriptor": (lambda filesystem: {2048 + 0x0C: b"\xff"}, "the checksum of the descriptor of block group 0 is wrong"),
    "inode": (lambda filesystem: {file_node(filesystem).detail.offset + 8: b"\xff\xfe"}, "the checksum of inode 12 is wrong"),
    "directory": (lambda filesystem: {next(iter(filesystem._mapped(filesystem.root.detail)._runs())).place + 60: b"\xff"}, "the checksum of directory 2"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_checksums_find_damage(damage, program, tmp_path):
    places, message = DAMAGES[damage]
    with pytest.raises(CorruptImage, match=message):
        list(Tree(Ext(patched(program, tmp_path, places))).walk())


@pytest.mark.parametrize(
    ("offset", "value", "message"),
    [
        (0x00, 0, "cannot have 0 of them"),
        (0x14, 0xFFFFFFFF, "end before the first one with data"),
        (0x20, 0, "a block group cannot have 0 blocks"),
        (0x28, 0xFFFFFFFF, "and 4294967295 inodes"),
        (0x58, 0x7F, "inodes cannot have 127 bytes"),
        (0xFC, 0x00210001, "group descriptors cannot have 33 bytes"),
    ],
)
def test_impossible_superblocks_are_refused(offset, value, message, program, tmp_path):
    image = patched(program, tmp_path, lambda filesystem: {1024 + offset: struct.pack("<I", value)}, "-O", "^metadata_csum,64bit")
    with pytest.raises(CorruptImage, match=message):
        Ext(image)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (struct.pack("<HHHHI", 0xF30B, 1, 4, 0, 0), "is damaged"),
        (struct.pack("<HHHHI", 0xF30A, 5, 4, 0, 0), "is damaged"),
        (struct.pack("<HHHHI", 0xF30A, 1, 5, 0, 0), "is damaged"),
        (struct.pack("<HHHHI", 0xF30A, 1, 4, 6, 0), "has 6 levels"),
        (struct.pack("<HHHHI IHHI IHHI", 0xF30A, 2, 4, 0, 0, 5, 1, 0, 1000, 4, 1, 0, 1001), "is not in the order"),
        (struct.pack("<HHHHI IHHI", 0xF30A, 1, 4, 0, 0, 0, 0, 0, 1000), "without blocks"),
        (struct.pack("<HHHHI IHHI", 0xF30A, 1, 4, 0, 0, 0, 9, 1, 1000), "of 4096"),
        (struct.pack("<HHHHI IHHI", 0xF30A, 1, 4, 0, 0, 0, 9, 0, 4090), "of 4096"),
        (struct.pack("<HHHHI IHHI", 0xF30A, 1, 4, 0, 0, 0xFFFFFFFF, 9, 0, 1000), "is not in the order"),
        (struct.pack("<HHHHI IIHH", 0xF30A, 1, 4, 1, 0, 0, 3000, 0, 0), "is damaged"),
    ],
)
def test_damaged_trees_of_extents_are_refused(tree, message, program, tmp_path):
    image = patched(program, tmp_path, lambda filesystem: {file_node(filesystem).detail.offset + 0x28: tree}, "-O", "^metadata_csum")
    with pytest.raises(CorruptImage, match=f"the map of inode 12 .*{message}"):
        digest(Ext(image), "/file")


@pytest.mark.parametrize("level", [2, 3])
def test_lists_that_name_themselves_are_refused(level, program, tmp_path):
    def loop(filesystem):
        offset = file_node(filesystem).detail.offset
        lists = {offset + 0x28 + 4 * (11 + level): struct.pack("<I", 3000), offset + 4: struct.pack("<I", 1 << 30)}
        return {**lists, 3000 * 1024: struct.pack("<I", 3000) * 256}

    image = patched(program, tmp_path, loop, "-O", "^metadata_csum,^extents,^64bit")
    with pytest.raises(CorruptImage, match="has block 3000 twice"):
        digest(Ext(image), "/file")


def test_directories_have_bounds(program, tmp_path, monkeypatch):
    filesystem = Ext(patched(program, tmp_path, lambda filesystem: {}))
    assert len(list(filesystem.listing(filesystem.root))) == 2
    monkeypatch.setattr(directories, "MAX_NAMES", 1)
    with pytest.raises(LimitExceeded, match="more than 1 names"):
        list(filesystem.listing(filesystem.root))
    monkeypatch.setattr(directories, "MAX_DIRECTORY", 1000)
    with pytest.raises(LimitExceeded, match="1000 are looked at"):
        list(filesystem.listing(filesystem.root))


def test_what_is_no_ext_is_none():
    assert identify(Memory(b"")) is None
    assert identify(Memory(bytes(4096))) is None
    with pytest.raises(InvalidImage):
        Ext(Memory(bytes(4096)))


def test_checksum_is_that_of_ext4():
    """crc32c(~0, "123456789") without the last inversion: the check value of CRC-32C inverted."""
    assert checksum(0xFFFFFFFF, b"123456789") == 0xE3069283 ^ 0xFFFFFFFF


def test_damaged_file_systems_are_read_or_refused(program):
    """A small slice of tests/tools/fuzz_filesystems; always the same mutants."""
    program("mke2fs", first="/sbin")
    done = subprocess.run([sys.executable, FUZZ, "ext", "--count", "42"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    counts = dict((what, int(number)) for number, what in re.findall(r"([0-9]+) ([a-z]+ ?[a-z]*)", done.stdout.splitlines()[0]))
    assert counts["mutants"] == 42
    assert counts["same files"] > counts["lost files"] + counts["refused files"] + counts["differing files"] > 0
