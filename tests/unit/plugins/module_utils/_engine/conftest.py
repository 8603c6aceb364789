# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's command as another program calls it, and small images for it."""

from __future__ import annotations

import gzip
import os
import random
import subprocess
import sys
import types
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parents[4] / "tools" / "engine"


class Engine:
    """Runs tests/tools/engine in a folder of its own."""

    tool = TOOL

    def __init__(self, folder):
        self.folder = folder

    def command(self, *arguments):
        return [sys.executable, TOOL, *arguments]

    def __call__(self, *arguments, **kwargs):
        return subprocess.run(self.command(*arguments), cwd=self.folder, capture_output=True, timeout=120, check=False, **kwargs)

    def succeeds(self, *arguments, **kwargs):
        """Standard output of a command that does what it is told, without a word on standard error."""
        done = self(*arguments, **kwargs)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode()

    def fails(self, kind, *arguments, **kwargs):
        """What a command says that is refused: one line of the documented form, and nothing else anywhere."""
        done = self(*arguments, **kwargs)
        return self.judge(done.returncode, done.stdout, done.stderr, kind, *arguments)

    def judge(self, code, stdout, stderr, kind, *arguments):
        said = stderr.decode()
        assert code == (2 if arguments[0] == "compare" else 1), said
        assert stdout == b""
        assert said.endswith("\n")
        assert said.count("\n") == 1, said
        assert said.startswith(f"error: {kind}: "), said
        assert "Traceback" not in said
        return said[len(f"error: {kind}: ") : -1]


@pytest.fixture
def engine(tmp_path):
    return Engine(tmp_path)


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Paths of small images by name, all of one disk but for those that are bad."""
    folder = tmp_path_factory.mktemp("images")
    engine = Engine(folder)
    chance = random.Random(5)
    content = bytearray(3 << 20)
    content[446:462] = bytes([0x80, 0, 2, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little") + (2048).to_bytes(4, "little")
    content[510:512] = b"\x55\xaa"
    for at in range(4096, len(content), 400_000):
        content[at : at + 100_000] = chance.randbytes(50_000) + b"REPEATED." * 5_555 + bytes(5)
    (folder / "raw").write_bytes(content)
    engine.succeeds("convert", "raw", "qcow2", "--format", "qcow2")
    engine.succeeds("convert", "raw", "vmdk", "--format", "vmdk", "--subformat", "streamOptimized")
    qcow2 = (folder / "qcow2").read_bytes()
    for name, data in {
        "text": b"There is no disk in here.\n" * 40,
        "empty": b"",
        "tiny": bytes(100),
        "html": b"<!DOCTYPE html>\n<html><body>404</body></html>\n" * 20,
        "cut": qcow2[: len(qcow2) // 2],
        "encrypted": qcow2[:32] + (2).to_bytes(4, "big") + qcow2[36:],
        # The name lies behind the header's extensions, in the first cluster.
        "overlay": qcow2[:8] + (4096).to_bytes(8, "big") + (8).to_bytes(4, "big") + qcow2[20:4096] + b"base.raw" + qcow2[4104:],
        "both": qcow2[: 16 * 2048] + b"\1CD001\1" + qcow2[16 * 2048 + 7 :],
        "gz": gzip.compress(content, 1, mtime=0),
    }.items():
        (folder / name).write_bytes(data)
    (folder / "gz-cut").write_bytes((folder / "gz").read_bytes()[:-1000])
    damaged = bytearray((folder / "gz").read_bytes())
    damaged[-6] ^= 1  # the CRC
    (folder / "gz-crc").write_bytes(damaged)
    return types.SimpleNamespace(folder=folder, content=bytes(content), **{path.name.replace("-", "_"): path for path in folder.iterdir()})


class FaultyCall:
    """Has the call number ``when`` of one of os's functions fail."""

    def __init__(self, monkeypatch, name, when, code):
        self.real, self.name, self.left, self.code = getattr(os, name), name, when, code
        monkeypatch.setattr(os, name, self)

    def __call__(self, *arguments, **kwargs):
        self.left -= 1
        if self.left == 0:
            if self.name == "close":
                self.real(*arguments)  # as the kernel has it: the error is told, the descriptor is gone
            raise OSError(self.code, os.strerror(self.code))
        return self.real(*arguments, **kwargs)


@pytest.fixture(scope="session")
def fault_call():
    """fault_call(monkeypatch, name, when, code) has the call number ``when`` of ``os.name`` fail with an errno."""
    return FaultyCall
