# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The sections of a page about what is inside: the operating system of a disk, or what an optical disc is for."""

from __future__ import annotations

import typing as t

from .markup import Content, Markup, element, facts, join, listing, table
from .words import size

_MAX = 20
_FIRMWARE = {"bios": "BIOS", "uefi": "UEFI", "both": "BIOS and UEFI"}
_DRIVERS = {"builtin": "In the kernel", "initramfs": "In the ramdisk", "modules": "On the root file system only", "missing": "Missing"}


def risks_of(inside: t.Mapping[str, t.Any]) -> list[tuple[str, str]]:
    """Level and text of all that is said of a guest or disc."""
    guest, media = inside.get("guest") or {}, inside.get("media") or {}
    found = [(risk["level"], risk["text"]) for risk in guest.get("risks", ())]
    for volume in guest.get("filesystems", ()):
        found += [("warning", f"{volume['volume']}: {warning}") for warning in volume["warnings"]]
    return found + [("warning", warning) for warning in (*guest.get("warnings", ()), *media.get("warnings", ()))]


def guest_section(guest: dict[str, t.Any] | None) -> Markup | None:
    """What is installed, how it boots, and how it is prepared for a cloud. Nothing of a disk that was not looked into."""
    if guest is None:
        return None
    if guest["os"] is None and not guest["systems"]:
        return element("section", element("h2", "The guest"), element("p", "No operating system was found on this disk."))
    os, boot = guest["os"] or {}, guest["boot"] or {}
    default = boot.get("default") or {}
    firmware = guest["firmware"]
    first = facts(
        [
            ("Operating system", _with(os.get("name"), os.get("source"))),
            ("Several systems", listing([f"{(system['os'] or {}).get('name') or 'unknown'} on {system['root']}" for system in guest["systems"]], _MAX))
            if len(guest["systems"]) > 1
            else ("", None),
            ("Architecture", _sourced(guest["architecture"])),
            ("Host name", _sourced(guest["hostname"])),
            ("Root file system", (guest["root"] or {}).get("volume")),
            ("Boots with", _FIRMWARE.get(firmware["value"] or "", "neither BIOS nor UEFI")),
            ("Known from", listing(firmware["source"], _MAX)),
            ("Boot loader", _with(boot.get("loader"), boot.get("source"))),
            ("Default entry", _with(default.get("title"), boot.get("reason"))),
            ("Kernel", default.get("kernel")),
            ("Ramdisk", ", ".join(default.get("initrds") or ())),
            ("Command line", element("code", default["options"]) if default.get("options") else None),
        ]
    )
    parts: list[Content] = [element("h2", "The guest"), element("div", first, class_="rows")]
    if guest["kernels"]:
        rows = [
            (
                join(kernel["version"] or kernel["path"], " (default)" if kernel["default"] else ""),
                kernel["type"],
                kernel["architecture"] or "—",
                size(kernel["length"]),
            )
            for kernel in guest["kernels"][:_MAX]
        ]
        parts += [element("h3", "Kernels"), table("Linux kernels that are installed", ("Version", "Kind", "For", "Size"), rows, numbers=(3,))]
    drivers = guest["drivers"]
    if drivers:
        lines = [(words, ", ".join(name for name, where in drivers.items() if where == place)) for place, words in _DRIVERS.items()]
        lines.append(("Not known", ", ".join(name for name, where in drivers.items() if where == "unknown")))
        parts += [element("h3", "Drivers of the default kernel"), element("div", facts(lines), class_="rows")]
    preparation = guest["preparation"]
    if preparation:
        lines = [(_PREPARATION[name], _plain(fact["value"])) for name, fact in preparation.items() if fact is not None and name in _PREPARATION]
        parts += [element("h3", "Ready for a cloud?"), element("div", facts(lines), class_="tiles")]
    return element("section", *parts)


_PREPARATION = {
    "cloud_init": "cloud-init",
    "datasources": "Data sources",
    "admin_user": "First user",
    "guest_agent": "QEMU guest agent",
    "grow_root": "Grows its root",
    "machine_id": "Machine ID",
    "ssh_host_keys": "SSH host keys",
    "network_rules": "Rules for old network cards",
}


def _plain(value: t.Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value[:_MAX])) or "none"
    return str(value)


def _with(value: str | None, source: str | None) -> Content:
    """A value with where it is from."""
    if value is None:
        return None
    return join(value, element("span", f" ({source})", class_="small") if source else None)


def _sourced(fact: dict[str, t.Any] | None) -> Content:
    return _with(fact["value"], fact["source"]) if fact is not None else None


def media_section(media: dict[str, t.Any] | None) -> Markup | None:
    """What an optical disc is for."""
    if media is None:
        return None
    rows = facts(
        [
            ("Kind", media["kind"]),
            ("Name", _with(media["name"], media["source"])),
            ("Distribution", " ".join(filter(None, (media["distro"], media["version"])))),
            ("Architecture", media["architecture"]),
            ("UEFI starts", listing([f"{loader['path']} ({loader['architecture']})" for loader in media["efi_loaders"]], _MAX)),
        ]
    )
    parts: list[Content] = [element("h2", "The disc"), element("div", rows, class_="rows")]
    if media["kernels"]:
        lines = [
            (kernel["kernel"], kernel["version"] or "—", kernel["title"] or "—", element("code", kernel["command_line"] or "—"))
            for kernel in media["kernels"][:_MAX]
        ]
        parts.append(table("Kernels that the disc boots", ("Path", "Version", "Entry of the menu", "Command line"), lines))
    return element("section", *parts)
