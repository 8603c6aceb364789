# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""LVM2's metadata as text: sections, numbers, strings, lists. Source: lvmconfig(8), lvm.conf(5), and lvm2, libdm/libdm-config.c.

::

    vg0 {
        seqno = 3
        status = ["READ", "WRITE"]
        physical_volumes { pv0 { pe_start = 2048 } }   # a comment
    }
"""

from __future__ import annotations

import re
import typing as t

from ...errors import CorruptImage, LimitExceeded, printable

Section = dict[str, t.Any]

MAX_DEPTH = 16
"""sections in each other; LVM's metadata has four"""
MAX_VALUES = 200_000
"""values and sections; a logical volume has about twenty"""

_TOKEN = re.compile(
    r"""
    (?P<space>\s+|\#[^\n]*)|
    (?P<string>"(?:[^"\\]|\\.){0,65535}")|
    (?P<mark>[{}=\[\],])|
    (?P<word>[^\s{}=\[\],"\#\0]+)|
    (?P<end>\0|\Z)""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


def parse(data: bytes, path: str) -> Section:
    """The sections and values of a text by their names.

    Numbers are integers (a fraction stays text), lists are of numbers and strings. What follows a zero byte is not looked at.

    :param path: for messages
    :raises CorruptImage: the text does not follow the grammar
    :raises LimitExceeded: it has too many values, or too many sections in each other
    """
    tokens = _tokens(data.decode("utf-8", "surrogateescape"), path)
    top: Section = {}
    stack = [top]
    count = 0
    for kind, name in tokens:
        if kind == "end":
            break
        if (kind, name) == ("mark", "}") and len(stack) > 1:
            stack.pop()
            continue
        if kind == "mark":
            raise _damaged(name, path)
        count += 1
        kind, mark = next(tokens)
        if (kind, mark) == ("mark", "{"):
            if len(stack) > MAX_DEPTH:
                raise LimitExceeded("LVM's metadata has too many sections in each other", path=path)
            section: Section = {}
            stack[-1][name] = section
            stack.append(section)
        elif (kind, mark) == ("mark", "="):
            value = _value(tokens, path)
            stack[-1][name] = value
            count += len(value) if isinstance(value, list) else 0
        else:
            raise _damaged(mark, path)
        if count > MAX_VALUES:
            raise LimitExceeded(f"LVM's metadata has more than {MAX_VALUES} values", path=path)
    if len(stack) > 1:
        raise CorruptImage("LVM's metadata ends inside a section", path=path)
    return top


def _value(tokens: t.Iterator[tuple[str, str]], path: str) -> int | str | list[int | str]:
    kind, text = next(tokens)
    if (kind, text) != ("mark", "["):
        return _scalar(kind, text, path)
    found: list[int | str] = []
    for kind, text in tokens:
        if (kind, text) == ("mark", "]"):
            break
        if (kind, text) != ("mark", ","):
            found.append(_scalar(kind, text, path))
        if len(found) > MAX_VALUES:
            raise LimitExceeded(f"LVM's metadata has more than {MAX_VALUES} values", path=path)
    return found


def _scalar(kind: str, text: str, path: str) -> int | str:
    if kind == "string":
        return _ESCAPE.sub(r"\1", text[1:-1])
    if kind != "word":
        raise _damaged(text, path)
    digits = text[1:] if text.startswith("-") else text
    return int(text) if len(digits) < 20 and digits.isascii() and digits.isdigit() else text


def _tokens(text: str, path: str) -> t.Iterator[tuple[str, str]]:
    """Kinds and texts; the last one is ``end``, again and again."""
    at = 0
    while True:
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise _damaged(text[at : at + 20], path)
        if found.lastgroup != "space":
            yield found.lastgroup, found.group()
        if found.lastgroup != "end":
            at = found.end()


def _damaged(text: str, path: str) -> CorruptImage:
    return CorruptImage(f"LVM's metadata is damaged: {printable(text) or 'its end'} was not expected there", path=path)
