# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The properties of an image for VMware: Nova's driver for it has other words, and takes ours in their place."""

from __future__ import annotations

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.proposals import Proposals
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.vmware import for_vmware, system_name


def proposals(**found):
    made = Proposals()
    for name, value in found.items():
        made.propose(name, value, "x", "high")
    return made


GUEST = proposals(
    os_distro="debian", os_version="12", os_type="linux", architecture="x86_64", hw_firmware_type="uefi", hw_machine_type="q35", hw_qemu_guest_agent="yes"
)


def made(hardware, subformat="streamOptimized", **options):
    both = Proposals()
    both.found, both.min_ram = {**GUEST.found, **hardware.found}, 512
    both.note("virtio_disk", "faster")
    both.note("os_differs", "by the descriptor")
    found = for_vmware(both, hardware, target("vmdk", subformat, options=options))
    return found, {name: entry["value"] for name, entry in found.found.items()}


COMMON = {"os_version": "12", "os_type": "linux", "architecture": "x86_64", "hw_firmware_type": "uefi", "vmware_ostype": "debian10_64Guest"}


def test_a_disk_alone():
    found, values = made(Proposals())
    assert values == {**COMMON, "vmware_disktype": "streamOptimized", "vmware_adaptertype": "lsiLogic"}
    assert ([note["code"] for note in found.notes], found.min_ram) == (["os_differs"], 512)


@pytest.mark.parametrize(
    ("adapter", "wanted"), [("lsilogic", "lsiLogic"), ("ide", "ide"), ("buslogic", "busLogic"), ("pvscsi", "paraVirtual"), ("legacyESX", None)]
)
@pytest.mark.parametrize(("subformat", "kind"), [("monolithicSparse", "sparse"), ("streamOptimized", "streamOptimized"), ("monolithicFlat", None)])
def test_the_vmdk_that_is_made(adapter, wanted, subformat, kind):
    _found, values = made(Proposals(), subformat, adapter_type=adapter)
    assert (values.get("vmware_adaptertype"), values.get("vmware_disktype")) == (wanted, kind)


def test_the_descriptors_hardware_is_vmwares_as_well():
    _found, values = made(proposals(hw_disk_bus="scsi", hw_scsi_model="vmpvscsi", hw_vif_model="vmxnet3", hw_machine_type="pc"))
    assert values == {**COMMON, "hw_disk_bus": "scsi", "hw_scsi_model": "vmpvscsi", "hw_vif_model": "vmxnet3", "vmware_disktype": "streamOptimized"}


@pytest.mark.parametrize(
    ("system", "wanted"),
    [
        (("ubuntu", "24.04", "x86_64"), "ubuntu64Guest"),
        (("rhel", "9.3", "x86_64"), "rhel7_64Guest"),
        (("rhel", "6.10", "i686"), "rhel6Guest"),
        (("sled", "15", "x86_64"), "sles12_64Guest"),
        (("centos", "5", "x86_64"), None),
        (("windows", "2012R2", "x86_64"), "windows8Server64Guest"),
        (("windows", None, "x86_64"), None),
        (("debian", "sid", "x86_64"), None),
        (("debian", "12", "aarch64"), None),
        (("arch", None, "x86_64"), None),
        ((None, None, None), None),
    ],
)
def test_names_of_systems(system, wanted):
    assert system_name(*system) == wanted
