# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The table of contents of a tar archive, read from its headers alone; members are then read in place.

Sources: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Interchange Format"; GNU tar manual, "Basic Tar Format"
and "Storing Sparse Files". Python's tarfile is not used: on the Pythons of target nodes it takes a damaged header for
the end of the archive and loops on negative sizes (CVE-2025-8194).

Every header that another reader could take in another way is refused: what one tool skips must not be what the next
one reads.
"""

from __future__ import annotations

import re
import typing as t

from ..errors import CorruptImage, InvalidImage, LimitExceeded, UnsupportedImage, printable
from ..formats.probes.tar import HEADER
from ..limits import MAX_ARCHIVE_MEMBERS, MAX_TAR_EXTENSION
from ..storage.base import Storage
from ..structure import Fields
from .members import DATA, DEVICE, FIFO, FOLDER, HARD_LINK, OTHER, SYMBOLIC_LINK, Member

BLOCK = 512

SPARSE = "sparse file"

_USTAR = b"ustar\x0000"
"""magic and version; GNU tar's own is ``ustar  \\0``, and it uses the prefix for something else"""
_SUM = slice(148, 156)
_SPARSE_MORE = 482
"""GNU ``isextended`` in an old sparse header; in the blocks behind it, the flag is at byte 504"""
_SPARSE_MORE_NEXT = 504

_KINDS = {
    b"\0": DATA,
    b"0": DATA,
    b"7": DATA,
    b"1": HARD_LINK,
    b"2": SYMBOLIC_LINK,
    b"3": DEVICE,
    b"4": DEVICE,
    b"5": FOLDER,
    b"6": FIFO,
    b"S": SPARSE,
}
_NO_DATA = (HARD_LINK, SYMBOLIC_LINK, DEVICE, FOLDER, FIFO)
_PAX = (b"x", b"X")
_GNU_NAME = b"L"
_GNU_LINK = b"K"
_EXTENSIONS = (*_PAX, b"g", _GNU_NAME, _GNU_LINK)
_MAX_EXTENSIONS = 8
"""headers in front of one member; tar programs write two or three"""
_MAX_EXTENSION_BYTES = 64 * MAX_TAR_EXTENSION
"""of all members together"""
_DECIMAL = re.compile(rb"[0-9]{1,20}")


class _Pending:
    """What extension headers say of the member that follows; ``spent`` counts their bytes in the whole archive."""

    def __init__(self, spent: int = 0) -> None:
        self.spent = spent
        self.count = 0
        self.name: bytes | None = None
        self.size: int | None = None
        self.sparse = False
        self.sparse_name: bytes | None = None


def read_index(storage: Storage) -> list[Member]:
    """All members, in their order. Reads 512 bytes a member, and nothing of their content.

    :raises InvalidImage: not a tar archive
    :raises CorruptImage: a header is damaged, or the archive is cut
    :raises UnsupportedImage: multi-volume archives
    :raises LimitExceeded: too many members
    """
    members: list[Member] = []
    pending = _Pending()
    offset = headers = 0
    while True:
        block = storage.read_at(offset, BLOCK)
        if len(block) < BLOCK or not block.strip(b"\0"):
            _check_end(storage, offset, block, pending, headers)
            return members
        headers += 1
        if headers > MAX_ARCHIVE_MEMBERS:
            raise LimitExceeded(f"the archive has more than {MAX_ARCHIVE_MEMBERS} members", path=storage.name, offset=offset)
        header = _parse_header(storage, block, offset)
        size = _number(header.size, storage, offset)
        start = offset + BLOCK
        if header.typeflag in _EXTENSIONS:
            _read_extension(storage, header.typeflag, start, size, pending)
            offset = start + _padded(size)
            continue
        if header.typeflag == b"S":
            start = _skip_sparse_map(storage, block, start)
        member = _member(storage, header, start, size, pending)
        _require_whole(storage, member, start)
        members.append(member)
        offset = start + _padded(member.size)
        pending = _Pending(pending.spent)


def _parse_header(storage: Storage, block: bytes, offset: int) -> Fields:
    header = HEADER.unpack(block)
    stored = _octal(header.chksum)
    rest = block[: _SUM.start] + b" " * 8 + block[_SUM.stop :]
    unsigned = sum(rest)
    # Old Sun tar summed signed bytes.
    if stored not in (unsigned, unsigned - 256 * sum(byte > 127 for byte in rest)):
        if offset == 0:
            raise InvalidImage("not a tar archive: the first 512 bytes are no header", path=storage.name)
        raise CorruptImage("the header of an archive member is damaged (wrong checksum)", path=storage.name, offset=offset)
    return header


def _check_end(storage: Storage, offset: int, block: bytes, pending: _Pending, headers: int) -> None:
    """The archive ends with a block of zeros (two by the standard), or without one, at the end of a member."""
    if headers == 0:
        raise InvalidImage("not a tar archive: no member in it", path=storage.name)
    if block.strip(b"\0"):
        raise CorruptImage(f"the archive is cut in a member's header: {BLOCK - len(block)} bytes of it are missing", path=storage.name, offset=offset)
    if pending.count:
        raise CorruptImage("the archive ends where a member is announced", path=storage.name, offset=offset)


def _member(storage: Storage, header: Fields, start: int, size: int, pending: _Pending) -> Member:
    kind = _KINDS.get(header.typeflag, OTHER)
    where = start - BLOCK
    if header.typeflag == b"M":
        raise UnsupportedImage("the archive is a part of a multi-volume archive", path=storage.name, offset=where, hint="Join the volumes first")
    name = next((given for given in (pending.sparse_name, pending.name) if given is not None), _header_name(header))
    if not name or b"\0" in name:
        raise CorruptImage("an archive member has no usable name", path=storage.name, offset=where)
    if pending.size is not None:
        size = pending.size
    if pending.sparse:
        kind = SPARSE
    elif kind == DATA and name.endswith(b"/"):
        kind = FOLDER
    if kind in _NO_DATA and size:
        raise CorruptImage(f"archive member {printable(name)!r} is a {kind}, but has {size} bytes", path=storage.name, offset=where)
    return Member(name.decode("utf-8", "surrogateescape"), size, start, kind, size)


def _header_name(header: Fields) -> bytes:
    name: bytes = header.name.split(b"\0")[0]
    prefix: bytes = header.prefix.split(b"\0")[0] if header.magic == _USTAR else b""
    return prefix + b"/" + name if prefix else name


def _require_whole(storage: Storage, member: Member, start: int) -> None:
    missing = start + member.size - storage.size
    if missing > 0:
        raise CorruptImage(
            f"the archive is cut: {missing} of the {member.size} bytes of member {printable(member.name)!r} are missing",
            path=storage.name,
            offset=start,
            hint="Fetch the file again",
        )


def _read_extension(storage: Storage, typeflag: bytes, start: int, size: int, pending: _Pending) -> None:
    """Take in a pax or GNU header that describes the member behind it."""
    pending.count += 1
    if pending.count > _MAX_EXTENSIONS:
        raise LimitExceeded(f"more than {_MAX_EXTENSIONS} extension headers for one archive member", path=storage.name, offset=start)
    pending.spent += size
    if size > MAX_TAR_EXTENSION or pending.spent > _MAX_EXTENSION_BYTES:
        raise LimitExceeded(
            f"an extension header of {size} bytes ({MAX_TAR_EXTENSION} are read, and {_MAX_EXTENSION_BYTES} in a whole archive)",
            path=storage.name,
            offset=start,
        )
    if typeflag == _GNU_LINK:
        storage.require(start, size, "the name of a link's target")
        return
    body = storage.read_exact(start, size, "an archive's extension header")
    if typeflag == _GNU_NAME:
        _set_name(storage, body.split(b"\0")[0], start, pending)
        return
    for key, text in _pax_records(storage, body, start):
        if key == b"path" or key == b"size" or key.startswith(b"GNU.sparse."):
            if typeflag == b"g":
                raise CorruptImage(f"a global pax header sets {printable(key)}", path=storage.name, offset=start)
            _apply_pax(storage, key, text, start, pending)


def _apply_pax(storage: Storage, key: bytes, text: bytes, start: int, pending: _Pending) -> None:
    if key == b"path":
        _set_name(storage, text, start, pending)
    elif key == b"size":
        if not _DECIMAL.fullmatch(text):
            raise CorruptImage("a pax header gives a size that is no number", path=storage.name, offset=start)
        pending.size = int(text)
    else:
        pending.sparse = True
        if key == b"GNU.sparse.name":
            pending.sparse_name = text


def _set_name(storage: Storage, name: bytes, start: int, pending: _Pending) -> None:
    """Tar programs do not agree on which of two names counts."""
    if pending.name not in (None, name):
        raise CorruptImage("the headers of an archive member give it two names", path=storage.name, offset=start)
    pending.name = name


def _pax_records(storage: Storage, body: bytes, start: int) -> t.Iterator[tuple[bytes, bytes]]:
    """The ``<length> <key>=<value>\\n`` records of a pax header."""
    position = 0
    while position < len(body):
        space = body.find(b" ", position, position + 21)
        digits = body[position:space] if space > position else b""
        end = position + int(digits) if _DECIMAL.fullmatch(digits) else position
        key, equals, text = body[space + 1 : end].partition(b"=")
        if not position < space < end <= len(body) or not equals or not text.endswith(b"\n"):
            raise CorruptImage("a pax header is damaged", path=storage.name, offset=start + position)
        yield key, text[:-1]
        position = end


def _skip_sparse_map(storage: Storage, block: bytes, start: int) -> int:
    """Where the data of an old GNU sparse member starts: its map may go on in the blocks behind the header."""
    more = block[_SPARSE_MORE]
    end = start + MAX_TAR_EXTENSION
    while more:
        if start >= end:
            raise LimitExceeded(f"the map of a sparse archive member has more than {MAX_TAR_EXTENSION} bytes", path=storage.name, offset=start)
        more = storage.read_exact(start, BLOCK, "a sparse member's map")[_SPARSE_MORE_NEXT]
        start += BLOCK
    return start


def _number(field: bytes, storage: Storage, offset: int) -> int:
    """A member's size: octal digits, or base 256 after a byte 0x80 (GNU, for what 11 octal digits cannot hold)."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    value = _octal(field)
    if value is None:
        raise CorruptImage("the size of an archive member is no number, or negative", path=storage.name, offset=offset)
    return value


def _octal(field: bytes) -> int | None:
    digits = field.strip(b" \0")
    if digits.strip(b"01234567"):
        return None
    return int(digits, 8) if digits else 0


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def members(storage: Storage) -> t.Iterator[Member]:
    """The members one by one."""
    return iter(read_index(storage))
