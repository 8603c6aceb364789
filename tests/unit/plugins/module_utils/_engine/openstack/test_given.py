# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The properties that a user gives: typing errors are named, with the nearest right word, and all others pass."""

from __future__ import annotations

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.given import checked, merged, with_given


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"hw_disk_bus": "scsi", "hw_cpu_cores": 4, "hw_qemu_guest_agent": True}, {"hw_disk_bus": "scsi", "hw_cpu_cores": "4", "hw_qemu_guest_agent": "true"}),
        ({"hw_disk_bus": None}, {"hw_disk_bus": None}),
        # What Nova takes in other words, or in capital letters.
        ({"architecture": "AMD64", "os_type": "Linux"}, {"architecture": "AMD64", "os_type": "Linux"}),
        ({"hw_vif_model": "VirtualVmxnet3", "hw_scsi_model": "paraVirtual"}, {"hw_vif_model": "VirtualVmxnet3", "hw_scsi_model": "paraVirtual"}),
        ({"vmware_adaptertype": "lsiLogicsas", "vm_mode": "hv"}, {"vmware_adaptertype": "lsiLogicsas", "vm_mode": "hv"}),
        ({"hw_numa_cpus.0": "0-1", "hw_numa_mem.0": 1024}, {"hw_numa_cpus.0": "0-1", "hw_numa_mem.0": "1024"}),
        ({"trait:HW_CPU_X86_AVX2": "required"}, {"trait:HW_CPU_X86_AVX2": "required"}),
        # A user's own, and those of programs beside OpenStack.
        ({"image_version": "3", "version": 1.5, "team": ""}, {"image_version": "3", "version": "1.5", "team": ""}),
        ({"image_build_date": "x", "os_purpose": "x", "os_hash_of_ours": "x", "patchlevel": "x"}, None),
        ({"owner_specified.openstack.md5": "x", "image_source": "x", "com.example:x": "x", "os": "x", "bus": "x", "description": "x"}, None),
    ],
)
def test_what_passes(given, wanted):
    assert checked(given) == (given if wanted is None else wanted)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("hw_disk_buss", "virtio", "hw_disk_buss is not a property that Nova knows; did you mean hw_disk_bus?"),
        ("hw-disk-bus", "virtio", "hw-disk-bus is not a property that Nova knows; did you mean hw_disk_bus?"),
        ("HW_VIF_MODEL", "virtio", "HW_VIF_MODEL is not a property that Nova knows; did you mean hw_vif_model?"),
        ("hw_disk_buss", None, "hw_disk_buss is not a property that Nova knows; did you mean hw_disk_bus?"),
        ("os_distrib", "debian", "os_distrib is not a property that Nova knows; did you mean os_distro?"),
        ("architecure", "x86_64", "architecure is not a property that Nova knows; did you mean architecture?"),
        ("traits:COMPUTE_X", "required", "traits:COMPUTE_X is not a property that Nova knows; did you mean trait:COMPUTE_X?"),
        ("hw_disk_bus", "virtoi", "hw_disk_bus cannot be 'virtoi', only fdc, ide, sata, scsi, usb, virtio, xen, lxc or uml; did you mean virtio?"),
        ("hw_firmware_type", "efi", "hw_firmware_type cannot be 'efi', only uefi or bios; did you mean uefi?"),
        ("os_type", "other", "os_type cannot be 'other', only linux or windows"),
        ("hw_disk_bus", "", "hw_disk_bus cannot be '', only fdc, ide, sata, scsi, usb, virtio, xen, lxc or uml"),
        ("hw_vif_model", "virtualvmxnet4", "spapr-vlan, lan9118, sriov, vmxnet, vmxnet3 or igb; did you mean vmxnet"),
        ("hw_cpu_cores", "two", "hw_cpu_cores is a number, which 'two' is not"),
        ("hw_pmu", "maybe", "hw_pmu is true or false, which 'maybe' is not"),
        ("trait:COMPUTE_X", "forbidden", "trait:COMPUTE_X can only be required, and Nova passes over 'forbidden'"),
        ("min_disk", 10, "min_disk is no property, but an attribute of the image"),
        ("id", "1", "id is no property, but an attribute of the image"),
        ("location", "x", "location is a name that Glance keeps for itself"),
        ("os_glance_stage_host", "x", "os_glance_stage_host is a name that Glance keeps for itself"),
        ("team", ["a"], "team has to be a text, not a list or dictionary"),
        ("", "x", "the name of a property is a text of 1 to 255 characters, which '' is not"),
        ("x" * 256, "x", "the name of a property is a text of 1 to 255 characters"),
        (5, "x", "the name of a property is a text of 1 to 255 characters, which '5' is not"),
    ],
)
def test_what_does_not(name, value, said):
    with pytest.raises(UnsupportedImage) as caught:
        checked({name: value})
    assert caught.value.message.startswith("an image property is not right: ")
    assert said in caught.value.message


def test_all_errors_are_told_at_once():
    with pytest.raises(UnsupportedImage) as caught:
        checked({"hw_disk_buss": "virtio", "fine": "x", "hw_pmu": "maybe"})
    assert caught.value.message == (
        "these image properties are not right: hw_disk_buss is not a property that Nova knows; did you mean hw_disk_bus?; "
        "hw_pmu is true or false, which 'maybe' is not"
    )


def test_given_properties_win_and_nothing_takes_one_away():
    proposals = {
        "hw_firmware_type": {"value": "uefi", "source": "x", "confidence": "high"},
        "hw_machine_type": {"value": "q35", "source": "x", "confidence": "medium"},
        "os_distro": {"value": "debian", "source": "x", "confidence": "low"},
    }
    facts = {"min_disk": 1, "properties": {"left": "from before"}, "proposals": proposals}
    found = with_given(facts, {"hw_firmware_type": None, "hw_machine_type": "pc", "team": "ours", "not_there": None})
    assert found == {"min_disk": 1, "properties": {"hw_machine_type": "pc", "team": "ours"}, "proposals": proposals}
    assert with_given(facts, {})["properties"] == {"hw_firmware_type": "uefi", "hw_machine_type": "q35"}
    assert merged({"a": "1", "b": "2"}, {"b": None, "c": "3"}) == {"a": "1", "c": "3"}
