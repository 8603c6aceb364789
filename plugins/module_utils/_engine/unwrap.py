# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""From stored bytes to an image that can be read: detection, decompression, and unpacking where nothing else helps."""

from __future__ import annotations

import contextlib
import os

from .errors import SpaceError, UnsupportedImage, from_os_error
from .formats.base import Reader
from .formats.detect import Detection, detect, require_disk
from .formats.probes.match import COMPRESSION
from .formats.registry import open_reader
from .limits import MAX_VIRTUAL_SIZE
from .progress import Progress, silent
from .storage.base import Storage
from .storage.spool import spool
from .storage.stream import COMPRESSIONS, StreamStorage, open_stream

IN_ORDER = ("raw", "iso", "udf")
"""formats whose content lies in guest order: read from a compressed stream as it comes, without unpacking"""


class Unwrapper:
    """Opens images, whatever is around them. What it opens is closed with ``opened``.

    :param path: the file that the user named, for messages
    :param opened: closes everything
    :param spool_folder: where an image is unpacked that cannot be read in order; None: the folder for temporary files
    :param max_size: largest guest disk that is accepted, bytes
    :param unpack: have what is read in any order at hand; False for a look at its headers, which costs less without
    :param any_order: the content is read in any order, too, also of formats whose content lies in guest order
    """

    def __init__(
        self,
        path: str,
        opened: contextlib.ExitStack,
        *,
        spool_folder: str | None = None,
        max_size: int | None = None,
        unpack: bool = True,
        any_order: bool = False,
        progress: Progress = silent,
    ) -> None:
        self.path = path
        self.opened = opened
        self.layers: list[dict[str, str]] = []
        """what was peeled off on the way, outermost first: format, and the member's name in a package"""
        self._spool_folder = spool_folder
        self._max_size = max_size
        self._unpack = unpack
        self._in_order = () if any_order else IN_ORDER
        self._progress = progress

    def image(
        self, storage: Storage, found: Detection | None = None, *, declared: str | None = None, allow_raw: bool = True, plausible: bool = False
    ) -> tuple[Reader, Detection]:
        """The image that is stored somewhere.

        :param found: what detect() said of the storage, if it was asked already
        :param declared: the format that it must have
        :param allow_raw: take what nothing is known of as a raw disk
        :param plausible: a compressed image may not become implausibly large (it comes from a package)
        :raises ImageError: no image, not of that format, damaged, or there is no room to unpack it
        """
        found = found or detect(storage)
        if found.best.category == COMPRESSION and found.best.format in COMPRESSIONS:
            self.layers.append({"format": found.best.format})
            storage, found = self._decompress(storage, found, plausible)
        form = require_disk(found, storage, declared=declared, allow_raw=allow_raw)
        if storage.sequential and form not in self._in_order:
            storage = self.in_any_order(storage)
        return open_reader(form, storage), found

    def in_any_order(self, storage: Storage) -> Storage:
        """The same bytes, to be read in any order: unpacked into a file that has no name, if there is no other way.

        :raises SpaceError: the file system has no room
        """
        if not storage.sequential or not self._unpack:
            return storage
        import tempfile

        folder = self._spool_folder or tempfile.gettempdir()
        try:
            room = os.statvfs(folder)
            free = room.f_bavail * room.f_frsize
            if storage.size > free:
                raise SpaceError(f"{storage.size} bytes have to be unpacked, the file system has {free} free", path=folder, hint="Free some space")
            file = self.opened.enter_context(tempfile.TemporaryFile(dir=folder))
        except OSError as error:
            raise from_os_error(error, folder, "unpack the compressed image there") from error
        try:
            spooled = spool(storage, file.fileno(), progress=self._progress)
        except SpaceError as error:
            error.path = folder
            raise
        self.opened.callback(spooled.close)
        return spooled

    def _decompress(self, storage: Storage, outer: Detection, plausible: bool) -> tuple[StreamStorage, Detection]:
        """The stream inside compressed bytes, decoded once to its end: only then its size, and that it is whole, are known."""
        stream = open_stream(storage, outer.best.format)
        self.opened.callback(stream.close)
        stream.limit(self._max_size, plausible=plausible)
        stream.measure(progress=self._progress, max_size=self._max_size if self._max_size is not None else MAX_VIRTUAL_SIZE)
        found = detect(stream)
        if found.best.category == COMPRESSION:
            raise UnsupportedImage(f"compressed twice ({outer.best.format}, {found.best.format}); decompress it once first", path=self.path)
        return stream, found
