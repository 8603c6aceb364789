# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small slice of tests/tools/kills and kill_modules; always the same points."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[4] / "tools"
IN_MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None  # every conversion is brought to the disk


def kills(*arguments, tool="kills"):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **({"TMPDIR": IN_MEMORY} if IN_MEMORY else {})}
    done = subprocess.run([sys.executable, TOOLS / tool, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith(", 0 of them show a defect\n")
    figures = re.search(r"^all: (.*)", done.stdout, re.MULTILINE).group(1)
    return {what: int(number) for number, what in re.findall(r"([0-9]+) ([a-z ]+)", figures)}


def test_a_killed_conversion_leaves_the_old_image_or_the_new_one():
    found = kills("--count", "1")
    assert found["old"] > 0
    assert found["new"] > 0
    assert found["killed"] > found["points"] // 2


def test_a_killed_module_leaves_the_old_image_or_the_new_one():
    pytest.importorskip("ansible.module_utils.testing")
    found = kills("--module", "--count", "6", "--variant", "qcow2", "--variant", "vmdk-flat")
    assert found["killed"] > found["points"] // 2


def test_killed_modules_leave_old_files_or_new_ones(program):
    pytest.importorskip("ansible.module_utils.testing")
    program("mkfs.ext4")  # which makes the guest
    found = kills("--count", "2", tool="kill_modules")
    assert found["killed"] == found["points"] == 6
