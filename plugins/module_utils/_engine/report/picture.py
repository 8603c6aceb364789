# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The pictures of a page, as SVG: they need no script, keep sharp in print, and take their colours from the style sheet."""

from __future__ import annotations

import typing as t

from ..extents import COMPRESSED, DATA, ZERO
from .allocation import Allocation
from .markup import Markup, element, join
from .segments import MAX_SEGMENTS, Segment, widths
from .words import share, size

_LEAST = 3.5
"""Percent of a picture that the smallest part gets"""
_GAP = 0.15
_ROOM = 9
"""Percent that a part needs for more than its number"""
_HEIGHT = 100
_NAMES = {DATA: "data", COMPRESSED: "compressed data", ZERO: "marked as zeros", "hole": "not allocated"}


def partition_bar(segments: t.Sequence[Segment]) -> Markup:
    """The disk from left to right, with the names of its parts as far as there is room."""
    shown = segments[:MAX_SEGMENTS]
    shares = widths([segment.length for segment in shown], _LEAST)
    pieces, position = [], 0.0
    for place, (segment, percent) in enumerate(zip(shown, shares), 1):
        gap = _GAP if place < len(shown) else 0
        number = f"{segment.number}: " if segment.number is not None else ""
        inner = [
            element("title", f"{number}{segment.title}, {size(segment.length)}"),
            element("rect", x=0, y=0, width="100%", height="100%", class_=f"p-{segment.kind}"),
        ]
        if percent >= _ROOM:
            inner.append(element("text", f"{number}{segment.title}", x=7, y=23, class_="strong free" if segment.kind == "free" else "strong"))
            inner.append(element("text", size(segment.length), x=7, y=42, class_="free" if segment.kind == "free" else None))
        elif segment.number is not None:
            inner.append(element("text", segment.number, x="50%", y=33, text_anchor="middle", class_="strong"))
        pieces.append(element("svg", *inner, x=_percent(position), y=0, width=_percent(percent - gap), height=56))
        position += percent
    label = "; ".join(f"{segment.title} {size(segment.length)}" for segment in shown)
    return element("svg", *pieces, role="img", aria_label=f"The disk in {len(segments)} parts: {label}", height=56)


def _percent(number: float) -> str:
    return f"{number:.2f}%"


def place_strip(segments: t.Sequence[Segment], whole: int) -> Markup:
    """The same parts to scale, to lie below a map."""
    pieces = []
    for segment in segments[:MAX_SEGMENTS]:
        if segment.kind != "free":
            place, width = 1000 * segment.start / whole, 1000 * segment.length / whole
            pieces.append(element("rect", x=f"{place:.2f}", y=0, width=f"{max(width, 1.0):.2f}", height=10, class_=f"p-{segment.kind}"))
    return element("svg", *pieces, viewBox="0 0 1000 10", preserveAspectRatio="none", height=8, aria_hidden="true")


def allocation_strip(found: Allocation, label: str, scale: int) -> Markup:
    """The disk from left to right. How high a column is filled is how much of that part is data, compressed, or marked as zeros.

    :param scale: guest bytes of the full width
    """
    columns = len(found.parts[DATA])
    tops: dict[str, list[tuple[int, int]]] = {kind: [] for kind in (DATA, COMPRESSED, ZERO)}
    for number in range(columns):
        whole, floor = found.length(number), 0
        for kind, runs in tops.items():
            part = found.parts[kind][number]
            height = max(3, round(_HEIGHT * part / whole)) if part else 0  # what is little is seen, too
            top = min(_HEIGHT, floor + height)
            runs.append((floor, top))
            floor = top
    width = max(1, -(-scale // found.part))
    paths = [element("path", d=_outline(runs), class_=kind) for kind, runs in tops.items() if any(top > floor for floor, top in runs)]
    ground = element("rect", x=0, y=0, width=columns, height=_HEIGHT, class_="hole")
    numbers = ", ".join(f"{share(length, found.size)} {_NAMES[kind]}" for kind, length in found.totals.items() if length) or "empty"
    return element(
        "svg",
        ground,
        *paths,
        viewBox=f"0 0 {width} {_HEIGHT}",
        preserveAspectRatio="none",
        height=72,
        role="img",
        aria_label=f"{label}: {numbers}",
        shape_rendering="crispEdges",
    )


def _outline(runs: t.Sequence[tuple[int, int]]) -> str:
    """A path around columns, each from a floor to a top; neighbours of the same height are one rectangle."""
    path, number = [], 0
    while number < len(runs):
        floor, top = runs[number]
        first = number
        while number < len(runs) and runs[number] == (floor, top):
            number += 1
        if top > floor:
            path.append(f"M{first} {_HEIGHT - top}H{number}V{_HEIGHT - floor}H{first}z")
    return "".join(path)


def swatch(kind: str) -> Markup:
    """A small square in the colour of a kind."""
    return element("svg", element("rect", width=10, height=10, class_=kind), viewBox="0 0 10 10", aria_hidden="true")


def legend(totals: t.Mapping[str, int], whole: int) -> Markup:
    """What the colours of a map mean, with the sums."""
    rows = [
        element("li", swatch(kind), element("span", f"{_NAMES[kind]} {size(length)} ({share(length, whole)})")) for kind, length in totals.items() if length
    ]
    return element("ul", rows, class_="legend")


def scale(whole: int) -> Markup:
    """Three addresses below a picture."""
    marks = join(*(element("span", text) for text in ("0", size(whole // 2), size(whole))))
    return element("div", marks, class_="scale", aria_hidden="true")
