# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""How long work tells its caller where it is."""

from __future__ import annotations

import typing as t

Progress = t.Callable[[str, int, int], None]
"""Called with the phase (``read``, ``convert``, ``verify`` …), the bytes done and the bytes in all."""


def silent(phase: str, done: int, total: int) -> None:
    """The default: tell nobody."""
