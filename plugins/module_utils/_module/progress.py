# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Where the work is, in a small file that the action plugin reads meanwhile (plugin_utils/_progress.py)."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t

from .._engine.progress import Progress, silent

_PATH = "VMIMAGE_PROGRESS_FILE"
_LENGTH = 80
_SECONDS = 1.0


@contextlib.contextmanager
def reported() -> t.Iterator[Progress]:
    """What is called with the progress inside this block. Without the action plugin it tells nobody."""
    path = os.environ.get(_PATH)
    if not path:
        yield silent
        return
    file = ProgressFile(path)
    try:
        yield file
    finally:
        file.remove()


class ProgressFile:
    """A Progress that keeps one line in a file: the phase, the bytes done, the bytes in all, and the seconds since the phase began.

    The line has always the same length and is written in place, at most once a second: who reads sees one or the other. Work that takes
    less makes no file. Progress is a courtesy: when the file cannot be written, the work goes on without.

    :param path: where no file may be yet
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: t.BinaryIO | None = None
        self._given_up = False
        self._next = time.monotonic() + _SECONDS
        self._phase: tuple[str, int] | None = None
        self._done = 0
        self._began = 0.0

    def __call__(self, phase: str, done: int, total: int) -> None:
        now = time.monotonic()
        if self._phase != (phase, total) or done < self._done:
            self._phase, self._began = (phase, total), now
        self._done = done
        if now < self._next or self._given_up:
            return
        self._next = now + _SECONDS
        try:
            self._write(f"{phase} {done} {total} {now - self._began:.1f}".ljust(_LENGTH).encode() + b"\n")
        except OSError:
            self._given_up = True

    def remove(self) -> None:
        """Leave nothing behind."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def _write(self, line: bytes) -> None:
        if self._file is None:
            # The folder may be one for all users: a file or link that somebody has put there first is not touched.
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            self._file = open(fd, "wb", buffering=0)
        os.pwrite(self._file.fileno(), line, 0)
