# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The language of grub.cfg: variables, functions and conditions, and the menu that comes of them.

Source: GNU GRUB manual, "Writing full configuration files directly"; where it is silent, what GRUB's own script engine does.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import ImageError, LimitExceeded, printable
from ...limits import KIB, MIB
from . import grub_syntax as syntax
from .bls import Snippet
from .places import Places

MAX_CONFIGURATION = 4 * MIB
"""bytes of one file; the largest seen have 100 KiB"""
MAX_ENTRIES = 1000
MAX_DEPTH = 20
"""files and functions in each other"""
MAX_WORD = 64 * KIB
"""characters"""
MAX_WORK = 16 * MIB
"""characters of all words after their variables were replaced, with these for a command and for a file that is looked for:"""
COMMAND = 100
LOOKUP = 4000
MAX_WARNINGS = 20

FEATURES = ("chainloader_bpb", "ntldr", "platform_search_hint", "default_font_path", "all_video_module", "menuentry_id", "menuentry_options", "200_final")


@dataclasses.dataclass
class MenuItem:
    """A line of the menu, not yet executed."""

    title: str
    id: str | None
    source: str
    line: int | None
    block: list[syntax.Statement]
    arguments: list[str]
    submenu: bool = False
    snippet: Snippet | None = None
    """for ``blscfg``: what stands instead of a block"""


@dataclasses.dataclass
class Loaded:
    """What ``linux`` and its like have loaded for ``boot``: paths in the guest."""

    kernel: str | None = None
    options: str = ""
    initrds: list[str] = dataclasses.field(default_factory=list)
    chained: str | None = None
    """another program for UEFI"""
    source: str = ""
    line: int | None = None


class MenuShown(Exception):
    """``configfile`` has led to another menu: what follows in this file is done when that one is left, so not at all."""


class Return(Exception):
    """``return`` out of a function or file."""


class Shell:
    """Executes GRUB's commands in a guest.

    :param variables: those that are set from the start
    :param commands: by name; what is not there does nothing and succeeds
    """

    def __init__(self, places: Places, variables: t.Mapping[str, str], commands: t.Mapping[str, Run]) -> None:
        self.places = places
        self.variables = {**{f"feature_{name}": "y" for name in FEATURES}, **variables}
        self.functions: dict[str, list[syntax.Statement]] = {}
        self.menu: list[MenuItem] = []
        self.loaded = Loaded()
        self.warnings: list[str] = []
        self.saved: dict[str, tuple[str, str]] = {}
        """(value, file) of what ``load_env`` has read, by the name of the variable"""
        self.status = 0
        """of the last command; 0 is success"""
        self.source = ""
        """the file that is executed, and the line"""
        self.line = 0
        self.configuration = ""
        """the file whose menu ``configfile`` has shown"""
        self._commands = commands
        self._arguments: list[str] = []
        self._work = [0]
        self._depth = 0

    def child(self) -> Shell:
        """A shell for a line of the menu that is chosen: it knows everything, and what it sets is gone afterwards.

        :raises LimitExceeded: the configuration does not come to an end
        """
        self.spend(COMMAND + 10 * len(self.variables))
        made = Shell(self.places, self.variables, self._commands)
        made.functions = dict(self.functions)
        made.warnings = self.warnings
        made.saved = self.saved
        made._work = self._work
        return made

    def warn(self, text: str) -> None:
        if text not in self.warnings and len(self.warnings) < MAX_WARNINGS:
            self.warnings.append(text)

    def spend(self, amount: int) -> None:
        """:raises LimitExceeded: the configuration does not come to an end"""
        self._work[0] += amount
        if self._work[0] > MAX_WORK:
            raise LimitExceeded("the configuration of GRUB does not come to an end", path=self.source)

    def append(self, item: MenuItem) -> None:
        """:raises LimitExceeded: the menu is too long"""
        if len(self.menu) >= MAX_ENTRIES:
            raise LimitExceeded(f"the menu has more than {MAX_ENTRIES} lines", path=self.source)
        self.menu.append(item)

    def run_file(self, path: str) -> None:
        """Execute a configuration of the guest. A mistake in it ends it with a warning: what came before it counts.

        :param path: absolute, in the guest
        :raises LimitExceeded: it does not come to an end
        :raises MenuShown: it has led to another menu
        """
        try:
            data = self.places.tree.read(path, MAX_CONFIGURATION)
        except ImageError as error:
            self.warn(f"{printable(path)} could not be read: {error.message}")
            data = None
        if data is None:
            self.status = 1
            return
        self.spend(len(data))
        before, self.source = self.source, path
        self._deeper()
        statements = syntax.Parser(data.decode("utf-8", "surrogateescape"), path)
        try:
            while self._execute_next(statements):
                pass
        except Return:
            pass
        self._depth -= 1
        self.source = before

    def run_item(self, item: MenuItem) -> None:
        """Execute the block of a line of the menu.

        :raises LimitExceeded: it does not come to an end
        :raises MenuShown: it leads to another menu
        """
        self.source = item.source
        self._arguments = item.arguments
        self.variables["chosen"] = item.title
        try:
            self._execute(item.block)
        except Return:
            pass

    def file(self, name: str) -> str:
        """The path in the guest of a file that GRUB names: ``/path`` on ``$root``, or ``(device)/path``. It may not be there."""
        self.spend(LOOKUP)
        return self.places.path(*self._split(name))

    def locate(self, name: str) -> str | None:
        """The same; None when it is not there."""
        self.spend(LOOKUP)
        return self.places.locate(*self._split(name))

    def substitute(self, text: str) -> str:
        """A value of a Boot Loader Specification entry with the variables in it replaced, as ``blscfg`` does it."""
        made = "".join(self._value(part.text) if part.kind == syntax.QUOTED else part.text for part in syntax.quoted_parts(text))
        self.spend(len(made))
        return " ".join(made.split())

    def _split(self, name: str) -> tuple[str, str]:
        """(device, path) of a file's name."""
        device, parenthesis, path = name[1:].partition(")")
        return (device, path) if name.startswith("(") and parenthesis else (self.variables.get("root", ""), name)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise LimitExceeded(f"more than {MAX_DEPTH} files and functions in each other", path=self.source)

    def _execute_next(self, parser: syntax.Parser) -> bool:
        try:
            statement = parser.statement()
        except ImageError as error:
            self.warn(f"{printable(self.source)} was not read to its end: {error.message}")
            return False
        if statement is not None:
            self._execute([statement])
        return statement is not None

    def _execute(self, statements: t.Iterable[syntax.Statement]) -> int:
        for statement in statements:
            self.spend(COMMAND)
            if isinstance(statement, syntax.Command):
                self.status = self._command(statement)
            elif isinstance(statement, syntax.If):
                self._if(statement)
            elif isinstance(statement, syntax.Function):
                self.functions[statement.name] = statement.body
            else:
                self.warn(f"{printable(self.source)}:{statement.line}: a loop ({statement.keyword}) was not executed")
        return self.status

    def _if(self, statement: syntax.If) -> None:
        for conditions, body in statement.branches:
            if self._execute(conditions) == 0:
                self._execute(body)
                return
        self.status = 0
        self._execute(statement.otherwise)

    def _command(self, command: syntax.Command) -> int:
        words = [text for word in command.words for text in self._expand(word)]
        self.line = command.line
        invert = False
        while words and words[0] == "!":
            words, invert = words[1:], not invert
        if not words:
            return 0
        name, arguments = words[0], words[1:]
        status = 0
        if name in ("menuentry", "submenu"):
            self._add(command, name == "submenu", arguments)
        elif name in self.functions:
            status = self._call(name, arguments)
        elif name in self._commands:
            status = self._commands[name](self, arguments)
        else:
            variable, equals, value = name.partition("=")
            if equals:
                self.variables[variable] = value
        return int(status == 0) if invert else status

    def _call(self, name: str, arguments: list[str]) -> int:
        self._deeper()
        before, self._arguments = self._arguments, arguments
        try:
            self._execute(self.functions[name])
        except Return:
            pass
        self._arguments = before
        self._depth -= 1
        return self.status

    def _add(self, command: syntax.Command, submenu: bool, arguments: list[str]) -> None:
        titles, identifier = [], None
        rest = iter(arguments)
        for word in rest:
            option, equals, value = word.partition("=")
            if option in ("--class", "--users", "--hotkey", "--source", "--id"):
                value = value if equals else next(rest, "")
                identifier = value if option == "--id" else identifier
            elif option != "--unrestricted":
                titles.append(word)
        self.append(MenuItem(titles[0] if titles else "", identifier, self.source, command.line, command.block or [], titles, submenu))

    def _expand(self, word: syntax.Word) -> list[str]:
        """The words that one becomes: none when it is an empty variable, several when a variable without quotes has blanks in it."""
        made: list[str] = []
        current: str | None = None
        for kind, text in word:
            value = self._value(text) if kind in (syntax.VARIABLE, syntax.QUOTED) else text
            self.spend(len(value))
            for number, piece in enumerate(value.split() if kind == syntax.VARIABLE else [value]):
                if number and current is not None:
                    made.append(current)
                    current = None
                current = piece if current is None else current + piece
                if len(current) > MAX_WORD:
                    raise LimitExceeded(f"a word has more than {MAX_WORD} characters", path=self.source)
        return made if current is None else [*made, current]

    def _value(self, name: str) -> str:
        if name == "?":
            return str(self.status)
        if name == "#":
            return str(len(self._arguments))
        if name in ("*", "@"):
            return " ".join(self._arguments)
        if name.isdigit():
            number = int(name[:6])
            return self._arguments[number - 1] if 0 < number <= len(self._arguments) else ""
        return self.variables.get(name, "")


Run = t.Callable[[Shell, list[str]], int]
"""A command: what it does with its arguments, and its status"""
