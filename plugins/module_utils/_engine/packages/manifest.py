# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Manifests: the digests that a package's files must have.

Source: DMTF DSP0243, "Integrity": ``SHA256(disk1.vmdk)= 0f3a…``. Programs also write spaces around the brackets,
CRLF, empty lines, and different algorithms in one file; people write what sha256sum says (``0f3a…  disk1.vmdk``).
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
import typing as t

from ..errors import IntegrityFailure, printable
from ..progress import Progress, silent
from ..storage.base import Storage
from ..storage.hashed import HashedStorage, Room

_LINE = re.compile(r"(SHA(?:2?-)?(?:1|224|256|384|512))\s*\((.+)\)\s*=\s*([0-9a-f]+)", re.IGNORECASE | re.ASCII)
_STRICT = re.compile(r"SHA(?:1|256|384|512)\(\S(?:.*\S)?\)= [0-9a-fA-F]+", re.ASCII)
"""a line as the standard has it; importers refuse others"""
_SUM = re.compile(r"([0-9a-f]{40,128}) [ *](.+)", re.IGNORECASE | re.ASCII)
"""as sha1sum and its kind write it; the length tells the algorithm"""
_SUMS = {40: "sha1", 56: "sha224", 64: "sha256", 96: "sha384", 128: "sha512"}


class Entry(t.NamedTuple):
    """A line of a manifest."""

    file: str
    """as written"""
    algorithm: str
    """hashlib's name"""
    digest: str
    """hexadecimal, lower case"""


@dataclasses.dataclass
class Manifest:
    """A parsed manifest."""

    file: str
    entries: list[Entry]
    nonstandard: list[int] = dataclasses.field(default_factory=list)
    """numbers of the lines that say what is meant, but not as the standard has it"""

    @property
    def algorithms(self) -> list[str]:
        return sorted({entry.algorithm for entry in self.entries})


@dataclasses.dataclass
class Verified:
    """What verifying a package's manifest found. All that was there agreed: what does not raises."""

    algorithms: list[str] = dataclasses.field(default_factory=list)
    files: list[str] = dataclasses.field(default_factory=list)
    missing: list[str] = dataclasses.field(default_factory=list)
    """listed, but not in the package"""
    unlisted: list[str] = dataclasses.field(default_factory=list)
    """in the package's References (or its descriptor), but not listed"""


def parse_manifest(data: bytes, name: str) -> Manifest:
    """Read a manifest.

    :param data: the .mf file's bytes
    :param name: for messages
    :raises IntegrityFailure: a line that is no digest: what it was to protect cannot be verified
    """
    text = data.decode("utf-8-sig", "surrogateescape")
    found = Manifest(name, [])
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        written, line = line, line.strip(" \t\0")
        if not line:
            continue
        entry = parse_line(line) or _sum_line(line)
        if entry is None:
            raise _bad_line(number, "is no SHA digest of a file", name)
        if len(entry.digest) != hashlib.new(entry.algorithm).digest_size * 2:
            raise _bad_line(number, f"has {len(entry.digest)} digits, which is not the length of a {entry.algorithm.upper()} digest", name)
        found.entries.append(entry)
        if not _STRICT.fullmatch(written):
            found.nonstandard.append(number)
    return found


def parse_line(line: str) -> Entry | None:
    """``SHA256(name)= hexadecimal``, with or without spaces; None when it is something else. The length is not looked at."""
    match = _LINE.fullmatch(line)
    if match is None:
        return None
    algorithm = match[1].lower().replace("sha2-", "sha").replace("-", "")  # OpenSSL 3 writes SHA2-256
    return Entry(match[2].strip(), algorithm, match[3].lower())


def _sum_line(line: str) -> Entry | None:
    match = _SUM.fullmatch(line)
    if match is None or len(match[1]) not in _SUMS:
        return None
    return Entry(match[2], _SUMS[len(match[1])], match[1].lower())


def _bad_line(number: int, what: str, name: str) -> IntegrityFailure:
    return IntegrityFailure(f"line {number} of the manifest {what}", path=name, hint="Manifests can be ignored with manifest=ignore")


class Check:
    """Compares files with what a manifest says of them, while somebody reads them; to be closed.

    :param expected: normalised name → all entries about that file
    """

    def __init__(self, expected: t.Mapping[str, list[Entry]]) -> None:
        self.expected = expected
        self._watched: dict[str, HashedStorage] = {}
        self._room = Room()
        self._agreed: dict[str, None] = {}

    def has(self, name: str) -> bool:
        return name in self.expected

    def watch(self, name: str, open_file: t.Callable[[], Storage]) -> Storage:
        """A file to be read. What is read in its order is hashed on the way.

        :param open_file: gives its bytes, when they are not open already
        """
        if not self.has(name) or name in self._agreed:
            return open_file()
        if name not in self._watched:
            self._watched[name] = HashedStorage(open_file(), {entry.algorithm for entry in self.expected[name]}, self._room)
        watched = self._watched[name]
        return watched.window(0, watched.size, watched.name)

    def finish(self, progress: Progress = silent) -> list[str]:
        """Read what was not read of the watched files, and compare.

        :return: all files that agree, of this call and those before
        :raises IntegrityFailure: a digest differs
        """
        total = sum(storage.size for storage in self._watched.values())
        done = 0

        def count(length: int) -> None:
            nonlocal done
            done += length
            progress("verify", done, total)

        for name, storage in self._watched.items():
            if name not in self._agreed:
                _compare(name, self.expected[name], storage.digests(count), storage.name)
                self._agreed[name] = None
        return list(self._agreed)

    def close(self) -> None:
        for storage in self._watched.values():
            storage.close()


def _compare(name: str, entries: list[Entry], found: t.Mapping[str, str], path: str) -> None:
    for entry in entries:
        if found[entry.algorithm] != entry.digest:
            raise IntegrityFailure(
                f"{printable(name)!r} is not what the manifest says: its {entry.algorithm.upper()} is {found[entry.algorithm]}, not {entry.digest}",
                path=path,
                hint="Fetch the package again",
            )
