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

from ...errors import CorruptImage, printable
from ...limits import SECTOR
from ...storage.base import Storage
from ...structure import Structure
from . import layout
from .bitmaps import read_bitmaps

_MAX_BITMAPS_SHOWN = 256
_FLAGS = ("in-use", "auto")
_AES, _LUKS = 1, 2
_LUKS_MAGIC = b"LUKS\xba\xbe"
_LUKS_SLOTS = 8

LUKS_HEADER = Structure(
    ">",
    ("magic", "6s"),
    ("version", "H"),
    ("cipher_name", "32s"),
    ("cipher_mode", "32s"),
    ("hash_spec", "32s"),
    ("payload_offset", "I"),
    ("key_bytes", "I"),
    ("mk_digest", "20s"),
    ("mk_digest_salt", "32s"),
    ("mk_digest_iter", "I"),
    ("uuid", "40s"),
)
LUKS_KEY_SLOT = Structure(
    ">",
    ("active", "I"),
    ("iterations", "I"),
    ("salt", "32s"),
    ("key_material_offset", "I"),
    ("stripes", "I"),
)
_KEY_ENABLED = 0x00AC71F3


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
    size = LUKS_HEADER.size + _LUKS_SLOTS * LUKS_KEY_SLOT.size
    data = storage.read_exact(header.crypto_offset, size, "the LUKS header")
    fields = LUKS_HEADER.unpack(data)
    if header.crypto_length < size or fields.magic != _LUKS_MAGIC or fields.version != 1:
        raise CorruptImage("there is no LUKS header of version 1", path=storage.name, offset=header.crypto_offset)
    mode, _dash, generator = _text(fields.cipher_mode).partition("-")
    generator, _colon, generator_hash = generator.partition(":")
    keys = 2 if mode == "xts" else 1  # XTS has two keys of that many bits
    slots = []
    for number in range(_LUKS_SLOTS):
        slot = LUKS_KEY_SLOT.unpack(data, LUKS_HEADER.size + number * LUKS_KEY_SLOT.size)
        active = slot.active == _KEY_ENABLED
        more = {"iters": slot.iterations, "stripes": slot.stripes} if active else {}
        slots.append({"active": active, "key_offset": slot.key_material_offset * SECTOR, **more})
    said = {
        "cipher_alg": f"{_text(fields.cipher_name)}-{fields.key_bytes * 8 // keys}",
        "cipher_mode": mode,
        "ivgen_alg": generator,
        "hash_alg": _text(fields.hash_spec),
        "uuid": _text(fields.uuid),
        "payload_offset": fields.payload_offset * SECTOR,
        "master_key_iters": fields.mk_digest_iter,
        "slots": slots,
        "detached_header": False,
    }
    return {**said, "ivgen_hash_alg": generator_hash} if generator_hash else said


def _text(field: bytes) -> str:
    return printable(field.partition(b"\0")[0])
