# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of file systems, as mount(8) reads it, and whom its lines mean."""

from __future__ import annotations

import json
import subprocess

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.fstab import Device, is_kernel_name, matches, parse_fstab
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.lvm2.volumes import device_paths

TABLE = r"""
# <file system> <mount point>   <type>  <options>       <dump>  <pass>
UUID=0a3407de-014b-458b-b5c1-848e92a327a3 /               ext4    errors=remount-ro 0       1
LABEL="data"  /srv/my\040files/  xfs  defaults,nofail
  /dev/mapper/vg-swap none swap sw 0 0
UUID=0a3407de-014b-458b-b5c1-848e92a327a3 /home btrfs subvol=/@home,compress=zstd:1 0 0
tmpfs /tmp tmpfs
alone
PARTUUID=1234-01	/boot/efi	vfat	umask=0077	0 1
"""
ROOT = Device("0A3407DE-014B-458b-b5c1-848e92a327a3", "my root", 2, "e65e7800-02", "root part", None)
LOGICAL = Device("11111111-2222-3333-4444-555555555555", None, None, None, None, "my-vg/lv-root")
WHOLE = Device("2222-3333", "CIDATA", None, None, None, None)


def test_lines():
    found = parse_fstab(TABLE)
    assert [(mount.spec, mount.path, mount.type, mount.line) for mount in found] == [
        ("UUID=0a3407de-014b-458b-b5c1-848e92a327a3", "/", "ext4", 3),
        ("LABEL=data", "/srv/my files", "xfs", 4),
        ("/dev/mapper/vg-swap", "none", "swap", 5),
        ("UUID=0a3407de-014b-458b-b5c1-848e92a327a3", "/home", "btrfs", 6),
        ("tmpfs", "/tmp", "tmpfs", 7),
        ("PARTUUID=1234-01", "/boot/efi", "vfat", 9),
    ]
    assert found[1].options == ("defaults", "nofail")
    assert found[3].option("subvol") == "/@home"
    assert found[4].options == ("defaults",)


def test_as_findmnt_reads_it(tmp_path, program):
    path = tmp_path / "fstab"
    path.write_text(TABLE.replace("alone\n", ""))
    said = subprocess.run([program("findmnt"), "--fstab", "--tab-file", path, "--json", "--list"], check=True, capture_output=True, text=True)
    theirs = [(line["source"].replace('"', ""), line["target"], line["fstype"], line["options"]) for line in json.loads(said.stdout)["filesystems"]]
    ours = [(mount.spec, mount.path, mount.type, ",".join(mount.options)) for mount in parse_fstab(TABLE)]
    # findmnt shows a slash at the end of a mount point, quotes, and no options where the table has none.
    plain = [(source, target.rstrip("/") or "/", kind, options or "defaults") for source, target, kind, options in theirs]
    assert plain == ours


@pytest.mark.parametrize(
    ("spec", "device"),
    [
        ("UUID=0a3407de-014b-458b-b5c1-848e92a327a3", ROOT),
        ("LABEL=my root", ROOT),
        ("/dev/disk/by-uuid/0a3407de-014b-458b-b5c1-848e92a327a3", ROOT),
        (r"/dev/disk/by-label/my\x20root", ROOT),
        ("PARTUUID=E65E7800-02", ROOT),
        ("PARTLABEL=root part", ROOT),
        *((f"/dev/{name}", ROOT) for name in ("sda2", "vda2", "xvda2", "hda2", "nvme0n1p2", "mmcblk0p2")),
        ("/dev/my-vg/lv-root", LOGICAL),
        ("/dev/mapper/my--vg-lv--root", LOGICAL),
        ("/dev/vda", WHOLE),
        ("UUID=2222-3333", WHOLE),
    ],
)
def test_matches(spec, device):
    assert [other for other in (ROOT, LOGICAL, WHOLE) if matches(spec, other)] == [device]


@pytest.mark.parametrize(
    "spec",
    ["/dev/sdb2", "/dev/vdb", "/dev/nvme1n1p2", "/dev/sda3", "/dev/mapper/my-vg-lv-root", "UUID=", "LABEL=", "tmpfs", "LABEL=MY ROOT", "/dev/disk/by-id/x"],
)
def test_matches_nothing(spec):
    assert not any(matches(spec, device) for device in (ROOT, LOGICAL, WHOLE, Device("", "", None, None, None, None)))


def test_names_of_device_mapper(program):
    """dmsetup splits a name as lvm put it together."""
    name = device_paths("my-vg/a--b-c")[1].rpartition("/")[2]
    said = subprocess.run(
        [program("dmsetup"), "splitname", "--nameprefixes", "--noheadings", "--rows", name, "LVM"], check=True, capture_output=True, text=True
    )
    assert "DM_VG_NAME='my-vg'" in said.stdout
    assert "DM_LV_NAME='a--b-c'" in said.stdout


def test_names_of_the_kernel():
    assert [spec for spec in ("/dev/sda1", "/dev/vda", "/dev/mapper/a-b", "UUID=1", "/dev/dm-0", "/dev/sdaa12") if is_kernel_name(spec)] == [
        "/dev/sda1",
        "/dev/vda",
        "/dev/sdaa12",
    ]
