# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Numbers and units of OVF descriptors.

Source: DMTF DSP0004, annex "Programmatic Units" (``byte * 2^20``), and the names that programs write instead.
"""

from __future__ import annotations

import re

MAX_NUMBER = 2**63 - 1

_INTEGER = re.compile(r"[0-9]{1,20}", re.ASCII)
_POWER = re.compile(r"([0-9]{1,20})(?:\^([0-9]{1,2}))?", re.ASCII)
_NAME = re.compile(r"(?:([kmgt])i?|(kilo|mega|giga|tera|kibi|mebi|gibi|tebi))?(?:b|bytes?)", re.ASCII)
_POWERS = {"k": 10, "m": 20, "g": 30, "t": 40}


def integer(text: str) -> int | None:
    """A non-negative number of ASCII digits below 2^63; None for everything else."""
    text = text.strip()
    if not _INTEGER.fullmatch(text):
        return None
    value = int(text)
    return value if value <= MAX_NUMBER else None


def factor(unit: str) -> int | None:
    """Bytes in a unit: ``byte``, ``byte * 2^20``, ``byte*2 ^ 30``, ``byte * 1024 * 1024``, ``MegaBytes``, ``GB``.

    The names mean powers of two, as the programs that write them do. None when it is no unit of bytes.
    """
    base, *factors = "".join(unit.lower().split()).split("*")
    name = _NAME.fullmatch(base)
    if name is None or (factors and base not in ("byte", "bytes")):
        return None
    result = 1 << _POWERS.get((name[1] or name[2] or "")[:1], 0)
    for part in factors:
        match = _POWER.fullmatch(part)
        if match is None:
            return None
        result *= int(match[1]) ** int(match[2] or 1)
        if not 0 < result <= MAX_NUMBER:
            return None
    return result


def amount(text: str, unit: str) -> int | None:
    """Bytes that a number in a unit is; None when either cannot be read, or the product is out of range."""
    number, bytes_each = integer(text), factor(unit)
    if number is None or bytes_each is None or number * bytes_each > MAX_NUMBER:
        return None
    return number * bytes_each
