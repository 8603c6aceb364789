# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The snapshot table. Source: qemu, docs/interop/qcow2.rst, section "Snapshots"."""

from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ...errors import CorruptImage, InvalidImage, LimitExceeded, printable
from ...limits import SECTOR
from ...storage.base import Storage
from ..base import check_virtual_size
from . import layout


@dataclasses.dataclass
class Snapshot:
    """An entry of the snapshot table, with the names of the specification."""

    id: str
    name: str
    l1_table_offset: int
    l1_size: int
    date_sec: int
    date_nsec: int
    vm_clock_nsec: int
    vm_state_size: int
    """bytes"""
    disk_size: int
    """bytes; the image's, where the entry tells none"""
    icount: int | None
    complete: bool
    """the entry tells the disk's size, which version 3 demands"""

    def describe(self) -> dict[str, t.Any]:
        """In the words of ``qemu-img info --output=json``, and where the snapshot's L1 table is."""
        clock, nanoseconds = divmod(self.vm_clock_nsec, 10**9)
        said: dict[str, t.Any] = {
            "id": self.id,
            "name": self.name,
            "vm_state_size": self.vm_state_size,
            "virtual_size": self.disk_size,
            "disk_size": self.disk_size,
            "date": datetime.datetime.fromtimestamp(self.date_sec, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "date_sec": self.date_sec,
            "date_nsec": self.date_nsec,
            "vm_clock_sec": clock,
            "vm_clock_nsec": nanoseconds,
            "l1_table_offset": self.l1_table_offset,
            "l1_size": self.l1_size,
        }
        if self.icount is not None:
            said["icount"] = self.icount
        return said


@dataclasses.dataclass
class SnapshotTable:
    """All entries, and the bytes that they take."""

    entries: list[Snapshot]
    size: int


def read_snapshots(storage: Storage, header: layout.Header) -> SnapshotTable:
    """The internal snapshots.

    :raises CorruptImage, LimitExceeded: the table runs out of the file, or an entry out of its bounds
    """
    found = []
    position = end = header.snapshots_offset
    most = position + layout.MAX_SNAPSHOT_TABLE
    for _index in range(header.nb_snapshots):
        entry = layout.SNAPSHOT.unpack(storage.read_exact(position, layout.SNAPSHOT.size, "a snapshot table entry"))
        position += layout.SNAPSHOT.size
        if entry.extra_data_size > layout.MAX_SNAPSHOT_EXTRA:
            raise LimitExceeded(f"a snapshot has {entry.extra_data_size} bytes of extra data", path=storage.name, offset=position)
        if position > most:
            raise LimitExceeded(f"the snapshot table has more than {layout.MAX_SNAPSHOT_TABLE} bytes", path=storage.name, offset=header.snapshots_offset)
        names = storage.read_exact(position, entry.extra_data_size + entry.id_str_size + entry.name_size, "a snapshot table entry")
        end = position + len(names)
        position += -(-len(names) // 8) * 8
        found.append(_snapshot(entry, names, header))
    return SnapshotTable(found, end - header.snapshots_offset)


def _snapshot(entry: t.Any, names: bytes, header: layout.Header) -> Snapshot:
    extra, rest = names[: entry.extra_data_size], names[entry.extra_data_size :]
    told = layout.SNAPSHOT_EXTRA.unpack(extra.ljust(layout.SNAPSHOT_EXTRA.size, b"\0"))
    return Snapshot(
        id=rest[: entry.id_str_size].decode("utf-8", "replace"),
        name=rest[entry.id_str_size :].decode("utf-8", "replace"),
        l1_table_offset=entry.l1_table_offset,
        l1_size=entry.l1_size,
        date_sec=entry.date_sec,
        date_nsec=entry.date_nsec,
        vm_clock_nsec=entry.vm_clock_nsec,
        vm_state_size=told.vm_state_size if len(extra) >= 8 else entry.vm_state_size,
        disk_size=told.disk_size if len(extra) >= 16 else header.size,
        icount=told.icount if len(extra) >= 24 and told.icount != -1 else None,
        complete=len(extra) >= 16,
    )


def choose(snapshots: t.Sequence[Snapshot], name: str, path: str) -> Snapshot:
    """The snapshot that is meant: by its id, and only if that is nobody's by its name.

    qemu-img prefers in the same way (bdrv_snapshot_load_tmp_by_id_or_name in block/snapshot.c), but takes the first
    of several with one name.

    :raises InvalidImage: there is none, or more than one
    """
    found = [snapshot for snapshot in snapshots if snapshot.id == name] or [snapshot for snapshot in snapshots if snapshot.name == name]
    if len(found) == 1:
        return found[0]
    listed = [f"'{printable(snapshot.name)}' (id {printable(snapshot.id)})" for snapshot in found or snapshots]
    names = ", ".join(listed[:8]) + (f" and {len(listed) - 8} more" if len(listed) > 8 else "")
    if found:
        raise InvalidImage(f"{len(found)} snapshots are called '{printable(name)}': {names}", path=path, hint="Name the one that is meant by its id")
    raise InvalidImage(f"there is no snapshot '{printable(name)}'; " + (f"there are: {names}" if listed else "the image has none"), path=path)


def require_disk(snapshot: Snapshot, header: layout.Header, path: str) -> int:
    """The disk size of a snapshot, bytes.

    :raises CorruptImage: it is not possible, or its L1 table is too small for it
    :raises LimitExceeded: it is above the engine's bound
    """
    size = check_virtual_size(snapshot.disk_size, path)
    if size % SECTOR:
        raise CorruptImage(f"the snapshot's disk has {size} bytes, no multiple of {SECTOR}", path=path, offset=header.snapshots_offset)
    # Without a size of its own the snapshot may be of a smaller disk: what it has no table for was not there.
    if snapshot.complete and snapshot.l1_size < header.l1_entries(size):
        raise CorruptImage(
            f"the snapshot's L1 table has {snapshot.l1_size} entries; its disk needs {header.l1_entries(size)}", path=path, offset=header.snapshots_offset
        )
    return size
