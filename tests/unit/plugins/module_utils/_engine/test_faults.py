# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever fails in the middle of a conversion: the destination is as it was or complete, and nothing lies beside it."""

from __future__ import annotations

import errno
import lzma
import os
import threading

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError, BusyError, CorruptImage, ImageError, SpaceError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.produce import produce
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.compare import compare

TARGETS = {
    "raw": ("raw", None, False),
    "raw-falloc": ("raw", None, False, {"preallocation": "falloc"}),
    "raw-full": ("raw", None, False, {"preallocation": "full"}),
    "qcow2": ("qcow2", None, False),
    "qcow2-compressed": ("qcow2", None, True),
    "qcow2-v2": ("qcow2", None, False, {"compat": "0.10"}),
    "qcow2-subclusters": ("qcow2", None, False, {"extended_l2": "on", "lazy_refcounts": "on", "refcount_bits": "64"}),
    "qcow2-metadata": ("qcow2", None, False, {"preallocation": "metadata"}),
    "qcow2-falloc": ("qcow2", None, False, {"preallocation": "falloc"}),
    "qcow2-full": ("qcow2", None, False, {"preallocation": "full"}),
    "vmdk": ("vmdk", "monolithicSparse", False),
    "vmdk-zeroed": ("vmdk", "monolithicSparse", False, {"zeroed_grain": "on"}),
    "vmdk-stream": ("vmdk", "streamOptimized", False),
    "vdi": ("vdi", None, False),
    "vdi-fixed": ("vdi", "fixed", False),
    "vhd": ("vhd", None, False),
    "vhd-blocks": ("vhd", None, False, {"block_size": "512K"}),
    "vhd-fixed": ("vhd", "fixed", False),
    "vhdx": ("vhdx", None, False),
    "vhdx-blocks": ("vhdx", None, False, {"block_size": "1M", "log_size": "2M", "block_state_zero": "on"}),
    "vhdx-fixed": ("vhdx", "fixed", False),
}
"""Those in several files: test_faults_several.py"""
ALWAYS = ("open", "pwrite", "fsync", "link", "replace", "pread", "lseek", "fstat", "dup", "close")
CALLS = (*ALWAYS, "ftruncate", "posix_fallocate", "preadv", "statvfs")


def move(part, name):
    os.replace(part, name)  # looked up when it is called: a test may have replaced it


def convert(source, dest, form, threads=1, **kwargs):
    with open_source(Request(str(source), spool_folder=os.path.dirname(dest))) as opened, Sink(str(dest)) as sink:
        produce(opened, target(*TARGETS[form]), sink, threads=threads, **kwargs)
        sink.commit(move)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("form", TARGETS)
def test_any_call_that_fails(fault_call, images, tmp_path, monkeypatch, form, name):
    source = images.gz if form == "vdi" else images.vmdk if form == "raw" else images.raw
    dest = tmp_path / "dest"
    convert(source, dest, form)
    result = dest.read_bytes()
    for when in range(1, 1000):
        code = errno.ENOSPC if when % 2 else errno.EIO
        dest.write_bytes(b"old")
        with monkeypatch.context() as patched:
            fault = fault_call(patched, name, when, code)
            try:
                convert(source, dest, form)
                said = None
            except ImageError as error:
                said = error
        assert os.listdir(tmp_path) == ["dest"]
        if fault.left > 0:  # there are no more calls of that name
            assert said is None
            break
        content = dest.read_bytes()
        assert content in (b"old", result), f"call {when}"
        if said is None:  # nothing that it needed: it did without
            assert content == result
            assert name in ("lseek", "close")
            continue
        assert isinstance(said, SpaceError if code == errno.ENOSPC else AccessError), said
        assert str(tmp_path) in str(said) or str(source) in str(said), said
    assert when > 1 or name not in ALWAYS, f"{name} is not called"


def test_a_full_disk_is_told_by_the_folder(fault_call, images, tmp_path, monkeypatch):
    """Where a compressed image is unpacked, the folder is meant, not the image."""
    (tmp_path / "packed").write_bytes(lzma.compress(images.qcow2.read_bytes(), preset=0))
    with monkeypatch.context() as patched:
        fault_call(patched, "pwrite", 1, errno.ENOSPC)
        with pytest.raises(SpaceError, match=f"^{tmp_path}: cannot decompress into a temporary file: no space is left"):
            convert(tmp_path / "packed", tmp_path / "dest", "raw")
    assert os.listdir(tmp_path) == ["packed"]


@pytest.mark.parametrize(
    ("code", "wanted"), [(errno.EFBIG, "takes no file that large. Choose a folder on another"), (errno.EDQUOT, "the quota of disk space is used up")]
)
def test_limits_that_are_not_a_full_disk(fault_call, images, tmp_path, monkeypatch, code, wanted):
    with monkeypatch.context() as patched:
        fault_call(patched, "ftruncate", 1, code)
        with pytest.raises(SpaceError, match=wanted):
            convert(images.raw, tmp_path / "dest", "raw")
    assert os.listdir(tmp_path) == []


class Meddler:
    """A progress callback that does something to the source when a part of the work is done."""

    def __init__(self, task, work):
        self.task, self.work = task, work

    def __call__(self, task, done, total):
        if task == self.task and 0 < done < total and self.work:
            work, self.work = self.work, None
            work()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["raw", "qcow2", "gz"])
@pytest.mark.parametrize("change", ["append", "cut", "touch"])
def test_a_source_that_changes_meanwhile(images, tmp_path, name, change, threads):
    source = tmp_path / "source"
    source.write_bytes((images.folder / name).read_bytes())
    before = os.stat(source)

    def meddle():
        if change == "append":
            with open(source, "ab") as file:
                file.write(b"x" * 512)
        elif change == "cut":
            os.truncate(source, 100_000)
        else:  # the same size, other bytes
            with open(source, "r+b") as file:
                file.seek(5000)
                file.write(b"x" * 100)
        os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))

    meddler = Meddler("convert", meddle)
    with pytest.raises((BusyError, CorruptImage)):
        convert(source, tmp_path / "dest", "qcow2-compressed", threads=threads, progress=meddler)
    assert meddler.work is None
    assert os.listdir(tmp_path) == ["source"]


def test_a_source_that_changes_while_it_is_compared(images, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(images.content)

    def meddle():
        os.utime(source, ns=(0, 0))

    with open_source(Request(str(source))) as first, open_source(Request(str(images.qcow2))) as second, pytest.raises(BusyError, match="was changed"):
        compare(first.reader, second.reader, progress=Meddler("compare", meddle))


def test_two_runs_on_one_destination(images, tmp_path):
    """The last one to be ready wins; at no time is anything else at the destination than a whole image."""
    dest = tmp_path / "dest"
    failed = []

    def work():
        try:
            for _round in range(15):
                convert(images.raw, dest, "qcow2")
        except ImageError as error:
            failed.append(error)

    convert(images.raw, dest, "qcow2")
    whole = dest.read_bytes()
    workers = [threading.Thread(target=work) for _number in range(3)]
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        assert dest.read_bytes() == whole
    assert failed == []
    assert os.listdir(tmp_path) == ["dest"]
