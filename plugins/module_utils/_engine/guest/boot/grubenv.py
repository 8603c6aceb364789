# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""GRUB's environment block: the few variables that it keeps from one boot to the next.

Source: GNU GRUB manual, "The GRUB environment block"; grub_envblk_iterate of its library.
"""

from __future__ import annotations

MAX_SIZE = 64 * 1024
"""bytes; grub-editenv makes 1024"""


def parse_grubenv(data: bytes) -> dict[str, str]:
    """The variables of an environment block; none when it is something else."""
    text = data.decode("utf-8", "surrogateescape")
    if not text.startswith("# GRUB Environment Block\n"):
        return {}
    found: dict[str, str] = {}
    line: list[str] = []
    escaped = False
    for char in text:
        if escaped:
            line.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == "\n":
            name, equals, value = "".join(line).partition("=")
            if equals and not name.startswith("#"):
                found[name] = value
            line.clear()
        else:
            line.append(char)
    return found
