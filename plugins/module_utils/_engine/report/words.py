# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Numbers as people read them."""

from __future__ import annotations

_UNITS = ((40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB"))


def size(number: int | None) -> str | None:
    """Bytes in the largest unit that leaves a whole part."""
    if number is None:
        return None
    for shift, unit in _UNITS:
        if number >= 1 << shift:
            return f"{number / (1 << shift):.4g} {unit}"
    return f"{number} bytes" if number != 1 else "1 byte"


def exact(number: int) -> str:
    """Bytes with their separators, as in ``1,048,576 bytes``."""
    return f"{number:,} bytes"


def full(number: int | None) -> str | None:
    """The size with the exact number behind it."""
    return size(number) if number is None or number < 1 << 10 else f"{size(number)} ({exact(number)})"


def share(part: int, whole: int) -> str:
    """What part of a whole this is, as in ``12.5 %``. Something is never shown as nothing, nor all but something as all."""
    if not part or not whole:
        return "0 %"
    if part == whole:
        return "100 %"
    percent = min(max(100 * part / whole, 0.01), 99.99)
    return f"{percent:.2f} %" if percent < 1 or percent > 99 else f"{percent:.1f} %"


def form(image: dict[str, object]) -> str:
    """The format of an image with its variant, as in ``vmdk streamOptimized, compressed``."""
    name = " ".join(str(image[key]) for key in ("format", "subformat") if image.get(key))
    return f"{name}, compressed" if image.get("compressed") else name
