# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small slice of tests/tools/fuzz; always the same mutants."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).resolve().parents[4] / "tools" / "fuzz"
FAMILIES = ("raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx", "iso", "stream", "package")


def fuzz(*arguments):
    done = subprocess.run([sys.executable, FUZZ, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith(", 0 of them show a defect\n")
    for family in FAMILIES:
        accepted, refused = re.search(rf"^{family}: ([0-9]+) accepted, .*?([0-9]+) refused", done.stdout, re.MULTILINE).groups()
        assert int(accepted) >= 5, "the damage is too great to be telling"
        assert int(refused) >= 1, "nothing is damaged"
    return done.stdout


def test_damaged_images_are_read_right_or_refused():
    fuzz("--seed", "1", "--count", "60")


def test_damaged_images_are_read_as_qemu_reads_them(qemu_img):
    said = fuzz("--seed", "2", "--count", "40", "--reference", qemu_img)
    assert "reference: same" in said
