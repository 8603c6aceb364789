# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real faults around the engine's command: full and read-only file systems, signals, system calls that fail or kill."""

from __future__ import annotations

import glob
import os
import random
import re
import shutil
import signal
import subprocess
import time

import pytest

MIB = 1 << 20


@pytest.fixture
def mounted(tmp_path):
    """A function that mounts a small file system: mounted(size in MiB) -> its path."""
    places = []

    def mount(size):
        place = tmp_path / f"mounted-{len(places)}"
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "tmpfs", place], capture_output=True, check=False)
        if done.returncode:
            place.rmdir()
            pytest.skip(f"nothing can be mounted here: {done.stderr.decode().strip()}")
        places.append(place)
        return place

    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount")
    yield mount
    for place in places:
        subprocess.run(["umount", place], check=True)


# name of the source, target, what is said
FULL = {
    "raw, while writing": ("raw", ["--format", "qcow2"], "no space is left on the file system. Free some space or choose another folder"),
    "qcow2, before": ("qcow2", ["--format", "raw"], r"the result needs [0-9]+ bytes, the file system has [0-9]+ free. Free some space"),
    "qcow2 compressed, while writing": ("qcow2", ["--format", "qcow2", "--compress"], "cannot write the result: no space is left"),
    "gzip, while writing": ("gz", ["--format", "vhd"], "no space is left on the file system"),
    "xz, while unpacking": ("xz", ["--format", "vhd"], "[0-9]+ bytes have to be unpacked, the file system has [0-9]+ free"),
    "fixed VHD": ("raw", ["--format", "vhd", "--subformat", "fixed"], "no space is left on the file system"),
}


@pytest.mark.parametrize("case", FULL)
def test_a_full_disk(engine, images, mounted, tmp_path, case):
    name, options, wanted = FULL[case]
    source = images.folder / name
    if name == "xz":
        source = tmp_path / "xz"
        source.write_bytes(subprocess.run(["xz", "-0c", images.qcow2], capture_output=True, check=True).stdout)
    place = mounted(1)
    (place / "filler").write_bytes(bytes(768 * 1024))
    (place / "dest").write_bytes(b"old")
    sentence = engine.fails("space", "convert", source, place / "dest", *options)
    assert re.search(wanted, sentence), sentence
    assert str(place) in sentence
    assert (place / "dest").read_bytes() == b"old"
    assert sorted(os.listdir(place)) == ["dest", "filler"]
    assert os.statvfs(place).f_bavail * os.statvfs(place).f_frsize >= 240 * 1024, "the room is not free again"


def test_a_read_only_folder(engine, images, mounted):
    place = mounted(8)
    (place / "dest").write_bytes(b"old")
    subprocess.run(["mount", "-o", "remount,ro", place], check=True)
    assert "is on a read-only file system" in engine.fails("access", "convert", images.qcow2, place / "dest", "--format", "raw")
    assert os.listdir(place) == ["dest"]
    assert (place / "dest").read_bytes() == b"old"


def test_a_folder_that_must_not_be_written(engine, images, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    try:
        assert "permission denied" in engine.fails("access", "convert", images.qcow2, "dest", "--format", "raw")
    finally:
        tmp_path.chmod(0o700)


def test_a_limit_on_the_size_of_files(engine, images, tmp_path):
    command = ["sh", "-c", 'ulimit -f 1024; exec "$@"', "sh", *engine.command("convert", images.raw, "dest", "--format", "raw")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    assert "takes no file that large" in engine.judge(done.returncode, done.stdout, done.stderr, "space", "convert")
    assert os.listdir(tmp_path) == []


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A raw disk that takes some seconds to compress."""
    path = tmp_path_factory.mktemp("large") / "disk.raw"
    piece = random.Random(1).randbytes(4 * MIB)
    with open(path, "wb") as file:
        for number in range(24):
            file.write(piece[number:] + piece[:number])
    return path


@pytest.fixture
def interruptible():
    """What is started in the background by a shell ignores SIGINT, what nohup starts SIGHUP, and so would all that they start."""
    before = [(number, signal.signal(number, handler)) for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL))]
    yield
    for number, handler in before:
        signal.signal(number, handler)


def wait_until_it_writes(process, folder):
    """Until a file without a name in ``folder`` has some content."""
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        for link in glob.glob(f"/proc/{process.pid}/fd/*"):
            try:
                if os.readlink(link).startswith(f"{folder}/") and os.stat(link).st_size > MIB:
                    return
            except OSError:
                continue  # closed meanwhile
        time.sleep(0.01)
    pytest.fail("nothing was written")


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("old", [True, False], ids=["over an old file", "new"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_a_signal_in_the_middle(engine, large, tmp_path, number, old):
    if old:
        (tmp_path / "dest").write_bytes(b"old")
    command = engine.command("convert", large, "dest", "--format", "qcow2", "--compress")
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_until_it_writes(process, tmp_path)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    if number == signal.SIGINT:
        assert engine.judge(process.returncode, stdout, stderr, "interrupted", "convert") == "stopped by a signal"
    else:
        assert (process.returncode, stdout, stderr) == (-number, b"", b"")
    assert os.listdir(tmp_path) == (["dest"] if old else [])
    assert not old or (tmp_path / "dest").read_bytes() == b"old"


class Strace:
    """Runs the engine's conversion with a system call that fails or kills."""

    def __init__(self, engine, source, dest):
        self.engine, self.source, self.dest = engine, source, dest
        self.log = dest.parent.parent / "log"

    def __call__(self, *options):
        """Exit status and standard error; strace ends as the traced command does."""
        command = ["strace", "-f", "-qq", "-o", self.log, *options, *self.engine.command("convert", self.source, self.dest, "--format", "qcow2")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.stdout == ""
        return done.returncode, done.stderr

    def calls(self, names):
        """The system calls of these names that a sound conversion makes, in their order."""
        assert self("-e", f"trace={names}") == (0, "")
        return re.findall(r"^[0-9]+ +(\w+)\(", self.log.read_text(), re.MULTILINE)


@pytest.fixture
def strace(engine, images, tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("no strace here")
    if subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace is not allowed here")
    (tmp_path / "place").mkdir()
    return Strace(engine, images.raw, tmp_path / "place" / "dest")


def test_the_bytes_are_on_the_disk_before_the_name(strace):
    calls = strace.calls("pwrite64,ftruncate,fsync,linkat,rename")
    assert calls[-4:] == ["fsync", "linkat", "rename", "fsync"]
    assert calls.count("fsync") == 2


@pytest.mark.parametrize("call", ["pwrite64", "fsync", "linkat", "rename"])
def test_killed_or_refused_at_any_system_call(strace, call):
    """The destination is old or complete; a file that a kill leaves beside it is gone after the next run."""
    folder, dest = strace.dest.parent, strace.dest
    count = len(strace.calls(call))
    assert count >= 1
    whole = dest.read_bytes()
    for when in sorted({*range(1, min(count, 5)), count}):
        for fault, kind in (("error=ENOSPC", "space"), ("error=EIO", "access"), ("signal=KILL", None)):
            dest.write_bytes(b"old")
            code, said = strace("-e", f"inject={call}:{fault}:when={when}")
            assert dest.read_bytes() in (b"old", whole), (when, fault)
            if kind is None:
                assert code == -signal.SIGKILL
                assert [name for name in os.listdir(folder) if name != "dest" and not re.fullmatch(r"\.dest\.[0-9a-f]{12}\.part", name)] == []
                assert len(os.listdir(folder)) <= 2
                assert strace() == (0, "")
                assert dest.read_bytes() == whole
            else:
                assert code == 1
                assert re.fullmatch(rf"error: {kind}: [^\n]+\n", said)
            assert os.listdir(folder) == ["dest"], (when, fault)
