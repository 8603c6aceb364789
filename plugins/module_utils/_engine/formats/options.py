# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Values of creation options, as qemu-img takes them (qemu, util/qemu-option.c: sizes and switches)."""

from __future__ import annotations

from ..errors import UnsupportedImage
from ..limits import GIB, KIB, MIB
from .base import Target

_UNITS = {"K": KIB, "M": MIB, "G": GIB}


def size(target: Target, name: str, most: int, wanted: str) -> int:
    """The bytes that an option says: a number, or one with K, M or G.

    :param name: of the option
    :param most: the largest value that is taken
    :param wanted: what the option may be, for the message
    :raises UnsupportedImage: no number, or above ``most``
    """
    text = target.options[name]
    unit = _UNITS.get(text[-1:].upper(), 1)
    digits = text[:-1] if unit > 1 else text
    value = int(digits) * unit if digits.isascii() and digits.isdigit() and len(digits) < 20 else -1
    if not 0 <= value <= most:
        raise impossible(target, name, wanted)
    return value


def switch(target: Target, name: str) -> bool:
    """Whether an option is ``on``; else it has to be ``off``.

    :raises UnsupportedImage: it is neither
    """
    if target.options[name] not in ("on", "off"):
        raise impossible(target, name, "on or off")
    return target.options[name] == "on"


def impossible(target: Target, name: str, wanted: str) -> UnsupportedImage:
    """The error for an option's value: ``wanted`` tells what it may be."""
    return UnsupportedImage(f"{target.format} option {name} is {wanted}, not {target.options[name]!r}")
