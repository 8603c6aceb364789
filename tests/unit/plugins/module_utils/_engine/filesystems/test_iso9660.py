# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ISO 9660 as xorriso, genisoimage and mkzftree write it; judged by what was put in, and by isoinfo, bsdtar, 7-Zip and blkid."""

from __future__ import annotations

import lzma
import os
import random
import re
import struct
import subprocess

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.iso9660.reader import Iso9660
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.iso9660.rockridge import CONTINUATION_AREA
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.iso9660.superblock import identify
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.tree import Tree
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

XORRISO = ("xorriso", "-as", "mkisofs", "-quiet")
GENISOIMAGE = ("genisoimage", "-quiet")
ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8"}


@pytest.fixture
def burn(program, tmp_path):
    """burn(folder, "xorriso", …options) gives the path of an ISO image of a folder."""

    def burn(folder, *command):
        path = tmp_path / "image.iso"
        path.unlink(missing_ok=True)
        subprocess.run([program(command[0]), *command[1:], "-o", path, folder], check=True, capture_output=True, env=ENVIRONMENT, timeout=60)
        return path

    return burn


@pytest.fixture
def unpacked(program, tmp_path, trees):
    """unpacked(image) gives what bsdtar finds in it, in the form of build_tree.contents()."""

    def unpacked(image, *options):
        folder = tmp_path / "unpacked"
        folder.mkdir()
        subprocess.run([program("bsdtar"), "-x", *options, "-f", image, "-C", folder], check=True, capture_output=True, env=ENVIRONMENT, timeout=60)
        return trees.contents(folder)

    return unpacked


def opened(image):
    return Iso9660(FileStorage(image))


@pytest.mark.parametrize(
    "command",
    [
        (*XORRISO, "-R", "-J"),
        (*XORRISO, "-R", "-iso-level", "3"),
        (*GENISOIMAGE, "-R"),
        (*GENISOIMAGE, "-R", "-D", "-iso-level", "4"),
        (*GENISOIMAGE, "-R", "-XA"),
    ],
    ids=" ".join,
)
def test_random_trees_with_rock_ridge(command, burn, trees, read_all, tmp_path):
    folder = tmp_path / "tree"
    trees.build_tree(folder, 2)
    if command[0] == "genisoimage":  # it may run for ever where a target has hundreds of parts
        for path in folder.rglob("link-*"):
            if len(os.readlink(path)) > 300:
                path.unlink()
    deep = folder.joinpath(*(f"level{number}" for number in range(14)))
    deep.mkdir(parents=True)
    (deep / "bottom").write_bytes(b"down here")
    filesystem = opened(burn(folder, *command))
    found = read_all(filesystem)
    found.pop("rr_moved", None)  # where genisoimage puts directories that are too deep
    assert filesystem.names == "rock_ridge"
    assert found == trees.contents(folder)
    assert Tree(filesystem).read(f"/{deep.relative_to(folder)}/bottom", 100) == b"down here"


@pytest.mark.parametrize("command", [(*XORRISO, "-J", "--norock"), (*GENISOIMAGE, "-J")], ids=" ".join)
def test_random_trees_with_joliet(command, burn, trees, read_all, tmp_path):
    folder = tmp_path / "tree"
    trees.build_tree(folder, 7, files=40, links=False, names=("a", "With Space", "ünïcode-ß", "日本語", "many.dots.in.name", "UPPER.TXT"), crowded=100)
    filesystem = opened(burn(folder, *command))
    assert filesystem.names == "joliet"
    assert read_all(filesystem) == trees.contents(folder)
    (folder / "MiXed Case.Txt").write_bytes(b"found")
    assert Tree(opened(burn(folder, *command))).read("/mixed case.TXT", 100) == b"found"


def shown(path):
    """A plain name as Linux shows it."""
    return re.sub(r"\.?;1(?=/|$)", "", path.lower())


@pytest.mark.parametrize("level", ["1", "2", "3"])
def test_plain_names_are_those_of_isoinfo(level, burn, trees, program, tmp_path):
    folder = tmp_path / "tree"
    trees.build_tree(folder, 11, files=25, links=False, names=("abc", "With Space", "x.y.z", "noext", "file.txt"), crowded=60)
    image = burn(folder, *GENISOIMAGE, "-iso-level", level)
    filesystem = opened(image)
    assert filesystem.names == "plain"
    listed = subprocess.run([program("isoinfo"), "-i", image, "-f"], check=True, capture_output=True, text=True).stdout.splitlines()
    found = {place.path: place for place in Tree(filesystem).walk()}
    assert sorted(found) == sorted(map(shown, listed))
    for name in listed:
        place = found[shown(name)]
        if place.node.kind == "file":
            expected = subprocess.run([program("isoinfo"), "-i", image, "-x", name], check=True, capture_output=True).stdout
            assert filesystem.content(place.node).read_at(0, 1 << 24) == expected
    assert {place.node.mode for place in found.values()} == {0o555}
    name = next(path for path in found if path.count("/") == 1)
    assert Tree(filesystem).find(name.upper()) is None


def test_zisofs(burn, trees, read_all, program, tmp_path):
    folder = tmp_path / "tree"
    trees.build_tree(folder, 13, files=30, links=False, crowded=20)
    subprocess.run([program("mkzftree"), folder, tmp_path / "packed"], check=True)
    filesystem = opened(burn(tmp_path / "packed", *GENISOIMAGE, "-R", "-z"))
    assert sum(1 for place in Tree(filesystem).walk() if place.node.kind == "file" and place.node.detail.attributes.zisofs) > 10
    assert read_all(filesystem) == trees.contents(folder)
    node = Tree(filesystem).find("/sparse.bin").node
    storage, expected = filesystem.content(node), (folder / "sparse.bin").read_bytes()
    dice = random.Random(1)
    for _round in range(40):
        start, length = dice.randrange(len(expected)), dice.randrange(200_000)
        assert storage.read_at(start, length) == expected[start : start + length]


def test_kinds_and_modes(burn, tmp_path):
    folder = tmp_path / "tree"
    folder.mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "file").write_bytes(b"x")
    (folder / "file").chmod(0o640)
    (folder / "folder").mkdir(mode=0o711)
    targets = ("/", "..", ".", "/a//b/../c", "x" * 300, "../" * 100 + "y")
    for number, target in enumerate(targets):
        (folder / f"link{number}").symlink_to(target)
    filesystem = opened(burn(folder, *GENISOIMAGE, "-R"))
    found = {place.path: place.node for place in Tree(filesystem).walk()}
    assert (found["/fifo"].kind, found["/file"].mode, found["/folder"].mode) == ("other", 0o640, 0o711)
    for number, target in enumerate(targets):
        assert filesystem.target(found[f"/link{number}"]).decode() == target


def plain_image(burn, tmp_path, files):
    """An image with plain names, where it can be changed; and where the record of each file lies."""
    folder = tmp_path / "tree"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    data = bytearray(burn(folder, *GENISOIMAGE).read_bytes())
    return data, {name: data.index(f"{name.upper()}.;1".encode()) - 33 for name in files}


def test_a_file_of_several_parts(burn, tmp_path, seven_zip):
    first, last = random.Random(1).randbytes(5 * 2048), b"the rest"
    data, at = plain_image(burn, tmp_path, {"a": first, "b": last, "c": b"other"})
    data[at["a"] + 25] |= 0x80
    data[at["b"] + 33] = ord("A")
    filesystem = Iso9660(Memory(bytes(data)))
    assert [name for name, _key in filesystem.listing(filesystem.root)] == [b"a", b"c"]
    tree = Tree(filesystem)
    assert tree.find("/a").node.size == len(first + last)
    assert tree.read("/a", 1 << 20) == first + last
    assert tree.read("/c", 100) == b"other"
    (tmp_path / "parts.iso").write_bytes(data)
    assert subprocess.run([seven_zip, "e", "-so", tmp_path / "parts.iso", "A"], check=True, capture_output=True).stdout == first + last
    data[at["b"] + 25] |= 0x80
    data[at["c"] + 25] |= 0x80
    with pytest.raises(CorruptImage, match="do not follow each other"):
        Tree(Iso9660(Memory(bytes(data)))).find("/a")


@pytest.mark.parametrize(
    ("offset", "value", "error", "message"),
    [
        (26, b"\1\1", UnsupportedImage, "interleaved"),
        (2, b"\xff\xff\xff\x7f", CorruptImage, "behind the end"),
        (10, b"\xff\xff\xff\xff", CorruptImage, "behind the end"),
        (32, b"\0", CorruptImage, "name does not fit"),
        (32, b"\xff", CorruptImage, "name does not fit"),
        (0, b"\x10", CorruptImage, "record of 16 bytes"),
        (33, b"..\0\0", CorruptImage, "has the name"),
    ],
)
def test_damaged_records(offset, value, error, message, burn, tmp_path):
    data, at = plain_image(burn, tmp_path, {"a": b"content"})
    data[at["a"] + offset : at["a"] + offset + len(value)] = value
    filesystem = Iso9660(Memory(bytes(data)))
    with pytest.raises(error, match=message):
        list(map(filesystem.content, (filesystem.node(key) for _name, key in filesystem.listing(filesystem.root))))


def test_other_records(burn, tmp_path):
    data, at = plain_image(burn, tmp_path, {"a": b"content", "b": b"other"})
    data[at["a"] + 25] |= 0x04
    filesystem = Iso9660(Memory(bytes(data)))
    assert [name for name, _key in filesystem.listing(filesystem.root)] == [b"b"], "associated files are not shown"
    data[at["a"] + 25] = 0x02
    root = data.index(b"\0" * 4, 16 * 2048 + 156)
    data[at["a"] + 2 : at["a"] + 18] = data[16 * 2048 + 158 : 16 * 2048 + 174]
    assert root
    with pytest.raises(CorruptImage, match="contains itself"):
        list(Tree(Iso9660(Memory(bytes(data)))).walk())


def test_damaged_rock_ridge(burn, tmp_path):
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / ("n" * 240)).write_bytes(b"long")
    (folder / "link").symlink_to("t" * 200)
    whole = burn(folder, *GENISOIMAGE, "-R").read_bytes()
    start = whole.index(b"CE\x1c\x01", whole.index(b"n" * 100) - 200)

    def names(data):
        filesystem = Iso9660(Memory(bytes(data)))
        return [name for name, _key in filesystem.listing(filesystem.root)]

    assert b"n" * 240 in names(whole)
    circle = bytearray(whole)
    area = CONTINUATION_AREA.unpack(whole, start + 4)
    place = area.block * 2048 + area.offset
    entry = b"CE\x1c\x01" + b"".join(struct.pack("<I", value) + struct.pack(">I", value) for value in (area.block, area.offset, 28))
    circle[place : place + 28] = circle[start : start + 28] = entry
    with pytest.raises(CorruptImage, match="too many continuation areas"):
        names(circle)
    for offset, value, message in ((20, b"\xff\xff\xff\x7f", "too long"), (4, b"\xff\xff\xff\x7f", "behind the end"), (2, b"\2", "does not fit")):
        damaged = bytearray(whole)
        damaged[start + offset : start + offset + len(value)] = value
        with pytest.raises(CorruptImage, match=message):
            names(damaged)
    sparse = whole.replace(b"TF\x1a\x01", b"SF\x1a\x01")
    filesystem = Iso9660(Memory(sparse))
    node = filesystem.node(filesystem.child(filesystem.root, b"n" * 240))
    with pytest.raises(UnsupportedImage, match="sparse"):
        filesystem.content(node)


def test_damaged_zisofs(burn, program, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(b"compressible " * 10_000)
    subprocess.run([program("mkzftree"), tmp_path / "tree", tmp_path / "packed"], check=True)
    whole = burn(tmp_path / "packed", *GENISOIMAGE, "-R", "-z").read_bytes()
    start = whole.index(b"\x37\xe4\x53\x96\xc9\xdb\xd6\x07")
    for offset, value, message in (
        (0, b"\0", "header is damaged"),
        (13, b"\x1f", "header is damaged"),
        (16, b"\xff\xff\xff\xff", "out of order"),
        (40, b"\0\0", "damaged zlib"),
    ):
        data = bytearray(whole)
        data[start + offset : start + offset + len(value)] = value
        tree = Tree(Iso9660(Memory(bytes(data))))
        with pytest.raises(CorruptImage, match=message):
            tree.read("/file", 1 << 20)
    with pytest.raises(UnsupportedImage, match="zisofs of version 2"):
        Tree(Iso9660(Memory(whole.replace(b"ZF\x10\x01pz", b"ZF\x10\x01PZ")))).read("/file", 1 << 20)


LABELS = ("", "a", "Sixteen-letters1", "Seventeen letters", "ThisWonderfulLabelIsVeryVeryLong", "x y_z", "under_score_and more_than_16")


@pytest.mark.parametrize("command", [(*GENISOIMAGE, "-J"), (*XORRISO, "-J"), GENISOIMAGE], ids=" ".join)
def test_it_is_identified_as_by_blkid(command, burn, program, tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(b"x")
    for label in LABELS:
        image = burn(tmp_path / "tree", *command, "-V", label)
        said = subprocess.run([program("blkid", first="/sbin"), "-p", "-o", "export", image], check=True, capture_output=True, text=True).stdout
        expected = {key: value.replace("\\ ", " ") for key, value in (line.split("=", 1) for line in said.splitlines() if "=" in line)}
        found = identify(FileStorage(image))
        assert (found.type, found.usage) == (expected["TYPE"], expected["USAGE"])
        assert (found.label, found.uuid, found.version) == (expected.get("LABEL"), expected["UUID"], expected.get("VERSION"))


def test_other_volumes_are_not_iso9660():
    assert identify(Memory(bytes(65536))) is None
    assert identify(Memory(b"")) is None
    assert identify(Memory(bytes(32769) + b"CD001" + bytes(4096))) is None
    with pytest.raises(CorruptImage, match="no primary volume descriptor"):
        Iso9660(Memory(bytes(65536)))


def test_a_truncated_image(burn, tmp_path):
    data, _at = plain_image(burn, tmp_path, {"a": b"first", "b": b"x" * 900_000})
    filesystem = Iso9660(Memory(bytes(data[:-700_000])))
    assert "truncated" in filesystem.warnings[0]
    assert Tree(filesystem).read("/a", 100) == b"first"
    with pytest.raises(CorruptImage, match="behind the end"):
        Tree(filesystem).read("/b", 1 << 20)


@pytest.mark.parametrize("case", ["iso-dfvfs", "iso-cdio-copying", "iso-xorriso-isohybrid-mbr", "iso-genisoimage-udf-bridge", "ul-iso-joliet"])
def test_images_of_others(case, shared, tmp_path, unpacked, read_all):
    (stored,) = (shared / "corpus/shared/iso" / case).glob("*.xz")
    image = tmp_path / "image.iso"
    image.write_bytes(lzma.decompress(stored.read_bytes()))
    filesystem = opened(image)
    found = read_all(filesystem)
    if filesystem.names == "plain":  # bsdtar leaves the names as they are
        expected = {shown(name): what for name, what in unpacked(image).items()}
    else:
        expected = unpacked(image)
    assert found
    assert found == expected


def test_mutations_raise_nothing_else(burn, trees, read_all, tmp_path):
    trees.build_tree(tmp_path / "tree", 3, files=12, links=False, names=("a", "With Space", "x" * 150), crowded=30)
    (tmp_path / "tree/sparse.bin").unlink()
    (tmp_path / "tree/with-target").symlink_to("../" * 50 + "x" * 100)
    tmp_path.joinpath("tree", *"abcdefghij").mkdir(parents=True)
    whole = burn(tmp_path / "tree", *GENISOIMAGE, "-R").read_bytes()
    expected = read_all(Iso9660(Memory(whole)))
    dice = random.Random(4)
    used = [at for at in range(0, len(whole), 512) if any(whole[at : at + 512])]
    meta = [at for at in used if any(mark in whole[at : at + 512] for mark in (b"RRIP", b"PX$\1", b"NM", b"CD001", b"CE\x1c"))]
    outcomes = set()
    for _round in range(150):
        data = bytearray(whole)
        for _change in range(dice.randrange(1, 8)):
            data[dice.choice(dice.choice((used, meta, meta))) + dice.randrange(512)] = dice.choice((0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)))
        storage = Memory(bytes(data[: dice.choice((len(data), dice.randrange(len(data))))]))
        identify(storage)
        try:
            outcomes.add(read_all(Iso9660(storage)) == expected)
        except ImageError as error:
            outcomes.add(error.kind)
    assert {True, "corrupt"} <= outcomes
