# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small slice of tests/tools/differential; always the same images."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

DIFFERENTIAL = Path(__file__).resolve().parents[4] / "tools" / "differential"


def test_random_images_are_the_same_to_qemu_seven_zip_and_us(qemu_img, qemu_io, seven_zip):
    assert all((qemu_img, qemu_io, seven_zip))
    done = subprocess.run([sys.executable, DIFFERENTIAL, "--seed", "20001", "--count", "60"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("60 pairs the same, 0 differ\n")
    for judge in (r"theirs qcow2: .*qemu-img", r"theirs vmdk: .*qemu-img", r"ours qcow2: .*\d 7-Zip", r"ours vhdx: .*\d 7-Zip"):
        assert re.search(judge, done.stdout), done.stdout
