# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The engine's one family of exceptions.

Whatever is wrong with an input, an output or a request leaves the engine as an L{ImageError} whose ``kind`` a caller
can act on. The message says what is wrong and what to do about it; ``path`` and ``offset`` say where.
"""

from __future__ import annotations

import errno
import os


class ImageError(Exception):
    """Root of all errors that the engine raises on purpose.

    :param message: one sentence: what is wrong
    :param path: the file (or ``archive!member``) it is about
    :param offset: byte offset in that file, where one can be named
    :param hint: what the caller can do about it
    """

    kind = "error"

    def __init__(self, message: str, *, path: str | None = None, offset: int | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = path
        self.offset = offset
        self.hint = hint

    def __str__(self) -> str:
        text = self.message
        if self.path is not None:
            text = f"{printable(self.path)}: {text}"
        if self.offset is not None:
            text = f"{text} (at byte {self.offset:#x})"
        if self.hint:
            text = f"{text.rstrip('.')}. {self.hint}"
        return text


class InvalidImage(ImageError):
    """The content is not what it has to be: unknown, or another format than declared."""

    kind = "invalid"


class AmbiguousImage(ImageError):
    """The content answers to more than one format, or more than one disk could be meant."""

    kind = "ambiguous"


class UnsupportedImage(ImageError):
    """Well-formed, but a feature of it (or of the request) is not supported."""

    kind = "unsupported"


class NeedsKernel(ImageError):
    """The image is a root file system, which boots with the kernel that lies beside it, not by itself."""

    kind = "needs_kernel"


class CorruptImage(ImageError):
    """A structure contradicts its specification or the size of its file."""

    kind = "corrupt"


class UnsafeReference(ImageError):
    """The image names another file that the caller did not allow to be read."""

    kind = "unsafe_reference"


class LimitExceeded(ImageError):
    """A count, size or depth is above its bound (see limits.py)."""

    kind = "limit_exceeded"


class IntegrityFailure(ImageError):
    """A checksum or manifest does not agree with the data."""

    kind = "integrity"


class SpaceError(ImageError):
    """The destination has no room for the result."""

    kind = "space"


class BusyError(ImageError):
    """The file is being changed, or written by another run."""

    kind = "busy"


class AccessError(ImageError):
    """The operating system refuses: missing, not permitted, a folder, read-only, an I/O error."""

    kind = "access"


_PLAIN = {
    errno.ENOENT: "no such file or folder",
    errno.EACCES: "permission denied",
    errno.EPERM: "operation not permitted",
    errno.EISDIR: "is a folder, not a file",
    errno.ENOTDIR: "a part of the path is not a folder",
    errno.EROFS: "is on a read-only file system",
    errno.ELOOP: "is a symbolic link (or there are too many of them)",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EIO: "the device reports an I/O error",
}
_NO_ROOM = {
    errno.ENOSPC: "no space is left on the file system",
    errno.EDQUOT: "the quota of disk space is used up",
    errno.EFBIG: "the file system, or a limit of this process, takes no file that large",
}


def from_os_error(error: OSError, path: str | os.PathLike[str], doing: str) -> ImageError:
    """Translate what the operating system said into the engine's family.

    :param error: the error caught
    :param path: the file it is about
    :param doing: what was being done, as in "cannot <doing>: …"
    """
    name = os.fspath(path)
    full = _NO_ROOM.get(error.errno or 0)
    if full:
        hint = "Choose a folder on another file system" if error.errno == errno.EFBIG else "Free some space or choose another folder"
        return SpaceError(f"cannot {doing}: {full}", path=name, hint=hint)
    reason = _PLAIN.get(error.errno or 0) or (error.strerror or str(error)).lower()
    return AccessError(f"cannot {doing}: {reason}", path=name)


def printable(name: str | bytes) -> str:
    """A file name or a text from an image as it can stand in a message: control characters escaped, length bounded."""
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
    text = text if len(text) <= 1024 else text[:1021] + "..."
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode("ascii") for char in text)
