# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Whether the log of XFS has to be replayed. It is not: files are read as they are in place.

Source: "XFS Filesystem Structure", section "Journaling Log"; how the head is found from Linux, fs/xfs/xfs_log_recover.c.
"""

from __future__ import annotations

import typing as t

from ...structure import Structure
from .blocks import Blocks
from .superblock import SECTOR

RECORD_MAGIC = b"\xfe\xed\xba\xbe"
RECORD = Structure(
    ">", ("h_magicno", "4s"), ("h_cycle", "I"), ("h_version", "I"), ("h_len", "I"), ("_", "24s"), ("h_num_logops", "I"), ("_", "276s"), ("h_size", "I")
)
OPERATION_FLAGS = 9
"""offset of ``oh_flags`` in an operation's header"""
UNMOUNT_TRANS = 0x20
VERSION_2 = 2
HEADER_COVERS = 32768
"""bytes of a record for which one sector of header is enough"""
MAX_RECORD = 256 * 1024 // SECTOR + 8
"""sectors, header included"""


def is_clean(blocks: Blocks) -> bool | None:
    """Whether the last thing in the log is that the file system was unmounted; None when the log is on another device.

    :raises CorruptImage: the log lies in no possible place, or behind the end of the volume
    """
    superblock = blocks.superblock
    if superblock.log_start == 0:
        return None
    start = blocks.offset(superblock.log_start, superblock.log_blocks, "the log")
    count = superblock.log_blocks * superblock.block_size // SECTOR

    def cycle(sector: int) -> int:
        head = blocks.storage.read_exact(start + sector * SECTOR, 8, "the log")
        return int.from_bytes(head[4:] if head[:4] == RECORD_MAGIC else head[:4], "big")

    if count == 0:
        return False
    if cycle(0) == 0:  # nothing was ever written
        return cycle(count - 1) == 0
    head = _head(cycle, count)
    window = min(count, MAX_RECORD)
    before = min(window, head)
    data = b"".join(
        blocks.storage.read_exact(start + sector * SECTOR, sectors * SECTOR, "the log")
        for sector, sectors in ((count - (window - before), window - before), (head - before, before))
    )
    last = next((at for at in range(len(data) - SECTOR, -1, -SECTOR) if data[at : at + 4] == RECORD_MAGIC), None)
    return last is not None and _is_unmount(data[last:])


def _head(cycle: t.Callable[[int], int], count: int) -> int:
    """The sector behind the last one written. Each starts with the number of its round: at the head an older round goes on."""
    first = cycle(0)
    low, head = 0, count - 1
    if cycle(head) == first:
        return count
    while head - low > 1:
        middle = (low + head) // 2
        if cycle(middle) == first:
            low = middle
        else:
            head = middle
    return head


def _is_unmount(data: bytes) -> bool:
    """Whether a record that goes up to the head of the log tells of an unmount and of nothing else."""
    record = RECORD.unpack(data)
    headers = -(-record.h_size // HEADER_COVERS) if record.h_version & VERSION_2 else 1
    body = max(1, headers) * SECTOR
    length = body + -(-record.h_len // SECTOR) * SECTOR
    return record.h_num_logops == 1 and body < len(data) == length and bool(data[body + OPERATION_FLAGS] & UNMOUNT_TRANS)
