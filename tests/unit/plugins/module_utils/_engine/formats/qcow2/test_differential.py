# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random qcow2 images: qemu-img and qemu-io make them, show their content, and say what is wrong with them."""

from __future__ import annotations

import json
import random
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source

KIB = 1024
CLASSES = {0: "clean", 2: "corruptions", 3: "leaks"}


class Maker:
    """One image in a folder, by a seed."""

    def __init__(self, seed, folder, qemu_img, qemu_io):
        self.chance = random.Random(seed)
        self.folder = folder
        self.qemu_img = qemu_img
        self.qemu_io = qemu_io

    def run(self, *command):
        return subprocess.run([str(part) for part in command], cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def make(self):
        chance = self.chance
        self.options = {"compat": chance.choice(["0.10", "1.1", "1.1", "1.1"]), "cluster_size": 512 << chance.randrange(13)}
        snapshots = chance.random() < 0.4
        if self.options["compat"] == "1.1":
            self.options["refcount_bits"] = 1 << chance.randrange(3 if snapshots else 0, 7)
            self.options["lazy_refcounts"] = chance.choice(["on", "off"])
            if chance.random() < 0.6:
                self.options["extended_l2"] = "on"
                self.options["cluster_size"] = 512 << chance.randrange(5, 13)
            if not snapshots and chance.random() < 0.25:
                self.options["data_file"] = "disk.data"
                self.options["data_file_raw"] = chance.choice(["on", "off"])
        most = min(max(8 * self.options["cluster_size"], 600 * KIB), 4096 * KIB)
        self.size = chance.randrange(1, most // 512) * 512
        create = ["create", "-q", "-f", "qcow2"]
        if self.options.get("data_file_raw") != "on" and chance.random() < 0.4:
            form = self._base()
            create += ["-b", f"base.{form}", "-F", form]
        elif chance.random() < 0.2:
            self.options["preallocation"] = "metadata"
        self.run(self.qemu_img, *create, "-o", ",".join(f"{key}={value}" for key, value in self.options.items()), "disk.qcow2", self.size)
        (self.folder / "bytes").write_bytes(chance.randbytes(97 * KIB))
        self._write("disk.qcow2", self.size)
        for number in range(chance.randrange(1, 4) if snapshots else 0):
            self.run(self.qemu_img, "snapshot", "-c", f"state {number}", "disk.qcow2")
            if self.options["compat"] == "1.1" and chance.random() < 0.4:
                self.size += chance.randrange(1, 2000) * 512
                self.run(self.qemu_img, "resize", "-q", "disk.qcow2", self.size)
            self._write("disk.qcow2", self.size)

    def _base(self):
        form = self.chance.choice(["raw", "qcow2"])
        size = max(512, int(self.size * self.chance.choice([0.5, 1, 1.5])) // 512 * 512)
        (self.folder / "base.raw").write_bytes(self.chance.randbytes(size))
        if form == "qcow2":
            self.run(self.qemu_img, "convert", "-O", "qcow2", *self.chance.choice([[], ["-c"], ["-o", "extended_l2=on"]]), "base.raw", "base.qcow2")
        return form

    def _write(self, image, size):
        chance = self.chance
        commands = []
        for _number in range(chance.randrange(1, 9)):
            start = chance.randrange(size // 512) * 512
            length = min(chance.choice([512, 4 * KIB, 64 * KIB, 300 * KIB, 2048 * KIB]) * chance.randrange(1, 4), size - start)
            kind = chance.choice(["-s bytes", "-s bytes", "-P 7", "-z", "-z", "-z -u", "discard", "-c"])
            if kind == "discard":
                commands.append(f"discard {start} {length}")
            elif kind != "-c":
                commands.append(f"write {kind} {start} {length}")
            elif "data_file" not in self.options:
                cluster = self.options["cluster_size"]
                start = start // cluster * cluster
                commands.append(f"write -c -s bytes {start} {min(cluster * chance.randrange(1, 4), size - start)}")
        words = [word for command in commands for word in ("-c", command)]
        # What is allocated cannot be compressed any more: some commands fail, and that is as good.
        subprocess.run([self.qemu_io, "-d", "unmap", "-f", "qcow2", *words, image], cwd=self.folder, capture_output=True, check=False)

    def shown(self, *snapshot):
        self.run(self.qemu_img, "convert", *snapshot, "-f", "qcow2", "-O", "raw", "disk.qcow2", "judge.raw")
        return (self.folder / "judge.raw").read_bytes()

    def info(self):
        return json.loads(self.run(self.qemu_img, "info", "--output=json", "disk.qcow2"))

    def judged(self):
        return CLASSES[subprocess.run([self.qemu_img, "check", "disk.qcow2"], cwd=self.folder, capture_output=True, check=False).returncode]


def opened(folder, snapshot=None):
    return open_source(Request(str(folder / "disk.qcow2"), references=str(folder), snapshot=snapshot))


def content_of(reader):
    return b"".join(reader.read_extent(extent) for extent in reader.extents())


def with_underscores(value):
    if isinstance(value, dict):
        return {key.replace("-", "_"): with_underscores(part) for key, part in value.items()}
    return [with_underscores(part) for part in value] if isinstance(value, list) else value


def compare(seed, folder, qemu_img, qemu_io):
    """Make an image, and hold what the reader says of it against what qemu-img says."""
    maker = Maker(seed, folder, qemu_img, qemu_io)
    maker.make()
    before = (folder / "disk.qcow2").read_bytes()
    info = maker.info()
    with opened(folder) as source:
        assert source.reader.virtual_size == maker.size
        assert content_of(source.reader) == maker.shown(), "content"
        result = source.reader.check()
        found = "corruptions" if result.corruptions else "leaks" if result.leaks else "clean"
        assert found == maker.judged(), f"check: {result}"
        described = source.reader.describe()
    told = with_underscores(info["format-specific"]["data"])
    assert {key: described.format_specific[key] for key in told} == told
    told = with_underscores(info.get("snapshots", []))
    assert [{key: ours[key] for key in theirs} for ours, theirs in zip(described.snapshots, told)] == told
    assert len(described.snapshots) == len(told)
    for snapshot in described.snapshots:
        with opened(folder, snapshot["id"]) as source:
            content = content_of(source.reader)
            assert len(content) == snapshot["disk_size"]
            assert content == maker.shown("-l", f"snapshot.id={snapshot['id']}")[: len(content)], "snapshot"
    assert (folder / "disk.qcow2").read_bytes() == before


@pytest.mark.parametrize("seed", range(10))
def test_random_images(tmp_path, qemu_img, qemu_io, seed):
    compare(seed, tmp_path, qemu_img, qemu_io)
