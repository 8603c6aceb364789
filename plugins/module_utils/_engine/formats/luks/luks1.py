# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The header of LUKS1. See layout.py for the source; what is told of it has qemu-img's names (qapi's QCryptoBlockInfoLUKS)."""

from __future__ import annotations

import typing as t

from ...errors import CorruptImage, printable
from ...limits import SECTOR
from ...storage.base import Storage
from .layout import HEADER_1, KEY_SLOT, KEY_SLOTS, MAX_KEY_BYTES, SLOT_ACTIVE, SLOT_INACTIVE, text
from .volume import Volume, cipher_facts, payload


def read_luks1(storage: Storage) -> Volume:
    """Read and check the header of a LUKS1 volume.

    :raises CorruptImage: it is cut, or contradicts the specification
    """
    raw = storage.read_exact(0, HEADER_1.size + KEY_SLOTS * KEY_SLOT.size, "LUKS1 header")
    header = HEADER_1.unpack(raw)
    if not 0 < header.key_bytes <= MAX_KEY_BYTES:
        raise CorruptImage(f"a LUKS1 key of {header.key_bytes} bytes is not possible (key-bytes)", path=storage.name)
    slots = [_slot(storage, raw, HEADER_1.size + index * KEY_SLOT.size) for index in range(KEY_SLOTS)]
    size, warnings = payload(storage, header.payload_offset * SECTOR, HEADER_1.size + KEY_SLOTS * KEY_SLOT.size, None)
    facts: dict[str, t.Any] = {
        "version": 1,
        **cipher_facts(f"{text(header.cipher_name)}-{text(header.cipher_mode)}", header.key_bytes),
        "hash_alg": printable(text(header.hash_spec)),
        "uuid": printable(text(header.uuid)),
        "payload_offset": header.payload_offset * SECTOR,
        "master_key_iters": header.mk_digest_iter,
        "slots": slots,
    }
    return Volume(1, size, facts, warnings)


def _slot(storage: Storage, raw: bytes, at: int) -> dict[str, t.Any]:
    slot = KEY_SLOT.unpack(raw, at)
    if slot.active not in (SLOT_ACTIVE, SLOT_INACTIVE):
        raise CorruptImage(f"a LUKS1 key slot is neither active nor inactive ({slot.active:#010x})", path=storage.name, offset=at)
    place = {"active": slot.active == SLOT_ACTIVE, "key_offset": slot.key_material_offset * SECTOR}
    return {**place, "iters": slot.iterations, "stripes": slot.stripes} if place["active"] else place
