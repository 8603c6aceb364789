# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small slice of tests/tools/fuzz; always the same mutants."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).resolve().parents[4] / "tools" / "fuzz"
FAMILIES = ("raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx", "iso", "stream", "package")
IN_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # every accepted mutant is converted and brought to the disk


def fuzz(count, *arguments):
    environment = {**os.environ, **({"TMPDIR": IN_MEMORY} if IN_MEMORY else {})}
    command = [sys.executable, FUZZ, "--count", str(count), *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith(", 0 of them show a defect\n")
    assert set(FAMILIES) <= set(re.findall(r"^([a-z0-9]+): ", done.stdout, re.MULTILINE))
    accepted, refused = (sum(int(number) for number in re.findall(f"([0-9]+) {what}", done.stdout)) for what in ("accepted", "refused"))
    assert accepted > count, "the damage is too great to be telling"
    assert refused > count, "nothing is damaged"
    return done.stdout


def test_damaged_images_are_read_right_or_refused():
    fuzz(20, "--seed", "1")


def test_damaged_packages_are_opened_or_refused():
    environment = {**os.environ, **({"TMPDIR": IN_MEMORY} if IN_MEMORY else {})}
    done = subprocess.run([sys.executable, f"{FUZZ}_packages", "--count", "4"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert done.stdout.endswith(", 0 of them show a defect\n")


def test_damaged_images_are_read_as_qemu_reads_them(qemu_img):
    said = fuzz(12, "--seed", "2", "--reference", qemu_img)
    assert "reference: same" in said
