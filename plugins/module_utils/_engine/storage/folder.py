# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""A folder whose files an image may name; nothing that an image says leads out of it.

Names are untrusted (CVE-2015-5163, CVE-2022-47951, CVE-2024-32498). Each part of a path is opened relative to the
descriptor of the folder above it, without following symbolic links, and only regular files are given.
"""

from __future__ import annotations

import os
import re
import stat
import typing as t

from ..errors import AccessError, LimitExceeded, UnsafeReference, from_os_error, printable
from .file import FileStorage

Parts = tuple[str, ...]
"""A path below the folder, part by part"""

MAX_LISTED = 10_000
"""Files looked at where an image names another one by what is in it"""
_MAX_DEPTH = 8

_PROTOCOL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+:")
"""As qemu tells ``nbd:…``, ``json:…`` and ``http://…`` from a file name; a single letter is a drive"""
_DRIVE = re.compile(r"[A-Za-z]:")
_ADVICE = "Put the file into the folder that may be read, and let the image name it by a path that does not lead out of there"


class Folder:
    """An open folder.

    :param path: the folder; symbolic links in this path are followed, as the caller gave it
    :raises AccessError: missing, not permitted or not a folder
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        except OSError as error:
            raise from_os_error(error, self.path, "open the folder for the files that an image names") from error
        except ValueError as error:  # a NUL in the name
            raise AccessError(f"not a usable folder name ({error})", path=self.path) from error

    def below(self, path: str) -> Parts | None:
        """The parts of an absolute path that lies in the folder by its name; None for any other."""
        parts = _parts(path)
        for root in dict.fromkeys((os.path.abspath(self.path), os.path.realpath(self.path))):
            above = _parts(root)
            if parts[: len(above)] == above:
                return parts[len(above) :]
        return None

    def place_of(self, path: str) -> Parts:
        """The folder below this one in which a file of this machine lies; this one itself when it lies elsewhere."""
        above = os.path.dirname(os.path.abspath(path))
        for name in (above, os.path.realpath(above)):
            parts = self.below(name)
            if parts is not None:
                return parts
        return ()

    def locate(self, name: str, base: Parts, image: str) -> Parts:
        """Where below the folder a name from an image leads, by the name alone. Nothing is opened.

        :param name: as stored in the image
        :param base: the folder below this one in which the image lies; relative names start there
        :param image: path of the image, for messages
        :raises UnsafeReference: a protocol, ``..``, or an absolute path that does not lie in the folder
        """
        parts = _parts(name)
        if _PROTOCOL.match(name):
            wrong = "protocols and URLs are never followed"
        elif not parts:
            wrong = "that is no file"
        elif ".." in parts:
            wrong = "it leads out of its folder (..)"
        elif not is_absolute(name):
            return (*base, *parts)
        else:
            found = self.below(name)
            if found:
                return found
            wrong = f"it does not lie in the folder '{printable(self.path)}'"
        raise UnsafeReference(f"the image names '{printable(name)}': {wrong}", path=image, hint=_ADVICE)

    def open(self, parts: Parts, image: str) -> FileStorage:
        """Open a file below the folder.

        :param parts: its path, as :meth:`locate` gives it
        :param image: path of the image that names it, for messages
        :raises AccessError: missing, or not permitted
        :raises UnsafeReference: a symbolic link, or not a regular file
        """
        path = os.path.join(self.path, *parts)
        opened: list[int] = []
        try:
            above = self._fd
            for part in parts[:-1]:
                above = os.open(part, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
                opened.append(above)
            # Looked at before and after it is opened: to open a device can do something, and a name can change hands.
            _require_regular(os.stat(parts[-1], dir_fd=above, follow_symlinks=False), path, image)
            file = os.open(parts[-1], os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=above)
            opened.append(file)
            _require_regular(os.fstat(file), path, image)
            return FileStorage(path, descriptor=file)
        except OSError as error:
            found = from_os_error(error, path, "open the file")
            found.hint = f"It is named by '{printable(image)}'"
            raise found from error
        except ValueError as error:  # a NUL, or a character that no file name here can have
            raise AccessError(f"not a usable file name ({error})", path=path, hint=f"It is named by '{printable(image)}'") from error
        finally:
            for descriptor in opened:
                os.close(descriptor)

    def files(self) -> t.Iterator[Parts]:
        """All regular files in the folder and the folders below it, by name.

        :raises AccessError: the folder cannot be listed
        :raises LimitExceeded: there are too many
        """
        count = 0
        try:
            for folder, folders, names, descriptor in os.fwalk(".", dir_fd=self._fd):
                above = tuple(folder.split(os.sep)[1:])
                folders.sort()
                if len(above) == _MAX_DEPTH:
                    folders.clear()
                for name in sorted(names):
                    count += 1
                    if count > MAX_LISTED:
                        raise LimitExceeded(f"more than {MAX_LISTED} files: too many to look for the one that the image means", path=self.path)
                    if stat.S_ISREG(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                        yield (*above, name)
        except OSError as error:
            raise from_os_error(error, self.path, "list the folder") from error

    def close(self) -> None:
        """Files that were opened stay open."""
        os.close(self._fd)


def is_absolute(name: str) -> bool:
    """Whether a name starts at the root of a file system, of this system's kind or Windows'."""
    return name.startswith(("/", "\\")) or _DRIVE.match(name) is not None


def last_part(name: str) -> str | None:
    """The file's own name at the end of a path; None where there is none."""
    parts = _parts(name)
    return parts[-1] if parts and parts[-1] != ".." else None


def _parts(name: str) -> Parts:
    """A path cut at its separators. Programs of Windows write backslashes, and hardly any file here has one in its name."""
    return tuple(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _require_regular(found: os.stat_result, path: str, image: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "not a regular file"
        raise UnsafeReference(f"is {what}; only regular files are read because an image names them", path=path, hint=f"It is named by '{printable(image)}'")
