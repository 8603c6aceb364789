# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Apple's disk images, built here and judged by 7-Zip (all codecs) and qemu-img (what its build can)."""

from __future__ import annotations

import base64
import bz2
import contextlib
import json
import lzma
import random
import re
import resource
import struct
import subprocess
import threading
import zlib

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import (
    CorruptImage,
    ImageError,
    InvalidImage,
    LimitExceeded,
    UnsupportedImage,
)
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import COMPRESSED, DATA, HOLE, ZERO
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.detect import detect, require_disk
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.dmg.crc import append_zeros
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import create_writer, open_reader, target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.convert import convert

MIB = 1 << 20
ZEROS, RAW, IGNORE, ADC, ZLIB, BZIP2, LZFSE, LZMA, END = 0, 1, 2, 0x80000004, 0x80000005, 0x80000006, 0x80000007, 0x80000008, 0xFFFFFFFF


def adc(data):
    """A compressor that uses all of ADC's instructions, if not well."""
    out = bytearray()
    position = 0
    while position < len(data):
        length, distance = 0, 0
        for candidate in (1, 2, 3, 7, 100, 1000, 1024, 1025, 30000, 65536):
            matched = 0
            while (
                candidate <= position and matched < 67 and position + matched < len(data) and data[position + matched] == data[position + matched - candidate]
            ):
                matched += 1
            if matched > length:
                length, distance = matched, candidate
        if 3 <= length <= 18 and distance <= 1024:
            out += bytes([(length - 3) << 2 | (distance - 1) >> 8, (distance - 1) & 0xFF])
        elif length >= 4:
            out += bytes([0x40 | (length - 4), (distance - 1) >> 8, (distance - 1) & 0xFF])
        else:
            length = min(len(data) - position, 1 + position % 128)
            out += bytes([0x80 | (length - 1)]) + data[position : position + length]
        position += length
    return bytes(out)


PACK = {RAW: bytes, ADC: adc, ZLIB: zlib.compress, BZIP2: bz2.compress, LZMA: lzma.compress, LZFSE: lambda data: b"bvx$" + data[:100]}


class Image:
    """A disk image: tables of (type, content) chunks; of zeros and ignored chunks the content is a length."""

    def __init__(self, *tables):
        self.tables = tables
        self.content = b"".join(bytes(content) for chunks in tables for _kind, content in chunks)
        self.trailer = {}
        """offset: (format, value) that is written into the finished trailer"""
        self.change_table = lambda number, table: table
        self.change_xml = lambda xml: xml
        self.before = b""

    def build(self):
        data = bytearray(self.before)
        sector, sums, entries = 0, b"", []
        for number, chunks in enumerate(self.tables):
            rows, crc, first = [], 0, sector
            for kind, content in chunks:
                plain = bytes(content)
                packed = PACK[kind](plain) if kind in PACK else b""
                rows.append(struct.pack(">IIQQQQ", kind, 0, sector - first, len(plain) // 512, len(data), len(packed)))
                data += packed
                crc = crc if kind == IGNORE else zlib.crc32(plain, crc)
                sector += len(plain) // 512
            rows.append(struct.pack(">IIQQQQ", END, 0, sector - first, 0, len(data), 0))
            sums += crc.to_bytes(4, "big")
            head = struct.pack(">4sIQQQII24xII", b"mish", 1, first, sector - first, 0, 2056, number, 2, 32)
            table = head + crc.to_bytes(4, "big").ljust(128, b"\0") + struct.pack(">I", len(rows)) + b"".join(rows)
            entries.append((f"part &amp; {number}", self.change_table(number, table)))
        blkx = "".join(
            f"<dict><key>Attributes</key><string>0x0050</string><key>Data</key><data>\n\t{base64.encodebytes(table).decode()}\t</data>"
            f"<key>ID</key><string>{number}</string><key>Name</key><string>{name}</string></dict>"
            for number, (name, table) in enumerate(entries)
        )
        xml = self.change_xml(
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            '<!DOCTYPE plist PUBLIC "-//Apple Computer//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n'
            f'<plist version="1.0"><dict><key>resource-fork</key><dict><key>blkx</key><array>{blkx}</array><key>plst</key><array/></dict></dict></plist>'
        ).encode()
        checksum = struct.pack(">II", 2, 32) + zlib.crc32(data).to_bytes(4, "big").ljust(128, b"\0")
        master = struct.pack(">II", 2, 32) + zlib.crc32(sums).to_bytes(4, "big").ljust(128, b"\0")
        trailer = bytearray(struct.pack(">4sIIIQQQQQII16s", b"koly", 4, 512, 1, 0, 0, len(data), 0, 0, 1, 1, bytes(range(16))))
        trailer += checksum + struct.pack(">QQ120x", len(data), len(xml)) + master + struct.pack(">IQ12x", 1, sector)
        for offset, (form, value) in self.trailer.items():
            struct.pack_into(form, trailer, offset, value)
        return bytes(data) + xml + bytes(trailer)


def opened(source):
    storage = Memory(bytes(source), "some.dmg") if isinstance(source, (bytes, bytearray)) else FileStorage(source)
    return open_reader(require_disk(detect(storage), storage), storage)


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True).stdout


def some(length, seed=0):
    """Content that compresses, with repeats far and near."""
    chance = random.Random(seed)
    parts = [chance.choice((chance.randbytes(40), b"ab" * 50, bytes(70), b"line of text\n")) for part in range(length // 13 + 1)]
    return b"".join(parts)[:length]


def sample(*kinds):
    tables = [[(kinds[0], some(512, 1))], [], [(IGNORE, 3 * 512)]]
    for number in range(30):
        kind = (*kinds, ZEROS, IGNORE)[number % (len(kinds) + 2)]
        tables[1].append((kind, some(512 * (1 + number * 5), number) if kind in PACK else 512 * (1 + number * 9)))
    tables.append([(kinds[-1], some(64 * 512, 3)), (ZEROS, 512)])
    return Image(*tables)


VARIANTS = {"UDZO": [ZLIB], "UDBZ": [BZIP2], "ULMO": [LZMA], "UDCO": [ADC], "UDRO": [RAW], "mixed": [ZLIB, RAW, BZIP2, ADC, LZMA]}


@pytest.mark.parametrize("name", VARIANTS)
def test_it_is_read_as_others_do(tmp_path, name, qemu_img, seven_zip):
    image = sample(*VARIANTS[name])
    path = tmp_path / "disk.dmg"
    path.write_bytes(image.build())
    assert run(seven_zip, "x", "-tdmg", "-so", path) == image.content
    if name in ("UDZO", "UDRO"):  # Debian builds qemu-img without bzip2 for DMG; it has neither ADC nor LZMA
        assert json.loads(run(qemu_img, "info", "-f", "dmg", "--output=json", path))["virtual-size"] == len(image.content)
        run(qemu_img, "convert", "-f", "dmg", "-O", "raw", path, tmp_path / "theirs")
        assert (tmp_path / "theirs").read_bytes() == image.content
    reader = opened(path)
    info = reader.describe()
    assert (info.format, info.virtual_size) == ("dmg", len(image.content))
    assert info.compressed == (name != "UDRO")
    assert name in (info.subformat, "mixed")
    assert [part["name"] for part in info.format_specific["partitions"]] == ["part & 0", "part & 1", "part & 2", "part & 3"]
    assert content_of(reader) == image.content
    assert reader.check().clean
    chance = random.Random(4)
    for attempt in range(50):
        at, length = chance.randrange(len(image.content)), chance.choice((1, 511, 5000, 60000))
        assert reader.read_at(at, length) == image.content[at : at + length], attempt
    with Sink(tmp_path / "ours") as sink:
        convert(reader, create_writer(target("raw"), sink, reader.virtual_size), threads=2)
        sink.commit()
    assert (tmp_path / "ours").read_bytes() == image.content


def test_zeros_are_known_without_reading():
    image = Image([(ZEROS, 4 * MIB), (ZEROS, MIB), (IGNORE, MIB), (RAW, b"x" * 512), (RAW, b"y" * 512), (ZLIB, bytes(512))])
    kinds = [(extent.kind, extent.length) for extent in opened(image.build()).extents()]
    assert kinds == [(ZERO, 5 * MIB), (HOLE, MIB), (DATA, 1024), (COMPRESSED, 512)]


def test_a_large_disk_costs_nothing(tmp_path):
    path = tmp_path / "disk.dmg"
    image = Image([(ZLIB, some(512))])
    size = (64 << 40) // 512

    def rows(number, table):
        return table[:16] + struct.pack(">Q", size) + table[24:200] + struct.pack(">I", 3) + table[204:244] + zero + table[244:]

    zero = struct.pack(">IIQQQQ", ZEROS, 0, 1, size - 1, 0, 0)
    image.change_table = rows
    image.trailer = {492: (">Q", size)}
    path.write_bytes(image.build())
    reader = opened(path)
    assert reader.describe().virtual_size == 64 << 40
    assert [extent.length for extent in reader.extents()] == [512, (64 << 40) - 512]
    problems = reader.check().corruptions
    assert ["checksum of part" in problem for problem in problems] == [True]  # not of this many zeros


@pytest.mark.parametrize("count", [0, 1, 65536, 65537, 3_000_001])
def test_the_checksum_of_zeros(count):
    for head in (b"", b"abc"):
        assert append_zeros(zlib.crc32(head), count) == zlib.crc32(head + bytes(count))


def test_large_chunks_are_decompressed_once(seven_zip, tmp_path):
    """Pieces of a chunk are asked for by many threads; memory stays bounded."""
    image = Image([(ZLIB, some(5 * MIB, 1)), (BZIP2, bytes(12 * MIB)), (LZMA, some(MIB, 2) * 3), (ZLIB, some(MIB, 3))])
    path = tmp_path / "disk.dmg"
    path.write_bytes(image.build())
    assert run(seven_zip, "x", "-tdmg", "-so", path) == image.content
    reader = opened(path)
    with Sink(tmp_path / "ours") as sink:
        convert(reader, create_writer(target("raw"), sink, reader.virtual_size), threads=8)
        sink.commit()
    assert (tmp_path / "ours").read_bytes() == image.content
    wrong = []

    def read(seed):
        chance = random.Random(seed)
        for attempt in range(5):
            at = chance.randrange(len(image.content))
            if reader.read_at(at, 3 * MIB) != image.content[at : at + 3 * MIB]:
                wrong.append((seed, attempt))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_checksums_are_verified():
    image = sample(ZLIB, RAW)
    whole = image.build()
    image.trailer = {88: (">I", 1)}
    assert opened(image.build()).check().corruptions == ["the checksum of the stored data is wrong"]
    image.trailer = {360: (">I", 1)}
    assert opened(image.build()).check().corruptions == ["the checksum of the checksums (in the trailer) is wrong"]
    image.trailer = {}
    image.change_table = lambda number, table: table[:72] + b"abcd" + table[76:] if number == 1 else table
    assert opened(image.build()).check().corruptions == ["the checksum of part & 1 is wrong", "the checksum of the checksums (in the trailer) is wrong"]
    damaged = bytearray(whole)
    damaged[1] ^= 1
    found = opened(damaged).check().corruptions
    assert "damaged zlib data" in found[0]
    image.trailer = {80: (">I", 0), 352: (">I", 0)}  # none, as many programs leave them
    image.change_table = lambda number, table: table[:64] + bytes(136) + table[200:]
    assert opened(image.build()).check().clean


def test_what_is_described_and_not_read():
    cases = []
    image = sample(ZLIB, LZFSE)
    cases.append((image, "compressed with LZFSE, which is not supported; convert it first", "ULFO"))
    image = sample(ZLIB)
    image.trailer = {60: (">I", 3)}
    cases.append((image, "one of the 3 segments", None))
    image = sample(ZLIB)
    image.trailer = {40: (">Q", 0), 48: (">Q", 100), 224: (">Q", 0)}
    cases.append((image, "in a resource fork only", None))
    image = sample(ZLIB)
    image.change_table = lambda number, table: table[:204] + struct.pack(">I", 0x80000009) + table[208:]
    cases.append((image, "chunks of a type that is not supported (0x80000009)", "UDZO"))
    for image, reason, subformat in cases:
        reader = opened(image.build())
        info = reader.describe()
        assert info.virtual_size == len(image.content)
        assert info.subformat in (subformat, "UDZO")
        assert reason in reader.unreadable_reason()
        for attempt in (reader.check, lambda reader=reader: list(reader.extents()), lambda reader=reader: reader.read_at(0, 1)):
            with pytest.raises(UnsupportedImage):
                attempt()


def chunk(at=0, **fields):
    """A change of the first table's chunk number ``at``."""
    places = {"type": (0, ">I"), "sector": (8, ">Q"), "sectors": (16, ">Q"), "offset": (24, ">Q"), "length": (32, ">Q")}

    def change(number, table):
        table = bytearray(table)
        if number == 0:
            for name, value in fields.items():
                struct.pack_into(places[name][1], table, 204 + 40 * at + places[name][0], value)
        return bytes(table)

    return {"change_table": change}


def base():
    return Image([(RAW, some(2048, 1)), (ZLIB, some(2048, 2)), (ZEROS, 512)])


HUGE = (1 << 64) - 1
BAD = {
    "overlap on the disk": (CorruptImage, "two chunks hold the sector 3 ", chunk(1, sector=3)),
    "gap on the disk": (CorruptImage, "no chunk holds the sector 4 ", chunk(1, sector=5)),
    "disk longer than its chunks": (CorruptImage, "the disk has 99 sectors, its chunks 9", {"trailer": {492: (">Q", 99)}}),
    "disk shorter than its chunks": (CorruptImage, "the disk has 8 sectors, its chunks 9", {"trailer": {492: (">Q", 8)}}),
    "disk of exbibytes": (LimitExceeded, "the image declares a disk of", {"trailer": {492: (">Q", HUGE)}}),
    "one piece of the file twice": (CorruptImage, "occupies", chunk(1, offset=0)),
    "chunk in the property list": (CorruptImage, "occupies", chunk(1, length=3000)),
    "chunk in the trailer": (CorruptImage, "occupies", chunk(1, offset=len(base().build()) - 500, length=10)),
    "chunk behind the end": (CorruptImage, "behind the end of the file", chunk(1, offset=1 << 40)),
    "chunk beyond 64 bits": (CorruptImage, "behind the end of the file", chunk(1, offset=HUGE)),
    "huge stored chunk": (LimitExceeded, "67108864 is the most", chunk(1, length=65 * MIB)),
    "huge chunk": (LimitExceeded, "67108864 is the most", chunk(1, sectors=131073)),
    "chunk of exbibytes": (LimitExceeded, "67108864 is the most", chunk(1, sectors=HUGE)),
    "zeros of exbibytes": (CorruptImage, "its chunks", chunk(2, sectors=HUGE)),
    "raw chunk that is too short": (CorruptImage, "a raw chunk of 2048 bytes has 1000", chunk(0, length=1000)),
    "compressed chunk of nothing": (CorruptImage, "has no bytes in the file", chunk(1, length=0)),
    "table that is cut": (CorruptImage, "too short for its 4 chunks", {"change_table": lambda number, table: table[:-1]}),
    "table without a header": (CorruptImage, "instead of at least 204", {"change_table": lambda number, table: table[:203]}),
    "table of 4 Gi chunks": (CorruptImage, "too short", {"change_table": lambda number, table: table[:200] + b"\xff" * 4 + table[204:]}),
    "no table": (CorruptImage, "no block tables", {"change_xml": lambda xml: xml.replace("blkx", "xxxx")}),
    "tables elsewhere": (CorruptImage, "no block tables", {"change_xml": lambda xml: xml.replace("resource-fork", "x")}),
    "no xml": (CorruptImage, "cannot be read", {"change_xml": lambda xml: "<plist"}),
    "no base64": (CorruptImage, "no base64", {"change_xml": lambda xml: re.sub("(?s)<data>.*</data>", "<data>abcde</data>", xml)}),
    "unknown encoding": (CorruptImage, "cannot be read", {"change_xml": lambda xml: xml.replace("UTF-8", "no-such-thing")}),
    "deep xml": (LimitExceeded, "too deep", {"change_xml": lambda xml: "<a>" * 70 + xml}),
    "many elements": (LimitExceeded, "too many elements", {"change_xml": lambda xml: xml.replace("<array/>", "<a/>" * 100_001)}),
    "entities": (
        UnsupportedImage,
        "defines entities",
        {"change_xml": lambda xml: '<!DOCTYPE plist [<!ENTITY a "b">]><plist>&a;</plist>'},
    ),
    "xml behind the end": (CorruptImage, r"\(xml\) does not end before the trailer", {"trailer": {216: (">Q", 1 << 40)}}),
    "xml beyond 64 bits": (CorruptImage, r"\(xml\) does not end before the trailer", {"trailer": {224: (">Q", HUGE)}}),
    "data fork behind the end": (CorruptImage, r"\(data_fork\) does not end", {"trailer": {32: (">Q", 1 << 40)}}),
    "no tables at all": (CorruptImage, "neither a property list nor a resource fork", {"trailer": {224: (">Q", 0)}}),
    "data elsewhere": (CorruptImage, "occupies", {"trailer": {24: (">Q", 300), 32: (">Q", 0)}}),
}


@pytest.mark.parametrize("case", BAD)
def test_what_contradicts_itself_is_refused(case):
    error, message, changes = BAD[case]
    image = base()
    assert content_of(opened(image.build())) == image.content
    for name, value in changes.items():
        setattr(image, name, value)
    with pytest.raises(error, match=message) as caught:
        opened(image.build())
    assert str(caught.value).startswith("some.dmg: ")


@pytest.mark.parametrize("kind", [ADC, ZLIB, BZIP2, LZMA])
def test_damaged_chunks_are_refused(kind):
    image = Image([(kind, some(20480, 1))])
    whole = image.build()
    packed = len(PACK[kind](image.content))
    chance = random.Random(7)
    said = []
    for attempt in range(60):
        damaged = bytearray(whole)
        damaged[chance.randrange(packed)] ^= 1 << chance.randrange(8)
        reader = opened(damaged)
        if reader.check().clean:
            assert content_of(reader) == image.content, attempt  # a bit that says nothing of the content
            continue
        try:
            content_of(reader)
        except CorruptImage as error:
            said.append(str(error))
    assert said
    assert all(" data (" in text or "compressed unit holds" in text for text in said)
    short = Image([(kind, image.content)])
    short.change_table = lambda number, table: table[:16] + struct.pack(">Q", 41) + table[24:220] + struct.pack(">Q", 41) + table[228:]
    short.trailer = {492: (">Q", 41)}
    with pytest.raises(CorruptImage):
        content_of(opened(short.build()))


def test_the_trailer():
    whole = sample(ZLIB).build()
    for data in (whole[:-1], whole[:-512] + b"kolx" + whole[-508:]):
        with pytest.raises((InvalidImage, UnsupportedImage)):
            open_reader("dmg", Memory(data))
    with pytest.raises(UnsupportedImage, match="version 5"):
        open_reader("dmg", Memory(whole[:-508] + struct.pack(">I", 5) + whole[-504:]))
    with pytest.raises(UnsupportedImage, match="read, not written"):
        target("dmg")
    storage = Memory(whole)
    with pytest.raises(InvalidImage, match="declared as raw"):
        require_disk(detect(storage), storage, declared="raw")


def test_damage_anywhere_has_a_clear_answer():
    whole = sample(ZLIB, BZIP2, LZMA, ADC).build()
    xml = whole.index(b"<?xml")
    chance = random.Random(3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for attempt in range(400):
        damaged = bytearray(whole)
        for change in range(chance.randrange(1, 5)):
            at = chance.randrange(xml, len(damaged)) if change % 2 == 0 else chance.randrange(len(damaged) - 512, len(damaged))
            damaged[at] = chance.choice((0, 255, 128, chance.randrange(256)))
        with contextlib.suppress(ImageError):
            reader = open_reader("dmg", Memory(bytes(damaged)))
            assert reader.describe().format == "dmg", attempt
            if reader.unreadable_reason() is None:
                assert len(content_of(reader)) == reader.virtual_size
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10


def test_the_corpus(shared, tmp_path, qemu_img):
    path = tmp_path / "simple.dmg"
    path.write_bytes(bz2.decompress((shared / "corpus/shared/dmg/dmg-iotest/simple-dmg.dmg.bz2").read_bytes()))
    run(qemu_img, "convert", "-f", "dmg", "-O", "raw", path, tmp_path / "theirs")
    reader = opened(path)
    assert content_of(reader) == (tmp_path / "theirs").read_bytes()
    assert reader.check().clean
    assert reader.describe().subformat == "UDZO"
