# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A disk with nothing on it."""

from __future__ import annotations

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.zeros import ZeroStorage


def test_it_is_a_hole_from_the_first_to_the_last_byte():
    storage = ZeroStorage(1 << 40, "empty")
    assert (storage.name, storage.size, storage.allocated(), list(storage.data_ranges()), list(storage.data_ranges(5, 10))) == ("empty", 1 << 40, 0, [], [])
    assert storage.read_at(12345, 1000) == bytes(1000)
    assert storage.read_at((1 << 40) - 10, 1000) == bytes(10)
    assert storage.read_at(1 << 40, 1) == b""
    assert storage.read_at((1 << 40) + 5, 1) == b""


def test_a_range_that_is_not_inside():
    buffer = bytearray(b"x" * 8)
    storage = ZeroStorage(8, "empty")
    storage.read_into(0, memoryview(buffer), "data")
    assert buffer == bytes(8)
    with pytest.raises(CorruptImage):
        storage.read_into(1, memoryview(buffer), "data")
