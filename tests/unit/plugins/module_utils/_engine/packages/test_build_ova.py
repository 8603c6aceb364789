# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The appliance that the demo and the tests build: real enough for QEMU, and the same every time."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.opening import open_package
from build_ova import BOOT_CODE, LISTING, MARKER, build_ova, make_disk, write_vmdk


@pytest.fixture(scope="module")
def appliance(tmp_path_factory):
    """The OVA, its raw disk, and its members as GNU tar extracts them."""
    folder = tmp_path_factory.mktemp("appliance")
    build_ova(folder / "a.ova")
    make_disk(folder / "disk.raw")
    subprocess.run(["tar", "-xf", "a.ova"], cwd=folder, check=True)
    return folder


def test_the_listing_s_addresses_are_right():
    address = 0
    for line in LISTING.strip().split("\n"):
        assert int(line.split()[0], 16) == address, line
        address += len(line.split()[1]) // 2
    assert address == len(BOOT_CODE) == 0x58


def test_the_same_bytes_every_time(appliance, tmp_path):
    build_ova(tmp_path / "b.ova")
    assert (tmp_path / "b.ova").read_bytes() == (appliance / "a.ova").read_bytes()


def test_order_and_manifest_are_by_the_book(appliance):
    with tarfile.open(appliance / "a.ova") as archive:
        assert archive.getnames() == ["appliance.ovf", "appliance.mf", "appliance-disk1.vmdk"]
    for line in (appliance / "appliance.mf").read_text().splitlines():
        name, digest = line[len("SHA256(") :].split(")= ")
        assert hashlib.sha256((appliance / name).read_bytes()).hexdigest() == digest
    with open_package(str(appliance / "a.ova")) as package:
        assert package.warnings == []
        assert package.verify_manifest("require") is not None


def test_qemu_reads_the_same_disk_in_the_archive_and_out_of_it(appliance, qemu_img):
    vmdk = appliance / "appliance-disk1.vmdk"
    subprocess.run([qemu_img, "compare", "-f", "raw", "-F", "vmdk", "disk.raw", vmdk.name], cwd=appliance, check=True)
    with open_package(str(appliance / "a.ova")) as package:
        storage = package.open_disk(package.disks()[0])
        assert storage.read_at(0, storage.size) == vmdk.read_bytes()


def test_it_boots(appliance, boot_qemu):
    boot_qemu(appliance / "disk.raw", "raw", MARKER)
    boot_qemu(appliance / "appliance-disk1.vmdk", "vmdk", MARKER)


def test_size_and_marker_can_be_chosen(tmp_path, boot_qemu):
    make_disk(tmp_path / "disk.raw", 16 << 20, "another marker")
    write_vmdk(tmp_path / "disk.raw", tmp_path / "disk.vmdk")
    boot_qemu(tmp_path / "disk.vmdk", "vmdk", "another marker")
