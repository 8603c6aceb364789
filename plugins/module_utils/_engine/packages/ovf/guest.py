# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Which operating system a descriptor says is installed, and how much that is worth.

OVF's own numbers mean different systems to different programs above 111, so vendors' names count first. Sources:
DMTF CIM_OperatingSystem.OSType (numbers up to 111), VMware's VirtualMachineGuestOsIdentifier, VirtualBox's OS types.
"""

from __future__ import annotations

import re
import typing as t

HIGH = "high"
MEDIUM = "medium"
LOW = "low"

LINUX = "linux"
WINDOWS = "windows"

# Glance's names (metadefs, os_distro), by how the names and descriptions of VMware, VirtualBox and oVirt begin or contain them.
_DISTROS = (
    (re.compile(r"(?<!dar)win(?:dows|net|xp|2000|2k|longhorn|vista|nt|\d)|longhorn"), WINDOWS, WINDOWS),
    (re.compile(r"ubuntu"), LINUX, "ubuntu"),
    (re.compile(r"debian"), LINUX, "debian"),
    (re.compile(r"centos"), LINUX, "centos"),
    (re.compile(r"rhel|red ?hat"), LINUX, "rhel"),
    (re.compile(r"fedora"), LINUX, "fedora"),
    (re.compile(r"open ?suse"), LINUX, "opensuse"),
    (re.compile(r"sle[sd]|suse"), LINUX, "sled"),
    (re.compile(r"arch ?linux"), LINUX, "arch"),
    (re.compile(r"gentoo"), LINUX, "gentoo"),
    (re.compile(r"mandriva"), LINUX, "mandriva"),
    (re.compile(r"linux|photon|coreos|turbolinux|asianux"), LINUX, None),
    (re.compile(r"freebsd"), None, "freebsd"),
    (re.compile(r"netbsd"), None, "netbsd"),
    (re.compile(r"openbsd"), None, "openbsd"),
)
_ARM_64 = re.compile(r"arm-.*64|arm64|aarch64")
_X86_64 = re.compile(r"64|\b(?:x86_)?x64\b")

_NUMBERS: dict[int, tuple[str | None, str | None]] = {
    **dict.fromkeys((16, 17, 18, 58, 63, 67, 69, 70, 71, 72, 73, 74, 75, 76, 77, 103, 105), (WINDOWS, WINDOWS)),
    **dict.fromkeys((36, 91, 92, 97, 98, 99, 100, 101, 108, 109), (LINUX, None)),
    **dict.fromkeys((79, 80), (LINUX, "rhel")),
    **dict.fromkeys((82, 83, 84, 85), (LINUX, "sled")),
    **dict.fromkeys((89, 90), (LINUX, "mandriva")),
    **dict.fromkeys((93, 94), (LINUX, "ubuntu")),
    **dict.fromkeys((95, 96), (LINUX, "debian")),
    **dict.fromkeys((106, 107), (LINUX, "centos")),
    **dict.fromkeys((42, 78), (None, "freebsd")),
    43: (None, "netbsd"),
    65: (None, "openbsd"),
}
_NUMBERS_64 = (70, 71, 74, 77, 78, 80, 83, 85, 90, 92, 94, 96, 98, 100, 101, 102, 103, 107, 109)


class GuestSystem(t.NamedTuple):
    """What is known, and what the descriptor said."""

    type: str | None = None
    """``linux`` or ``windows``, the two that Nova knows"""
    distro: str | None = None
    architecture: str | None = None
    """``x86_64`` or ``aarch64``; None also when a 32-bit system is named, as many of those run 64-bit guests"""
    confidence: str | None = None
    source: str | None = None
    """the attribute or element that told"""
    ovf_id: str | None = None
    vmware: str | None = None
    virtualbox: str | None = None
    description: str | None = None


def identify(ovf_id: str, vmware: str, virtualbox: str, description: str, *, ovirt: bool) -> GuestSystem:
    """The operating system by its best source. All arguments are as the descriptor has them, empty when it has not.

    :param ovirt: oVirt wrote it: the description is a name from its table then, not free text
    """
    said = {"ovf_id": ovf_id or None, "vmware": vmware or None, "virtualbox": virtualbox or None, "description": description or None}
    architecture = None
    for source, name, confidence in (
        ("vmw:osType", vmware, HIGH),
        ("vbox:OSType", virtualbox, HIGH),
        ("Description", description, MEDIUM if ovirt else LOW),
    ):
        system, distro, found = _by_name(name.lower())
        architecture = architecture or found
        if system or distro:
            return GuestSystem(system, distro, architecture, confidence, source, **said)
    number = int(ovf_id) if re.fullmatch(r"[0-9]{1,3}", ovf_id, re.ASCII) else 0
    if number in _NUMBERS:
        system, distro = _NUMBERS[number]
        architecture = architecture or ("x86_64" if number in _NUMBERS_64 else None)
        return GuestSystem(system, distro, architecture, MEDIUM, "ovf:id", **said)
    return GuestSystem(architecture=architecture, confidence=HIGH if architecture else None, source="vmw:osType" if architecture else None, **said)


def _by_name(name: str) -> tuple[str | None, str | None, str | None]:
    architecture = "aarch64" if _ARM_64.search(name) else "x86_64" if _X86_64.search(name) else None
    for pattern, system, distro in _DISTROS:
        if pattern.search(name):
            return system, distro, architecture
    return None, None, architecture
