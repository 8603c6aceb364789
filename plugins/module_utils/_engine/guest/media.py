# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What an optical disc is for: an installer, a live system, drivers, a configuration for cloud-init, or just data.

A guess from the files by which distributions mark their discs, and from the volume's label. Sources: the discs themselves;
debian-cd (``.disk/info``), Fedora's productmd (``.treeinfo``) and anaconda (``.discinfo``), libmedia of SUSE
(``media.1/products``), archiso, cloud-init (NoCloud, ConfigDrive).
"""

from __future__ import annotations

import configparser
import dataclasses
import re
import typing as t

from ..errors import printable
from ..filesystems.tree import Tree
from ..limits import KIB
from .files import Files
from .media_kernels import BootKernel, find_kernels

INSTALLER, LIVE, RESCUE, DRIVERS, CONFIG, DATA = "installer", "live", "rescue", "drivers", "config", "data"
_TEXT = 64 * KIB
_LABEL = "the volume's label"

_VERSION = re.compile(r"\d+(?:[._]\d+)*")
_ARCHITECTURES = {
    "amd64": "x86_64",
    "x86_64": "x86_64",
    "x64": "x86_64",
    "x64fre": "x86_64",
    "x64free": "x86_64",
    "i386": "i686",
    "i686": "i686",
    "x86fre": "i686",
    "arm64": "aarch64",
    "aarch64": "aarch64",
    "ppc64el": "ppc64le",
    "ppc64le": "ppc64le",
    "s390x": "s390x",
    "riscv64": "riscv64",
}
_DISTROS = (
    (r"ubuntu", "ubuntu"),
    (r"debian", "debian"),
    (r"linux mint", "linuxmint"),
    (r"\bkali\b", "kali"),
    (r"red hat|\brhel", "rhel"),
    (r"centos", "centos"),
    (r"rocky", "rocky"),
    (r"almalinux", "almalinux"),
    (r"oracle|\bol-", "ol"),
    (r"fedora", "fedora"),
    (r"opensuse", "opensuse"),
    (r"\bsles?\b|\bsuse", "sled"),
    (r"alpine", "alpinelinux"),
    (r"\barch\b", "arch"),
)
"""Words in a disc's name, and OpenStack's word for the distribution"""
_RESCUE = re.compile(r"rescue|sysresc|grml|gparted|clonezilla", re.IGNORECASE)
_DRIVER_LABEL = re.compile(r"(virtio-win|VBox_GAs)[-_ ]?(\d[\w.]*)?", re.IGNORECASE)
_WINDOWS_LABEL = re.compile(r"\w+_(X64|X86|A64)(FREE?|FREV|CHK)\w*_[A-Z]{2}-[A-Z]{2}(_DV\d)?", re.IGNORECASE)
_FREEBSD_LABEL = re.compile(r"(?:FreeBSD_)?(\d+)_(\d+)_(?:RELEASE|STABLE|CURRENT)_(\w+)_(?:CD|DVD|BO|BOOTONLY)", re.IGNORECASE)
_CONFIG_LABELS = ("cidata", "config-2")
_WINDOWS_FILES = ("/sources/install.wim", "/sources/install.esd", "/sources/install.swm", "/sources/boot.wim")
_LIVE_FILES = ("/live/filesystem.squashfs", "/casper/filesystem.squashfs", "/casper/minimal.squashfs", "/LiveOS/squashfs.img", "/LiveOS/rootfs.img")


@dataclasses.dataclass
class Media:
    """What a disc is for."""

    kind: str
    """``installer``, ``live``, ``rescue``, ``drivers``, ``config`` (for cloud-init) or ``data``"""
    distro: str | None = None
    """in Glance's vocabulary, as ``os_distro``"""
    version: str | None = None
    """as the disc says, to the last number"""
    architecture: str | None = None
    name: str | None = None
    """for people, as the disc says"""
    source: str | None = None
    """the file that says so, or the label; None: nothing says anything"""
    kernels: list[BootKernel] = dataclasses.field(default_factory=list)
    """what can be taken out of it to boot from the network, the default one first"""
    warnings: list[str] = dataclasses.field(default_factory=list)


def describe_media(tree: Tree, label: str) -> dict[str, t.Any]:
    """What a disc is for, as a dictionary of :class:`Media`'s fields. Raises nothing: what cannot be read is in its warnings.

    :param tree: the disc's files
    :param label: its volume identifier
    """
    return dataclasses.asdict(identify_media(tree, label))


def identify_media(tree: Tree, label: str) -> Media:
    """What a disc is for; as :func:`describe_media`."""
    files = Files(tree)
    kernels = find_kernels(files)
    found = next(filter(None, (guess(files, label) for guess in _GUESSES)), None)
    if found is None:
        # A kernel without a ramdisk is iPXE, or another program that looks like one.
        source = next((kernel.source for kernel in kernels if kernel.ramdisks), None)
        found = Media(LIVE if source else DATA, source=source)
    if found.kind in (INSTALLER, LIVE) and _RESCUE.search(f"{label} {found.name or ''}"):
        found.kind = RESCUE
    if found.architecture is None and kernels:
        found.architecture = kernels[0].architecture
    found.kernels = kernels
    found.warnings = files.warnings
    return found


def _config(files: Files, label: str) -> Media | None:
    if label.lower() in _CONFIG_LABELS:
        return Media(CONFIG, source=_LABEL)
    return None


def _drivers(files: Files, label: str) -> Media | None:
    match = _DRIVER_LABEL.match(label)
    if match is not None:
        return Media(DRIVERS, version=match[2], name=match[1], source=_LABEL)
    path = files.first("/virtio-win_license.txt", "/viostor", "/VBoxWindowsAdditions.exe")
    return Media(DRIVERS, source=path) if path else None


def _debian(files: Files, label: str) -> Media | None:
    """``Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST …``, ``Ubuntu-Server 22.04.3 LTS "Jammy Jellyfish" - Release amd64 (…)``"""
    path = "/.disk/info"
    name = _line(files, path)
    if name is None:
        return None
    is_live = files.first(*_LIVE_FILES) is not None and "server" not in name.lower()
    return _named(name, path, LIVE if is_live else INSTALLER)


def _fedora(files: Files, label: str) -> Media | None:
    for path in ("/.treeinfo", "/treeinfo"):
        values = _treeinfo(files.text(path, _TEXT))
        if values:
            name = " ".join(filter(None, (values.get("family"), values.get("version"))))
            found = _named(name, path, INSTALLER)
            found.version = values.get("version") or found.version
            found.architecture = _ARCHITECTURES.get(values.get("arch", ""), found.architecture)
            return found
    path = "/.discinfo"
    lines = (files.text(path, _TEXT) or "").splitlines()
    if len(lines) < 3:
        return None
    is_live = files.first(*_LIVE_FILES) is not None and not files.is_file("/images/install.img")
    name = printable(lines[1].strip())
    found = _named(label if name[:1].isdigit() else name, path, LIVE if is_live else INSTALLER)
    found.architecture = _ARCHITECTURES.get(lines[2].strip(), found.architecture)
    return found


def _suse(files: Files, label: str) -> Media | None:
    """``/ openSUSE-Leap 15.5-0``"""
    path = "/media.1/products"
    name = _line(files, path)
    return None if name is None else _named(name.lstrip("/ "), path, INSTALLER)


def _arch(files: Files, label: str) -> Media | None:
    path = "/sysresccd/VERSION"
    version = _line(files, path)
    if version is not None:
        return Media(RESCUE, version=version, name=f"SystemRescue {version}", source=path)
    path = "/arch/version"
    version = _line(files, path)
    if version is None and not files.names("/arch/boot"):
        return None
    return Media(INSTALLER, "arch", version, name=" ".join(filter(None, ("Arch Linux", version))), source=path if version else "/arch/boot")


def _alpine(files: Files, label: str) -> Media | None:
    """``alpine-standard-3.19.0 231207``, ``alpine-virt 3.19.0 x86_64``"""
    path = "/.alpine-release"
    name = _line(files, path)
    return None if name is None else _named(name, path, INSTALLER)


def _windows(files: Files, label: str) -> Media | None:
    path = files.first(*_WINDOWS_FILES)
    match = _WINDOWS_LABEL.fullmatch(label)
    if path is None and match is None:
        return None
    architecture = {"X64": "x86_64", "X86": "i686", "A64": "aarch64"}[match[1].upper()] if match else None
    return Media(INSTALLER, "windows", architecture=architecture, name=label if match else None, source=path or _LABEL)


def _freebsd(files: Files, label: str) -> Media | None:
    match = _FREEBSD_LABEL.fullmatch(label)
    if match is None:
        return None
    return Media(INSTALLER, "freebsd", f"{match[1]}.{match[2]}", _ARCHITECTURES.get(match[3].lower()), f"FreeBSD {match[1]}.{match[2]}", _LABEL)


def _live(files: Files, label: str) -> Media | None:
    path = files.first(*_LIVE_FILES)
    if path is None:
        return None
    found = _named(label, path, LIVE)
    found.name = None
    return found


_GUESSES: tuple[t.Callable[[Files, str], Media | None], ...] = (_config, _drivers, _debian, _fedora, _suse, _arch, _alpine, _windows, _freebsd, _live)


def _named(name: str, source: str, kind: str) -> Media:
    """What a disc's name says: words of it are the distribution, a number is the version, a word the architecture."""
    lower = name.lower()
    distro = next((distro for pattern, distro in _DISTROS if re.search(pattern, lower)), None)
    words = re.split(r"[^a-z0-9_]+", lower)
    architecture = next((_ARCHITECTURES[word] for word in words if word in _ARCHITECTURES), None)
    version = _VERSION.search(re.sub(r"x86_64|i[36]86|amd64|arm64|aarch64|s390x|riscv64|ppc64(?:el|le)?", "", lower))
    return Media(kind, distro, version[0].replace("_", ".") if version else None, architecture, name, source)


def _treeinfo(text: str | None) -> dict[str, str]:
    """The ``[general]`` section, which all versions of it have."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text or "")
    except configparser.Error:
        return {}
    return {key: printable(value) for key, value in parser["general"].items()} if parser.has_section("general") else {}


def _line(files: Files, path: str) -> str | None:
    """The first line of a small text; None when there is none, or an empty one."""
    lines = (files.text(path, _TEXT) or "").strip().splitlines()
    return printable(lines[0].strip()) if lines else None
