# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Unpacking what can only be read in order into a file, for formats that are read in any order."""

from __future__ import annotations

import os
import typing as t

from ..errors import from_os_error
from ..limits import KIB, MIB
from ..progress import Progress, silent
from .base import Storage
from .file import FileStorage

_PIECE = 1 * MIB
_GRAIN = 64 * KIB
_ZEROS = bytes(_PIECE)


class SpooledStorage(FileStorage):
    """The unpacked bytes; what is known of the file that they come from stays known."""

    def __init__(self, source: Storage, fd: int) -> None:
        super().__init__(source.name, descriptor=fd)
        self._source = source

    def allocated(self) -> int:
        return self._source.allocated()

    def changed(self) -> bool:
        return self._source.changed()


def spool(storage: Storage, fd: int, progress: Progress = silent) -> SpooledStorage:
    """Write all bytes of a storage into a file, and read from there.

    :param fd: an empty file, open for reading and writing; zeros become holes. The caller closes it, at any time
    :param progress: told of the bytes written
    :raises SpaceError: the file system is full
    :raises ImageError: the storage cannot be read whole
    """
    size = storage.size
    try:
        for position in range(0, size, _PIECE):
            data = storage.read_exact(position, min(_PIECE, size - position), "the compressed content")
            _write_sparse(fd, data, position)
            progress("decompress", position + len(data), size)
        os.ftruncate(fd, size)
    except OSError as error:
        raise from_os_error(error, storage.name, "decompress into a temporary file") from error
    return SpooledStorage(storage, fd)


def data_runs(data: bytes) -> t.Iterator[tuple[int, int]]:
    """Where there is more than zeros in some bytes, in grains of 64 KiB: begin and end of each run.

    :param data: at most 1 MiB
    """
    length = len(data)
    if data == _ZEROS[:length]:
        return
    start = 0
    for grain in range(0, length, _GRAIN):
        end = min(grain + _GRAIN, length)
        if data[grain:end] == _ZEROS[: end - grain]:
            if start < grain:
                yield start, grain
            start = end
    if start < length:
        yield start, length


def _write_sparse(fd: int, data: bytes, position: int) -> None:
    """Write what is not zero; the file must read as zeros there."""
    for start, end in data_runs(data):
        while start < end:
            start += os.pwrite(fd, memoryview(data)[start:end], position + start)
