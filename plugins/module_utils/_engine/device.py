# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""A disk on a block device: an LVM volume, a Ceph RBD, an iSCSI LUN. Only what differs is written."""

from __future__ import annotations

from .errors import CorruptImage, SpaceError
from .formats.base import Reader, Target, whole_sectors
from .formats.raw import RawReader, RawWriter
from .progress import Progress, silent
from .source import Source
from .storage.device import DeviceSink
from .storage.file import FileStorage
from .transfer.compare import Difference, compare
from .transfer.convert import convert, survey
from .transfer.resize import Resized


def device_difference(source: Source, path: str, *, progress: Progress = silent) -> Difference | None:
    """Where a device shows another disk than the source, up to the end of the source's.

    :raises SpaceError: the device is smaller
    :raises ImageError: one of the two cannot be read
    """
    with _Device(path, source.reader.virtual_size) as device:
        return compare(source.reader, device.reader, progress=progress)


def write_device(source: Source, target: Target, path: str, *, progress: Progress = silent, threads: int | None = None) -> list[str]:
    """Have the first bytes of a device be the source's disk; those that are it already are not written.

    :param target: raw
    :return: what was verified, for a person to read
    :raises AccessError: no block device, or not permitted
    :raises BusyError: it is in use
    :raises SpaceError: it is too small
    :raises ImageError: the source cannot be read, or the device does not give back what was written
    """
    reader = source.reader
    found = survey(reader)
    size = whole_sectors(reader.virtual_size)
    with _Device(path, size) as device, DeviceSink(path) as sink:
        convert(reader, RawWriter(sink, size, target), base=device.reader, found=found, progress=progress, threads=threads)
        sink.commit()
    difference = device_difference(source, path, progress=progress)
    if difference is not None:
        raise CorruptImage(f"the device does not give back what was written: {difference.reason}", path=path)
    return [f"all {reader.format} structures of the source lie inside the file", f"all {size} bytes on the device are the same as in the source"]


class _Device:
    """The first ``size`` bytes of a device as a disk.

    :raises SpaceError: it has fewer
    """

    def __init__(self, path: str, size: int) -> None:
        self._storage = FileStorage(path)
        if self._storage.size < size:
            self._storage.close()
            raise SpaceError(f"the disk has {size} bytes, the device only {self._storage.size}", path=path, hint="Choose a larger device")
        self.reader: Reader = Resized(RawReader(self._storage), size)

    def __enter__(self) -> _Device:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._storage.close()
