# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages made to do harm, opened by the modules in processes of their own: see tests/tools/measure_hostile.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import build_hostile
import measure_hostile
import pytest

TOOL = Path(measure_hostile.__file__)


@pytest.mark.parametrize("group", build_hostile.GROUPS)
def test_each_is_refused_and_leaves_nothing(group):
    """As expected, within 100 MiB; the time is the tool's to measure, on a machine that has nothing else to do."""
    pytest.importorskip("ansible.module_utils.testing")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, TOOL, "--json", group], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = dict(json.loads(line) for line in done.stdout.splitlines())
    assert len(found) > 5
    wrong = {
        f"{name}, {module}": (bad, said["outcome"], said["message"][-200:])
        for name, modules in found.items()
        for module, said in modules.items()
        for bad in measure_hostile.problems(said)
        if bad != "slow"
    }
    assert wrong == {}
