# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The headers of LUKS2: which of the two counts, and what its JSON says. See layout.py for the source."""

from __future__ import annotations

import hashlib
import json
import typing as t

from ...errors import CorruptImage, ImageError, InvalidImage, LimitExceeded, UnsupportedImage, printable
from ...storage.base import Storage
from ...structure import Fields
from .layout import BINARY_SIZE, CSUM_OFFSET, HEADER_2, HEADER_2_SIZES, MAGIC, MAX_JSON_ELEMENTS, MAX_KEY_BYTES, MAX_OBJECTS, SECOND_MAGIC, text
from .volume import Volume, cipher_facts, payload

Json = dict[str, t.Any]


def read_luks2(storage: Storage) -> Volume:
    """Read both headers of a LUKS2 volume and take the one that cryptsetup takes: the newest that is intact.

    :raises CorruptImage: both are damaged
    :raises UnsupportedImage: the checksum of the only one is of a kind that this Python cannot compute
    :raises LimitExceeded: its JSON area is too large
    """
    warnings: list[str] = []
    first, problem = _try(storage, 0, MAGIC)
    places = HEADER_2_SIZES if first is None else (first[0].hdr_size,)
    second = next((found for found in (_try(storage, place, SECOND_MAGIC)[0] for place in places) if found), None)
    if first is None and second is None:
        raise problem or InvalidImage("not a LUKS2 volume: no header", path=storage.name)
    if first is None:
        warnings.append(f"the first LUKS2 header is lost or damaged ({problem.message if problem else 'not there'}); the second one is used")
    elif second is None:
        warnings.append("the second LUKS2 header is lost or damaged; the first one is used")
    elif first[0].seqid != second[0].seqid:
        warnings.append(f"the two LUKS2 headers differ in age (seqid {first[0].seqid} and {second[0].seqid}); the newer one is used")
    header, body = max((found for found in (first, second) if found), key=lambda found: int(found[0].seqid))
    return _describe(storage, header, _parse(storage, body), warnings)


def _try(storage: Storage, offset: int, magic: bytes) -> tuple[tuple[Fields, bytes] | None, ImageError | None]:
    try:
        return _header(storage, offset, magic), None
    except ImageError as error:
        return None, error


def _header(storage: Storage, offset: int, magic: bytes) -> tuple[Fields, bytes]:
    """A binary header and the bytes of its JSON area, with its checksum verified."""
    raw = storage.read_exact(offset, HEADER_2.size, "LUKS2 header")
    header = HEADER_2.unpack(raw)
    if header.magic != magic or header.version != 2:
        raise CorruptImage("there is no LUKS2 header", path=storage.name, offset=offset)
    if header.hdr_size not in HEADER_2_SIZES or header.hdr_offset != offset or offset not in (0, header.hdr_size):
        raise CorruptImage(
            f"a LUKS2 header of {header.hdr_size} bytes for the offset {header.hdr_offset} is not possible here", path=storage.name, offset=offset
        )
    area = storage.read_exact(offset, header.hdr_size, "LUKS2 header and its JSON area")
    name = text(header.csum_alg)
    # By a fixed list: other names could be those of another machine's OpenSSL, or have no fixed length (SHAKE).
    if name not in ("sha1", "sha224", "sha256", "sha384", "sha512"):
        raise UnsupportedImage(f"the checksum {printable(name)!r} of the LUKS2 header is not supported", path=storage.name, offset=offset)
    digest = hashlib.new(name, area[:CSUM_OFFSET], usedforsecurity=False)
    digest.update(bytes(HEADER_2.size - CSUM_OFFSET))
    digest.update(memoryview(area)[HEADER_2.size :])
    if header.csum[: digest.digest_size] != digest.digest():
        raise CorruptImage("the checksum of the LUKS2 header is wrong", path=storage.name, offset=offset)
    return header, area[BINARY_SIZE:]


def _parse(storage: Storage, area: bytes) -> Json:
    stored = area.partition(b"\0")[0]
    if sum(map(stored.count, (b",", b"[", b"{"))) > MAX_JSON_ELEMENTS:
        raise LimitExceeded(f"the JSON area of the LUKS2 header has more than {MAX_JSON_ELEMENTS} elements", path=storage.name)
    try:
        found = json.loads(stored.decode("utf-8"), parse_int=_number)
    except (ValueError, RecursionError) as error:
        raise CorruptImage(f"the JSON area of the LUKS2 header cannot be read ({printable(str(error))})", path=storage.name) from error
    if not isinstance(found, dict):
        raise CorruptImage("the JSON area of the LUKS2 header is no object", path=storage.name)
    return found


def _number(digits: str) -> int:
    # Converting a number of a million digits takes minutes.
    if len(digits) > 20:
        raise ValueError("a number of more than 20 digits")
    return int(digits)


def _u64(value: t.Any) -> int:
    """LUKS2 keeps 64-bit numbers as strings (section 3)."""
    if not isinstance(value, str) or not value.isascii() or not value.isdigit():
        raise ValueError(f"{value!r:.40} is no number in a string")
    return _number(value)


def _objects(found: Json, name: str) -> list[tuple[int, Json]]:
    """The members of a section (keyslots, segments …) in the order of their numbers."""
    section = found.get(name)
    if not isinstance(section, dict) or len(section) > MAX_OBJECTS:
        raise ValueError(f"no {name}, or more than {MAX_OBJECTS} of them")
    if not all(isinstance(member, dict) for member in section.values()):
        raise ValueError(f"one of the {name} is no object")
    return sorted(((_u64(key), member) for key, member in section.items()), key=lambda pair: pair[0])


def _describe(storage: Storage, header: Fields, found: Json, warnings: list[str]) -> Volume:
    try:
        slots = [_slot(number, slot) for number, slot in _objects(found, "keyslots")]
        # While a volume is encrypted anew, segments with such flags tell how the others came about (section 3.3).
        segments = [segment for _number, segment in _objects(found, "segments") if not _is_backup(segment)]
        size, facts = _segments(storage, segments, 2 * header.hdr_size, warnings)
        key_bytes = next((slot["key_size"] for slot in slots), 0)
        first = segments[0] if segments else {}
        tokens = [printable(str(token.get("type"))) for _number, token in _objects(found, "tokens")]
        hashes = [str(digest.get("hash")) for _number, digest in _objects(found, "digests")]
        requirements = _requirements(found)
    except (ValueError, TypeError, AttributeError) as error:
        raise CorruptImage(f"the JSON area of the LUKS2 header contradicts the specification: {printable(str(error))}", path=storage.name) from error
    if requirements:
        warnings.append(f"the LUKS2 volume demands {', '.join(requirements)}: was it being encrypted anew?")
    encryption = str(first.get("encryption", "none")).replace("capi:", "")
    facts = {
        "version": 2,
        **cipher_facts(encryption, key_bytes),
        "hash_alg": printable(hashes[0]) if hashes else None,
        "uuid": printable(text(header.uuid)),
        "label": printable(text(header.label)) or None,
        "subsystem": printable(text(header.subsystem)) or None,
        **facts,
        "metadata_size": header.hdr_size,
        "seqid": header.seqid,
        "tokens": tokens,
        "slots": slots,
    }
    return Volume(2, size, {key: value for key, value in facts.items() if value is not None}, warnings)


def _is_backup(segment: Json) -> bool:
    flags = segment.get("flags", [])
    return any(str(flag).startswith("backup-") for flag in flags)


def _segments(storage: Storage, segments: list[Json], header_end: int, warnings: list[str]) -> tuple[int, Json]:
    """The size of the disk and where its content lies: one segment, or several while it is encrypted anew."""
    if not segments:
        warnings.append("the LUKS2 header names no content, so the size of the disk is not known")
        return 0, {}
    total = 0
    for segment in segments:
        length = None if segment.get("size") == "dynamic" else _u64(segment.get("size"))
        size, unusual = payload(storage, _u64(segment.get("offset")), header_end, length)
        total += size
        warnings += [text for text in unusual if text not in warnings]
    first = segments[0]
    sector = first.get("sector_size")
    if sector is not None and (isinstance(sector, bool) or not isinstance(sector, int)):
        raise ValueError("the sector size is no number")
    return total, {"payload_offset": _u64(first.get("offset")), "sector_size": sector}


def _slot(number: int, slot: Json) -> Json:
    kdf, area, splitter = slot.get("kdf") or {}, slot.get("area") or {}, slot.get("af") or {}
    key_size = slot.get("key_size")
    if isinstance(key_size, bool) or not isinstance(key_size, int) or not 0 < key_size <= MAX_KEY_BYTES:
        raise ValueError(f"keyslot {number} has a key of {key_size!r:.40} bytes")
    facts = {
        "slot": number,
        "active": True,
        "type": printable(str(slot.get("type"))),
        "key_size": key_size,
        "kdf": printable(str(kdf["type"])) if "type" in kdf else None,
        "iters": kdf.get("iterations", kdf.get("time")),
        "key_offset": _u64(area["offset"]) if "offset" in area else None,
        "stripes": splitter.get("stripes"),
    }
    for name in ("iters", "stripes"):
        if facts[name] is not None and not isinstance(facts[name], int):
            raise ValueError(f"keyslot {number}: {name} is no number")
    return {key: value for key, value in facts.items() if value is not None}


def _requirements(found: Json) -> list[str]:
    mandatory = ((found.get("config") or {}).get("requirements") or {}).get("mandatory") or []
    return [printable(str(name)) for name in mandatory][:MAX_OBJECTS]
