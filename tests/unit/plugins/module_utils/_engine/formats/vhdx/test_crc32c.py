# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CRC-32C against the published values, and against the definition."""

from __future__ import annotations

import random
import time

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhdx.crc32c import crc32c, is_sealed, seal


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # RFC 3720, appendix B.4, and the check value of the CRC catalogues
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_published_values(data, expected):
    assert crc32c(data) == expected


def by_definition(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _bit in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


@pytest.mark.parametrize("length", range(1, 20))
def test_lengths_that_are_no_multiple_of_a_step(length):
    data = random.Random(length).randbytes(length)
    assert crc32c(data) == by_definition(data)


def test_a_seal_holds_until_a_bit_changes():
    data = seal(b"head" + random.Random(1).randbytes(4092))
    assert is_sealed(data)
    for at in (0, 4, 7, 8, 4095):
        broken = bytearray(data)
        broken[at] ^= 0x10
        assert not is_sealed(bytes(broken)), at


def test_a_region_table_takes_no_time():
    data = random.Random(2).randbytes(65536)
    took = []
    for _try in range(5):
        start = time.perf_counter()
        crc32c(data)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.05
