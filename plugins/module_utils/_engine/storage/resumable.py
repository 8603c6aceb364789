# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""A result that is made in several runs: what one has written, the next one goes on with."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import stat
import typing as t

from ..errors import BusyError, ImageError, from_os_error
from .sink import Sink

_ENDING = ".partial"
_MAX_NOTE = 1 << 20


class ResumableSink(Sink):
    """A Sink whose bytes stay in ``.<name>.partial`` when the block is left without :meth:`commit`, or the process is killed.

    A note says what the bytes are (:attr:`note`, :meth:`remember`); without one they are worth nothing and are thrown away.

    :raises BusyError: another process writes to the same destination in this way
    """

    note: dict[str, t.Any]
    """what was remembered of the bytes that are there; empty when there are none"""

    def _open(self) -> None:
        path = partial_path(self.name)
        try:
            while True:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, self._mode)
                if _is_ours(fd):
                    if not _locked(fd):
                        os.close(fd)
                        raise BusyError("another run is writing this file", path=self.name, hint="Wait until it is done")
                    if _is_still(fd, path):
                        break
                else:  # in a folder for everybody, somebody else may have put it there
                    os.unlink(path)
                os.close(fd)
        except OSError as error:
            raise from_os_error(error, path, "write beside the destination") from error
        self._fd, self._part = fd, path
        self.size = os.fstat(fd).st_size
        self.note = _read_note(path) if self.size else {}
        if not self.note:
            self.restart()

    def restart(self) -> None:
        """Throw the bytes away and begin anew."""
        self.note = {}
        self.truncate(0)

    def remember(self, note: dict[str, t.Any]) -> None:
        """Note what the bytes are that will be written. Where that is not possible, the next run begins anew.

        :param note: JSON-safe
        """
        self.note = note
        with contextlib.suppress(OSError, ImageError), Sink(_note_path(partial_path(self.name))) as sink:
            sink.write_at(0, json.dumps(note).encode("utf-8"))
            sink.commit()

    def commit(self, move: t.Callable[[str, str], object] = os.replace) -> None:
        super().commit(move)
        _remove(_note_path(partial_path(self.name)))

    def discard(self) -> None:
        if self._part is not None and self.size and self.note:
            self._part = None  # it stays
        elif self._part is not None:
            _remove(_note_path(self._part))
        super().discard()


def partial_path(dest: str) -> str:
    """Where the bytes lie while the file is not whole."""
    folder, name = os.path.split(dest)
    return os.path.join(folder or ".", f".{os.fsdecode(os.fsencode(name)[:200])}{_ENDING}")


def remove_partial(dest: str) -> None:
    """Remove what earlier runs left, unless one is at work."""
    path = partial_path(dest)
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if _is_ours(fd) and _locked(fd):
                os.unlink(path)
        finally:
            os.close(fd)
    if not os.path.lexists(path):
        _remove(_note_path(path))


def _is_ours(fd: int) -> bool:
    found = os.fstat(fd)
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink <= 1


def _is_still(fd: int, path: str) -> bool:
    """Whether the file has its name yet: another run may have finished before it was locked."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    except FileNotFoundError:
        return False


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks
    return True


def _note_path(partial: str) -> str:
    return f"{partial}.json"


def _read_note(partial: str) -> dict[str, t.Any]:
    """Written by nobody but us, as the folder may be one for everybody."""
    try:
        fd = os.open(_note_path(partial), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(fd, encoding="utf-8") as file:
            found = json.loads(file.read(_MAX_NOTE)) if _is_ours(fd) else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
