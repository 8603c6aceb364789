# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Vagrant boxes: what their metadata.json says of the disks. The Vagrantfile, which is a program, is never looked at.

Sources: Vagrant documentation, "Box File Format" and the formats of the providers VMware and Hyper-V; vagrant-libvirt, "Box
Formats" (versions 1 and 2), which vagrant-qemu reads, too; vagrant_utm, "Creating a UTM Base Box"; Vagrant's actions "import".
"""

from __future__ import annotations

import dataclasses
import json
import posixpath
import typing as t

from ..errors import AmbiguousImage, InvalidImage, LimitExceeded, UnsupportedImage, printable
from ..limits import GIB, MAX_DESCRIPTOR
from ..storage.base import Storage
from .container import inside
from .model import Envelope, System
from .ovf.guest import HIGH, GuestSystem
from .plain import bare_system, envelope, stem, without_parts
from .vmx import read_system

METADATA = "metadata.json"
MAX_DISKS = 1000

_BY_METADATA = ("libvirt", "qemu")
_VMWARE = ("vmware_desktop", "vmware_fusion", "vmware_workstation")
"""their boxes have a .vmx file, which names the disks"""
_OVF = ("virtualbox", "vmware_ovf", "vcloud", "vcenter", "vcloudair")
"""their boxes are OVF packages, for which metadata.json is not asked"""
# Providers whose disks are named by nothing but their endings; of several, the first that there are files with.
_ENDINGS = {
    "hyperv": ((".vhdx", ".vhd"),),
    **dict.fromkeys(_VMWARE, ((".vmdk",),)),
    "parallels": ((".hds",), (".hdd",)),
    "utm": ((".qcow2",), (".img",)),
}
_ARCHITECTURES = {"amd64": "x86_64", "x86_64": "x86_64", "arm64": "aarch64", "aarch64": "aarch64"}
_MAX_DIGITS = 20


def parse_box(data: bytes, name: str, *, files: t.Mapping[str, int], open_name: t.Callable[[str], Storage]) -> Envelope:
    """A box as a package of one system.

    :param data: metadata.json
    :param name: of that file, for messages: the archive or folder, one character, its name in there
    :param files: the box's files with their sizes (bytes)
    :param open_name: opens one of them
    :raises InvalidImage: not the metadata of a box, or it names no disk
    :raises AmbiguousImage: two .vmx files
    :raises UnsupportedImage: a provider whose boxes have no disks of their own
    :raises LimitExceeded: the metadata is too large, or names too many disks
    :raises ImageError: the .vmx file cannot be read
    """
    metadata = _object(data, name)
    provider = metadata.get("provider")
    if not isinstance(provider, str):
        raise InvalidImage("the metadata of the box names no provider", path=name)
    # A "!" may also be a part of a folder's name: only what is there tells where the box ends.
    inner = next((there for there in files if posixpath.basename(there) == METADATA), posixpath.basename(name))
    folder = posixpath.dirname(inner)
    box = name[: -len(inner) - 1] or name
    system = bare_system(stem(box), _guest(metadata))
    machine = _machine(files, folder, open_name) if provider in _VMWARE else None
    capacity = None
    if machine is not None:
        system = dataclasses.replace(machine, name=machine.name or system.name, os=_together(machine.os, system.os))
        paths = [drive.reference for drive in system.hardware.drives]
    elif provider in _BY_METADATA:
        paths = _listed(metadata, name)
        capacity = _virtual_size(metadata) if len(paths) == 1 else None
    elif provider in _ENDINGS:
        paths = [posixpath.relpath(there, folder or ".") for there in _ending(files, _ENDINGS[provider])]
    elif provider in _OVF:
        raise InvalidImage(f"a box of the provider {printable(provider)!r} has a .ovf file, and this one has none", path=name)
    else:
        raise UnsupportedImage(f"boxes of the provider {printable(provider)!r} have no disk images", path=name)
    if not paths:
        raise InvalidImage("the box has no disk", path=name)
    if len(paths) > MAX_DISKS:
        raise LimitExceeded(f"the box has more than {MAX_DISKS} disks", path=name)
    images = {path: files.get(inside(posixpath.join(folder, path)) or "") for path in paths}
    # Extents, and what snapshots are the differences to.
    vmdks = {posixpath.relpath(there, folder or "."): size for there, size in files.items() if provider in _VMWARE and there.lower().endswith(".vmdk")}
    parts = [(path, size) for path, size in vmdks.items() if path not in images]
    return envelope(system, f"Vagrant ({printable(provider)})", list(images.items()), capacity, parts)


def _object(data: bytes, name: str) -> dict[str, t.Any]:
    if len(data) > MAX_DESCRIPTOR:
        raise LimitExceeded(f"the metadata of the box has {len(data)} bytes; {MAX_DESCRIPTOR} is the most that is read", path=name)
    try:
        found = json.loads(data.decode("utf-8-sig"), object_pairs_hook=_unique, parse_int=_integer, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InvalidImage(f"the metadata of the box is not JSON: {printable(str(error))}", path=name) from error
    if not isinstance(found, dict):
        raise InvalidImage("the metadata of the box is no JSON object", path=name)
    return found


def _unique(pairs: list[tuple[str, t.Any]]) -> dict[str, t.Any]:
    """Readers differ in which of two values of the same name counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has two values of the same name")
    return found


def _integer(digits: str) -> int:
    """The time to read a number grows with the square of its digits."""
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _no_number(word: str) -> t.NoReturn:
    raise ValueError(f"{word} is no number")


def _listed(metadata: dict[str, t.Any], name: str) -> list[str]:
    """The disks by the second format, or the one that the first has."""
    disks = metadata.get("disks") or None
    if disks is None:
        return ["box.img"]
    paths = [disk.get("path") if isinstance(disk, dict) else None for disk in disks] if isinstance(disks, list) else [None]
    if not all(isinstance(path, str) and path for path in paths):
        raise InvalidImage("the metadata of the box has disks without a path", path=name)
    return t.cast("list[str]", paths)


def _virtual_size(metadata: dict[str, t.Any]) -> int | None:
    """Bytes. It is written in GiB, or (osbuild) in GB, and mostly rounded; the image knows better."""
    size = metadata.get("virtual_size")
    known = isinstance(size, (int, float)) and not isinstance(size, bool) and 0 < size < 1 << 20
    return int(t.cast("float", size) * GIB) if known else None


def _ending(files: t.Iterable[str], endings: t.Iterable[tuple[str, ...]]) -> list[str]:
    """The files with one of the first endings that there are, without the parts of VMDKs."""
    there = list(files)
    for alternatives in endings:
        found = [name for name in there if name.lower().endswith(alternatives)]
        if found:
            return without_parts(found)
    return []


def _machine(files: t.Iterable[str], folder: str, open_name: t.Callable[[str], Storage]) -> System | None:
    """What the .vmx file beside the metadata describes; None when there is none."""
    there = [name for name in files if name.lower().endswith(".vmx") and posixpath.dirname(name) == folder]
    if not there:
        return None
    storage = open_name(there[0])
    try:
        if len(there) > 1:
            raise AmbiguousImage(f"the box has {len(there)} .vmx files", path=storage.name)
        if storage.size > MAX_DESCRIPTOR:
            raise LimitExceeded(f"the file has {storage.size} bytes; {MAX_DESCRIPTOR} is the most that is read of one of its kind", path=storage.name)
        return read_system(storage.read_exact(0, storage.size, "the file"), storage.name)
    finally:
        storage.close()


def _guest(metadata: dict[str, t.Any]) -> GuestSystem:
    architecture = _ARCHITECTURES.get(str(metadata.get("architecture")).lower())
    return GuestSystem(architecture=architecture, confidence=HIGH if architecture else None, source=METADATA if architecture else None)


def _together(machine: GuestSystem, metadata: GuestSystem) -> GuestSystem:
    """What the .vmx file says, with the architecture of the metadata where it says none."""
    if machine.architecture is not None or metadata.architecture is None:
        return machine
    return machine._replace(architecture=metadata.architecture, confidence=machine.confidence or HIGH, source=machine.source or METADATA)
