# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""GRUB's commands, as far as they decide what boots.

Source: GNU GRUB manual, "The list of commands"; ``blscfg`` is Fedora's.
"""

from __future__ import annotations

import functools
import re

from ...errors import ImageError, printable
from ...filesystems.base import DIRECTORY
from .bls import read_snippets, sort_as_grub
from .grub_shell import LOOKUP, Loaded, MenuItem, MenuShown, Return, Run, Shell
from .grub_test import evaluate
from .grubenv import MAX_SIZE, parse_grubenv


def _linux(shell: Shell, arguments: list[str]) -> int:
    if not arguments:
        return 1
    options = " ".join(map(_quoted, arguments[1:]))
    shell.loaded = Loaded(shell.file(arguments[0]), options, [], None, shell.source, shell.line)
    return 0


def _quoted(word: str) -> str:
    """A word of the kernel's command line as GRUB hands it over."""
    word = re.sub(r"([\\'\"])", r"\\\1", word)
    return f'"{word}"' if " " in word else word


def _chainloader(shell: Shell, arguments: list[str]) -> int:
    names = [word for word in arguments if not word.startswith("-")]
    shell.loaded = Loaded(chained=shell.file(names[0]) if names else None, source=shell.source, line=shell.line)
    return 0


def _set(shell: Shell, arguments: list[str]) -> int:
    for word in arguments:
        name, equals, value = word.partition("=")
        if equals:
            shell.variables[name] = value
    return 0


def _unset(shell: Shell, arguments: list[str]) -> int:
    for name in arguments:
        shell.variables.pop(name, None)
    return 0


def _test(shell: Shell, arguments: list[str]) -> int:
    return int(not evaluate(arguments, functools.partial(_has, shell)))


def _bracket(shell: Shell, arguments: list[str]) -> int:
    return _test(shell, arguments[:-1] if arguments[-1:] == ["]"] else arguments)


def _has(shell: Shell, kind: str, name: str) -> bool:
    found = shell.locate(name)
    place = None if found is None else shell.places.tree.find(found)
    if place is None or kind == "-e":
        return place is not None
    return (place.node.kind == DIRECTORY) == (kind == "-d") and (kind != "-s" or place.node.size > 0)


def _search(shell: Shell, arguments: list[str]) -> int:
    by, variable, names = "", None, []
    rest = iter(arguments)
    for word in rest:
        option, equals, value = word.partition("=")
        if option in ("--set", "-s"):
            variable = value if equals else "root"
        elif option in ("--file", "-f", "--label", "-l", "--fs-uuid", "-u"):
            by = option.lstrip("-")[0] if option != "--fs-uuid" else "u"
        elif option.startswith("--hint") and not equals:
            next(rest, "")
        elif not word.startswith("-"):
            names.append(word)
    if not names:
        return 1
    name = names[0]
    shell.spend(LOOKUP)
    find = {"f": shell.places.with_file, "l": shell.places.with_label, "u": shell.places.with_uuid}.get(by)
    device = find(name) if find else None
    if device is None:
        kind = {"f": "file", "l": "label", "u": "UUID"}.get(by, "name")
        shell.warn(f"{printable(shell.source)}: GRUB searches a file system by the {kind} {printable(name)}, which is not in the guest")
        return 1
    if variable:
        shell.variables[variable] = device
    return 0


def _load_env(shell: Shell, arguments: list[str]) -> int:
    name, wanted = None, []
    rest = iter(arguments)
    for word in rest:
        option, equals, value = word.partition("=")
        if option in ("-f", "--file"):
            name = value if equals else next(rest, "")
        elif not word.startswith("-"):
            wanted.append(word)
    path = shell.file(name if name is not None else shell.variables.get("prefix", "") + "/grubenv")
    try:
        data = shell.places.tree.read(path, MAX_SIZE)
    except ImageError as error:
        shell.warn(f"{printable(path)} could not be read: {error.message}")
        data = None
    if data is None:
        return 1
    for variable, value in parse_grubenv(data).items():
        if not wanted or variable in wanted:
            shell.variables[variable] = value
            shell.saved[variable] = value, path
    return 0


def _source_file(shell: Shell, arguments: list[str]) -> int:
    if not arguments:
        return 1
    path = shell.file(arguments[0])
    if not shell.places.tree.exists(path):
        return 1
    shell.run_file(path)
    return shell.status


def _configfile(shell: Shell, arguments: list[str]) -> int:
    path = shell.file(arguments[0] if arguments else shell.variables.get("prefix", "") + "/grub.cfg")
    if not shell.places.tree.exists(path):
        shell.warn(f"{printable(shell.source)} leads to {printable(path)}, which is not in the guest")
        return 1
    before, shell.menu = shell.menu, []
    shell.variables["config_file"] = path
    shell.variables["config_directory"] = shell.places.grub_name(path.rpartition("/")[0])
    shell.run_file(path)
    if shell.menu:
        shell.configuration = shell.configuration or path
        raise MenuShown
    shell.menu = before
    return 0


def _blscfg(shell: Shell, arguments: list[str]) -> int:
    wanted = shell.variables.get("blsdir")
    names = [wanted] if wanted else ["/loader/entries", "/boot/loader/entries"]
    for variable in ("boot", "root"):
        for name in names:
            folder = shell.locate(f"({shell.variables[variable]}){name}") if variable in shell.variables else None
            if folder is None:
                continue
            try:
                snippets = sort_as_grub(read_snippets(shell.places.tree, folder, shell.warn))
            except ImageError as error:
                shell.warn(f"{printable(folder)} could not be read: {error.message}")
                return 1
            for snippet in snippets:
                shell.append(MenuItem(snippet.first("title") or snippet.name, snippet.name, snippet.path, None, [], [], snippet=snippet))
            return 0
    shell.warn("GRUB is told to read entries of the Boot Loader Specification, but there is no folder loader/entries")
    return 1


def _return(shell: Shell, arguments: list[str]) -> int:
    shell.status = int(arguments[0] != "0") if arguments else shell.status
    raise Return


def _increment(shell: Shell, arguments: list[str]) -> int:
    for name in arguments:
        value = shell.variables.get(name, "")
        shell.variables[name] = str(int(value[:9]) + 1 if value[:9].isascii() and value[:9].isdigit() else 1)
    return 0


def _initrd(shell: Shell, arguments: list[str]) -> int:
    shell.loaded.initrds += [shell.file(name) for name in arguments if not name.startswith("--")]
    return 0


def _search_short(option: str, shell: Shell, arguments: list[str]) -> int:
    """``search.fs_uuid UUID [VARIABLE [HINT…]]``"""
    return _search(shell, [option, f"--set={arguments[1] if len(arguments) > 1 else 'root'}", arguments[0]]) if arguments else 1


def _fail(_shell: Shell, _arguments: list[str]) -> int:
    return 1


COMMANDS: dict[str, Run] = {
    "set": _set,
    "export": _set,
    "unset": _unset,
    "test": _test,
    "[": _bracket,
    "search": _search,
    "load_env": _load_env,
    "source": _source_file,
    ".": _source_file,
    "configfile": _configfile,
    "normal": _configfile,
    "blscfg": _blscfg,
    "bls_import": _blscfg,
    "chainloader": _chainloader,
    "return": _return,
    "increment": _increment,
    "search.fs_uuid": functools.partial(_search_short, "--fs-uuid"),
    "search.fs_label": functools.partial(_search_short, "--label"),
    "search.file": functools.partial(_search_short, "--file"),
    "search.fs_file": functools.partial(_search_short, "--file"),
    **dict.fromkeys(("linux", "linux16", "linuxefi"), _linux),
    **dict.fromkeys(("initrd", "initrd16", "initrdefi"), _initrd),
    **dict.fromkeys(("false", "loadfont", "keystatus", "cpuid", "fwsetup", "regexp", "videoinfo"), _fail),
}
"""What is not in here loads modules, draws or waits: it does nothing and succeeds. What fails is what a guest without screen and keyboard says no to."""
