# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""An AMI, AKI and ARI out of a disk: its root file system as it is, the kernel and the ramdisk that it boots by.

Sources: Amazon's notion of the three as Glance documents it ("Image Formats": ami, aki, ari), Nova's libvirt driver (direct kernel boot).
"""

from __future__ import annotations

import contextlib
import dataclasses

from ..errors import AmbiguousImage, CorruptImage, InvalidImage, UnsupportedImage, printable
from ..filesystems.base import FILE
from ..filesystems.iso9660.reader import Iso9660
from ..filesystems.tree import Place, Tree
from ..guest.boot.entry import BootEntry
from ..guest.guest import Guest, inspect_guest
from ..guest.initramfs import identify_initramfs
from ..guest.kernel import Kernel, identify_kernel
from ..guest.kernels import InstalledKernel
from ..guest.media import identify_media
from ..guest.risk import Risk
from ..guest.roots import Root
from ..guest.system import System
from ..packages.uec_names import IMAGE, KERNEL, RAMDISK
from ..source import Source
from ..storage.base import Storage
from ..storage.file import FileStorage
from ..storage.joined import JoinedStorage
from ..storage.zeros import ZeroStorage
from ..volumes.disk import DiskStorage
from ..volumes.partitions import read_partition_table
from .command_line import CommandLine, command_line
from .risks import trio_risks

_ALIGNMENT = 4
"""bytes at whose multiples the kernel looks for a cpio archive that is not packed"""


@dataclasses.dataclass
class Wanted:
    """What the trio is to be made of."""

    root: str | None = None
    """the volume with the root file system, as inspect_guest() takes it; None: the only system on the disk"""
    guest_kernel: str | None = None
    """version, path or title of the guest's kernel that is meant; None: the one that boots by default"""
    kernel: str | None = None
    """path of a kernel on this node that is taken instead"""
    ramdisk: str | None = None
    """path of a ramdisk on this node that is taken instead"""
    with_ramdisk: bool = True
    command_line: str | None = None
    """the whole command line; None: the guest's own, adapted"""


@dataclasses.dataclass
class Trio:
    """The three, ready to be read."""

    guest: Guest | None
    """None: they come from install media, which have no root file system that could be an image"""
    root: Root | None
    contents: dict[str, Storage]
    """by role: ``kernel``, ``ramdisk`` and ``image`` where there are any"""
    kernel: Kernel
    kernel_source: str
    """path in the guest, or on the node"""
    ramdisk_sources: list[str]
    command_line: CommandLine
    risks: list[Risk]

    @property
    def architecture(self) -> str | None:
        system = self.guest.system if self.guest is not None else None
        found = system.architecture.value if system is not None and system.architecture is not None else None
        return self.kernel.architecture or found


def open_trio(source: Source, wanted: Wanted, opened: contextlib.ExitStack) -> Trio:
    """Find the three on a disk. Nothing is copied: they are read where they lie.

    :param source: opened with ``any_order``
    :param opened: closes what is opened beside the source
    :raises InvalidImage: there is no operating system, no kernel, or no file system of that name
    :raises AmbiguousImage: there are several systems, and none was named
    :raises UnsupportedImage: the root file system cannot be read (LUKS, thin volumes, several devices)
    :raises CorruptImage: the file system is cut off, or damaged where it has to be read

    An error about the disk has no path, or that of the volume.
    """
    if source.reader.format == "iso":
        return _of_media(source, wanted, opened)
    table = read_partition_table(source.reader)
    guest = inspect_guest(DiskStorage(source.reader), table, root=wanted.root)
    system = guest.require_system()
    contents: dict[str, Storage] = {}
    entry, installed = None, None
    if wanted.kernel is None:
        entry, installed = _choose_entry(system, wanted.guest_kernel)
        contents[KERNEL] = entry.open_kernel(system.files.tree)
        kernel_source = entry.kernel or ""
    else:
        contents[KERNEL] = _file(wanted.kernel, opened)
        kernel_source = wanted.kernel
        entry = system.boot.default if system.boot is not None else None
    kernel = _require_kernel(contents[KERNEL], kernel_source)
    ramdisk_sources = _add_ramdisk(system, wanted, entry if wanted.kernel is None else None, installed, contents, opened)
    contents[IMAGE] = _image(system.root)
    line = _command_line(system, wanted, entry, kernel, RAMDISK in contents)
    risks = trio_risks(guest, system, kernel, installed, RAMDISK in contents)
    return Trio(guest, system.root, contents, kernel, kernel_source, ramdisk_sources, line, risks)


def _choose_entry(system: System, name: str | None) -> tuple[BootEntry, InstalledKernel | None]:
    """The boot entry of the kernel that is meant, and the kernel as it is installed."""
    boot = system.boot
    if name is None:
        entry = boot.default if boot is not None else None
        if entry is None or entry.kernel is None:
            raise InvalidImage("no kernel boots by default in the guest", hint=f"Name one with guest_kernel{_there(system)}")
        return entry, system.kernel
    entries = [entry for entry in boot.entries if entry.kernel is not None] if boot is not None else []
    paths = {entry.kernel: system.files.resolved(entry.kernel) for entry in entries if entry.kernel}
    path = system.files.resolved(name) if name.startswith("/") else None
    meant = [kernel for kernel in system.kernels if kernel.version == name or kernel.path == path]
    for kernel in meant:
        for entry in entries:
            if entry.kernel and paths[entry.kernel] == kernel.path:
                return entry, kernel
    if len(meant) == 1:  # installed, and in no menu: booted as the default one is
        options = boot.default.options if boot is not None and boot.default is not None else ""
        return BootEntry(name, meant[0].path, meant[0].initrds, options, meant[0].path), meant[0]
    titled = [entry for entry in entries if name in (entry.title, entry.id, entry.kernel)]
    if len(titled) > 1 or len(meant) > 1:
        raise AmbiguousImage(f"several kernels of the guest are called {printable(name)!r}", hint="Name the path of one")
    if not titled:
        raise InvalidImage(f"the guest has no kernel {printable(name)!r}", hint=f"Name another one{_there(system)}")
    titled_path = paths[titled[0].kernel or ""]
    return titled[0], next((kernel for kernel in system.kernels if kernel.path == titled_path), None)


def _there(system: System) -> str:
    names = ", ".join(f"{printable(kernel.path)} ({kernel.version})" for kernel in system.kernels[:10])
    return f"; it has {names}" if names else "; none was found in it, so a kernel has to be given with kernel"


def _add_ramdisk(
    system: System, wanted: Wanted, entry: BootEntry | None, installed: InstalledKernel | None, contents: dict[str, Storage], opened: contextlib.ExitStack
) -> list[str]:
    """Find the ramdisk: the one given, or that of the boot entry. Several in one entry are loaded one behind the other.

    Where the entry has none, it is the one that belongs to the kernel by its name: without their disk, the systems that boot
    so (Ubuntu's cloud images) do not find their root file system by the UUID of its partition.
    """
    if not wanted.with_ramdisk:
        return []
    if wanted.ramdisk is not None:
        contents[RAMDISK] = _file(wanted.ramdisk, opened)
        sources = [wanted.ramdisk]
    elif entry is not None:
        if not entry.initrds and entry.uki is None and installed is not None:
            entry = dataclasses.replace(entry, initrds=installed.initrds)
        parts = entry.open_initrds(system.files.tree)
        if not parts:
            return []
        contents[RAMDISK] = _joined(parts)
        sources = list(entry.initrds) or [entry.kernel or ""]
    else:
        return []
    _require_ramdisk(contents[RAMDISK], sources[-1])
    return sources


def _joined(parts: list[Storage]) -> Storage:
    """Ramdisks one behind the other, as boot loaders place them in memory: each begins where the kernel looks for one.

    Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
    """
    if len(parts) == 1:
        return parts[0]
    aligned: list[Storage] = []
    for part in parts[:-1]:
        aligned += [part, ZeroStorage(-part.size % _ALIGNMENT, part.name)]
    return JoinedStorage([*aligned, parts[-1]], parts[-1].name)


def _require_kernel(storage: Storage, path: str) -> Kernel:
    kernel = identify_kernel(storage)
    if kernel is None or kernel.type == "uki":
        raise InvalidImage("is no Linux kernel that can be booted directly", path=path, hint="Name another one with kernel")
    if kernel.size is not None and kernel.size > storage.size:
        raise CorruptImage(f"the kernel is cut off: it has {kernel.size} bytes, the file {storage.size}", path=path)
    return kernel


def _require_ramdisk(storage: Storage, path: str) -> None:
    if identify_initramfs(storage) is None:
        raise InvalidImage("is no initial RAM file system", path=path, hint="Name another one with ramdisk")


def _image(root: Root) -> Storage:
    """The root file system from its first to its last byte, without what the volume has behind it."""
    volume = root.volume.volume.storage
    size = root.filesystem.size
    if volume is None or volume.size < size:
        there = 0 if volume is None else volume.size
        raise CorruptImage(f"the file system on {root.volume.name} is cut off: it has {size} bytes, the volume {there}")
    return volume.window(0, size, root.volume.name)


def _command_line(system: System, wanted: Wanted, entry: BootEntry | None, kernel: Kernel, ramdisk: bool) -> CommandLine:
    if wanted.command_line is not None:
        return CommandLine(wanted.command_line, ["given"])
    root = system.root
    return command_line(
        entry.options if entry is not None else "",
        uuid=root.filesystem.signature.uuid,
        subvolume=root.subvolume,
        ramdisk=ramdisk,
        architecture=kernel.architecture,
    )


def _of_media(source: Source, wanted: Wanted, opened: contextlib.ExitStack) -> Trio:
    """The kernel and the ramdisk by which an installer or a live system boots."""
    if wanted.root is not None or wanted.kernel is not None:
        raise UnsupportedImage("an ISO has no root file system that could be an image: only its kernel and ramdisk can be taken", path=source.path)
    tree = Tree(Iso9660(source.reader.storage), name=source.path)
    there = identify_media(tree, "").kernels
    if not there:
        raise InvalidImage("no kernel was found on the disc", path=source.path)
    name = wanted.guest_kernel
    chosen = next((kernel for kernel in there if name is None or name in (kernel.kernel, kernel.version, kernel.title)), None)
    if chosen is None:
        names = ", ".join(dict.fromkeys(f"{printable(kernel.kernel)} ({kernel.version})" for kernel in there[:10]))
        raise InvalidImage(f"the disc has no kernel {printable(name or '')!r}", path=source.path, hint=f"Name another one; it has {names}")
    contents = {KERNEL: tree.open(_require_place(tree, chosen.kernel))}
    sources: list[str] = []
    if not wanted.with_ramdisk:
        pass
    elif wanted.ramdisk is not None:
        contents[RAMDISK], sources = _file(wanted.ramdisk, opened), [wanted.ramdisk]
    elif chosen.ramdisks:
        contents[RAMDISK], sources = _joined([tree.open(_require_place(tree, path)) for path in chosen.ramdisks]), list(chosen.ramdisks)
    kernel = _require_kernel(contents[KERNEL], chosen.kernel)
    if sources:
        _require_ramdisk(contents[RAMDISK], sources[-1])
    line = CommandLine(chosen.command_line or "", []) if wanted.command_line is None else CommandLine(wanted.command_line, ["given"])
    return Trio(None, None, contents, kernel, chosen.kernel, sources, line, [])


def _require_place(tree: Tree, path: str) -> Place:
    place = tree.find(path)
    if place is None or place.node.kind != FILE:
        raise InvalidImage(f"{printable(path)} is not on the disc", path=tree.name)
    return place


def _file(path: str, opened: contextlib.ExitStack) -> Storage:
    storage = FileStorage(path)
    opened.callback(storage.close)
    return storage
