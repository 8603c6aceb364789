# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LZO1X streams made by hand from the description of the format; filesystems/test_btrfs_kernel.py reads the kernel's."""

from __future__ import annotations

import random

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.lzo import decompress

END = b"\x11\0\0"
NOISE = random.Random(1).randbytes(70_000)
ABCDEF = bytes((17 + 6,)) + b"abcdef"


def literals(data):
    """An instruction for literals after a state of 0: 4 to 18 of them, or more."""
    if len(data) <= 18:
        return bytes((len(data) - 3,)) + data
    zeros, last = divmod(len(data) - 18 - 1, 255)
    return bytes(1 + zeros) + bytes((last + 1,)) + data


def pair(distance, state=0):
    """The two bytes of a distance, less one or 16384, and the number of literals that follow."""
    return (distance << 2 | state).to_bytes(2, "little")


@pytest.mark.parametrize(
    ("stream", "content"),
    [
        pytest.param(b"", b"", id="nothing"),
        pytest.param(ABCDEF, b"abcdef", id="first literals"),
        pytest.param(b"\x13ab" + b"\x24" + pair(1), b"ab" + b"ababab", id="two first literals, and a copy that repeats itself"),
        pytest.param(literals(b"abcd"), b"abcd", id="4 literals"),
        pytest.param(literals(NOISE[:18]), NOISE[:18], id="18 literals"),
        pytest.param(literals(NOISE[:19]), NOISE[:19], id="19 literals"),
        pytest.param(literals(NOISE[:273]), NOISE[:273], id="273 literals"),
        pytest.param(literals(NOISE[:274]), NOISE[:274], id="274 literals"),
        # 01LDDDSS: 3 or 4 bytes, distance H * 8 + D + 1
        pytest.param(ABCDEF + b"\x54\0", b"abcdefabc", id="3 bytes, distance 6"),
        pytest.param(ABCDEF + b"\x75\0X", b"abcdefabcdX", id="4 bytes, distance 6, and a literal"),
        # 1LLDDDSS: 5 to 8 bytes
        pytest.param(ABCDEF + b"\x80\0", b"abcdeffffff", id="5 bytes, distance 1"),
        pytest.param(ABCDEF + b"\xf7\0XYZ", b"abcdefabcdefabXYZ", id="8 bytes, distance 6, and three literals"),
        # 001LLLLL: 3 to 33 bytes, or more, distance up to 16384
        pytest.param(ABCDEF + b"\x3f" + pair(5), b"abcdef" + (b"abcdef" * 6)[:33], id="33 bytes"),
        pytest.param(ABCDEF + b"\x20\x01" + pair(5), b"abcdef" + (b"abcdef" * 6)[:34], id="34 bytes"),
        pytest.param(ABCDEF + b"\x20\0\0\x07" + pair(0, 2) + b"XY", b"abcdef" + b"f" * (33 + 510 + 7) + b"XY", id="550 bytes, and two literals"),
        pytest.param(literals(NOISE[:16384]) + b"\x21" + pair(16383), NOISE[:16384] + NOISE[:3], id="distance 16384"),
        # 0001HLLL: 3 to 9 bytes, or more, distance up to 49151
        pytest.param(literals(NOISE[:20000]) + b"\x11" + pair(1), NOISE[:20000] + NOISE[3615:3618], id="distance 16385"),
        pytest.param(literals(NOISE[:49151]) + b"\x1f" + pair(16383), NOISE[:49151] + NOISE[:9], id="distance 49151"),
        pytest.param(literals(NOISE[:40000]) + b"\x18\x01" + pair(0), NOISE[:40000] + NOISE[7232:7242], id="distance 32768, 10 bytes"),
        # 0000DDSS: two bytes after up to three literals, three after more
        pytest.param(ABCDEF + b"\x55\0X" + b"\x04\0", b"abcdefabcXcX", id="2 bytes after a literal"),
        pytest.param(literals(NOISE[:3000]) + b"\x0c\x01", NOISE[:3000] + NOISE[944:947], id="3 bytes after many literals, distance 2056"),
    ],
)
def test_streams(stream, content):
    assert decompress(stream + END, len(content)) == content


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x11\0", id="an end that is cut"),
        pytest.param(b"\x20abc", id="first literals that are cut"),
        pytest.param(b"\x05abc", id="literals that are cut"),
        pytest.param(ABCDEF, id="no end"),
        pytest.param(ABCDEF + b"\x58\0" + END, id="a copy from before the first byte"),
        pytest.param(ABCDEF + b"\x20" + bytes(60_000), id="a length that does not end"),
        pytest.param(ABCDEF + b"\x20" + bytes(60_000) + b"\x01" + pair(0) + END, id="more than there is room for"),
        pytest.param(literals(bytes(200)) + END, id="more literals than there is room for"),
    ],
)
def test_damage_is_an_error(stream):
    with pytest.raises(ValueError, match="ends inside|does not end|before the first|longer than"):
        decompress(stream, 100)


def test_no_mutant_is_anything_but_content_or_an_error():
    chance = random.Random(5)
    stream = literals(NOISE[:300]) + b"\x3f" + pair(99) + b"\x55\x10X" + b"\x04\0" + b"\x20\0\x07" + pair(3, 2) + b"XY" + END
    assert len(decompress(stream, 1000)) > 600
    outcomes = set()
    for _try in range(2000):
        mutant = bytearray(stream)
        for _change in range(chance.randrange(1, 4)):
            mutant[chance.randrange(300, len(mutant))] = chance.randrange(256)
        try:
            outcomes.add(len(decompress(bytes(mutant), 1000)) <= 1000)
        except ValueError:
            outcomes.add("error")
    assert outcomes == {True, "error"}
