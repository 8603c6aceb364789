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
from ..formats.probes.tar import HEADER, MAX_NUMBER, checksum_fits, number
from ..limits import GIB, MAX_ARCHIVE_MEMBERS, MAX_TAR_EXTENSION
from ..storage.base import Storage
from ..structure import Fields
from .members import DATA, DEVICE, FIFO, FOLDER, HARD_LINK, OTHER, SYMBOLIC_LINK, Member
from .tar_sparse import BLOCK, MAX_SPARSE_RUNS, PREFIX, PaxSparse, Sparse, read_forward, read_old_gnu

_USTAR = b"ustar\0"
"""magic; what follows is a version, which no program looks at"""
_GNU = b"ustar  \0"
"""GNU tar's own, with a version of spaces; it uses the prefix for something else"""

_KINDS = {
    b"\0": DATA,
    b"0": DATA,
    b"7": DATA,
    b"S": DATA,
    b"1": HARD_LINK,
    b"2": SYMBOLIC_LINK,
    b"3": DEVICE,
    b"4": DEVICE,
    b"5": FOLDER,
    b"6": FIFO,
}
_NO_DATA = (HARD_LINK, SYMBOLIC_LINK, DEVICE, FOLDER, FIFO)
_GNU_SPARSE = b"S"
_MULTI_VOLUME = b"M"
_PAX = (b"x", b"X")
"""``X`` is Sun's, of the same meaning"""
_PAX_GLOBAL = b"g"
_GNU_NAME = b"L"
_GNU_LINK = b"K"
_EXTENSIONS = (*_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK)
_VOLUME = b"GNU.volume."
_STAR_SIZE = b"SCHILY.realsize"
_OCTAL_END = 8 * GIB
"""sizes from here on do not fit into the eleven digits of a header"""
_MAX_EXTENSIONS = 8
"""headers in front of one member; tar programs write two or three"""
_MAX_EXTENSION_BYTES = 64 * MAX_TAR_EXTENSION
"""of all members together"""
_DECIMAL = re.compile(rb"[0-9]{1,20}")


class _Pending:
    """What extension headers say of the member that follows.

    :param spent: bytes of the extension headers in the whole archive
    """

    def __init__(self, spent: int = 0) -> None:
        self.spent = spent
        self.count = 0
        self.name: bytes | None = None
        self.size: int | None = None
        self.sparse = PaxSparse()


def members(storage: Storage) -> t.Iterator[Member]:
    """The members in their order. Reads their headers, and nothing of their content.

    A compressed archive (``storage.sequential``) is passed once: the caller reads what it wants of a member before it
    takes the next. Whether the archive is whole turns out at its end, then.

    :raises InvalidImage: not a tar archive
    :raises CorruptImage: a header is damaged, or the archive is cut
    :raises UnsupportedImage: multi-volume archives, star's sparse files
    :raises LimitExceeded: too many members, too many or too long headers, too large a sparse file
    """
    pending = _Pending()
    member = None
    offset = headers = runs = 0
    while True:
        block = storage.read_at(offset, BLOCK)
        if len(block) < BLOCK or not block.strip(b"\0"):
            break
        headers += 1
        if headers > MAX_ARCHIVE_MEMBERS:
            raise LimitExceeded(f"the archive has more than {MAX_ARCHIVE_MEMBERS} members", path=storage.name, offset=offset)
        header = _parse_header(storage, block, offset)
        start = offset + BLOCK
        if header.typeflag in _EXTENSIONS:
            size = _size(storage, header, offset)
            _read_extension(storage, header.typeflag, start, size, pending)
            offset = _padded(start + size)
            continue
        member = _member(storage, block, header, start, pending, MAX_SPARSE_RUNS - runs)
        if not storage.sequential:
            _require_whole(storage, member)
        yield member
        runs += len(member.sparse or ())
        offset = _padded(member.offset + member.stored)
        pending = _Pending(pending.spent)
    if member is not None:
        _require_whole(storage, member)
    _check_end(storage, offset, block, pending, headers)


def _parse_header(storage: Storage, block: bytes, offset: int) -> Fields:
    if not checksum_fits(block):
        if offset == 0:
            raise InvalidImage("not a tar archive: the first 512 bytes are no header", path=storage.name)
        raise CorruptImage("the header of an archive member is damaged (wrong checksum)", path=storage.name, offset=offset)
    return HEADER.unpack(block)


def _size(storage: Storage, header: Fields, offset: int) -> int:
    size = number(header.size)
    if size is None:
        raise CorruptImage("the size of an archive member is no number, negative, or 2^63 and more", path=storage.name, offset=offset)
    return size


def _check_end(storage: Storage, offset: int, block: bytes, pending: _Pending, headers: int) -> None:
    """The archive ends with a block of zeros (two by the standard), or without one, at the end of a member."""
    if headers == 0:
        raise InvalidImage("not a tar archive: no member in it", path=storage.name)
    if block.strip(b"\0"):
        raise CorruptImage(f"the archive is cut in a member's header: {BLOCK - len(block)} bytes of it are missing", path=storage.name, offset=offset)
    if pending.count:
        raise CorruptImage("the archive ends where a member is announced", path=storage.name, offset=offset)


def _member(storage: Storage, block: bytes, header: Fields, start: int, pending: _Pending, room: int) -> Member:
    kind = _KINDS.get(header.typeflag, OTHER)
    where = start - BLOCK
    if header.typeflag == _MULTI_VOLUME:
        raise _multi_volume(storage, where)
    name = next((given for given in (pending.sparse.name, pending.name) if given is not None), _header_name(header))
    if not name or b"\0" in name:
        raise CorruptImage("an archive member has no usable name", path=storage.name, offset=where)
    size = _size(storage, header, where)
    if pending.size is not None:
        if size != pending.size < _OCTAL_END:  # programs that look at only one of them find the next header elsewhere
            raise CorruptImage(f"the headers of archive member {printable(name)!r} give it two sizes", path=storage.name, offset=where)
        size = pending.size
    sparse = _sparse(storage, block, header, start, size, pending, room)
    if kind == DATA and name.endswith(b"/"):
        kind = FOLDER
    if kind in _NO_DATA and (size or sparse):
        raise CorruptImage(f"archive member {printable(name)!r} is a {kind}, but has {size} bytes", path=storage.name, offset=where)
    text = name.decode("utf-8", "surrogateescape")
    ustar = header.magic.startswith(_USTAR) and not pending.count and header.size[0] < 0x80 and sparse is None
    if sparse is None:
        return Member(text, size, start, kind, size, standard=ustar)
    return Member(text, sparse.size, sparse.start, kind, sparse.runs.stored, sparse.runs, standard=ustar)


def _sparse(storage: Storage, block: bytes, header: Fields, start: int, size: int, pending: _Pending, room: int) -> Sparse | None:
    """How the member is stored; None: whole."""
    if header.typeflag == _GNU_SPARSE:
        if pending.sparse:
            raise CorruptImage("an archive member has two maps of a sparse file", path=storage.name, offset=start - BLOCK)
        if header.magic != _GNU:
            raise _star(storage, start - BLOCK)
        return read_old_gnu(storage, block, start, size, room)
    return pending.sparse.read(storage, start, size, room) if pending.sparse else None


def _multi_volume(storage: Storage, where: int) -> UnsupportedImage:
    return UnsupportedImage("the archive is a part of a multi-volume archive", path=storage.name, offset=where, hint="Join the volumes first")


def _star(storage: Storage, where: int) -> UnsupportedImage:
    return UnsupportedImage(
        "an archive member is a sparse file in the format of star", path=storage.name, offset=where, hint="Pack it again with GNU tar or bsdtar"
    )


def _header_name(header: Fields) -> bytes:
    name: bytes = header.name.split(b"\0")[0]
    prefix: bytes = header.prefix.split(b"\0")[0] if header.magic.startswith(_USTAR) else b""
    return prefix + b"/" + name if prefix else name


def _require_whole(storage: Storage, member: Member) -> None:
    missing = member.offset + member.stored - storage.size
    if missing > 0:
        raise CorruptImage(
            f"the archive is cut: {missing} of the {member.stored} bytes of member {printable(member.name)!r} are missing",
            path=storage.name,
            offset=member.offset,
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
    body = read_forward(storage, start, size, "an archive's extension header")
    if typeflag == _GNU_NAME:
        _set_name(storage, body.split(b"\0")[0], start, pending)
    elif typeflag != _GNU_LINK:
        for key, text in _pax_records(storage, body, start):
            _apply_pax(storage, key, text, start, pending, typeflag == _PAX_GLOBAL)


def _apply_pax(storage: Storage, key: bytes, text: bytes, start: int, pending: _Pending, everywhere: bool) -> None:
    """:param everywhere: the record is to hold for all members that follow"""
    if key.startswith(_VOLUME) and not key.endswith(b".label"):
        raise _multi_volume(storage, start)
    if key == _STAR_SIZE:
        raise _star(storage, start)
    if key not in (b"path", b"size") and not key.startswith(PREFIX):
        return
    if everywhere:
        raise CorruptImage(f"a global pax header sets {printable(key)}", path=storage.name, offset=start)
    if key == b"path":
        _set_name(storage, text, start, pending)
    elif key == b"size":
        size = int(text) if _DECIMAL.fullmatch(text) else -1
        if not 0 <= size <= MAX_NUMBER or pending.size not in (None, size):
            raise CorruptImage("a pax header gives a size that is no number, or not the only one", path=storage.name, offset=start)
        pending.size = size
    else:
        pending.sparse.add(storage, key, text, start)


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


def _padded(offset: int) -> int:
    return -(-offset // BLOCK) * BLOCK
