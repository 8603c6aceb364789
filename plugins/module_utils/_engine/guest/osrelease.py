# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Which operating system is installed, by the files in which distributions say so.

Sources: os-release(5); lsb_release(1); Glance's "Useful image properties" (os_distro, os_version) and, for what they do not list,
libosinfo's names of distributions; virt-v2v, which calls SLES ``sled`` as well.
"""

from __future__ import annotations

import dataclasses
import re
import shlex

from ..errors import printable
from ..limits import KIB
from .files import Files

HIGH, MEDIUM, LOW = "high", "medium", "low"
LINUX, WINDOWS = "linux", "windows"

DISTROS = {
    "alpine": "alpinelinux",
    "archarm": "arch",
    "archlinux": "arch",
    "clear-linux-os": "clearlinux",
    "elementary": "elementaryos",
    "endless": "eos",
    "opensuse-leap": "opensuse",
    "opensuse-leap-micro": "opensuse",
    "opensuse-microos": "opensuse",
    "opensuse-tumbleweed": "opensuse",
    "oracle": "ol",
    "pop": "popos",
    "raspbian": "debian",
    "redhat": "rhel",
    "scientific": "scientificlinux",
    "sle-micro": "sled",
    "sle_hpc": "sled",
    "sles": "sled",
    "sles_sap": "sled",
    "suse": "sled",
    "void": "voidlinux",
}
"""IDs of os-release that OpenStack has another word for; all others are its words already"""

MAX_RELEASE = 64 * KIB
"""bytes of os-release or lsb-release; real ones have less than 1 KiB"""
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_ASSIGNMENT = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)=(.*)")
_CODENAME = re.compile(r"\(([^()]{1,64})\)")

_BY_FIRST_WORDS = (
    ("red hat", "rhel"),
    ("centos", "centos"),
    ("rocky", "rocky"),
    ("almalinux", "almalinux"),
    ("oracle", "ol"),
    ("fedora", "fedora"),
    ("scientific", "scientificlinux"),
    ("opensuse", "opensuse"),
    ("suse linux enterprise", "sled"),
    ("mandriva", "mandriva"),
    ("mandrake", "mandrake"),
    ("mageia", "mageia"),
    ("gentoo", "gentoo"),
    ("slackware", "slackware"),
)
"""How the one line of the old release files begins"""
_LINES = ("/etc/redhat-release", "/etc/SuSE-release", "/etc/gentoo-release", "/etc/slackware-version")


@dataclasses.dataclass(frozen=True)
class OperatingSystem:
    """What is installed."""

    type: str | None
    """``linux`` or ``windows``, the two that Nova knows"""
    distro: str | None
    """in Glance's vocabulary"""
    version: str | None
    """as the distributor counts: ``12``, ``22.04``"""
    codename: str | None
    name: str | None
    """for people"""
    confidence: str
    """``high`` where a file of the system says so, ``medium`` or ``low`` where it is concluded"""
    source: str
    """the file that says so"""


def identify_os(files: Files) -> OperatingSystem | None:
    """The operating system below a ``/``; None when no file tells."""
    cirros = _first_line(files, "/etc/cirros/version")
    if cirros is not None:  # its os-release is that of Buildroot
        return _linux("cirros", _version(cirros), None, f"CirrOS {cirros}", "/etc/cirros/version")
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        text = files.text(path, MAX_RELEASE)
        found = None if text is None else _from_os_release(parse_assignments(text), path, files)
        if found is not None:
            return found
    return _from_lsb_release(files) or _from_one_line(files) or _from_named_files(files)


def parse_assignments(text: str) -> dict[str, str]:
    """The variables of a file that a shell could read: os-release, lsb-release. What is no assignment is passed over."""
    found = {}
    for line in text.splitlines():
        match = _ASSIGNMENT.match(line)
        if match is None:
            continue
        try:
            words = shlex.split(match[2], comments=True)
        except ValueError:  # a quote that is not closed
            words = [match[2].strip("\"' ")]
        found[match[1]] = printable(words[0]) if words else ""
    return found


def _from_os_release(values: dict[str, str], path: str, files: Files) -> OperatingSystem | None:
    """os-release(5): ID defaults to ``linux``; VERSION_ID is missing in rolling releases."""
    identifier = values.get("ID", "").lower()
    if not _ID.fullmatch(identifier):
        return None
    version = values.get("VERSION_ID") or None
    codename = values.get("VERSION_CODENAME") or values.get("UBUNTU_CODENAME") or None
    if version is None and identifier == "debian":  # testing and unstable
        version = codename or _first_line(files, "/etc/debian_version")
    return _linux(DISTROS.get(identifier, identifier), version, codename, values.get("PRETTY_NAME") or values.get("NAME") or None, path)


def _from_lsb_release(files: Files) -> OperatingSystem | None:
    path = "/etc/lsb-release"
    text = files.text(path, MAX_RELEASE)
    values = parse_assignments(text or "")
    identifier = values.get("DISTRIB_ID", "").lower()
    if not _ID.fullmatch(identifier):
        return None
    distro = DISTROS.get(identifier, identifier)
    return _linux(distro, values.get("DISTRIB_RELEASE") or None, values.get("DISTRIB_CODENAME") or None, values.get("DISTRIB_DESCRIPTION") or None, path)


def _from_one_line(files: Files) -> OperatingSystem | None:
    """``CentOS release 6.10 (Final)`` and its like."""
    for path in _LINES:
        line = _first_line(files, path)
        if line is None:
            continue
        distro = next((distro for words, distro in _BY_FIRST_WORDS if line.lower().startswith(words)), None)
        codename = _CODENAME.search(line) if path == "/etc/redhat-release" else None
        version = _version(line)
        patch = re.search(r"^PATCHLEVEL[ \t]*=[ \t]*([1-9]\d?)[ \t]*$", files.text(path) or "", re.MULTILINE)
        if patch is not None and version is not None and "." not in version:
            version = f"{version}.{patch[1]}"
        return _linux(distro, version, codename[1] if codename else None, line, path)
    return None


def _from_named_files(files: Files) -> OperatingSystem | None:
    """Files whose name says the distribution, and whose content at most its version."""
    for path, distro, name in (("/etc/alpine-release", "alpinelinux", "Alpine Linux"), ("/etc/debian_version", "debian", "Debian GNU/Linux")):
        line = _first_line(files, path)
        if line is not None:
            return _linux(distro, _version(line) or line, None, f"{name} {line}", path)
    if files.is_file("/etc/arch-release"):
        return _linux("arch", None, None, "Arch Linux", "/etc/arch-release")
    return None


def _linux(distro: str | None, version: str | None, codename: str | None, name: str | None, source: str) -> OperatingSystem:
    return OperatingSystem(LINUX, distro, version, codename, name, HIGH if distro else MEDIUM, source)


def _first_line(files: Files, path: str) -> str | None:
    text = files.text(path, MAX_RELEASE)
    return (printable(text.strip().splitlines()[0].strip()) or None) if text and text.strip() else None


def _version(line: str) -> str | None:
    match = _VERSION.search(line)
    return match[0] if match else None
