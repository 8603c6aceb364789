# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A result of several files: all of it is there, or all of what was there before; never something of both."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError, SpaceError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage import kept, sink as module
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.kept import unfinished
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink, left_behind

NAMES = ("main", "part 1", "part 2")
ENGINE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(module.__file__))))


@pytest.fixture(params=["nameless", "named"])
def kind(request, monkeypatch):
    """Both ways: nameless files, and named ones where there is no /proc or no O_TMPFILE."""
    if request.param == "named":
        real = os.path.isdir
        monkeypatch.setattr(module.os.path, "isdir", lambda path: path != "/proc/self/fd" and real(path))
    return request.param


def write(folder, content, *, parts=NAMES[1:], replaces=(), move=os.replace, commit=True, **kwargs):
    with Sink(folder / "main", replaces=replaces, **kwargs) as sink:
        for name in parts:
            sink.beside(name).write_at(0, content)
        sink.write_at(0, content)
        if commit:
            sink.commit(move)


def state(folder):
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder))}


def test_all_take_their_names(tmp_path, kind):
    write(tmp_path, b"new")
    assert state(tmp_path) == dict.fromkeys(NAMES, b"new")


def test_what_is_not_committed_is_not_there(tmp_path, kind):
    write(tmp_path, b"new", commit=False)
    assert os.listdir(tmp_path) == []
    write(tmp_path, b"old")
    write(tmp_path, b"new", replaces=NAMES, commit=False)
    assert state(tmp_path) == dict.fromkeys(NAMES, b"old")


def test_the_order_is_mark_parts_main(tmp_path):
    """Whoever looks in between finds no image."""
    write(tmp_path, b"old")
    moved = []

    def move(part, name):
        moved.append((os.path.basename(name), unfinished(tmp_path / "main"), (tmp_path / "main").read_bytes()[:3]))
        os.replace(part, name)

    write(tmp_path, b"new", replaces=["part 1", "part 2", "part 3"], move=move)
    listed = ["part 1", "part 2", "part 3"]
    assert moved == [("main", None, b"old"), ("part 1", listed, b"# T"), ("part 2", listed, b"# T"), ("main", listed, b"# T")]


@pytest.mark.parametrize(("exists", "when"), [(False, 1), (False, 2), (False, 3), (True, 1), (True, 2), (True, 3), (True, 4)])
@pytest.mark.parametrize("failure", [OSError(errno.EIO, "broken"), SystemExit(1), KeyboardInterrupt()])
def test_a_move_that_fails(tmp_path, kind, exists, when, failure):
    """A module's own way to move ends the process when it fails."""
    if exists:
        write(tmp_path, b"old")
    left = [when]

    def move(part, name):
        left[0] -= 1
        if not left[0]:
            raise failure
        os.replace(part, name)

    with pytest.raises(AccessError if isinstance(failure, OSError) else type(failure)):
        write(tmp_path, b"new", replaces=NAMES, move=move)
    assert state(tmp_path) == (dict.fromkeys(NAMES, b"old") if exists else {})


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
def test_without_hard_links_the_mark_stays(tmp_path, monkeypatch, code):
    write(tmp_path, b"old")
    real = os.link

    def link(source, target, **kwargs):
        if not str(source).startswith("/proc/"):
            raise OSError(code, "no hard links")
        return real(source, target, **kwargs)

    monkeypatch.setattr(kept.os, "link", link)

    def move(part, name):
        if name.endswith("part 2"):
            raise OSError(errno.EIO, "broken")
        os.replace(part, name)

    with pytest.raises(AccessError):
        write(tmp_path, b"new", replaces=NAMES, move=move)
    assert unfinished(tmp_path / "main") == sorted(NAMES)
    assert sorted(os.listdir(tmp_path)) == sorted(NAMES)
    write(tmp_path, b"new", replaces=unfinished(tmp_path / "main"))
    assert state(tmp_path) == dict.fromkeys(NAMES, b"new")


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from _engine.storage.sink import Sink, left_behind
left = [int(sys.argv[3])]
def move(part, name):
    left[0] -= 1
    if not left[0]:
        os._exit(9)
    os.replace(part, name)
with Sink(sys.argv[2] + "/main", replaces=["part 1", "part 2"]) as sink:
    for name in ("part 1", "part 2"):
        sink.beside(name).write_at(0, b"new")
    sink.write_at(0, b"new")
    sink.commit(move)
"""


@pytest.mark.parametrize(("exists", "when"), [(False, 1), (False, 2), (False, 3), (True, 1), (True, 2), (True, 3), (True, 4)])
def test_killed_between_the_moves(tmp_path, when, exists):
    """Before the first move the old result stands; after it, nothing that could be taken for a result; the next run puts it right."""
    if exists:
        write(tmp_path, b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, ENGINE, str(tmp_path), str(when)], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (9, b"")
    found = {name: data for name, data in state(tmp_path).items() if not name.startswith(".")}
    if when == 1:
        assert found == (dict.fromkeys(NAMES, b"old") if exists else {})
    elif exists:
        assert unfinished(tmp_path / "main") == ["part 1", "part 2"]
        assert set(found) <= set(NAMES)
    else:
        assert found == dict.fromkeys(NAMES[1:when], b"new")
    names = left_behind(str(tmp_path / "main"))
    assert names == ["part 1", "part 2"]
    write(tmp_path, b"next", replaces=names)
    assert state(tmp_path) == dict.fromkeys(NAMES, b"next")


def test_a_name_that_is_taken(tmp_path):
    (tmp_path / "part 2").write_bytes(b"letter")
    with pytest.raises(AccessError, match="part 2: exists, and is not a part of what is at the destination"):
        write(tmp_path, b"new", replaces=["part 1"])
    assert state(tmp_path) == {"part 2": b"letter"}
    write(tmp_path, b"new", force=True)
    assert state(tmp_path) == dict.fromkeys(NAMES, b"new")


@pytest.mark.parametrize("force", [True, False])
def test_a_name_that_a_folder_has(tmp_path, force):
    (tmp_path / "part 1").mkdir()
    with pytest.raises(AccessError):
        write(tmp_path, b"new", replaces=NAMES, force=force)
    assert os.listdir(tmp_path) == ["part 1"]


def test_a_result_in_one_file_stays_until_the_new_one_is_whole(tmp_path):
    (tmp_path / "main").write_bytes(b"old")
    seen = []

    def move(part, name):
        seen.append((tmp_path / "main").read_bytes())
        os.replace(part, name)

    write(tmp_path, b"new", move=move)
    assert seen == [b"old"] * 3
    assert state(tmp_path) == dict.fromkeys(NAMES, b"new")


@pytest.mark.parametrize("parts", [(), NAMES[1:]])
def test_a_run_that_is_killed_when_all_is_in_place(tmp_path, parts):
    """Until the sink is left, the next run is told of the old files that are still to be removed."""
    write(tmp_path, b"old", parts=["part 2", "part 3"])
    with Sink(tmp_path / "main", replaces=["part 2", "part 3"]) as sink:
        for name in parts:
            sink.beside(name).write_at(0, b"new")
        sink.commit()
        assert left_behind(str(tmp_path / "main")) == sorted({*parts, "part 2", "part 3"})
        assert unfinished(tmp_path / "main") is None
    assert left_behind(str(tmp_path / "main")) == []


def test_fewer_files_than_before(tmp_path):
    """Those that are not needed any more are the caller's."""
    write(tmp_path, b"old")
    write(tmp_path, b"new", parts=["part 1"], replaces=["part 1", "part 2"])
    assert state(tmp_path) == {"main": b"new", "part 1": b"new", "part 2": b"old"}


@pytest.mark.parametrize("text", [b"", b"# The files", b"x" * 5000, kept.mark(["a"])[:-10], kept.mark([]).replace(b"[]", b"5"), b"\xff\xfe"])
def test_what_is_no_mark(tmp_path, text):
    (tmp_path / "main").write_bytes(text)
    assert unfinished(tmp_path / "main") is None
    assert unfinished(tmp_path / "missing") is None
    assert unfinished(tmp_path) is None
    os.mkfifo(tmp_path / "fifo")
    assert unfinished(tmp_path / "fifo") is None  # and does not wait for somebody to write to it


def test_two_writers_do_not_mix(tmp_path):
    """The last one to be ready wins, with all of its files; in between nothing looks like a result that is of both."""
    failed = []

    def work(content):
        try:
            for _round in range(8):
                write(tmp_path, content, replaces=NAMES)
                time.sleep(0)
        except AccessError as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(content,)) for content in (b"one", b"two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(set(state(tmp_path).values())) == 1
    assert sorted(os.listdir(tmp_path)) == sorted(NAMES)


def test_a_full_disk(small_folder):
    write(small_folder, b"old")
    with Sink(small_folder / "main", replaces=NAMES) as sink:
        sink.beside("part 1").write_at(0, bytes(500_000))
        with pytest.raises(SpaceError, match="part 2"):
            sink.beside("part 2").write_at(0, bytes(1 << 20))
    assert state(small_folder) == dict.fromkeys(NAMES, b"old")


@pytest.fixture
def small_folder(tmp_path):
    """A file system of 1 MiB, where it may be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", folder], capture_output=True, check=False).returncode:
        pytest.skip("may not mount here")
    yield folder
    subprocess.run(["umount", folder], check=True)


LIMITED = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from _engine.errors import LimitExceeded
from _engine.storage.sink import Sink, left_behind
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 400))
with Sink(sys.argv[2]) as sink:
    sink.reserve(100)
    print(resource.getrlimit(resource.RLIMIT_NOFILE))
    [sink.beside(f"part {number}") for number in range(100)]
    try:
        sink.reserve(1000)
    except LimitExceeded as error:
        print(error.message)
"""


def test_more_files_than_may_be_open(tmp_path):
    """The process' own limit is raised as far as it may be; beyond it, that is said before anything is written."""
    done = subprocess.run([sys.executable, "-c", LIMITED, ENGINE, tmp_path / "main"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("(364, 400)\nthe result has 1000 files, and this process may have 400 open; it needs 3064\n", "")
