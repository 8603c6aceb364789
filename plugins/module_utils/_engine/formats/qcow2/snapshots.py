# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The snapshot table. Source: qemu, docs/interop/qcow2.rst, section "Snapshots"."""

from __future__ import annotations

import datetime
import typing as t

from ...errors import LimitExceeded
from ...storage.base import Storage
from . import layout


def read_snapshots(storage: Storage, header: layout.Header) -> list[dict[str, t.Any]]:
    """The internal snapshots as ``qemu-img info`` lists them (id, name, vm_state_size, date), and where their L1 tables are.

    :raises CorruptImage, LimitExceeded: the table runs out of the file, or an entry out of its bounds
    """
    found = []
    position = header.snapshots_offset
    most = position + layout.MAX_SNAPSHOT_TABLE
    for _index in range(header.nb_snapshots):
        entry = layout.SNAPSHOT.unpack(storage.read_exact(position, layout.SNAPSHOT.size, "a snapshot table entry"))
        position += layout.SNAPSHOT.size
        if entry.extra_data_size > layout.MAX_SNAPSHOT_EXTRA:
            raise LimitExceeded(f"a snapshot has {entry.extra_data_size} bytes of extra data", path=storage.name, offset=position)
        if position > most:
            raise LimitExceeded(f"the snapshot table has more than {layout.MAX_SNAPSHOT_TABLE} bytes", path=storage.name, offset=header.snapshots_offset)
        names = storage.read_exact(position, entry.extra_data_size + entry.id_str_size + entry.name_size, "a snapshot table entry")
        extra, rest = names[: entry.extra_data_size], names[entry.extra_data_size :]
        position += -(-len(names) // 8) * 8
        found.append(
            {
                "id": rest[: entry.id_str_size].decode("utf-8", "replace"),
                "name": rest[entry.id_str_size :].decode("utf-8", "replace"),
                "vm_state_size": int.from_bytes(extra[:8], "big") if len(extra) >= 8 else entry.vm_state_size,
                "virtual_size": int.from_bytes(extra[8:16], "big") if len(extra) >= 16 else header.size,
                "date": datetime.datetime.fromtimestamp(entry.date_sec, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "l1_table_offset": entry.l1_table_offset,
                "l1_size": entry.l1_size,
            }
        )
    return found
