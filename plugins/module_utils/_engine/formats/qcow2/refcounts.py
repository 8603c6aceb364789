# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Writing refcounts. Source: qemu, docs/interop/qcow2.rst, "Host cluster management"."""

from __future__ import annotations

import array
import sys
import typing as t

from ...errors import UnsupportedImage
from . import layout

if t.TYPE_CHECKING:  # pragma: no cover
    from ...storage.sink import Sink
    from .options import Options

_PIECE = 1 << 19
"""refcounts written at once"""


def write_refcounts(sink: Sink, end: int, counts: array.array[int], options: Options) -> tuple[int, int]:
    """Put refcount blocks and the refcount table behind everything else; they count themselves, too.

    :param end: where they begin: the end of what is written, a multiple of the cluster size
    :param counts: the refcounts of the first clusters; those behind have one reference each
    :return: offset of the table, and its clusters; it is the last in the file
    :raises UnsupportedImage: the table would be larger than qemu takes
    """
    unit, order = options.cluster_size, options.refcount_order
    per_block = unit * 8 >> order
    used = end // unit
    blocks = table = 0
    while True:
        total = used + blocks + table
        more_blocks = -(-total // per_block)
        more_table = -(-more_blocks * 8 // unit)
        if (more_blocks, more_table) == (blocks, table):
            break
        blocks, table = more_blocks, more_table
    if table * unit > max(layout.MAX_REFCOUNT_TABLE_BYTES, unit):
        raise UnsupportedImage(
            f"the refcount table would have {table * unit} bytes; {layout.MAX_REFCOUNT_TABLE_BYTES} is the most that is read",
            path=sink.name,
            hint="Take a larger cluster_size or fewer refcount_bits",
        )
    for at in range(0, total, _PIECE):
        piece = counts[at : at + _PIECE]
        piece.extend(array.array("H", [1]) * (min(_PIECE, total - at) - len(piece)))
        sink.write_at(end + (at << order) // 8, pack(piece, order))
    table_offset = end + blocks * unit  # what is between counts clusters that are not there: a hole, zero
    sink.write_at(table_offset, to_big_endian(array.array("Q", range(end, table_offset, unit))))
    return table_offset, table


def pack(counts: array.array[int], order: int) -> bytes:
    """Refcounts as they lie in a block; the caller has made sure that each fits into ``1 << order`` bits."""
    if order == 4:
        return to_big_endian(counts)
    if order > 4:
        return to_big_endian(array.array({5: "I", 6: "Q"}[order], counts))
    raw = array.array("B", counts).tobytes()
    if order == 3:
        return raw
    width, share = 1 << order, 8 >> order
    raw += bytes(-len(raw) % share)
    packed = 0
    for place in range(share):  # the first one in a byte's lowest bits; all bytes at once, as one long number
        packed |= int.from_bytes(raw[place::share], "little") << (place * width)
    return packed.to_bytes(len(raw) // share, "little")


def to_big_endian(entries: array.array[int]) -> bytes:
    if sys.byteorder == "little":
        entries = entries[:]
        entries.byteswap()
    return entries.tobytes()
