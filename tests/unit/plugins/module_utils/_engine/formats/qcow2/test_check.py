# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of qcow2 images: the same verdict as qemu-img check."""

from __future__ import annotations

import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.qcow2 import layout
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.qcow2.reader import Qcow2Reader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

# 1: the check could not be finished, as something is broken.
VERDICTS = {0: "clean", 1: "corruptions", 2: "corruptions", 3: "leaks"}
FILL = ("write -P 1 0 70k", "write -P 2 1M 300k", "write -z 600k 128k")


def run(*command, cwd=None, check=True):
    return subprocess.run([str(part) for part in command], check=check, capture_output=True, text=True, cwd=cwd)


def verdict(image):
    result = Qcow2Reader(FileStorage(image)).check()
    return "corruptions" if result.corruptions else "leaks" if result.leaks else "clean"


@pytest.fixture
def judged(qemu_img):
    """What qemu-img check says."""

    def judged(image):
        return VERDICTS[run(qemu_img, "check", image, check=False).returncode]

    return judged


@pytest.fixture
def make(qemu_img, qemu_io, tmp_path):
    """make(options, *steps): an image of 3 MiB. A step is a command of qemu-io, or with an @ for the image one of qemu-img."""

    def make(options, *steps):
        image = tmp_path / "disk.qcow2"
        run(qemu_img, "create", "-q", "-f", "qcow2", *(["-o", options] if options else []), image, "3M")
        writes = []
        for step in (*steps, "@"):
            if "@" not in step:
                writes += ["-c", step]
                continue
            if writes:
                # A command that kills qemu-io leaves the image as a crash does.
                run(qemu_io, "-f", "qcow2", *writes, image, check="sigraise 9" not in writes)
                writes = []
            if step != "@":
                run(qemu_img, *step.replace("@", str(image)).split())
        return image

    return make


SOUND = {
    "version 2": ("compat=0.10", *FILL),
    "clusters of 512 bytes": ("cluster_size=512", *FILL),
    "clusters of 2 MiB": ("cluster_size=2M", *FILL),
    "extended": ("extended_l2=on", *FILL),
    "extended, preallocated": ("extended_l2=on,preallocation=metadata", *FILL),
    "extended, snapshot": ("extended_l2=on", *FILL, "snapshot -c one @", "write -P 4 1M 4k"),
    "snapshots": ("", *FILL, "snapshot -c one @", "write -P 4 1M 64k", "snapshot -c two @", "discard 1M 64k", "snapshot -d one @"),
    "larger than its snapshot": ("", *FILL, "snapshot -c one @", "resize -q @ 5M", "write -P 4 4M 64k"),
    "compressed": ("cluster_size=4k", *(f"write -c -P {number} {number}M 4k" for number in range(3))),
    "compressed, extended": ("extended_l2=on", "write -c -P 1 0 64k", "write -c -P 2 64k 64k", "write -P 3 10k 2k"),
    "bitmaps": ("", "bitmap --add -g 512 @ all", *FILL, "bitmap --add --disable @ none"),
    "1 refcount bit": ("refcount_bits=1", *FILL),
    **{f"{1 << order} refcount bits": (f"refcount_bits={1 << order}", *FILL, "snapshot -c one @") for order in range(1, 7)},
}
CRASHED = {
    "lazy refcounts": ("lazy_refcounts=on", *FILL, "sigraise 9"),
    "bitmaps": ("", "bitmap --add -g 512 @ all", *FILL, "sigraise 9"),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_images(make, judged, name):
    image = make(*SOUND[name])
    assert verdict(image) == judged(image) == "clean"


@pytest.mark.parametrize("name", CRASHED)
def test_after_a_crash(make, judged, qemu_img, tmp_path, name):
    image = make(*CRASHED[name])
    before = image.read_bytes()
    run(qemu_img, "convert", "-O", "raw", image, tmp_path / "judge.raw")
    reader = Qcow2Reader(FileStorage(image))
    assert reader.describe().dirty == (name == "lazy refcounts")
    assert reader.read_at(0, 3 << 20) == (tmp_path / "judge.raw").read_bytes()
    assert verdict(image) == judged(image)
    assert image.read_bytes() == before


def test_an_overlay_is_checked_without_its_base(judged, qemu_img, tmp_path):
    (tmp_path / "base.raw").write_bytes(bytes(3 << 20))
    image = tmp_path / "over.qcow2"
    run(qemu_img, "create", "-q", "-f", "qcow2", "-b", tmp_path / "base.raw", "-F", "raw", image)
    assert verdict(image) == judged(image) == "clean"


def number(data, at):
    return struct.unpack_from(">Q", data, at)[0]


def l1_table(data):
    return number(data, 40)


def l2_table(data):
    return number(data, l1_table(data)) & layout.OFFSET_MASK


def refcount_block(data):
    return number(data, number(data, 48))


DAMAGES = {
    "L1 entry without the COPIED flag": ("", l1_table, lambda entry: entry ^ layout.COPIED),
    "L1 entry without an offset": ("", l1_table, lambda entry: layout.COPIED),
    "L1 entry with a reserved bit": ("", l1_table, lambda entry: entry | 1 << 60),
    "L2 entry without the COPIED flag": ("", l2_table, lambda entry: entry ^ layout.COPIED),
    "L2 entry lost": ("", l2_table, lambda entry: 0),
    "L2 entry twice": ("", l2_table, lambda entry: entry + 0x10000),
    "L2 entry behind the end": ("", l2_table, lambda entry: entry | 1 << 40),
    "L2 entry not aligned": ("", l2_table, lambda entry: entry | 512),
    "refcount too small": ("", refcount_block, lambda counts: counts & ~(0xFFFF << 48)),
    "refcount too large": ("", refcount_block, lambda counts: counts | 7 << 48),
    "L2 entry lost, refcounts of 1 bit": ("refcount_bits=1", l2_table, lambda entry: 0),
    "refcount too small, of 64 bits": ("refcount_bits=64", refcount_block, lambda count: 0),
    "refcount block not aligned": ("", lambda data: number(data, 48), lambda entry: entry | 1 << 9),
    "refcount block with a reserved bit": ("", lambda data: number(data, 48), lambda entry: entry | 2),
    "refcount block lost": ("", lambda data: number(data, 48), lambda entry: 0),
    "subclusters with data and zeros": ("extended_l2=on", lambda data: l2_table(data) + 8, lambda bitmap: bitmap | bitmap << 32),
    "subclusters with data and nowhere": ("extended_l2=on", l2_table, lambda entry: 0),
    "subclusters with data without entry": ("extended_l2=on", lambda data: l2_table(data) + 12 * 16 + 8, lambda bitmap: 1),
    "all subclusters lost": ("extended_l2=on", lambda data: l2_table(data) + 8, lambda bitmap: 0),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_images(make, judged, name):
    options, where, change = DAMAGES[name]
    image = make(options, *FILL)
    data = bytearray(image.read_bytes())
    at = where(data)
    struct.pack_into(">Q", data, at, change(number(data, at)))
    image.write_bytes(data)
    found = judged(image)
    assert verdict(image) == found
    assert found != "clean" or name == "all subclusters lost"


def test_one_l2_table_for_two_parts_of_an_encrypted_disk(make):
    """Its extents are not looked at, and the check must not read one table for each entry."""
    data = bytearray(make("cluster_size=512", *FILL).read_bytes())
    data[35] = 1
    struct.pack_into(">Q", data, l1_table(data) + 8, number(data, l1_table(data)))
    reader = Qcow2Reader(Memory(bytes(data)))
    assert "encrypted" in reader.unreadable_reason()
    assert "name the same L2 table" in reader.check().corruptions[0]


def test_damaged_compressed_entries(make, judged):
    """A COPIED flag; and a bitmap of subclusters."""
    for options, at, bit in (("", 0, layout.COPIED), ("extended_l2=on", 8, 1)):
        image = make(options, "write -c -P 1 0 64k")
        data = bytearray(image.read_bytes())
        at += l2_table(data)
        struct.pack_into(">Q", data, at, number(data, at) | bit)
        image.write_bytes(data)
        assert verdict(image) == judged(image) == "corruptions"


def test_what_a_snapshot_table_gets_wrong(make, judged):
    image = make("", *FILL, "snapshot -c one @")
    sound = image.read_bytes()
    table = number(sound, 64)
    # Its L1 table is not aligned; it has no extra data; the table is in the file's first cluster.
    for at, form, value in ((table, ">Q", number(sound, table) + 512), (table + 36, ">I", 0), (60, ">I", 0)):
        data = bytearray(sound)
        struct.pack_into(form, data, at, value)
        image.write_bytes(data)
        assert verdict(image) == judged(image) != "clean"


def test_clusters_of_bitmaps_are_in_use(make, judged):
    image = make("", "bitmap --add -g 512 @ all", *FILL)
    sound = image.read_bytes()
    directory = Qcow2Reader(Memory(sound)).header.bitmap_directory_offset
    table = number(sound, directory)
    autoclear = 88
    for at, value in ((autoclear, 0), (table, 0), (table, number(sound, table) | 1), (table, number(sound, table) + 512), (table, 1 << 40)):
        data = bytearray(sound)
        struct.pack_into(">Q", data, at, value)
        image.write_bytes(data)
        assert verdict(image) == judged(image) != "clean"
