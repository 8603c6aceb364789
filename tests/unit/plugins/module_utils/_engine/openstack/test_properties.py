# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Image properties from the hardware of a descriptor: each value, where it is from, how sure it is, and what has none."""

from __future__ import annotations

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.properties import hardware_proposals
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.disks import PackageDisk
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.model import System
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.ovf.guest import GuestSystem, identify
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.ovf.hardware import Adapter, Controller, Drive, Hardware

UNKNOWN = GuestSystem()
LINUX_64 = identify("107", "centos8_64Guest", "", "", ovirt=False)


def machine(firmware=None, secure_boot=None, os=UNKNOWN, chipset=None, **hardware):
    return System("vm", "vm", [], None, firmware, secure_boot, os, Hardware(**hardware), chipset)


def disks(*pairs):
    return [PackageDisk(f"d{number}", bus=bus, controller=controller) for number, (bus, controller) in enumerate(pairs)]


def adapters(*models):
    return [Adapter(list(words), "net") for words in models]


def cdrom(bus):
    return [Drive("5", "", "", Controller(bus, None, 0, 0), 0, None, 0, "cdrom")]


def proposed(system, attached=(), writer="VMware"):
    return {name: (entry["value"], entry["confidence"]) for name, entry in hardware_proposals(system, list(attached), writer).found.items()}


def codes(system, attached=(), writer="VMware"):
    return [note["code"] for note in hardware_proposals(system, list(attached), writer).notes]


def test_a_machine_of_vmware():
    system = machine(
        "uefi", True, LINUX_64, cpus=8, cpu_sockets=2, cpu_cores=4, tpm=True, tpm_version="2.0", adapters=adapters(["vmxnet3"]), removable=cdrom("sata")
    )
    assert proposed(system, disks(("scsi", "pvscsi"), ("scsi", "pvscsi"))) == {
        "hw_firmware_type": ("uefi", "high"),
        "os_secure_boot": ("required", "high"),
        "hw_machine_type": ("q35", "medium"),
        "hw_disk_bus": ("sata", "medium"),
        "hw_cdrom_bus": ("sata", "high"),
        "hw_vif_model": ("vmxnet3", "high"),
        "hw_cpu_sockets": ("2", "high"),
        "hw_cpu_cores": ("4", "high"),
        "hw_tpm_version": ("2.0", "high"),
        "hw_tpm_model": ("tpm-crb", "medium"),
        "architecture": ("x86_64", "high"),
        "os_type": ("linux", "high"),
        "os_distro": ("centos", "high"),
        "os_version": ("8", "high"),
    }
    assert codes(system, disks(("scsi", "pvscsi"))) == ["tpm_state_is_lost", "no_uefi_driver"]


def test_nothing_known_nothing_proposed():
    assert (proposed(machine()), codes(machine()), proposed(machine(), disks((None, None)))) == ({}, [], {})


@pytest.mark.parametrize(
    ("bus", "controller", "model"),
    [
        ("scsi", "lsilogic", "lsilogic"),
        ("scsi", "lsilogicsas", "lsisas1068"),
        ("scsi", "virtio-scsi", "virtio-scsi"),
        ("scsi", None, None),
        ("sata", "ahci", None),
        ("virtio", "virtio", None),
        ("ide", "piix4", None),
    ],
)
def test_buses(bus, controller, model):
    found = proposed(machine(), disks((bus, controller)))
    assert (found["hw_disk_bus"], found.get("hw_scsi_model", (None,))[0]) == ((bus, "high"), model)
    assert codes(machine(), disks((bus, controller))) == []


def test_what_nova_or_qemu_does_not_have_is_said_and_left_out():
    assert (proposed(machine(), disks(("nvme", "nvme"))), codes(machine(), disks(("nvme", "nvme")))) == ({}, ["no_such_bus"])
    assert proposed(machine(), disks(("scsi", "buslogic"))) == {"hw_disk_bus": ("scsi", "high")}
    assert codes(machine(), disks(("scsi", "buslogic"))) == ["no_buslogic"]
    assert codes(machine(), disks(("scsi", "lsilogic"), ("ide", "piix4"), ("nvme", "nvme"), (None, None))) == ["several_buses"]


@pytest.mark.parametrize(
    ("firmware", "controller", "wanted"),
    [
        ("uefi", "lsilogic", ("sata", None)),
        ("uefi", "lsilogicsas", ("sata", None)),
        ("uefi", "pvscsi", ("sata", None)),
        ("uefi", "buslogic", ("sata", None)),
        ("uefi", "virtio-scsi", ("scsi", "virtio-scsi")),
        ("bios", "pvscsi", ("scsi", "vmpvscsi")),
        (None, "pvscsi", ("scsi", "vmpvscsi")),
    ],
)
def test_a_scsi_controller_is_sata_where_uefi_has_no_driver_for_it(firmware, controller, wanted):
    """That such a disk does not boot otherwise is seen where disks are booted."""
    system, attached = machine(firmware, os=LINUX_64), disks(("scsi", controller))
    found = proposed(system, attached)
    assert (found["hw_disk_bus"][0], found.get("hw_scsi_model", (None,))[0]) == wanted
    assert ("no_uefi_driver" in codes(system, attached)) == (wanted == ("sata", None))


def test_ide_is_sata_where_the_machine_type_has_no_ide():
    uefi = machine("uefi", os=LINUX_64, removable=cdrom("ide"))
    found = proposed(uefi, disks(("ide", "piix4")))
    assert (found["hw_disk_bus"], found["hw_cdrom_bus"], codes(uefi, disks(("ide", "piix4")))) == (("sata", "medium"), ("sata", "medium"), ["no_ide", "no_ide"])
    assert proposed(machine("bios", removable=cdrom("ide")))["hw_cdrom_bus"] == ("ide", "high")


@pytest.mark.parametrize(
    ("system", "wanted"),
    [
        (machine("bios", os=LINUX_64), None),
        (machine("uefi"), ("q35", "low")),
        (machine("bios", chipset="q35"), ("q35", "high")),
        (machine("bios", chipset="i440fx"), ("pc", "high")),
        (machine("uefi", os=GuestSystem("linux", architecture="aarch64", confidence="high", source="vmw:osType")), ("virt", "high")),
        (machine("uefi", os=GuestSystem("linux", architecture="s390x", confidence="high", source="ovirt:id")), None),
    ],
)
def test_machine_types(system, wanted):
    assert proposed(system).get("hw_machine_type") == wanted


@pytest.mark.parametrize(
    ("models", "writer", "wanted", "said"),
    [
        ([["e1000"], ["e1000"]], "VMware", "e1000", []),
        ([["vmxnet3", "virtio"]], "VMware", "vmxnet3", []),
        ([["flexible"]], "VMware", "pcnet", []),
        ([["e1000"], ["vmxnet3"]], "VMware", None, ["several_vif_models"]),
        ([["vmxnet"]], "VMware", None, ["no_vif_model"]),
        ([[], []], "VMware", None, []),
        ([["3"], ["3"]], "oVirt", "virtio", []),
        ([["3"]], "VMware", None, ["no_vif_model"]),
    ],
)
def test_network_adapters(models, writer, wanted, said):
    system = machine(adapters=adapters(*models))
    assert (proposed(system, writer=writer).get("hw_vif_model", (None,))[0], codes(system, writer=writer)) == (wanted, said)


@pytest.mark.parametrize(
    ("version", "architecture", "wanted"),
    [("2.0", "x86_64", ("2.0", "tpm-crb")), ("1.2", "x86_64", ("1.2", "tpm-tis")), ("2.0", "aarch64", ("2.0", "tpm-tis")), (None, "x86_64", (None, None))],
)
def test_tpms(version, architecture, wanted):
    found = proposed(machine(os=GuestSystem("linux", architecture=architecture, confidence="high", source="vmw:osType"), tpm=True, tpm_version=version))
    assert (found.get("hw_tpm_version", (None,))[0], found.get("hw_tpm_model", (None,))[0]) == wanted


def test_each_property_says_what_it_is_known_from():
    found = hardware_proposals(machine("bios", os=LINUX_64), disks(("scsi", "lsilogic")), "VMware").found
    assert found["hw_disk_bus"]["source"] == "controller of the boot disk (lsilogic)"
    assert found["os_distro"]["source"] == "vmw:osType of the operating system (high confidence)"
    assert all(isinstance(entry["value"], str) and entry["source"] and entry["confidence"] for entry in found.values())


def test_secure_boot_is_required_only_when_it_is_on():
    assert "os_secure_boot" not in proposed(machine("uefi", False))
    assert "os_secure_boot" not in proposed(machine("bios", True))
