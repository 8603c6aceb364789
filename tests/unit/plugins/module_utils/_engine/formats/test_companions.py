# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files are a result's own: nothing else is opened, replaced or removed because a file says so."""

from __future__ import annotations

import os

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError, CorruptImage, ImageError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats import companions, registry
from ansible_collections.vmimage.prep.plugins.module_utils._engine.produce import produce
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.kept import mark
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.compare import compare

HEAD = '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="twoGbMaxExtentFlat"\n'


def descriptor(folder, *names, head=HEAD):
    path = folder / "disk.vmdk"
    path.write_text(head + "".join(f'RW 8 FLAT "{name}" 0\n' for name in names), encoding="utf-8")
    return str(path)


def test_only_names_of_its_own(tmp_path):
    foreign = [
        "other-flat.vmdk",
        "../disk-flat.vmdk",
        "/etc/disk-flat.vmdk",
        "sub/disk-f001.vmdk",
        "disk.vmdk",
        "disk-f1.vmdk",
        "./disk-f003.vmdk",
        "sub\\disk-f001.vmdk",
    ]
    assert companions.present(descriptor(tmp_path, "disk-f001.vmdk", *foreign, "disk-f002.vmdk", "disk-f001.vmdk")) == ["disk-f001.vmdk", "disk-f002.vmdk"]


@pytest.mark.parametrize("content", [b"", b"text", b"KDMV", bytes(range(256)) * 12, b"\0" * 512, mark(["../x-flat.vmdk", "x"]), mark([])], ids=range(7))
def test_what_has_none(tmp_path, content):
    path = tmp_path / "disk.vmdk"
    assert companions.present(str(path)) == []
    path.write_bytes(content)
    assert companions.present(str(path)) == []
    assert companions.present(str(tmp_path)) == []


def test_of_an_interrupted_replacement(tmp_path):
    path = tmp_path / "disk.vmdk"
    path.write_bytes(mark(["disk-s001.vmdk", "disk-flat.vmdk", "passwd", "../disk-f001.vmdk"]))
    assert companions.present(str(path)) == ["disk-flat.vmdk", "disk-s001.vmdk"]
    with pytest.raises(ImageError), open_source(Request(str(path))):
        pass


def test_opened_without_a_folder(tmp_path):
    (tmp_path / "disk-f001.vmdk").write_bytes(b"x" * 4096)
    reader = registry.open_reader("vmdk", FileStorage(descriptor(tmp_path, "disk-f001.vmdk")))
    companions.open_present(reader)
    assert reader.read_at(0, 9999) == b"x" * 4096
    reader.close()


@pytest.mark.parametrize("trouble", ["foreign", "missing", "link", "short", "parent"])
def test_not_opened(tmp_path, trouble):
    names, head, error = ["disk-f001.vmdk"], HEAD, ImageError
    (tmp_path / "disk-f001.vmdk").write_bytes(bytes(4096))
    if trouble == "foreign":
        names.append("other.vmdk")
        (tmp_path / "other.vmdk").write_bytes(bytes(4096))
    elif trouble == "parent":
        head = HEAD.replace("parentCID=ffffffff", 'parentCID=12345678\nparentFileNameHint="base.vmdk"')
    elif trouble == "short":
        (tmp_path / "disk-f001.vmdk").write_bytes(bytes(100))
        error = CorruptImage
    else:
        (tmp_path / "disk-f001.vmdk").unlink()
        error = AccessError
        if trouble == "link":
            (tmp_path / "disk-f001.vmdk").symlink_to("/etc/passwd")
    before = set(os.listdir("/proc/self/fd"))
    reader = registry.open_reader("vmdk", FileStorage(descriptor(tmp_path, *names, head=head)))
    with pytest.raises(error):
        companions.open_present(reader)
    reader.close()
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("subformat", ["monolithicFlat", "twoGbMaxExtentSparse"])
def test_a_result_is_read_back_before_it_has_names(images, tmp_path, monkeypatch, subformat):
    """By what was written, and never by what lies at those names; a part that is wrong is found."""
    dest = tmp_path / "disk.vmdk"
    target = registry.target("vmdk", subformat)
    for name in companions.planned(target, str(dest), 3 << 20):
        (tmp_path / name).write_bytes(b"something else")
    with open_source(Request(str(images.raw))) as source, Sink(dest, force=True) as sink:
        produced = produce(source, target, sink, verify_content=True)
        assert not dest.exists()
    assert len(produced.checks) == 3

    real = Sink.write_at

    def wrong(self, offset, data):
        if self.name != str(dest) and len(data) > 4096:
            data = bytes(data[:-1]) + bytes([data[-1] ^ 1])
        real(self, offset, data)

    monkeypatch.setattr(Sink, "write_at", wrong)
    with open_source(Request(str(images.raw))) as source, Sink(dest, force=True) as sink, pytest.raises(CorruptImage):
        produce(source, target, sink, verify_content=True)


def test_a_source_with_its_folder(images, tmp_path):
    """What was written is read as any image of several files is: with the folder that the caller allows."""
    with open_source(Request(str(images.raw))) as source, Sink(tmp_path / "disk.vmdk") as sink:
        produce(source, registry.target("vmdk", "twoGbMaxExtentFlat"), sink)
        sink.commit()
    with open_source(Request(str(tmp_path / "disk.vmdk"), references=str(tmp_path))) as again, open_source(Request(str(images.raw))) as source:
        assert compare(source.reader, again.reader) is None
