# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The language of grub.cfg: from text to commands.

Source: GNU GRUB manual, "Writing full configuration files directly" (shell-like scripting).
"""

from __future__ import annotations

import bisect
import re
import typing as t

from ...errors import CorruptImage, LimitExceeded

LITERAL = "literal"
"""quoted text"""
PLAIN = "plain"
"""text without quotes: it can be a keyword"""
VARIABLE = "variable"
"""without quotes: its value is split at blanks"""
QUOTED = "quoted variable"

MAX_DEPTH = 40
"""blocks in each other"""

_BLANK = re.compile(r"(?:[ \t\r]|\\\r?\n)+")
_PLAIN = re.compile(r"[^{};$ \t\r\n'\"\\]+")
_SINGLE = re.compile(r"'([^']*)'")
_DOUBLE = re.compile(r"\$?\"([^\"\\]*(?:\\.[^\"\\]*)*)\"", re.DOTALL)
_VARIABLE = re.compile(r"\$(?:\{(\w+|[?*#@])\}|([A-Za-z_]\w*|[0-9]+|[?*#@]))", re.ASCII)
_QUOTED_TEXT = re.compile(r"[^$\\]+|\\.|[$\\]", re.DOTALL)


class Part(t.NamedTuple):
    """A piece of a word."""

    kind: str
    text: str
    """of a variable: its name"""


Word = tuple[Part, ...]


class Command(t.NamedTuple):
    line: int
    words: list[Word]
    block: list[Statement] | None
    """what stands in braces behind it, as with ``menuentry``"""


class If(t.NamedTuple):
    line: int
    branches: list[tuple[list[Statement], list[Statement]]]
    """(conditions, what is done then), in their order"""
    otherwise: list[Statement]


class Function(t.NamedTuple):
    line: int
    name: str
    body: list[Statement]


class Loop(t.NamedTuple):
    line: int
    keyword: str
    """``for``, ``while`` or ``until``"""


Statement = t.Union[Command, If, Function, Loop]
Token = t.Union[Word, str]
"""A word, or one of these: ``;`` (or the end of a line), ``{``, ``}``, and an empty text at the end."""


class Parser:
    """Gives the statements of a configuration one by one: those before a mistake are good.

    :param name: for messages
    """

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._at = 0
        self._starts = [match.end() for match in re.finditer("\n", text)]
        self._token: Token = ";"
        self._line = 1

    def statement(self) -> Statement | None:
        """The next one; None at the end.

        :raises CorruptImage: a mistake in the syntax
        :raises LimitExceeded: too many blocks in each other
        """
        while self._token == ";":
            self._next()
        return None if self._token == "" else self._statement(0)

    def _until(self, depth: int, *ends: str) -> list[Statement]:
        """Statements up to a keyword or brace, which stays."""
        if depth > MAX_DEPTH:
            raise LimitExceeded(f"line {self._line}: more than {MAX_DEPTH} blocks in each other", path=self._name)
        found: list[Statement] = []
        while self._keyword() not in ends:
            if self._token == "":
                raise self._mistake(f"{' or '.join(ends)} is missing at the end")
            if self._token == ";":
                self._next()
                continue
            found.append(self._statement(depth))
        return found

    def _statement(self, depth: int) -> Statement:
        keyword, line = self._keyword(), self._line
        if keyword == "if":
            return self._if(depth)
        if keyword == "function":
            self._next()
            name = _plain(self._token)
            self._next()
            return Function(line, name, self._block(depth))
        if keyword in ("for", "while", "until"):
            self._next()
            self._until(depth + 1, "do")
            self._next()
            self._until(depth + 1, "done")
            self._next()
            return Loop(line, keyword)
        if isinstance(self._token, str) or keyword in ("then", "elif", "else", "fi", "do", "done"):
            raise self._mistake(f"{keyword} where a command should be")
        words = self._words()
        return Command(line, words, self._block(depth) if self._keyword() == "{" else None)

    def _words(self) -> list[Word]:
        words: list[Word] = []
        while not isinstance(self._token, str):
            words.append(self._token)
            self._next()
        return words

    def _if(self, depth: int) -> If:
        line = self._line
        branches = []
        otherwise: list[Statement] = []
        while self._keyword() in ("if", "elif"):
            self._next()
            conditions = self._until(depth + 1, "then")
            self._next()
            branches.append((conditions, self._until(depth + 1, "elif", "else", "fi")))
        if self._keyword() == "else":
            self._next()
            otherwise = self._until(depth + 1, "fi")
        self._next()
        return If(line, branches, otherwise)

    def _block(self, depth: int) -> list[Statement]:
        while self._token == ";":
            self._next()
        if self._token != "{":
            raise self._mistake("{ is missing")
        self._next()
        body = self._until(depth + 1, "}")
        self._next()
        return body

    def _keyword(self) -> str:
        return self._token if isinstance(self._token, str) else _plain(self._token)

    def _next(self) -> None:
        self._token, self._line = self._scan()

    def _mistake(self, what: str) -> CorruptImage:
        return CorruptImage(f"line {self._line}: {what}", path=self._name)

    def _scan(self) -> tuple[Token, int]:
        """The next token, and the line that it stands on."""
        text = self._text
        blank = _BLANK.match(text, self._at)
        if blank:
            self._at = blank.end()
        if text.startswith("#", self._at):
            end = text.find("\n", self._at)
            self._at = len(text) if end < 0 else end
        line = bisect.bisect_right(self._starts, self._at) + 1
        char = text[self._at : self._at + 1]
        if char in ("", "{", "}", ";", "\n"):
            self._at += len(char)
            return (";" if char == "\n" else char), line
        return self._word(line), line

    def _word(self, line: int) -> Word:
        parts: list[Part] = []
        text = self._text
        while self._at < len(text) and text[self._at] not in "{}; \t\r\n":
            plain = _PLAIN.match(text, self._at)
            single = _SINGLE.match(text, self._at)
            double = _DOUBLE.match(text, self._at)
            variable = _VARIABLE.match(text, self._at)
            match = plain or single or double or variable
            if plain:
                parts.append(Part(PLAIN, plain.group()))
            elif single:
                parts.append(Part(LITERAL, single.group(1)))
            elif double:
                parts += [Part(LITERAL, ""), *quoted_parts(double.group(1))]
            elif variable:
                parts.append(Part(VARIABLE, variable.group(1) or variable.group(2)))
            if match:
                self._at = match.end()
            elif text[self._at] == "\\":
                if text[self._at + 1 : self._at + 2] not in ("", "\n"):  # a line that goes on leaves nothing
                    parts.append(Part(LITERAL, text[self._at + 1]))
                self._at += 2
            elif text[self._at] == "$":
                parts.append(Part(LITERAL, "$"))
                self._at += 1
            else:
                raise CorruptImage(f"line {line}: a quotation mark without its end", path=self._name)
        return tuple(parts)


def quoted_parts(text: str) -> t.Iterator[Part]:
    """The parts of what stands between double quotation marks."""
    at = 0
    while at < len(text):
        variable = _VARIABLE.match(text, at)
        if variable:
            yield Part(QUOTED, variable.group(1) or variable.group(2))
            at = variable.end()
            continue
        match = _QUOTED_TEXT.match(text, at)
        if match is None:
            return
        piece = match.group()
        if piece[0] == "\\" and len(piece) == 2:
            piece = piece[1] if piece[1] in '"\\$' else "" if piece[1] == "\n" else piece
        yield Part(LITERAL, piece)
        at = match.end()


def _plain(token: Token) -> str:
    """The text of a word that is one piece without quotes; otherwise an empty text."""
    return token[0].text if len(token) == 1 and isinstance(token[0], Part) and token[0].kind == PLAIN else ""
