# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an upload has to say, of an image and of one that was made of it."""

from __future__ import annotations

import types

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import open_reader, target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.upload import image_proposals, upload_facts, written_proposals
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.disks import PackageDisk
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.model import System
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.ovf.guest import GuestSystem
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.ovf.hardware import Hardware
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

GIB = 1 << 30
RAW = target("raw")


class Broken(Memory):
    def read_at(self, offset, length):
        raise CorruptImage("a bad sector")


def source(disk=None):
    """An image; or the disk of a package."""
    disks = [PackageDisk("d1", bus="scsi", controller="pvscsi", boot=True), PackageDisk("d2", bus="scsi", controller="pvscsi")]
    os = GuestSystem("linux", confidence="low", source="ovf:id")
    system = System("vm", "vm", [], None, "uefi", None, os, Hardware(memory=2 * GIB))
    package = types.SimpleNamespace(disks=lambda system: disks, writer="VMware")
    return types.SimpleNamespace(disk=disk and disks[int(disk) - 1], package=package if disk else None, system=system if disk else None)


def image(storage=None):
    return open_reader("raw", storage or Memory(bytes(1 << 20), "disk.raw"))


def written(disk=None, storage=None, **options):
    return written_proposals(source(disk), image(storage), RAW, **options)


def test_of_a_package():
    facts = upload_facts("qcow2", GIB + 1, image_proposals(source("1"), None))
    assert {key: facts[key] for key in ("disk_format", "container_format", "min_disk", "min_ram")} == {
        "disk_format": "qcow2",
        "container_format": "bare",
        "min_disk": 2,
        "min_ram": 2048,
    }
    # What is not sure is proposed, and not applied.
    assert facts["properties"] == {"hw_disk_bus": "sata", "hw_firmware_type": "uefi"}
    assert {name for name, entry in facts["proposals"].items() if entry["confidence"] == "low"} == {"hw_machine_type", "os_type"}


@pytest.mark.parametrize("vmware", [False, True])
def test_a_disk_that_nothing_boots_from_has_no_machine(vmware):
    for found in (image_proposals(source("2"), None), written("2", vmware=vmware)):
        assert (found.found, found.notes, found.min_ram) == ({}, [], None)


def test_what_cannot_be_read_only_costs_a_note():
    broken = Broken(bytes(1 << 20), "disk.raw")
    found = written("1", broken)
    assert found.value("hw_disk_bus") == "sata"
    assert found.notes[-1:] == [{"code": "guest_not_read", "message": "what is installed could not be read: a bad sector"}]


def test_what_would_have_to_be_unpacked_is_not_looked_into():
    compressed = Broken(bytes(1 << 20), "disk.raw")
    compressed.sequential = True
    assert [note["code"] for note in written(None, compressed).notes] == ["guest_not_read"]


def test_an_empty_disk_and_a_disc():
    assert [note["code"] for note in written().notes] == ["no_system"]
    disc = types.SimpleNamespace(format="iso", storage=Memory(b"", "disc.iso"))
    found = written_proposals(source(), disc, RAW)
    assert (found.found, found.notes) == ({}, [])


def test_for_vmware():
    found = written_proposals(source("1"), image(), target("vmdk", "streamOptimized"), vmware=True)
    assert (found.value("hw_scsi_model"), found.value("vmware_disktype"), found.min_ram) == ("vmpvscsi", "streamOptimized", 2048)
    assert [note["code"] for note in found.notes] == ["no_system"]
