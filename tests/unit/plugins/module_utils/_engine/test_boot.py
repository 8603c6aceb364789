# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The appliance of tests/tools/build_ova.py boots from every format that we write, out of the OVA."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).resolve().parents[4] / "tools"
MARKER = "VMIMAGE-PREP BOOT OK"

TARGETS = {
    "raw": ("raw", []),
    "qcow2": ("qcow2", []),
    "qcow2 version 2": ("qcow2", ["-o", "compat=0.10"]),
    "qcow2 compressed": ("qcow2", ["--compress"]),
    "vmdk": ("vmdk", []),
    "vmdk streamOptimized": ("vmdk", ["--subformat", "streamOptimized"]),
    "vmdk twoGbMaxExtentSparse": ("vmdk", ["--subformat", "twoGbMaxExtentSparse"]),
    "vdi": ("vdi", []),
    "vdi fixed": ("vdi", ["--subformat", "fixed"]),
    "vhd": ("vpc", []),
    "vhd fixed": ("vpc", ["--subformat", "fixed"]),
    "vhdx": ("vhdx", []),
    "vhdx fixed": ("vhdx", ["--subformat", "fixed"]),
}


@pytest.fixture(scope="module")
def ova(tmp_path_factory):
    path = tmp_path_factory.mktemp("ova") / "appliance.ova"
    subprocess.run([sys.executable, TOOLS / "build_ova.py", path], check=True)
    return path


@pytest.mark.parametrize("target", TARGETS)
def test_boots(ova, tmp_path, boot_qemu, target):
    driver, options = TARGETS[target]
    image = tmp_path / "disk"
    subprocess.run([sys.executable, TOOLS / "engine", "convert", ova, image, "--format", driver, *options], check=True)
    boot_qemu(image, driver, MARKER)
