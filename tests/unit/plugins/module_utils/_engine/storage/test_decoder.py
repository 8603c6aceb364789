# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decoding against the compressors themselves, and what the standard library's own file objects let pass."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
import shutil
import subprocess
import zlib

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, LimitExceeded
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.stream import open_stream

ONE, TWO = b"the first stream " * 9000, b"and the second " * 9000
COMPRESS = {"gzip": lambda data: gzip.compress(data, 6), "xz": lzma.compress, "bzip2": bz2.compress}
COMMANDS = [
    ("gzip", "gzip -9"),
    ("gzip", "pigz -p 2 -b 128"),
    ("xz", "xz -T2 --block-size=100000"),
    ("xz", "xz --check=none"),
    ("xz", "xz --check=sha256"),
    ("bzip2", "bzip2"),
    ("bzip2", "pbzip2 -b1 -p2"),
    ("zstd", "zstd"),
    ("zstd", "pzstd -p 2"),
]


def decoded(data, codec):
    """All that a compressed file holds, verified up to its end."""
    stream = open_stream(Memory(data), codec)
    content = stream.read_at(0, stream.size)
    assert len(content) == stream.size
    return content


def need_zstd():
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return __import__(name, fromlist=["zstd"])
        except ImportError:
            continue
    return pytest.skip("this Python has no zstd")


@pytest.mark.parametrize(("codec", "command"), COMMANDS)
def test_what_the_compressors_write(codec, command):
    program = command.split()
    if not shutil.which(program[0]):
        pytest.skip(f"no {program[0]} here")
    content = random.Random(1).getrandbits(8 * 300000).to_bytes(300000, "little") + ONE * 20
    packed = subprocess.run([*program, "-c"], input=content, capture_output=True, check=True).stdout
    assert decoded(packed, codec) == content


@pytest.mark.parametrize("codec", COMPRESS)
def test_several_streams(codec):
    one, two, none = (COMPRESS[codec](data) for data in (ONE, TWO, b""))
    assert decoded(one + two, codec) == ONE + TWO
    assert decoded(none + one + none + two + none, codec) == ONE + TWO
    assert decoded(none, codec) == b""


@pytest.mark.parametrize("codec", COMPRESS)
def test_damage_in_a_later_stream_is_no_end(codec):
    one, two = COMPRESS[codec](ONE), bytearray(COMPRESS[codec](TWO))
    for at in (0, 1, 2, 4, 6, 9, len(two) // 2, len(two) - 5):
        broken = bytes(two[:at]) + bytes([two[at] ^ 0xFF]) + bytes(two[at + 1 :])
        try:
            result = decoded(one + broken, codec)
        except CorruptImage:
            continue
        assert result == ONE + TWO, f"byte {at}"  # gzip's time stamp and system may change


@pytest.mark.parametrize("codec", COMPRESS)
@pytest.mark.parametrize("garbage", [b"x", b"\0x", b"garbage behind the end", b"\0\0\0\0garbage", b"\x1f", b"BZh", b"\xfd7z"])
def test_garbage_behind_the_end(codec, garbage):
    with pytest.raises(CorruptImage):
        decoded(COMPRESS[codec](ONE) + garbage, codec)


def test_padding():
    packed = {codec: compress(ONE) for codec, compress in COMPRESS.items()}
    assert decoded(packed["gzip"] + bytes(3), "gzip") == ONE
    assert decoded(packed["gzip"] + bytes(1 << 20), "gzip") == ONE
    assert decoded(packed["xz"] + bytes(8), "xz") == ONE
    assert decoded(packed["xz"] + bytes(300000) + packed["xz"] + bytes(4), "xz") == ONE * 2
    for codec, behind in (("xz", bytes(3)), ("xz", bytes(5) + packed["xz"]), ("bzip2", bytes(4)), ("gzip", bytes(4) + packed["gzip"])):
        with pytest.raises(CorruptImage):
            decoded(packed[codec] + behind, codec)


@pytest.mark.parametrize("codec", COMPRESS)
def test_truncated_anywhere(codec):
    content = bytes(range(256)) * 3 + b"end"
    packed = COMPRESS[codec](content)
    for length in range(1, len(packed)):
        with pytest.raises(CorruptImage):
            decoded(packed[:length], codec)
    two = packed + packed
    for length in range(len(packed) + 1, len(two)):
        with pytest.raises(CorruptImage):
            decoded(two[:length], codec)


@pytest.mark.parametrize("codec", COMPRESS)
def test_flipped_bits_never_give_other_bytes(codec):
    content = random.Random(2).getrandbits(8 * 500).to_bytes(500, "little") + ONE[:3000]
    packed = COMPRESS[codec](content)
    refused = 0
    for at in range(len(packed)):
        for bit in (1, 0x10, 0x80):
            broken = packed[:at] + bytes([packed[at] ^ bit]) + packed[at + 1 :]
            try:
                assert decoded(broken, codec) == content, (at, bit)
            except ImageError:
                refused += 1
    assert refused > 2 * len(packed)


def test_wrong_checksum_at_the_end():
    packed = bytearray(gzip.compress(ONE))
    packed[-8] ^= 1
    with pytest.raises(CorruptImage, match="check"):
        decoded(bytes(packed), "gzip")


@pytest.mark.parametrize("flag", [4, 8, 16])
def test_gzip_header_fields(flag):
    compress = zlib.compressobj(6, zlib.DEFLATED, -15)
    raw = compress.compress(ONE) + compress.flush()
    end = zlib.crc32(ONE).to_bytes(4, "little") + len(ONE).to_bytes(4, "little")

    def packed(field):
        return b"\x1f\x8b\x08" + bytes([flag]) + bytes(6) + field + raw + end

    if flag == 4:
        assert decoded(packed((30000).to_bytes(2, "little") + bytes(30000)), "gzip") == ONE
        return
    assert decoded(packed(b"name\0"), "gzip") == ONE
    assert decoded(packed(b"n" * 60000 + b"\0"), "gzip") == ONE
    with pytest.raises(CorruptImage, match="header"):
        decoded(packed(b"n" * 70000 + b"\0"), "gzip")


def test_xz_that_wants_too_much_memory():
    big = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20, "preset": 0}]
    packed = bytearray(lzma.compress(ONE, filters=big))
    # Block header: size, flags, filter id, size of properties, dictionary size in LZMA2's code; then padding and a CRC.
    assert packed[12:16] == bytes([2, 0, 0x21, 1])
    packed[16] = 37  # 1.5 GiB
    packed[20:24] = zlib.crc32(packed[12:20]).to_bytes(4, "little")
    with pytest.raises(LimitExceeded, match="memory"):
        decoded(bytes(packed), "xz")


def test_zstd():
    zstd = need_zstd()
    packed = zstd.compress(ONE, options={zstd.CompressionParameter.checksum_flag: 1})
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0abcd"
    assert decoded(packed + packed, "zstd") == ONE * 2
    assert decoded(skippable + packed + skippable, "zstd") == ONE
    for broken in (packed[:-1], packed + b"x", packed + b"garbage!", packed[:20] + b"\xff" + packed[21:]):
        with pytest.raises(CorruptImage):
            decoded(broken, "zstd")
