# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""LVM2: volume groups made and described by lvm(8) without device-mapper, and such as it cannot make here, made by hand."""

from __future__ import annotations

import json
import os
import random
import re
import struct
import subprocess
import zlib

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, LimitExceeded
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.lvm2.group import read_group
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.lvm2.label import read_label, read_metadata
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.lvm2.striped import StripedStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.lvm2.text import parse
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.lvm2.volumes import device_paths, logical_volumes

MIB = 1 << 20


class Lvm:
    """Files as physical volumes, on loop devices for as long as lvm works with them."""

    def __init__(self, folder, lvm, losetup):
        self.folder, self.lvm, self.losetup = folder, lvm, losetup
        self.devices = {}

    def attach(self, name, size, sector=512):
        path = self.folder / name
        with path.open("wb") as file:
            file.truncate(size)
        done = subprocess.run([self.losetup, "-f", "--show", "-b", str(sector), path], check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no loop devices here: {done.stderr.strip()}")
        self.devices[done.stdout.strip()] = path
        return done.stdout.strip()

    def __call__(self, command, *arguments):
        allowed = "".join(f'"a|^{device}$|",' for device in self.devices)
        config = f"""
            devices {{ use_devicesfile=0 obtain_device_list_from_udev=0 filter=[{allowed}"r|.*|"] }}
            global {{ use_lvmpolld=0 event_activation=0 locking_dir="{self.folder}/locks" }}
            activation {{ udev_sync=0 udev_rules=0 monitoring=0 }}
            backup {{ backup=0 archive=0 }}"""
        words = [self.lvm, command, "--driverloaded", "n", "--config", config, *arguments]
        environment = {**os.environ, "LVM_SUPPRESS_FD_WARNINGS": "1"}
        done = subprocess.run([str(word) for word in words], check=False, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def create(self, *arguments):
        """A logical volume. It is not wiped, as there is no device to write to."""
        self("lvcreate", "-an", "-Zn", "-Wn", "-y", *arguments)

    def report(self, command, fields, *arguments):
        said = json.loads(self(command, "--reportformat", "json", "--units", "b", "--nosuffix", "-o", fields, *arguments))
        return next(iter(said["report"][0].values()))

    def detach(self):
        for device in self.devices:
            subprocess.run([self.losetup, "-d", device], check=True)
        self.devices = {}


@pytest.fixture
def lvm(tmp_path, program):
    found = Lvm(tmp_path, program("lvm"), program("losetup"))
    if os.geteuid():
        pytest.skip("only root may set up loop devices")
    yield found
    found.detach()


def content_by_lvm(lvm):
    """{name: bytes} of all volumes, put together as lvs and pvs say, of random bytes that are written to the files here."""
    physical = lvm.report("pvs", "pv_name,pe_start,pv_pe_count")
    starts = {row["pv_name"]: int(row["pe_start"]) for row in physical}
    counts = {row["pv_name"]: int(row["pv_pe_count"]) for row in physical}
    extent = int(lvm.report("vgs", "vg_extent_size")[0]["vg_extent_size"])
    rows = lvm.report("lvs", "vg_name,lv_name,seg_start_pe,stripes,stripe_size,seg_pe_ranges", "-O", "vg_name,lv_name,seg_start_pe")
    files = dict(lvm.devices)
    lvm.detach()
    chance = random.Random(7)
    data = {}
    for device, path in files.items():
        with path.open("r+b") as file:
            file.seek(starts[device])
            file.write(chance.randbytes(counts[device] * extent))
        data[device] = path.read_bytes()
    found = {}
    for row in rows:
        legs = []
        for device, first, last in re.findall(r"(\S+):(\d+)-(\d+)", row["seg_pe_ranges"]):
            at = starts[device] + int(first) * extent
            legs.append(data[device][at : at + (int(last) - int(first) + 1) * extent])
        chunk = int(row["stripe_size"]) if len(legs) > 1 else len(legs[0])
        mixed = b"".join(leg[at : at + chunk] for at in range(0, len(legs[0]), chunk) for leg in legs)
        name = f"{row['vg_name']}/{row['lv_name']}"
        found[name] = found.get(name, b"") + mixed
    return found


def ours(paths):
    warnings = []
    volumes = logical_volumes([(path.name, FileStorage(path)) for path in paths], lambda *said: warnings.append(said))
    return volumes, warnings


@pytest.mark.parametrize(("sector", "extent"), [(512, "1M"), (4096, "64k")])
def test_volumes_read_as_lvm_lays_them_out(lvm, tmp_path, sector, extent):
    first, second, third = (lvm.attach(name, 24 * MIB, sector) for name in ("one.img", "two.img", "three.img"))
    lvm("pvcreate", "-ff", "-y", first)
    lvm("pvcreate", "-ff", "-y", "--metadatacopies", "2", second)
    lvm("pvcreate", "-ff", "-y", "--metadatacopies", "0", third)
    lvm("vgcreate", "-s", extent, "vg-0", first, second, third)
    lvm.create("-L", "3M", "-n", "root", "vg-0")
    lvm.create("-i", "2", "-I", "16", "-L", "6M", "-n", "two", "vg-0")
    lvm.create("-i", "3", "-I", "64", "-L", "9M", "-n", "three-3", "vg-0")
    lvm.create("-L", "1M", "-n", "gone", "vg-0")
    lvm("lvextend", "-L", "30M", "vg-0/root")
    lvm("lvremove", "-y", "vg-0/gone")
    uuids = {row["lv_name"]: row["lv_uuid"] for row in lvm.report("lvs", "lv_name,lv_uuid")}
    paths = list(lvm.devices.values())
    expected = content_by_lvm(lvm)
    volumes, warnings = ours(paths)
    assert warnings == []
    assert {volume.name: volume.uuid for volume in volumes} == {f"vg-0/{name}": uuid for name, uuid in uuids.items()}
    chance = random.Random(1)
    for volume in volumes:
        content = expected[volume.name]
        assert volume.size == volume.storage.size == len(content)
        assert volume.storage.read_at(0, volume.size + 1) == content
        for _number in range(50):
            at, length = chance.randrange(volume.size), chance.randrange(1, 200_000)
            assert volume.storage.read_at(at, length) == content[at : at + length]
        assert sum(length for _at, length in volume.storage.data_ranges()) == len(content)
    assert device_paths(volumes[-1].name) == ("/dev/vg-0/three-3", "/dev/mapper/vg--0-three--3")
    # Without one of the three, what lies on it cannot be read, and the reason names it.
    volumes, warnings = ours(paths[:2])
    missing = read_label(FileStorage(paths[2])).uuid
    assert {volume.name: volume.reason for volume in volumes}["vg-0/three-3"] == f"a physical volume of the group is missing: {missing}"
    assert {volume.name for volume in volumes if volume.storage} == {"vg-0/root", "vg-0/two"}
    # The same one twice: a copy of a disk.
    volumes, warnings = ours([paths[0], *paths])
    assert warnings == [("one.img", "it is the same physical volume as one.img, so it is not looked at")]
    # A disk that was cut.
    os.truncate(paths[0], 12 * MIB)
    volumes, warnings = ours(paths)
    assert {volume.name: volume.reason for volume in volumes}["vg-0/root"] == "the physical volume one.img is smaller than it was: the disk was cut"


def test_metadata_that_goes_around_the_ring(lvm, tmp_path):
    device = lvm.attach("ring.img", 8 * MIB)
    lvm("pvcreate", "-ff", "-y", "--metadatasize", "60k", "--dataalignment", "64k", device)
    lvm("vgcreate", "-s", "64k", "ring", device)
    lvm.create("-l", "3", "-n", "one", "ring")
    lvm("vgchange", *(f"--addtag=tag{number}{'x' * 900}" for number in range(9)), "ring")
    storage = FileStorage(lvm.devices[device])
    wrapped = 0
    for number in range(14):
        lvm("lvchange", f"--addtag=change{number}", "ring/one")
        lvm("vgcfgbackup", "-f", tmp_path / "backup", "ring")
        (offset, size), *others = read_label(storage).areas
        assert others == []
        text = read_metadata(storage, offset, size)
        start, length = struct.unpack("<QQ", storage.read_at(offset + 40, 16))
        wrapped += start + length > size
        group, backup = read_group(text, "disk"), read_group((tmp_path / "backup").read_bytes(), "backup")
        assert group == backup
        assert parse(text, "disk")["ring"] == parse((tmp_path / "backup").read_bytes(), "backup")["ring"]
        assert f"change{number}" in parse(text, "disk")["ring"]["logical_volumes"]["one"]["tags"]
    assert wrapped > 0


def test_the_newest_of_two_areas_counts(lvm):
    device = lvm.attach("two.img", 8 * MIB)
    lvm("pvcreate", "-ff", "-y", "--metadatacopies", "2", device)
    lvm("vgcreate", "-s", "64k", "vg", device)
    lvm.create("-l", "3", "-n", "old", "vg")
    path = lvm.devices[device]
    before = path.read_bytes()
    lvm("lvrename", "vg/old", "vg/new")
    after = bytearray(path.read_bytes())
    areas = read_label(Memory(bytes(after))).areas
    assert len(areas) == 2
    for kept in (0, 1):  # one of the areas was not reached by the last change
        offset, size = areas[1 - kept]
        mixed = bytearray(after)
        mixed[offset : offset + size] = before[offset : offset + size]
        assert [volume.name for volume in logical_volumes([("vda", Memory(bytes(mixed)))])] == ["vg/new"]
    damaged = bytearray(after)
    damaged[areas[0][0] + 600] ^= 1
    damaged[areas[1][0] + 8] ^= 1
    said = []
    offset, size = areas[0]
    position = struct.unpack("<Q", after[offset + 40 : offset + 48])[0]
    damaged[offset + position + 5] ^= 1
    assert logical_volumes([("vda", Memory(bytes(damaged)))], lambda *what: said.append(what)) == []
    assert said == [("vda", "LVM's metadata is damaged: its checksum is wrong"), ("vda", "the header of LVM's metadata area is damaged")]


# ---- made by hand, by lvm2's sources: types that lvm makes with a kernel only


def crc(data):
    return zlib.crc32(data, 0xF597A6CF ^ 0xFFFFFFFF) ^ 0xFFFFFFFF


PV = "000000-0000-0000-0000-0000-0000-000001"


def physical_volume(text, size=4 * MIB, sector=1, uuid=PV):
    """A disk with a label, one metadata area of 64 KiB at 4096, and data from 1 MiB on."""
    disk = bytearray(size)
    lists = struct.pack("<QQQQQQQQ", MIB, 0, 0, 0, 4096, 65536, 0, 0)
    header = uuid.replace("-", "").encode() + struct.pack("<Q", size) + lists
    rest = (struct.pack("<I", 32) + b"LVM2 001" + header).ljust(492, b"\0")
    disk[sector * 512 : (sector + 1) * 512] = b"LABELONE" + struct.pack("<QI", sector, crc(rest)) + rest
    text = text.encode() + b"\0"
    disk[4096 + 512 : 4096 + 512 + len(text)] = text
    area = (b" LVM2 x[5A%r0N*>" + struct.pack("<IQQ", 1, 4096, 65536) + struct.pack("<QQII", 512, len(text), crc(text), 0)).ljust(508, b"\0")
    disk[4096 : 4096 + 512] = struct.pack("<I", crc(area)) + area
    return bytes(disk)


def segment(number=1, extents=4, start=0, kind="striped", more='stripe_count = 1\nstripes = ["pv0", 0]'):
    return f'segment{number} {{ start_extent = {start}\n extent_count = {extents}\n type = "{kind}"\n {more} }}\n'


def volume(name, *segments, status='"READ", "WRITE", "VISIBLE"'):
    return f'{name} {{ id = "{name}" status = [{status}] segment_count = {len(segments)}\n{"".join(segments)} }}\n'


def group(*volumes, seqno=1, name="vg", uuid=PV):
    physical = f'physical_volumes {{ pv0 {{ id = "{uuid}" pe_start = 2048 pe_count = 40 }} }}'
    return f'{name} {{ id = "{name}" seqno = {seqno} extent_size = 128 # 64 KiB\n{physical}\nlogical_volumes {{\n{"".join(volumes)} }} }}\ncontents = "Text"\n'


def test_what_cannot_be_read_is_named():
    text = group(
        volume("good", segment()),
        volume("thin", segment(kind="thin", more='thin_pool = "pool"')),
        volume("pool", segment(kind="thin-pool")),
        volume("cached", segment(kind="cache+METADATA_FORMAT", more='origin = "x"')),
        volume("raid", segment(kind="raid1", more='raids = ["a", "b"]')),
        volume("snap", segment()),
        volume("snapshot0", segment(kind="snapshot", more='origin = "good"\ncow_store = "snap"'), status='"READ"'),
        volume("hidden", segment(), status='"READ"'),
        volume("above", segment(more='stripe_count = 1\nstripes = ["good", 0]')),
        volume("zeros", segment(kind="zero")),
        volume("lost", segment(kind="error")),
        volume("behind", segment(more='stripe_count = 1\nstripes = ["pv0", 37]')),
        volume("mixed", segment(), segment(2, 4, 4, "vdo")),
        volume("ragged", segment(more='stripe_count = 2\nstripe_size = 7\nstripes = ["pv0", 0, "pv0", 2]')),
        volume("empty"),
    )
    found = {each.volume: each for each in logical_volumes([("vda2", Memory(physical_volume(text)))])}
    assert {name: each.reason for name, each in found.items()} == {
        "good": None,
        "thin": "a thin volume: its blocks are wherever its pool has put them; only linear and striped volumes are read",
        "pool": "a pool of thin volumes, which is no volume by itself; only linear and striped volumes are read",
        "cached": "a cached volume: what it holds may be in the cache only; only linear and striped volumes are read",
        "raid": "a volume of the type raid1; only linear and striped volumes are read",
        "snap": "a snapshot: only what has changed is in it",
        "above": "it lies on another logical volume, good",
        "zeros": None,
        "lost": "a volume of which a part was lost; only linear and striped volumes are read",
        "behind": "its metadata names extents that the physical volume does not have",
        "mixed": "a VDO volume: compressed and deduplicated; only linear and striped volumes are read",
        "ragged": "its stripes are no whole chunks",
        "empty": "a volume without extents",
    }
    assert all((each.storage is None) == (each.reason is not None) for each in found.values())
    assert list(found["zeros"].storage.data_ranges()) == []
    assert found["zeros"].storage.read_at(0, 1 << 30) == bytes(256 * 1024)


@pytest.mark.parametrize("sector", range(4))
def test_a_label_lies_in_one_of_four_sectors(sector):
    assert read_label(Memory(physical_volume(group(), sector=sector))).uuid == PV


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vg {", "ends inside a section"),
        ("vg { a = ] }", "] was not expected there"),
        ('vg { a = "b }', "was not expected there"),
        ("}", "} was not expected there"),
        ("a { } b { }", "describes 2 volume groups"),
        ("a = 1", "describes 0 volume groups"),
        ("vg " + "{ a " * 20, "too many sections in each other"),
        ("vg { id = 5 extent_size = 8 }", "id cannot be 5"),
        ('vg { id = "x" seqno = 1 extent_size = 0 }', "extent_size cannot be 0"),
        ('vg { id = "x" extent_size = 8 }', "seqno is missing"),
        (group(volume("x", segment(extents=0))), "extent_count cannot be 0"),
        (group(volume("x", segment(start=1))), "x has a gap, or an overlap, at extent 0"),
        (group(volume("x", segment(more='stripe_count = 2\nstripes = ["pv0", 0]'))), "stripes cannot be"),
        (group(volume("x", segment(more='stripe_count = 1\nstripes = [0, "pv0"]'))), "stripes cannot be"),
        (group(volume("x", segment(extents=4294967296), segment(2, 4294967296, 4294967296))), "x has 8589934592 extents"),
        (group("x = 5"), "x cannot be 5"),
        (group('x { id = "x" segment_count = 9 }'), "segment1 is missing"),
    ],
)
def test_damaged_metadata_is_said_to_be(text, said):
    warnings = []
    assert logical_volumes([("vda", Memory(physical_volume(text)))], lambda *what: warnings.append(what)) == []
    assert len(warnings) == 1
    assert said in warnings[0][1]


def test_the_grammar():
    text = b"""# made by hand
    a_1.b-c+d { # a section
        number = -12 fraction = 0.5 long = 99999999999999999999
        list = [ "a", 5,  # with a comment
                 "b\\"c\\\\d" ] empty = [] one=1}
    hash = "# none"\0 }}} not looked at"""
    assert parse(text, "x") == {
        "a_1.b-c+d": {"number": -12, "fraction": "0.5", "long": "99999999999999999999", "list": ["a", 5, 'b"c\\d'], "empty": [], "one": 1},
        "hash": "# none",
    }


def test_metadata_has_bounds():
    for text in (b"a = [" + b"1," * 300_000 + b"]", b"".join(b"k%d = 1 " % number for number in range(300_000))):
        with pytest.raises(LimitExceeded):
            parse(text, "x")
    with pytest.raises(CorruptImage):
        parse(b'a = "' + b"\\x" * 200_000, "x")
    different = [
        (f"vda{number}", Memory(physical_volume(f"{group(seqno=number)}#{'x' * 60_000}", 80 << 10, uuid=f"{number:06}{PV[6:]}"))) for number in range(150)
    ]
    said = []
    assert logical_volumes(different, lambda *what: said.append(what)) == []
    assert said[0] == ("vda139", "more than 8388608 bytes of LVM's metadata that differ")


class Holes(Memory):
    def __init__(self, data, ranges):
        super().__init__(data)
        self.ranges = ranges

    def data_ranges(self, start=0, end=None):
        end = self.size if end is None else end
        for offset, length in self.ranges:
            low, high = max(offset, start), min(offset + length, end)
            if low < high:
                yield low, high - low


def test_holes_of_stripes():
    chance = random.Random(3)
    for _number in range(200):
        stripes, chunk, rows = chance.randrange(2, 5), chance.choice((1, 4, 7)), chance.randrange(1, 12)
        legs = []
        for _leg in range(stripes):
            data, ranges, at = bytearray(chunk * rows), [], 0
            while at < len(data):
                length = min(chance.randrange(1, 9), len(data) - at)
                if chance.random() < 0.3:
                    ranges.append((at, length))
                    data[at : at + length] = b"\1" * length
                at += length
            legs.append(Holes(bytes(data), ranges))
        storage = StripedStorage(legs, chunk, "striped")
        content = storage.read_at(0, storage.size)
        start = chance.randrange(storage.size)
        end = chance.randrange(start, storage.size + 1)
        covered = bytearray(storage.size)
        last = start
        for at, length in storage.data_ranges(start, end):
            assert at >= last
            assert length > 0
            last = at + length
            covered[at:last] = b"\1" * length
        assert last <= max(end, start)
        assert all(covered[at] for at in range(start, end) if content[at])


def test_mutations_are_refused_or_read():
    text = group(volume("root", segment()), volume("two", segment(more='stripe_count = 2\nstripe_size = 8\nstripes = ["pv0", 4, "pv0", 8]')))
    disk = physical_volume(text)
    chance = random.Random(11)
    for number in range(1500):
        mutant = bytearray(disk)
        for _change in range(chance.randrange(1, 4)):
            low, high = chance.choice(((512, 1024), (4096, 4096 + 96), (4608, 4608 + len(text))))
            mutant[chance.randrange(low, high)] = chance.choice((0, 255, 0x22, 0x7B, chance.randrange(256)))
        if number % 3:  # damage that the checksums hide
            mutant[528:532] = struct.pack("<I", crc(mutant[532:1024]))
            length = struct.unpack_from("<Q", mutant, 4096 + 48)[0]
            mutant[4096 + 56 : 4096 + 60] = struct.pack("<I", crc(mutant[4608 : 4608 + length]))
            mutant[4096:4100] = struct.pack("<I", crc(mutant[4100:4608]))
        for each in logical_volumes([("vda", Memory(bytes(mutant)))]):
            if each.storage is not None:
                try:
                    each.storage.read_at(0, MIB)
                except ImageError:
                    continue
