# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The image properties that a user gives: typing errors are found before they are stored, and never seen again.

A user can have properties of any name, so one that is not known is only refused when it is nearly one that is.

Source: Glance (October 2026), glance/api/v2/images.py: names that are attributes of an image, or reserved.
"""

from __future__ import annotations

import difflib
import typing as t

from ..errors import UnsupportedImage, printable
from .proposals import applied
from .vocabulary import ATTRIBUTES, KNOWN, NUMA, PREFIXES, RESERVED, RESERVED_PREFIX, TRAIT, objection

MAX_NAME = 255
"""characters, of Glance's database"""
_NEAR = 0.8
"""of names that begin as Nova's do"""
_VERY_NEAR = 0.93
"""of all others"""


def checked(properties: t.Mapping[str, t.Any]) -> dict[str, str | None]:
    """Properties as Glance has them, all texts. None stays: it takes a proposed property away.

    :raises UnsupportedImage: a name or value that is certainly wrong; all of them are named
    """
    reasons, result = [], {}
    for name, value in properties.items():
        text = _text(value)
        reason = _objection(name, value, text)
        if reason is not None:
            reasons.append(reason)
        result[name] = text
    if reasons:
        raise UnsupportedImage(
            f"these image properties are not right: {'; '.join(reasons)}" if len(reasons) > 1 else f"an image property is not right: {reasons[0]}"
        )
    return result


def with_given(facts: dict[str, t.Any], given: t.Mapping[str, str | None]) -> dict[str, t.Any]:
    """The facts of an upload, with the user's own properties, which win.

    :param facts: as upload_facts() makes them
    :param given: by :func:`checked`
    """
    return {**facts, "properties": merged(applied(facts["proposals"]), given)}


def merged(properties: t.Mapping[str, str], given: t.Mapping[str, str | None]) -> dict[str, str]:
    """The properties with the user's own; without those that the user has no value for."""
    return {name: value for name, value in {**properties, **given}.items() if value is not None}


def _text(value: t.Any) -> str | None:
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _objection(name: t.Any, value: t.Any, text: str | None) -> str | None:
    """What is wrong with a property, as a part of a sentence."""
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        return f"the name of a property is a text of 1 to {MAX_NAME} characters, which {printable(str(name)[:MAX_NAME])!r} is not"
    if name in ATTRIBUTES:
        return f"{name} is no property, but an attribute of the image"
    if name in RESERVED or name.startswith(RESERVED_PREFIX):
        return f"{printable(name)} is a name that Glance keeps for itself"
    if isinstance(value, (dict, list)):
        return f"{printable(name)} has to be a text, not a list or dictionary"
    if not _is_known(name):
        near = _nearest(name)
        return None if near is None else f"{printable(name)} is not a property that Nova knows; did you mean {near}?"
    return None if text is None else objection(name, text)


def _is_known(name: str) -> bool:
    return name in KNOWN or name.startswith(TRAIT) or NUMA.fullmatch(name) is not None


def _nearest(name: str) -> str | None:
    """The known name that a name is nearly, however it is written."""
    plain = name.lower().replace("-", "_")
    if plain.startswith("traits:"):
        return TRAIT + name[len("traits:") :]
    cutoff = _NEAR if plain.startswith(PREFIXES) else _VERY_NEAR
    found = difflib.get_close_matches(plain, KNOWN, 1, cutoff)
    return found[0] if found else None
