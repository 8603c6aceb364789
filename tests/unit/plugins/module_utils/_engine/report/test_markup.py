# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be put into a page, and what cannot."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.report import style
from ansible_collections.vmimage.prep.plugins.module_utils._engine.report.markup import element, facts, join, listing, table, text
from ansible_collections.vmimage.prep.plugins.module_utils._engine.report.segments import widths
from ansible_collections.vmimage.prep.plugins.module_utils._engine.report.words import share, size

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></svg></title>&lt;b&gt;",
    "&#60;script&#62;",
    "a\0b\x07\x1b[31m\x7f\x85",
    "abc\u202egpj.exe\u2066\u200f\ufeff",
    "\ud800 \udfff \ufffe \uffff",
    "]]><!-- -->",
    "line\r\nbreak\u2028\u2029",
    "x" * 10_000,
    "\u0301" * 3_000,
    "名前 ñandú 🐧",
]


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_whatever_is_put_in_is_text(hostile):
    """As the content of elements and as the value of attributes it is what was given, with what cannot be seen as its escape, and nothing else."""
    made = element("p", hostile, element("b", hostile), [hostile], title=hostile)
    read = ElementTree.fromstring(made)
    shown = hostile if len(hostile) <= 1000 else hostile[:999] + "…"
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown)
    assert [node.tag for node in read.iter()] == ["p", "b"]
    assert read.attrib == {"title": shown}
    assert (read.text, read[0].text, read[0].tail) == (shown, shown, shown)
    assert made.encode("utf-8").isascii() or any(ord(char) > 127 for char in shown)


def test_what_is_nothing():
    assert join(None, [], [None]) == ""
    assert element("br") == "<br/>"
    assert element("td", None) == "<td></td>"
    assert facts([("a", None), ("b", ""), ("c", 0)]) == "<dl><div><dt>c</dt><dd>0</dd></div></dl>"
    assert listing([], 3) == ""
    assert listing(["a", "b", "c", "d"], 3) == "<ul><li>a</li><li>b</li><li>c</li><li>… and 1 more</li></ul>"
    assert text(None) == "None"


def test_a_table_names_its_columns_and_rows():
    read = ElementTree.fromstring(table("numbers", ("a", "b"), [("x", 1), ("y", 2)], numbers=(1,)))
    assert [(head.get("scope"), head.text) for head in read.iter("th")] == [("col", "a"), ("col", "b"), ("row", "x"), ("row", "y")]
    assert [cell.get("class") for cell in read.iter("td")] == ["number", "number"]
    assert read.find("table/caption").text == "numbers"
    assert read.attrib == {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": "numbers"}


def test_the_style_sheet_loads_nothing_and_closes_nothing():
    assert not any(word in style.CSS for word in ("<", ">", "&", "@import", "url(", "http", "expression"))
    assert style.CSS.count("{") == style.CSS.count("}")
    assert "prefers-color-scheme:dark" in style.CSS
    assert "@media print" in style.CSS


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("ink", "ground"),
    [
        *(("ink", "card"), ("ink", "page"), ("soft", "card"), ("soft", "page"), ("link", "card"), ("ink", "code"), ("soft", "hole")),
        *(("good", "goodback"), ("warn", "warnback"), ("bad", "badback"), ("note", "noteback")),
    ],
)
def test_there_is_contrast(theme, ink, ground):
    """WCAG 2.1, 1.4.3: 4.5 to 1 for text."""
    rules = style.CSS.split("@media (prefers-color-scheme:dark)")[theme == "dark"].split("}")[0]
    colours = dict(part.split(":") for part in rules.replace(":root{", "{").split("{")[-1].replace("\n", "").split(";") if part.startswith("--"))

    def light(name):
        code = colours[f"--{name}"][1:]
        code = "".join(char * 2 for char in code) if len(code) == 3 else code
        parts = [int(code[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05

    assert max(light(ink), light(ground)) / min(light(ink), light(ground)) >= 4.5


@pytest.mark.parametrize(
    ("lengths", "expected"),
    [
        ([], []),
        ([0], [100]),
        ([0, 0], [50, 50]),
        ([1, 1, 2], [25, 25, 50]),
        ([1, 999], [5, 95]),
        ([1, 1, 998], [5, 5, 90]),
        ([1] * 30, [100 / 30] * 30),
        ([0, 50, 10**15], [5, 5, 90]),
    ],
)
def test_widths(lengths, expected):
    assert widths(lengths, 5) == pytest.approx(expected)


def test_no_width_is_below_the_least():
    """A part that is just above the least falls below it when others get theirs."""
    found = widths([1, 1, 1, 1, 51, 945], 5)
    assert min(found) >= 5
    assert sum(found) == pytest.approx(100)


def test_numbers_for_people():
    assert [size(number) for number in (None, 0, 1, 1023, 1024, 1 << 20, 3 << 29, 1 << 40)] == [
        *(None, "0 bytes", "1 byte", "1023 bytes", "1 KiB", "1 MiB", "1.5 GiB", "1 TiB")
    ]
    assert [share(part, 100_000) for part in (0, 1, 500, 50_000, 99_999, 100_000)] == ["0 %", "0.01 %", "0.50 %", "50.0 %", "99.99 %", "100 %"]
    assert share(0, 0) == "0 %"
