# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""A regular file or block device, opened for reading without following surprises."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import typing as t

from ..errors import AccessError, CorruptImage, InvalidImage, from_os_error
from .base import Storage


class FileStorage(Storage):
    """A file on this node.

    :param path: the file; a symbolic link is followed unless ``beneath`` is set
    :param beneath: refuse a symbolic link as the last part of the path (for files that an image names)
    :param descriptor: an open descriptor of the file, which is not closed with the storage; ``path`` is only its name then
    :raises AccessError: missing, not permitted, a folder, a FIFO, a socket or a character device
    """

    def __init__(self, path: str | os.PathLike[str], *, beneath: bool = False, descriptor: int | None = None) -> None:
        self.name = os.fspath(path)
        self._run = 0, 0
        """where the run of data that was found last begins and ends"""
        # O_NONBLOCK: opening a FIFO must not wait for a writer.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_NOFOLLOW if beneath else 0)
        try:
            self._fd = os.open(self.name, flags) if descriptor is None else os.dup(descriptor)
        except OSError as error:
            raise from_os_error(error, self.name, "open the file") from error
        except ValueError as error:  # a NUL in the name
            raise AccessError(f"not a usable file name ({error})", path=self.name) from error
        try:
            self._stat = os.fstat(self._fd)
            self.is_block_device = stat.S_ISBLK(self._stat.st_mode)
            if stat.S_ISDIR(self._stat.st_mode):
                raise AccessError("is a folder, not a file", path=self.name)
            if not (stat.S_ISREG(self._stat.st_mode) or self.is_block_device):
                raise AccessError("is neither a regular file nor a block device", path=self.name)
            self.size = os.lseek(self._fd, 0, os.SEEK_END)
        except OSError as error:
            os.close(self._fd)
            raise from_os_error(error, self.name, "open the file") from error
        except BaseException:
            os.close(self._fd)
            raise

    def read_at(self, offset: int, length: int) -> bytes:
        try:
            data = os.pread(self._fd, length, offset)
            if len(data) == length or not data:
                return data
            parts = [data]
            got = len(data)
            while got < length:
                data = os.pread(self._fd, length - got, offset + got)
                if not data:
                    break
                parts.append(data)
                got += len(data)
            return b"".join(parts)
        except OSError as error:
            raise from_os_error(error, self.name, f"read at byte {offset:#x}") from error
        except (OverflowError, ValueError) as error:
            raise InvalidImage(f"cannot read {length} bytes there: not a possible range", path=self.name, offset=offset) from error

    def read_into(self, offset: int, buffer: memoryview, what: str) -> None:
        self.require(offset, len(buffer), what)
        try:
            got = os.preadv(self._fd, [buffer], offset)
            while got < len(buffer):
                more = os.preadv(self._fd, [buffer[got:]], offset + got)
                if not more:
                    raise CorruptImage(f"{what} could not be read whole: the file is being cut while it is read", path=self.name, offset=offset)
                got += more
        except OSError as error:
            raise from_os_error(error, self.name, f"read at byte {offset:#x}") from error

    def data_ranges(self, start: int = 0, end: int | None = None) -> t.Iterator[tuple[int, int]]:
        end = self.size if end is None else min(end, self.size)
        position = start
        while position < end:
            data, hole = self._run
            # Where a run ends is searched page by page: of a long one that is asked for in pieces, only once.
            if not data <= position < hole:
                try:
                    data = os.lseek(self._fd, position, os.SEEK_DATA)
                    hole = os.lseek(self._fd, data, os.SEEK_HOLE)
                except OSError as error:
                    if error.errno == errno.ENXIO:  # no data up to the end
                        return
                    # A file system or device without holes: all of it may be data.
                    data, hole = position, self.size
                self._run = data, hole
            if data >= end:
                return
            data = max(data, position)
            yield data, min(hole, end) - data
            position = hole

    def allocated(self) -> int:
        return self.size if self.is_block_device else self._stat.st_blocks * 512

    def changed(self) -> bool:
        try:
            now = os.fstat(self._fd)
        except OSError as error:
            raise from_os_error(error, self.name, "look at the file again") from error
        return not self.is_block_device and (now.st_size, now.st_mtime_ns) != (self._stat.st_size, self._stat.st_mtime_ns)

    def identity(self) -> dict[str, int]:
        """What tells this very content of this very file again, without reading it (device, inode, size, times in ns)."""
        return {
            "device": self._stat.st_dev,
            "inode": self._stat.st_ino,
            "size": self.size,
            "mtime_ns": self._stat.st_mtime_ns,
            "ctime_ns": self._stat.st_ctime_ns,
        }

    def fileno(self) -> int:
        """The open descriptor, for advice to the kernel and kernel copies."""
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # nothing was written that could be lost
                os.close(self._fd)
            self._fd = -1
