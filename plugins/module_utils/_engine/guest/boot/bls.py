# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Entries of the Boot Loader Specification: one small file each in ``loader/entries``.

Source: UAPI.1 Boot Loader Specification, "Type #1 Boot Loader Specification Entries"; their order in GRUB is that of ``blscfg`` of Fedora.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import typing as t

from ...errors import ImageError, printable
from ...filesystems.base import FILE
from ...filesystems.tree import Tree
from ...limits import KIB
from .entry import BootEntry
from .places import Places
from .uki import Uki, read_uki
from .versions import compare_rpm, compare_uapi

MAX_SNIPPET = 64 * KIB
MAX_SNIPPETS = 1000
"""files in one folder; a boot menu has a few"""

_COUNTED = re.compile(r"(.+)\+(\d{1,9})(-\d{1,9})?$", re.ASCII)
"""boot counting: tries left, and tries done"""


@dataclasses.dataclass(frozen=True)
class Snippet:
    """An entry as its file has it."""

    path: str
    name: str
    """of the file, without ``.conf``"""
    fields: tuple[tuple[str, str], ...]

    def first(self, key: str) -> str:
        """The value of a key; an empty text when it is not there."""
        return next((value for name, value in self.fields if name == key), "")

    def all(self, key: str) -> list[str]:
        return [value for name, value in self.fields if name == key]


def read_snippets(tree: Tree, folder: str, warn: t.Callable[[str], None]) -> list[Snippet]:
    """The entries of a folder, in the order of their names. One that cannot be read is left out with a warning.

    :raises ImageError: the folder is damaged
    """
    names = [name for name in tree.names(folder) if name.endswith(".conf")]
    if len(names) > MAX_SNIPPETS:
        warn(f"{printable(folder)} has {len(names)} boot entries; {MAX_SNIPPETS} were looked at")
    found = []
    for name in names[:MAX_SNIPPETS]:
        path = f"{folder.rstrip('/')}/{name}"
        try:
            data = tree.read(path, MAX_SNIPPET)
        except ImageError as error:
            warn(f"{printable(path)} could not be read: {error.message}")
            continue
        if data is not None:
            found.append(Snippet(path, name[: -len(".conf")], tuple(parse(data))))
    return found


def parse(data: bytes) -> t.Iterator[tuple[str, str]]:
    """(key, value) of each line of an entry, or of ``loader.conf``."""
    for line in data.decode("utf-8", "surrogateescape").splitlines():
        words = line.strip().split(None, 1)
        if words and not words[0].startswith("#"):
            yield words[0], words[1].strip() if len(words) > 1 else ""


def tries(name: str) -> tuple[str, int | None]:
    """The name of an entry without its boot counter, and the tries that are left; None when they are not counted."""
    counted = _COUNTED.match(name)
    return (counted.group(1), int(counted.group(2))) if counted else (name, None)


def sort_as_grub(snippets: t.Iterable[Snippet]) -> list[Snippet]:
    """The newest first, by the names of the files: ``machine-id`` - ``version`` - ``release``."""
    return sorted(snippets, key=functools.cmp_to_key(_compare_names), reverse=True)


def _compare_names(one: Snippet, other: Snippet) -> int:
    for mine, theirs in zip(_package(one.name), _package(other.name)):
        difference = compare_rpm(mine, theirs)
        if difference:
            return difference
    return 0


def _package(name: str) -> tuple[str, str, str]:
    """(name, version, release) of a package's full name."""
    rest, _dash, release = name.rpartition("-")
    first, _dash, version = rest.rpartition("-")
    return first, version, release


class Order(t.NamedTuple):
    """What the place of an entry in the menu depends on."""

    name: str
    sort_key: str
    machine_id: str
    version: str
    exhausted: bool
    """it has no tries left"""


def sort_by_specification(entries: list[tuple[Order, BootEntry]]) -> list[BootEntry]:
    """In the order that the specification gives the menu ("Sorting"), and systemd-boot with it."""
    return [entry for _order, entry in sorted(entries, key=functools.cmp_to_key(_compare_orders))]


def _compare_orders(first: tuple[Order, BootEntry], second: tuple[Order, BootEntry]) -> int:
    one, other = first[0], second[0]
    if one.exhausted != other.exhausted:
        return 1 if one.exhausted else -1
    if bool(one.sort_key) != bool(other.sort_key):
        return -1 if one.sort_key else 1
    if one.sort_key:
        mine, theirs = (one.sort_key, one.machine_id), (other.sort_key, other.machine_id)
        difference = (mine > theirs) - (mine < theirs) or compare_uapi(other.version, one.version)
        if difference:
            return difference
    return compare_uapi(other.name, one.name)


def boot_entry(places: Places, snippet: Snippet, substitute: t.Callable[[str], str] = str.strip) -> BootEntry:
    """What an entry boots. Its paths begin at the root directory of the file system that it lies on, or at the folder above ``loader``.

    :param substitute: replaces variables in a value
    """
    base = snippet.path.rpartition("/loader/entries/")[0] or "/"
    device = places.device_of(snippet.path)
    kernel = next(filter(None, map(snippet.first, ("linux", "uki", "efi"))), "")
    path = places.path(device, substitute(kernel), base) if kernel else None
    uki = unified(places.tree, path) if path and not snippet.first("linux") else None
    return BootEntry(
        title=snippet.first("title") or snippet.name,
        kernel=path if uki or snippet.first("linux") else None,
        initrds=tuple(places.path(device, name, base) for value in snippet.all("initrd") for name in substitute(value).split()),
        options=" ".join(filter(None, map(substitute, snippet.all("options")))) or (uki.cmdline if uki else ""),
        source=snippet.path,
        id=snippet.name,
        uki=uki,
    )


def unified(tree: Tree, path: str) -> Uki | None:
    """What is in the unified kernel image at a path; None when there is none.

    :raises ImageError: it is damaged
    """
    place = tree.find(path)
    return None if place is None or place.node.kind != FILE else read_uki(tree.open(place))
