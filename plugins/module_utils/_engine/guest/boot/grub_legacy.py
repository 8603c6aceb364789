# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""GRUB Legacy (0.97), and pv-grub, which reads the same file.

Source: GNU GRUB Legacy manual, "Configuration", "default", "kernel", "initrd".
"""

from __future__ import annotations

import re

from ...errors import printable
from ...limits import KIB, MIB
from .entry import GRUB_LEGACY, BootConfiguration, BootEntry
from .places import Places

NAMES = ("/boot/grub/menu.lst", "/boot/grub/grub.conf", "/boot/grub1/menu.lst", "/grub/menu.lst")
SAVED = "/boot/grub/default"
MAX_CONFIGURATION = 1 * MIB
MAX_SAVED = 4 * KIB
MAX_ENTRIES = 1000

_LINE = re.compile(r"\s*([a-z]+)(?:[ \t=]+(.*))?$", re.IGNORECASE)


def read_grub_legacy(places: Places) -> BootConfiguration | None:
    """The menu; None when there is no configuration.

    Devices like ``(hd0,0)`` are not looked at: the files are looked for on all file systems, ``/boot`` first.

    :raises ImageError: it cannot be read
    """
    path = next(filter(places.tree.exists, NAMES), None)
    data = None if path is None else places.tree.read(path, MAX_CONFIGURATION)
    if path is None or data is None:
        return None
    made = BootConfiguration(GRUB_LEGACY, path)
    wanted = "0"
    lines: list[dict[str, list[str]]] = []
    numbers: list[int] = []
    for number, text in enumerate(data.decode("utf-8", "surrogateescape").splitlines(), 1):
        match = _LINE.match(text)
        if match is None:
            continue
        keyword, value = match.group(1).lower(), (match.group(2) or "").strip()
        if keyword == "title" and len(lines) < MAX_ENTRIES:
            lines.append({"title": [value]})
            numbers.append(number)
        elif lines:
            lines[-1].setdefault(keyword, []).append(value)
        elif keyword == "default":
            wanted = value
    made.entries = [_entry(places, path, place, str(index), line) for index, (place, line) in enumerate(zip(numbers, lines))]
    if not made.entries:
        made.warnings.append(f"{printable(path)} has no menu entry")
        return made
    said = f"default in {printable(path)} is {printable(wanted)!r}"
    if wanted == "saved":
        saved = (places.tree.read(SAVED, MAX_SAVED) or b"0").split(b"\n")[0].strip().decode("ascii", "replace")
        wanted, said = saved, f"{said}, and {SAVED} has {printable(saved)!r}"
    index = int(wanted[:6]) if wanted.isascii() and wanted.isdigit() else 0
    if index >= len(made.entries):
        index, said = 0, f"the first entry, as {said}, which is not in the menu"
    made.default, made.reason = made.entries[index], said
    return made


def _entry(places: Places, source: str, line: int, number: str, fields: dict[str, list[str]]) -> BootEntry:
    uuids = fields.get("uuid") or [""]
    device = places.with_uuid(uuids[-1].strip())
    words = [word for word in (fields.get("kernel") or [""])[-1].split() if not word.startswith("--")]
    initrds = [name for value in fields.get("initrd", []) + fields.get("modulenounzip", []) for name in value.split()]
    modules = [value.split() for value in fields.get("module", [])]
    if modules and modules[0] and words:  # Xen: the hypervisor is the kernel, and Linux its first module
        words, initrds = modules[0], [module[0] for module in modules[1:] if module]
    return BootEntry(
        title=fields["title"][0],
        kernel=_file(places, device, words[0]) if words else None,
        initrds=tuple(_file(places, device, name) for name in initrds),
        options=" ".join(words[1:]),
        source=source,
        line=line,
        number=number,
    )


def _file(places: Places, device: str | None, name: str) -> str:
    return places.path(device, name.partition(")")[2] if name.startswith("(") else name)
