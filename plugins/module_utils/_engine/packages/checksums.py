# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Lists of checksums, as md5sum, sha256sum and their kind write them, as BSD and openssl do; and files with a digest alone.

Sources: the manuals of GNU coreutils ("md5 invocation", "cksum output modes": a line that begins with a backslash has a name with escapes),
of FreeBSD's md5(1) and openssl-dgst(1); RFC 9580, section 7 (what a signature in the text adds).
"""

from __future__ import annotations

import hashlib
import posixpath
import re
import typing as t

from ..errors import AmbiguousImage, InvalidImage, LimitExceeded, printable
from ..limits import KIB, MIB
from ..storage.base import Storage
from .manifest import Entry

MAX_PUBLISHED = 1 * MIB
"""Largest list that is fetched: the longest in the field, of a whole release, have some ten thousand bytes"""
_MAX_SIZE = 64 * KIB
_SUM = re.compile(r"(\\?)([0-9a-f]{32,128})(?:[ \t]+\*?(\S.*))?", re.IGNORECASE | re.ASCII)
_TAG = re.compile(r"(\\?)([a-z][0-9a-z-]*)\s?\((.+)\)\s?=\s?([0-9a-f]+)", re.IGNORECASE | re.ASCII)
_ALGORITHMS = {32: "md5", 40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}
"""by the digits of a digest; from the weakest to the strongest"""
_STRENGTH = list(_ALGORITHMS.values())
_ESCAPES = {"\\n": "\n", "\\r": "\r", "\\\\": "\\"}
_SIGNED, _SIGNATURE = "-----BEGIN PGP SIGNED MESSAGE-----", "-----BEGIN PGP SIGNATURE-----"
_SHOWN = 10


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
            entry = _entry(line)
            if entry is None or not _usable(entry):
                return []
            entries.append(entry if entry.file else entry._replace(file=posixpath.splitext(posixpath.basename(name))[0]))
    return entries


def published(data: bytes, url: str, file_path: str, name: str | None = None, algorithm: str | None = None) -> Entry:
    """The checksum of one file, from the list that is published with it. Lines that are no checksums do not count.

    :param data: the list
    :param url: the list's, or its path, for messages
    :param file_path: the file's path where it is published; its last part is the name to look for, the others only decide between several
    :param name: another name that the file may have in the list
    :param algorithm: take only this one; the strongest one when None
    :raises LimitExceeded: the list is too long
    :raises InvalidImage: the file is not in it, or it is no list
    :raises AmbiguousImage: several checksums could be meant
    """
    if len(data) > MAX_PUBLISHED:
        raise LimitExceeded(f"is no list of checksums: it has more than {MAX_PUBLISHED} bytes", path=url)
    entries = list(_published(data.decode("utf-8-sig", "surrogateescape")))
    if not entries:
        raise InvalidImage("lists no checksums", path=url)
    if algorithm is not None:
        entries = [entry for entry in entries if entry.algorithm == algorithm]
    wanted = [entry for entry in entries if not entry.file]
    names = dict.fromkeys(filter(None, (posixpath.basename(file_path), name)))
    for candidate in names:
        wanted = wanted or [entry for entry in entries if posixpath.basename(entry.file) == candidate]
    beside = [entry for entry in wanted if posixpath.normpath("/" + file_path).endswith(posixpath.normpath("/" + entry.file))]
    wanted = beside or wanted
    if not wanted:
        kind = f"{algorithm} checksum" if algorithm else "checksum"
        others = list(dict.fromkeys(printable(entry.file) for entry in entries))
        shown = ", ".join(others[:_SHOWN]) + (f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else "")
        listed = f"; it has those of {shown}" if others else ""
        raise InvalidImage(f"has no {kind} of {' or '.join(map(printable, names))}{listed}", path=url)
    found = max(wanted, key=lambda entry: _STRENGTH.index(entry.algorithm))
    if any(entry.algorithm == found.algorithm and entry.digest != found.digest for entry in wanted):
        raise AmbiguousImage(f"has several {found.algorithm} checksums of {' or '.join(map(printable, names))}", path=url)
    return found


def _published(text: str) -> t.Iterator[Entry]:
    signed = False
    for line in re.split(r"\r\n|\r|\n", text):
        if line.startswith(_SIGNATURE):
            return
        signed = signed or line.startswith(_SIGNED)
        if signed and line.startswith("- "):
            line = line[2:]
        entry = _entry(line.strip())
        if entry is not None:
            yield entry


def _entry(line: str) -> Entry | None:
    """What a line says; without a name when there is only a digest. None of a line that is none, or has an algorithm that is not known."""
    match = _TAG.fullmatch(line)
    if match is not None:
        escaped, tag, name, digest = match.groups()
        # OpenSSL 3 writes SHA2-256, older manifests SHA-256.
        algorithm = tag.lower().replace("sha2-", "sha").replace("sha-", "sha")
        if _ALGORITHMS.get(len(digest)) != algorithm:
            return None
    else:
        match = _SUM.fullmatch(line)
        if match is None or len(match[2]) not in _ALGORITHMS:
            return None
        escaped, digest, name = match[1], match[2], match[3] or ""
        algorithm = _ALGORITHMS[len(digest)]
    if escaped:
        name = re.sub(r"\\[nr\\]", lambda found: _ESCAPES[found[0]], name)
    return Entry(name.strip(), algorithm, digest.lower())


def _usable(entry: Entry) -> bool:
    try:
        return hashlib.new(entry.algorithm).digest_size * 2 == len(entry.digest)
    except ValueError:  # md5 on a FIPS system
        return False
