# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Linux swap space, and a suspended system in it. Source: Linux, include/linux/swap.h (union swap_header), kernel/power/swap.c."""

from __future__ import annotations

from ...limits import KIB
from ...storage.base import Storage
from ...structure import Structure
from ..base import Signature
from .values import OTHER, identifier, text

SWAP_HEADER = Structure(
    "<", ("bootbits", "1024s"), ("version", "I"), ("last_page", "I"), ("nr_badpages", "I"), ("sws_uuid", "16s"), ("sws_volume", "16s"), ("padding", "468s")
)
PAGE_SIZES = tuple(size * KIB for size in (4, 8, 16, 32, 64))
_SUSPENDED = {b"S1SUSPEND": "s1suspend", b"S2SUSPEND": "s2suspend", b"ULSUSPEND": "ulsuspend", b"LINHIB0001": "linhib0001"}


def identify(storage: Storage) -> Signature | None:
    """Swap space, of whatever page size; None when it is none.

    One that a system was suspended to is ``swsuspend``, as it must not be used before that system was resumed or given up.
    """
    head = storage.read_at(0, PAGE_SIZES[-1])
    if len(head) < SWAP_HEADER.size:
        return None
    header = SWAP_HEADER.unpack(head)
    clean = not any(header.padding[128:136])  # blkid's test of whether something else was written there
    label, uuid = (text(header.sws_volume), identifier(header.sws_uuid)) if clean else (None, None)
    for page in PAGE_SIZES:
        magic = head[page - 10 : page]
        for suspended, version in _SUSPENDED.items():
            if magic.startswith(suspended):
                warning = "a suspended system lies in it: whoever boots from this disk resumes it"
                return Signature("swsuspend", OTHER, label, uuid, version, warnings=(warning,))
        if magic == b"SWAPSPACE2" and header.version in (1, 1 << 24) and header.last_page:
            # Of a big-endian machine, the number of pages is, too.
            pages = header.last_page if header.version == 1 else int.from_bytes(header.last_page.to_bytes(4, "little"), "big")
            return Signature("swap", OTHER, label, uuid, "1", size=(pages + 1) * page)
        if magic == b"SWAP-SPACE":
            return Signature("swap", OTHER, version="0")
    return None
