# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""FAT as mkfs.vfat and mtools write it; judged by what was put in, and by mtools, 7-Zip and blkid."""

from __future__ import annotations

import os
import random
import re
import struct
import subprocess

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, InvalidImage, LimitExceeded
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.fat.reader import Fat
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.fat.superblock import identify, read_geometry
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.tree import Tree
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

MIB = 1 << 20
NAMES = ("a", "README", "with space", "ünïcode-ß", "日本語", "UPPER.TXT", "many.dots.in.name", "x" * 200, "#hash", "lower.txt")
ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8", "MTOOLS_SKIP_CHECK": "1", "MTOOLS_NO_VFAT": "0"}


@pytest.fixture
def mtools(program):
    """mtools("mcopy", image, "-s", …): runs one of mtools on an image and gives what it says."""

    def run(tool, image, *words, check=True, stdin=None):
        command = [program(tool), "-i", image, *words]
        return subprocess.run(command, env=ENVIRONMENT, input=stdin, capture_output=True, check=check).stdout

    return run


@pytest.fixture
def make(program, tmp_path):
    """make(size, *options): an empty file system in a file that is all hole."""

    def make(size, *options, name="fat.img"):
        path = tmp_path / name
        path.write_bytes(b"")
        os.truncate(path, size)
        subprocess.run([program("mkfs.vfat", first="/sbin"), *options, path], check=True, capture_output=True)
        return path

    return make


def patch(path, offset, data):
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def geometry_of(path):
    with path.open("rb") as file:
        return read_geometry(file.read(512))


def entry_at(path, short):
    """Where the short entry of a file in the root directory lies, bytes."""
    with path.open("rb") as file:
        return file.read(8 * MIB).index(short)


def read(filesystem, path):
    tree = Tree(filesystem)
    return tree.read(path, 16 * MIB)


SHAPES = {
    "fat12": (60 * MIB, "-F12", "-s32"),
    "fat12-one-fat": (60 * MIB, "-F12", "-s32", "-f1"),
    "fat16": (64 * MIB, "-F16", "-s4"),
    "fat16-sectors-2k": (64 * MIB, "-F16", "-S2048", "-s2"),
    "fat32": (64 * MIB, "-F32", "-s1"),
    "fat32-sectors-4k": (512 * MIB, "-F32", "-S4096", "-s1"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_random_trees(shape, make, mtools, trees, read_all, tmp_path):
    folder = tmp_path / "tree"
    trees.build_tree(folder, len(shape), files=40, links=False, names=NAMES, crowded=150)
    image = make(*SHAPES[shape])
    mtools("mcopy", image, "-s", "-Q", "-m", *sorted(folder.iterdir()), "::")
    with_deleted = sorted(path.name for path in folder.iterdir())[0]
    mtools("mdel" if (folder / with_deleted).is_file() else "mdeltree", image, f"::{with_deleted}")
    expected = {name: what for name, what in trees.contents(folder).items() if name.split("/")[0] != with_deleted}
    filesystem = Fat(FileStorage(image))
    assert filesystem.signature.version == shape[:5].upper()
    assert not filesystem.warnings
    assert read_all(filesystem) == expected
    filesystem.storage.close()


@pytest.mark.parametrize(
    "options",
    [
        ("-n", "EFI"),
        ("-n", "Lower case", "-i", "abcd0012"),
        (),
        ("-F12", "-s", "64"),
        ("-F32", "-n", "ELEVENCHARS"),
        ("-F16", "-S", "4096"),
    ],
)
def test_it_is_identified_as_by_blkid(options, make, program):
    image = make(64 * MIB, *options)
    said = subprocess.run([program("blkid", first="/sbin"), "-p", "-o", "export", image], check=True, capture_output=True, text=True).stdout
    expected = {key: value.replace("\\ ", " ") for key, value in (line.split("=", 1) for line in said.splitlines() if "=" in line)}
    found = identify(FileStorage(image))
    assert (found.type, found.usage) == (expected["TYPE"], expected["USAGE"])
    assert (found.label, found.uuid, found.version) == (expected.get("LABEL"), expected["UUID"], expected["VERSION"])
    assert found.size <= 64 * MIB
    assert not found.warnings


def test_the_label_of_the_root_directory_comes_first(make, mtools):
    image = make(4 * MIB, "-n", "BOOTSECTOR")
    offset = entry_at(image, b"BOOTSECTOR \x08")
    patch(image, offset, b"ROOTLABEL  ")
    assert b"ROOTLABEL" in mtools("mlabel", image, "-s", "::")
    assert identify(FileStorage(image)).label == "ROOTLABEL"
    patch(image, offset, b"\xe5")
    assert identify(FileStorage(image)).label == "BOOTSECTOR"


def test_states_that_are_told(make):
    image = make(4 * MIB)
    patch(image, 37, b"\1")
    assert identify(FileStorage(image)).warnings == ("the FAT file system was not unmounted cleanly",)
    os.truncate(image, 3 * MIB)
    assert "its volume only 3145728" in Fat(FileStorage(image)).warnings[1]


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_fragments_lie_where_mtools_sees_them(bits, make, mtools, seven_zip, tmp_path):
    image = make({12: 8, 16: 8, 32: 36}[bits] * MIB, f"-F{bits}", "-s", {12: "8", 16: "1", 32: "1"}[bits])
    chance = random.Random(bits)
    for number in range(60):
        (tmp_path / f"piece{number:02}").write_bytes(chance.randbytes(chance.randrange(1, 60_000)))
    mtools("mcopy", image, *(tmp_path / f"piece{number:02}" for number in range(60)), "::")
    free = int(re.search(r"([\d ]+) bytes free", mtools("mdir", image, "::").decode())[1].replace(" ", ""))
    mtools("mcopy", image, "-", "::filler", stdin=bytes(free))
    mtools("mdel", image, *(f"::piece{number:02}" for number in range(0, 60, 2)))
    large = chance.randbytes(500_000)
    mtools("mcopy", image, "-", "::large", stdin=large)
    filesystem = Fat(FileStorage(image))
    key = filesystem.child(filesystem.root, b"LARGE")
    storage = filesystem.content(filesystem.node(key))
    assert storage.read_exact(0, storage.size, "large") == large
    for _round in range(50):
        start = chance.randrange(len(large))
        length = chance.randrange(100_000)
        assert storage.read_at(start, length) == large[start : start + length]
    clusters = [tuple(map(int, span.split("-"))) for span in re.findall(r"[<,]\s*(\d+(?:-\d+)?)", mtools("mshowfat", image, "::large").decode())]
    assert len(clusters) > 8
    geometry = geometry_of(image)
    expected = [(geometry.data_start + (span[0] - 2) * geometry.cluster_size, (span[-1] - span[0] + 1) * geometry.cluster_size) for span in clusters]
    assert list(filesystem._runs(filesystem.node(key).detail, len(large))) == expected
    assert subprocess.run([seven_zip, "e", "-so", image, "large"], check=True, capture_output=True).stdout == large


def test_names(make, mtools, seven_zip):
    image = make(4 * MIB, "-F12")
    for name in ("lower.txt", "UPPER.TXT", "Mixed Case Name.config", "noext", "XX-surrogates.txt", "sub"):
        if name == "sub":
            mtools("mmd", image, "::sub")
        else:
            mtools("mcopy", image, "-", f"::{name}", stdin=name.encode())
    mtools("mcopy", image, "-", "::sub/inner.file", stdin=b"inner")
    # mtools writes no characters beyond the basic plane: two letters become a pair of surrogates.
    data = image.read_bytes()
    image.write_bytes(data.replace("XX-su".encode("utf-16-le"), "😀-su".encode("utf-16-le")))
    filesystem = Fat(FileStorage(image))
    names = [name.decode() for name, _key in filesystem.listing(filesystem.root)]
    assert names == ["lower.txt", "UPPER.TXT", "Mixed Case Name.config", "noext", "😀-surrogates.txt", "sub"]
    said = subprocess.run([seven_zip, "l", "-slt", image], check=True, capture_output=True, text=True, env=ENVIRONMENT).stdout
    listed = [path for path in re.findall(r"^Path = (.*)$", said, re.MULTILINE) if path != str(image)]
    assert sorted(listed) == sorted([*names, "sub/inner.file"])
    assert read(filesystem, "/LOWER.TXT") == b"lower.txt"
    assert read(filesystem, "/mixed case NAME.config.") == b"Mixed Case Name.config"
    assert read(filesystem, "/MIXEDC~1.CON") == b"Mixed Case Name.config"
    assert read(filesystem, "/SUB/../sub/./Inner.File") == b"inner"
    assert read(filesystem, "/sub") is None
    assert filesystem.child(filesystem.root, b"other") is None


def test_modes_and_long_names_that_do_not_belong(make, mtools):
    image = make(4 * MIB, "-F12")
    mtools("mcopy", image, "-", "::Some long name.txt", stdin=b"x")
    mtools("mattrib", image, "+r", "::Some long name.txt")
    filesystem = Fat(FileStorage(image))
    (_name, key), *_rest = filesystem.listing(filesystem.root)
    assert filesystem.node(key).mode == 0o555
    assert filesystem.root.mode == 0o755
    offset = entry_at(image, b"SOMELO~1TXT")
    patch(image, offset - 32 + 13, b"\xaa")  # the checksum by which the long name knows its short one
    assert [name for name, _key in Fat(FileStorage(image)).listing(filesystem.root)] == [b"SOMELO~1.TXT"]
    patch(image, offset, b"\x05")
    assert [name for name, _key in Fat(FileStorage(image)).listing(filesystem.root)] == ["σOMELO~1.TXT".encode()]
    patch(image, offset, b"/")
    with pytest.raises(CorruptImage, match="the name '/OMELO"):
        list(Fat(FileStorage(image)).listing(filesystem.root))


def test_a_file_of_4_gib(make, mtools):
    image = make(4 * 1024 * MIB + 64 * MIB, "-F32", "-s128")
    mtools("mcopy", image, "-", "::BIG", stdin=b"beginning")
    geometry = geometry_of(image)
    clusters = -(-0xFFFFFFFF // geometry.cluster_size)
    first = 5
    chain = [*range(first + 1, first + clusters), 0x0FFFFFFF]
    patch(image, geometry.fat_start + first * 4, struct.pack(f"<{clusters}I", *chain))
    entry = entry_at(image, b"BIG        ")
    patch(image, entry + 20, struct.pack("<HxxxxHI", 0, first, 0xFFFFFFFF))
    end = geometry.data_start + (first - 2) * geometry.cluster_size + 0xFFFFFFFF
    patch(image, end - 7, b"the end")
    filesystem = Fat(FileStorage(image))
    node = filesystem.node(filesystem.child(filesystem.root, b"big"))
    storage = filesystem.content(node)
    assert (node.size, storage.size) == (0xFFFFFFFF, 0xFFFFFFFF)
    assert storage.read_at(0xFFFFFFFF - 9, 100) == b"\0\0the end"
    assert storage.read_at(0xFFFFFFFF, 1) == b""
    assert [length for _offset, length in filesystem._runs(first, 0xFFFFFFFF)][0] > 1000
    assert f"<{first}-{first + clusters - 1}>" in mtools("mshowfat", image, "::BIG").decode()
    held = sum(length for _offset, length in storage.data_ranges())
    assert held < MIB, "holes of the image are holes of the file"


def test_only_the_active_fat_counts(make, mtools):
    image = make(40 * MIB, "-F32")
    mtools("mcopy", image, "-", "::FILE", stdin=b"x" * 5000)
    geometry = geometry_of(image)
    patch(image, 40, struct.pack("<H", 0x81))
    patch(image, geometry.fat_start, bytes(geometry.fat_size))
    assert read(Fat(FileStorage(image)), "/file") == b"x" * 5000


def chained(bits, entries, size, root=()):
    """A volume of 512-byte clusters with one file, whose chain begins at 3; root: a chain of FAT32's root directory."""
    clusters = {12: 100, 16: 5000, 32: 70000}[bits]
    per_fat = -(-(clusters + 2) * bits // 8 // 512) + 1
    reserved, root_sectors = 32, 0 if bits == 32 else 2
    total = reserved + per_fat + root_sectors + clusters
    boot = bytearray(512)
    struct.pack_into("<3s8sHBHBHHBH", boot, 0, b"\xeb\x3c\x90", b"TEST    ", 512, 1, reserved, 1, root_sectors * 16, 0, 0xF8, 0 if bits == 32 else per_fat)
    struct.pack_into("<I", boot, 32, total)
    if bits == 32:
        struct.pack_into("<IHHI", boot, 36, per_fat, 0, 0, 2)
    fat = bytearray(per_fat * 512)
    for cluster, value in {2: (1 << min(bits, 28)) - 1, **entries, **dict(root)}.items():
        at = cluster * bits // 8
        if bits == 12:
            old = int.from_bytes(fat[at : at + 2], "little")
            fat[at : at + 2] = (old | value << 4 * (cluster & 1)).to_bytes(2, "little")
        else:
            fat[at : at + bits // 8] = value.to_bytes(bits // 8, "little")
    entry = struct.pack("<11sBBBHHHHHHHI", b"FILE       ", 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 3, size)
    return bytes(boot) + bytes((reserved - 1) * 512) + bytes(fat) + entry.ljust(max(root_sectors, 1) * 512, b"\0") + bytes(clusters * 512)


@pytest.mark.parametrize("bits", [12, 16, 32])
@pytest.mark.parametrize(
    ("entries", "size", "message"),
    [
        ({3: 4, 4: 5, 5: "end"}, 1537, "has clusters for 1536 only"),
        ({3: 4, 4: 3}, 1537, "leads into itself"),
        ({3: 3}, 50_000, "leads into itself"),
        ({3: 4, 4: 9, 9: 7, 7: 4}, 50_000, "leads into itself"),
        ({3: 4, 4: 0}, 1537, "leads to cluster 0"),
        ({3: 1}, 1537, "leads to cluster 1"),
        ({3: 4, 4: "bad"}, 1537, "a bad cluster"),
        ({3: "out"}, 1537, "leads to cluster"),
        ({3: "end"}, 0xFFFFFFFF, "the file system"),
    ],
)
def test_damaged_chains(bits, entries, size, message):
    words = {"end": (1 << min(bits, 28)) - 1, "bad": (1 << min(bits, 28)) - 9, "out": (1 << min(bits, 28)) - 16}
    data = chained(bits, {cluster: words.get(value, value) for cluster, value in entries.items()}, size)
    filesystem = Fat(Memory(data))
    assert filesystem.signature.version == f"FAT{bits}"
    node = filesystem.node(filesystem.child(filesystem.root, b"file"))
    with pytest.raises(CorruptImage, match=message):
        filesystem.content(node)


@pytest.mark.parametrize("bits", [12, 16, 32])
def test_what_is_behind_a_file_is_not_looked_at(bits):
    filesystem = Fat(Memory(chained(bits, {3: 4, 4: 1}, 1024)))
    assert read(filesystem, "/file") == bytes(1024)


def test_damaged_directories():
    filesystem = Fat(Memory(chained(32, {2: 6, 6: 2}, 0)))
    with pytest.raises(CorruptImage, match="leads into itself"):
        list(filesystem.listing(filesystem.root))
    assert filesystem.signature.label is None
    circle = {cluster: cluster + 1 for cluster in range(10, 5000)}
    filesystem = Fat(Memory(chained(32, {2: 10, **circle, 5000: 0x0FFFFFFF}, 0)))
    with pytest.raises(LimitExceeded, match="a directory has more than 2097152 bytes"):
        list(filesystem.listing(filesystem.root))
    with pytest.raises(InvalidImage, match="there is no FAT"):
        Fat(Memory(bytes(4096)))
    data = bytearray(chained(16, {3: 4, 4: 0xFFFF}, 1024))
    at = data.index(b"FILE   ")
    data[at + 11] = 0x10  # a directory, whose second entry is itself
    inside = read_geometry(bytes(data[:512])).data_start + 512
    data[inside : inside + 32] = data[at : at + 32]
    with pytest.raises(CorruptImage, match="contains itself"):
        list(Tree(Fat(Memory(bytes(data)))).walk())


def test_other_volumes_are_not_fat():
    dice = random.Random(5)
    for head in (bytes(512), b"\xeb\x52\x90NTFS    ".ljust(510, b"\2") + b"\x55\xaa", b"\xeb\x76\x90EXFAT   ".ljust(510, b"\0") + b"\x55\xaa", b"\xeb\x63\x90"):
        assert identify(Memory(head.ljust(4096, b"\0"))) is None
    for _round in range(300):
        assert identify(Memory(dice.randbytes(508) + b"\x55\xaa\x55\xaa" + bytes(4096))) is None


def test_mutations_raise_nothing_else(make, mtools, trees, tmp_path, read_all):
    trees.build_tree(tmp_path / "tree", 3, files=12, links=False, names=NAMES[:6], crowded=40)
    (tmp_path / "tree/sparse.bin").unlink()
    for bits in (12, 16, 32):
        image = make(34 * MIB if bits == 32 else 4 * MIB, f"-F{bits}", "-s4" if bits == 12 else "-s1", name=f"{bits}.img")
        mtools("mcopy", image, "-s", "-Q", *sorted((tmp_path / "tree").iterdir()), "::")
        whole = image.read_bytes().rstrip(b"\0") + bytes(65536)  # what lies behind all files need not be there
        expected = read_all(Fat(Memory(whole)))
        assert expected == trees.contents(tmp_path / "tree")
        geometry = read_geometry(whole[:512])
        dice = random.Random(bits)
        used = [at for at in range(0, len(whole), 512) if any(whole[at : at + 512])]
        outcomes = set()
        for _round in range(40):
            data = bytearray(whole)
            for _change in range(dice.randrange(1, 5)):
                start = dice.choice(
                    (dice.randrange(90), geometry.fat_start + dice.randrange(600), geometry.root_start + dice.randrange(2000), dice.choice(used))
                )
                data[start + dice.randrange(32)] = dice.choice((0, 1, 0x7F, 0xE5, 0xFF, dice.randrange(256)))
            storage = Memory(bytes(data))
            identify(storage)
            try:
                outcomes.add(read_all(Fat(storage)) == expected)
            except ImageError as error:
                outcomes.add(error.kind)
        assert "corrupt" in outcomes
