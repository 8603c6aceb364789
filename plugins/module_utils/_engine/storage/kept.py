# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Replacing several files together: the old ones stay at hand until all the new ones are in place.

No file system renames several files in one step. Who reads the files while this is at work finds, under the name of the
result, a text that is no disk image (:func:`mark`), never an old and a new file mixed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import typing as t

from ..errors import ImageError
from .file import FileStorage

_MARK = "# The files of a disk image are being replaced here. If that was interrupted, the image has to be written again.\n"
_MAX_MARK = 16 << 20
_CANNOT_LINK = (errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV)


def mark(names: t.Iterable[str]) -> bytes:
    """What stands for a result of several files while they are replaced.

    :param names: of the files beside it that belong to the old result or to the new one
    """
    return (_MARK + json.dumps({"files": sorted(names)}, indent=1) + "\n").encode("utf-8")


def unfinished(path: str) -> list[str] | None:
    """The names in the mark that an interrupted run left at ``path``; None where there is no mark."""
    with contextlib.suppress(ImageError, ValueError, KeyError, TypeError, RecursionError):
        storage = FileStorage(path)  # which does not wait at a FIFO
        try:
            begin = _MARK.encode("ascii")
            if storage.read_at(0, len(begin)) == begin:
                return [name for name in json.loads(storage.read_at(len(begin), _MAX_MARK).decode("utf-8"))["files"] if isinstance(name, str)]
        finally:
            storage.close()
    return None


class Kept:
    """Files under other names, hidden and locked, from where they are put back when the replacement fails.

    Where the file system has no hard links, or does not allow one, a file cannot be kept: when the replacement of
    another one fails then, the mark stays.
    """

    def __init__(self) -> None:
        self._files: list[tuple[str, str | None, int]] = []

    def keep(self, path: str, link: str) -> None:
        """Keep what is at ``path``, if anything, as ``link``.

        :raises OSError: that is not possible, and nothing else will be either
        """
        try:
            os.link(path, link, follow_symlinks=False)
        except FileNotFoundError:
            self._files.append((path, None, -1))
            return
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            return
        descriptor = -1
        with contextlib.suppress(OSError):  # a symbolic link, or not readable: then others may take it for left behind
            descriptor = os.open(link, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._files.append((path, link, descriptor))

    def put_back(self) -> None:
        """Have everything as it was; the first one that was kept comes back last."""
        for path, link, _descriptor in reversed(self._files):
            with contextlib.suppress(OSError):
                if link is None:
                    os.unlink(path)
                else:
                    os.replace(link, path)  # does nothing where both are the same file still
        self.drop()

    def drop(self) -> None:
        """The old files are not needed any more."""
        for _path, link, descriptor in self._files:
            if link is not None:
                with contextlib.suppress(OSError):
                    os.unlink(link)
            if descriptor >= 0:
                with contextlib.suppress(OSError):
                    os.close(descriptor)
        self._files = []


@contextlib.contextmanager
def alone(folder: str) -> t.Iterator[None]:
    """Only one process at a time replaces several files in a folder: the files of two results must not mix.

    :raises OSError: the folder cannot be opened
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
