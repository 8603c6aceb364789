# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""ISO 9660 with Rock Ridge or Joliet. Sources: ECMA-119, sections 6.8 and 9; the choice between them is Linux' (fs/isofs)."""

from __future__ import annotations

import stat
import typing as t

from ...errors import CorruptImage, ImageError, LimitExceeded, UnsupportedImage
from ...formats.iso.layout import HEAD, ROOT_RECORD, joliet_volume, primary_volume, volume_descriptors
from ...storage.base import Memory, Storage
from ...storage.joined import JoinedStorage
from ..base import DIRECTORY, FILE, OTHER, SYMLINK, Filesystem, Key, Node
from .records import ASSOCIATED, MAX_NAMES, MULTI_EXTENT, Record, check_name, joliet_name, plain_name, read_record, records, sections
from .records import DIRECTORY as FLAG_DIRECTORY
from .rockridge import ZISOFS, Attributes, attributes, skipped
from .superblock import signature
from .zisofs import ZisofsStorage

_KINDS = {stat.S_IFDIR: DIRECTORY, stat.S_IFREG: FILE, stat.S_IFLNK: SYMLINK}


class _File(t.NamedTuple):
    """What the reader keeps of a file."""

    start: int
    """where a directory lies on the volume, bytes"""
    size: int
    """bytes of a directory"""
    record: Record
    attributes: Attributes


class Iso9660(Filesystem):
    """The files of an optical disc: by Rock Ridge where it is, else by Joliet, else by their plain names.

    A file's key is the place of its (first) directory record on the volume.

    :raises CorruptImage: the descriptors or the root directory cannot be right
    """

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        descriptors = list(volume_descriptors(storage.read_at(0, HEAD)))
        offset, primary = primary_volume(storage, descriptors)
        joliet = joliet_volume(descriptors)
        self.signature = signature(storage, primary, joliet[1] if joliet else None)
        self.warnings += self.signature.warnings
        self._block_size: int = primary.logical_block_size
        self.size = primary.volume_space_size * self._block_size
        self._skip = self._find_rock_ridge(offset + ROOT_RECORD, joliet is not None)
        self._joliet = joliet if self._skip is None else None
        if self._joliet is not None:
            offset, supplementary = self._joliet
            self._block_size = supplementary.logical_block_size
        self._root = offset + ROOT_RECORD
        self.names = "rock_ridge" if self._skip is not None else "joliet" if self._joliet is not None else "plain"
        """where the names come from"""

    @property
    def root(self) -> Node:
        return self.node(self._root)

    def listing(self, directory: Node) -> t.Iterator[tuple[bytes, Key]]:
        file: _File = directory.detail
        is_part = False
        for count, record in enumerate(records(self.storage, file.start, file.size)):
            if count > MAX_NAMES:
                raise LimitExceeded(f"a directory has more than {MAX_NAMES} names", path=self.storage.name, offset=file.start)
            was_part, is_part = is_part, bool(record.fields.flags & MULTI_EXTENT)
            if was_part or record.identifier in (b"\0", b"\1") or record.fields.flags & ASSOCIATED:
                continue
            name = self._name(record)
            if name is not None:
                yield check_name(name, record, self.storage.name), record.at

    def child(self, directory: Node, name: bytes) -> Key | None:
        """Joliet's names compare without regard to case, as in Linux."""
        if self._joliet is None:
            return super().child(directory, name)
        wanted = _fold(name)
        return next((key for found, key in self.listing(directory) if _fold(found) == wanted), None)

    def node(self, key: Key) -> Node:
        record = read_record(self.storage, t.cast(int, key))
        if key != self._root:
            found = self._attributes(record)
            if found.child is not None:
                return self._relocated(key, found.child)
            if not record.fields.flags & FLAG_DIRECTORY:
                return self._file(key, record, found)
        start = self._start(record)
        if key == self._root:
            found = self._attributes(read_record(self.storage, start))
        return self._directory(key, record, start, record.fields.data_length, found)

    def content(self, file: Node) -> Storage:
        detail: _File = file.detail
        if detail.attributes.sparse:
            raise UnsupportedImage("a file is sparse in the way of Rock Ridge, which is not read", path=self.storage.name)
        name = f"{self.storage.name}: file at {file.key:#x}"
        parts = []
        for fields in sections(self.storage, detail.record):
            if fields.file_unit_size or fields.interleave_gap_size:
                raise UnsupportedImage("a file is interleaved with others, which is not read", path=self.storage.name)
            if fields.data_length:
                parts.append(self.storage.window((fields.extent + fields.extended_attribute_length) * self._block_size, fields.data_length, name))
        stored = Memory(b"", name) if not parts else parts[0] if len(parts) == 1 else JoinedStorage(parts, name)
        return ZisofsStorage(stored, detail.attributes.zisofs) if detail.attributes.zisofs else stored

    def target(self, link: Node) -> bytes:
        return t.cast(_File, link.detail).attributes.target or b""

    def _find_rock_ridge(self, root: int, otherwise: bool) -> int | None:
        """Bytes to skip in system use areas; None: there is no Rock Ridge.

        :param root: where the root directory's record lies
        :param otherwise: whether there are other names, should the root directory be damaged
        """
        try:
            first = read_record(self.storage, self._start(read_record(self.storage, root)))
            skip = skipped(first)
            if skip is None or not attributes(self.storage, self._block_size, first, skip).marked:
                return None
            return skip
        except ImageError:
            if otherwise:
                return None
            raise

    def _name(self, record: Record) -> bytes | None:
        """The name to show; None: the record is not shown."""
        if self._joliet is not None:
            return joliet_name(record.identifier)
        found = self._attributes(record)
        return None if found.relocated else found.name or plain_name(record.identifier)

    def _attributes(self, record: Record) -> Attributes:
        if self._skip is None:
            return Attributes()
        return attributes(self.storage, self._block_size, record, self._skip)

    def _start(self, record: Record) -> int:
        return (record.fields.extent + record.fields.extended_attribute_length) * self._block_size

    def _relocated(self, key: Key, block: int) -> Node:
        """A directory that lies too deep for ISO 9660 and so was put elsewhere: its own ``.`` tells its size."""
        start = block * self._block_size
        record = read_record(self.storage, start)
        if record.identifier != b"\0" or self._start(record) != start:
            raise CorruptImage("a relocated directory is not where it should be", path=self.storage.name, offset=start)
        return self._directory(key, record, start, record.fields.data_length, self._attributes(record))

    def _directory(self, key: Key, record: Record, start: int, size: int, found: Attributes) -> Node:
        return Node(key, DIRECTORY, size, 0o555 if found.mode is None else stat.S_IMODE(found.mode), _File(start, size, record, found))

    def _file(self, key: Key, record: Record, found: Attributes) -> Node:
        size = sum(fields.data_length for fields in sections(self.storage, record))
        if found.zisofs is not None:
            size = ZISOFS.unpack(found.zisofs).uncompressed_size
        kind, mode = FILE, 0o555
        if found.mode is not None:
            kind, mode = _KINDS.get(stat.S_IFMT(found.mode), OTHER), stat.S_IMODE(found.mode)
        if kind == DIRECTORY or (kind == SYMLINK and found.target is None):
            raise CorruptImage("a file's kind contradicts its directory record", path=self.storage.name, offset=record.at)
        if kind == SYMLINK:
            size = len(found.target or b"")
        return Node(key, kind, size, mode, _File(0, 0, record, found))


def _fold(name: bytes) -> str:
    return name.decode("utf-8", "replace").lower()
