# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What a probe answers with: one format that the content could be."""

from __future__ import annotations

import dataclasses

DISK = "disk"
OPTICAL = "optical"
ARCHIVE = "archive"
COMPRESSION = "compression"
ENCRYPTED = "encrypted"
CONTENT = "content"
"""a partition table or a file system: what a raw disk holds"""
OTHER = "other"
"""known, and not a disk: text, a kernel"""


@dataclasses.dataclass(frozen=True)
class Match:
    """A format that the content answers to."""

    format: str
    """the registry's name where there is a reader, else the field's (``qed``, ``luks``, ``xz``)"""
    category: str
    """``disk``, ``optical``, ``archive``, ``compression``, ``encrypted``, ``content`` or ``other``"""
    description: str
    """for a message: fits behind "this is" """
    confidence: int
    """0 to 100"""
    reader: str | None = None
    """the registry's name of the reader that takes it; None: only named"""
    tool: str | None = None
    """what reads a format that is only named"""
