# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What nothing in a VHD uses. See layout.py for the source of the rules."""

from __future__ import annotations

import itertools
import typing as t

from ..base import CheckResult

Range = tuple[int, int]
"""start and end, bytes of the file"""


def find_leaks(taken: t.Iterable[Range], end: int, stride: int, behind: int, result: CheckResult) -> None:
    """Add blocks that no entry of the table names. Less than a block between two structures is alignment.

    :param taken: what headers, table, locators and blocks take, in rising order
    :param end: where the footer at the end of the file begins
    :param stride: bytes of a block with its bitmap
    :param behind: blocks that are in the table, but behind the end of the disk
    """
    if behind:
        result.leaks.append(f"{behind} blocks in the table lie behind the end of the disk")
    lost = position = 0
    for start, stop in itertools.chain(taken, [(end, end)]):
        lost += max(0, start - position) // stride
        position = max(position, stop)
    if lost:
        result.leaks.append(f"{lost} blocks of {stride} bytes in the file are in no entry of the table")
