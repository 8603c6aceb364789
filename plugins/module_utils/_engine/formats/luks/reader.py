# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Describes LUKS volumes (cryptsetup), versions 1 and 2, and never reads them: that takes the key. See layout.py for the source."""

from __future__ import annotations

import typing as t

from ...errors import InvalidImage, UnsupportedImage
from ...extents import Extent
from ...storage.base import Storage
from ..base import ImageInfo, Reader, check_virtual_size
from .layout import HEADER_2_SIZES, MAGIC, SECOND_MAGIC, VERSION
from .luks1 import read_luks1
from .luks2 import read_luks2


class LuksReader(Reader):
    """An encrypted volume. ``virtual_size`` is that of the disk inside; 0 when its content is not in the file.

    :raises InvalidImage: no LUKS signature
    :raises CorruptImage: the header (of LUKS2: both of them) is damaged
    :raises UnsupportedImage: a version that nothing here knows
    :raises LimitExceeded: the disk or the JSON area is too large
    """

    format = "luks"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self._volume = read_luks1(storage) if _version(storage) == 1 else read_luks2(storage)
        self.virtual_size = check_virtual_size(self._volume.size, storage.name)

    def describe(self) -> ImageInfo:
        volume = self._volume
        return ImageInfo(
            self.format,
            self.virtual_size,
            subformat=f"luks{volume.version}",
            compressed=None,
            encrypted=True,
            format_specific=volume.facts,
            warnings=list(volume.warnings),
        )

    def unreadable_reason(self) -> str | None:
        facts = self._volume.facts
        cipher = f"LUKS{self._volume.version}, {facts['cipher_alg']}-{facts['cipher_mode']}".rstrip("-")
        tool = "cryptsetup or qemu-img" if self._volume.version == 1 else "cryptsetup"
        return f"the content is encrypted ({cipher}); decrypt it first ({tool} does, with its key)"

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        self.require_readable()
        yield from ()


def _version(storage: Storage) -> int:
    raw = storage.read_at(0, VERSION.size)
    if len(raw) == VERSION.size and raw.startswith(MAGIC):
        version = int(VERSION.unpack(raw).version)
        if version not in (1, 2):
            raise UnsupportedImage(f"LUKS version {version} is not known", path=storage.name)
        return version
    if any(storage.read_at(place, len(SECOND_MAGIC)) == SECOND_MAGIC for place in HEADER_2_SIZES):
        return 2
    raise InvalidImage("not a LUKS volume: no signature", path=storage.name)
