# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Which operating system a descriptor says is installed, and how much that is worth.

OVF's own numbers mean different systems to different programs above 111, so vendors' names count first. Sources:
DMTF CIM_OperatingSystem.OSType (numbers up to 111), VMware's VirtualMachineGuestOsIdentifier, VirtualBox's OS types,
ovirt-engine's osinfo-defaults.properties (its numbers and names), libosinfo's names of distributions.
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
    (re.compile(r"rhel|rhcos|red ?hat"), LINUX, "rhel"),
    (re.compile(r"rocky"), LINUX, "rocky"),
    (re.compile(r"alma ?linux"), LINUX, "almalinux"),
    (re.compile(r"oracle ?linux|^oracle\d?\d?(?:_|$)"), LINUX, "ol"),
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
_ARCHITECTURES = (
    (re.compile(r"arm-.*64|arm64|aarch64"), "aarch64"),
    (re.compile(r"s390x"), "s390x"),
    (re.compile(r"ppc"), None),  # oVirt has one name for both byte orders
    (re.compile(r"64|\b(?:x86_)?x64\b"), "x86_64"),
)

# Names that end in the number of a version. "64" is none; "+" in oVirt's table means that its SLES, Ubuntu and Debian names are
# lower bounds, as is "rhel_6_9_plus"; VMware's windows9 and windows9Server are Windows 10, and one of two servers.
_VERSION = re.compile(r"(?:centos|debian|sles|freebsd|oraclelinux|oracle|redhat|fedora|rhel_?)(?!64)(\d{1,2})(?:_64|x64|_x64|_arm64)?(?:guest)?")
_UBUNTU_LTS = re.compile(r"ubuntu(\d\d)_lts(?:_64|_arm64)?")
_WINDOWS = re.compile(r"windows_?(7|8|10|11|2008|2012|2016|2019|2022|2025)(r2)?(?:srv)?(?:_64|x64|_x64|_arm64)?(?:guest)?")
_WINDOWS_NAMES = {"windows9": "10", "windows9_64": "10", "windows81": "8.1", "windows81_64": "8.1"}
_WINDOWS_NEXT = {"windows2019srvnext_64guest": "2022", "windows2022srvnext_64guest": "2025"}

# oVirt's names by its own numbers (attribute ovirt:id), for descriptors that lack the name.
_OVIRT_NAMES = {
    1: "windows_xp",
    3: "windows_2003",
    4: "windows_2008",
    5: "other_linux",
    7: "rhel_5",
    8: "rhel_4",
    9: "rhel_3",
    10: "windows_2003x64",
    11: "windows_7",
    12: "windows_7x64",
    13: "rhel_5x64",
    14: "rhel_4x64",
    15: "rhel_3x64",
    16: "windows_2008x64",
    17: "windows_2008R2x64",
    18: "rhel_6",
    19: "rhel_6x64",
    20: "windows_8",
    21: "windows_8x64",
    23: "windows_2012x64",
    24: "rhel_7x64",
    25: "windows_2012R2x64",
    26: "windows_10",
    27: "windows_10x64",
    28: "rhel_atomic7x64",
    29: "windows_2016x64",
    30: "rhel_8x64",
    31: "windows_2019x64",
    33: "other_linux_kernel_4",
    34: "rhel_9x64",
    35: "rhcos_x64",
    36: "windows_11",
    37: "windows_2022",
    1002: "other_linux_ppc64",
    1003: "rhel_6_ppc64",
    1004: "sles_11_ppc64",
    1005: "ubuntu_14_04_ppc64",
    1006: "rhel_7_ppc64",
    1007: "rhel_6_9_plus_ppc64",
    1008: "rhel_8_ppc64",
    1009: "rhel_9_ppc64",
    1193: "sles_11",
    1252: "ubuntu_12_04",
    1253: "ubuntu_12_10",
    1254: "ubuntu_13_04",
    1255: "ubuntu_13_10",
    1256: "ubuntu_14_04",
    1257: "ubuntu_18_04",
    1300: "debian_7",
    1301: "debian_9",
    1500: "freebsd",
    1501: "freebsdx64",
    2002: "other_linux_s390x",
    2003: "rhel_7_s390x",
    2004: "sles_12_s390x",
    2005: "ubuntu_16_04_s390x",
}

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
    """``x86_64``, ``aarch64`` or ``s390x``; None also when a 32-bit system is named, as many of those run 64-bit guests"""
    version: str | None = None
    """only where the name of the system has it: ``22.04``, ``9``, ``2019``"""
    confidence: str | None = None
    source: str | None = None
    """the attribute or element that told"""
    ovf_id: str | None = None
    vmware: str | None = None
    virtualbox: str | None = None
    ovirt: str | None = None
    """number in oVirt's table"""
    description: str | None = None


def identify(ovf_id: str, vmware: str, virtualbox: str, description: str, *, ovirt: bool, ovirt_id: str = "") -> GuestSystem:
    """The operating system by its best source. All arguments are as the descriptor has them, empty when it has not.

    :param ovirt: oVirt wrote it: the description is a name from its table then, not free text
    """
    said = GuestSystem(ovf_id=ovf_id or None, vmware=vmware or None, virtualbox=virtualbox or None, ovirt=ovirt_id or None, description=description or None)
    architecture, told_by = None, None
    for source, name, confidence in (
        ("vmw:osType", vmware, HIGH),
        ("vbox:OSType", virtualbox, HIGH),
        ("ovirt:id", _OVIRT_NAMES.get(_number(ovirt_id), ""), HIGH),
        ("Description", description, MEDIUM if ovirt else LOW),
    ):
        system, distro, found = _by_name(name.lower())
        if architecture is None and found is not None:
            architecture, told_by = found, source
        if system or distro:
            version = None if confidence == LOW else _version(name.lower())
            return said._replace(type=system, distro=distro, architecture=architecture, version=version, confidence=confidence, source=source)
    number = _number(ovf_id)
    if number in _NUMBERS:
        system, distro = _NUMBERS[number]
        architecture = architecture or ("x86_64" if number in _NUMBERS_64 else None)
        return said._replace(type=system, distro=distro, architecture=architecture, confidence=MEDIUM, source="ovf:id")
    if architecture is None:
        return said
    return said._replace(architecture=architecture, confidence=LOW if told_by == "Description" else HIGH, source=told_by)


def _number(text: str) -> int:
    """A number of a table of systems; 0 when it is none."""
    return int(text) if re.fullmatch(r"[0-9]{1,4}", text, re.ASCII) else 0


def _by_name(name: str) -> tuple[str | None, str | None, str | None]:
    architecture = next((result for pattern, result in _ARCHITECTURES if pattern.search(name)), None)
    for pattern, system, distro in _DISTROS:
        if pattern.search(name):
            return system, distro, architecture
    return None, None, architecture


def _version(name: str) -> str | None:
    """What a name of VMware's, VirtualBox's or oVirt's table says of the version; None where it says none or a lower bound."""
    plain = name[: -len("guest")] if name.endswith("guest") else name
    if name in _WINDOWS_NEXT or plain in _WINDOWS_NAMES:
        return _WINDOWS_NEXT.get(name) or _WINDOWS_NAMES[plain]
    lts = _UBUNTU_LTS.fullmatch(name)
    if lts is not None:
        return f"{lts[1]}.04"
    match = _WINDOWS.fullmatch(name)
    if match is not None:
        return match[1] + (match[2] or "").upper()
    match = _VERSION.fullmatch(name)
    return match[1] if match is not None else None
