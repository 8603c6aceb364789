# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""btrfs on volumes that are built item by item: what is rare, and what is wrong. The programs' volumes are in test_btrfs_programs.py."""

from __future__ import annotations

import importlib
import random
import stat
import struct
import subprocess
import zlib

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, InvalidImage, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.btrfs.reader import Btrfs
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.btrfs.superblock import identify
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.tree import Tree
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

DIRECTORY = stat.S_IFDIR | 0o755
FS_ROOT = (5, 132, 0)
NAMESAKES = (b"n1371838", b"n2000402")


@pytest.fixture(scope="session")
def make(trees):  # pylint: disable=unused-argument  # for the path of the tools
    """The module that builds volumes."""
    return importlib.import_module("build_btrfs")


@pytest.fixture(scope="session")
def blocks(trees):  # pylint: disable=unused-argument
    """The module that finds the blocks with checksums."""
    return importlib.import_module("btrfs_blocks")


def content(filesystem, path="/file"):
    place = Tree(filesystem).find(path)
    storage = filesystem.content(place.node)
    return storage.read_exact(0, storage.size, path)


def read(image, path="/file"):
    return content(Btrfs(Memory(image)), path)


def one_file(make, volume, extents, size):
    """An image with one file."""
    tree = make.files({b"file": extents}, {b"file": size})
    return volume.finish({FS_ROOT: make.root(volume.leaf(tree))})


def test_what_is_built_is_what_btrfs_reads(make, program, tmp_path):
    files = {b"hello": b"hello, world\n", b"empty": b"", NAMESAKES[0]: b"one", NAMESAKES[1]: b"another"}
    (tmp_path / "image").write_bytes(make.build(make.files(files)))
    subprocess.run([program("btrfs"), "restore", tmp_path / "image", tmp_path], check=True, capture_output=True)
    assert {path.name.encode(): path.read_bytes() for path in tmp_path.iterdir() if path.name != "image"} == files


@pytest.mark.parametrize("csum_type", range(4))
def test_every_type_of_checksum(make, csum_type):
    image = bytearray(make.build(make.files({b"file": b"hello"}), csum_type=csum_type))
    assert read(image) == b"hello"
    image[image.index(b"hello")] ^= 1
    with pytest.raises(CorruptImage, match="does not agree with its checksum"):
        read(image)


def test_the_signature(make):
    found = identify(Memory(make.build(make.files({}))))
    assert (found.type, found.usage, found.label) == ("btrfs", "filesystem", "built")
    assert found.uuid == "00010203-0405-0607-0809-0a0b0c0d0e0f"
    assert (found.size, found.warnings) == (make.SIZE, ())
    assert identify(Memory(make.build({}, label=b"\xff\n"))).label == "\ufffd\n"


@pytest.mark.parametrize("data", [b"", bytes(70_000), bytes(65600) + b"_BHRfS_M", bytes(1 << 20)])
def test_what_is_no_btrfs_is_not_identified(data):
    assert identify(Memory(data)) is None
    with pytest.raises(CorruptImage, match="no superblock"):
        Btrfs(Memory(data))


def test_a_log_that_was_not_replayed_is_a_warning(make):
    image = make.build(make.files({b"file": b"x"}), log_root=4096)
    (warning,) = Btrfs(Memory(image)).warnings
    assert "log tree" in warning
    assert identify(Memory(image)).warnings == (warning,)


def test_a_volume_that_is_cut_is_a_warning(make):
    image = make.build(make.files({b"file": b"x"}))[: 2 << 20]
    assert read(image) == b"x"
    (warning,) = Btrfs(Memory(image)).warnings
    assert "truncated" in warning


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_devices": 2}, "2 devices"),
        ({"incompat_flags": 1 << 12}, "zoned"),
        ({"incompat_flags": 1 << 13}, "extent-tree-v2"),
        ({"incompat_flags": 1 << 14}, "raid-stripe-tree"),
        ({"incompat_flags": 1 << 40}, "bit 40"),
        ({"flags": 1 << 33}, "dump of metadata"),
        ({"flags": 1 << 35}, "interrupted"),
    ],
)
def test_what_cannot_be_read_is_named(make, changes, message):
    image = make.build(make.files({b"file": b"x"}), **changes)
    assert identify(Memory(image)).type == "btrfs"
    with pytest.raises(UnsupportedImage, match=message):
        Btrfs(Memory(image))


@pytest.mark.parametrize(
    "changes",
    [
        {"sectorsize": 0},
        {"sectorsize": 3000},
        {"nodesize": 0},
        {"nodesize": 2048},
        {"nodesize": 1 << 31},
        {"root_level": 8},
        {"chunk_root_level": 255},
        {"root_level": 1},
        {"sys_chunk_array_size": 2049},
        {"sys_chunk_array_size": 1 << 31},
        {"sys_chunk_array_size": 16},
        {"sys_chunk_array_size": 50},
        {"sys_chunk_array_size": 0},
        {"root": 5},
        {"root": (1 << 64) - 1},
        {"chunk_root": 0},
        {"generation": 8},
        {"chunk_root_generation": 6},
        {"bytenr": 4096},
    ],
    ids=str,
)
def test_a_superblock_that_contradicts_itself(make, changes):
    with pytest.raises(CorruptImage):
        Btrfs(Memory(make.build(make.files({b"file": b"x"}), **changes)))


def test_an_unknown_type_of_checksum(make):
    image = bytearray(make.build(make.files({b"file": b"x"})))
    image[(64 << 10) + 196] = 4
    assert "unknown type (4)" in identify(Memory(image)).warnings[0]
    with pytest.raises(CorruptImage, match="checksum"):
        Btrfs(Memory(image))


def test_a_damaged_superblock_is_replaced_by_its_copy(make, blocks):
    image = bytearray(make.build(make.files({b"file": b"x"}))).ljust((64 << 20) + 4096, b"\0")
    (offset, size, seal), *_others = blocks.find(image)
    first = bytes(image[offset : offset + size])
    image[offset + 300] ^= 1
    with pytest.raises(CorruptImage, match="nor does a copy"):
        Btrfs(Memory(image))
    image[64 << 20 :] = seal(first[:48] + struct.pack("<Q", 64 << 20) + first[56:])
    filesystem = Btrfs(Memory(image))
    assert content(filesystem) == b"x"
    assert "a copy of it was read" in filesystem.warnings[0]
    image[offset + 64] ^= 1  # Without a magic number it is something else, with an old superblock in it.
    assert identify(Memory(image)) is None


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (lambda make: make.chunk()[:79], "stripes"),
        (lambda make: make.chunk()[:40], "40 bytes"),
        (lambda make: bytes(8) + make.chunk()[8:], "0 bytes"),
        (lambda make: make.chunk()[:44] + bytes(2) + make.chunk()[46:], "0 stripes"),
        (lambda make: make.chunk(devid=2), "other devices"),
        (lambda make: make.chunk(physical=1 << 40), "behind the end"),
        (lambda make: make.chunk()[:24] + struct.pack("<Q", 1 << 3 | 1) + make.chunk()[32:44] + b"\2\0" + make.chunk()[46:] + bytes(32), "several devices"),
        (lambda make: make.chunk()[:24] + struct.pack("<Q", 1 << 7 | 1) + make.chunk()[32:], "several devices"),
        (lambda make: make.chunk()[:44] + b"\2\0" + make.chunk()[46:] + bytes(32), "has 2 stripes"),
    ],
)
def test_chunks_that_are_not_here(make, chunk, message):
    volume = make.Volume()
    tree = volume.leaf(make.files({b"file": b"x"}))
    image = volume.finish({FS_ROOT: make.root(tree)}, chunk_tree={(256, 228, make.LOGICAL): chunk(make)})
    with pytest.raises((CorruptImage, UnsupportedImage), match=message):
        read(image)


def test_chunks_that_overlap(make):
    volume = make.Volume()
    chunks = {(256, 228, make.LOGICAL): make.chunk(), (256, 228, make.LOGICAL + 4096): make.chunk()}
    image = volume.finish({FS_ROOT: make.root(volume.leaf(make.files({})))}, chunk_tree=chunks)
    with pytest.raises(CorruptImage, match="overlap"):
        Btrfs(Memory(image))


def test_names_with_the_same_hash(make):
    image = make.build(make.files({NAMESAKES[0]: b"one", NAMESAKES[1]: b"another"}))
    assert (256, 84, make.items.name_hash(NAMESAKES[0])) == (256, 84, make.items.name_hash(NAMESAKES[1]))
    assert [read(image, name.decode()) for name in NAMESAKES] == [b"one", b"another"]


def test_a_tree_of_several_levels(make):
    tree = make.files({b"%06d" % number: b"%d" % number for number in range(900)})
    keys = sorted(tree)
    volume = make.Volume()
    leaves = [(keys[at], volume.leaf({key: tree[key] for key in keys[at : at + 9]})) for at in range(0, len(keys), 9)]
    nodes = [(leaves[at][0], volume.node(leaves[at : at + 20])) for at in range(0, len(leaves), 20)]
    image = volume.finish({FS_ROOT: make.root(volume.node(nodes, 2), 2)})
    filesystem = Btrfs(Memory(image))
    assert [name for name, _key in filesystem.listing(filesystem.root)] == [b"%06d" % number for number in range(900)]
    assert {content(filesystem, f"/{number:06}") for number in range(900)} == {b"%d" % number for number in range(900)}
    assert filesystem.child(filesystem.root, b"000900") is None


def test_trees_that_point_to_themselves_or_twice_to_a_block(make):
    tree = make.files({b"file": b"x"})
    first = min(tree)
    volume = make.Volume()
    itself = make.METADATA + make.LOGICAL
    volume.node([(first, itself)])
    with pytest.raises(CorruptImage, match="not the one that was pointed to|level"):
        Btrfs(Memory(volume.finish({FS_ROOT: make.root(itself, 1)}))).node((5, 256))
    volume = make.Volume()
    leaf = volume.leaf(tree)
    twice = volume.node([(first, leaf), ((256, 1, 1), leaf)])
    filesystem = Btrfs(Memory(volume.finish({FS_ROOT: make.root(twice, 1)})))
    with pytest.raises(CorruptImage, match="not the one that was pointed to"):
        list(filesystem.listing(filesystem.root))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bytenr": 0}, "belongs elsewhere"),
        ({"fsid": bytes(16)}, "belongs elsewhere"),
        ({"generation": 8}, "generation 8"),
        ({"level": 1}, "level 1"),
        ({"nritems": 1 << 31}, "entries"),
        ({"nritems": 160}, "entries"),
        ({"nritems": 60}, "no order"),
    ],
    ids=str,
)
def test_tree_blocks_that_are_wrong_though_sealed(make, changes, message):
    volume = make.Volume()
    image = volume.finish({FS_ROOT: make.root(volume.leaf(make.files({b"file": b"x"}), **changes))})
    with pytest.raises(CorruptImage, match=message):
        _root = Btrfs(Memory(image)).root


@pytest.mark.parametrize(("at", "size"), [(0, 8), (3990, 8), (1 << 31, 8), (100, 1 << 31)])
def test_items_that_do_not_lie_in_their_leaf(make, at, size):
    volume = make.Volume()
    leaf = volume.block([struct.pack("<QBQII", 256, 1, 0, at, size)])
    with pytest.raises(CorruptImage, match="items that do not lie in it"):
        _root = Btrfs(Memory(volume.finish({FS_ROOT: make.root(leaf)}))).root


def test_a_second_copy_is_read_when_the_first_is_damaged(make):
    volume = make.Volume()
    leaf = volume.leaf(make.files({b"file": b"hello"}))
    twice = make.chunk()[:24] + struct.pack("<Q", 1 << 5 | 7) + make.chunk()[32:44] + b"\2\0" + make.chunk()[46:] + make.chunk(physical=make.SIZE)[48:]
    image = bytearray(volume.finish({FS_ROOT: make.root(leaf)}, chunk_tree={(256, 228, make.LOGICAL): twice}))
    image.extend(bytes(image))
    image[image.index(b"hello")] ^= 1
    filesystem = Btrfs(Memory(image))
    assert content(filesystem) == b"hello"
    assert [warning for warning in filesystem.warnings if "second copies" in warning]
    image[image.rindex(b"hello")] ^= 1
    with pytest.raises(CorruptImage, match="checksum"):
        read(image)


def test_extents_of_all_kinds(make):
    chance = random.Random(1)
    plain, packed = chance.randbytes(40_000), (chance.randbytes(100) * 700)[:65536]
    stored = zlib.compress(packed)
    volume = make.Volume()
    one, two = volume.data(0, plain.ljust(40_960, b"\0")), volume.data(65536, stored)
    extents = {
        4096: make.extent(one, 40_960, 8192),
        12_288: make.extent(one, 40_960, 4096, offset=16384, ram_bytes=40_960),
        20_480: make.extent(0, 0, 4096),
        24_576: make.extent(two, 4096, 12_288, compression=1, offset=8192, ram_bytes=65536),
        36_864: make.extent(one, 40_960, 4096, kind=2, ram_bytes=40_960),
        40_960: make.extent(two, 4096, 4096, compression=1, ram_bytes=65536),
    }
    size = 44_000
    image = one_file(make, volume, extents, size)
    expected = bytes(4096) + plain[:8192] + plain[16384:20_480] + bytes(8192) + packed[8192:20_480] + bytes(4096) + packed[:3040]
    filesystem = Btrfs(Memory(image))
    storage = filesystem.content(Tree(filesystem).find("/file").node)
    assert storage.read_at(0, size + 10) == expected
    assert list(storage.data_ranges()) == [(4096, 12_288), (24_576, 12_288), (40_960, 3040)]
    assert list(storage.data_ranges(5000, 30_000)) == [(5000, 11_384), (24_576, 5424)]
    for _try in range(200):
        begin, end = sorted(chance.randrange(size + 100) for _end in range(2))
        assert storage.read_at(begin, end - begin) == expected[begin:end]


def test_compressed_data_may_be_shorter_than_its_extent(make):
    volume = make.Volume()
    place = volume.data(0, zlib.compress(b"abc" * 2000))
    image = one_file(make, volume, {0: make.extent(place, 4096, 8192, compression=1)}, 8192)
    assert read(image) == (b"abc" * 2000).ljust(8192, b"\0")


def test_inline_data_of_all_compressions(make):
    text = b"inline " * 100
    streams = {1: zlib.compress(text.ljust(4096, b"\0")), 3: b"\x28\xb5\x2f\xfd\x00\x58" + struct.pack("<I", len(text) << 3 | 1)[:3] + text}
    lzo = b"\0" + bytes(2) + bytes((len(text) - 18 - 510,)) + text + b"\x11\0\0"
    streams[2] = struct.pack("<II", len(lzo) + 8, len(lzo)) + lzo
    for compression, stream in streams.items():
        assert read(make.build(make.files({b"file": {0: make.inline(stream, compression, len(text))}}, {b"file": len(text)}))) == text


@pytest.mark.parametrize(
    ("extents", "kind", "message"),
    [
        pytest.param(lambda make, at: {0: make.extent(at, 4096, 4096, compression=4)}, UnsupportedImage, "compression 4", id="compression"),
        pytest.param(lambda make, at: {0: b"\0" * 17 + b"\1" + make.extent(at, 4096, 4096)[18:]}, UnsupportedImage, "encrypted", id="encryption"),
        pytest.param(lambda make, at: {0: make.extent(at, 4096, 4096, compression=1)}, CorruptImage, "damaged data", id="zlib"),
        pytest.param(lambda make, at: {0: make.extent(at, 4096, 4096, compression=2)}, CorruptImage, "damaged data", id="lzo"),
        pytest.param(lambda make, at: {0: make.extent(at, 4096, 4096, compression=3)}, CorruptImage, "damaged data", id="zstd"),
        pytest.param(lambda make, at: {0: make.extent(at, 4096, 8192)}, CorruptImage, "longer than", id="longer than what is stored"),
        pytest.param(lambda make, at: {0: make.extent(at, 4096, 4096, offset=4096, ram_bytes=4096)}, CorruptImage, "longer than", id="offset"),
        pytest.param(lambda make, at: {0: make.extent(at, 4096, 1 << 20, compression=1)}, CorruptImage, "in memory", id="large in memory"),
        pytest.param(lambda make, at: {0: make.extent(at, 1 << 40, 4096, compression=1)}, CorruptImage, "in memory", id="large on the disk"),
        pytest.param(lambda make, at: {0: make.extent(at, 4096, 0)}, CorruptImage, "has 0 bytes", id="no bytes"),
        pytest.param(lambda make, at: {4096: make.extent(0, 0, (1 << 64) - 1)}, CorruptImage, "bytes", id="over all ends"),
        pytest.param(lambda make, at: {0: make.extent(1 << 50, 4096, 4096)}, CorruptImage, "in no chunk", id="no chunk"),
        pytest.param(lambda make, at: {0: make.extent(at, 8192, 8192), 4096: make.extent(at, 4096, 4096)}, CorruptImage, "two extents", id="overlap"),
        pytest.param(lambda make, at: {0: make.extent(at, 4096, 4096)[:52]}, CorruptImage, "52 bytes", id="cut"),
        pytest.param(lambda make, at: {0: make.extent(at, 4096, 4096)[:20]}, CorruptImage, "is cut", id="cut before its type"),
        pytest.param(lambda make, at: {0: make.extent(at, 4096, 4096, kind=3)}, CorruptImage, "type 3", id="type"),
        pytest.param(lambda make, at: {4096: make.inline(b"abc")}, CorruptImage, "inline extent at 4096", id="inline elsewhere"),
        pytest.param(lambda make, at: {0: make.inline(b"abc", 1, 1 << 40)}, CorruptImage, "inline extent", id="inline and large"),
    ],
)
def test_extents_that_are_wrong(make, extents, kind, message):
    volume = make.Volume()
    image = one_file(make, volume, extents(make, volume.data(0, b"\xff" * 8192)), 8192)
    filesystem = Btrfs(Memory(image))
    file = Tree(filesystem).find("/file").node
    with pytest.raises(kind, match=message):
        filesystem.content(file).read_at(0, 8192)


@pytest.mark.parametrize("stream", [zlib.compress(b"x" * 9000)[:-6], zlib.compress(b"x" * 4000)[:-1], zlib.compress(random.Random(1).randbytes(3000))[:2000]])
def test_zlib_data_that_is_cut(make, stream):
    volume = make.Volume()
    image = one_file(make, volume, {0: make.inline(stream, 1, 4096)}, 4096)
    with pytest.raises(CorruptImage, match="damaged data"):
        read(image)


@pytest.mark.parametrize("entry", [b"", b"a/b", b".", b"..", b"a\0b"])
def test_names_that_no_file_can_have(make, entry):
    tree = {(256, 1, 0): make.inode(DIRECTORY), (256, 96, 2): make.entry(entry, 257)}
    filesystem = Btrfs(Memory(make.build(tree)))
    with pytest.raises(CorruptImage, match="no file can have"):
        list(filesystem.listing(filesystem.root))


@pytest.mark.parametrize("target", [b"", b"a\0b", b"x" * 4096])
def test_symbolic_links_that_lead_nowhere(make, target):
    tree = make.files({b"file": b""})
    tree[257, 1, 0] = make.inode(stat.S_IFLNK | 0o777, len(target))
    tree[257, 108, 0] = make.inline(target[:3000])
    filesystem = Btrfs(Memory(make.build(tree)))
    with pytest.raises(CorruptImage, match="symbolic link"):
        filesystem.target(filesystem.node((5, 257)))


def test_inodes_that_are_missing_or_wrong(make):
    tree = make.files({b"file": b""})
    tree[258, 1, 0] = make.inode(DIRECTORY)[:100]
    tree[259, 1, 0] = make.inode(DIRECTORY, 1 << 63)
    filesystem = Btrfs(Memory(make.build(tree)))
    for inode in (258, 259, 260):
        with pytest.raises(CorruptImage, match=f"inode {inode}"):
            filesystem.node((5, inode))
    tree[256, 1, 0] = make.inode(stat.S_IFREG)
    with pytest.raises(CorruptImage, match="no directory"):
        _root = Btrfs(Memory(make.build(tree))).root


def reference(make, form, number, name):
    names = {"index": 2, "dirid": number, "sequence": 2, "name_len": len(name)}
    return form.pack(**{key: names[key] for key in form.names}) + name


def subvolumes(make, default=None, references=((5, 256, b"@", 300),)):
    """An image with a subvolume 300 in ``/@``, and another in its directory ``/deep``."""
    volume = make.Volume()
    top = {(256, 1, 0): make.inode(DIRECTORY), (256, 96, 2): make.entry(b"@", 300, 132), (256, 84, make.items.name_hash(b"@")): make.entry(b"@", 300, 132)}
    below = make.files({b"file": b"in it"})
    below[256, 96, 300] = make.entry(b"deep", 400)
    below[400, 1, 0] = make.inode(DIRECTORY)
    below[400, 12, 256] = reference(make, make.items.INODE_REFERENCE, 2, b"deep")
    roots = {
        FS_ROOT: make.root(volume.leaf(top)),
        (300, 132, 0): make.root(volume.leaf(below)),
        (301, 132, 0): make.root(volume.leaf(make.files({b"file": b"deeper"}))),
    }
    roots[302, 132, 0] = make.root(volume.leaf({}), refs=0)
    for parent, directory, name, child in references:
        roots[parent, 156, child] = roots[child, 144, parent] = reference(make, make.items.ROOT_REFERENCE, directory, name)
    if default:
        roots[6, 84, make.items.name_hash(b"default")] = make.entry(b"default", default, 132, (1 << 64) - 1)
    return Btrfs(Memory(volume.finish(roots)))


def test_subvolumes_are_directories_and_can_be_the_root(make):
    filesystem = subvolumes(make, references=((5, 256, b"@", 300), (300, 400, b"sub", 301)))
    assert filesystem.top == 5
    assert content(filesystem, "/@/file") == b"in it"
    assert filesystem.subvolumes() == [(300, "@"), (301, "@/deep/sub")]
    for which in ("@", "/@", "@/", 300):
        assert content(filesystem.subvolume(which)) == b"in it"
    for which in ("", "/", 0, 5):
        assert filesystem.subvolume(which).root == filesystem.root
    assert content(Btrfs(filesystem.storage, "/@")) == b"in it"
    assert content(filesystem.subvolume(301)) == b"deeper"
    for which in ("@home", "@/file", "@/deep", "@/file/x", 299, 302, 6, -1, 1 << 64):
        with pytest.raises(InvalidImage, match="no subvolume .*Its subvolumes are @, @/deep/sub"):
            filesystem.subvolume(which)


def test_the_default_subvolume(make):
    filesystem = subvolumes(make, default=300)
    assert (filesystem.top, content(filesystem)) == (300, b"in it")
    assert Btrfs(filesystem.storage, 5).top == 5
    with pytest.raises(CorruptImage, match="subvolume 299 is missing"):
        subvolumes(make, default=299)


def test_a_subvolume_that_hangs_elsewhere_is_an_empty_directory(make):
    filesystem = subvolumes(make, references=((5, 256, b"other", 300),))
    place = Tree(filesystem).find("/@")
    assert (place.node.kind, list(filesystem.listing(place.node)), filesystem.child(place.node, b"file")) == ("directory", [], None)


def test_subvolumes_in_each_other(make):
    circle = ((5, 256, b"@", 303), (301, 256, b"a", 300), (300, 256, b"b", 301))
    with pytest.raises(ImageError, match="in itself"):
        subvolumes(make, references=circle).subvolumes()
    with pytest.raises(CorruptImage, match="hangs nowhere"):
        subvolumes(make, references=((299, 256, b"@", 300),)).subvolumes()


def test_sealed_mutants_are_read_or_refused(make, blocks, read_all):
    chance = random.Random(11)
    volume = make.Volume()
    text = (chance.randbytes(50) * 300)[:12_288]
    contents = {
        b"plain": {0: make.extent(volume.data(0, text), 12_288, 12_288)},
        b"packed": {0: make.extent(volume.data(65536, zlib.compress(text)), 4096, 12_288, compression=1)},
    }
    tree = make.files({**contents, b"inline": b"some text"}, {b"plain": 12_000, b"packed": 12_000})
    keys = sorted(tree)
    leaves = [(keys[0], volume.leaf({key: tree[key] for key in keys[:6]})), (keys[6], volume.leaf({key: tree[key] for key in keys[6:]}))]
    image = volume.finish({FS_ROOT: make.root(volume.node(leaves), 1)})
    places = blocks.find(image)
    assert len(places) == 7
    good = read_all(Btrfs(Memory(image)))
    assert len(good) == 3
    outcomes = {"same": 0, "other": 0, "refused": 0}
    values = (0, 1, 2, 5, 84, 96, 108, 132, 255, 256, 257, 4096, 65536, (1 << 31) - 1, (1 << 32) - 1, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
    for _mutant in range(500):
        offset, size, seal = chance.choice(places)
        block = bytearray(image[offset : offset + size])
        for _change in range(chance.randrange(1, 4)):
            width = chance.choice((1, 1, 2, 4, 8))
            at = chance.choice([at for at in range(32, size - 8) if block[at]]) - chance.randrange(width)  # where something is
            block[at : at + width] = (chance.choice(values) if chance.random() < 0.6 else chance.getrandbits(64)).to_bytes(8, "little")[:width]
        mutant = Memory(image[:offset] + seal(bytes(block)) + image[offset + size :])
        try:
            identify(mutant)
            filesystem = Btrfs(mutant)
            filesystem.subvolumes()
            small = all(place.node.size < 1 << 24 for place in Tree(filesystem).walk())
            outcomes["same" if not small or read_all(filesystem) == good else "other"] += 1
        except ImageError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 10, outcomes
