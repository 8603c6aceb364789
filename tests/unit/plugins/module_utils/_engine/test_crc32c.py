# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CRC-32C against the published values, and against the definition."""

from __future__ import annotations

import random

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.crc32c import crc32c


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


@pytest.mark.parametrize("length", [*range(1, 20), 511, 512, 513, 575, 576, 577, 640, 1000, 4064, 16352, 65535])
def test_all_lengths_agree_with_the_definition(length):
    data = random.Random(length).randbytes(length)
    expected = by_definition(data)
    assert crc32c(data) == expected
    assert crc32c(memoryview(data)) == expected


def test_data_may_come_in_pieces():
    chance = random.Random(3)
    data = chance.randbytes(5000)
    for _try in range(20):
        first, second = sorted(chance.randrange(len(data)) for _piece in range(2))
        assert crc32c(data[second:], crc32c(data[first:second], crc32c(data[:first]))) == crc32c(data)
