# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Paths in a guest: mounts, symbolic links and what leads nowhere. What a kernel does with the same paths is said beside each."""

from __future__ import annotations

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, LimitExceeded
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems import tree as module
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.tree import Tree

from ..guest.conftest import DictFilesystem

ROOT = {
    "/etc/name": "root",
    "/boot": None,
    "/data/boot": None,
    "/data/file": "data",
    "/old": "-> data/boot",
    "/up": "-> ../../../etc/name",
    "/absolute": "-> /boot/file",
    "/loop": "-> loop2",
    "/loop2": "-> loop",
    "/self/link": "-> .",
    "/etc/up": "-> ..",
}
BOOT = {"/file": "boot", "/etc/name": "boot's own", "/efi": None, "/to": "-> /etc/name", "/near": "-> etc/name", "/over": "-> ../etc/name"}
ESP = {"/EFI/BOOT/BOOTX64.EFI": "loader"}


@pytest.fixture
def tree():
    return Tree(
        DictFilesystem(ROOT),
        {"/boot": DictFilesystem(BOOT, "xfs"), "/boot/efi": DictFilesystem(ESP, "vfat"), "/data/boot": DictFilesystem({"/file": "below a link"})},
    )


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/etc/name", "root"),
        ("etc//./name", "root"),
        ("/boot/file", "boot"),
        ("/boot/../etc/name", "root"),  # out of a mount
        ("/boot/efi/../file", "boot"),  # out of a mount on a mount
        ("/boot/efi/../../etc/name", "root"),
        ("/../../boot/../etc/name", "root"),  # above the root is the root
        ("/up", "root"),
        ("/absolute", "boot"),  # from the root into a mount
        ("/boot/to", "root"),  # a mounted file system's absolute link begins at the guest's root
        ("/boot/near", "boot's own"),
        ("/boot/over", "root"),  # a relative one leads out of the mount
        ("/old/file", "below a link"),
        ("/old/../file", "data"),  # .. is that of where the link leads to
        ("/etc/up/data/file", "data"),
        ("/self/link/link/../etc/name", "root"),
        ("/boot/efi/efi/boot/bootx64.efi", "loader"),  # FAT does not tell upper case from lower case
    ],
)
def test_paths(tree, path, content):
    assert tree.read(path, 100) == content.encode()


@pytest.mark.parametrize(
    "path", ["/none", "/etc/name/x", "/etc/name/../name", "/BOOT/file", "/" + "x/" * 3000, "/\ud800", "/etc/\udcff", "/boot/efi/\udcff", "/etc/a\0b"]
)
def test_what_is_not_there(tree, path):
    assert tree.find(path) is None
    assert tree.read(path, 10) is None
    assert tree.names(path) == []
    assert not tree.exists(path)


def test_where_a_link_leads(tree):
    assert tree.find("/old/file").path == "/data/boot/file"
    assert tree.find("/absolute").path == "/boot/file"
    assert tree.find("/absolute", follow=False).path == "/absolute"
    assert tree.find("/old/file", follow=False).path == "/data/boot/file"


@pytest.mark.parametrize("path", ["/loop", "/loop/x"])
def test_a_loop(tree, path):
    with pytest.raises(CorruptImage, match="too many symbolic links on the way to /loop"):
        tree.find(path)
    assert not tree.exists(path)


def test_a_link_that_grows():
    """Forty links, each of as many parts as a target can have, come to an end."""
    tree = Tree(DictFilesystem({"/a/b": "x", "/grow": "-> " + "a/../" * 700 + "grow"}))
    with pytest.raises(CorruptImage, match="too many symbolic links"):
        tree.find("/grow")


def test_messages_are_one_line():
    name = "a\nb\x1b[0m"
    tree = Tree(DictFilesystem({f"/{name}": f"-> {name}", f"/d/{name}": "12345"}))
    with pytest.raises(CorruptImage) as caught:
        tree.find(name)
    assert str(caught.value).isprintable()
    with pytest.raises(LimitExceeded) as too_large:
        tree.read(f"/d/{name}", 4)
    assert str(too_large.value).isprintable()


def test_names_that_are_no_text():
    tree = Tree(DictFilesystem({"/d/\udcff": "x"}))
    assert tree.names("/d") == ["\udcff"]
    assert tree.read("/d/\udcff", 1) == b"x"


def test_walk_goes_through_mounts(tree):
    found = [place.path for place in tree.walk()]
    assert len(found) == len(set(found))
    assert {"/boot/file", "/boot/efi/EFI/BOOT/BOOTX64.EFI", "/data/boot/file", "/loop"} <= set(found)
    assert [place.path for place in tree.walk("/old")] == ["/data/boot/file"]
    assert list(tree.walk("/etc/name")) == []


def test_walk_is_bounded(tree, monkeypatch):
    monkeypatch.setattr(module, "MAX_FILES", 3)
    with pytest.raises(LimitExceeded, match="more than 3 files"):
        list(tree.walk())
    monkeypatch.setattr(module, "MAX_FILES", 100)
    monkeypatch.setattr(module, "MAX_DEPTH", 2)
    with pytest.raises(LimitExceeded, match="more than 2 directories"):
        list(tree.walk())


def test_a_directory_that_contains_itself():
    class Knot(DictFilesystem):
        def listing(self, directory):
            yield b"a", ("a",)

    with pytest.raises(CorruptImage, match="the directory /a/a contains itself"):
        list(Tree(Knot({"/a/b": "x"})).walk())
