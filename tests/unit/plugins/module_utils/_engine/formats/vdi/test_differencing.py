# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Differencing VDIs and their parents, built byte by byte; the parent is found by its identifier, in whatever file it is."""

from __future__ import annotations

import os
import random
import struct

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError, AmbiguousImage, CorruptImage, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage import folder

FREE, ZERO = 0xFFFFFFFF, 0xFFFFFFFE
BLOCK = 4096
BASE, MIDDLE, TOP = b"B" * 16, b"M" * 16, b"T" * 16
NOBODY = bytes(16)


def vdi(identity, entries, parent=NOBODY, kind=None, seed=0, modified=None, parent_modified=None, size=None):
    """An image whose modification identifier is its own identifier backwards with a 1, unless given."""
    kind = (1 if parent == NOBODY else 4) if kind is None else kind
    modified = b"1" + identity[1:] if modified is None else modified
    parent_modified = (NOBODY if parent == NOBODY else b"1" + parent[1:]) if parent_modified is None else parent_modified
    allocated = sum(entry < ZERO for entry in entries)
    image = struct.pack("<64sIIIII256sII4II", b"<<< test >>>\n", 0xBEDA107F, 0x10001, 400, kind, 0, b"", 512, 1024, 0, 0, 0, 512, 0)
    image += struct.pack("<QIIII", size or len(entries) * BLOCK, BLOCK, 0, len(entries), allocated) + identity + modified + parent + parent_modified
    image = image.ljust(512, b"\0") + struct.pack(f"<{len(entries)}I", *entries)
    return image.ljust(1024, b"\0") + random.Random(seed).randbytes(allocated * BLOCK)


def seen(entries, seed, below=b""):
    stored = random.Random(seed).randbytes(len(entries) * BLOCK)
    parts = []
    for number, entry in enumerate(entries):
        under = below[number * BLOCK :][:BLOCK].ljust(BLOCK, b"\0")
        parts.append(under if entry == FREE else bytes(BLOCK) if entry == ZERO else stored[entry * BLOCK :][:BLOCK])
    return b"".join(parts)


def opened(path, references=None):
    return open_source(Request(str(path), references=str(references or path.parent)))


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


ENTRIES = {
    BASE: [1, 0, FREE, 2, 4, 3, ZERO, FREE],
    MIDDLE: [FREE, ZERO, 0, 1, FREE, ZERO, FREE, FREE],
    TOP: [FREE, FREE, ZERO, FREE, 1, FREE, 0, FREE],
}


@pytest.fixture
def chain(tmp_path):
    """As VirtualBox lays them out: the base beside the machine, the snapshots in a folder below. And what the last one shows."""
    (tmp_path / "Snapshots").mkdir()
    (tmp_path / "machine.vdi").write_bytes(vdi(BASE, ENTRIES[BASE], seed=1))
    (tmp_path / "Snapshots/{4d}.vdi").write_bytes(vdi(MIDDLE, ENTRIES[MIDDLE], BASE, seed=2))
    (tmp_path / "Snapshots/{54}.vdi").write_bytes(vdi(TOP, ENTRIES[TOP], MIDDLE, seed=3))
    (tmp_path / "readme.txt").write_text("no image")
    (tmp_path / "other.vdi").write_bytes(vdi(b"O" * 16, ENTRIES[BASE]))
    (tmp_path / "damaged.vdi").write_bytes(vdi(BASE, ENTRIES[BASE])[:200])
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link.vdi").symlink_to("machine.vdi")
    return tmp_path, seen(ENTRIES[TOP], 3, seen(ENTRIES[MIDDLE], 2, seen(ENTRIES[BASE], 1)))


def test_parents_are_found_by_their_identifiers(chain):
    place, wanted = chain
    with opened(place / "Snapshots/{54}.vdi", place) as source:
        reader = source.reader
        assert content_of(reader) == wanted
        assert reader.check().clean
        for start in range(0, len(wanted), 1000):
            assert reader.read_at(start, 9000) == wanted[start : start + 9000]
    with open_source(Request(str(place / "Snapshots/{54}.vdi"))) as source, pytest.raises(UnsupportedImage, match="differences to its parent"):
        next(source.reader.extents())
    with pytest.raises(AccessError, match="42424242-4242"), opened(place / "Snapshots/{54}.vdi"):  # the base is not in that folder
        pass


def test_a_smaller_parent(tmp_path):
    (tmp_path / "base.vdi").write_bytes(vdi(BASE, [0, FREE], seed=1, size=BLOCK + 512))
    (tmp_path / "top.vdi").write_bytes(vdi(TOP, [FREE, 0, FREE, ZERO], BASE, seed=2))
    with opened(tmp_path / "top.vdi") as source:
        assert content_of(source.reader) == seen([FREE, 0, FREE, ZERO], 2, seen([0, FREE], 1))


def test_what_is_not_the_parent_s_state_or_not_clear(chain):
    place, _wanted = chain
    top = place / "Snapshots/{54}.vdi"
    (place / "copy.vdi").write_bytes((place / "machine.vdi").read_bytes())
    with pytest.raises(AmbiguousImage, match=r"'copy\.vdi', 'machine\.vdi'"), opened(top, place):
        pass
    os.unlink(place / "copy.vdi")
    (place / "machine.vdi").write_bytes(vdi(BASE, ENTRIES[BASE], modified=b"2" * 16))
    with pytest.raises(CorruptImage, match="written to since"), opened(top, place):
        pass
    os.unlink(place / "machine.vdi")
    with pytest.raises(AccessError, match="no file in"), opened(top, place):
        pass


def test_loops(tmp_path):
    (tmp_path / "self.vdi").write_bytes(vdi(TOP, ENTRIES[TOP], TOP))
    with pytest.raises(CorruptImage, match="loop"), opened(tmp_path / "self.vdi"):
        pass
    (tmp_path / "self.vdi").write_bytes(vdi(TOP, ENTRIES[TOP], MIDDLE))
    (tmp_path / "other.vdi").write_bytes(vdi(MIDDLE, ENTRIES[TOP], TOP))
    with pytest.raises(CorruptImage, match="loop"), opened(tmp_path / "self.vdi"):
        pass


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": 3},  # undo images
        {"kind": 1},  # not differencing, and yet with a parent
        {"parent": NOBODY, "parent_modified": b"1" * 16, "kind": 4},
    ],
)
def test_parents_that_are_not_followed(tmp_path, changes):
    (tmp_path / "base.vdi").write_bytes(vdi(BASE, ENTRIES[BASE]))
    (tmp_path / "top.vdi").write_bytes(vdi(**{"identity": TOP, "entries": ENTRIES[TOP], "parent": BASE, **changes}))
    with opened(tmp_path / "top.vdi") as source, pytest.raises(UnsupportedImage, match="parent"):
        next(source.reader.extents())


def test_too_many_files_to_look_through(chain, monkeypatch):
    monkeypatch.setattr(folder, "MAX_LISTED", 4)
    with pytest.raises(LimitExceeded, match="too many"), opened(chain[0] / "Snapshots/{54}.vdi", chain[0]):
        pass
