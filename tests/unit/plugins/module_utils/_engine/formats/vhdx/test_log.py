# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images with a log to replay: against what qemu-img makes of them when it repairs a copy, and against the specification."""

from __future__ import annotations

import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extents import DATA
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhdx import log
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.vhdx.reader import VhdxReader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

MIB = 1 << 20
FILE = 6 * MIB  # size of the image: two blocks
FIRST, SECOND = 4 * MIB, 5 * MIB
OTHER = b"another log guid"


def page(vhdx, *entries):
    """The first 4096 bytes of a table."""
    return struct.pack(f"<{len(entries)}Q", *entries).ljust(4096, b"\0")


def read(content):
    reader = VhdxReader(Memory(content))
    assert reader.describe().dirty
    return reader.read_at(0, reader.virtual_size)


# name: a function of the builders that gives (an image with a log, the disk after its replay)


def a_new_block(vhdx):
    image = vhdx.Image(table=[FIRST | 6, 0, 2, 0])
    entry = vhdx.log_entry(1, [(3 * MIB, page(vhdx, FIRST | 6, 0, 2, SECOND | 6))], 0, FILE)
    return image.dirty(entry), image.payload[:MIB] + bytes(2 * MIB) + image.payload[MIB:]


def a_block_given_up(vhdx):
    image = vhdx.Image(table=[FIRST | 6, 0, 2, SECOND | 6])
    entry = vhdx.log_entry(9 << 32, [(3 * MIB, page(vhdx, FIRST | 6, 0, 2, 3))], 0, FILE)
    return image.dirty(entry), image.payload[:MIB] + bytes(3 * MIB)


def later_entries_win(vhdx):
    image = vhdx.Image(table=[FIRST | 6, SECOND | 6, 0, 0])
    one, two, three = (vhdx.noise(4096, seed) for seed in (1, 2, 3))
    first = vhdx.log_entry(7, [(FIRST, one), (FIRST + 4096, one), (SECOND, one)], 0, FILE)
    second = vhdx.log_entry(8, [(FIRST + 4096, two), (FIRST + 8192, 8192), (SECOND, 4096), (SECOND, two)], 0, FILE)
    third = vhdx.log_entry(9, [(FIRST + 12288, three), (SECOND, three), (SECOND, 65536)], 0, FILE)
    blocks = bytearray(image.payload)
    blocks[:16384] = one + two + bytes(4096) + three
    blocks[MIB : MIB + 65536] = bytes(65536)
    return image.dirty(first, second, third), bytes(blocks) + bytes(2 * MIB)


def more_descriptors_than_a_sector_holds(vhdx):
    image = vhdx.Image(table=[FIRST | 6, SECOND | 6, 0, 0])
    data = vhdx.noise(130 * 4096, 4)
    entry = vhdx.log_entry(3, [(FIRST + at, data[at : at + 4096]) for at in range(0, len(data), 4096)], 0, FILE)
    return image.dirty(entry), data + image.payload[len(data) :] + bytes(2 * MIB)


def the_rest_of_an_older_log(vhdx):
    """Entries of another log, and an older sequence of this one, count for nothing."""
    image = vhdx.Image(table=[FIRST | 6, SECOND | 6, 0, 0])
    wrong, right = vhdx.noise(4096, 5), vhdx.noise(4096, 6)
    parts = [
        vhdx.log_entry(99, [(FIRST, wrong)], 0, FILE, OTHER),
        vhdx.log_entry(4, [(FIRST, wrong)], 8192, FILE),
        vhdx.log_entry(6, [(FIRST, right)], 16384, FILE),
        vhdx.log_entry(5, [(FIRST, wrong)], 24576, FILE),
    ]
    return image.dirty(*parts), right + image.payload[4096:] + bytes(2 * MIB)


def a_torn_entry_at_the_end(vhdx):
    image = vhdx.Image(table=[FIRST | 6, SECOND | 6, 0, 0])
    right = vhdx.noise(4096, 7)
    torn = vhdx.log_entry(2, [(FIRST, vhdx.noise(4096, 8))], 0, FILE)
    return image.dirty(vhdx.log_entry(1, [(FIRST, right)], 0, FILE), torn[:-1] + b"?"), right + image.payload[4096:] + bytes(2 * MIB)


def round_the_end_of_the_log(vhdx):
    """A sequence that begins at the log's end and goes on at its beginning, in the middle of an entry."""
    image = vhdx.Image(table=[FIRST | 6, SECOND | 6, 0, 0])
    one, two = vhdx.noise(4096, 9), vhdx.noise(4096, 10)
    tail = MIB - 3 * 4096
    entries = vhdx.log_entry(41, [(FIRST, one), (SECOND, one)], tail, FILE) + vhdx.log_entry(42, [(SECOND, two)], tail, FILE)
    image.dirty(entries[3 * 4096 :])
    image.poke(MIB + tail, entries[: 3 * 4096])
    return image, one + image.payload[4096:MIB] + two + image.payload[MIB + 4096 :] + bytes(2 * MIB)


def an_entry_across_the_end_of_the_log(vhdx):
    image = vhdx.Image(table=[FIRST | 6, SECOND | 6, 0, 0])
    one = vhdx.noise(4096, 11)
    tail = MIB - 2 * 4096
    entry = vhdx.log_entry(5, [(FIRST, one), (SECOND, one)], tail, FILE)
    image.dirty(entry[2 * 4096 :])
    image.poke(MIB + tail, entry[: 2 * 4096])
    return image, one + image.payload[4096:MIB] + one + image.payload[MIB + 4096 :] + bytes(2 * MIB)


CASES = [
    a_new_block,
    a_block_given_up,
    later_entries_win,
    more_descriptors_than_a_sector_holds,
    the_rest_of_an_older_log,
    a_torn_entry_at_the_end,
    round_the_end_of_the_log,
    an_entry_across_the_end_of_the_log,
]


@pytest.mark.parametrize("case", CASES)
def test_replayed_in_memory(vhdx, tmp_path, case):
    image, disk = case(vhdx)
    content = image.bytes()
    assert read(content) == disk
    path = tmp_path / "image.vhdx"
    path.write_bytes(content)
    path.chmod(0o444)
    assert VhdxReader(FileStorage(path)).read_at(0, 1 << 30) == disk
    assert path.read_bytes() == content


# Where qemu's replay does not follow the specification: it reads the second sector of descriptors over the first one and
# refuses, and it takes the entries at the log's beginning for a sequence of their own, without looking at their tail.
NOT_QEMU = (more_descriptors_than_a_sector_holds, round_the_end_of_the_log)


@pytest.mark.parametrize("case", [case for case in CASES if case not in NOT_QEMU])
def test_replayed_as_by_qemu(vhdx, tmp_path, qemu_img, case):
    image, disk = case(vhdx)
    copy, raw = tmp_path / "image.vhdx", tmp_path / "disk.raw"
    copy.write_bytes(image.bytes())
    subprocess.run([qemu_img, "check", "-q", "-f", "vhdx", "-r", "all", copy], check=True)
    subprocess.run([qemu_img, "convert", "-f", "vhdx", "-O", "raw", copy, raw], check=True)
    assert raw.read_bytes() == disk


def test_only_what_the_last_entry_calls_its_tail_is_replayed(vhdx):
    """Entries before the tail are in the file already, and what they changed may have changed again."""
    image = vhdx.Image(table=[FIRST | 6, SECOND | 6, 0, 0])
    old, new = vhdx.noise(4096, 12), vhdx.noise(4096, 13)
    image.dirty(vhdx.log_entry(1, [(FIRST, old)], 0, FILE), vhdx.log_entry(2, [(SECOND, new)], 8192, FILE))
    assert read(image.bytes())[: MIB + 4096] == image.payload[:MIB] + new


def test_the_file_grows_to_what_the_last_entry_says(vhdx):
    """The blocks are there, the file was not made longer yet."""
    image = vhdx.Image(table=[FIRST | 6, 0, 0, 0])
    image.dirty(vhdx.log_entry(1, [(3 * MIB, page(vhdx, FIRST | 6, FILE | 6)), (FILE, b"grown".ljust(4096, b"."))], 0, FILE + MIB, flushed=FILE))
    disk = read(image.bytes())
    assert disk[MIB : 2 * MIB] == b"grown".ljust(4096, b".") + bytes(MIB - 4096)
    assert disk[:MIB] == image.payload[:MIB]


def without_log(image, vhdx):
    image.dirty()


def no_log_area(image, vhdx):
    image.dirty(vhdx.log_entry(1, [], 0, FILE))
    for header in image.headers:
        header["log_length"] = 0


def of_another_log(image, vhdx):
    image.dirty(vhdx.log_entry(1, [], 0, FILE, OTHER))


def checksum(image, vhdx):
    image.dirty(vhdx.log_entry(1, [(FIRST, bytes(4096))], 0, FILE)).poke(MIB + 5000, b"x")


def tail_elsewhere(image, vhdx):
    image.dirty(vhdx.log_entry(2, [], 4096, FILE))


def number_zero(image, vhdx):
    image.dirty(vhdx.log_entry(0, [], 0, FILE))


def truncated(image, vhdx):
    image.dirty(vhdx.log_entry(1, [], 0, FILE, flushed=FILE + 1))


def behind_the_end(image, vhdx):
    image.dirty(vhdx.log_entry(1, [(FILE, bytes(4096))], 0, FILE))


def zeros_behind_the_end(image, vhdx):
    image.dirty(vhdx.log_entry(1, [(FIRST, 1 << 63)], 0, FILE))


def not_aligned(image, vhdx):
    image.dirty(vhdx.log_entry(1, [(FIRST + 512, bytes(4096))], 0, FILE))


def resealed(image, vhdx, at, data, changes=((FIRST, bytes(4096)),)):
    """An entry with some bytes wrong and a checksum that says they are right."""
    entry = bytearray(vhdx.log_entry(1, changes, 0, FILE))
    entry[at : at + len(data)] = data
    image.dirty(vhdx.seal(entry))


def version(image, vhdx):
    image.dirty(vhdx.log_entry(1, [], 0, FILE))
    for header in image.headers:
        header["log_version"] = 1


BROKEN = [
    (without_log, CorruptImage, "no entries that can be replayed"),
    (no_log_area, CorruptImage, "no entries that can be replayed"),
    (of_another_log, CorruptImage, "no entries that can be replayed"),
    (checksum, CorruptImage, "no entries that can be replayed"),
    (tail_elsewhere, CorruptImage, "no entries that can be replayed"),
    (number_zero, CorruptImage, "no entries that can be replayed"),
    (lambda i, v: resealed(i, v, 8, struct.pack("<I", 2 * MIB)), CorruptImage, "no entries that can be replayed"),
    (lambda i, v: resealed(i, v, 12, struct.pack("<I", 512)), CorruptImage, "no entries that can be replayed"),
    (truncated, CorruptImage, "truncated"),
    (behind_the_end, CorruptImage, "behind the end"),
    (zeros_behind_the_end, CorruptImage, "behind the end"),
    (not_aligned, CorruptImage, "not aligned"),
    (lambda i, v: resealed(i, v, 64, b"DESC"), CorruptImage, "unknown descriptor"),
    (lambda i, v: resealed(i, v, 64 + 24, b"\x02"), CorruptImage, "not its own"),
    (lambda i, v: resealed(i, v, 4096, b"DATA"), CorruptImage, "data sector that is not its own"),
    (lambda i, v: resealed(i, v, 8188, b"\x02"), CorruptImage, "data sector that is not its own"),
    (lambda i, v: resealed(i, v, 24, struct.pack("<I", 0xFFFFFFFF)), CorruptImage, "no room for its descriptors"),
    (lambda i, v: resealed(i, v, 24, struct.pack("<I", 1), []), CorruptImage, "unknown descriptor"),
    (lambda i, v: resealed(i, v, 56, struct.pack("<Q", 1 << 60)), LimitExceeded, "is the most"),
    (version, UnsupportedImage, "version 1"),
]


@pytest.mark.parametrize(("change", "error", "words"), BROKEN, ids=[str(number) for number in range(len(BROKEN))])
def test_refused(vhdx, change, error, words):
    image = vhdx.Image(table=[FIRST | 6, SECOND | 6, 0, 0])
    change(image, vhdx)
    with pytest.raises(error, match=words):
        VhdxReader(Memory(image.bytes()))


def test_no_room_for_data(vhdx):
    image = vhdx.Image(table=[FIRST | 6, SECOND | 6, 0, 0])
    entry = bytearray(vhdx.log_entry(1, [(FIRST, bytes(4096))], 0, FILE)[:4096])
    entry[8:12] = struct.pack("<I", 4096)
    with pytest.raises(CorruptImage, match="no room for its data"):
        VhdxReader(Memory(image.dirty(vhdx.seal(entry)).bytes()))


def test_limits(vhdx, monkeypatch):
    image = vhdx.Image(table=[FIRST | 6, SECOND | 6, 0, 0]).dirty(vhdx.log_entry(1, [(FIRST, 4096), (SECOND, 4096)], 0, FILE))
    monkeypatch.setattr(log, "MAX_ZERO_RANGES", 1)
    with pytest.raises(LimitExceeded, match="zeroes"):
        read(image.bytes())
    monkeypatch.setattr(log, "MAX_LOG", MIB - 1)
    with pytest.raises(LimitExceeded, match="log of 1048576 bytes"):
        read(image.bytes())


def test_entries_that_lie_in_each_other_cost_no_endless_time(vhdx):
    """Every sector claims to be an entry as long as the log: checking all would be 256 MiB of checksums."""
    entry = bytearray(vhdx.log_entry(1, [], 0, FILE))
    entry[8:12] = struct.pack("<I", MIB)
    image = vhdx.Image().dirty(*[bytes(entry)] * 256)
    with pytest.raises(LimitExceeded, match="overlap each other"):
        read(image.bytes())


def test_extents_of_a_replayed_image_lead_to_the_replayed_bytes(vhdx):
    image, disk = later_entries_win(vhdx)
    reader = VhdxReader(Memory(image.bytes()))
    for extent in reader.extents():
        if extent.kind == DATA:
            assert extent.storage.read_exact(extent.offset, extent.length, "data") == disk[extent.start : extent.end]
    assert "not closed" in reader.describe().warnings[0]
