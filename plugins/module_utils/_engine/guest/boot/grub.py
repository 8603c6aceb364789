# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""GRUB 2: where its configuration lies, and what it boots when nobody chooses.

Source: GNU GRUB manual, "Simple configuration handling" (``default``, ``saved_entry``), and the files of its makers' grub-mkconfig and grub-install.
"""

from __future__ import annotations

import dataclasses
import re

from ...errors import ImageError, LimitExceeded, printable
from .bls import boot_entry, unified
from .entry import GRUB2, BootConfiguration, BootEntry
from .grub_commands import COMMANDS
from .grub_shell import Loaded, MenuItem, MenuShown, Shell
from .places import Places

FOLDERS = ("/boot/grub2", "/boot/grub")
ESP_FOLDERS = ("/boot/efi/EFI", "/efi/EFI", "/boot/EFI", "/EFI")
MAX_SUBMENUS = 10
"""menus in each other"""
MAX_VENDORS = 50
"""folders in the EFI system partition"""

_PATH_OF_ENTRIES = re.compile(r"((?:[^>]|>>)*)(?:>(.*))?", re.DOTALL)

_NUMBER = re.compile(r"0[xX][0-9a-fA-F]{1,8}|[0-9]{1,9}")


@dataclasses.dataclass
class Line:
    """A line of the menu, executed."""

    item: MenuItem
    entry: BootEntry
    below: list[Line]
    """of a submenu"""


def read_grub(places: Places) -> BootConfiguration | None:
    """The menu of the first configuration that has one; None when there is no configuration."""
    first = None
    for path in _configurations(places):
        found = _read(places, path)
        if found.default is not None:
            return found
        first = first or found
    return first


def boots_by_bios(places: Places) -> bool:
    """Whether GRUB is installed for the BIOS."""
    return any(places.tree.exists(f"{folder}/i386-pc") for folder in FOLDERS)


def _configurations(places: Places) -> list[str]:
    folders = [*FOLDERS]
    for folder in ESP_FOLDERS:
        folders += [f"{folder}/{name}" for name in places.names(folder)[:MAX_VENDORS]]
    return [f"{folder}/grub.cfg" for folder in folders if places.tree.exists(f"{folder}/grub.cfg")]


def _read(places: Places, path: str) -> BootConfiguration:
    folder = path.rpartition("/")[0]
    prefix = places.grub_name(folder)
    bios = boots_by_bios(places)
    variables = {
        "root": places.device_of(path),
        "prefix": prefix,
        "cmdpath": prefix,
        "config_directory": prefix,
        "config_file": places.grub_name(path),
        "grub_platform": "pc" if bios else "efi",
        "grub_cpu": "i386" if bios else "x86_64",
    }
    shell = Shell(places, variables, COMMANDS)
    made = BootConfiguration(GRUB2, path, warnings=shell.warnings)
    try:
        try:
            shell.run_file(path)
        except MenuShown:
            made.source = shell.configuration
        if not shell.menu and shell.loaded.kernel:  # a script that boots without a menu
            shell.menu.append(MenuItem("", None, path, None, [], []))
            lines = [Line(shell.menu[0], _entry(shell, shell.menu[0], "0", shell.loaded), [])]
        else:
            lines = _execute(shell, "", 0)
    except LimitExceeded as error:
        shell.warn(error.message)
        return made
    made.entries = list(_flat(lines))
    if lines:
        made.default, made.reason = _default(lines, shell)
    else:
        shell.warn(f"{printable(path)} has no menu entry")
    return made


def _execute(shell: Shell, number: str, depth: int) -> list[Line]:
    """The lines of the menu that a shell has made, each executed in a shell of its own."""
    if depth > MAX_SUBMENUS:
        raise LimitExceeded(f"more than {MAX_SUBMENUS} menus in each other")
    lines = []
    for index, item in enumerate(shell.menu):
        place = f"{number}{index}"
        chosen = shell.child()
        try:
            chosen.run_item(item)
        except MenuShown:
            chosen.loaded = Loaded()
        below = _execute(chosen, f"{place}>", depth + 1) if item.submenu else []
        lines.append(Line(item, _entry(chosen, item, place, chosen.loaded), below))
    return lines


def _entry(shell: Shell, item: MenuItem, number: str, loaded: Loaded) -> BootEntry:
    uki = None
    try:
        if item.snippet is not None:
            return dataclasses.replace(boot_entry(shell.places, item.snippet, shell.substitute), number=number)
        uki = unified(shell.places.tree, loaded.chained) if loaded.chained else None
    except LimitExceeded:
        raise
    except ImageError as error:
        shell.warn(f"{printable(item.title)}: {error.message}")
    return BootEntry(
        title=item.title,
        kernel=loaded.chained if uki else loaded.kernel,
        initrds=tuple(loaded.initrds),
        options=uki.cmdline if uki else loaded.options,
        source=loaded.source or item.source,
        line=loaded.line or item.line,
        id=item.id,
        number=number,
        uki=uki,
    )


def _flat(lines: list[Line]) -> list[BootEntry]:
    found = []
    for line in lines:
        found += _flat(line.below) if line.below else [line.entry]
    return found


def _default(lines: list[Line], shell: Shell) -> tuple[BootEntry | None, str]:
    """The entry that the variable ``default`` names, and why."""
    wanted = shell.variables.get("default", "")
    saved = next((f"{name} in {printable(path)}" for name, (value, path) in shell.saved.items() if value == wanted and name.endswith("_entry")), None)
    said = saved or f"default in {printable(lines[0].item.source)}"
    if not wanted:
        return _choose(lines, "")[0], "the first entry, as no default is set"
    entry, exact = _choose(lines, wanted)
    if exact:
        return entry, f"{said} is {printable(wanted)!r}"
    return entry, f"the first entry, as {said} is {printable(wanted)!r}, which is not in the menu"


def _choose(lines: list[Line], wanted: str) -> tuple[BootEntry | None, bool]:
    """An entry by its number, title or identifier, or several of them with ``>`` in between; whether there was one of that name."""
    exact = True
    for _depth in range(MAX_SUBMENUS + 2):
        match = _PATH_OF_ENTRIES.match(wanted)
        name, rest = (match.group(1).replace(">>", ">"), match.group(2) or "") if match else ("", "")
        index = _index(lines, name)
        exact = exact and (index is not None or not name)
        line = lines[index or 0]
        if not line.below:
            return line.entry, exact
        lines, wanted = line.below, rest if index is not None else ""
    return None, False


def _index(lines: list[Line], name: str) -> int | None:
    """Place of a line in its menu. A number before other text counts when there is no such title, as GRUB 2.06 reads it."""
    named = next((index for index, line in enumerate(lines) if name and name in (line.item.title, line.item.id)), None)
    match = _NUMBER.match(name)
    if match is None or (named is not None and match.end() < len(name)):
        return named
    number = int(match.group(), 16 if match.group().lower().startswith("0x") else 10)
    return number if number < len(lines) else None
