# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What both versions of LUKS say of a volume, and how it is told in qemu-img's words."""

from __future__ import annotations

import dataclasses
import typing as t

from ...errors import printable
from ...storage.base import Storage
from ..base import whole_sectors


@dataclasses.dataclass
class Volume:
    """An encrypted volume by its header."""

    version: int
    size: int
    """bytes of the decrypted disk; 0 when the encrypted content is not in the file"""
    facts: dict[str, t.Any]
    """for ``format_specific``"""
    warnings: list[str]


def payload(storage: Storage, offset: int, header_end: int, size: int | None) -> tuple[int, list[str]]:
    """How much encrypted content a file has, in bytes; and what is unusual about it.

    :param offset: where the content begins by the header, bytes
    :param header_end: content cannot begin before it, bytes
    :param size: length by the header, bytes; None: up to the end of the file
    """
    if offset < header_end:
        return 0, ["this is a detached header: the encrypted content lies in another file, so the size of the disk is not known"]
    if offset >= storage.size:
        return 0, [
            f"the encrypted content begins at byte {offset}, at or behind the end of the file ({storage.size} bytes): "
            "truncated, or only a copy of the header; the size of the disk is not known"
        ]
    if size is None:
        return whole_sectors(storage.size - offset), []
    if offset + size > storage.size:
        return size, [f"the encrypted content ends at byte {offset + size}, behind the end of the file ({storage.size} bytes): truncated"]
    return size, []


def cipher_facts(encryption: str, key_bytes: int) -> dict[str, t.Any]:
    """qemu-img's ``cipher-alg``, ``cipher-mode``, ``ivgen-alg`` and ``ivgen-hash-alg`` of a cipher in dm-crypt's words.

    :param encryption: such as ``aes-xts-plain64`` or ``aes-cbc-essiv:sha256``
    :param key_bytes: length of the volume's key; XTS has two halves of it
    """
    name, _dash, rest = encryption.partition("-")
    mode, _dash, generator = rest.partition("-")
    bits = key_bytes * 8 // (2 if mode == "xts" else 1)
    generator, _colon, generator_hash = generator.partition(":")
    facts = {
        "cipher_alg": printable(f"{name}-{bits}" if bits else name),
        "cipher_mode": printable(mode),
        "ivgen_alg": printable(generator) or None,
        "ivgen_hash_alg": printable(generator_hash) or None,
    }
    return {key: value for key, value in facts.items() if value is not None}
