# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests to take an AMI, AKI and ARI out of: made of dictionaries, or as disks by the usual tools."""

from __future__ import annotations

import contextlib
import subprocess
import types

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.ami.trio import Wanted, open_trio
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import open_reader
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest import guest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.roots import GuestVolume
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.zeros import ZeroStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.table import Partition
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.volumes import Volume

from ..guest.conftest import DictFilesystem

MIB = 1 << 20


@pytest.fixture
def volume():
    """volume("vda1", {path: content}, kind="ext4", label=None, logical=False) gives a volume with a file system; its UUID is uuid-vda1."""

    def volume(name, files, kind="ext4", label=None, logical=False):
        filesystem = DictFilesystem(files, kind, f"uuid-{name}", label)
        part = None if logical else Partition(int(name[3:]), MIB, MIB, "83", "Linux")
        held = types.SimpleNamespace(name=name) if logical else None
        return GuestVolume(Volume(name, ZeroStorage(MIB, name), part, held), filesystem.signature, filesystem, None)

    return volume


@pytest.fixture
def take(monkeypatch):
    """take(volumes, **wanted) gives the trio of a disk that has these volumes."""
    with contextlib.ExitStack() as opened:

        def take(volumes, **wanted):
            monkeypatch.setattr(guest, "open_volumes", lambda _disk, _table: volumes)
            reader = open_reader("raw", Memory(bytes(MIB), "disk.raw"))
            return open_trio(types.SimpleNamespace(reader=reader, path="disk.raw"), Wanted(**wanted), opened)

        yield take


@pytest.fixture
def take_file():
    """take_file(path, **wanted) gives the trio of an image file."""
    with contextlib.ExitStack() as opened:

        def take_file(path, **wanted):
            return open_trio(opened.enter_context(open_source(Request(str(path), any_order=True))), Wanted(**wanted), opened)

        yield take_file


@pytest.fixture
def make_folder(tmp_path):
    """make_folder(name, {path: content}) makes a folder of files; None is a folder, ``"-> target"`` a symbolic link."""

    def make_folder(name, files):
        for path, content in files.items():
            target = tmp_path / name / path.lstrip("/")
            (target if content is None else target.parent).mkdir(parents=True, exist_ok=True)
            if isinstance(content, str) and content.startswith("-> "):
                target.symlink_to(content[3:])
            elif content is not None:
                target.write_bytes(content.encode() if isinstance(content, str) else content)
        return tmp_path / name

    return make_folder


@pytest.fixture
def make_disk(tmp_path, program):
    """make_disk(name, size, {start: image}) gives a disk with an MBR partition for each image, all sizes in MiB; a size may be had by (image, size)."""

    def make_disk(name, size, parts):
        path = tmp_path / name
        data = bytearray(size * MIB)
        script = "label: dos\n"
        for start, part in parts.items():
            image, length = part if isinstance(part, tuple) else (part, len(part) // MIB)
            data[start * MIB : (start + length) * MIB] = image[: length * MIB].ljust(length * MIB, b"\0")
            script += f"start={start}MiB, size={length}MiB, type=83\n"
        path.write_bytes(data)
        subprocess.run([program("sfdisk"), "-q", path], input=script, text=True, check=True, capture_output=True)
        return path

    return make_disk
