# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What a qcow2 image says of itself beyond what all formats have, in the words of ``qemu-img info --output=json``.

Source: qemu, docs/interop/qcow2.rst, sections "Header", "Bitmaps" and "Full disk encryption header pointer"; of the
encryption's header: LUKS1 On-Disk Format Specification 1.2.3, "The partition header".
"""

from __future__ import annotations

import typing as t

from ...errors import CorruptImage
from ...storage.base import Storage
from ..luks.layout import MAGIC
from ..luks.luks1 import read_luks1
from . import layout
from .bitmaps import read_bitmaps

_MAX_BITMAPS_SHOWN = 256
_FLAGS = ("in-use", "auto")
_AES, _LUKS = 1, 2


def format_specific(storage: Storage, header: layout.Header, warnings: list[str]) -> dict[str, t.Any]:
    """The format's own properties.

    :param warnings: what is unusual is added
    """
    specific: dict[str, t.Any] = {
        "compat": "1.1" if header.version == 3 else "0.10",
        "compression_type": layout.COMPRESSION_NAMES[header.compression_type],
        "refcount_bits": 1 << header.refcount_order,
    }
    if header.version == 3:
        specific["lazy_refcounts"] = bool(header.compatible_features & layout.COMPATIBLE_LAZY_REFCOUNTS)
        specific["corrupt"] = bool(header.incompatible_features & layout.CORRUPT)
        specific["extended_l2"] = header.extended_l2
    if header.data_elsewhere:
        specific["data_file"] = header.data_file
        specific["data_file_raw"] = bool(header.autoclear_features & layout.AUTOCLEAR_RAW_DATA)
    if header.crypt_method:
        specific["encrypt_format"] = "luks" if header.crypt_method == _LUKS else "aes"
        specific["encrypt"] = _encryption(storage, header, warnings)
    if header.bitmaps:
        if header.autoclear_features & layout.AUTOCLEAR_BITMAPS:
            specific["bitmaps"] = _bitmaps(storage, header, warnings)
        else:
            warnings.append("the image has bitmaps, but was written since by a program that does not keep them up: they are of no use")
    if header.incompatible_features & layout.CORRUPT:
        warnings.append("the image is marked as corrupt: a program found contradictions when it wrote to it")
    return specific


def _bitmaps(storage: Storage, header: layout.Header, warnings: list[str]) -> list[dict[str, t.Any]]:
    found: list[dict[str, t.Any]] = []
    try:
        for bitmap in read_bitmaps(storage, header):
            if len(found) == _MAX_BITMAPS_SHOWN:
                warnings.append(f"{header.bitmaps} bitmaps; the first {_MAX_BITMAPS_SHOWN} are shown")
                break
            flags = [flag for bit, flag in enumerate(_FLAGS) if bitmap.flags >> bit & 1]
            found.append({"name": bitmap.name, "granularity": bitmap.granularity, "flags": flags})
    except CorruptImage as error:  # no part of the guest's data
        warnings.append(f"the bitmaps cannot be read: {error.message}")
    return found


def _encryption(storage: Storage, header: layout.Header, warnings: list[str]) -> dict[str, t.Any]:
    if header.crypt_method == _AES:
        return {"format": "aes"}
    try:
        return {"format": "luks", **_luks(storage, header)}
    except CorruptImage as error:  # the content is not readable anyway
        warnings.append(f"the encryption's header cannot be read: {error.message}")
        return {"format": "luks"}


def _luks(storage: Storage, header: layout.Header) -> dict[str, t.Any]:
    place = storage.window(header.crypto_offset, header.crypto_length, storage.name)
    if place.read_at(0, 8) != MAGIC + b"\0\1":
        raise CorruptImage("there is no LUKS header of version 1", path=storage.name, offset=header.crypto_offset)
    facts = read_luks1(place).facts
    return {**{name: value for name, value in facts.items() if name != "version"}, "detached_header": False}
