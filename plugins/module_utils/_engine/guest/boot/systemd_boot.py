# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""systemd-boot and its relatives: Boot Loader Specification entries and unified kernel images in the EFI system partition.

Source: UAPI.1 Boot Loader Specification; loader.conf(5); systemd-boot(7).
"""

from __future__ import annotations

import fnmatch
import re

from ...errors import ImageError, printable
from ...filesystems.base import FILE
from ...limits import KIB
from .bls import Order, boot_entry, parse, read_snippets, sort_by_specification, tries, unified
from .entry import BLS, SYSTEMD_BOOT, UKI, BootConfiguration, BootEntry
from .pe import read_pe
from .places import Places

ROOTS = ("/efi", "/boot/efi", "/boot", "/")
"""where the EFI system partition and the extended boot loader partition are mounted"""
MAX_LOADER_CONF = 64 * KIB
MAX_UKIS = 200
"""programs in one folder"""

_REMOVABLE = re.compile(r"boot[a-z0-9]{2,12}\.efi", re.IGNORECASE)


def read_systemd_boot(places: Places) -> BootConfiguration | None:
    """The menu of the entries and unified kernel images; None when there are none.

    :raises ImageError: a folder is damaged
    """
    made = BootConfiguration(BLS, None)
    found: list[tuple[Order, BootEntry]] = []
    seen = set()
    for root in ROOTS:
        for folder in (f"{root.rstrip('/')}/loader/entries", f"{root.rstrip('/')}/EFI/Linux"):
            place = places.find(folder)
            if place is None or place.path in seen:
                continue
            seen.add(place.path)
            found += _snippets(places, place.path, made) if folder.endswith("entries") else _ukis(places, place.path, made)
    if not found:
        return None
    made.entries = sort_by_specification(found)
    exhausted = {entry.source for order, entry in found if order.exhausted}
    settings, made.source = _settings(places)
    if made.source or any(places.tree.exists(f"{root}/EFI/systemd") for root in ROOTS):
        made.loader = SYSTEMD_BOOT
    elif all(entry.uki for entry in made.entries):
        made.loader = UKI
    made.source = made.source or made.entries[0].source
    fresh = [entry for entry in made.entries if entry.source not in exhausted] or made.entries
    made.default, made.reason = fresh[0], "the first entry in the order of the Boot Loader Specification"
    for key in ("preferred", "default"):
        pattern = settings.get(key, "")
        if pattern.startswith("@"):
            made.warnings.append(f"{printable(made.source)}: {key} is {printable(pattern)}, which the firmware keeps and not the disk")
        elif pattern:
            match = next((entry for entry in made.entries if _matches(pattern, entry.id or "")), None)
            if match is not None:
                made.default, made.reason = match, f"{key} in {printable(made.source)} is {printable(pattern)!r}"
                break
            made.reason = f"the first entry, as {key} in {printable(made.source)} is {printable(pattern)!r}, which is not in the menu"
    return made


def removable_loader(places: Places) -> tuple[str, str] | None:
    """What the firmware starts from a disk that it does not know: the path of ``EFI/BOOT/BOOTX64.EFI`` or its like, and what it is:
    ``uki``, ``systemd-boot`` or an empty text for anything else."""
    for root in ROOTS:
        folder = f"{root.rstrip('/')}/EFI/BOOT"
        for name in filter(_REMOVABLE.fullmatch, places.names(folder)):
            place = places.find(f"{folder}/{name}")
            try:
                program = read_pe(places.tree.open(place)) if place is not None and place.node.kind == FILE else None
            except ImageError:
                program = None
            if program is not None:
                sections = {section.name for section in program.sections}
                return f"{folder}/{name}", UKI if ".linux" in sections else SYSTEMD_BOOT if ".sdmagic" in sections else ""
    return None


def read_removable_uki(places: Places) -> BootConfiguration | None:
    """The unified kernel image that stands where the firmware looks first; None when there is none.

    :raises ImageError: it is damaged
    """
    found = removable_loader(places)
    if found is None or found[1] != UKI:
        return None
    uki = unified(places.tree, found[0])
    if uki is None:
        return None
    entry = BootEntry(uki.release.get("PRETTY_NAME") or "Linux", found[0], (), uki.cmdline, found[0], uki=uki)
    return BootConfiguration(UKI, found[0], [entry], entry, "the firmware starts it by itself")


def _settings(places: Places) -> tuple[dict[str, str], str | None]:
    """loader.conf, and where it is."""
    for root in ROOTS:
        path = f"{root.rstrip('/')}/loader/loader.conf"
        data = places.tree.read(path, MAX_LOADER_CONF)
        if data is not None:
            return dict(parse(data)), path
    return {}, None


def _snippets(places: Places, folder: str, made: BootConfiguration) -> list[tuple[Order, BootEntry]]:
    found = []
    for snippet in read_snippets(places.tree, folder, made.warnings.append):
        name, left = tries(snippet.name)
        try:
            entry = boot_entry(places, snippet)
        except ImageError as error:
            made.warnings.append(f"{printable(snippet.path)}: {error.message}")
            continue
        order = Order(f"{name}.conf", snippet.first("sort-key"), snippet.first("machine-id"), snippet.first("version"), left == 0)
        found.append((order, entry))
    return found


def _ukis(places: Places, folder: str, made: BootConfiguration) -> list[tuple[Order, BootEntry]]:
    found = []
    for file in [name for name in places.names(folder) if name.lower().endswith(".efi")][:MAX_UKIS]:
        path = f"{folder}/{file}"
        try:
            uki = unified(places.tree, path)
        except ImageError as error:
            made.warnings.append(f"{printable(path)} could not be read: {error.message}")
            continue
        if uki is None:
            continue
        name, left = tries(file[: -len(".efi")])
        release = uki.release
        version = next(filter(None, map(release.get, ("IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID"))), "")
        title = next(filter(None, map(release.get, ("PRETTY_NAME", "IMAGE_ID", "NAME", "ID"))), name)
        order = Order(f"{name}.efi", release.get("IMAGE_ID") or release.get("ID") or "", "", version, left == 0)
        found.append((order, BootEntry(title, path, (), uki.cmdline, path, id=name, uki=uki)))
        if places.tree.exists(f"{path}.extra.d"):
            made.warnings.append(f"{printable(path)}.extra.d may add to the command line, which is not looked at")
    return found


def _matches(pattern: str, name: str) -> bool:
    """Whether the pattern of loader.conf means an entry; with or without what its file's name ends in."""
    name = tries(name)[0].lower()
    return any(fnmatch.fnmatchcase(name + end, pattern.lower()) for end in ("", ".conf", ".efi"))
