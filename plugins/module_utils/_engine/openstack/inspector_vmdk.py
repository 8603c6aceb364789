# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""How oslo.utils' inspector sees VMDK images: only those with the descriptor in the second sector, and a descriptor of plain lines."""

from __future__ import annotations

import re

from ..formats.vmdk import layout
from ..limits import MAX_DESCRIPTOR, SECTOR
from ..storage.base import Storage
from .sighting import CHUNK, Failure, Sighting

CREATE_TYPES = ("monolithicsparse", "streamoptimized")
"""in lower case, as descriptors are compared"""

_LEAST = 64
"""bytes of a header that are looked at"""
_FOOTER = 3 * SECTOR
"""a marker, the footer, and the marker of the end"""
_TYPE, _LONGEST_TYPE = 'createtype="', 63
_EXTENT = re.compile(r"(rw|rdonly|noaccess)( |$)")
_KNOWN_LINE = re.compile(r"(#|ddb|[^ =]*=|(rw|rdonly|noaccess)( |$))")


class Unseeable(Exception):
    """The inspector gives up with an error that its callers do not expect."""


def see_vmdk(storage: Storage, head: bytes) -> Sighting | None:
    """A sparse image with its descriptor inside, or a descriptor alone.

    :param head: the first sector
    :raises Unseeable: plain text with something else than ASCII behind its first sector
    """
    if not head.startswith(layout.MAGIC):
        return _see_text(storage) if len(head) >= _LEAST and _is_text(head) else None
    if len(head) < _LEAST:
        return Sighting("vmdk", whole=False)
    header = layout.SPARSE_EXTENT_HEADER.unpack(head.ljust(SECTOR, b"\0"))
    if header.version not in (1, 2, 3):
        return Sighting("vmdk", failures=(Failure("descriptor", "its version is not known"),))
    footer = header.gdOffset == layout.GD_AT_END
    if header.descriptorOffset != 1:
        return Sighting("vmdk", whole=not footer, failures=(Failure("descriptor", "it has no descriptor in its second sector"),))
    length = min(header.descriptorSize * SECTOR, MAX_DESCRIPTOR - 1)
    raw = storage.read_at(SECTOR, length)
    if len(raw) < length or (footer and storage.size < _FOOTER):
        return Sighting("vmdk", whole=False)
    found = [("descriptor", _descriptor_reason(_text(raw)))]
    if footer:
        found.append(("footer", _footer_reason(head, storage.read_at(storage.size - _FOOTER, _FOOTER))))
    return Sighting("vmdk", failures=tuple(Failure(check, reason) for check, reason in found if reason is not None))


def is_sparse_without_footer(storage: Storage) -> bool:
    """It is all that Cinder takes for a VMDK: its inspector is older, and knows neither footers nor descriptors in files of their own."""
    head = storage.read_at(0, SECTOR).ljust(SECTOR, b"\0")
    return head.startswith(layout.MAGIC) and layout.SPARSE_EXTENT_HEADER.unpack(head).gdOffset != layout.GD_AT_END


def remains_behind_descriptor(storage: Storage) -> bool:
    """Whether a longer descriptor was here before, of which something is left behind the end of this one, as QEMU leaves it once in a while.

    The others read up to the end of the text. Cinder takes off what is padding, and understands no line that begins with a zero byte.

    :param storage: a sparse image that :func:`see_vmdk` finds nothing wrong with
    """
    header = layout.SPARSE_EXTENT_HEADER.unpack(storage.read_at(0, SECTOR).ljust(SECTOR, b"\0"))
    raw = storage.read_at(SECTOR, min(header.descriptorSize * SECTOR, MAX_DESCRIPTOR - 1)).rstrip(b"\0")
    try:
        return b"\0" in raw and _descriptor_reason(raw.decode("ascii").lower()) is not None
    except UnicodeDecodeError:
        return True


def _is_text(data: bytes) -> bool:
    return all(byte < 0x80 and (chr(byte).isprintable() or chr(byte).isspace()) for byte in data)


def _see_text(storage: Storage) -> Sighting | None:
    text = _text(storage.read_at(0, CHUNK))
    if text is None:
        raise Unseeable
    kind = _create_type(text)
    if kind is None:
        return None
    reason = _descriptor_reason(text)
    return Sighting("vmdk", failures=() if reason is None else (Failure("descriptor", reason),), sized=kind not in CREATE_TYPES)


def _text(raw: bytes) -> str | None:
    """A descriptor up to its padding, in lower case; None when it is not plain ASCII."""
    try:
        return raw.partition(b"\0")[0].decode("ascii").lower()
    except UnicodeDecodeError:
        return None


def _create_type(text: str) -> str | None:
    start = text.find(_TYPE) + len(_TYPE)
    if start < len(_TYPE):
        return None
    end = text.find('"', start)
    return text[start:end] if end - start <= _LONGEST_TYPE else None


def _descriptor_reason(text: str | None) -> str | None:
    if text is None:
        return "its descriptor is not plain ASCII"
    if not text:
        return "it has no descriptor"
    kind = _create_type(text)
    if kind not in CREATE_TYPES:
        return f"VMDKs of type {kind or 'unknown'} are not taken, only monolithicSparse and streamOptimized"
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    strange = [line for line in lines if not _KNOWN_LINE.match(line)]
    if strange:
        return f"its descriptor has a line that is not understood, {strange[0][:60]!r}"
    extents = [line for line in lines if _EXTENT.match(line)]
    if any("/" in line for line in extents):
        return "its descriptor names a file in another folder"
    return None if extents else "its descriptor has no extent"


def _footer_reason(head: bytes, end: bytes) -> str | None:
    header, footer = layout.SPARSE_EXTENT_HEADER.unpack(head.ljust(SECTOR, b"\0")), layout.SPARSE_EXTENT_HEADER.unpack(end, SECTOR)
    for name in ("magicNumber", "version", "descriptorOffset", "descriptorSize"):
        if header[name] != footer[name]:
            return "its footer does not agree with its header"
    if footer.gdOffset == layout.GD_AT_END:
        return "its footer names another footer"
    before, last = layout.MARKER.unpack(end), layout.MARKER.unpack(end, 2 * SECTOR)
    if before.size or before.type != layout.MARKER_FOOTER or any(end[layout.MARKER.size : SECTOR]):
        return "its footer has no marker"
    if last.val or last.size or last.type != layout.MARKER_EOS or any(end[2 * SECTOR + layout.MARKER.size :]):
        return "it does not end with the marker of the end"
    return None
