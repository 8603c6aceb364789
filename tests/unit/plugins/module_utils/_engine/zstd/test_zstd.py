# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way to decompress zstd against the library, with sound frames, damaged ones, and such as ask for too much."""

from __future__ import annotations

import base64
import random
import sys
import tracemalloc

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine import codecs
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.stream import open_stream
from ansible_collections.vmimage.prep.plugins.module_utils._engine.zstd import encoder, native, provider
from ansible_collections.vmimage.prep.plugins.module_utils._engine.zstd.frame import ZstdError, ZstdLimit, ZstdUnsupported
from ansible_collections.vmimage.prep.plugins.module_utils._engine.zstd.xxh64 import XXH64

PROVIDERS = {found.name: found for found in provider.providers()}
OURS = PROVIDERS["plain Python"]
SKIPPABLE = b"\x5a\x2a\x4d\x18\x04\0\0\0abcd"
LEVELS = [-100, -7, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 17, 19, 22]
SIZES = [0, 1, 2, 3, 7, 31, 32, 100, 255, 256, 1000, 1023, 1024, 4096, 5000, 16384, 65536]
# By libzstd 1.5.7 in blocks of 400 bytes, level 19: literals with a tree of their own and with the last one, in one stream and
# in four; sequences with predefined, single, described and repeated tables; a checksum, and no size of the content.
STORED = (
    "D77#B1Zcbk05;Yq39#!V6fJehm_;N2Bmg7;6HjpyUcw8Uj6-kmqkA2v-P?@MaR?6ON4#YCCc4KbIK(sz!s9OD>`+b~1YM3#e8q))=m8$L#I+50#4S!V8NcEj"
    "KErPgbweNHR~voATYfS05iZ3oc*G!g)j&SwLB}1$YYT40OT30Nyk_Bzkf*-8!s+g9wUt{ri^uTVB|gi1$8DBHq(^z>>JmH$7zPl$cHIM@Iy2H@mUAAeU9Cj{"
    "Tm=9Z6e1x2Apjr%e1ezU=&73-4{$JEH3UE4A^dpVLq44Hh=UFS=kX{v2y~Bek{djN8*v7o2B-1@Uf`ue_*n4LHpdO+LsOn-9t*tWSI%Yl)G*ToUgETkp7JVA"
    "x0Q1?;&O+5<U!o(3LY};mIn<~a^ov+@DaIAzPTLAD|p;<i}5LLafjPY^8^hHO~720ndM)5;AIsOCR-(oNZ}auu3aKa&{WKFXOtuZ0ON`gbCW&u8Monh2`4SY"
    "r(9^-y@ede$r>2jaZ4@t)WmIg7}PO*co*b0R~F*Es^mo?<0=oC!>@Qv;>By+SmNXqhZP6nHw6m}JENdNj3<W9^3`C`vdk+ecexwc8wy!g7XbhOCk3fT"
)


def words(seed, count):
    rnd = random.Random(seed)
    return b" ".join(b"%d" % rnd.randrange(200) for _number in range(count))


def content(rnd, size):
    """Data of a kind that is drawn."""
    kind = rnd.randrange(7)
    if kind == 0:
        return rnd.getrandbits(8 * size).to_bytes(size, "little") if size else b""
    if kind == 1:
        return bytes([rnd.randrange(256)]) * size
    if kind == 2:
        return words(rnd.random(), size // 3 + 1)[:size]
    if kind == 3:
        return bytes(rnd.choices(range(256), [1 / (number + 1) ** 2 for number in range(256)], k=size))
    if kind == 4:
        return bytes(rnd.choices(b"ab", k=size))
    if kind == 5:
        period = rnd.randrange(1, 300)
        return (rnd.getrandbits(8 * period).to_bytes(period, "little") * (size // period + 1))[:size]
    return b"".join(content(rnd, size // 4 + 1) for _part in range(4))[:size]


@pytest.fixture(scope="module")
def library():
    """The zstd module by which is judged."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return __import__(name, fromlist=["zstd"])
        except ImportError:
            continue
    return pytest.skip("this Python has no zstd")


def packed(library, rnd, data, level):
    """One frame of the data, with parameters and block ends that are drawn."""
    name = library.CompressionParameter
    options = {name.compression_level: level, name.checksum_flag: rnd.randrange(2), name.content_size_flag: rnd.randrange(2)}
    if rnd.randrange(3) == 0:
        options[name.window_log] = rnd.randrange(10, 18)
    made = library.ZstdCompressor(options=options)
    if rnd.randrange(2):
        return made.compress(data, made.FLUSH_FRAME)
    step = len(data) // 3 + 1
    return b"".join(made.compress(data[at : at + step], rnd.choice([made.CONTINUE, made.FLUSH_BLOCK])) for at in range(0, len(data), step)) + made.flush()


def streamed(data, chosen, step):
    """What a frame holds, fed in steps, and the bytes behind it; or the class of what is raised."""
    frame = provider.Decompressor(chosen)
    parts, at = [], 0
    try:
        while not frame.eof:
            piece = data[at : at + step] if frame.needs_input else b""
            at += len(piece)
            if frame.needs_input and not piece:
                return ZstdError
            parts.append(frame.decompress(piece, 9999))
    except ZstdError as error:
        return error.__class__
    return b"".join(parts), len(data) - at + len(frame.unused_data)


def whole(data, unit, chosen):
    """What a unit holds, or the class of what is raised."""
    try:
        return provider.decompress(data, unit, chosen)
    except ZstdError as error:
        return error.__class__


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_stored_frame(name):
    data, frame = words(6, 300), base64.b85decode("".join(STORED))
    for step in (1, 17, 10000):
        assert streamed(frame + b"tail", PROVIDERS[name], step) == (data, 4)
    assert whole(frame + bytes(100), len(data), PROVIDERS[name]) == data
    for damaged in (frame[:-1], frame[:-4] + b"\0\0\0\0"):
        assert whole(damaged, len(data), PROVIDERS[name]) is ZstdError
        assert streamed(damaged, PROVIDERS[name], 100) is ZstdError
    for unit in (1, 500, len(data) - 1):
        assert whole(frame, unit, PROVIDERS[name]) is ZstdError, "the frame holds more"
    assert whole(frame, len(data) + 1, PROVIDERS[name]) == data
    several = SKIPPABLE + frame + SKIPPABLE + frame + frame
    assert whole(several, 2 * len(data), PROVIDERS[name]) == data * 2
    assert whole(several, 2 * len(data) + 1, PROVIDERS[name]) is ZstdError
    assert whole(frame + bytes(100), len(data) + 1, PROVIDERS[name]) is ZstdError


@pytest.mark.parametrize("level", LEVELS)
def test_what_the_library_writes(library, level):
    rnd = random.Random(level)
    for size in SIZES if level < 20 else SIZES[::5]:
        data = content(rnd, size)
        frame = packed(library, rnd, data, level)
        tail = rnd.choice([b"", bytes(300), b"junk"])
        for chosen in PROVIDERS.values():
            assert streamed(frame + tail, chosen, rnd.choice([50, 1000, 1 << 20])) == (data, len(tail)), (chosen.name, size)
            assert whole(frame + tail, len(data), chosen) == data, (chosen.name, size)


@pytest.mark.parametrize("level", [1, 5, 19])
def test_several_blocks(library, level):
    rnd = random.Random(level)
    data = content(rnd, 150000) + words(level, 60000) + content(rnd, 140000)
    frame = packed(library, rnd, data, level)
    for chosen in PROVIDERS.values():
        assert streamed(frame, chosen, 100000) == (data, 0), chosen.name


def mutation(rnd, frame):
    broken = bytearray(frame)
    for _time in range(rnd.choice([1, 1, 1, 2, 4])):
        at = rnd.randrange(min(len(broken), rnd.choice([20, 60, len(broken)])))
        kind = rnd.randrange(6)
        if kind < 2:
            broken[at] ^= 1 << rnd.randrange(8)
        elif kind == 2:
            broken[at] = rnd.randrange(256)
        elif kind == 3:
            del broken[at]
        elif kind == 4:
            broken.insert(at, rnd.randrange(256))
        else:
            del broken[at + 1 :]
        broken = broken or bytearray(1)
    return bytes(broken)


@pytest.mark.parametrize("seed", range(5))
def test_damaged_frames(library, seed):
    """The same content as the library's, or refused as it refuses.

    Only these may differ: we take no literals whose stream goes on behind the last of them, as the library sometimes does.
    """
    judge = provider.Provider("judge", library.ZstdDecompressor, library.ZstdError)
    rnd = random.Random(seed)
    same = stricter = 0
    for _frame in range(60):
        data = content(rnd, rnd.choice([0, 1, 10, 100, 300, 1000, 3000]))
        frame = packed(library, rnd, data, rnd.choice(LEVELS[:12]))
        for _time in range(8):
            broken = mutation(rnd, frame)
            for ours, theirs in (
                (whole(broken, len(data), OURS), whole(broken, len(data), judge)),
                (streamed(broken, OURS, 500), streamed(broken, judge, 500)),
            ):
                if ours == theirs:
                    same += 1
                else:
                    assert ours is ZstdError, (broken.hex(), theirs)
                    stricter += 1
    assert same > 900
    assert stricter < 15


def frame_with(*blocks, window=b"\x50", descriptor=b"\0"):
    """A frame of blocks (last one marked), each (type, size, data)."""
    text = b"\x28\xb5\x2f\xfd" + descriptor + window
    for number, (kind, size, data) in enumerate(blocks):
        text += (size << 3 | kind << 1 | (number == len(blocks) - 1)).to_bytes(3, "little") + data
    return text


@pytest.mark.parametrize("name", PROVIDERS)
def test_what_is_refused(name):
    chosen = PROVIDERS[name]
    good = frame_with((0, 3, b"abc"))
    assert whole(good, 3, chosen) == b"abc"
    assert whole(frame_with((0, 3, b"abc"), window=bytes([17 << 3])), 3, chosen) == b"abc"  # 128 MiB
    for window in (17 << 3 | 1, 21 << 3, 0xFF):
        assert whole(frame_with((0, 3, b"abc"), window=bytes([window])), 3, chosen) is ZstdLimit
    huge = frame_with((0, 3, b"abc"), descriptor=b"\xe0", window=(1 << 40).to_bytes(8, "little"))
    assert whole(huge, 3, chosen) is ZstdLimit
    assert whole(frame_with((0, 3, b"abc"), descriptor=b"\x01", window=b"\x50\x07"), 3, chosen) is ZstdUnsupported
    assert whole(frame_with((0, 3, b"abc"), descriptor=b"\x01", window=b"\x50\0"), 3, chosen) == b"abc"  # dictionary 0: none
    for damaged in (
        b"",
        b"abcdefgh",
        good[:3] + b"\xfc" + good[4:],  # magic number
        good[:-1],
        frame_with((0, 3, b"abc"), descriptor=b"\x08"),  # reserved bit
        frame_with((3, 3, b"abc")),  # reserved type
        frame_with((0, 2000, bytes(2000)), window=b"\0"),  # longer than the window
        frame_with((1, 2000, b"x"), window=b"\0"),
        frame_with((0, 0, b""), descriptor=b"\x20", window=b"\x02"),  # less than declared
        frame_with((0, 3, b"abc"), descriptor=b"\x20", window=b"\x02"),  # more
        frame_with((2, 5, b"\x03\x10\0\0\0")),  # the tree of an earlier block
        frame_with((2, 4, b"\0\x01\xfc\x01")),  # tables of an earlier block
        frame_with((2, 8, b"\x18abc\x01\0\x29\x80")),  # an offset in front of the content
    ):
        for result in (whole(damaged, 3, chosen), streamed(damaged, chosen, 100)):
            assert result is ZstdError, damaged


@pytest.mark.parametrize("name", PROVIDERS)
def test_files(name, library, monkeypatch):
    monkeypatch.setattr(provider, "best", lambda: PROVIDERS[name])
    one, two = words(1, 30000), words(2, 20000)
    options = {library.CompressionParameter.checksum_flag: 1}
    first, second = library.compress(one, options=options), library.compress(two, options=options)

    def decoded(data):
        stream = open_stream(Memory(data), "zstd")
        return stream.read_at(0, stream.size)

    assert decoded(first + second) == one + two
    assert decoded(SKIPPABLE + first + SKIPPABLE * 3 + second + SKIPPABLE) == one + two
    for damaged in (first[:-1], first + b"x", first + b"garbage!", first[:-2] + b"xx", first + second[:100], first + SKIPPABLE[:-1]):
        with pytest.raises(CorruptImage):
            decoded(damaged)
    with pytest.raises(LimitExceeded, match="memory"):
        decoded(frame_with((0, 3, b"abc"), window=b"\xff"))
    with pytest.raises(UnsupportedImage, match="dictionary"):
        decoded(frame_with((0, 3, b"abc"), descriptor=b"\x01", window=b"\x50\x07"))


@pytest.mark.parametrize("name", PROVIDERS)
def test_clusters(name, monkeypatch):
    monkeypatch.setattr(provider, "best", lambda: PROVIDERS[name])

    def cluster(data, unit=3):
        return codecs.decompress(codecs.ZSTD, data, unit, path="disk", offset=512)

    assert cluster(frame_with((0, 3, b"abc")) + bytes(500)) == b"abc"
    for damaged, unit in ((b"", 3), (frame_with((0, 3, b"abc")), 4), (frame_with((0, 3, b"abc")), 2), (SKIPPABLE * 100000, 3), (bytes(100), 3)):
        with pytest.raises(CorruptImage, match="disk: .*0x200"):
            cluster(damaged, unit)
    with pytest.raises(LimitExceeded):
        cluster(frame_with((0, 3, b"abc"), window=b"\xff"))
    with pytest.raises(UnsupportedImage, match="dictionary"):
        cluster(frame_with((0, 3, b"abc"), descriptor=b"\x01", window=b"\x50\x07"))


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_bomb_takes_no_memory(name):
    """Four bytes give 128 KiB: 12 MiB from less than 400 bytes, of which nobody asked for more than a little."""
    bomb = frame_with(*[(1, 1 << 17, b"x")] * 95, window=b"\x38")
    tracemalloc.start()
    try:
        assert whole(bomb, 65536, PROVIDERS[name]) is ZstdError
        frame = provider.Decompressor(PROVIDERS[name])
        assert frame.decompress(bomb, 1000) == b"x" * 1000
        for _time in range(20):
            assert frame.decompress(b"", 100000) == b"x" * 100000
        assert tracemalloc.get_traced_memory()[1] < 3 << 20
    finally:
        tracemalloc.stop()


def test_the_checksum(library):
    rnd = random.Random(3)
    flag = {library.CompressionParameter.checksum_flag: 1}
    for size in [*range(70), 1000, 1023, 70000]:
        data = rnd.getrandbits(8 * size + 1).to_bytes(size + 1, "little")[:size]
        digest = XXH64()
        for at in range(0, size, 13):
            digest.update(data[at : at + 13])
        assert (digest.digest() & 0xFFFFFFFF).to_bytes(4, "little") == library.compress(data, options=flag)[-4:], size


def without(monkeypatch, *modules):
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    native.load.cache_clear()


def test_what_is_compressed_can_be_read(monkeypatch):
    """By each of the encoders that are here, one after the other taken away."""
    taken = []
    for modules in ((), ("compression", "compression.zstd"), ("backports", "backports.zstd"), ("zstandard",)):
        without(monkeypatch, *modules)
        for data in (b"", b"a", words(5, 9000), bytes(65536)):
            try:
                frame = codecs.zstd_compress(data, 3)
            except UnsupportedImage:
                continue
            taken.append(modules)
            assert len(frame) < len(data) // 2 or len(data) < 2
            for chosen in PROVIDERS.values():
                assert whole(frame + bytes(99), len(data), chosen) == data
    assert taken or not native.load()


def test_without_any_library(monkeypatch):
    without(monkeypatch, "compression", "compression.zstd", "backports", "backports.zstd", "zstandard", "ctypes")
    try:
        assert [found.name for found in provider.providers()] == ["plain Python"]
        assert encoder.compress(b"data", 3) is None
        with pytest.raises(UnsupportedImage, match="backports.zstd"):
            codecs.zstd_compress(b"data", 3)
    finally:
        native.load.cache_clear()
