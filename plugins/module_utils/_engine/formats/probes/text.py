# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What is text: VMDK and OVF descriptors, and files that are no disks at all (an error page instead of a download)."""

from __future__ import annotations

import codecs
import re

from ...limits import KIB, MAX_DESCRIPTOR
from ...storage.base import Storage
from .match import ARCHIVE, DISK, OTHER, Match

_PADDING = 64 * KIB
"""NULs behind a descriptor: writers fill a sector, or the room they keep in a sparse extent"""

STALE = 7
"""Bytes of an older text that may stand behind a descriptor's NUL: qemu writes a new content ID without its leading zeros,
which makes the text shorter, and leaves the rest of the old one"""
_BOM = codecs.BOM_UTF8
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_VERSION = re.compile(rb"version[ \t]*=[ \t]*[0-9]+[ \t]*$", re.IGNORECASE)
_CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1b\x08")
_NOT_TEXT = re.compile(b"[" + re.escape(_CONTROL) + b"\x7f]")

_KINDS = (
    (re.compile(rb"<!doctype html|<html", re.IGNORECASE), "an HTML page"),
    (re.compile(rb"#!"), "a script"),
    (re.compile(rb"<\?xml|<[a-z]", re.IGNORECASE), "an XML file"),
    (re.compile(rb"[{\[]"), "a JSON file"),
    (re.compile(rb"(sha(1|256|512)|md5) ?\(|[0-9a-f]{32,128} [ *]", re.IGNORECASE), "a file of checksums"),
)


def vmdk_descriptor(head: bytes) -> Match | None:
    """A VMDK text descriptor, found wherever qemu's probe (block/vmdk.c, vmdk_probe) would find one, and more tolerantly.

    Comments and blank lines may stand before ``version=``; the customary first line is enough too.
    """
    text = head[len(_BOM) :] if head.startswith(_BOM) else head
    if text[:512].lstrip().lower().startswith(b"# disk descriptorfile"):
        return Match("vmdk", DISK, "a VMDK text descriptor", 100, reader="vmdk")
    for line in text.split(b"\n"):
        line = line.strip(b" \t\r")
        if line and not line.startswith(b"#"):
            return Match("vmdk", DISK, "a VMDK text descriptor", 70, reader="vmdk") if _VERSION.match(line) else None
    return None


def is_only_text(storage: Storage, head: bytes, size: int | None) -> bool:
    """Whether a descriptor is all that the file holds: text, then at most NUL padding.

    qemu's probe sees the descriptor at the start of something bigger; others see the bigger thing.
    """
    if size is None:
        size = len(head)
    if size > MAX_DESCRIPTOR:
        return False
    data = storage.read_at(0, size) if size > len(head) else head[:size]
    text, _nul, rest = data.partition(b"\0")
    stale = rest[:STALE].rstrip(b"\0")
    return len(rest) <= _PADDING and not rest[STALE:].strip(b"\0") and not _NOT_TEXT.search(text + stale)


def text_matches(head: bytes, tail: bytes) -> list[Match]:
    """Text that is no disk descriptor.

    :param head: the first bytes of the content
    :param tail: its last bytes, or nothing when they are not known
    """
    if not _looks_like_text(head) or (tail and not head.startswith(_UTF16) and _NOT_TEXT.search(tail)):
        return []
    start = head[:4096].replace(_BOM, b"", 1).lstrip()
    if start[:1] == b"<" and re.search(rb"<([\w.-]+:)?envelope[\s>/]", head[:16384], re.IGNORECASE):
        return [Match("ovf", ARCHIVE, "an OVF descriptor", 95)]
    kind = next((name for pattern, name in _KINDS if pattern.match(start)), "a text file")
    return [Match("text", OTHER, kind, 80)]


def _looks_like_text(head: bytes) -> bool:
    if not head:
        return False
    if head.startswith(_UTF16):
        return True
    if _NOT_TEXT.search(head):
        return False
    # A disk that somebody filled with one letter has no lines.
    if len(head) > 4096 and b"\n" not in head and b"\r" not in head:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # the last character may be cut
    except UnicodeDecodeError:
        # Latin-1 and its like: some bytes above ASCII among many of ASCII.
        return sum(byte > 127 for byte in head[:4096]) * 4 < len(head[:4096])
    return True
