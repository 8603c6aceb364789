# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The file, or files, that a result is written to: complete under its name, or not there at all."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import os
import re
import resource
import secrets
import stat
import typing as t

from ..errors import AccessError, LimitExceeded, from_os_error
from .behind import WriteBehind
from .file import FileStorage
from .kept import Kept, alone, mark, unfinished

_SUFFIX = ".part"
_PART = re.compile(r"\.(.+)\.[0-9a-f]{12}\.part", re.DOTALL)
_DESCRIPTORS = 3
"""a further file needs so many: written, read again, and the old one kept meanwhile"""
_OTHER_DESCRIPTORS = 64


class Sink:
    """A new file that takes ``path``'s place in one step when it is whole.

    The bytes go into a nameless file in the destination's own folder (so that the rename is atomic and the file stays
    sparse); a killed process leaves nothing. Where the file system cannot do nameless files, a locked
    ``.<name>.<random>.part`` is used, and the next run on the same destination removes what a killed one left.

    A result may need further files (:meth:`beside`). They are committed and thrown away with the first one, which is the
    one that names them and therefore the last to be put in place.

    Use as a context manager: leaving the block without :meth:`commit` throws the bytes away.

    :param path: the destination; its folder must exist
    :param mode: permission bits of the new files until somebody sets others
    :param replaces: names of the further files that the present result at ``path`` has
    :param force: any regular file may be replaced by a further file
    :raises AccessError: the folder is missing or cannot be written, or ``path`` is there and no regular file
    """

    def __init__(self, path: str | os.PathLike[str], mode: int = 0o600, *, replaces: t.Collection[str] = (), force: bool = False) -> None:
        self.name = os.fspath(path)
        self._folder = os.path.dirname(self.name) or "."
        self._mode = mode
        self._replaces = replaces
        self._force = force
        self.others: dict[str, Sink] = {}
        """the further files by name"""
        self._journal: Sink | None = None
        self._placed = self._committed = False
        self._part: str | None = None
        self._fd = -1
        self._behind = WriteBehind()
        self.size = 0
        try:
            mode_there = os.stat(self.name).st_mode
            if stat.S_ISDIR(mode_there):
                raise AccessError("is a folder; name the file to write", path=self.name)
            if not stat.S_ISREG(mode_there):  # a device would not be written to but replaced
                raise AccessError("exists and is not a regular file", path=self.name)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise from_os_error(error, self.name, "look at the destination") from error
        except ValueError as error:  # a NUL in the name
            raise AccessError(f"not a usable file name ({error})", path=self.name) from error
        remove_stale_parts(self.name)
        self._open()

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CLOEXEC
        # A nameless file gets its name through /proc, which a chroot may lack.
        if os.path.isdir("/proc/self/fd"):
            try:
                self._fd = os.open(self._folder, flags | os.O_TMPFILE, self._mode)
                _lock(self._fd)  # it has a name for a moment, in commit()
                return
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT):
                    raise from_os_error(error, self._folder, "write in the folder") from error
        try:
            while True:
                part = _part_name(self.name)
                self._fd = os.open(part, flags | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, self._mode)
                self._part = part
                if _lock(self._fd) and os.fstat(self._fd).st_nlink:
                    return
                self.discard()  # another run on this destination looked at it before it was locked
        except OSError as error:
            self.discard()
            raise from_os_error(error, self._folder, "write in the folder") from error

    def reserve(self, count: int) -> None:
        """Make sure that this process may have ``count`` further files open, before anything is written to the first one.

        :raises LimitExceeded: it may not
        """
        needed = count * _DESCRIPTORS + _OTHER_DESCRIPTORS
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != resource.RLIM_INFINITY and soft < needed:
            if hard != resource.RLIM_INFINITY and hard < needed:
                raise LimitExceeded(
                    f"the result has {count} files, and this process may have {hard} open; it needs {needed}",
                    path=self.name,
                    hint="Raise the limit (ulimit -n), or choose a variant of the format in one file",
                )
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))

    def beside(self, name: str) -> Sink:
        """A further file of the result, in the same folder.

        :param name: the file's own name
        :raises AccessError: something of that name is there and does not belong to the present result
        """
        path = os.path.join(os.path.dirname(self.name), name)
        require_free(path, self._replaces, self._force)
        found = self.others[name] = Sink(path, self._mode)
        return found

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.discard()

    def write_at(self, offset: int, data: t.Any) -> None:
        """Write all of ``data`` (any bytes-like) at ``offset``; what is skipped stays a hole.

        :raises SpaceError: the file system is full
        """
        length = len(data)
        try:
            done = os.pwrite(self._fd, data, offset)
            while done < length:
                done += os.pwrite(self._fd, memoryview(data)[done:], offset + done)
            self._behind.wrote(self._fd, length)
        except OSError as error:
            raise from_os_error(error, self.name, "write the result") from error
        self.size = max(self.size, offset + length)

    def truncate(self, size: int) -> None:
        """Set the file's length in bytes; what is added is a hole."""
        try:
            os.ftruncate(self._fd, size)
        except OSError as error:
            raise from_os_error(error, self.name, f"make a file of {size} bytes") from error
        self.size = size

    def allocate(self, offset: int, length: int) -> None:
        """Reserve room on the file system (a full one is told now, not in the middle); a no-op where that is not possible."""
        try:
            os.posix_fallocate(self._fd, offset, length)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV):
                raise from_os_error(error, self.name, f"reserve {length} bytes") from error

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes written before, for a writer that patches its own tables."""
        try:
            return os.pread(self._fd, length, offset)
        except OSError as error:
            raise from_os_error(error, self.name, "read back the result") from error

    def fileno(self) -> int:
        return self._fd

    def reopen(self) -> FileStorage:
        """The bytes written so far as a storage, for verification before they get the name."""
        return FileStorage(self.name, descriptor=self._fd)

    def sync(self) -> None:
        """Have the bytes on the disk: after a power cut, the name must not point to a hole."""
        try:
            self._behind.settle()
            os.fsync(self._fd)
        except OSError as error:
            raise from_os_error(error, self.name, "bring the result to the disk") from error

    def commit(self, move: t.Callable[[str, str], object] = os.replace) -> None:
        """Give the whole file its name, replacing what had it.

        Several files cannot take their names in one step. Those that are new take theirs before the first one does,
        which the old result has until then. Where a further file has to replace one that is there, the old result is
        replaced by a mark that is no disk image in between. When that fails, everything is put back. A process that is
        killed in between leaves the mark, with some of the further files new and others old: nothing that could be
        taken for a disk. The mark, and one more that is hidden until :meth:`discard`, tell the next run that these files
        are its own. Files of the old result that the new one does not have are for the caller to remove, before that.

        :param move: how a file beside the destination (first argument) takes its name (second argument)
        """
        files = [*self.others.values(), self]
        for file in files:
            file.sync()
        try:
            if self.others:
                with alone(self._folder):
                    self._replace_together(move)
            else:
                if self._replaces:
                    self._keep_journal()
                self._name_part()
                self._take_name(move)
            sync_folder(self._folder)
        except OSError as error:
            raise from_os_error(error, self.name, "put the result in place") from error
        self._committed = True
        for file in files:
            file._close()

    def _keep_journal(self) -> None:
        """Have it on the disk whose the further files are, old and new, until :meth:`discard`."""
        self._journal = Sink(self.name, self._mode)
        self._journal.write_at(0, mark({*self.others, *self._replaces}))
        self._journal.sync()
        self._journal._name_part()
        sync_folder(self._folder)

    def _replace_together(self, move: t.Callable[[str, str], object]) -> None:
        others = list(self.others.values())
        kept = Kept()
        with contextlib.ExitStack() as stack:
            placeholder = None
            if any(os.path.lexists(file.name) for file in others):
                placeholder = stack.enter_context(Sink(self.name, self._mode))
                placeholder.write_at(0, mark({*self.others, *self._replaces}))
                placeholder.sync()
            self._keep_journal()
            # What needs room in the folder comes first: from then on, all there is to do is to rename.
            for file in (*others, self, *([placeholder] if placeholder else [])):
                file._name_part()
            try:
                for file in (self, *others):
                    kept.keep(file.name, _part_name(file.name))
                if placeholder:
                    placeholder._take_name(move)
                    sync_folder(self._folder)
                for file in others:
                    file._take_name(move)
                sync_folder(self._folder)
                self._take_name(move)
            except BaseException:  # a module ends with SystemExit
                kept.put_back()
                raise
            kept.drop()

    def _name_part(self) -> None:
        """Give the nameless file a name that is not the destination's."""
        if self._part is None:
            self._part = _part_name(self.name)
            folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                # A folder descriptor makes Python call linkat(), which follows /proc's link to the nameless file.
                os.link(f"/proc/self/fd/{self._fd}", os.path.basename(self._part), src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=True)
            finally:
                os.close(folder)

    def _take_name(self, move: t.Callable[[str, str], object]) -> None:
        if self._part is not None:
            move(self._part, self.name)
            self._part = None
            self._placed = True

    def discard(self) -> None:
        """Throw the bytes away unless they were committed. Harmless to call twice."""
        for file in self.others.values():
            file.discard()
        if self._journal is not None:
            if self._placed and not self._committed and set(self._replaces) - set(self.others):
                self._journal._part = None  # in place, but the caller was told of a failure: the next run is to remove what is old
            self._journal.discard()
            self._journal = None
            if self._committed:  # those of killed runs named nothing that was not replaced now, or was not the caller's to remove
                remove_stale_parts(self.name, journals=True)
        if self._part is not None:
            try:
                os.unlink(self._part)
            except OSError:
                pass  # the next run on this destination tries again
            self._part = None
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # what is thrown away may fail
                self._behind.settle()
            with contextlib.suppress(OSError):  # what matters was said by fsync
                os.close(self._fd)
            self._fd = -1


def require_free(path: str, replaces: t.Collection[str] = (), force: bool = False) -> None:
    """Make sure that a further file of a result may have a name.

    :param replaces: names of the files that may be replaced
    :param force: any file may
    :raises AccessError: something of that name is there that must not be replaced
    """
    if not force and os.path.basename(path) not in replaces and os.path.lexists(path):
        raise AccessError(
            "exists, and is not a part of what is at the destination; the result needs a file of that name",
            path=path,
            hint="Move it away, choose another destination, or force the replacement",
        )


def _lock(fd: int) -> bool:
    """Mark a part file as being written; False when somebody else holds it. Where locks do not work, nobody removes part files."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _part_name(path: str) -> str:
    folder, name = os.path.split(path)
    # A name may have 255 bytes; what is cut off does not matter, the folder and the random part do.
    return os.path.join(folder or ".", f".{os.fsdecode(os.fsencode(name)[:200])}.{secrets.token_hex(6)}{_SUFFIX}")


def _parts(path: str) -> list[str]:
    folder, name = os.path.split(path)
    name = os.fsdecode(os.fsencode(name)[:200])
    return glob.glob(os.path.join(glob.escape(folder or "."), f".{glob.escape(name)}.{'[0-9a-f]' * 12}{_SUFFIX}"))


def part_of(name: str) -> str | None:
    """The name of the file that a part file (its own name) was to become."""
    found = _PART.fullmatch(name)
    return found.group(1) if found else None


def left_behind(path: str) -> list[str]:
    """The names of further files that a killed run on this destination may have put in place, or not removed."""
    names: list[str] = []
    for part in _parts(path):
        with contextlib.suppress(OSError):
            if stat.S_ISREG(os.lstat(part).st_mode) and os.lstat(part).st_uid == os.geteuid():  # nobody else tells us what to remove
                names += unfinished(part) or ()
    return list(dict.fromkeys(names))


def remove_stale_parts(path: str, journals: bool = False) -> None:
    """Remove part files that killed runs on this destination left; a part that is being written is locked and stays.

    :param journals: those, too, that :func:`left_behind` reads
    """
    for part in _parts(path):
        try:
            fd = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if journals or unfinished(part) is None:
                os.unlink(part)
        except OSError:
            pass
        finally:
            os.close(fd)


def sync_folder(folder: str) -> None:
    """Have the folder's entries on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot
            raise
    finally:
        os.close(fd)
