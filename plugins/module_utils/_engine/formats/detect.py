# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What a file is, by its content only. Every probe is asked and all answers are reported; names and endings say nothing.

Two formats that both fit are an error, except for pairs that are made on purpose and mean one thing (CVE-2024-40767 is
what happens otherwise: one program looks at the one, the next at the other).
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import AmbiguousImage, InvalidImage, UnsupportedImage
from ..limits import SECTOR
from ..storage.base import Storage
from . import registry
from .probes.content import PARTITION_TABLES, content_matches, kernel_matches
from .probes.magic import magic_matches, other_matches
from .probes.match import ARCHIVE, COMPRESSION, CONTENT, DISK, ENCRYPTED, OPTICAL, OTHER, Match
from .probes.optical import optical_matches
from .probes.tar import tar_matches
from .probes.text import is_only_text, text_matches, vmdk_descriptor
from .probes.trailers import VHD_FIXED, trailer_matches

HEAD = 65 * 2048
"""Bytes looked at from the start: Btrfs's superblock lies at 64 KiB, ISO and UDF descriptors in the sectors 16 to 64."""
TAIL = 1536
"""Bytes looked at from the end: a footer with what may stand behind it."""

_FAMILIES = (("ova", "vagrant", "xva", "tar"), ("iso", "udf"), ("dmg", "bzip2", "xz"))
"""Names of one thing, the most telling first. A UDIF image begins with its first compressed piece (UDBZ, ULMO)."""


@dataclasses.dataclass(frozen=True)
class Detection:
    """What detect() found."""

    best: Match
    """what the file is taken for; look at ``ambiguous`` first"""
    matches: tuple[Match, ...]
    """every format that fits, the best first; raw only when no other does"""
    ambiguous: tuple[Match, ...] = ()
    """formats that contradict each other; empty when the answer is clear"""
    notes: tuple[str, ...] = ()
    whole: bool = True
    """the end was looked at, too"""

    @property
    def contents(self) -> tuple[Match, ...]:
        """Partition tables and file systems that can be seen without opening a format."""
        return tuple(match for match in self.matches if match.category == CONTENT)


def detect(storage: Storage, *, tail: bool = True) -> Detection:
    """Name the format of a storage by its content.

    :param storage: anything; a compressed stream is judged by what it decompresses to
    :param tail: look at the end, too; False spares a compressed stream from being decompressed whole (and so misses
        footers: such an answer is good to look at, not to convert by)
    :raises AccessError: the storage could not be read
    :raises CorruptImage: a compressed stream is damaged
    """
    notes: list[str] = []
    head = storage.read_at(0, HEAD)
    size = storage.size if tail else None
    end = storage.read_at(max(0, size - TAIL), TAIL) if size is not None else b""

    heads = magic_matches(head) + optical_matches(head) + tar_matches(_bounded(storage, head))
    descriptor = vmdk_descriptor(head)
    if descriptor:
        heads.append(descriptor)
        if not is_only_text(storage, head, size):
            heads.append(Match("raw", DISK, "a disk behind a VMDK text descriptor", 50, reader="raw"))
    trailers = trailer_matches(storage, end, notes) if size is not None else []
    if any(match.format == "vhd" for match in heads):
        trailers = [match for match in trailers if match.format != "vhd" or match is VHD_FIXED]
    contents = content_matches(head, size)
    containers = heads + trailers
    ambiguous = _contradictions(heads, trailers, contents)
    if not containers:
        containers = kernel_matches(head) or ([] if contents else other_matches(head) or text_matches(head, end))
    if not containers:
        containers = [_raw(head, size, contents, notes)]
    ordered = sorted(containers, key=_rank) + contents
    return Detection(ordered[0], tuple(ordered), tuple(ambiguous), tuple(notes), size is not None)


def _bounded(storage: Storage, head: bytes) -> t.Callable[[int, int], bytes]:
    """Reads of a storage; of one that is expensive to read in any order, of its head only."""
    return storage.read_at if not storage.sequential else lambda offset, length: head[offset : offset + length]


def _rank(match: Match) -> tuple[int, int]:
    family = next((names.index(match.format) for names in _FAMILIES if match.format in names), 0)
    return family, -match.confidence


def _contradictions(heads: list[Match], trailers: list[Match], contents: list[Match]) -> list[Match]:
    """Formats of which only one can be meant."""
    containers = heads + trailers
    meanings = {next((names[0] for names in _FAMILIES if match.format in names), match.description) for match in containers}
    if len(meanings) > 1:
        return containers
    # A partition table in front of an ISO or in a fixed VHD is made on purpose; in the header of another format it is not.
    tables = [match for match in contents if match.format in PARTITION_TABLES]
    if tables and any(match.category != OPTICAL for match in heads):
        return containers + tables
    return []


def _raw(head: bytes, size: int | None, contents: list[Match], notes: list[str]) -> Match:
    """Nothing else: the bytes are a disk, or nothing that anybody knows."""
    if size == 0:
        notes.append("the file is empty")
        return Match("raw", DISK, "an empty file", 0, reader="raw")
    if size is not None and size % SECTOR:
        notes.append("the size is no multiple of 512 bytes: truncated? The last sector is padded with zeros")
    if head.startswith(b"<<< ") and b"Disk Image >>>" in head[:64]:
        notes.append("it begins like a VDI image, but VDI's signature is missing")
    if contents:
        return Match("raw", DISK, f"a raw disk image with {contents[0].description}", 80, reader="raw")
    return Match("raw", DISK, "a raw disk image, or unknown data", 10, reader="raw")


def require_disk(detection: Detection, storage: Storage, *, declared: str | None = None, allow_raw: bool = True) -> str:
    """The registry's name of the format to open a storage as, or the reason why it cannot be opened.

    This is the collection's policy: a format that the user declares has to be the detected one; what nothing is known
    of is a raw disk only if it can be one.

    :param detection: what detect() said of ``storage``, with its tail
    :param declared: the format that the user says it is
    :param allow_raw: take undeclared content as raw when nothing else fits
    :raises AmbiguousImage: more than one format fits
    :raises InvalidImage: no disk image, or not of the declared format
    :raises UnsupportedImage: a format that is known and not read, or one that has to be unpacked first
    """
    best, name = detection.best, storage.name
    if detection.ambiguous:
        fits = " and ".join(match.description for match in detection.ambiguous)
        raise AmbiguousImage(f"the content fits {fits}: programs would disagree about which disk this is", path=name, hint="Make the image anew")
    if declared is not None:
        _require_declared(registry.lookup(declared).name, best, storage)
        return registry.lookup(declared).name
    if best.category == ARCHIVE:
        raise UnsupportedImage(f"this is {best.description}, not a disk image", path=name, hint=_tool(best) or "Take the disk image out of it first")
    if best.category == COMPRESSION:
        raise UnsupportedImage(f"this is {best.description}, not a disk image", path=name, hint=_tool(best) or "Decompress it first")
    if best.category == OTHER:
        raise InvalidImage(f"this is {best.description}, not a disk image", path=name)
    if best.reader is None:
        raise UnsupportedImage(f"this is {best.description}, which is not supported", path=name, hint=_tool(best))
    if best.format == "raw":
        _require_plausible_raw(detection, storage, allow_raw)
    return best.reader


def _tool(match: Match) -> str | None:
    return f"It can be read with {match.tool}" if match.tool else None


def _require_declared(declared: str, best: Match, storage: Storage) -> None:
    # Raw may be asked for where the bytes mean themselves; never for bytes that another program would open as an image.
    bytes_as_they_are = best.reader == "raw" or best.category in (ENCRYPTED, OTHER)
    if declared == "raw" and bytes_as_they_are and storage.size:
        return
    if best.reader != declared or not storage.size:
        raise InvalidImage(f"declared as {declared}, but this is {best.description}", path=storage.name)


def _require_plausible_raw(detection: Detection, storage: Storage, allow_raw: bool) -> None:
    if storage.size == 0:
        raise InvalidImage("the file is empty", path=storage.name)
    if not allow_raw:
        raise InvalidImage("no known disk image format fits the content", path=storage.name, hint="If it is a raw disk, declare the format raw")
    if storage.size < SECTOR:
        raise InvalidImage(
            f"no known disk image format fits the content, and {storage.size} bytes are less than a disk's smallest, a sector of {SECTOR}", path=storage.name
        )
