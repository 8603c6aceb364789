# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""HTML that is safe by construction: what is not made by :func:`element` is text, and is escaped.

What comes out is well-formed XML as well, so that a test can parse it.
"""

from __future__ import annotations

import html
import typing as t

MAX_TEXT = 1000
"""Characters of a name or message that are shown; a page stays readable whatever an image holds"""
MAX_COMMAND = 20_000


class Markup(str):
    """HTML. Only this module makes it."""


Content = t.Union[str, int, None, t.Iterable[t.Union[str, int, None]]]


def text(value: object, most: int = MAX_TEXT) -> Markup:
    """Any value as text: what cannot be seen (control characters, marks that turn the direction of the script) is shown as its escape.

    :param most: characters; the rest is cut off
    """
    shown = str(value)
    if len(shown) > most:
        shown = f"{shown[: most - 1]}…"
    if not shown.isprintable():
        shown = "".join(char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode("ascii") for char in shown)
    return Markup(html.escape(shown))


def element(tag: str, /, *content: Content, **attributes: object) -> Markup:
    """An element.

    :param content: Markup as it is, other strings and numbers as text, None as nothing; lists of these
    :param attributes: ``class_`` is ``class``, and an underline is a hyphen; those that are None are left out
    """
    tags = "".join(f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items() if value is not None)
    inner = join(*content)
    return Markup(f"<{tag}{tags}>{inner}</{tag}>" if inner or tag not in _EMPTY else f"<{tag}{tags}/>")


_EMPTY = ("meta", "br", "rect", "line", "path")
"""elements that have no content"""


def join(*content: Content) -> Markup:
    """Several pieces one after the other."""
    return Markup("".join(_piece(piece) for piece in content))


def _piece(content: Content) -> str:
    if content is None:
        return ""
    if isinstance(content, Markup):
        return content
    if isinstance(content, (str, int)):
        return text(content)
    return "".join(map(_piece, content))


def style(css: str) -> Markup:
    """A style sheet of ours, which has no character that HTML or XML knows."""
    return Markup(f"<style>{css}</style>")


def document(language: str, head: Markup, body: Markup) -> str:
    """The page."""
    return f'<!DOCTYPE html>\n<html lang="{language}" xmlns="http://www.w3.org/1999/xhtml">\n{head}\n{body}\n</html>\n'


def command(line: str) -> Markup:
    """A command for a shell, to be copied."""
    return element("pre", element("code", text(line, MAX_COMMAND)))


def table(caption: str, columns: t.Sequence[str], rows: t.Iterable[t.Sequence[Content]], numbers: t.Container[int] = ()) -> Markup:
    """A table that scrolls by itself where it is too wide; the first cell of a row is its head.

    :param numbers: positions of the columns with numbers
    """
    head = element("tr", [element("th", title, scope="col", class_=_side(place, numbers)) for place, title in enumerate(columns)])
    lines = []
    for cells in rows:
        first, *others = cells
        lines.append(
            element(
                "tr",
                element("th", first, scope="row", class_=_side(0, numbers)),
                [element("td", cell, class_=_side(place, numbers)) for place, cell in enumerate(others, 1)],
            )
        )
    inner = element("table", element("caption", caption), element("thead", head), element("tbody", lines))
    return element("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _side(place: int, numbers: t.Container[int]) -> str | None:
    return "number" if place in numbers else None


def facts(rows: t.Iterable[tuple[str, Content]]) -> Markup:
    """Names with what they have; those that have nothing are left out."""
    kept = [(name, value) for name, value in rows if value not in (None, "", [])]
    return element("dl", [element("div", element("dt", name), element("dd", value)) for name, value in kept])


def badge(color: str, word: str) -> Markup:
    """A word that catches the eye; the colour says nothing that the word does not."""
    return element("span", word, class_=f"badge {color}")


def listing(lines: t.Sequence[Content], most: int) -> Markup:
    """A list; of a long one the beginning, and how much there is. Nothing of an empty one."""
    if not lines:
        return Markup("")
    shown = [element("li", line) for line in lines[:most]]
    if len(lines) > most:
        shown.append(element("li", f"… and {len(lines) - most} more"))
    return element("ul", shown)
