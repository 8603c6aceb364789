# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Nova takes as an image property, and that we propose nothing else."""

from __future__ import annotations

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import InvalidImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack import properties
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.vocabulary import BOOLEANS, ENUMERATIONS, INTEGERS, TEXTS, objection, require_known
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.ovf import guest


@pytest.mark.parametrize(
    ("name", "good", "bad", "reason"),
    [
        ("hw_disk_bus", "virtio", "nvme", "hw_disk_bus cannot be 'nvme', only fdc, ide, sata, scsi, usb, virtio, xen, lxc or uml"),
        ("hw_rng_model", "virtio", "egd", "hw_rng_model cannot be 'egd', only virtio"),
        ("hw_cpu_cores", "4", "four", "hw_cpu_cores is a number, which 'four' is not"),
        ("hw_qemu_guest_agent", "Yes", "perhaps", "hw_qemu_guest_agent is true or false, which 'perhaps' is not"),
    ],
)
def test_values(name, good, bad, reason):
    assert (objection(name, good), objection(name, bad)) == (None, reason)
    require_known(name, good)
    with pytest.raises(InvalidImage, match=name):
        require_known(name, bad)


def test_typing_errors_in_names():
    assert objection("hw_disk_buss", "virtio") == "hw_disk_buss is no property that is known here"
    assert objection("os_distro", "anything") is None


def test_each_property_is_of_one_kind():
    names = [*ENUMERATIONS, *INTEGERS, *BOOLEANS, *TEXTS]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("hw_disk_bus", properties.DISK_BUSES),
        ("hw_cdrom_bus", properties.DISK_BUSES),
        ("hw_scsi_model", properties.SCSI_MODELS.values()),
        ("hw_vif_model", properties.VIF_MODELS.values()),
        ("hw_vif_model", properties.OVIRT_VIF_MODELS.values()),
        ("hw_machine_type", properties.MACHINES.values()),
        ("hw_firmware_type", ("bios", "uefi")),
        ("architecture", [result for _pattern, result in guest._ARCHITECTURES if result]),
        ("os_type", [system for _pattern, system, _distro in guest._DISTROS if system]),
        ("os_type", [system for system, _distro in guest._NUMBERS.values() if system]),
    ],
)
def test_all_that_our_tables_can_propose_is_taken(name, values):
    assert {value: objection(name, value) for value in values} == dict.fromkeys(values)
