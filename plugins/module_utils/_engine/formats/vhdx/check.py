# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What is wrong with a VHDX that is read nevertheless: damaged copies, and blocks that nothing names. Source: [MS-VHDX] 2.2.3, 2.5."""

from __future__ import annotations

import re
import typing as t

from ...limits import MIB
from ..base import CheckResult
from . import bat, layout
from .metadata import Metadata

if t.TYPE_CHECKING:  # pragma: no cover
    from ...storage.base import Storage


def check_region_tables(storage: Storage, result: CheckResult) -> None:
    """Both are written once, and have to be the same: other readers look at the first one only, and refuse.

    The two headers are written in turn, over and over: that one of them is damaged is what a power cut leaves, and tells
    nothing of the disk. It is a warning.
    """
    tables = [storage.read_exact(offset, layout.REGION_TABLE_SIZE, "a region table") for offset in layout.REGION_TABLE_OFFSETS]
    damaged = [number for number, table in enumerate(tables, 1) if not layout.is_sound_table(table)]
    if damaged:
        result.corruptions += [f"region table {number} of two is damaged" for number in damaged]
    elif tables[0] != tables[1]:
        result.corruptions.append("the two region tables differ")


def check_leaks(storage: Storage, table: layout.Area, metadata: Metadata, areas: t.Iterable[layout.Area], result: CheckResult) -> None:
    """Add the room of whole blocks that is in no entry of the table.

    Only what lies behind the first block counts: qemu leaves room in front of it. A block that was given up may keep its
    place in the file (2.5.1.1).

    :param areas: what the structures take
    """
    claims = bat.Claims(storage, areas)
    first = claims.size
    for extent in bat.walk(storage, table, metadata, claims, 0, metadata.virtual_disk_size):
        if extent.storage is not None:
            first = min(first, extent.offset // MIB)
    for offset, length in bat.kept(storage, table, metadata):
        claims.keep(offset, length)
    block = metadata.block_size // MIB
    lost = sum((run.end() - run.start()) // block for run in re.finditer(b"\0+", claims.taken(first)))
    if lost:
        result.leaks.append(f"{lost} blocks of {metadata.block_size} bytes in the file are in no entry of the block allocation table")
