# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever fails in the middle of a conversion to several files: all of them are as they were, or all are new."""

from __future__ import annotations

import errno
import os

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError, ImageError, SpaceError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.companions import present
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.produce import produce
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.resize import resize

FORMS = ["monolithicFlat", "twoGbMaxExtentSparse"]
CALLS = ("open", "pwrite", "fsync", "link", "replace", "pread", "lseek", "fstat", "dup", "ftruncate", "unlink", "close")
HARMLESS = ("lseek", "close", "unlink", "open")
"""where the engine can do without"""


def move(part, name):
    os.replace(part, name)  # looked up when it is called: a test may have replaced it


def convert(source, dest, form, replaces=()):
    with open_source(Request(str(source))) as opened, Sink(str(dest), replaces=replaces) as sink:
        opened.reader = resize(opened.reader, (2 << 30) + (4 << 20))  # two parts
        produce(opened, target("vmdk", form), sink, threads=1)
        sink.commit(move)


def state(folder):
    """Every file with its content, but for the long holes."""
    found = {}
    for path in folder.iterdir():
        with open(path, "rb") as file:
            found[path.name] = (os.fstat(file.fileno()).st_size, file.read(5 << 20))
    return found


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("form", FORMS)
def test_any_call_that_fails(fault_call, images, tmp_path, monkeypatch, form, name):
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
    convert(images.raw, tmp_path / "new/disk.vmdk", form)
    new = state(tmp_path / "new")
    names = sorted(new)
    dest = tmp_path / "old/disk.vmdk"
    text = (tmp_path / "new/disk.vmdk").read_bytes()
    stop = False
    for when in range(1, 400):
        for path in names:
            (tmp_path / "old" / path).write_bytes(b"old" + path.encode())
        dest.write_bytes(text.replace(b"CID=", b"CID=0", 1).replace(text.split(b"CID=")[1][:8], b"1234567", 1))
        old = state(tmp_path / "old")
        replaces = present(str(dest))
        code = errno.ENOSPC if when % 2 else errno.EIO
        with monkeypatch.context() as patched:
            fault = fault_call(patched, name, when, code)
            try:
                convert(images.raw, dest, form, replaces)
                said = None
            except ImageError as error:
                said = error
        found = state(tmp_path / "old")
        stop = fault.left > 0
        if name == "unlink":  # what cannot be removed stays, hidden, until the next run
            found = {path: content for path, content in found.items() if not path.endswith(".part")}
        assert found in (old, new), f"call {when}: {sorted(found)}"
        if said is None:
            assert found == new
            assert stop or name in HARMLESS
        else:
            assert isinstance(said, SpaceError if code == errno.ENOSPC else AccessError), said
        if stop:
            break
    assert sorted(os.listdir(tmp_path / "old")) == names
    assert when > 1, f"{name} is not called"
    assert stop
