# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The overlay that a log is replayed into, against a file that is written to."""

from __future__ import annotations

import random

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhdx import log
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory


@pytest.mark.parametrize("seed", range(20))
def test_the_overlay_is_a_file_that_was_written_to(seed):
    chance = random.Random(seed)
    base, size = chance.randbytes(40 * 4096), 50 * 4096
    changes = []
    for _change in range(30):
        at = chance.randrange(50)
        changes.append((at * 4096, chance.randbytes(4096) if chance.random() < 0.5 else bytes(4096 * chance.randint(1, min(6, 50 - at)))))
    written = bytearray(base.ljust(size, b"\0"))
    for offset, data in changes:
        written[offset : offset + len(data)] = data
    overlay = log.Overlay(Memory(base), size)
    for offset, data in reversed(changes):
        if data.count(0) == len(data):
            overlay.zero_below(offset, len(data))
        else:
            overlay.put_below(offset, data)
    assert overlay.read_at(0, size + 1) == written
    for _read in range(200):
        start = chance.randrange(size + 4096)
        length = chance.randrange(20_000)
        assert overlay.read_at(start, length) == written[start : start + length]


def test_it_leads_to_what_lies_below():
    class Base(Memory):
        closed = False

        def changed(self):
            return True

        def close(self):
            self.closed = True

    base = Base(bytes(4096), "a name")
    overlay = log.Overlay(base, 8192)
    assert (overlay.name, overlay.size, overlay.allocated(), overlay.changed()) == ("a name", 8192, 4096, True)
    overlay.close()
    assert base.closed
