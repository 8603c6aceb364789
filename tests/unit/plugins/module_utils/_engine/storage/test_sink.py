# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A result is complete under its name, or it is not there."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError, SpaceError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage import sink as module
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink


@pytest.fixture(params=["nameless", "named"])
def kind(request, monkeypatch):
    """Both ways: a nameless file, and a named one where there is no /proc or no O_TMPFILE."""
    if request.param == "named":
        real = os.path.isdir
        monkeypatch.setattr(module.os.path, "isdir", lambda path: path != "/proc/self/fd" and real(path))
    return request.param


def test_takes_the_name_in_one_step(tmp_path, kind):
    path = tmp_path / "a result"
    path.write_bytes(b"old")
    with Sink(path) as sink:
        sink.write_at(5, b"new")
        sink.truncate(10)
        assert path.read_bytes() == b"old"
        assert sink.reopen().read_at(0, 20) == b"\0\0\0\0\0new\0\0"
        sink.commit()
    assert path.read_bytes() == b"\0\0\0\0\0new\0\0"
    assert os.listdir(tmp_path) == ["a result"]


def test_what_is_not_committed_is_not_there(tmp_path, kind):
    path = tmp_path / "result"
    path.write_bytes(b"old")
    with Sink(path) as sink:
        sink.write_at(0, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["result"]


def test_stale_parts_go_and_living_ones_stay(tmp_path):
    stale = tmp_path / ".result.0123456789ab.part"
    living = tmp_path / ".result.ba9876543210.part"
    other = tmp_path / ".result2.0123456789ab.part"
    for path in (stale, living, other):
        path.write_bytes(b"x")
    with open(living, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with Sink(tmp_path / "result"):
            pass
    assert sorted(os.listdir(tmp_path)) == sorted([living.name, other.name])


def test_a_name_of_255_bytes(tmp_path, kind):
    path = tmp_path / ("é" * 127)
    with Sink(path) as sink:
        sink.write_at(0, b"x")
        sink.commit()
    assert path.read_bytes() == b"x"


def test_a_folder_and_a_missing_folder(tmp_path):
    with pytest.raises(AccessError, match="is a folder"):
        Sink(tmp_path)
    with pytest.raises(AccessError, match="no such file or folder"):
        Sink(tmp_path / "missing" / "result")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB, where it may be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("may not mount here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_leaves_nothing(small_disk, kind):
    path = small_disk / "result"
    path.write_bytes(b"old")
    with pytest.raises(SpaceError, match="no space is left"), Sink(path) as sink:
        sink.write_at(0, bytes(2 << 20))
    assert path.read_bytes() == b"old"
    assert os.listdir(small_disk) == ["result"]


def test_a_read_only_folder(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(AccessError, match="read-only"):
        Sink(small_disk / "result")


KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from _engine.storage.sink import Sink
with Sink(sys.argv[2]) as sink:
    for at in range(1 << 20):
        sink.write_at(at << 16, bytes(1 << 16))
        if at == 20:
            print("writing", flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_while_writing(tmp_path, number):
    path = tmp_path / "result"
    path.write_bytes(b"old")
    engine = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(module.__file__))))
    with subprocess.Popen([sys.executable, "-c", KILLED, engine, path], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(number)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["result"]


def test_two_writers_leave_one_whole_result(tmp_path):
    path = tmp_path / "result"

    def write(content):
        for _round in range(50):
            with Sink(path) as sink:
                for at in range(8):
                    sink.write_at(at << 12, content * (1 << 12))
                sink.commit()

    threads = [threading.Thread(target=write, args=(bytes([65 + number]),)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = path.read_bytes()
    assert len(content) == 1 << 15
    assert len(set(content)) == 1
    assert os.listdir(tmp_path) == ["result"]


def test_holes_stay_holes(tmp_path):
    path = tmp_path / "result"
    with Sink(path) as sink:
        sink.write_at(1 << 30, b"x")
        sink.commit()
    assert os.stat(path).st_blocks * 512 < 1 << 20
    storage = FileStorage(path)
    assert sum(length for _offset, length in storage.data_ranges()) < 1 << 20
    assert storage.read_at((1 << 30) - 1, 5) == b"\0x"


def test_a_disk_that_fails_behind_the_writer_s_back(tmp_path, monkeypatch):
    """The kernel tells a failed write once, perhaps to the thread that syncs in advance: that must not be lost."""

    def fail(_fd):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", fail)
    (tmp_path / "result").write_bytes(b"old")

    def write():
        with Sink(tmp_path / "result") as sink:
            for piece in range(20):
                sink.write_at(piece << 21, b"x" * (1 << 21))
            sink.commit()

    with pytest.raises(AccessError, match="result"):
        write()
    assert (tmp_path / "result").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["result"]


def test_syncing_in_advance_changes_nothing(tmp_path):
    content = os.urandom(1 << 21)
    with Sink(tmp_path / "result") as sink:
        for piece in range(40):
            sink.write_at(piece << 21, content)
        sink.commit()
    assert (tmp_path / "result").read_bytes() == content * 40
    assert [thread.name for thread in threading.enumerate() if thread.name == "vmimage-sync"] == []
