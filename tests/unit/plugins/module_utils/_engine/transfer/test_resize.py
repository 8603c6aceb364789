# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other sizes than the source has, judged by qemu-img; and what platforms ask for."""

from __future__ import annotations

import json
import random
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import LimitExceeded, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.limits import GIB, MIB
from ansible_collections.vmimage.prep.plugins.module_utils._engine.produce import produce
from ansible_collections.vmimage.prep.plugins.module_utils._engine.profiles import PROFILES, profile, target_for
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.resize import resize, size_for

DRIVERS = {"vhd": "vpc"}


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE).stdout


@pytest.fixture
def disk(tmp_path):
    """5 MiB and 3 sectors; data up to the last byte but one sector of zeros at the very end."""
    content = random.Random(7).randbytes(5 * MIB + 1024) + bytes(512)
    (tmp_path / "disk.raw").write_bytes(content)
    return content


def convert(source, dest, size, wanted):
    with open_source(Request(str(source))) as opened, Sink(str(dest)) as sink:
        opened.reader = resize(opened.reader, size)
        produce(opened, wanted, sink, verify_content=True)
        sink.commit()


@pytest.mark.parametrize("source", ["raw", "qcow2", "compressed", "vmdk"])
@pytest.mark.parametrize("wanted", ["raw", "qcow2", "vdi", "vhd", "vhdx", "vmdk"])
@pytest.mark.parametrize("size", [5 * MIB + 1024, 6 * MIB, 200 * MIB + 512])
def test_other_sizes(tmp_path, disk, qemu_img, source, wanted, size):
    made = tmp_path / "source.img"
    run(qemu_img, "convert", "-O", {"compressed": "qcow2"}.get(source, source), *(["-c"] if source == "compressed" else []), tmp_path / "disk.raw", made)
    convert(made, tmp_path / "out", size, target(wanted))
    driver = DRIVERS.get(wanted, wanted)
    assert json.loads(run(qemu_img, "info", "--output=json", "-f", driver, tmp_path / "out"))["virtual-size"] == size
    run(qemu_img, "convert", "-f", driver, "-O", "raw", tmp_path / "out", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == disk[:size].ljust(size, b"\0")


def test_data_is_not_cut_off(tmp_path, disk):
    with open_source(Request(str(tmp_path / "disk.raw"))) as source:
        with pytest.raises(UnsupportedImage, match=r"there is data behind that, at guest offset 0x500200"):
            resize(source.reader, 5 * MIB + 512)
        assert resize(source.reader, 5 * MIB + 1536) is source.reader


def test_a_hole_is_cut_off_without_being_read(tmp_path):
    with (tmp_path / "disk.raw").open("wb") as file:
        file.write(b"boot")
        file.truncate(2 << 40)
    with open_source(Request(str(tmp_path / "disk.raw"))) as source:
        assert resize(source.reader, MIB).read_at(0, 2 * MIB) == b"boot".ljust(MIB, b"\0")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, 1000 * 512),
        ({"align": MIB}, MIB),
        ({"align": 512}, 1000 * 512),
        ({"virtual_size": GIB}, GIB),
        ({"virtual_size": GIB, "align": 3 * MIB}, 342 * 3 * MIB),
        ({"minimum": 20 * MIB, "align": MIB}, 20 * MIB),
        ({"virtual_size": 512}, 512),
    ],
)
def test_the_size_that_is_meant(given, expected):
    assert size_for(1000 * 512, **given) == expected


@pytest.mark.parametrize("given", [{"align": 0}, {"align": -512}, {"virtual_size": 0}, {"virtual_size": 511}, {"virtual_size": 1000}])
def test_impossible_sizes(given):
    with pytest.raises(UnsupportedImage, match="align|virtual_size"):
        size_for(512, **given)


def test_too_large():
    with pytest.raises(LimitExceeded):
        size_for(512, align=1 << 60)


@pytest.mark.parametrize("name", PROFILES)
def test_a_platform_s_image(tmp_path, disk, qemu_img, name):
    platform = profile(name)
    size = size_for(len(disk), align=platform.align, minimum=platform.minimum)
    wanted = target_for(platform)
    convert(tmp_path / "disk.raw", tmp_path / "out", size, wanted)
    driver = DRIVERS.get(wanted.format, wanted.format)
    assert size % platform.align == 0
    assert size >= platform.minimum
    assert json.loads(run(qemu_img, "info", "--output=json", "-f", driver, tmp_path / "out"))["virtual-size"] == size
    if name == "azure":
        assert (tmp_path / "out").stat().st_size == size + 512


def test_what_a_platform_does_not_take():
    with pytest.raises(UnsupportedImage, match="the profile azure needs format vhd, not qcow2"):
        target_for(profile("azure"), "qcow2")
    with pytest.raises(UnsupportedImage, match="needs subformat fixed, not dynamic"):
        target_for(profile("azure"), None, "dynamic")
    with pytest.raises(UnsupportedImage, match="needs adapter_type lsilogic, not ide"):
        target_for(profile("esxi"), options={"adapter_type": "ide"})
    with pytest.raises(UnsupportedImage, match="no profile is called 'hal'"):
        profile("hal")
    assert target_for(profile("azure"), "vpc", "FIXED").subformat == "fixed"
    assert target_for(profile(None)).format == "qcow2"
