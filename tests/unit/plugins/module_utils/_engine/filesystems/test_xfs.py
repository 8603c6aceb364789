# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""XFS as mkfs.xfs, which can fill a file system, and Linux write it; judged by what was put in, and by xfs_db, xfs_logprint and blkid."""

from __future__ import annotations

import contextlib
import os
import random
import re
import subprocess

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.tree import Tree
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.xfs.inodes import extents
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.xfs.reader import UNCLEAN, Xfs
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.xfs.superblock import CRC_OFFSET, identify
from ansible_collections.vmimage.prep.plugins.module_utils._engine.crc32c import crc32c
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

MIB = 1 << 20
PLAIN_NAMES = ("a", "README", "ünïcode-ß", "日本語", "UPPER.TXT", "many.dots.in.name", "x" * 200, "trailing~", "#hash")
VERSION_4, VERSION_5 = ("-m", "crc=0"), ("-m", "crc=1")
SHAPES = {
    "v5": VERSION_5,
    "v5-old": ("-m", "crc=1,reflink=0,finobt=0,bigtime=0", "-i", "sparse=0"),
    "v5-nrext64": ("-i", "nrext64=1,size=1024"),
    "v5-blocks-1k-dir-8k": ("-b", "size=1k", "-n", "size=8k"),
    "v5-dir-64k": ("-n", "size=64k", "-i", "size=2048"),
    "v5-sectors-4k": ("-s", "size=4096"),
    "v4": VERSION_4,
    "v4-blocks-512": (*VERSION_4, "-b", "size=512", "-i", "size=256"),
    "v4-no-ftype-dir-16k": (*VERSION_4, "-n", "ftype=0,size=16k", "-b", "size=1k"),
    "v4-log-1": (*VERSION_4, "-l", "version=1", "-i", "size=2048"),
}


def make(program, path, *options, size=100 * MIB):
    """An empty or filled file system, smaller than mkfs.xfs likes it."""
    with path.open("wb") as file:
        file.truncate(size)
    subprocess.run([program("mkfs.xfs"), "-q", "--unsupported", *options, str(path)], check=True, capture_output=True)
    return path


def prototype(folder):
    """A folder as mkfs.xfs takes it: see mkfs.xfs(8), section -p. Names with blanks are not to be had."""
    lines = ["/dev/null", "0 0"]

    def add(path, name, depth):
        mode = f"{path.lstat().st_mode & 0o777:03o}"
        if path.is_symlink():
            lines.append(f"{name} l--{mode} 0 0 {os.readlink(path)}")
        elif path.is_dir():
            lines.append(f"{name} d--{mode} 0 0".strip())
            for below in sorted(path.iterdir()):
                add(below, below.name, depth + 1)
            lines.append("$")
        else:
            lines.append(f"{name} ---{mode} 0 0 {path}")

    add(folder, "", 0)
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def folder(trees, tmp_path_factory):
    """A folder that mkfs.xfs can take: long targets of links it writes as no kernel reads them."""
    made = tmp_path_factory.mktemp("xfs") / "tree"
    trees.build_tree(made, 11, 40, names=PLAIN_NAMES, crowded=1500)
    for link in made.rglob("link-*"):
        if len(os.readlink(link)) > 60:
            link.unlink()
    return made


@pytest.fixture(scope="session")
def filled(folder, program, tmp_path_factory):
    """filled(shape) gives an image with the folder in it."""
    made = {}
    proto = tmp_path_factory.mktemp("xfs") / "proto"
    proto.write_text(prototype(folder), encoding="utf-8")

    def filled(shape):
        if shape not in made:
            made[shape] = make(program, proto.with_name(f"{shape}.img"), *SHAPES[shape], "-L", "a label", "-p", str(proto))
        return made[shape]

    return filled


@pytest.fixture
def mounted(program, tmp_path):
    """A context: mounted(image, *options) is the folder where Linux has mounted it."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    place = tmp_path / "mnt"
    place.mkdir()

    @contextlib.contextmanager
    def mounted(image, options="loop"):
        done = subprocess.run([program("mount"), "-t", "xfs", "-o", options, str(image), str(place)], check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no loop device or no XFS in this kernel: {done.stderr.strip()}")
        try:
            yield place
        finally:
            subprocess.run([program("umount"), str(place)], check=True)

    return mounted


def opened(path):
    return Xfs(FileStorage(path))


@pytest.mark.parametrize("shape", SHAPES)
def test_all_that_was_put_in_is_found(shape, filled, folder, trees, read_all):
    filesystem = opened(filled(shape))
    assert read_all(filesystem) == trees.contents(folder)
    assert filesystem.warnings == []


@pytest.mark.parametrize("shape", ["v5", "v5-sectors-4k", "v4-blocks-512"])
def test_signature_is_what_blkid_says(shape, filled, program):
    image = filled(shape)
    said = subprocess.run([program("blkid"), "-p", "-o", "export", str(image)], check=True, capture_output=True, text=True).stdout
    words = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    found = identify(FileStorage(image))
    assert (found.type, found.usage, found.label, found.uuid) == ("xfs", words["USAGE"], words["LABEL"].replace("\\", ""), words["UUID"])
    assert found.size == 100 * MIB


def test_modes_are_those_of_the_files(filled, folder):
    tree = Tree(opened(filled("v5")))
    paths = [path for path in folder.rglob("*") if not path.is_symlink()]
    assert {path: tree.find(f"/{path.relative_to(folder)}").node.mode for path in paths} == {path: path.stat().st_mode & 0o7777 for path in paths}


@pytest.mark.parametrize("shape", ["v4", "v4-blocks-512", "v5"])
def test_a_directory_in_a_tree_of_extents_lies_where_xfs_db_says(shape, filled, program):
    filesystem = opened(filled(shape))
    directory = Tree(filesystem).find("/crowded").node
    assert directory.detail.fields.di_format == 3
    said = subprocess.run(
        [program("xfs_db"), "-r", "-c", f"inode {directory.key}", "-c", "bmap -d", str(filled(shape))], check=True, capture_output=True, text=True
    )
    rows = [tuple(map(int, row)) for row in re.findall(r"data offset (\d+) startblock (\d+) .*?count (\d+) flag 0", said.stdout)]
    found = [tuple(extent[:3]) for extent in extents(filesystem._blocks, directory.detail)]
    assert len(found) > 10
    assert found == rows


ROUGH = ("-b", "size=1k")


def scatter(path, pieces, size=1024):
    """A file of which every other block is a hole; returns what is in it."""
    chance = random.Random(5)
    with path.open("wb") as file:
        for number in range(pieces):
            file.seek(2 * size * number)
            file.write(chance.randbytes(size))


@pytest.mark.parametrize("options", [(), ROUGH, ("-n", "size=32k", "-i", "size=2048"), ("-m", "rmapbt=1", "-i", "nrext64=1")], ids=" ".join)
def test_what_linux_wrote_is_found(options, program, tmp_path, mounted, trees, read_all):
    image = make(program, tmp_path / "disk.img", *options)
    with mounted(image) as place:
        trees.build_tree(place, 23, 40, crowded=2000)
        scatter(place / "scattered.bin", 3000)
        for path in sorted((place / "crowded").iterdir())[100:1900:2]:  # holes in the blocks of the directory
            path.unlink()
        for path in sorted((place / "crowded").iterdir())[200:700]:  # and in the directory
            path.unlink()
        (place / "long-links").mkdir()
        for length in (300, 336, 337, 967, 968, 969, 1023):
            (place / "long-links" / str(length)).symlink_to((("t" * 50 + "/") * 21)[:length])
        expected = trees.contents(place)
    filesystem = opened(image)
    assert filesystem.warnings == []
    assert read_all(filesystem) == expected


def test_a_tree_of_extents_of_three_levels(program, tmp_path, mounted):
    image = make(program, tmp_path / "disk.img", *ROUGH)
    with mounted(image) as place:
        scatter(place / "file", 3000)
        expected = (place / "file").read_bytes()
    filesystem = opened(image)
    node = Tree(filesystem).find("/file").node
    assert node.detail.fork[:2] == b"\0\2"
    content = filesystem.content(node)
    assert content.read_exact(0, node.size, "file") == expected
    assert list(content.data_ranges()) == [(2048 * number, 1024) for number in range(3000)]
    chance = random.Random(1)
    for start in chance.sample(range(node.size), 50):
        assert content.read_at(start, 5000) == expected[start : start + 5000]


def test_what_is_allocated_but_not_written_is_zeros(program, tmp_path, mounted):
    image = make(program, tmp_path / "disk.img")
    with mounted(image) as place, (place / "file").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, MIB)
        file.seek(400_000)
        file.write(b"written" * 1000)
        file.truncate(3 * MIB)
    filesystem = opened(image)
    content = filesystem.content(Tree(filesystem).find("/file").node)
    assert content.size == 3 * MIB
    assert list(content.data_ranges()) == [(397_312, 12_288)]
    assert content.read_exact(0, 3 * MIB, "file") == (bytes(400_000) + b"written" * 1000).ljust(3 * MIB, b"\0")


def test_a_log_that_has_to_be_replayed_is_told(program, tmp_path, mounted):
    def log_state(path):
        said = subprocess.run([program("xfs_logprint"), "-t", str(path)], check=True, capture_output=True, text=True).stdout
        return re.search(r"state: <(\w+)>", said)[1]

    image = make(program, tmp_path / "disk.img")
    states = []
    for turn in range(3):
        with mounted(image) as place:
            for number in range(60):
                (place / f"{turn}-{number}").write_bytes(b"content")
            os.sync()
            copy = tmp_path / f"{turn}.img"
            subprocess.run([program("cp"), "--sparse=always", str(image), str(copy)], check=True)
        states += [(log_state(path), opened(path).warnings, opened(path).signature.warnings) for path in (copy, image)]
    assert states == [("DIRTY", [UNCLEAN], (UNCLEAN,)), ("CLEAN", [], ())] * 3


def xfs_db(program, image, *commands):
    """Change a file system as its tool does it, checksums included."""
    arguments = [part for command in commands for part in ("-c", command)]
    subprocess.run([program("xfs_db"), "-x", *arguments, str(image)], check=True, capture_output=True)


@pytest.fixture
def small(program, tmp_path):
    """small(*options) gives an image with three files."""
    (tmp_path / "file").write_bytes(b"content")
    proto = tmp_path / "proto"
    proto.write_text(f"/dev/null\n0 0\nd--755 0 0\nFile ---644 0 0 {tmp_path}/file\nlink l--777 0 0 File\nbelow d--700 0 0\n$\n$\n")
    return lambda *options: make(program, tmp_path / "small.img", *options, "-p", str(proto))


def test_a_changed_uuid_leaves_the_blocks_their_old_one(small, program):
    image = small()
    subprocess.run([program("xfs_db"), "-x", "-c", "uuid 01234567-89ab-4def-8123-456789abcdef", str(image)], check=True, capture_output=True)
    filesystem = opened(image)
    assert filesystem.signature.uuid == "01234567-89ab-4def-8123-456789abcdef"
    assert Tree(filesystem).read("/link", 100) == b"content"


def test_names_without_case(small):
    tree = Tree(opened(small("-n", "version=ci")))
    assert tree.read("/FILE", 100) == b"content"
    assert tree.find("/filee") is None
    assert Tree(opened(small())).find("/FILE") is None


def test_a_file_on_the_realtime_device_is_not_read(small, program):
    image = small()
    number = Tree(opened(image)).find("/File").node.key
    xfs_db(program, image, f"inode {number}", "write core.realtime 1")
    tree = Tree(opened(image))
    with pytest.raises(UnsupportedImage, match="realtime"):
        tree.read("/File", 100)


def with_features(image, bits):
    data = bytearray(image.read_bytes())
    data[216:220] = (int.from_bytes(data[216:220], "big") | bits).to_bytes(4, "big")
    data[CRC_OFFSET : CRC_OFFSET + 4] = bytes(4)
    data[CRC_OFFSET : CRC_OFFSET + 4] = crc32c(bytes(data[:512])).to_bytes(4, "little")
    return Memory(bytes(data), "volume")


def test_features_of_newer_kernels(small):
    image = small()
    assert Tree(Xfs(with_features(image, 1 << 6 | 1 << 7 | 1 << 8))).read("/File", 100) == b"content"
    with pytest.raises(UnsupportedImage, match="zoned, bit 17 "):
        Xfs(with_features(image, 1 << 9 | 1 << 17))
    found = identify(with_features(image, 1 << 17))
    assert found.type == "xfs"
    assert "bit 17" in found.warnings[0]
    assert "xfs_repair" in Xfs(with_features(image, 1 << 4)).warnings[0]


def test_what_is_not_there(small):
    data = small().read_bytes()
    assert identify(Memory(b"")) is None
    assert identify(Memory(b"XFSB")) is None
    assert identify(Memory(bytes(4096))) is None
    assert "truncated" in Xfs(Memory(data[: 50 * MIB])).warnings[0]
    with pytest.raises(CorruptImage, match="checksum"):
        Xfs(Memory(data[:200] + b"!" + data[201:]))


class Damaged(Memory):
    """An image with other bytes in some places, which notes what is read."""

    def __init__(self, data):
        super().__init__(data, "volume")
        self.damage = []
        self.seen = []

    def read_at(self, offset, length):
        self.seen.append((offset, length))
        data = super().read_at(offset, length)
        for at, value in self.damage:
            if offset <= at and at + len(value) <= offset + length:
                data = data[: at - offset] + value + data[at - offset + len(value) :]
        return data


def mutants(storage, read_all, count):
    """What is read of an image with some metadata changed, or the error: (damage, result) for each of many changes."""
    filesystem = Xfs(storage)
    storage.seen = [(0, 264)]  # of the superblock, without the log
    for place in Tree(filesystem).walk():
        if place.node.kind == "symlink":
            filesystem.target(place.node)
        elif place.node.kind == "file":
            filesystem.content(place.node)
    spots = sorted(set(storage.seen))
    chance = random.Random(77)
    for _turn in range(count):
        storage.damage = []
        for _change in range(chance.choice((1, 1, 3))):
            offset, length = chance.choice(spots)
            width = min(length, chance.choice((1, 2, 4, 8)))
            at = offset + chance.randrange(min(length, chance.choice((32, 128, 4096))) - width + 1)
            value = chance.choice((bytes(width), b"\xff" * width, chance.randbytes(width), (1).to_bytes(width, "big"), storage.read_at(at, width)[::-1]))
            storage.damage.append((at, value))
        try:
            yield storage.damage, read_all(Xfs(storage))
        except ImageError as error:
            yield storage.damage, error


def test_damage_in_version_5_is_found_or_harmless(small, read_all):
    data = small("-d", "agcount=1").read_bytes()
    expected = read_all(Xfs(Memory(data)))
    results = list(mutants(Damaged(data), read_all, 300))
    assert [damage for damage, found in results if isinstance(found, dict) and found != expected] == []
    assert sum(isinstance(found, CorruptImage) for _damage, found in results) > 200


@pytest.mark.parametrize(("shape", "count"), [("v4-blocks-512", 40), ("v4-no-ftype-dir-16k", 40)])
def test_damage_in_version_4_is_no_more_than_an_error(shape, count, filled):
    def look(filesystem):
        for place in Tree(filesystem).walk():
            if place.node.kind == "symlink":
                filesystem.target(place.node)
            elif place.node.kind == "file":
                filesystem.content(place.node).read_at(0, 100)

    found = [result for _damage, result in mutants(Damaged(filled(shape).read_bytes()), look, count)]
    assert any(isinstance(result, ImageError) for result in found)
    assert None in found
