# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file in which a module says where it is."""

from __future__ import annotations

import os
import stat

import pytest

pytest.importorskip("ansible.module_utils.basic")

from ansible_collections.vmimage.prep.plugins.module_utils._engine.progress import silent  # noqa: E402
from ansible_collections.vmimage.prep.plugins.module_utils._module import progress as module_progress  # noqa: E402


@pytest.fixture
def clock(monkeypatch):
    """clock.now is what time the module thinks it is."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module_progress, "time", clock)
    return clock


def read(path):
    phase, done, total, seconds = path.read_text(encoding="ascii").split()
    return {"phase": phase, "done": int(done), "total": int(total), "seconds": float(seconds)}


@pytest.fixture
def path(monkeypatch, tmp_path):
    path = tmp_path / "progress"
    monkeypatch.setenv("VMIMAGE_PROGRESS_FILE", str(path))
    return path


def test_nobody_asks(monkeypatch):
    monkeypatch.delenv("VMIMAGE_PROGRESS_FILE", raising=False)
    with module_progress.reported() as progress:
        assert progress is silent


def test_at_most_once_a_second_and_then_gone(clock, path):
    with module_progress.reported() as progress:
        progress("convert", 0, 10)
        clock.now += 0.9
        progress("convert", 1, 10)
        assert not path.exists()
        clock.now += 0.1
        progress("convert", 2, 10)
        assert read(path) == {"phase": "convert", "done": 2, "total": 10, "seconds": 1.0}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        size = path.stat().st_size
        clock.now += 0.5
        progress("convert", 3, 10)
        assert read(path)["done"] == 2
        clock.now += 0.5
        progress("convert", 4, 10)
        assert read(path) == {"phase": "convert", "done": 4, "total": 10, "seconds": 2.0}
        assert path.stat().st_size == size
    assert not path.exists()


@pytest.mark.parametrize("following", [("compare", 0, 10), ("convert", 0, 20), ("convert", 0, 10)])
def test_each_phase_has_its_own_time(clock, path, following):
    with module_progress.reported() as progress:
        progress("convert", 5, 10)
        clock.now += 60
        progress(*following)
        assert read(path)["seconds"] == 0
        clock.now += 2
        progress(following[0], 5, following[2])
        assert read(path) == {"phase": following[0], "done": 5, "total": following[2], "seconds": 2.0}


def test_a_short_line_leaves_nothing_of_a_long_one(clock, path):
    with module_progress.reported() as progress:
        clock.now += 1
        progress("decompress", (1 << 64) - 2, (1 << 64) - 1)
        long = path.stat().st_size
        clock.now += 1
        progress("compare", 0, 1)
        assert read(path)["phase"] == "compare"
        assert path.stat().st_size == long


def test_gone_after_a_failure(clock, path):
    def fail(progress):
        clock.now += 1
        progress("convert", 1, 10)
        assert path.exists()
        raise KeyError

    with pytest.raises(KeyError), module_progress.reported() as progress:
        fail(progress)
    assert not path.exists()


@pytest.mark.parametrize("there", ["file", "link", "folder", "no folder"])
def test_what_somebody_has_put_there_is_not_touched(clock, path, tmp_path, there, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("theirs", encoding="utf-8")
    if there == "file":
        os.link(victim, path)
    elif there == "link":
        path.symlink_to(victim)
    elif there == "folder":
        path.mkdir()
    else:
        monkeypatch.setenv("VMIMAGE_PROGRESS_FILE", str(tmp_path / "missing/progress"))
    with module_progress.reported() as progress:
        for done in range(3):
            clock.now += 1
            progress("convert", done, 10)
    assert victim.read_text(encoding="utf-8") == "theirs"
    assert os.path.lexists(path) == (there != "no folder")
