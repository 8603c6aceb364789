# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The sections of a page about the upload: properties, and commands."""

from __future__ import annotations

import typing as t

from ..openstack.command import create_image
from .markup import Content, Markup, command, element, join, table
from .subject import Subject

_MAX_ROWS = 200
_COLUMNS = ("Property", "Value", "From", "Confidence")


def property_section(came_out: t.Sequence[Subject], proposals: t.Mapping[str, t.Mapping[str, t.Any]]) -> Markup | None:
    """The properties that the images get, each with where it is from; and those that are proposed only. Nothing when there are none."""
    tables = []
    used: set[str] = set()
    for subject in came_out:
        entry = subject.upload
        rows: list[tuple[Content, ...]] = []
        for name, value in sorted(entry["properties"].items()):
            proposed = proposals.get(name, {})
            used.add(name)
            if proposed.get("value") == str(value):
                rows.append((element("code", name), element("code", value), proposed["source"], proposed["confidence"] or "—"))
            else:
                rows.append((element("code", name), element("code", value), f"given, instead of {proposed['value']}" if proposed else "the upload plan", "—"))
        for name, other in sorted((entry.get("depends") or {}).items()):
            rows.append((element("code", name), f"the identifier of {other}", "what is uploaded before", "—"))
        if rows:
            tables.append(table(f"Properties of {entry['name']}", _COLUMNS, rows[:_MAX_ROWS]))
    others = [
        (element("code", name), element("code", entry["value"]), entry["source"], entry["confidence"] or "—")
        for name, entry in sorted(proposals.items())
        if name not in used
    ]
    if others:
        tables.append(table("Proposed, and not sure enough to be set" if came_out else "Proposed", _COLUMNS, others[:_MAX_ROWS]))
    return element("section", element("h2", "Image properties"), tables) if tables else None


def upload_section(came_out: t.Sequence[Subject]) -> Markup | None:
    """The commands that upload what was made, in their order. Nothing when nothing was made."""
    if not came_out:
        return None
    order = element("p", "One after the other: the last needs the identifiers of the others.") if len(came_out) > 1 else None
    return element("section", element("h2", "Upload it"), order, join([command(create_image(subject.upload)) for subject in came_out]))
