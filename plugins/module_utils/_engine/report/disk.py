# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The sections of a page with pictures: partitions, and allocation."""

from __future__ import annotations

import typing as t

from .markup import Content, Markup, element, join, table
from .picture import allocation_strip, legend, partition_bar, place_strip, scale, swatch
from .segments import USES, Segment, segments, volumes_elsewhere
from .subject import Subject
from .words import exact, share, size

_MAX_ROWS = 128
_TABLES = {"gpt": "GPT", "dos": "MBR"}


def partition_section(subject: Subject) -> Markup | None:
    """What is where on the disk, as a picture and as a table. Nothing of what cannot be read."""
    image = subject.image
    if image is None or not image["readable"]:
        return None
    guest = subject.inside.get("guest")
    found = segments(image, guest)
    label = image["partition_table"]["label"] if image["partition_table"] else None
    text = f"{_TABLES.get(label, label)} partition table, {size(image['virtual_size'])}" if label else f"No partition table, {size(image['virtual_size'])}"
    parts = [
        element("h2", "What is on the disk"),
        element("figure", element("figcaption", f"{text}. Small parts are drawn wider than they are." if len(found) > 1 else text), partition_bar(found)),
    ]
    rows = [_row(segment) for segment in found[:_MAX_ROWS]]
    if label and rows:
        columns = ("Part", "Holds", "Label", "Begins at", "Size", "Used for")
        parts.append(table("Partitions, with what is free between them", columns, rows, numbers=(3, 4)))
        if len(found) > _MAX_ROWS:
            parts.append(element("p", f"… and {len(found) - _MAX_ROWS} more", class_="small"))
    logical = volumes_elsewhere(guest)
    if logical:
        lines = [
            (volume["volume"], volume["type"] or "—", volume["label"] or "—", size(volume["length"]) or "—", _use(volume)) for volume in logical[:_MAX_ROWS]
        ]
        parts.append(element("h3", "Logical volumes"))
        parts.append(table("Volumes of the LVM groups on the disk", ("Volume", "Holds", "Label", "Size", "Used for"), lines, numbers=(3,)))
    return element("section", *parts)


def _row(segment: Segment) -> tuple[Content, ...]:
    partition, volume = segment.partition, segment.volume or {}
    if partition is None:
        return (join(swatch(f"p-{segment.kind}"), " free"), "—", "—", size(segment.start), size(segment.length), "—")
    holds = volume.get("type") or partition["type_name"] or f"type {partition['type']}"
    label = volume.get("label") or partition["name"] or "—"
    number = join(swatch(f"p-{segment.kind}"), f" {segment.number}")
    return (number, holds, label, size(segment.start), size(segment.length), _use(volume) if volume else "—")


def _use(volume: dict[str, t.Any]) -> str:
    use = volume.get("use")
    text = USES.get(use, use) if use else "—"
    return f"{text}: {volume['problem']}" if volume.get("problem") else str(text)


def allocation_section(came_in: Subject, came_out: t.Sequence[Subject]) -> Markup | None:
    """Where the disk has data, of the source and of the result. Nothing when neither can be mapped."""
    mapped = [(title, subject) for title, subject in _titled(came_in, came_out) if subject.allocation is not None and subject.allocation.size]
    if not mapped:
        return None
    widest = max(subject.allocation.size for _title, subject in mapped if subject.allocation)
    figures = []
    partitioned = False
    for title, subject in mapped:
        found, image = subject.allocation, subject.image
        if found is None:
            continue
        caption = f"{title}: {share(found.content, found.size)} of the disk may hold data, {size(found.stored)} are stored for it"
        parts = [element("figcaption", caption), allocation_strip(found, title, widest)]
        if image is not None and image["partition_table"] is not None:
            partitioned = True
            parts.append(place_strip(segments(image, _guest_of(subject, came_out)), widest))
        figures.append(element("figure", *parts, scale(widest), legend(found.totals, found.size)))
    step = exact(max(subject.allocation.part for _title, subject in mapped if subject.allocation))
    note = f"From left to right the disk as the guest sees it, in steps of {step}; the higher a column, the more of it is in use."
    if partitioned:
        note += " The thin line below shows the partitions, to scale."
    return element("section", element("h2", "Where the data is"), figures, element("p", note, class_="small"))


def _guest_of(subject: Subject, came_out: t.Sequence[Subject]) -> dict[str, t.Any] | None:
    """What is on a disk; of a source that was not looked into it is what is on the result, if that has the same partitions."""
    same = (other for other in came_out if other.image and subject.image and other.image["partition_table"] == subject.image["partition_table"])
    return next((other.inside.get("guest") for other in (subject, *same) if other.inside.get("guest")), None)


def _titled(came_in: Subject, came_out: t.Sequence[Subject]) -> list[tuple[str, Subject]]:
    if not came_out:
        return [("The disk", came_in)]
    return [("What came in", came_in), *(("What came out", subject) for subject in came_out)]
