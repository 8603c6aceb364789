# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder whose files an image may name: what leads out of it is refused, whatever it is called."""

from __future__ import annotations

import os
import socket

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError, LimitExceeded, UnsafeReference
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage import folder as module
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.folder import Folder

IMAGE = "/images/overlay.qcow2"


@pytest.fixture
def place(tmp_path):
    """A folder with a file, and one in a folder below; both with their name as content. Around it there are others."""
    path = tmp_path / "allowed"
    (path / "sub").mkdir(parents=True)
    for name in ("disk.img", "sub/disk.img"):
        (path / name).write_text(name)
    (tmp_path / "secret.img").write_text("secret")
    return path


@pytest.fixture
def folder(place):
    opened = Folder(place)
    yield opened
    opened.close()


def read(folder, name, base=()):
    storage = folder.open(folder.locate(name, base, IMAGE), IMAGE)
    try:
        return storage.read_at(0, 100).decode()
    finally:
        storage.close()


@pytest.mark.parametrize(
    ("name", "base", "found"),
    [
        ("disk.img", (), "disk.img"),
        ("./disk.img", (), "disk.img"),
        (".\\disk.img", (), "disk.img"),
        ("disk.img", ("sub",), "sub/disk.img"),
        ("sub/disk.img", (), "sub/disk.img"),
        ("sub\\disk.img", (), "sub/disk.img"),
        ("sub//./disk.img", (), "sub/disk.img"),
    ],
)
def test_names_in_the_folder(folder, name, base, found):
    assert read(folder, name, base) == found


def test_absolute_paths_into_the_folder(place, tmp_path):
    (tmp_path / "link").symlink_to(place)
    for allowed in (place, tmp_path / "link"):
        folder = Folder(allowed)
        assert read(folder, str(place / "sub/disk.img"), ("elsewhere",)) == "sub/disk.img"
        assert read(folder, str(allowed / "disk.img")) == "disk.img"
        folder.close()


@pytest.mark.parametrize(
    "name",
    [
        "../secret.img",
        "..\\secret.img",
        "sub/../disk.img",
        "sub/../../secret.img",
        "..",
        ".",
        "",
        "/",
        "/etc/passwd",
        "/dev/sda",
        "C:\\disk.img",
        "c:disk.img",
        "\\\\server\\share\\disk.img",
        "\\\\?\\C:\\disk.img",
        "json:{}",
        "json:/disk.img",
        "nbd:unix:/run/x",
        "nbd://host/x",
        "http://host/disk.img",
        "HTTPS://host/disk.img",
        "file:disk.img",
        "file:///etc/passwd",
        "rbd:pool/disk.img",
        "fat:rw:sub",
    ],
)
def test_names_that_lead_elsewhere(folder, name):
    with pytest.raises(UnsafeReference) as caught:
        folder.locate(name, (), IMAGE)
    assert caught.value.path == IMAGE
    assert f"'{name}'" in str(caught.value)
    assert caught.value.hint


def test_a_path_with_the_same_beginning_is_not_in_the_folder(folder, place):
    (place.parent / "allowed-not").mkdir()
    for name in (f"{place}-not/disk.img", f"{place}/../secret.img", str(place)):
        with pytest.raises(UnsafeReference):
            folder.locate(name, (), IMAGE)


def test_a_name_with_a_colon_behind_a_slash_is_a_file(folder, place):
    (place / "a:b.img").write_text("colon")
    assert read(folder, "./a:b.img") == "colon"


def test_symbolic_links_are_not_followed(folder, place):
    (place / "link.img").symlink_to("disk.img")  # even into the folder
    (place / "out").symlink_to(place.parent)
    (place / "dangling").symlink_to("nowhere")
    for name in ("link.img", "dangling"):
        with pytest.raises(UnsafeReference, match="symbolic link"):
            read(folder, name)
    with pytest.raises(AccessError):
        read(folder, "out/secret.img")


def test_only_regular_files_are_opened_and_nothing_waits(folder, place, tmp_path):
    os.mkfifo(place / "fifo")
    here = os.getcwd()
    os.chdir(place)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    os.chdir(here)
    for name in ("fifo", "socket", "sub"):
        with pytest.raises(UnsafeReference, match="not a regular file"):
            read(folder, name)
    devices = Folder("/dev")
    with pytest.raises(UnsafeReference, match="not a regular file"):
        read(devices, "/dev/null")
    devices.close()


def test_what_is_not_there(folder, place):
    for name in ("nothing.img", "nothing/disk.img", "disk.img/x", "n" * 300, "nul\0.img", "\ud800.img"):
        with pytest.raises(AccessError) as caught:
            read(folder, name)
        assert IMAGE in str(caught.value)
        str(caught.value).encode("utf-8")
    for path in (place / "nothing", place / "disk.img", "nul\0"):
        with pytest.raises(AccessError):
            Folder(path)


def test_control_characters_do_not_reach_a_message(folder):
    for name in ("../\x1b[31m", "\x1b[31m.img"):
        with pytest.raises((UnsafeReference, AccessError)) as caught:
            read(folder, name)
        assert "\x1b" not in str(caught.value)


def test_where_an_image_lies(folder, place, tmp_path):
    (tmp_path / "link").symlink_to(place / "sub")
    assert folder.place_of(str(place / "disk.img")) == ()
    assert folder.place_of(str(place / "sub/disk.img")) == ("sub",)
    assert folder.place_of(str(tmp_path / "link/disk.img")) == ("sub",)
    assert folder.place_of(str(tmp_path / "secret.img")) == ()


def test_all_files(folder, place, tmp_path, monkeypatch):
    (place / "link").symlink_to(tmp_path)
    (place / "link.img").symlink_to("disk.img")
    os.mkfifo(place / "fifo")
    deep = place.joinpath(*"abcdefghijk")
    deep.mkdir(parents=True)
    (deep / "too-deep.img").touch()
    assert list(folder.files()) == [("disk.img",), ("sub", "disk.img")]
    monkeypatch.setattr(module, "MAX_LISTED", 3)
    with pytest.raises(LimitExceeded):
        list(folder.files())


def test_no_descriptor_is_left_open(place):
    before = len(os.listdir("/proc/self/fd"))
    folder = Folder(place)
    for name in ("disk.img", "sub/disk.img", "sub/nothing", "nothing/x"):
        try:
            read(folder, name)
        except AccessError:
            pass
    list(folder.files())
    folder.close()
    assert len(os.listdir("/proc/self/fd")) == before
