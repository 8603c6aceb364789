# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""btrfs on volumes that the kernel writes: compression, subvolumes, fragments. Judged by the kernel's own reading of them.

Where nothing can be mounted there is nothing to test: these are skipped then.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.btrfs.reader import Btrfs
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.tree import Tree
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage

SIZE = 200 << 20


@pytest.fixture
def volume(program, tmp_path):
    """An empty volume, and a function that mounts it: ``with mounted(options) as folder``."""
    image, folder = tmp_path / "image", tmp_path / "mounted"
    folder.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run([program("mkfs.btrfs"), "-q", "-m", "single", image], check=True, capture_output=True)

    @contextlib.contextmanager
    def mounted(options):
        done = subprocess.run(["mount", "-t", "btrfs", "-o", f"loop,{options}", image, folder], check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(["umount", folder], check=True)

    return image, mounted


def tool(program, *arguments):
    return subprocess.run([program("btrfs"), *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def texts():
    """Files that compress as real ones do."""
    return sorted(Path(os.__file__).parent.glob("*.py"))[:60]


@pytest.mark.parametrize("compression", ["zlib", "lzo", "zstd"])
def test_compressed_files(volume, program, trees, read_all, compression):
    image, mounted = volume
    with mounted(f"compress-force={compression}") as folder:
        trees.build_tree(folder / "tree", 5, 20, crowded=10)
        for path in texts():
            shutil.copyfile(path, folder / path.name)
        (folder / "small").write_bytes(b"inline, and compressed " * 40)
    with mounted("ro") as folder:
        expected = trees.contents(folder)
        said = tool(program, "inspect-internal", "dump-tree", "-t", "5", image)
        assert said.count(f"({compression})") > 60
        filesystem = Btrfs(FileStorage(image))
        assert read_all(filesystem) == expected
        chance = random.Random(1)
        path = max(texts(), key=lambda path: path.stat().st_size)
        storage, data = filesystem.content(Tree(filesystem).find(path.name).node), path.read_bytes()
        for _try in range(200):
            start, end = sorted(chance.randrange(len(data) + 1) for _end in range(2))
            assert storage.read_at(start, end - start) == data[start:end]


def fragment(path, chance):
    """A compressed file that is written over in parts, with a part that is only allocated, and a hole."""
    size = 1_500_000
    path.write_bytes((chance.randbytes(100) * 20_000)[:size])
    with path.open("r+b") as file:
        for number in range(40):
            file.seek(chance.randrange(size))
            file.write(chance.randbytes(chance.randrange(1, 9000)))
            if number % 10 == 0:
                file.flush()
                os.fsync(file.fileno())
        os.posix_fallocate(file.fileno(), size, 400_000)
        file.seek(size + 100_000)
        file.write(b"in the middle of what is allocated")


def test_fragments_clones_and_crowds(volume, trees, read_all):
    image, mounted = volume
    with mounted("compress-force=zlib") as folder:
        fragment(folder / "fragments", random.Random(3))
        os.sync()
        subprocess.run(["cp", "--reflink=always", folder / "fragments", folder / "clone"], check=True)
        subprocess.run(["fallocate", "-p", "-o", "100000", "-l", "300000", folder / "fragments"], check=True)
        os.truncate(folder / "clone", 777_777)
        crowd = folder / "crowd"
        crowd.mkdir()
        for number in range(2000):
            (crowd / f"entry-{number}").touch()
        os.link(folder / "clone", crowd / "hard")
    with mounted("ro") as folder:
        filesystem = Btrfs(FileStorage(image))
        assert read_all(filesystem) == trees.contents(folder)
        found = Tree(filesystem)
        assert found.find("/clone").node.key == found.find("/crowd/hard").node.key
        assert len(list(filesystem.content(found.find("/fragments").node).data_ranges())) == 3


def test_subvolumes_and_snapshots(volume, program, trees, read_all):
    image, mounted = volume
    with mounted("compress=no") as folder:
        tool(program, "subvolume", "create", folder / "@")
        tool(program, "subvolume", "create", folder / "@home")
        (folder / "@/var/lib").mkdir(parents=True)
        tool(program, "subvolume", "create", folder / "@/var/lib/machines")
        (folder / "@/var/lib/machines/inner").write_text("inner")
        (folder / "@/file").write_text("before")
        tool(program, "subvolume", "snapshot", "-r", folder / "@", folder / "@/.snapshot")
        (folder / "@/file").write_text("after")
        (folder / "@gone").mkdir()
        tool(program, "subvolume", "create", folder / "@gone/sub")
        tool(program, "subvolume", "delete", folder / "@gone/sub")
        listed = dict(line.split()[1::7] for line in tool(program, "subvolume", "list", folder).splitlines())
        expected = {int(number): path for number, path in listed.items()}
        number = next(number for number, path in expected.items() if path == "@")
        tool(program, "subvolume", "set-default", number, folder)
    default = Btrfs(FileStorage(image))
    assert default.top == number
    assert dict(default.subvolumes()) == expected
    for options, which in (
        ("", None),
        ("subvolid=5", 5),
        ("subvol=@", "@"),
        ("subvol=/@/var/lib/machines", "/@/var/lib/machines"),
        ("subvol=@/.snapshot", "@/.snapshot"),
    ):
        with mounted(f"ro,{options}") as folder:
            filesystem = default if which is None else default.subvolume(which)
            found = read_all(filesystem)
            assert found == trees.contents(folder)
            assert len(found) >= 1


def test_a_volume_that_was_not_unmounted(volume, tmp_path):
    image, mounted = volume
    with mounted("compress=no") as folder:
        (folder / "first").write_text("first")
        os.sync()
        with (folder / "second").open("w") as file:
            file.write("second")
            file.flush()
            os.fsync(file.fileno())
        copy = tmp_path / "copy"
        subprocess.run(["cp", "--sparse=always", image, copy], check=True)
    filesystem = Btrfs(FileStorage(copy))
    assert Tree(filesystem).read("/first", 100) == b"first"
    assert "log tree" in filesystem.warnings[0]
