# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest says of itself becomes image properties: each value, where it is from, how sure it is; and put together with a descriptor."""

from __future__ import annotations

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest import drivers as driver_facts
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.architecture import Architecture
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.cloud import Preparation
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.firmware import Firmware
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.guest import Guest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.kernel import Kernel
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.kernels import InstalledKernel
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.osrelease import OperatingSystem
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.system import System
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.combined import combine
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.guest_properties import (
    CARD_DRIVERS,
    DISK_DRIVERS,
    GuestProposals,
    system_properties,
)
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.proposals import Proposals, applied
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.vocabulary import objection

DEBIAN = OperatingSystem("linux", "debian", "12", "bookworm", "Debian GNU/Linux 12", "high", "/etc/os-release")
BIOS = Firmware("bios", "GRUB", [], [], [], [], False)
UEFI = Firmware("uefi", None, ["vda1:EFI/BOOT/BOOTX64.EFI"], ["x86_64"], [], [], False)
BOTH = Firmware("both", "GRUB", ["vda1:EFI/BOOT/BOOTX64.EFI"], ["x86_64"], [], [], False)
VIRTIO = ("virtio_blk", "virtio_pci", "virtio_scsi", "virtio_net")
CLOUD = {"cloud_init": "/usr/bin/cloud-init", "admin_user": "debian", "guest_agent": "/usr/sbin/qemu-ga"}


def preparation(cloud_init=None, disabled=False, admin_user=None, guest_agent=None):
    return Preparation(None, cloud_init, disabled, None, None, admin_user, guest_agent, None, "empty", [], [])


def drivers(early=VIRTIO, installed=(), unknown=()):
    status = dict.fromkeys(driver_facts.OPTIONS, "missing")
    status.update(dict.fromkeys(installed, "modules"))
    status.update(dict.fromkeys(early, "initramfs"))
    status.update(dict.fromkeys(unknown, "unknown"))
    return driver_facts.Drivers(status, ["/boot/initrd.img"], None)


def system(architecture="x86_64", kernel="x86_64", found=None, prepared=None):
    kernel = Kernel("bzImage", "6.1.0", kernel) if kernel else None
    installed = InstalledKernel("/boot/vmlinuz", kernel, 1000, "6.1.0", (), "/lib/modules/6.1.0") if kernel else None
    programs = Architecture(architecture, "/bin/sh") if architecture else None
    prepared = prepared or preparation()
    return System(None, None, None, DEBIAN, programs, None, [installed] if installed else [], installed, found or drivers(), prepared)


def guest(system=None, firmware=BIOS, os=DEBIAN):
    return Guest([], [], system, os, firmware, [], [] if system else ["the disk is of no use"])


def proposed(guest):
    return {name: (entry["value"], entry["confidence"]) for name, entry in GuestProposals(guest).found.items()}


def descriptor(confidence="high", **found):
    proposals = Proposals()
    for name, value in found.items():
        proposals.propose(name, value, "the descriptor", confidence)
    return proposals


def codes(proposals):
    return [note["code"] for note in proposals.notes]


def values(proposals):
    return {name: entry["value"] for name, entry in proposals.found.items()}


def test_a_prepared_guest():
    prepared = guest(system(prepared=preparation(**CLOUD)), UEFI)
    found = GuestProposals(prepared)
    assert found.found == {
        "os_type": {"value": "linux", "source": "/etc/os-release in the guest", "confidence": "high"},
        "os_distro": {"value": "debian", "source": "/etc/os-release in the guest", "confidence": "high"},
        "os_version": {"value": "12", "source": "/etc/os-release in the guest", "confidence": "high"},
        "architecture": {"value": "x86_64", "source": "the kernel /boot/vmlinuz in the guest", "confidence": "high"},
        "hw_firmware_type": {"value": "uefi", "source": "vda1:EFI/BOOT/BOOTX64.EFI, and no boot code that a BIOS starts", "confidence": "high"},
        "hw_machine_type": {"value": "q35", "source": "the guest boots with UEFI only", "confidence": "medium"},
        "os_admin_user": {"value": "debian", "source": "default_user in /etc/cloud/cloud.cfg in the guest", "confidence": "medium"},
        "hw_qemu_guest_agent": {"value": "yes", "source": "/usr/sbin/qemu-ga in the guest", "confidence": "high"},
    }
    assert found.notes == []
    names = ("os_type", "os_distro", "os_version", "os_admin_user", "hw_qemu_guest_agent")
    assert system_properties(prepared) == {name: found.found[name]["value"] for name in names}


@pytest.mark.parametrize(
    ("firmware", "architecture", "wanted"),
    [
        (BOTH, "x86_64", {}),
        (Firmware(None, None, [], [], [], [], False), "x86_64", {}),
        (BIOS, "x86_64", {"hw_firmware_type": ("bios", "high")}),
        (Firmware("bios", "GRUB", [], [], [], ["debian"], False), "x86_64", {"hw_firmware_type": ("bios", "medium")}),
        (Firmware("bios", "unknown boot code", [], [], [], [], False), "x86_64", {"hw_firmware_type": ("bios", "low")}),
        # Boot code of x86, left on the disk of a machine that has no BIOS; a loader that the machine cannot run.
        (BIOS, "aarch64", {"hw_machine_type": ("virt", "high")}),
        (UEFI, "aarch64", {"hw_machine_type": ("virt", "high")}),
        (UEFI, "x86_64", {"hw_firmware_type": ("uefi", "high"), "hw_machine_type": ("q35", "medium")}),
        (
            Firmware("uefi", None, ["vda1:EFI/BOOT/BOOTAA64.EFI"], ["aarch64"], [], [], False),
            "aarch64",
            {"hw_firmware_type": ("uefi", "high"), "hw_machine_type": ("virt", "high")},
        ),
    ],
)
def test_firmware_and_machine_type(firmware, architecture, wanted):
    found = proposed(guest(system(architecture, architecture), firmware))
    assert {name: found[name] for name in ("hw_firmware_type", "hw_machine_type") if name in found} == wanted


@pytest.mark.parametrize(
    ("made", "wanted", "notes"),
    [
        # The kernel decides: one for x86_64 does not boot on a processor that only runs its programs.
        (guest(system("i686", "x86_64")), ("x86_64", "high"), []),
        (guest(system("i686", "i686")), ("i686", "high"), []),
        (guest(system("s390x", None)), ("s390x", "high"), []),
        (guest(system(None, None)), None, []),
        (guest(system("riscv64", "riscv64")), None, ["no_architecture"]),
        (guest(None, UEFI), ("x86_64", "medium"), ["no_system"]),
        (guest(None, Firmware("uefi", None, ["vda1:EFI/BOOT/BOOTIA32.EFI"], ["i686"], [], [], False)), None, ["no_system"]),
        (guest(None, BOTH, None), ("x86_64", "medium"), ["no_system"]),
    ],
)
def test_architecture(made, wanted, notes):
    found = GuestProposals(made)
    assert (proposed(made).get("architecture"), codes(found)) == (wanted, notes)


@pytest.mark.parametrize(
    ("found", "bus"),
    [
        (drivers(), (None, None)),
        (drivers(("virtio_scsi", "virtio_pci", "ahci"), ("virtio_blk",)), ("scsi", "virtio-scsi")),
        (drivers(("ahci", "vmw_pvscsi", "ata_piix"), VIRTIO), ("sata", None)),
        (drivers(("vmw_pvscsi", "mptspi")), ("scsi", "vmpvscsi")),
        (drivers(("mptspi", "ata_piix"), ("ahci",)), ("scsi", "lsilogic")),
        (drivers(("mptsas",)), ("scsi", "lsisas1068")),
        (drivers(("ata_piix",)), ("ide", None)),
        (drivers((), VIRTIO), (None, None)),
        (drivers(("ahci", "virtio_pci"), (), ("virtio_blk",)), (None, None)),
    ],
)
def test_the_bus_that_a_guest_without_virtio_finds_its_disk_on(found, bus):
    result = proposed(guest(system(found=found)))
    assert (result.get("hw_disk_bus"), result.get("hw_scsi_model")) == tuple(value and (value, "medium") for value in bus)


def test_no_bus_of_x86_for_other_processors_and_no_ide_for_q35():
    without = system("aarch64", "aarch64", drivers(("ahci",)))
    assert "hw_disk_bus" not in proposed(guest(without))
    assert "hw_disk_bus" not in proposed(guest(system(found=drivers(("ata_piix",))), UEFI))


@pytest.mark.parametrize(
    ("installed", "wanted"),
    [
        (("virtio_net", "e1000"), None),
        (("e1000", "vmxnet3"), ("e1000", "medium")),
        (("e1000e",), ("e1000e", "medium")),
        (("8139cp",), ("rtl8139", "medium")),
        (("vmxnet3",), ("vmxnet3", "medium")),
        ((), None),
    ],
)
def test_network_cards(installed, wanted):
    assert proposed(guest(system(found=drivers(("virtio_blk", "virtio_pci"), installed)))).get("hw_vif_model") == wanted


def test_a_disabled_cloud_init_has_no_user_and_long_texts_are_left_out():
    disabled = guest(system(prepared=preparation("/usr/bin/cloud-init", True, "debian")))
    assert "os_admin_user" not in proposed(disabled)
    long = guest(system(), os=OperatingSystem("linux", "debian", "1" * 256, None, None, "high", "/etc/os-release"))
    assert "os_version" not in proposed(long)


def test_all_that_the_tables_can_propose_is_taken_by_nova():
    for kind in DISK_DRIVERS:
        bus, model = kind
        assert objection("hw_disk_bus", bus) is None
        assert model is None or objection("hw_scsi_model", model) is None
    assert [objection("hw_vif_model", model) for model in CARD_DRIVERS] == [None] * len(CARD_DRIVERS)
    assert {module for modules in DISK_DRIVERS.values() for module in modules} | set(CARD_DRIVERS.values()) <= set(driver_facts.OPTIONS)


def test_what_is_installed_wins_over_what_the_descriptor_says_is():
    said = descriptor(architecture="x86_64", os_type="linux", os_distro="centos", os_version="7")
    found = combine(said, GuestProposals(guest(system())))
    assert (found.value("os_distro"), found.value("os_version"), codes(found)) == ("debian", "12", ["os_differs"])
    assert found.notes[0]["message"] == (
        "os_distro is centos by the descriptor (the descriptor), and debian by the guest (/etc/os-release in the guest); the guest is believed"
    )
    agreed = combine(descriptor(os_type="linux", os_distro="debian", os_version="11"), GuestProposals(guest(system())))
    assert (agreed.value("os_version"), agreed.notes) == ("12", [])


def test_a_guess_does_not_win_over_the_descriptor():
    guess = OperatingSystem("windows", "windows", None, None, None, "low", "ntfs on vda1")
    found = combine(descriptor(os_type="windows", os_distro="windows", os_version="2019"), GuestProposals(guest(None, os=guess)))
    assert (found.value("os_version"), codes(found)) == ("2019", ["no_system"])
    alone = combine(descriptor("low", os_type="linux"), GuestProposals(guest(None, os=guess)))
    assert (alone.value("os_type"), codes(alone)) == ("windows", ["no_system", "os_differs"])


def test_no_version_of_another_system_is_kept():
    rolling = OperatingSystem("linux", "arch", None, None, None, "high", "/etc/os-release")
    found = combine(descriptor(os_type="linux", os_distro="centos", os_version="7"), GuestProposals(guest(system(), os=rolling)))
    assert (found.value("os_distro"), found.value("os_version")) == ("arch", None)


def test_the_descriptors_firmware_wins_with_its_machine_type():
    found = combine(descriptor(hw_firmware_type="bios"), GuestProposals(guest(system(), UEFI)))
    assert (found.value("hw_firmware_type"), found.value("hw_machine_type"), codes(found)) == ("bios", None, ["firmware_differs"])
    kept = combine(descriptor(hw_machine_type="pc"), GuestProposals(guest(system(), UEFI)))
    assert (kept.value("hw_firmware_type"), kept.value("hw_machine_type"), codes(kept)) == ("uefi", "pc", [])


def test_the_guests_architecture_wins_with_its_machine_type():
    arm = guest(system("aarch64", "aarch64"), Firmware("uefi", None, ["vda1:EFI/BOOT/BOOTAA64.EFI"], ["aarch64"], [], [], False))
    found = combine(descriptor(architecture="x86_64", hw_firmware_type="uefi", hw_machine_type="q35"), GuestProposals(arm))
    assert (found.value("architecture"), found.value("hw_machine_type"), codes(found)) == ("aarch64", "virt", ["architecture_differs"])


@pytest.mark.parametrize(
    ("said", "found", "bus", "notes"),
    [
        # It ran there, as far as one knows, and virtio would do as well.
        ({"hw_disk_bus": "scsi", "hw_scsi_model": "lsilogic"}, drivers((*VIRTIO, "mptspi")), ("scsi", "lsilogic"), ["virtio_disk"]),
        ({"hw_disk_bus": "scsi", "hw_scsi_model": "lsilogic"}, drivers(VIRTIO, ("mptspi",)), ("scsi", "lsilogic"), ["virtio_disk"]),
        ({"hw_disk_bus": "virtio"}, drivers(), ("virtio", None), []),
        ({"hw_disk_bus": "scsi"}, drivers(), ("scsi", None), ["virtio_disk"]),
        ({"hw_disk_bus": "scsi", "hw_scsi_model": "vmpvscsi"}, drivers(("vmw_pvscsi", "ahci")), ("scsi", "vmpvscsi"), []),
        # It cannot have run there.
        ({"hw_disk_bus": "scsi", "hw_scsi_model": "lsilogic"}, drivers(), (None, None), ["no_disk_driver"]),
        ({"hw_disk_bus": "scsi", "hw_scsi_model": "lsilogic"}, drivers(("ahci",)), ("sata", None), ["no_disk_driver"]),
        # Neither does it run elsewhere: the descriptor's word is as good as any.
        ({"hw_disk_bus": "scsi", "hw_scsi_model": "lsilogic"}, drivers(()), ("scsi", "lsilogic"), []),
        ({"hw_disk_bus": "scsi", "hw_scsi_model": "lsilogic"}, drivers((), (), (*VIRTIO, "mptspi")), ("scsi", "lsilogic"), []),
    ],
)
def test_the_descriptors_bus_and_the_guests_drivers(said, found, bus, notes):
    result = combine(descriptor(**said), GuestProposals(guest(system(found=found))))
    assert ((result.value("hw_disk_bus"), result.value("hw_scsi_model")), [code for code in codes(result) if "disk" in code]) == (bus, notes)


def test_ide_is_sata_when_only_the_guest_says_that_it_has_uefi():
    result = combine(descriptor(hw_disk_bus="ide"), GuestProposals(guest(system(found=drivers((*VIRTIO, "ahci", "ata_piix"))), UEFI)))
    assert (result.value("hw_disk_bus"), codes(result)) == ("sata", ["virtio_disk", "no_ide"])


@pytest.mark.parametrize(("found", "bus"), [((*VIRTIO, "ahci", "vmw_pvscsi"), "sata"), ((*VIRTIO, "vmw_pvscsi"), "virtio"), (("ahci", "vmw_pvscsi"), "sata")])
def test_scsi_is_another_bus_when_only_the_guest_says_that_it_has_uefi(found, bus):
    result = combine(descriptor(hw_disk_bus="scsi", hw_scsi_model="vmpvscsi"), GuestProposals(guest(system(found=drivers(found)), UEFI)))
    assert (result.value("hw_disk_bus"), result.value("hw_scsi_model"), codes(result)[-1]) == (bus, None, "no_uefi_driver")


@pytest.mark.parametrize(
    ("model", "installed", "wanted", "notes"),
    [
        ("vmxnet3", (*VIRTIO, "vmxnet3"), "vmxnet3", ["virtio_card"]),
        ("vmxnet3", VIRTIO, None, ["no_card_driver"]),
        ("e1000", ("virtio_blk", "virtio_pci", "e1000e"), "e1000e", ["no_card_driver"]),
        ("virtio", VIRTIO, "virtio", []),
        ("pcnet", VIRTIO, "pcnet", ["virtio_card"]),
    ],
)
def test_the_descriptors_network_card(model, installed, wanted, notes):
    result = combine(descriptor(hw_vif_model=model), GuestProposals(guest(system(found=drivers(installed)))))
    assert (result.value("hw_vif_model"), codes(result)) == (wanted, notes)


def test_what_is_not_sure_is_not_applied():
    proposals = descriptor("low", os_distro="debian")
    proposals.propose("os_type", "linux", "x", "medium")
    assert applied(proposals.found) == {"os_type": "linux"}
    assert values(proposals) == {"os_distro": "debian", "os_type": "linux"}
