# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is shown of a module's progress. Playbooks show it in tests/integration/targets/progress."""

from __future__ import annotations

import pytest
from ansible_collections.vmimage.prep.plugins.plugin_utils._progress import describe

GIB = 1 << 30


def said(done, total, seconds, phase="convert"):
    return describe(f"{phase} {done} {total} {seconds:.1f}   \n", 3 * 60 + 5)


@pytest.mark.parametrize(
    ("done", "total", "seconds", "line"),
    [
        (0, 4 * GIB, 0, "convert 0 % of 4.0 GiB"),
        (GIB, 4 * GIB, 8, "convert 25 % of 4.0 GiB, 128 MiB/s, 24 s left"),
        (GIB, 64 * GIB, 100.0, "convert 1 % of 64.0 GiB, 10.2 MiB/s, 1 h 45 min left"),
        (GIB, 1 << 42, 100, "convert 0 % of 4.0 TiB, 10.2 MiB/s, 4 d 17 h left"),
        (4 * GIB - 1, 4 * GIB, 8, "convert 99 % of 4.0 GiB, 512 MiB/s, 1 s left"),
        (4 * GIB, 4 * GIB, 240, "convert 100 % of 4.0 GiB, 17.1 MiB/s, 0 s left"),
        (512, 1000, 1, "convert 51 % of 1000 bytes, 512 bytes/s, 1 s left"),
        (1, (1 << 64) - 1, 1, "convert 0 % of 16.0 EiB, 1 bytes/s, 213503982334601 d 7 h left"),
    ],
)
def test_line(done, total, seconds, line):
    assert said(done, total, seconds) == line


@pytest.mark.parametrize("output", ["convert 1 2 0.0   \r\n", "convert 1 2 0.0", "Welcome to 1 2 3.0!\r\n\r\nconvert 1 2 0.0   \r\nbye\r\n"])
def test_a_terminal_and_what_a_shell_says_of_its_own(output):
    assert describe(output, 1) == "convert 50 % of 2 bytes"


def test_other_phases():
    assert said(1, 2, 0, "checksum") == "checksum 50 % of 2 bytes"


@pytest.mark.parametrize(
    "record",
    [
        None,
        "",
        "cat: no such file",
        "convert 1 2",
        "convert 1 2 1.0 and more",
        "\x1b]0;gone\x07 1 2 1.0",
        "convert\n1 2 1.0",
        "\x1b[2Jconvert 1 2 1.0",
        "convert 3 2 1.0",
        "convert -1 2 1.0",
        "convert 0 0 1.0",
        "convert 1.5 2 1.0",
        "convert 1 2 -1.0",
        "convert 1 2 nan",
        "convert 1 2 1e-320",
        "convert \u0661 2 1.0",
        f"convert 1 {'9' * 5000} 1.0",
    ],
)
def test_what_is_no_progress_is_a_sign_of_life(record):
    assert describe(record, 3 * 60 + 5) == "running for 3 min 5 s"
