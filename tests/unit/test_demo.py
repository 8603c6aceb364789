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

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "tests" / "tools" / "demo"
RESULTS = ROOT / ".cache" / "demo"


def run_demo(*arguments):
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"), "NO_COLOR": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    return subprocess.run([sys.executable, DEMO, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_twice(qemu_img, boot_qemu):
    """One test: both runs write to the same place, and tests may run side by side."""
    for path in RESULTS.glob("*appliance*"):
        path.unlink()
    image = RESULTS / "appliance.qcow2"

    first = run_demo()
    assert first.returncode == 0, first.stdout + first.stderr
    assert "changed=1 " in first.stdout
    subprocess.run([qemu_img, "check", image], check=True, capture_output=True)
    boot_qemu(image, "qcow2", "VMIMAGE-PREP BOOT OK")

    lines = first.stdout.splitlines()
    assert sum("check passed" in line for line in lines) == 4
    words = shlex.split(next(line for line in lines if "upload with" in line).split("upload with", 1)[1])
    assert words[:3] == ["openstack", "image", "create"]
    assert words[words.index("--file") + 1] == str(image)
    assert words[-1] == "appliance"

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
