# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tar archives made by hand, block by block: what no tar program writes, or only for files of gigabytes."""

from __future__ import annotations

BLOCK = 512
USTAR = b"ustar\x0000"
GNU = b"ustar  \0"
END = bytes(2 * BLOCK)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def number(value: int) -> bytes:
    """A field of twelve bytes: octal, or base 256 where that is too short."""
    return b"%011o\0" % value if value < 8 << 30 else b"\x80" + value.to_bytes(11, "big")


def header(
    name: bytes, typeflag: bytes = b"0", size: int = 0, *, field: bytes | None = None, body: bytes = b"", magic: bytes = USTAR, tail: bytes = b""
) -> bytes:
    """A header with a right checksum, and what is to stand behind it, padded.

    :param field: the size as it is written, instead of ``size``
    :param tail: what is written from byte 345 on
    """
    block = bytearray(BLOCK)
    block[: len(name)] = name
    block[100:108] = b"0000644\0"
    block[108:124] = b"0000000\0" * 2
    block[124:136] = field or number(size)
    block[136:148] = number(0)
    block[148:156] = b" " * 8
    block[156:157] = typeflag
    block[257:265] = magic
    block[345 : 345 + len(tail)] = tail
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + padded(body)


def pax(*records: tuple[bytes, bytes], typeflag: bytes = b"x") -> bytes:
    """A pax header of (key, value) records."""
    body = b""
    for key, value in records:
        rest = b" " + key + b"=" + value + b"\n"
        length = len(rest) + 1
        while len(b"%d" % length) + len(rest) != length:
            length += 1
        body += b"%d" % length + rest
    return header(b"pax", typeflag, len(body), body=body)


def old_gnu_sparse(name: bytes, runs: list[tuple[int, int]], real: int, stored: int | None = None) -> bytes:
    """The header of a sparse file of type ``S`` with its map; the stored data is to follow."""
    entries = [number(offset) + number(length) for offset, length in runs]
    first, rest = entries[:4], entries[4:]
    tail = bytes(386 - 345) + b"".join(first).ljust(96, b"\0") + (b"\1" if rest else b"\0") + number(real)
    found = header(name, b"S", sum(length for _offset, length in runs) if stored is None else stored, magic=GNU, tail=tail)
    while rest:
        part, rest = rest[:21], rest[21:]
        found += padded(b"".join(part).ljust(504, b"\0") + (b"\1" if rest else b"\0"))
    return found


def pax_sparse(name: bytes, runs: list[tuple[int, int]], real: int, version: str, stored: int | None = None) -> bytes:
    """The headers of a sparse file in pax format 0.0, 0.1 or 1.0 with its map; the stored data is to follow."""
    size = sum(length for _offset, length in runs) if stored is None else stored
    counted = (b"GNU.sparse.size", b"%d" % real), (b"GNU.sparse.numblocks", b"%d" % len(runs))
    if version == "0.0":
        pairs = [pair for offset, length in runs for pair in ((b"GNU.sparse.offset", b"%d" % offset), (b"GNU.sparse.numbytes", b"%d" % length))]
        return pax(*counted, *pairs) + header(name, size=size)
    numbers = [number for run in runs for number in run]
    if version == "0.1":
        text = b",".join(b"%d" % number for number in numbers)
        return pax(*counted, (b"GNU.sparse.map", text), (b"GNU.sparse.name", name)) + header(b"GNUSparseFile.1/" + name, size=size)
    table = padded(b"".join(b"%d\n" % number for number in (len(runs), *numbers)))
    records = (b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", name), (b"GNU.sparse.realsize", b"%d" % real)
    return pax(*records) + header(b"GNUSparseFile.1/" + name, size=size + len(table)) + table


def sparse(name: bytes, runs: list[tuple[int, int]], real: int, version: str, stored: int | None = None) -> bytes:
    """A sparse file's headers and map in version ``old``, ``0.0``, ``0.1`` or ``1.0``."""
    return old_gnu_sparse(name, runs, real, stored) if version == "old" else pax_sparse(name, runs, real, version, stored)
