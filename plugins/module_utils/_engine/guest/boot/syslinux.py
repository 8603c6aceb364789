# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""SYSLINUX and its brothers EXTLINUX and ISOLINUX.

Source: syslinux.txt and menu.txt of SYSLINUX ("Working Directory", "CONFIGURATION FILE").
"""

from __future__ import annotations

import dataclasses

from ...errors import ImageError, printable
from ...limits import MIB
from .entry import EXTLINUX, ISOLINUX, SYSLINUX, BootConfiguration, BootEntry
from .places import Places

NAMES = (("extlinux.conf", EXTLINUX), ("syslinux.cfg", SYSLINUX), ("isolinux.cfg", ISOLINUX))
FOLDERS = ("/boot/extlinux", "/boot/syslinux", "/extlinux", "/boot", "/syslinux", "/", "/boot/isolinux", "/isolinux", "/efi", "/boot/efi", "/boot/efi/syslinux")
MAX_CONFIGURATION = 1 * MIB
MAX_FILES = 50
"""included by each other"""
MAX_LABELS = 1000

_NO_KERNEL = (".c32", ".com", ".cbt", ".0", ".bin", ".bs", ".bss", ".img")
"""file names of what is another program, or the boot sector of another system"""


@dataclasses.dataclass
class Label:
    name: str
    source: str
    line: int
    title: str = ""
    kernel: str = ""
    append: str | None = None
    initrds: list[str] = dataclasses.field(default_factory=list)


class _Reader:
    """Reads a configuration and what it includes."""

    def __init__(self, places: Places, made: BootConfiguration) -> None:
        self.places = places
        self.made = made
        self.labels: list[Label] = []
        self.default = ""
        self.menu_default: Label | None = None
        self.timeout = ""
        self.append = ""
        self._files = 0

    def read(self, path: str) -> None:
        self._files += 1
        if self._files > MAX_FILES:
            self._warn(f"{printable(path)} and others were left out: more than {MAX_FILES} files")
            return
        try:
            data = self.places.tree.read(path, MAX_CONFIGURATION)
        except ImageError as error:
            self._warn(f"{printable(path)} could not be read: {error.message}")
            return
        if data is None:
            self._warn(f"{printable(path)} is not in the guest")
            return
        in_text = False
        for number, line in enumerate(data.decode("utf-8", "surrogateescape").splitlines(), 1):
            words = line.strip().split(None, 1)
            keyword, value = (words[0].upper(), words[1].strip() if len(words) > 1 else "") if words else ("", "")
            if in_text:
                in_text = keyword != "ENDTEXT"
            elif keyword == "TEXT":
                in_text = True
            elif keyword == "MENU":
                self._menu(value)
            elif keyword == "INCLUDE":
                self._include(value)
            elif keyword and len(self.labels) <= MAX_LABELS:
                self._line(keyword, value, path, number)

    def _line(self, keyword: str, value: str, path: str, number: int) -> None:
        label = self.labels[-1] if self.labels else None
        if keyword == "LABEL":
            self.labels.append(Label(value, path, number))
        elif keyword == "DEFAULT":
            self.default = value
        elif keyword == "ONTIMEOUT":
            self.timeout = value
        elif label is None:
            self.append = value if keyword == "APPEND" else self.append
        elif keyword in ("KERNEL", "LINUX"):
            label.kernel = value if keyword == "LINUX" or not value.lower().endswith(_NO_KERNEL) else ""
        elif keyword == "APPEND":
            label.append = value if value != "-" else ""
        elif keyword == "INITRD":
            label.initrds = [name for name in value.replace(",", " ").split() if name]

    def _menu(self, value: str) -> None:
        words = value.split(None, 1)
        keyword, rest = (words[0].upper(), words[1] if len(words) > 1 else "") if words else ("", "")
        if keyword == "INCLUDE":
            self._include(rest)
        elif keyword == "LABEL" and self.labels:
            self.labels[-1].title = rest.replace("^", "")
        elif keyword == "DEFAULT" and self.labels:
            self.menu_default = self.labels[-1]

    def _include(self, value: str) -> None:
        names = value.split()
        if names:
            self.read(self.path(names[0]))

    def path(self, name: str) -> str:
        """A file's path in the guest: from the root of the file system that the first file lies on, or from the folder of that file."""
        first = self.made.source or "/"
        folder = first.rpartition("/")[0] or "/"
        name = name.rpartition("::")[2]
        if name.startswith("/"):
            return self.places.path(self.places.device_of(first), name)
        return self.places.path("/", f"{folder}/{name}") if not self.places.mounts.get(folder) else self.places.path(folder, name)

    def entries(self) -> list[BootEntry]:
        return [self.entry(label, number) for number, label in enumerate(self.labels)]

    def entry(self, label: Label, number: int) -> BootEntry:
        words = (self.append if label.append is None else label.append).split()
        inside = [name for word in words if word.lower().startswith("initrd=") for name in word[len("initrd=") :].split(",") if name]
        return BootEntry(
            title=label.title or label.name,
            kernel=self.path(label.kernel.split()[0]) if label.kernel else None,
            initrds=tuple(map(self.path, label.initrds or inside)),
            options=" ".join([*label.kernel.split()[1:], *(word for word in words if not word.lower().startswith("initrd="))]),
            source=label.source,
            line=label.line,
            id=label.name,
            number=str(number),
        )

    def _warn(self, text: str) -> None:
        if text not in self.made.warnings and len(self.made.warnings) < 20:
            self.made.warnings.append(text)


def read_syslinux(places: Places) -> BootConfiguration | None:
    """The menu of the first configuration that has one; None when there is no configuration. ``initrd=`` is not left among the options.

    :raises ImageError: a folder is damaged
    """
    first = None
    for folder in FOLDERS:
        for name, loader in NAMES:
            path = f"{folder.rstrip('/')}/{name}"
            if not places.tree.exists(path):
                continue
            found = _read(places, path, loader)
            if found.default is not None:
                return found
            first = first or found
    return first


def _read(places: Places, path: str, loader: str) -> BootConfiguration:
    made = BootConfiguration(loader, path)
    reader = _Reader(places, made)
    reader.read(path)
    made.entries = reader.entries()
    named = {label.name.lower(): entry for label, entry in zip(reader.labels[::-1], made.entries[::-1])}
    marked = reader.menu_default.name if reader.menu_default else ""
    for keyword, wanted in (("ontimeout", reader.timeout), ("menu default", marked), ("default", reader.default)):
        entry = named.get(wanted.partition(" ")[0].lower())
        if entry is not None:
            made.default, made.reason = entry, f"{keyword} in {printable(path)} is {printable(wanted)!r}"
            return made
    words = reader.default.split()
    if made.entries:
        made.default, made.reason = made.entries[0], f"the first entry, as no default in {printable(path)} is in the menu"
    elif words and not words[0].lower().endswith(_NO_KERNEL):
        label = Label("", path, 1, words[0], words[0], " ".join([reader.append, *words[1:]]).strip())
        made.default, made.reason = reader.entry(label, 0), f"default in {printable(path)} names a kernel"
        made.entries = [made.default]
    else:
        made.warnings.append(f"{printable(path)} has no menu entry")
    return made
