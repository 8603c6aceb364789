# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Kernels on an optical disc, with the ramdisks that go with them: what can be taken out of it to boot from the network.

The boot loaders' configurations name them; where these cannot be followed, they lie at places that are always the same.
Which entry boots by default is not looked at: the first one stands first. Every kernel is known by its content.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
import typing as t

from ..errors import ImageError
from ..limits import KIB
from .files import Files
from .kernel import identify_kernel

MAX_FILES = 60
"""configuration files that are read"""
MAX_KERNELS = 64
_TEXT = 256 * KIB

_FOLDERS = (
    "/isolinux",
    "/syslinux",
    "/boot/syslinux",
    "/boot/isolinux",
    "/arch/boot/syslinux",
    "/boot/x86_64/loader",
    "/boot/aarch64/loader",
    "/boot/grub",
    "/boot/grub/x86_64-efi",
    "/boot/grub2",
    "/EFI/BOOT",
    "/loader/entries",
    "/",
)
_CONFIGURATION = re.compile(r".*\.(?:cfg|conf)", re.IGNORECASE)
_INCLUDE = re.compile(r"^\s*(?:include|source|configfile)\s+(\S+)", re.IGNORECASE | re.MULTILINE)
_MAIN = ("isolinux.cfg", "syslinux.cfg", "grub.cfg")

# Pairs of patterns in a folder: a kernel and its ramdisk. \1 is what the first one's group found.
_PLACES = (
    (r"/install(?:\.\w+)?", r"vmlinuz", r"initrd.gz"),
    (r"/install(?:\.\w+)?", r"(vmlinux)", r"initrd.gz"),
    (r"/live", r"vmlinuz((?:[-\d].*)?)", r"initrd(?:\.img)?\1(?:\.img)?"),
    (r"/casper", r"(hwe-)?vmlinuz(?:\.efi)?", r"\1initrd(?:\.[lg]z|\.img)?"),
    (r"/images/pxeboot", r"vmlinuz", r"initrd\.img"),
    (r"/boot/(?:x86_64|aarch64|s390x|ppc64le|i386)(?:/loader)?", r"linux", r"initrd"),
    (r"/(?:arch|sysresccd)/boot/\w+", r"vmlinuz-(\S+)", r"initramfs-\1\.img"),
    (r"/boot", r"vmlinuz-(\S+)", r"(?:initramfs-\1(?:\.img)?|initrd(?:\.img)?-\1)"),
    (r"/", r"linux", r"initrd\.gz"),
)
_PARENTS = ("/", "/boot", "/images", "/arch/boot", "/sysresccd/boot", "/boot/x86_64", "/boot/aarch64")


@dataclasses.dataclass(frozen=True)
class BootKernel:
    """A kernel that a disc boots."""

    kernel: str
    """absolute path on the disc"""
    ramdisks: tuple[str, ...]
    """absolute paths, in the order in which they are loaded"""
    command_line: str | None
    """as the boot loader gives it; None: the kernel was found by its place"""
    title: str | None
    version: str | None
    """as ``uname -r`` says"""
    architecture: str | None
    source: str
    """the configuration that names it, or its folder"""


class _Entry(t.NamedTuple):
    title: str | None
    kernel: str
    ramdisks: list[str]
    options: list[str]


def find_kernels(files: Files) -> list[BootKernel]:
    """All kernels of a disc with their ramdisks, those that boot loaders name first. Each pair is named once."""
    found: dict[tuple[str, tuple[str, ...]], BootKernel] = {}
    known: dict[str, tuple[str | None, str | None] | None] = {}
    for source, entry in [*_configured(files), *_placed(files)]:
        if len(found) >= MAX_KERNELS:
            break
        kernel = files.resolved(entry.kernel)
        if kernel is None or re.search(r"memtest|mt86", kernel, re.IGNORECASE):
            continue
        ramdisks = tuple(path for path in map(files.resolved, entry.ramdisks) if path is not None)
        pair = (kernel, ramdisks)
        if pair in found or (not ramdisks and any(kernel == other for other, _ramdisks in found)):
            continue
        if kernel not in known:
            known[kernel] = _identified(files, kernel)
        facts = known[kernel]
        if facts is not None:
            command_line = " ".join(entry.options) if entry.title is not None or entry.options else None
            found[pair] = BootKernel(kernel, ramdisks, command_line, entry.title, facts[0], facts[1], source)
    return list(found.values())


def parse_entries(text: str, folder: str) -> t.Iterator[_Entry]:
    """The entries of a configuration of isolinux, of GRUB, or of the Boot Loader Specification, as far as they name files.

    What such configurations calculate is not followed: paths with variables are left out.

    :param folder: where the configuration lies; isolinux names files relative to it
    """
    title: str | None = None
    kernel: str | None = None
    ramdisks: list[str] = []
    options: list[str] = []
    for line in [*text.splitlines(), "label end"]:
        words = line.split()
        if not words:
            continue
        word, rest = words[0].lower(), words[1:]
        starts = word in ("label", "menuentry", "title", "submenu")
        if (starts or word in ("linux", "linuxefi", "linux16", "kernel")) and kernel is not None:
            yield _Entry(title, kernel, ramdisks, options)
            kernel = None
        if starts:
            title, ramdisks, options = _title(line), [], []
        elif word in ("linux", "linuxefi", "linux16", "kernel") and rest:
            path = _path(rest[0], folder)
            if path is not None:
                kernel, ramdisks = path, []
                options = [] if kernel is None else _without_ramdisks(rest[1:], ramdisks, folder)
        elif word in ("initrd", "initrdefi", "initrd16"):
            ramdisks += _paths(rest, folder)
        elif word in ("append", "options"):
            options = _without_ramdisks(rest, ramdisks, folder)
        elif word == "menu" and rest[:1] and rest[0].lower() == "label":
            title = " ".join(rest[1:]).replace("^", "")


def _configured(files: Files) -> t.Iterator[tuple[str, _Entry]]:
    """What boot loaders name: the configurations in their folders, each followed by those that it includes."""
    seen: set[str] = set()
    for folder in _FOLDERS:
        names = [name for name in files.names(folder) if _CONFIGURATION.fullmatch(name)]
        names.sort(key=lambda name: (name.lower() not in _MAIN, name))
        pending = [posixpath.join(folder, name) for name in names[::-1]]
        while pending:
            path = pending.pop()
            if path in seen:
                continue
            seen.add(path)
            if len(seen) > MAX_FILES:
                return
            text = files.text(path, _TEXT) or ""
            for entry in parse_entries(text, posixpath.dirname(path)):
                yield path, entry
            pending += _paths((match[1] for match in _INCLUDE.finditer(text)), posixpath.dirname(path))[::-1]


def _placed(files: Files) -> t.Iterator[tuple[str, _Entry]]:
    """What lies at the known places."""
    folders = ["/", *(posixpath.join(parent, name) for parent in _PARENTS for name in files.names(parent))]
    for folder in folders:
        patterns = [pair for place, *pair in _PLACES if re.fullmatch(place, folder)]
        names = files.names(folder) if patterns else []
        for kernel_pattern, ramdisk_pattern in patterns:
            for name in names:
                match = re.fullmatch(kernel_pattern, name)
                if match is None:
                    continue
                group = match.group(1) if match.re.groups else ""
                wanted = ramdisk_pattern.replace(r"\1", re.escape(group or ""))
                ramdisks = [posixpath.join(folder, other) for other in names if re.fullmatch(wanted, other)]
                yield folder, _Entry(None, posixpath.join(folder, name), ramdisks[:1], [])


def _identified(files: Files, path: str) -> tuple[str | None, str | None] | None:
    """Version and architecture of a kernel; None when it is none."""
    storage = files.open(path)
    try:
        kernel = identify_kernel(storage) if storage is not None else None
    except ImageError:
        return None
    return None if kernel is None else (kernel.version, kernel.architecture)


def _without_ramdisks(words: list[str], ramdisks: list[str], folder: str) -> list[str]:
    """Kernel options without ``initrd=a,b``, which is isolinux'; the paths are added to ``ramdisks``."""
    kept = []
    for word in words:
        if word.startswith("initrd="):
            ramdisks += _paths(word[7:].split(","), folder)
        else:
            kept.append(word)
    return kept


def _paths(words: t.Iterable[str], folder: str) -> list[str]:
    return [path for path in (_path(word, folder) for word in words) if path is not None]


def _path(word: str, folder: str) -> str | None:
    """An absolute path; None when it is calculated."""
    path = re.sub(r"^\([^)]*\)", "", word.strip("\"'"))
    if not path or "$" in path:
        return None
    return posixpath.normpath(posixpath.join(folder, path))


def _title(line: str) -> str:
    """What a menu shows: the quoted words, or all."""
    match = re.search(r"'([^']*)'|\"([^\"]*)\"", line)
    if match is not None:
        return match[1] if match[1] is not None else match[2]
    return line.split(None, 1)[1].strip(" {") if len(line.split(None, 1)) > 1 else ""
