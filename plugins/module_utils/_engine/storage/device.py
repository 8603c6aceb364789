# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""A block device that a result is written to: in place, since nothing else can be done with one."""

from __future__ import annotations

import errno
import os
import stat
import typing as t

from ..errors import AccessError, BusyError, from_os_error
from .behind import WriteBehind
from .sink import Sink


def is_block_device(path: str) -> bool:
    """Whether there is a block device at ``path``, or at the end of the links there."""
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


class DeviceSink(Sink):
    """Writes go straight to the device; what was there before is lost, and a run that is stopped leaves a part.

    The device is held so that nobody mounts it meanwhile (Linux's O_EXCL).

    :param path: of the device
    :raises AccessError: no block device, or not permitted
    :raises BusyError: it is mounted, or another program holds it
    """

    def __init__(self, path: str) -> None:
        # Nothing of what a file needs: no other name, no further files, nothing to throw away.
        self.name = path
        self.others = {}
        self._fd = -1
        self._behind = WriteBehind()
        if not is_block_device(path):
            raise AccessError("is not a block device", path=path)
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
            self.size = os.lseek(self._fd, 0, os.SEEK_END)
        except OSError as error:
            self.discard()
            if error.errno == errno.EBUSY:
                raise BusyError("the device is in use", path=path, hint="Unmount it first") from error
            raise from_os_error(error, path, "open the device") from error

    def truncate(self, size: int) -> None:
        """A device has the size that it has; what lies behind the disk stays."""

    def allocate(self, offset: int, length: int) -> None:
        """All of it is there."""

    def commit(self, move: t.Callable[[str, str], object] = os.replace) -> None:
        self.sync()
        self.discard()

    def discard(self) -> None:
        """Let go of the device."""
        self._close()
