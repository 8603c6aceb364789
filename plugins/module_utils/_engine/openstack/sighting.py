# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What one of oslo.utils' format inspectors says of a file."""

from __future__ import annotations

import dataclasses

from ..limits import KIB

CHUNK = 64 * KIB
"""Bytes that Glance's file store reads at a time. An inspector only sees what streams by, so that a few answers depend on it."""


@dataclasses.dataclass(frozen=True)
class Failure:
    """A safety check that fails."""

    check: str
    """oslo.utils' name of the check"""
    reason: str
    """fits behind "it is refused: " """


@dataclasses.dataclass(frozen=True)
class Sighting:
    """A format that the content answers to."""

    format: str
    """oslo.utils' name: Glance's disk_format, or ``gpt``, which is a disk with any partition table, ``qed`` or ``luks``"""
    whole: bool = True
    """all that the inspector wants to see is there; what it could not see is refused"""
    failures: tuple[Failure, ...] = ()
    sized: bool = True
    """if it is whole, the size of its disk can be told; Glance, which asks for it, refuses it otherwise"""
