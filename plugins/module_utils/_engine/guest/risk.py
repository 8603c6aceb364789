# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""One risk, as it is told."""

from __future__ import annotations

import dataclasses

ERROR, WARNING, NOTE = "error", "warning", "note"


@dataclasses.dataclass(frozen=True)
class Risk:
    """Something that is not as OpenStack with KVM wants it."""

    code: str
    """for programs: ``no_virtio_in_initramfs``"""
    level: str
    """``error``: it will not boot, or not be reached; ``warning``: something will not work; ``note``: good to know"""
    text: str
    """for people: what is wrong, and what to do"""
    source: str | None
    """the file or structure that shows it"""
