# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""GRUB's ``test`` command, which is ``[`` as well.

Source: GNU GRUB manual, "test".
"""

from __future__ import annotations

import typing as t

MAX_DEPTH = 20
"""parentheses in each other"""

_STRINGS: dict[str, t.Callable[[str, str], bool]] = {
    "=": lambda one, other: one == other,
    "==": lambda one, other: one == other,
    "!=": lambda one, other: one != other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}
_NUMBERS: dict[str, t.Callable[[int, int], bool]] = {
    "-eq": lambda one, other: one == other,
    "-ne": lambda one, other: one != other,
    "-lt": lambda one, other: one < other,
    "-le": lambda one, other: one <= other,
    "-gt": lambda one, other: one > other,
    "-ge": lambda one, other: one >= other,
}


def evaluate(words: t.Sequence[str], has: t.Callable[[str, str], bool]) -> bool:
    """Whether a condition holds.

    :param words: without the brackets
    :param has: whether there is a file, of a kind: ``-d`` directory, ``-e`` any, ``-f`` no directory, ``-s`` not empty
    """
    return _Condition(words, has).whole(0)


class _Condition:
    def __init__(self, words: t.Sequence[str], has: t.Callable[[str, str], bool]) -> None:
        self._words = words
        self._has = has
        self._at = 0

    def whole(self, depth: int) -> bool:
        """Terms up to the end or a closing parenthesis. What is without ``-o`` in between counts as ``-a``; no term at all is true.

        The order of the tests is GRUB's: ``-o`` is a text where ``=`` follows.
        """
        either, all_of, invert = False, True, False
        while self._at < len(self._words) and self._words[self._at] != ")":
            word = self._words[self._at]
            value = self._comparison()
            if value is None and word == "(" and depth < MAX_DEPTH:
                self._at += 1
                value = self.whole(depth + 1)
                self._at += 1
            elif value is None:
                self._at += 1
                if word == "!":
                    invert = not invert
                    continue
                if word == "-a":
                    continue
                if word == "-o":
                    either, all_of = either or all_of, True
                    continue
                value = word != ""
            all_of = (value != invert) and all_of
            invert = False
        return either or all_of

    def _comparison(self) -> bool | None:
        """A test of two or three words; None when there is none here."""
        rest = list(self._words[self._at : self._at + 3])
        if len(rest) == 3 and rest[1] in _STRINGS:
            self._at += 3
            return _STRINGS[rest[1]](rest[0], rest[2])
        if len(rest) == 3 and rest[1] in _NUMBERS:
            self._at += 3
            return _NUMBERS[rest[1]](_number(rest[0]), _number(rest[2]))
        if len(rest) >= 2 and rest[0] in ("-n", "-z"):
            self._at += 2
            return (rest[1] != "") == (rest[0] == "-n")
        if len(rest) >= 2 and rest[0] in ("-d", "-e", "-f", "-s"):
            self._at += 2
            return self._has(rest[0], rest[1])
        return None


def _number(word: str) -> int:
    digits = word[:20].lstrip("-")
    if not (digits.isascii() and digits.isdigit()):
        return 0
    return -int(digits) if word.startswith("-") else int(digits)
