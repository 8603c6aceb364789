# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every format to every format, written by qemu-img, converted by us, judged by qemu-img and the cloud's inspector."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ENGINE = Path(__file__).resolve().parents[4] / "tools" / "engine"

# name: our arguments, qemu's driver, qemu-img's arguments for the same, qemu-img check can check it, what the inspector says
VARIANTS = {
    "raw": (["--format", "raw"], "raw", ["-O", "raw"], False, "gpt"),
    "qcow2": (["--format", "qcow2"], "qcow2", ["-O", "qcow2"], True, "qcow2"),
    "qcow2-compressed": (["--format", "qcow2", "--compress"], "qcow2", ["-c", "-O", "qcow2"], True, "qcow2"),
    "vmdk-monolithicSparse": (["--format", "vmdk"], "vmdk", ["-O", "vmdk"], True, "vmdk"),
    "vmdk-streamOptimized": (["--format", "vmdk", "--subformat", "streamOptimized"], "vmdk", ["-O", "vmdk", "-o", "subformat=streamOptimized"], True, "vmdk"),
    "vdi": (["--format", "vdi"], "vdi", ["-O", "vdi"], True, "vdi"),
    "vhd-dynamic": (["--format", "vhd"], "vpc", ["-O", "vpc", "-o", "force_size=on"], False, "vhd"),
    # A fixed VHD has its mark at the end only: neither Glance's inspector nor qemu's probe looks there.
    "vhd-fixed": (["--format", "vpc", "--subformat", "fixed"], "vpc", ["-O", "vpc", "-o", "subformat=fixed,force_size=on"], False, "gpt"),
    "vhdx": (["--format", "vhdx"], "vhdx", ["-O", "vhdx"], True, "vhdx"),
}


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A disk with an MBR, and random, repetitive and zero parts that neither begin nor end at a cluster."""
    chance = random.Random(11)
    content = bytearray((9 << 20) + 1536)
    for at in range(1 << 20, len(content), 777 * 1024):
        part = chance.randbytes(200_001) if chance.random() < 0.5 else b"PAYLOAD." * 30_000
        content[at : at + len(part)] = part[: max(0, len(content) - at)]
    content[-1] = 0x99
    content[446:462] = bytes([0x80, 0, 2, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little") + (8192).to_bytes(4, "little")
    content[510:512] = b"\x55\xaa"
    path = tmp_path_factory.mktemp("disk") / "disk.raw"
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def sources(disk, tmp_path_factory, qemu_img):
    folder = tmp_path_factory.mktemp("sources")
    for name, (_ours, _driver, theirs, _check, _seen) in VARIANTS.items():
        run(qemu_img, "convert", "-f", "raw", *theirs, disk, folder / name)
    return folder


@pytest.mark.parametrize("target", VARIANTS)
@pytest.mark.parametrize("source", VARIANTS)
def test_every_format_to_every_format(disk, sources, tmp_path, qemu_img, oslo_inspector, source, target):
    ours, driver, _theirs, can_check, seen = VARIANTS[target]
    result = tmp_path / f"result of {source}"  # a name with spaces
    run(sys.executable, ENGINE, "convert", sources / source, result, *ours)
    run(qemu_img, "compare", "-f", "raw", "-F", driver, disk, result)
    if can_check:
        run(qemu_img, "check", "-f", driver, result)
    found = oslo_inspector.detect_file_format(str(result))
    assert str(found) == seen
    found.safety_check()
    run(sys.executable, ENGINE, "compare", sources / source, result)


PYTHONS = [shutil.which(f"python3.{minor}") for minor in (9, 10, 11, 12, 13, 14)]
PYTHONS = [python for python in PYTHONS if python]


@pytest.mark.parametrize("target", VARIANTS)
def test_the_same_bytes_from_every_python(disk, tmp_path, target):
    if len(PYTHONS) < 2:
        pytest.skip("one Python only is here")
    ours = VARIANTS[target][0]
    sums = {}
    for number, python in enumerate(PYTHONS):
        for threads in ("1", "3"):
            result = tmp_path / f"result-{number}-{threads}"
            run(python, ENGINE, "convert", disk, result, "--threads", threads, *ours)
            sums[python, threads] = hashlib.sha256(result.read_bytes()).hexdigest()
    assert len(set(sums.values())) == 1, sums


@pytest.mark.parametrize("target", VARIANTS)
def test_the_same_bytes_from_every_source(sources, tmp_path, target):
    """The disk decides, not the format that it came in."""
    sums = {}
    for source in VARIANTS:
        result = tmp_path / source
        run(sys.executable, ENGINE, "convert", sources / source, result, *VARIANTS[target][0])
        sums[source] = hashlib.sha256(result.read_bytes()).hexdigest()
    assert len(set(sums.values())) == 1, sums
