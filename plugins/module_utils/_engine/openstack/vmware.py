# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The properties of an image for a cloud on VMware: other ones than those for KVM.

Sources: Nova, nova/virt/vmwareapi/images.py and constants.py (VALID_OS_TYPES): os_distro has the place of vmware_ostype when both are there, and
hw_disk_bus that of vmware_adaptertype.
"""

from __future__ import annotations

import typing as t

from ..packages.ovf.guest import HIGH, LOW, MEDIUM
from .proposals import Proposals

if t.TYPE_CHECKING:  # pragma: no cover
    from ..formats.base import Target

DISK_TYPES = {"streamOptimized": "streamOptimized", "monolithicSparse": "sparse"}
"""of VMDK's subformats that are one file"""
ADAPTER_TYPES = {"lsilogic": "lsiLogic", "ide": "ide", "buslogic": "busLogic", "pvscsi": "paraVirtual"}
"""VMDK's adapter types → Nova's"""
_KVM_ONLY = ("hw_disk_bus", "hw_machine_type", "hw_qemu_guest_agent", "hw_scsi_model", "hw_vif_model")
_KVM_NOTES = ("virtio_", "no_disk_driver", "no_card_driver", "no_ide", "no_uefi_driver")
_NUMBERED = {"centos": ("centos", 6, 7), "debian": ("debian", 4, 10), "ol": ("oracleLinux", 6, 7), "rhel": ("rhel", 3, 7), "sled": ("sles", 10, 12)}
"""os_distro → VMware's name, and the versions that Nova knows it with"""
_PLAIN = {"fedora": "fedora", "opensuse": "opensuse", "ubuntu": "ubuntu"}
_WINDOWS = {
    "7": "windows7_64Guest",
    "8": "windows8_64Guest",
    "8.1": "windows8_64Guest",
    "10": "windows9_64Guest",
    "11": "windows9_64Guest",
    "2008R2": "windows7Server64Guest",
    "2012": "windows8Server64Guest",
    "2012R2": "windows8Server64Guest",
    "2016": "windows9Server64Guest",
    "2019": "windows9Server64Guest",
    "2022": "windows9Server64Guest",
}


def for_vmware(proposals: Proposals, hardware: Proposals, target: Target) -> Proposals:
    """The properties for VMware instead of those for KVM.

    :param proposals: all of them
    :param hardware: those of the descriptor alone: its buses and cards are such as VMware has, too
    :param target: the VMDK that is made
    """
    result = Proposals()
    result.min_ram = proposals.min_ram
    result.notes = [note for note in proposals.notes if not note["code"].startswith(_KVM_NOTES)]
    result.found = {name: entry for name, entry in proposals.found.items() if name not in _KVM_ONLY}
    result.found.update({name: hardware.found[name] for name in _KVM_ONLY if name in hardware.found and name != "hw_machine_type"})
    result.propose("vmware_disktype", DISK_TYPES.get(target.subformat or "monolithicSparse"), "subformat of the VMDK", HIGH)
    if "hw_disk_bus" not in result.found:
        result.propose("vmware_adaptertype", ADAPTER_TYPES.get(target.options.get("adapter_type", "lsilogic")), "ddb.adapterType of the VMDK", HIGH)
    name = system_name(proposals.value("os_distro"), proposals.value("os_version"), proposals.value("architecture"))
    if name is not None:
        confidence = LOW if result.found.pop("os_distro")["confidence"] == LOW else MEDIUM
        source = f"os_distro {proposals.value('os_distro')}, os_version {proposals.value('os_version')}; Nova would take os_distro for VMware's name"
        result.propose("vmware_ostype", name, source, confidence)
    return result


def system_name(distro: str | None, version: str | None, architecture: str | None) -> str | None:
    """VMware's name of a system on x86, among those that Nova knows; the next older one of a newer version. None where there is none."""
    if distro is None or architecture not in ("x86_64", "i686"):
        return None
    wide = architecture == "x86_64"
    if distro == "windows":
        return _WINDOWS.get(version or "") if wide else None
    if distro in _PLAIN:
        return _PLAIN[distro] + ("64Guest" if wide else "Guest")
    major = (version or "").partition(".")[0]
    if distro in _NUMBERED and major.isdecimal() and len(major) < 4:
        name, oldest, newest = _NUMBERED[distro]
        if int(major) >= oldest:
            return f"{name}{min(int(major), newest)}{'_64' if wide else ''}Guest"
    return None
