# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Lists of checksums, as md5sum, sha256sum and their kind write them, and as openssl does; and files with a digest alone."""

from __future__ import annotations

import hashlib
import posixpath
import re

from ..limits import KIB
from ..storage.base import Storage
from .manifest import Entry, parse_line

_MAX_SIZE = 64 * KIB
_SUM = re.compile(r"([0-9a-f]{32,128})(?: [ *](.+))?", re.IGNORECASE | re.ASCII)
_ALGORITHMS = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
"""by the digits of a digest"""


def read(storage: Storage, name: str) -> list[Entry]:
    """The checksums that a file lists; none when it is no such list, or an algorithm is switched off on this node.

    :param name: the file's: one that has a digest and no name is about the file that is called like it without the ending
    """
    if not 0 < storage.size <= _MAX_SIZE:
        return []
    try:
        lines = [line.strip() for line in storage.read_at(0, storage.size).decode("utf-8").splitlines()]
    except UnicodeDecodeError:
        return []
    entries = []
    for line in lines:
        if line and not line.startswith("#"):
            entry = parse_line(line) or _sum_line(line, name)
            if entry is None or not _usable(entry):
                return []
            entries.append(entry)
    return entries


def _sum_line(line: str, name: str) -> Entry | None:
    match = _SUM.fullmatch(line)
    if match is None or len(match[1]) not in _ALGORITHMS:
        return None
    return Entry(match[2] or posixpath.splitext(posixpath.basename(name))[0], _ALGORITHMS[len(match[1])], match[1].lower())


def _usable(entry: Entry) -> bool:
    try:
        return hashlib.new(entry.algorithm).digest_size * 2 == len(entry.digest)
    except ValueError:  # md5 on a FIPS system
        return False
