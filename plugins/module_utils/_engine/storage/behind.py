# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Bringing a file to the disk while it is still being written: at the end there is little left to wait for."""

from __future__ import annotations

import contextlib
import os
import threading

from ..limits import MIB

_PIECE = 32 * MIB


class WriteBehind:
    """Has the disk work beside the processor, one fdatasync() after the other in a thread."""

    def __init__(self) -> None:
        self._waiting = 0
        self._sync: _Sync | None = None

    def wrote(self, fd: int, length: int) -> None:
        """So many more bytes were written to the file."""
        self._waiting += length
        if self._waiting >= _PIECE and (self._sync is None or not self._sync.is_alive()):
            self.settle()
            self._waiting = 0
            self._sync = _Sync(fd)
            with contextlib.suppress(RuntimeError):  # no further thread is allowed: all is done at the end, then
                self._sync.start()

    def settle(self) -> None:
        """Wait for what is under way.

        :raises OSError: it failed. The kernel tells that once: what asks later hears nothing of it
        """
        sync, self._sync = self._sync, None
        if sync is not None and sync.ident is not None:
            sync.join()
            if sync.error is not None:
                raise sync.error


class _Sync(threading.Thread):
    def __init__(self, fd: int) -> None:
        super().__init__(name="vmimage-sync", daemon=True)
        self._fd = fd
        self.error: OSError | None = None

    def run(self) -> None:
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self.error = error
