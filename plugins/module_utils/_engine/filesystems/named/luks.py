# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Volumes that LUKS encrypted, named only; formats/luks/ has what the headers look like."""

from __future__ import annotations

from ...formats.luks import layout
from ...storage.base import Storage
from ..base import Signature
from .values import CRYPTO, text


def identify(storage: Storage) -> Signature | None:
    """LUKS 1 or 2 by its first header; None when there is none."""
    head = storage.read_at(0, layout.HEADER_2.size)
    if len(head) < layout.HEADER_2.size or not head.startswith(layout.MAGIC):
        return None
    version = layout.VERSION.unpack(head).version
    if version == 1:
        return Signature("crypto_LUKS", CRYPTO, uuid=text(layout.HEADER_1.unpack(head).uuid), version="1")
    header = layout.HEADER_2.unpack(head)
    if version != 2 or header.hdr_offset:
        return None
    return Signature("crypto_LUKS", CRYPTO, text(header.label), text(header.uuid), "2")
