# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Beginning and end kept in memory: the same bytes, and the parent is not asked for them."""

from __future__ import annotations

import random

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.remembered import RememberedStorage


class Asked(Memory):
    """Notes what is read."""

    def __init__(self, data):
        super().__init__(data)
        self.reads = []
        self.sequential = True

    def read_at(self, offset, length):
        self.reads.append((offset, length))
        return super().read_at(offset, length)


@pytest.mark.parametrize(
    ("size", "head", "tail"), [(1000, 100, 50), (1000, 0, 10), (1000, 10, 0), (1000, 600, 400), (1000, 1000, 0), (0, 0, 0), (1000, 700, 700)]
)
def test_random_reads(size, head, tail):
    data = random.Random(size + head).randbytes(size)
    parent = Asked(data)
    storage = RememberedStorage(parent, data[:head], data[size - tail :])
    dice = random.Random(tail)
    for _round in range(300):
        offset, length = dice.randrange(size + 10), dice.choice((0, 1, 10, 100, 2000))
        parent.reads.clear()
        assert storage.read_at(offset, length) == data[offset : offset + length], (offset, length)
        end = min(offset + length, size)
        assert bool(parent.reads) == (offset < end and end > head and offset < size - tail)


def test_what_is_all_at_hand_is_read_in_any_order():
    assert not RememberedStorage(Asked(b"abc"), b"abc", b"").sequential
    assert RememberedStorage(Asked(b"abc"), b"ab", b"c").sequential


def test_it_is_the_parent_in_all_else():
    parent = Asked(b"abcdef")
    storage = RememberedStorage(parent, b"a", b"f")
    assert (storage.name, storage.size, storage.changed(), list(storage.data_ranges(1, 4))) == ("memory", 6, False, [(1, 3)])
    parent.changed = lambda: True
    assert storage.changed()
