# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in runs, judged by bytes that are put together by hand."""

from __future__ import annotations

import random

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, LimitExceeded
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems import mapped
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.mapped import Mapped, Run
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

DATA = random.Random(5).randbytes(1000)
RUNS = [Run(10, 20, 500), Run(30, 10, 520), Run(40, 10, 100), Run(90, 50, 0)]
WANTED = bytes(10) + DATA[500:530] + DATA[100:110] + bytes(40) + DATA[:30]


def test_any_part_can_be_read():
    storage = Mapped(Memory(DATA), lambda: RUNS, 120, "file")
    for start in range(125):
        for length in (0, 1, 7, 40, 200):
            assert storage.read_at(start, length) == WANTED[start : start + length]


def test_runs_that_join_are_one_and_end_with_the_file():
    storage = Mapped(Memory(DATA), lambda: RUNS, 120, "file")
    assert list(storage.data_ranges()) == [(10, 30), (40, 10), (90, 30)]
    assert list(storage.data_ranges(15, 45)) == [(15, 25), (40, 5)]
    assert storage.allocated() == 70


def test_damage_is_said_each_time():
    def runs():
        yield Run(0, 10, 0)
        raise CorruptImage("damaged")

    storage = Mapped(Memory(DATA), runs, 120, "file")
    for _attempt in range(2):
        with pytest.raises(CorruptImage, match="damaged"):
            storage.read_at(0, 1)


def test_runs_behind_the_volume_are_refused():
    storage = Mapped(Memory(DATA), lambda: [Run(0, 10, 995)], 10, "file")
    with pytest.raises(CorruptImage, match="behind the end"):
        storage.read_at(0, 10)


def test_pieces_have_a_bound(monkeypatch):
    monkeypatch.setattr(mapped, "MAX_RUNS", 10)
    storage = Mapped(Memory(DATA), lambda: (Run(2 * number, 1, 2 * number) for number in range(11)), 120, "file")
    with pytest.raises(LimitExceeded, match="more than 10 pieces"):
        storage.read_at(0, 10)
