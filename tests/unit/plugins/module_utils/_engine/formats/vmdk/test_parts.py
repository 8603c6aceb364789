# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMDK disks in several files, and deltas with their parents. qemu-img makes what it can, and judges it."""

from __future__ import annotations

import os
import random
import subprocess

import build_vmdk
import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import (
    AccessError,
    AmbiguousImage,
    CorruptImage,
    ImageError,
    InvalidImage,
    UnsafeReference,
    UnsupportedImage,
)
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import HOLE, ZERO
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source

HEAD = '# Disk DescriptorFile\nversion=1\nCID=12ab\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
SECTOR = 512


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def opened(path, folder=None):
    return open_source(Request(str(path), references=str(folder or path.parent)))


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


@pytest.fixture
def flat(tmp_path):
    """Eight different sectors in a file, and a function that opens a descriptor with given lines."""
    content = random.Random(3).randbytes(8 * SECTOR)
    (tmp_path / "flat.bin").write_bytes(content)

    def describe(lines, head=HEAD):
        (tmp_path / "disk.vmdk").write_text(head + lines, encoding="utf-8")
        return opened(tmp_path / "disk.vmdk")

    describe.sectors = [content[at : at + SECTOR] for at in range(0, len(content), SECTOR)]
    return describe


@pytest.mark.parametrize("subformat", ["monolithicFlat", "twoGbMaxExtentFlat", "twoGbMaxExtentSparse"])
def test_disks_of_qemu_img_in_several_files(tmp_path, qemu_img, qemu_io, subformat):
    size = (2 << 30) + (5 << 20) + 1536
    run(qemu_img, "create", "-q", "-f", "vmdk", "-o", f"subformat={subformat}", tmp_path / "disk.vmdk", size)
    # Around the border of two files, at both ends, and somewhere.
    writes = (f"write -P 1 {(2 << 30) - 4096} 8k", "write -P 2 0 512", f"write -P 3 {size - 1536} 1536", "write -P 4 70M 300k")
    run(qemu_io, "-f", "vmdk", *(word for write in writes for word in ("-c", write)), tmp_path / "disk.vmdk")
    run(qemu_img, "convert", "-O", "raw", tmp_path / "disk.vmdk", tmp_path / "judge.raw")
    with opened(tmp_path / "disk.vmdk") as source, open(tmp_path / "judge.raw", "rb") as judge:
        reader = source.reader
        assert reader.virtual_size == size
        assert sum(extent.length for extent in reader.extents() if extent.is_zero) > 2 << 30
        assert reader.check().clean
        for start, length in (((2 << 30) - 8192, 16384), (0, 4096), (size - 4096, 4096), (70 << 20, 400 << 10), ((2 << 30) - 1, 2)):
            judge.seek(start)
            assert reader.read_at(start, length) == judge.read(length)
    with open_source(Request(str(tmp_path / "disk.vmdk"))) as source, pytest.raises(UnsupportedImage, match=subformat):
        next(source.reader.extents())


def test_lines_of_all_kinds(flat):
    lines = 'RW 2 FLAT "flat.bin" 3\nRDONLY 1 FLAT "flat.bin" 0\nRW 3 ZERO\nRW 1 VMFS "flat.bin"\nRW 0 FLAT "flat.bin" 0\nRW 1 FLAT "flat.bin" 7\n'
    zero, one = bytes(SECTOR), flat.sectors
    wanted = [one[3], one[4], one[0], zero, zero, zero, one[0], one[7]]
    with flat(lines) as source:
        reader = source.reader
        assert content_of(reader) == b"".join(wanted)
        assert [(extent.start // SECTOR, extent.length // SECTOR) for extent in reader.extents() if extent.kind == ZERO] == [(3, 3)]
        for start in range(8):
            for length in range(1, 9 - start):
                assert reader.read_at(start * SECTOR, length * SECTOR) == b"".join(wanted[start : start + length])


def test_a_blank_line_does_not_double_an_extent(flat):
    """qemu-img, up to 10 at least, takes the line that follows a blank one twice."""
    with flat('\n\nRW 2 FLAT "flat.bin" 0\n\n') as source:
        assert source.reader.virtual_size == 2 * SECTOR
        assert content_of(source.reader) == b"".join(flat.sectors[:2])


def test_holes_of_a_flat_file_are_not_read(flat, tmp_path):
    with open(tmp_path / "sparse.bin", "wb") as file:
        file.truncate(1 << 30)
        file.seek(512 << 20)
        file.write(b"\x01" * 4096)
    with flat(f'RW {1 << 21} FLAT "sparse.bin" 0\n') as source:
        extents = list(source.reader.extents())
        assert sum(extent.length for extent in extents if extent.kind == HOLE) >= (1 << 30) - (1 << 20)


@pytest.mark.parametrize(
    ("lines", "kind", "match"),
    [
        ('RW 9 FLAT "flat.bin" 0\n', CorruptImage, "behind the end of the file"),
        ('RW 8 FLAT "flat.bin" 1\n', CorruptImage, "behind the end of the file"),
        ('RW 8 FLAT "flat.bin" 99999999999999999999\n', CorruptImage, "behind the end of the file"),
        ('RW 8 FLAT "flat.bin"\n', CorruptImage, "has no offset"),
        ('RW 8 FLAT "disk.vmdk" 0\n', CorruptImage, "loop"),
        ('RW 1 FLAT "flat.bin" 0\nRW 1 FLAT "./flat.bin" 0\n', CorruptImage, "loop"),
        ('RW 8 SPARSE "flat.bin"\n', InvalidImage, "not a VMDK sparse extent"),
        ('RW 8 VMFSSPARSE "flat.bin"\n', InvalidImage, "not a VMDK sparse extent"),
        ('RW 8 SESPARSE "flat.bin"\n', InvalidImage, "not an seSparse extent"),
        ('RW 8 SPARSE "missing.vmdk"\n', AccessError, "no such file"),
        ('RW 8 FLAT "/etc/passwd" 0\n', UnsafeReference, "/etc/passwd"),
        ('RW 8 FLAT "/nowhere/flat.bin" 0\n', UnsafeReference, "does not lie in the folder"),
        ('RW 8 FLAT "/dev/sda" 0\n', UnsafeReference, "/dev/sda"),
        ('RW 8 FLAT "\\\\.\\PhysicalDrive0" 0\n', UnsafeReference, "PhysicalDrive0"),
        ('RW 8 FLAT "C:\\disks\\flat.bin" 0\n', UnsafeReference, "does not lie in the folder"),
        ('RW 8 FLAT "../flat.bin" 0\n', UnsafeReference, "leads out"),
        ('RW 8 FLAT "json:{}" 0\n', UnsafeReference, "protocols"),
        ('RW 8 FLAT "" 0\n', UnsafeReference, "no file"),
    ],
)
def test_files_that_are_refused(flat, lines, kind, match):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(kind, match=match), flat(lines):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("create_type", "line", "reason"),
    [
        ("fullDevice", 'RW 8 FLAT "flat.bin" 0\n', "physical device"),
        ("partitionedDevice", 'RW 8 FLAT "flat.bin" 0\n', "physical device"),
        ("vmfsRaw", 'RW 8 VMFSRAW "flat.bin"\n', "physical device"),
        ("vmfsRawDeviceMap", 'RW 8 VMFSRDM "flat.bin"\n', "physical device"),
        ("vmfsPassthroughRawDeviceMap", 'RW 8 VMFSRDM "flat.bin"\n', "physical device"),
        ("vmfs", 'RW 8 VMFSRAW "flat.bin"\n', "physical device"),
        ("vsanSparse", 'RW 8 VSANSPARSE "flat.bin"\n', "vSAN"),
        ("vmfs", 'RW 8 VSANSPARSE "flat.bin"\n', "VSANSPARSE"),
        ("newSparse", 'RW 8 VMFS "flat.bin"\n', "not known"),
        ("monolithicFlat", 'NOACCESS 8 FLAT "flat.bin" 0\n', "NOACCESS"),
        ("monolithicFlat", "NOACCESS 8 ZERO\n", "NOACCESS"),
    ],
)
def test_kinds_that_are_described_but_not_read(flat, create_type, line, reason):
    with flat(line, HEAD.replace("monolithicFlat", create_type)) as source:
        assert source.reader.describe().subformat == create_type
        with pytest.raises(UnsupportedImage, match=reason):
            source.reader.extents()


@pytest.mark.parametrize("line", ['encryptionKeys="vmware:key/list/(pair/x)"', 'ddb.iofilters = "vmwarevmcrypt"', 'encryption.keySafe = "vmware:key/list/x"'])
def test_encrypted_disks_are_described_but_not_read(flat, tmp_path, qemu_img, line):
    """Nothing but the descriptor says so: the file holds as many bytes as without."""
    with flat(f'RW 8 FLAT "flat.bin" 0\n{line}\n') as source:
        assert source.reader.describe().encrypted
        with pytest.raises(UnsupportedImage, match="encrypted by VMware"):
            source.reader.extents()
    with flat('RW 8 FLAT "flat.bin" 0\nddb.iofilters = "vmwarelwd"\n') as source:
        assert not source.reader.describe().encrypted
        assert content_of(source.reader) == b"".join(flat.sectors)
    run(qemu_img, "create", "-q", "-f", "vmdk", tmp_path / "sparse.vmdk", "1M")
    data = (tmp_path / "sparse.vmdk").read_bytes()
    text = data[512 : data.index(b"\0", 512)] + line.encode() + b"\n"
    (tmp_path / "sparse.vmdk").write_bytes(data[:512] + text + data[512 + len(text) :])
    with opened(tmp_path / "sparse.vmdk") as source:
        assert source.reader.describe().encrypted
        with pytest.raises(UnsupportedImage, match="encrypted by VMware"):
            next(source.reader.extents())


@pytest.mark.parametrize(
    "create_type", ["streamOptimized", "custom", "vmfsThin", "vmfsPreallocated", "vmfsEagerZeroedThick", "2GbMaxExtentFlat", "MONOLITHICFLAT"]
)
def test_what_kind_of_file_it_is_the_line_says(flat, create_type):
    with flat('RW 8 VMFS "flat.bin"\n', HEAD.replace("monolithicFlat", create_type)) as source:
        assert content_of(source.reader) == b"".join(flat.sectors)


def test_a_split_disk_whose_part_has_another_size(tmp_path, qemu_img):
    run(qemu_img, "create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", tmp_path / "disk.vmdk", "1M")
    text = (tmp_path / "disk.vmdk").read_text()
    for sectors, good in ((2048, True), (2047, True), (1920, False), (2049, False), (128, False)):
        (tmp_path / "disk.vmdk").write_text(text.replace("RW 2048", f"RW {sectors}"))
        if good:  # rounded up to a whole grain, as VirtualBox does
            with opened(tmp_path / "disk.vmdk") as source:
                assert content_of(source.reader) == bytes(sectors * SECTOR)
        else:
            with pytest.raises(CorruptImage, match="its own header 2048"), opened(tmp_path / "disk.vmdk"):
                pass


@pytest.mark.parametrize("sizes", [(4192256, 100), (8323072, 8323072, 3), (128, 256, 16065), (1, 2, 3)], ids=str)
def test_a_disk_split_at_any_size(tmp_path, qemu_img, qemu_io, sizes):
    """2047 MiB is VMware's size, 4064 MiB that of Fusion 12; and qemu-img writes none of them."""
    lines = []
    for number, sectors in enumerate(sizes, 1):
        part = tmp_path / f"my disk-s{number:03}.vmdk"
        run(qemu_img, "create", "-q", "-f", "vmdk", part, sectors * SECTOR)
        for at in (0, sectors // 2, sectors - 1):
            run(qemu_io, "-f", "vmdk", "-c", f"write -P {number * 16 + at % 5 + 1} {at * SECTOR} 512", part)
        lines.append(f'RW {sectors} SPARSE "{part.name}"\n')
    (tmp_path / "my disk.vmdk").write_text(HEAD.replace("monolithicFlat", "twoGbMaxExtentSparse") + "".join(lines))
    with opened(tmp_path / "my disk.vmdk") as source:
        reader = source.reader
        assert reader.virtual_size == sum(sizes) * SECTOR
        assert reader.check().clean
        assert reader.describe().cluster_size == 65536
        found = {extent.start + at: data for extent in reader.extents() if not extent.is_zero for at, data in pieces(reader.read_extent(extent))}
    start, wanted = 0, {}
    for number, sectors in enumerate(sizes, 1):
        wanted.update({(start + at) * SECTOR: bytes([number * 16 + at % 5 + 1]) * SECTOR for at in (0, sectors // 2, sectors - 1)})
        start += sectors
    assert found == wanted


def pieces(data):
    """(offset, bytes) of the sectors that are not zero."""
    return [(at, data[at : at + SECTOR]) for at in range(0, len(data), SECTOR) if data[at : at + SECTOR].strip(b"\0")]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("disk-flat.vmdk", "flat"), ("disk-f001.vmdk", "flat"), ("disk-s001.vmdk", "sparse"), ("disk-delta.vmdk", "cowd"), ("disk-sesparse.vmdk", "sesparse")],
)
def test_a_data_file_in_the_place_of_the_disk(tmp_path, qemu_img, name, kind):
    """We say what to name instead, when it is there and really names the file."""
    part = tmp_path / name
    if kind == "flat":
        part.write_bytes(bytes(range(256)) * 16)
    elif kind == "sparse":
        run(qemu_img, "create", "-q", "-f", "vmdk", "-o", "subformat=twoGbMaxExtentSparse", tmp_path / "disk.vmdk", 4096)
    else:
        part.write_bytes(build_vmdk.cowd(8, {0: b"x" * 512}) if kind == "cowd" else build_vmdk.sesparse(16, {0: b"x" * 4096}))

    def said():
        with open_source(Request(str(part))) as source:
            return " ".join(source.reader.describe().warnings if kind == "flat" else [source.reader.unreadable_reason()])

    (tmp_path / "disk.vmdk").write_text(HEAD + f'RW 8 FLAT "{name}" 0\n')
    assert f"name '{tmp_path}/disk.vmdk' instead" in said() or f"'{tmp_path}/disk.vmdk': name that instead" in said()
    (tmp_path / "disk.vmdk").write_text(HEAD + f'RW 8 FLAT "other-{name}" 0\n')
    assert str(tmp_path / "disk.vmdk") not in said()
    (tmp_path / "real.vmdk").write_text(HEAD + f'RW 8 FLAT "{name}" 0\n')
    (tmp_path / "disk.vmdk").unlink()
    (tmp_path / "disk.vmdk").symlink_to("real.vmdk")
    assert str(tmp_path / "disk.vmdk") not in said()
    (tmp_path / "disk.vmdk").unlink()
    assert str(tmp_path / "disk.vmdk") not in said()


@pytest.fixture
def chain(tmp_path, qemu_img, qemu_io):
    """base ← middle ← top, each with its own data; the base in several files."""
    below = []
    for level, subformat in (("base", "twoGbMaxExtentFlat"), ("middle", "monolithicSparse"), ("top", "monolithicSparse")):
        options = ["-o", f"subformat={subformat}"]
        run(qemu_img, "create", "-q", "-f", "vmdk", *options, *below, tmp_path / f"{level}.vmdk", *([] if below else ["4M"]))
        run(qemu_io, "-f", "vmdk", "-c", f"write -P {len(level)} {len(level)}00k 500k", tmp_path / f"{level}.vmdk")
        below = ["-b", f"{level}.vmdk", "-F", "vmdk"]
    return tmp_path


def test_deltas(chain, qemu_img):
    run(qemu_img, "convert", "-O", "raw", chain / "top.vmdk", chain / "judge.raw")
    with opened(chain / "top.vmdk") as source:
        assert content_of(source.reader) == (chain / "judge.raw").read_bytes()
        assert source.reader.check().clean
        assert source.reader.parent.parent.format == "vmdk"
    with open_source(Request(str(chain / "top.vmdk"))) as source, pytest.raises(UnsupportedImage, match="snapshot"):
        next(source.reader.extents())


def rename_parent(image, place):
    """Give the parent another name in the embedded descriptor."""
    data = image.read_bytes()
    text = data[512 : data.index(b"\0", data.index(b"parentFileNameHint="))]
    longer = text.replace(b'"middle.vmdk"', b'"' + place + b'"')
    image.write_bytes(data[:512] + longer + data[512 + len(longer) :])


@pytest.mark.parametrize("place", [b"/vmfs/volumes/1234/vm/middle.vmdk", b"C:\\Virtual Machines\\middle.vmdk", b".\\middle.vmdk"])
def test_a_parent_is_found_by_its_own_name(chain, place):
    rename_parent(chain / "top.vmdk", place)
    with opened(chain / "top.vmdk") as source:
        assert source.reader.read_at(900 << 10, 1) == b"\x06"


@pytest.mark.parametrize("place", [b"../middle.vmdk", b"nbd:middle.vmd"])
def test_a_parent_that_is_never_looked_for(chain, place):
    rename_parent(chain / "top.vmdk", place)
    with pytest.raises(UnsafeReference), opened(chain / "top.vmdk"):
        pass


def test_the_end_of_an_older_text_behind_the_descriptor(tmp_path, qemu_img):
    """qemu writes a content ID without leading zeros: one text in 256 gets so much shorter that its old end shows."""
    run(qemu_img, "create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", tmp_path / "disk.vmdk", "1M")
    descriptor = (tmp_path / "disk.vmdk").read_bytes().rstrip(b"\0")
    for stale in (b"\n", b'3647"\n', b'483647"'):
        (tmp_path / "disk.vmdk").write_bytes((descriptor + b"\0" + stale).ljust(1024, b"\0"))
        with opened(tmp_path / "disk.vmdk") as source:
            assert content_of(source.reader) == bytes(1 << 20)
    for other in (b'7483647"\n', b"\n" + bytes(20) + b"\n", b"\1"):
        (tmp_path / "disk.vmdk").write_bytes((descriptor + b"\0" + other).ljust(1024, b"\0"))
        with pytest.raises(AmbiguousImage), opened(tmp_path / "disk.vmdk"):
            pass


def test_a_parent_in_another_state(chain, qemu_io):
    run(qemu_io, "-f", "vmdk", "-c", "write -P 99 0 512", chain / "middle.vmdk")
    with pytest.raises(CorruptImage, match="content ID"), opened(chain / "top.vmdk"):
        pass


def test_parents_that_are_none(chain):
    base = (chain / "base.vmdk").read_text().rstrip("\0")
    (chain / "loop.vmdk").write_text(base.replace("parentCID=ffffffff", 'parentCID=1\nparentFileNameHint="loop.vmdk"'))
    (chain / "unnamed.vmdk").write_text(base.replace("parentCID=ffffffff", "parentCID=1"))
    (chain / "both.vmdk").write_text(base + 'parentFileNameHint="base.vmdk"\n')
    (chain / "raw.vmdk").write_text(base.replace("parentCID=ffffffff", 'parentCID=1\nparentFileNameHint="middle.raw"'))
    (chain / "middle.raw").write_bytes(bytes(4 << 20))
    for name, kind in (("loop", CorruptImage), ("unnamed", UnsupportedImage), ("both", CorruptImage), ("raw", InvalidImage)):
        with pytest.raises(kind), opened(chain / f"{name}.vmdk"):
            pass


def test_every_refusal_is_one_of_ours(flat):
    """Whatever a line says, what comes out is an ImageError that can be printed, or sectors of the file."""
    chance = random.Random(11)
    words = ["RW", "RDONLY", "8", "0", "1", "99999999999", "FLAT", "SPARSE", "ZERO", "VMFS", '"flat.bin"', '"disk.vmdk"', '"\x9b/.."', "\n"]
    for _try in range(300):
        lines = "RW 1 ZERO\n" + " ".join(chance.choice(words) for _word in range(chance.randint(3, 12)))
        said = ""
        try:
            with flat(lines) as source:
                content_of(source.reader)
        except ImageError as error:
            said = str(error)
        assert said.isprintable()
