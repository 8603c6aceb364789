# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which volume has the operating system, and what is mounted where."""

from __future__ import annotations

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AmbiguousImage, InvalidImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.btrfs.reader import Btrfs
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.mounts import mount_all
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.roots import choose_root, find_roots, named_root

ROOT_TYPE = ("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", "Linux root (x86-64)")
ESP = ("C12A7328-F81F-11D2-BA4B-00A0C93EC93B", "EFI System")
XBOOTLDR = ("BC13C2FF-59E6-4262-A352-B275FD6F7172", "Linux extended boot")
DEBIAN = {"/etc/os-release": "ID=debian\n", "/bin/sh": b"", "/boot": None, "/efi": None, "/boot/efi": None}


def paths(mounts):
    return {name: [mount.path for mount in found] for name, found in mounts.by_volume.items()}


def test_the_one_with_a_system(partition):
    volumes = [partition(1, {"/EFI/BOOT/BOOTX64.EFI": b""}, ESP, "vfat"), partition(2, {"/grub/grub.cfg": ""}), partition(3, DEBIAN)]
    roots = find_roots(volumes)
    assert [(root.name, root.source) for root in roots] == [("vda3", "/etc/os-release")]
    assert choose_root(roots) is roots[0]


def test_links_count_where_usr_lies_elsewhere(partition):
    volumes = [partition(1, {"/etc/os-release": "-> ../usr/lib/os-release", "/bin": "-> usr/bin", "/etc/fstab": "", "/usr": None})]
    assert [root.name for root in find_roots(volumes)] == ["vda1"]


def test_no_system(partition):
    with pytest.raises(InvalidImage, match="no operating system"):
        choose_root(find_roots([partition(1, {"/data": b""})]))


def test_a_root_by_its_type(partition):
    roots = find_roots([partition(1, {"/init": b""}, ROOT_TYPE)])
    assert [(root.name, root.source) for root in roots] == [("vda1", "type of the partition")]


def test_several_systems(partition):
    roots = find_roots([partition(1, DEBIAN), partition(2, DEBIAN)])
    with pytest.raises(AmbiguousImage, match="vda1, vda2"):
        choose_root(roots)


def test_one_of_several_is_marked(partition):
    assert choose_root(find_roots([partition(1, DEBIAN), partition(2, DEBIAN, ROOT_TYPE)])).name == "vda2"


@pytest.mark.parametrize("name", ["vda2", "UUID-2", "my label", "LABEL=my label", "UUID=uuid-2", "PARTUUID=part-2", "/dev/sda2"])
def test_a_named_root(partition, name):
    volumes = [partition(1, DEBIAN), partition(2, DEBIAN, label="my label"), partition(3, {})]
    assert named_root(volumes, find_roots(volumes), name).name == "vda2"


def test_a_named_root_needs_no_system(partition):
    volumes = [partition(1, DEBIAN), partition(2, {"/init": b""})]
    assert named_root(volumes, find_roots(volumes), "vda2").source == "the request"


@pytest.mark.parametrize("name", ["vda9", "", ":", "vda1:sub"])
def test_a_wrong_name(partition, name):
    volumes = [partition(1, DEBIAN)]
    with pytest.raises(InvalidImage):
        named_root(volumes, find_roots(volumes), name)


def test_a_label_that_two_have(partition):
    volumes = [partition(1, DEBIAN, label="root"), partition(2, DEBIAN, label="root")]
    with pytest.raises(AmbiguousImage):
        named_root(volumes, find_roots(volumes), "root")


def test_mounts_by_the_table(partition, logical):
    table = "/dev/mapper/vg-root / ext4\nUUID=uuid-2 /boot ext4\nLABEL=EFI /boot/efi vfat\n/dev/vg/var /var xfs\nPARTLABEL=gone /srv ext4\n"
    boot = partition(2, {"/vmlinuz": b"kernel", "/efi": None})
    efi = partition(1, {"/EFI/BOOT/BOOTX64.EFI": b"efi"}, ESP, "vfat", label="EFI")
    root = logical("vg/root", {**DEBIAN, "/etc/fstab": table, "/var": None})
    var = logical("vg/var", {"/lib/dpkg/status": b"dpkg"}, "xfs")
    volumes = [efi, boot, root, var]
    found = mount_all(find_roots(volumes)[0], volumes)
    assert paths(found) == {"vg/root": ["/"], "vda2": ["/boot"], "vda1": ["/boot/efi"], "vg/var": ["/var"]}
    assert found.tree.read("/boot/vmlinuz", 10) == b"kernel"
    assert found.tree.read("/boot/efi/EFI/BOOT/bootx64.efi", 10) == b"efi"
    assert found.tree.read("/var/lib/dpkg/status", 10) == b"dpkg"
    assert {line: volume.name for line, volume in found.found.items()} == {1: "vg/root", 2: "vda2", 3: "vda1", 4: "vg/var"}
    assert found.warnings == []


def test_mounts_by_types_of_partitions(partition):
    """systemd mounts what no table names."""
    volumes = [partition(1, {"/loader": None}, ESP, "vfat"), partition(2, {"/vmlinuz": b""}, XBOOTLDR), partition(3, {**DEBIAN, "/boot/efi": None})]
    volumes[2].filesystem.entries.pop(("boot", "efi"))
    volumes[2].filesystem.entries[("boot",)].pop("efi")
    found = mount_all(find_roots(volumes)[0], volumes)
    assert paths(found) == {"vda3": ["/"], "vda2": ["/boot"], "vda1": ["/efi"]}


def test_an_esp_hides_no_files(partition):
    files = {"/etc/os-release": "ID=debian\n", "/bin/sh": b"", "/boot/vmlinuz": b""}
    volumes = [partition(1, {}, ESP, "vfat"), partition(2, files)]
    assert paths(mount_all(find_roots(volumes)[0], volumes)) == {"vda2": ["/"]}


def test_a_mount_point_that_is_a_link_or_missing(partition):
    table = "UUID=uuid-2 /data ext4\nUUID=uuid-3 /missing ext4\n"
    volumes = [partition(1, {**DEBIAN, "/etc/fstab": table, "/srv/real": None, "/data": "-> srv/real"}), partition(2, {"/a": b"a"}), partition(3, {})]
    found = mount_all(find_roots(volumes)[0], volumes)
    assert found.tree.read("/data/a", 1) == b"a"
    assert paths(found)["vda2"] == ["/srv/real"]
    assert found.warnings == ["there is no folder /missing to mount vda3 on"]


class Subvolumes(Btrfs):
    """btrfs whose subvolumes are dictionaries of files."""

    def __init__(self, trees, default):  # pylint: disable=super-init-not-called  # there is no superblock
        self.trees, self.default = trees, default
        self.shown = trees[default]
        self.storage, self.signature, self.size, self.warnings = self.shown.storage, self.shown.signature, 0, []

    def subvolume(self, which):
        path = str(which).strip("/")
        if path not in self.trees:
            raise InvalidImage("no such subvolume")
        return Subvolumes(self.trees, path)

    def subvolumes(self):
        return [(256 + number, path) for number, path in enumerate(self.trees) if path]

    @property
    def root(self):
        return self.shown.root

    def listing(self, directory):
        return self.shown.listing(directory)

    def node(self, key):
        return self.shown.node(key)

    def content(self, file):
        return self.shown.content(file)

    def target(self, link):
        return self.shown.target(link)

    def child(self, directory, name):
        return self.shown.child(directory, name)


@pytest.fixture
def btrfs(partition, dict_filesystem):
    """btrfs({subvolume: files}, default="") gives a volume."""

    def btrfs(trees, default=""):
        volume = partition(1, {}, filesystem="btrfs")
        made = {path: dict_filesystem(files, "btrfs", "uuid-1") for path, files in {"": {}, **trees}.items()}
        volume.filesystem = Subvolumes(made, default)
        return volume

    return btrfs


UBUNTU = {**DEBIAN, "/etc/fstab": "UUID=uuid-1 / btrfs subvol=@ 0 0\nUUID=uuid-1 /home btrfs subvol=/@home 0 0\n", "/home": None}


@pytest.mark.parametrize(
    ("trees", "default", "names"),
    [
        ({"@": DEBIAN, "@home": {"/user/a": b""}}, "", ["vda1:@"]),
        ({"root": DEBIAN, "other": DEBIAN}, "", ["vda1:root"]),
        ({"a": DEBIAN, "b": DEBIAN}, "", ["vda1:a", "vda1:b"]),
        ({"a": DEBIAN, "@/.snapshots/1/snapshot": DEBIAN}, "", ["vda1:a"]),
        ({"@/.snapshots/1/snapshot": DEBIAN}, "@/.snapshots/1/snapshot", ["vda1"]),
        ({"": UBUNTU, "@": UBUNTU}, "", ["vda1:@"]),
        ({"": UBUNTU}, "", ["vda1"]),
        ({"@home": {}}, "", []),
    ],
)
def test_subvolumes(btrfs, trees, default, names):
    assert [root.name for root in find_roots([btrfs(trees, default)])] == names


def test_a_named_subvolume(btrfs):
    volumes = [btrfs({"a": DEBIAN, "b": DEBIAN})]
    roots = find_roots(volumes)
    assert named_root(volumes, roots, "vda1:b").name == "vda1:b"
    with pytest.raises(AmbiguousImage, match="vda1:a, vda1:b"):
        named_root(volumes, roots, "vda1")
    with pytest.raises(InvalidImage, match="no such subvolume"):
        named_root(volumes, roots, "vda1:c")


def test_mounts_of_subvolumes(btrfs):
    volumes = [btrfs({"@": UBUNTU, "@home": {"/user/a": b"a"}})]
    found = mount_all(find_roots(volumes)[0], volumes)
    assert [(mount.path, mount.subvolume, mount.source) for mount in found.by_volume["vda1"]] == [
        ("/", "@", "/etc/os-release in the subvolume"),
        ("/home", "@home", "/etc/fstab:2"),
    ]
    assert found.tree.read("/home/user/a", 1) == b"a"
