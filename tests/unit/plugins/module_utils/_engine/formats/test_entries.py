# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in tables, against a loop that compares one entry after the other; and the values of options."""

from __future__ import annotations

import array
import random

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats import options
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.base import Target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.entries import run_end, table

LARGEST = {"I": 0xFFFFFFFF, "Q": 0xFFFFFFFFFFFFFFFF}


def slow_end(entries, index, last, step):
    end = index + 1
    while end < last and entries[end] == entries[end - 1] + step:
        end += 1
    return end


@pytest.mark.parametrize("typecode", "IQ")
@pytest.mark.parametrize("seed", range(20))
def test_runs_end_where_the_next_entry_is_another(typecode, seed):
    chance = random.Random(seed)
    step = chance.choice((0, 1, 2, 1 << 20))
    entries = array.array(typecode)
    while len(entries) < 400:
        first = chance.choice((0, 5, LARGEST[typecode], LARGEST[typecode] - 3 * step, chance.randrange(1000)))
        entries.extend(first + step * at for at in range(chance.choice((1, 2, 7, 8, 9, 25, 100))) if first + step * at <= LARGEST[typecode])
    for index in range(len(entries)):
        for last in (len(entries), min(len(entries), index + 10)):
            assert run_end(entries, index, last, step) == slow_end(entries, index, last, step)


def test_byte_orders():
    assert list(table(b"\0\0\0\1\0\0\0\2", "I", "big")) == [1, 2]
    assert list(table(b"\1\0\0\0\2\0\0\0", "I", "little")) == [1, 2]


def test_sizes_and_switches():
    for text, value in (("0", 0), ("7", 7), ("2k", 2048), ("3M", 3 << 20), ("1G", 1 << 30)):
        assert options.size(Target("vhd", options={"a": text}), "a", 1 << 30, "a size") == value
    for text in ("", "K", "-1", "1.5M", "1 M", "0x10", "1T", "2G", "\u0661", "9" * 30):
        with pytest.raises(UnsupportedImage, match="vhd option a is a size, not"):
            options.size(Target("vhd", options={"a": text}), "a", 1 << 30, "a size")
    assert options.switch(Target("vhd", options={"a": "on"}), "a")
    assert not options.switch(Target("vhd", options={"a": "off"}), "a")
