# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Partition tables, made and judged by util-linux (sfdisk, fdisk, partx) and gdisk."""

from __future__ import annotations

import gzip
import json
import lzma
import random
import re
import struct
import subprocess
import zlib

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.raw import RawReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.inspect import describe
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.stream import open_stream
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.partitions import read_partition_table
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.types import GPT_TYPES, MBR_TYPES

MIB = 1 << 20


def run(*command, **kwargs):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, **kwargs).stdout


def table_of(source, sector_size=None):
    storage = Memory(bytes(source)) if isinstance(source, (bytes, bytearray)) else FileStorage(source)
    return read_partition_table(RawReader(storage), sector_size)


@pytest.fixture(scope="module")
def sfdisk(program):
    tool = program("sfdisk")

    def make(path, script, size=64 * MIB):
        with path.open("wb") as file:
            file.truncate(size)
        run(tool, "-q", "--no-reread", "--no-tell-kernel", path, input=script)
        return path

    make.tool = tool
    ignored = ("table-length", "grain")  # not a part of the disk; the first not always told
    make.json = lambda path: {key: value for key, value in json.loads(run(tool, "--json", path))["partitiontable"].items() if key not in ignored}
    return make


def as_sfdisk(table, node):
    """What sfdisk --json says, of our table."""
    sector = table.sector_size
    partitions = []
    for part in table.partitions:
        attributes = [name for name in part.attributes if not name.startswith("GUID:")]
        own = ",".join(name[5:] for name in part.attributes if name.startswith("GUID:"))
        said = {"node": f"{node}{part.number}", "start": part.start // sector, "size": part.length // sector, "type": part.type}
        if table.label == "gpt":
            said.update({"uuid": part.uuid, "name": part.name, "attrs": " ".join([*attributes, f"GUID:{own}"] if own else attributes) or None})
        else:
            said["bootable"] = part.bootable or None
        partitions.append({key: value for key, value in said.items() if value is not None})
    usable = {}
    if table.label == "gpt":
        usable = {"firstlba": table.usable_start // sector, "lastlba": table.usable_end // sector - 1}
    return {"label": table.label, "id": table.id, "device": str(node), "unit": "sectors", **usable, "sectorsize": sector, "partitions": partitions}


def random_dos(chance):
    lines = ["label: dos"]
    for number in range(3):
        kind = chance.choice(["83", "82", "7", "c", "8e", "fd", "ef", "da"])
        lines.append(f"size={chance.randrange(1, 9)}M, type={kind}{', bootable' if number == chance.randrange(3) else ''}")
    if chance.random() < 0.8:
        lines.insert(chance.randrange(1, 4), f"size=30M, type={chance.choice('5f')}")
        lines += [f"size={chance.randrange(1, 4)}M, type={chance.choice(['83', '82', '7'])}" for number in range(chance.randrange(7))]
    return "\n".join(lines) + "\n"


def random_gpt(chance):
    lines = ["label: gpt", f"table-length: {chance.choice((128, 128, 64, 256))}"]
    kinds = chance.choices(sorted(GPT_TYPES), k=chance.randrange(1, 12))
    for number, kind in zip(sorted(chance.sample(range(1, 60), len(kinds))), kinds):
        attributes = " ".join(
            name for name in ("RequiredPartition", "NoBlockIOProtocol", "LegacyBIOSBootable", "GUID:60", "GUID:48,63") if chance.random() < 0.2
        )
        name = chance.choice(["", "root", "Datenträger Ä", "π" * 36])
        extras = "".join([f', name="{name}"' if name else "", f', attrs="{attributes}"' if attributes else ""])
        lines.append(f"{number} : size={chance.randrange(1, 6)}M, type={kind}{extras}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("make", [random_dos, random_gpt])
def test_random_tables_are_read_as_by_sfdisk(tmp_path, sfdisk, make):
    chance = random.Random(17)
    seen = set()
    for round_number in range(25):
        path = sfdisk(tmp_path / f"disk{round_number}-", make(chance))
        table = table_of(path)
        assert as_sfdisk(table, path) == sfdisk.json(path), round_number
        assert table.warnings == []
        seen.update(part.kind for part in table.partitions)
        if make is random_gpt:
            assert (table.protective_mbr, table.mbr_partitions, table.used_backup) == ("protective", [], False)
        path.unlink()
    assert seen == ({"primary"} if make is random_gpt else {"primary", "extended", "logical"})


def test_partition_uuids_of_an_mbr(tmp_path, sfdisk, program):
    path = sfdisk(tmp_path / "disk", "label: dos\nlabel-id: 0x0000beef\nsize=1M\nsize=20M, type=5\n5 : size=1M\n")
    table = table_of(path)
    assert table.id == "0x0000beef"
    assert [part.uuid for part in table.partitions] == ["0000beef-01", "0000beef-02", "0000beef-05"]
    parts = run(program("partx"), "--show", "--output", "NR,UUID", "--noheadings", path).split()
    assert parts == ["1", "0000beef-01", "2", "0000beef-02", "5", "0000beef-05"]


@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_sectors_of_4096_bytes(tmp_path, program, label):
    """Judged by fdisk, as older sfdisks cannot. It does not make them: each time it has the whole machine's disks synced."""
    path = tmp_path / "disk"
    if label == "gpt":
        path.write_bytes(forged_gpt(entries=[entry(256, 511, "root"), bytes(128), entry(600, 899)], sector=4096))
    else:
        chain = [(300, [mbr_entry(0x82, 8, 100), mbr_entry(5, 200, 300)]), (500, [mbr_entry(7, 8, 100)])]
        path.write_bytes(disk_with((0, [mbr_entry(0x83, 10, 100, 0x80), mbr_entry(5, 300, 700)]), *chain, sector=4096))
    columns = "Device,Start,Sectors,Type-UUID,UUID" if label == "gpt" else "Device,Start,Sectors,Id"
    shown = run(program("fdisk"), "-b", "4096", "-l", "-o", columns, path).rpartition("\n\n")[2].splitlines()[1:]
    table = table_of(path, None if label == "gpt" else 4096)
    assert (table.label, table.sector_size, table.warnings) == (label, 4096, [])
    ours = [[f"{path}{part.number}", str(part.start // 4096), str(part.length // 4096), part.type, part.uuid] for part in table.partitions]
    assert [line.split() for line in shown] == [line if label == "gpt" else line[:4] for line in ours]
    assert len(shown) == (2 if label == "gpt" else 4)


def test_types_are_called_as_sfdisk_does(sfdisk):
    for label, names in (("dos", {f"{number:x}": name for number, name in MBR_TYPES.items()}), ("gpt", GPT_TYPES)):
        said = dict(re.findall(r"(?m)^ ?([0-9a-f]{1,2}|[0-9A-F-]{36}) +(\S.*)$", run(sfdisk.tool, "--list-types", "--label", label)))
        assert len(said) > 90
        same = sum(names.get(number) == name for number, name in said.items())
        assert same > 0.9 * len(said)  # a few change from release to release


def test_a_hybrid_mbr(tmp_path, program):
    """Judged by gdisk, which says what an MBR beside a GPT is."""
    data = bytearray(forged_gpt(entries=[entry(100, 199), entry(200, 299), entry(300, 399)]))
    path = tmp_path / "disk"
    for others, said in (([], "protective"), ([mbr_entry(0x83, 200, 100, 0x80), mbr_entry(7, 300, 100)], "hybrid")):
        data[462 : 462 + 16 * len(others)] = b"".join(others)
        path.write_bytes(data)
        assert re.search(r"MBR: (\w+)", run(program("gdisk"), "-l", path))[1] == said
        table = table_of(path)
        assert (table.label, table.protective_mbr, len(table.partitions)) == ("gpt", said, 3)
    shown = [(part.number, part.start, part.length, part.bootable) for part in table.mbr_partitions]
    assert shown == [(2, 200 * 512, 51200, True), (3, 300 * 512, 51200, False)]


def damaged(path, *places):
    data = bytearray(path.read_bytes())
    for at in places:
        data[at] ^= 1
    return data


def test_a_damaged_gpt(tmp_path, sfdisk):
    path = sfdisk(tmp_path / "disk", "label: gpt\nsize=4M, type=U\nsize=8M, name=root\n", 16 * MIB)
    whole = table_of(path)
    header, entries, backup, backup_entries = 512 + 60, 1024 + 40, 16 * MIB - 512 + 60, 16 * MIB - 33 * 512 + 40
    for place, said in ((header, "checksum of the header"), (entries, "checksum of the entries"), (512, "no signature")):
        data = damaged(path, place)
        table = table_of(data)
        assert (table.partitions, table.id, table.used_backup) == (whole.partitions, whole.id, True)
        assert table.warnings == [f"the GPT is damaged ({said}); its backup is used"]
        (tmp_path / "damaged").write_bytes(data)
        assert as_sfdisk(table, tmp_path / "damaged")["partitions"] == sfdisk.json(tmp_path / "damaged")["partitions"]
    for place, said in ((backup, "checksum of the header"), (backup_entries, "checksum of the entries")):
        table = table_of(damaged(path, place))
        assert (table.partitions, table.used_backup) == (whole.partitions, False)
        assert table.warnings == [f"the backup of the GPT is damaged or missing ({said})"]
    table = table_of(damaged(path, header, backup))
    assert (table.label, [part.type for part in table.partitions]) == ("dos", ["ee"])
    assert ["both copies of it are damaged" in warning for warning in table.warnings] == [True]
    table = table_of(damaged(path, 510))
    assert (table.partitions, table.protective_mbr) == (whole.partitions, "missing")
    assert ["operating systems do not look at this GPT" in warning for warning in table.warnings] == [True]
    assert table_of(damaged(path, 510, header)) is None  # what is left of an earlier use
    assert table_of(path.read_bytes() + bytes(MIB)).warnings == ["the backup of the GPT does not lie at the end of the disk: was the disk made larger?"]
    cut = table_of(path.read_bytes()[: 8 * MIB])
    assert cut.partitions == whole.partitions
    assert cut.warnings == [
        "the backup of the GPT is damaged or missing (not on the disk)",
        f"partition 2 ends at byte {13 * MIB}, behind the end of the disk ({8 * MIB} bytes)",
    ]
    other = sfdisk(tmp_path / "other", "label: gpt\nsize=4M\n", 16 * MIB).read_bytes()
    mixed = path.read_bytes()[: 8 * MIB] + other[8 * MIB :]
    assert table_of(mixed).warnings == ["the GPT and its backup say different things; the first is used"]


def forged_gpt(header=None, entries=None, size=4 * MIB, sector=512):
    """A GPT with sound checksums, whose header (offset: (format, value)) and entries are made up."""
    data = bytearray(size)
    last, count = size // sector - 1, 16384 // sector
    data[446:462] = struct.pack("<BBBBBBBBII", 0, 0, 2, 0, 0xEE, 255, 255, 255, 1, last)
    data[510:512] = b"\x55\xaa"
    rows = b"".join(entries or []).ljust(16384, b"\0")
    for at, other, place in ((1, last, 2), (last, 1, last - count)):
        usable = count + 2, last - count - 1
        fields = 0x10000, 92, 0, 0, at, other, *usable, bytes(range(16)), place, 128, 128, zlib.crc32(rows)
        head = bytearray(struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", *fields))
        for offset, (form, value) in (header or {}).items():
            struct.pack_into(form, head, offset, value)
        struct.pack_into("<I", head, 16, zlib.crc32(head))
        data[at * sector : at * sector + 92] = head
        data[place * sector : place * sector + len(rows)] = rows
    return bytes(data)


def entry(start, end, name="x"):
    return bytes(range(16)) + bytes(range(16)) + struct.pack("<QQQ", start, end, 0) + name.encode("utf-16-le").ljust(72, b"\0")


def test_partitions_that_lie_wrong():
    table = table_of(forged_gpt(entries=[entry(100, 199), entry(150, 300), entry(400, 399 - 1), entry(20, 30), entry(1000, 1 << 60)]))
    assert table.warnings[:3] == [
        "partition 3 ends before it begins",
        "partition 4 does not lie in what the GPT says is usable",
        "partition 5 does not lie in what the GPT says is usable",
    ]
    assert "partitions 1 and 2 overlap" in table.warnings
    assert any(warning.startswith("partition 5 ends at byte") for warning in table.warnings)
    assert [part.length for part in table.partitions[:3]] == [51200, 151 * 512, 0]
    many = table_of(forged_gpt(entries=[entry(100, 199)] * 128))
    assert (len(many.partitions), len(many.warnings), many.warnings[-1]) == (128, 21, "… and more")
    assert table_of(forged_gpt(entries=[entry(100, 199, "a\n\x1b[31mb")])).partitions[0].name == r"a\n\x1b[31mb"
    odd = struct.pack("<H", 0xD800).ljust(72, b"\0")
    assert table_of(forged_gpt(entries=[entry(100, 199)[:56] + odd])).partitions[0].name


@pytest.mark.parametrize(
    "header",
    [
        {80: ("<I", 1 << 31)},
        {84: ("<I", 64)},
        {84: ("<I", 0)},
        {84: ("<I", 1 << 31)},
        {12: ("<I", 91)},
        {12: ("<I", 4096)},
        {72: ("<Q", 1 << 60)},
        {72: ("<Q", 0)},
        {24: ("<Q", 7)},
    ],
)
def test_impossible_headers(header):
    table = table_of(forged_gpt(header, [entry(100, 199)]))
    assert table.label == "dos"
    assert ["both copies of it are damaged" in warning for warning in table.warnings] == [True]


def mbr_entry(kind, start, sectors, flag=0):
    return struct.pack("<BBBBBBBBII", flag, 0, 0, 0, kind, 0, 0, 0, start, sectors)


def disk_with(*records, size=4 * MIB, sector=512):
    """A disk with MBRs and EBRs: (sector, entries)."""
    data = bytearray(size)
    for number, entries in records:
        at = number * sector
        data[at + 446 : at + 446 + 16 * len(entries)] = b"".join(entries)
        data[at + 510 : at + 512] = b"\x55\xaa"
    return bytes(data)


def test_chains_of_logical_partitions_that_are_wrong():
    main = (0, [mbr_entry(5, 100, 5000)])
    logical = mbr_entry(0x83, 1, 10)
    cases = {
        "a loop": [(100, [logical, mbr_entry(5, 50, 100)]), (150, [logical, mbr_entry(5, 0, 100)])],
        "breaks off at byte 76800: no signature": [(100, [logical, mbr_entry(5, 50, 100)])],
        "behind the end of the disk": [(100, [logical, mbr_entry(5, 1 << 31, 100)])],
        "does not lie in the extended one": [(100, [mbr_entry(0x83, 4500, 1000)])],
        "more than 252": [(100 + number, [logical, mbr_entry(5, number + 1, 1)]) for number in range(300)],
    }
    for said, records in cases.items():
        table = table_of(disk_with(main, *records))
        assert any(said in warning for warning in table.warnings), (said, table.warnings)
        assert 2 <= len(table.partitions) <= 253
        assert len(table.warnings) <= 21
    table = table_of(disk_with(main, (100, [mbr_entry(0, 0, 0), mbr_entry(5, 50, 100)]), (150, [logical])))
    assert [(part.number, part.start) for part in table.partitions] == [(1, 51200), (5, 151 * 512)]


def test_partitions_of_an_mbr_that_lie_wrong():
    table = table_of(
        disk_with(
            (0, [mbr_entry(0x83, 100, 100), mbr_entry(0x83, 150, 100), mbr_entry(5, 240, 100), mbr_entry(7, 8000, 500)]), (240, [mbr_entry(0x83, 20, 10)])
        )
    )
    assert table.warnings == [
        f"partition 4 ends at byte {8500 * 512}, behind the end of the disk ({4 * MIB} bytes)",
        "partitions 1 and 2 overlap",
        "partitions 2 and 3 overlap",
    ]
    assert table.id is None
    assert table.partitions[0].uuid is None


def test_what_is_no_partition_table(tmp_path, program):
    for name, command in {"fat": ["mkfs.vfat"], "ntfs": ["mkntfs", "-F", "-q"], "ext4": ["mkfs.ext4", "-q"], "swap": ["mkswap", "-q"]}.items():
        path = tmp_path / name
        with path.open("wb") as file:
            file.truncate(8 * MIB)
        tool = program(command[0])
        subprocess.run([tool, *command[1:], path], check=True, capture_output=True)
        assert table_of(path) is None, name
    for data in (b"", bytes(100), bytes(512), bytes(MIB), bytes(510) + b"\x55\xaa", b"LUKS\xba\xbe\0\1" + bytes(MIB), b"\xff" * 4096):
        assert table_of(data) is None
    for flag in (1, 0x7F, 0xFF):
        assert table_of(disk_with((0, [mbr_entry(0x83, 1, 10, flag)]))) is None


def test_random_bytes_have_an_answer():
    chance = random.Random(3)
    gpt = forged_gpt(entries=[entry(100, 199)], size=MIB)
    dos = disk_with(
        (0, [mbr_entry(5, 100, 500), mbr_entry(0x83, 700, 20)]),
        (100, [mbr_entry(0x83, 1, 10), mbr_entry(5, 50, 60)]),
        (150, [mbr_entry(0x83, 1, 10)]),
        size=MIB,
    )
    answers = set()
    for attempt in range(300):
        data = bytearray(gpt if attempt % 2 else dos)
        for change in range(chance.randrange(1, 6)):
            at = chance.choice(
                (chance.randrange(446, 512), chance.randrange(512, 2048), 51200 + chance.randrange(446, 512), len(data) - 1 - chance.randrange(512))
            )
            data[at] = chance.choice((0, 255, change, chance.randrange(256)))
        table = table_of(data)
        answers.add(table.label if table else None)
    assert answers == {"dos", "gpt", None}


def test_it_costs_a_few_sectors_of_a_compressed_image(tmp_path, sfdisk):
    """Neither the backup at the end nor the logical partitions far behind are worth to decompress all."""
    path = sfdisk(tmp_path / "disk", "label: dos\nsize=1M\nsize=20M, type=5\n5 : size=10M\n6 : size=1M\n", 24 * MIB)
    stream = open_stream(Memory(gzip.compress(path.read_bytes(), 1)), "gzip")
    table = read_partition_table(RawReader(stream))
    assert [part.number for part in table.partitions] == [1, 2]
    assert table.warnings == ["logical partitions are left out, as the image would have to be decompressed up to them"]
    path = sfdisk(tmp_path / "gpt", "label: gpt\nsize=1M\n", 24 * MIB)
    whole = table_of(path)
    stream = open_stream(Memory(lzma.compress(path.read_bytes(), preset=0)), "xz")
    reader = RawReader(stream)
    decoded = stream._decoder.offset
    assert read_partition_table(reader) == whole
    assert stream._decoder.offset == decoded


@pytest.mark.parametrize("form", ["qcow2", "vmdk", "vpc"])
def test_it_is_part_of_the_description(tmp_path, sfdisk, qemu_img, form):
    path = sfdisk(tmp_path / "disk.raw", "label: gpt\nsize=4M, type=U\nsize=8M, name=root\n")
    run(qemu_img, "convert", "-f", "raw", "-O", form, path, tmp_path / "image")
    with open_source(Request(str(tmp_path / "image"))) as source:
        found = describe(source)["partition_table"]
    json.dumps(found)
    assert [(part["number"], part["start"], part["name"]) for part in found["partitions"]] == [(1, MIB, None), (2, 5 * MIB, "root")]
    assert (found["label"], found["protective_mbr"], found["sector_size"]) == ("gpt", "protective", 512)


def test_damage_of_the_image_does_not_keep_it_from_being_described(tmp_path, sfdisk, qemu_img):
    path = sfdisk(tmp_path / "disk.raw", "label: gpt\nsize=4M, type=U\n")
    image = tmp_path / "image"
    run(qemu_img, "convert", "-c", "-f", "raw", "-O", "qcow2", path, image)
    data = bytearray(image.read_bytes())
    data[5 * 65536 : 5 * 65536 + 32] = b"\xff" * 32  # the first compressed cluster
    image.write_bytes(data)
    with open_source(Request(str(image))) as source:
        found = describe(source)
    assert found["partition_table"] is None
    assert ["the partition table cannot be read" in warning for warning in found["warnings"]] == [True]
    run(qemu_img, "create", "-q", "-f", "qcow2", "-b", path, "-F", "raw", tmp_path / "overlay")
    with open_source(Request(str(tmp_path / "overlay"))) as source:
        assert describe(source)["partition_table"] is None  # the file below may not be read
    with open_source(Request(str(tmp_path / "overlay"), references=str(tmp_path))) as source:
        assert describe(source)["partition_table"]["label"] == "gpt"


def test_the_corpus(shared, tmp_path, sfdisk):
    for name, label, count in (("ul-pt-gpt/gpt", "gpt", 3), ("raw-dfvfs-gpt/gpt", "gpt", 2), ("raw-dfvfs-mbr/mbr", "dos", 3)):
        stored = next((shared / "corpus/shared/raw").glob(f"{name}.*.xz"))
        path = tmp_path / "disk"
        path.write_bytes(lzma.decompress(stored.read_bytes()))
        table = table_of(path)
        said = sfdisk.json(path)
        ours = as_sfdisk(table, path)
        assert (table.label, ours["partitions"], ours["id"]) == (label, said["partitions"], said["id"]), count
