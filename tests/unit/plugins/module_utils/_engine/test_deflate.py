# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accelerators decompress as zlib does, or not at all; what they compress is what zlib and qemu can read."""

from __future__ import annotations

import hashlib
import random
import subprocess
import sys
import zlib

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine import codecs, deflate
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.raw import RawReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import create_writer, target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.convert import convert

UNIT = 65536


def noise(rnd, size):
    return rnd.getrandbits(8 * size).to_bytes(size, "little")


def content(rnd, size):
    kind = rnd.randrange(5)
    if kind == 0:
        return noise(rnd, size)
    if kind == 1:
        return bytes(size)
    if kind == 2:
        return bytes(rnd.choices(b"abcd", k=size))
    if kind == 3:
        return bytes(rnd.choices(range(256), [1 / (number + 1) ** 2 for number in range(256)], k=size))
    return b" ".join(b"%d" % rnd.randrange(300) for _number in range(size // 2))[:size]


def mutation(rnd, packed):
    broken = bytearray(packed)
    for _time in range(rnd.choice([0, 1, 1, 1, 2])):
        at = rnd.choice([rnd.randrange(len(broken)), rnd.randrange(min(len(broken), 40)), max(len(broken) - 1 - rnd.randrange(12), 0)])
        kind = rnd.randrange(7)
        if kind < 2:
            broken[at] ^= 1 << rnd.randrange(8)
        elif kind == 2:
            broken[at] = rnd.randrange(256)
        elif kind == 3:
            del broken[at]
        elif kind == 4:
            broken.insert(at, rnd.randrange(256))
        elif kind == 5:
            del broken[at + 1 :]
        else:
            broken += rnd.choice([bytes(50), b"junk" * 10])
        broken = broken or bytearray(1)
    return bytes(broken)


def outcome(inflate, *arguments):
    try:
        return inflate(*arguments)
    except zlib.error:
        return None


def by_zlib(data, unit, wbits):
    """A stream with a checksum is decompressed whole: then zlib looks at it."""
    stream = zlib.decompressobj(wbits)
    if wbits < 0:
        return stream.decompress(data, unit)
    out = stream.decompress(data)
    if len(out) >= unit and not stream.eof:
        raise zlib.error("no checksum")
    return out[:unit]


@pytest.mark.parametrize("seed", range(5))
def test_damaged_streams(seed):
    """Accepted, refused or found short as by zlib, and with its bytes."""
    pytest.importorskip("zlib_ng")
    rnd = random.Random(seed)
    sound = refused = 0
    for _stream in range(250):
        data = content(rnd, rnd.choice([100, 512, 4096]))
        wbits, written = rnd.choice([(-15, -15), (-15, -12), (-15, -9), (15, 15), (15, 12)])
        maker = zlib.compressobj(rnd.randrange(10), zlib.DEFLATED, written, rnd.choice([1, 8, 9]), rnd.randrange(5))
        packed = maker.compress(data) + maker.flush()
        for _time in range(4):
            broken = mutation(rnd, packed)
            unit = len(data) + rnd.choice([0, 0, 0, 0, -1, 1, -50, 50])
            expected = outcome(by_zlib, broken, unit, wbits)
            assert outcome(deflate.inflate, broken, unit, wbits) == expected, (broken.hex(), unit, wbits)
            sound += expected is not None
            refused += expected is None
    assert sound > 300
    assert refused > 200


def test_a_cluster():
    packed = zlib.compress(b"x" * 512)
    assert codecs.decompress(codecs.ZLIB, packed + b"behind", 512, path="disk", offset=0) == b"x" * 512
    for damaged, unit in ((packed[:-9], 512), (packed, 513), (packed[:-1] + b"x", 512), (b"", 512)):
        with pytest.raises(CorruptImage, match="disk"):
            codecs.decompress(codecs.ZLIB, damaged, unit, path="disk", offset=0)


def make(name, level, wbits):
    try:
        return codecs.compressor(name, level, wbits)
    except UnsupportedImage as error:
        return pytest.skip(str(error))


@pytest.mark.parametrize("name", deflate.COMPRESSORS)
@pytest.mark.parametrize("level", [5, 6])
@pytest.mark.parametrize("wbits", [-12, -15, 15])
def test_zlib_reads_what_is_compressed(name, level, wbits):
    compress = make(name, level, wbits)
    rnd = random.Random(level)
    for size in (0, 1, 512, 5000, UNIT):
        data = content(rnd, size)
        for given in (data, bytearray(data), memoryview(bytearray(data))):
            packed = compress(given)
            assert isinstance(packed, bytes)
            assert zlib.decompressobj(wbits).decompress(packed) == data
    if name == "zlib":
        maker = zlib.compressobj(level, zlib.DEFLATED, wbits)
        assert compress(data) == maker.compress(data) + maker.flush()


@pytest.mark.parametrize("name", deflate.COMPRESSORS)
def test_nothing_lies_further_back_than_the_window(name):
    """zlib looks at the window only between two calls: what is decoded byte by byte shows each distance."""
    compress = make(name, 5, -12)
    rnd = random.Random(7)
    for period in (3000, 4000, 4095, 4096, 4097, 4300, 8000):
        data = (noise(rnd, period) * 8)[: period * 3]
        decoder = zlib.decompressobj(-12)
        rest = compress(data)
        for byte in data:
            assert decoder.decompress(rest, 1) == bytes([byte])
            rest = decoder.unconsumed_tail


def test_which_there_are(monkeypatch):
    with pytest.raises(UnsupportedImage, match="zlib, isal, zlib_ng"):
        codecs.compressor("lz4", 6, 15)
    for name, package in (("isal", "isal"), ("zlib_ng", "zlib-ng")):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(UnsupportedImage, match=f"Python package {package}"):
            codecs.compressor(name, 6, 15)
        with pytest.raises(UnsupportedImage, match=f"Python package {package}"):
            target("qcow2", compress=True, compressor=name)
    deflate.fastest.cache_clear()
    try:
        assert deflate.fastest() is deflate.ZLIB
        assert deflate.inflate(zlib.compress(b"data") + b"x", 4, 15) == b"data"
    finally:
        deflate.fastest.cache_clear()


@pytest.mark.parametrize(
    "wanted",
    [("raw",), ("qcow2",), ("vmdk", "monolithicSparse"), ("qcow2", None, True, {"compression_type": "zstd"})],
)
def test_where_nothing_is_deflated(wanted):
    assert target(*wanted).compressor == "zlib"
    with pytest.raises(UnsupportedImage, match="nothing to do"):
        target(*wanted, compressor="isal")


@pytest.mark.parametrize("name", deflate.COMPRESSORS)
@pytest.mark.parametrize("wanted", [("qcow2", None, True), ("vmdk", "streamOptimized")])
def test_qemu_reads_what_is_written(name, wanted, tmp_path, qemu_img):
    make(name, 6, 15)
    rnd = random.Random(1)
    data = b"".join(content(rnd, UNIT) for _unit in range(20)) + bytes(1 << 20) + content(rnd, 3 * UNIT + 512)
    raw = tmp_path / "raw"
    raw.write_bytes(data)
    digests = set()
    for threads in (1, 2):
        image = tmp_path / f"image{threads}"
        with Sink(str(image)) as sink:
            convert(RawReader(Memory(data)), create_writer(target(*wanted, compressor=name), sink, len(data)), threads=threads)
            sink.commit()
        subprocess.run([qemu_img, "compare", "-f", "raw", "-F", wanted[0], raw, image], check=True, stdout=subprocess.DEVNULL)
        digests.add(hashlib.sha256(image.read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize("where", range(4))
def test_the_checksum_of_a_stream_is_looked_at(where):
    """Also when all of the content has come out before it is read."""
    packed = bytearray(zlib.compress(b"text " * 1000))
    packed[-1 - where] ^= 1
    with pytest.raises(CorruptImage):
        codecs.decompress(codecs.ZLIB, bytes(packed), 5000, path="x", offset=0)
    with pytest.raises(CorruptImage):
        codecs.decompress(codecs.ZLIB, bytes(packed)[: -1 - where], 5000, path="x", offset=0)


def test_a_stream_with_a_checksum_that_holds_more():
    packed = zlib.compress(bytes(5000) + b"behind")
    assert codecs.decompress(codecs.ZLIB, packed + b"what follows", 5000, path="x", offset=0) == bytes(5000)
    with pytest.raises(CorruptImage, match="checksum|check"):
        codecs.decompress(codecs.ZLIB, packed[:-1], 5000, path="x", offset=0)
    with pytest.raises(CorruptImage, match="goes on"):
        codecs.decompress(codecs.ZLIB, zlib.compress(bytes(1 << 20)), 5000, path="x", offset=0)
