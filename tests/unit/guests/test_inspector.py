# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What virt-inspector says of real guests, and what we say: tests/tools/compare_inspector compares them fact by fact."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools/compare_inspector"


@pytest.mark.parametrize("layout", ["gpt-ext4", "mbr-ext4", "lvm-ext4", "gpt-xfs", "gpt-btrfs"])
def test_virt_inspector_says_the_same(layout, guests, program):
    program("virt-inspector")
    done = subprocess.run([sys.executable, TOOL, guests / f"{layout}.raw"], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout + done.stderr
    assert lines[-1].endswith(" facts agree, 0 differ")
    assert len(lines) >= 12
