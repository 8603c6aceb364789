# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main job as README.md shows it: prepare the appliance, twice, and boot what came out."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "tests" / "tools" / "demo"
RESULTS = ROOT / ".cache" / "demo"


def run_demo(*arguments):
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"), "NO_COLOR": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run([sys.executable, DEMO, *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def first():
    for path in RESULTS.glob("*appliance*"):
        path.unlink()
    return run_demo()


def test_the_first_run_makes_an_image_that_boots(first, qemu_img, boot_qemu):
    assert first.returncode == 0, first.stdout + first.stderr
    assert "changed=1 " in first.stdout
    image = RESULTS / "appliance.qcow2"
    subprocess.run([qemu_img, "check", image], check=True, capture_output=True)
    boot_qemu(image, "qcow2", "VMIMAGE-PREP BOOT OK")


def test_the_table_ends_with_a_command_to_paste(first):
    line = next(line for line in first.stdout.splitlines() if "upload with" in line)
    words = shlex.split(line.split("upload with", 1)[1])
    assert words[:3] == ["openstack", "image", "create"]
    assert words[words.index("--file") + 1] == str(RESULTS / "appliance.qcow2")
    assert words[-1] == "appliance"
    assert sum("check passed" in line for line in first.stdout.splitlines()) == 4


def test_the_second_run_changes_nothing(first):
    second = run_demo()
    assert second.returncode == 0
    assert "changed=0 " in second.stdout


def test_a_wrong_file_gets_a_sentence(tmp_path):
    letter = tmp_path / "a letter.txt"
    letter.write_text("Dear image,\n")
    done = run_demo(str(letter))
    assert done.returncode != 0
    assert "this is a text file, not a disk image" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not (RESULTS / "a letter.qcow2").exists()
