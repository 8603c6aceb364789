# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged and truncated sparse extents: a right disk or a typed error, never another disk."""

from __future__ import annotations

import random
import struct

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats import registry
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vmdk.reader import open_vmdk
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink

# Where our monolithicSparse of less than 32 MiB (one grain table) has its parts, in bytes.
RGD, RGT, GD, GT, GRAINS = 21 * 512, 22 * 512, 26 * 512, 27 * 512, 128 * 512
CONTENT = random.Random(2).randbytes(3 * 65536) + bytes(65536) + b"the end".ljust(65536, b".")


def built(folder, subformat):
    with Sink(folder / "disk.vmdk") as sink:
        writer = registry.create_writer(registry.target("vmdk", subformat), sink, len(CONTENT))
        for at in range(0, len(CONTENT), 65536):
            if any(CONTENT[at : at + 65536]):
                writer.write(at, writer.encode(CONTENT[at : at + 65536]))
        writer.finish()
        sink.commit()
    return bytearray((folder / "disk.vmdk").read_bytes())


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damage")
    return {subformat: built(folder, subformat) for subformat in ("monolithicSparse", "streamOptimized")}


@pytest.fixture
def sparse(originals):
    return originals["monolithicSparse"][:]


@pytest.fixture
def stream(originals):
    return originals["streamOptimized"][:]


def content(raw):
    reader = open_vmdk(Memory(bytes(raw)))
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


def poke(raw, offset, form, value):
    struct.pack_into("<" + form, raw, offset, value)


def test_undamaged(sparse, stream):
    assert content(sparse) == content(stream) == CONTENT


HEADER = {
    "version 0": (4, "I", 0, UnsupportedImage),
    "version 4": (4, "I", 4, UnsupportedImage),
    "unknown incompatible flag": (8, "I", 0x40003, UnsupportedImage),
    "compressed without an algorithm": (8, "I", 0x30003, CorruptImage),
    "capacity": (12, "Q", 1 << 60, LimitExceeded),
    "capacity unlike the descriptor's": (12, "Q", 5 * 128 + 128, CorruptImage),
    "grain size 0": (20, "Q", 0, CorruptImage),
    "grain size 100": (20, "Q", 100, CorruptImage),
    "grain size 2^40": (20, "Q", 1 << 40, LimitExceeded),
    "descriptor behind the end": (28, "Q", 1 << 40, CorruptImage),
    "descriptor too large": (36, "Q", 1 << 40, LimitExceeded),
    "descriptor elsewhere": (28, "Q", 128, CorruptImage),
    "grain tables of 0 entries": (44, "I", 0, UnsupportedImage),
    "grain tables of 2^31 entries": (44, "I", 1 << 31, UnsupportedImage),
    "redundant directory behind the end": (48, "Q", 1 << 50, CorruptImage),
    "redundant directory in the header": (48, "Q", 1, CorruptImage),
    "overhead behind the end": (64, "Q", 1 << 50, CorruptImage),
    "transferred as text": (74, "B", 10, CorruptImage),
    "unknown algorithm": (77, "H", 2, UnsupportedImage),
}


@pytest.mark.parametrize(("offset", "form", "value", "error"), HEADER.values(), ids=HEADER)
def test_header_fields(sparse, offset, form, value, error):
    poke(sparse, offset, form, value)
    with pytest.raises(error) as caught:
        content(sparse)
    assert caught.value.path == "memory"


DIRECTORY = {
    "directory is zeros": (GD, "I", 0),
    "directory entry behind the end": (GD, "I", 0xFFFFFFF0),
    "directory entry in the header": (GD, "I", 1),
    "directory behind the end": (56, "Q", 1 << 50),
    "directory in the descriptor": (56, "Q", 3),
    "directory nowhere": (56, "Q", 0),
}


@pytest.mark.parametrize(("offset", "form", "value"), DIRECTORY.values(), ids=DIRECTORY)
def test_the_redundant_directory_takes_a_damaged_ones_place(sparse, offset, form, value):
    poke(sparse, offset, form, value)
    assert content(sparse) == CONTENT
    result = open_vmdk(Memory(bytes(sparse))).check()
    assert "only one of the two grain directories" in result.corruptions[0]


@pytest.mark.parametrize("value", [0xFFFFFFF0, 5])
def test_both_directories_damaged(sparse, value):
    poke(sparse, GD, "I", value)
    poke(sparse, RGD, "I", value)
    with pytest.raises(CorruptImage, match="directory"):
        content(sparse)


def test_a_damaged_directory_without_a_redundant_one(sparse):
    poke(sparse, 8, "I", 1)
    assert content(sparse) == CONTENT
    poke(sparse, GD, "I", 0xFFFFFFF0)
    with pytest.raises(CorruptImage, match="directory entry 0") as caught:
        content(sparse)
    assert caught.value.offset == GD


@pytest.mark.parametrize("table", [GT, RGT])
@pytest.mark.parametrize("value", [0, 1, 129, 0xFFFFFFFF])
def test_copies_of_a_table_that_are_not_the_same(sparse, table, value):
    poke(sparse, table + 4, "I", value)
    with pytest.raises(CorruptImage, match="redundant copies"):
        content(sparse)


@pytest.mark.parametrize(("value", "reason"), [(0xFFFFFFF0, "behind the end"), (1, "metadata"), (27, "metadata"), (128 * 5, "behind the end")])
def test_table_entries(sparse, value, reason):
    for table in (GT, RGT):
        poke(sparse, table + 4, "I", value)
    with pytest.raises(CorruptImage, match=reason):
        content(sparse)


def test_a_damaged_grain_spoils_only_itself(stream):
    first = 128 * 512
    size = struct.unpack_from("<I", stream, first + 8)[0]
    stream[first + 12 + size - 1] ^= 1  # the Adler-32 at the end
    reader = open_vmdk(Memory(bytes(stream)))
    assert reader.read_at(65536, 65536) == CONTENT[65536:131072]
    with pytest.raises(CorruptImage, match="damaged zlib data"):
        reader.read_at(0, 1)
    assert reader.check().corruptions


MARKERS = {
    "another grain's": (0, "Q", 128, "sector 128"),
    "size 0": (8, "I", 0, "size of 0"),
    "size of more than two grains": (8, "I", 131_073, "size of 131073"),
}


@pytest.mark.parametrize(("offset", "form", "value", "reason"), MARKERS.values(), ids=MARKERS)
def test_grain_markers(stream, offset, form, value, reason):
    poke(stream, 128 * 512 + offset, form, value)
    with pytest.raises(CorruptImage, match=reason):
        content(stream)


FOOTER = {
    "no magic": (-1024, "I", 0, "no footer"),
    "another capacity": (-1024 + 12, "Q", 128, "capacity"),
    "another descriptor": (-1024 + 28, "Q", 2, "descriptorOffset"),
    "points to a footer": (-1024 + 56, "Q", 0xFFFFFFFFFFFFFFFF, "in a footer"),
    "directory behind the end": (-1024 + 56, "Q", 1 << 40, "not inside the file"),
    "no marker": (-1536 + 12, "I", 2, "no footer"),
    "no end of stream": (-512, "I", 1, "no footer"),
}


@pytest.mark.parametrize(("offset", "form", "value", "reason"), FOOTER.values(), ids=FOOTER)
def test_footer(stream, offset, form, value, reason):
    poke(stream, len(stream) + offset, form, value)
    with pytest.raises(CorruptImage, match=reason):
        content(stream)


def test_a_lost_descriptor(sparse):
    sparse[512 : 21 * 512] = bytes(20 * 512)
    with pytest.raises(UnsupportedImage, match="without a descriptor"):
        content(sparse)


def test_an_embedded_descriptor_that_names_another_file(sparse):
    at = sparse.index(b"RW 640 SPARSE")
    sparse[at : at + 30] = b'RW 640 FLAT "/etc/passwd" 0\n#.'
    reader = open_vmdk(Memory(bytes(sparse)))
    assert [ref.name for ref in reader.references()] == ["/etc/passwd"]
    with pytest.raises(UnsupportedImage, match="/etc/passwd"):
        next(reader.extents())


def test_not_closed_cleanly(sparse):
    sparse[72] = 1
    assert open_vmdk(Memory(bytes(sparse))).describe().dirty
    assert content(sparse) == CONTENT


@pytest.mark.parametrize("subformat", ["monolithicSparse", "streamOptimized"])
def test_cut_anywhere(originals, subformat):
    raw = originals[subformat]
    for length in [*range(0, len(raw) - 512, 3 * 512), *range(0, 1600, 7), len(raw) - 512, len(raw) - 1]:
        with pytest.raises(ImageError):
            content(raw[:length])


@pytest.mark.parametrize("subformat", ["monolithicSparse", "streamOptimized"])
def test_flipped_bits_in_the_metadata(originals, subformat):
    """The same disk or an error of ours: nothing else."""
    original = originals[subformat]
    chance = random.Random(9)
    places = [*range(79), *range(512, 1000), *range(RGD, RGD + 40), *range(RGT, RGT + 40), *range(GD, GD + 40), *range(GT, GT + 40)]
    places += range(len(original) - 2048, len(original)) if subformat == "streamOptimized" else []
    for _round in range(600):
        raw = original[:]
        raw[chance.choice(places)] ^= 1 << chance.randrange(8)
        try:
            assert content(raw) == CONTENT
        except ImageError:
            pass
