# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""FAT12, FAT16 and FAT32, with long names. Source: Microsoft's FAT specification (fatgen103)."""

from __future__ import annotations

import typing as t

from ...errors import CorruptImage, InvalidImage, LimitExceeded
from ...storage.base import Memory, Storage
from ..base import DIRECTORY, FILE, Filesystem, Key, Node
from .chains import ChainStorage, FatTable
from .layout import DIRECTORY as ATTR_DIRECTORY
from .layout import DIRECTORY_ENTRY, MAX_DIRECTORY, READ_ONLY
from .names import Entry, entries, fold
from .superblock import read_geometry, signature

_ROOT = -1


class Fat(Filesystem):
    """A FAT file system. A file's key is the place of its short entry on the volume.

    :raises InvalidImage: it is none
    """

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        boot = storage.read_at(0, 512)
        geometry = read_geometry(boot)
        if geometry is None:
            raise InvalidImage("there is no FAT file system", path=storage.name, offset=0)
        self._geometry = geometry
        self._fat = FatTable(storage, geometry.bits, geometry.clusters, geometry.fat_start)
        self.size = geometry.size
        self.signature = signature(storage, boot, geometry)
        self.warnings += self.signature.warnings

    @property
    def root(self) -> Node:
        return Node(_ROOT, DIRECTORY, 0, 0o755, self._geometry.root_cluster)

    def listing(self, directory: Node) -> t.Iterator[tuple[bytes, Key]]:
        for entry, key in self._entries(directory):
            yield entry.name.encode(), key

    def child(self, directory: Node, name: bytes) -> Key | None:
        """Also by its short name, as in Linux."""
        wanted = fold(name.decode("utf-8", "replace"))
        for entry, key in self._entries(directory):
            if wanted in (fold(entry.name), fold(entry.short)):
                return key
        return None

    def node(self, key: Key) -> Node:
        if key == _ROOT:
            return self.root
        fields = DIRECTORY_ENTRY.unpack(self.storage.read_exact(t.cast(int, key), DIRECTORY_ENTRY.size, "a directory entry"))
        cluster = fields.DIR_FstClusLO | (fields.DIR_FstClusHI << 16 if self._geometry.bits == 32 else 0)
        if fields.DIR_Attr & ATTR_DIRECTORY:
            return Node(key, DIRECTORY, 0, 0o755, cluster)
        return Node(key, FILE, fields.DIR_FileSize, 0o555 if fields.DIR_Attr & READ_ONLY else 0o755, cluster)

    def content(self, file: Node) -> Storage:
        name = f"{self.storage.name}: file at {file.key:#x}"
        if not file.size:
            return Memory(b"", name)
        if file.size > self._geometry.clusters * self._geometry.cluster_size:
            raise CorruptImage(f"a file has {file.size} bytes, the file system {self.size}", path=self.storage.name, offset=t.cast(int, file.key))
        return ChainStorage(self.storage, self._runs(file.detail, file.size), file.size, name)

    def target(self, link: Node) -> bytes:
        """FAT has no symbolic links."""
        raise CorruptImage("there are no symbolic links on FAT", path=self.storage.name)

    def _entries(self, directory: Node) -> t.Iterator[tuple[Entry, Key]]:
        data, pieces = self._directory(directory)
        piece = 0
        for entry in entries(data, self.storage.name):
            while entry.at >= pieces[piece][0] + pieces[piece][2]:
                piece += 1
            begin, offset, _length = pieces[piece]
            yield entry, offset + entry.at - begin

    def _directory(self, directory: Node) -> tuple[bytes, list[tuple[int, int, int]]]:
        """A directory's bytes, and where they lie: (offset in it, offset on the volume, bytes)."""
        geometry = self._geometry
        if directory.key == _ROOT and geometry.bits != 32:
            runs: t.Iterable[tuple[int, int]] = [(geometry.root_start, geometry.root_size)]
        else:
            runs = self._runs(directory.detail, None)
        pieces, data, size = [], [], 0
        for offset, length in runs:
            if size + length > MAX_DIRECTORY:
                raise LimitExceeded(f"a directory has more than {MAX_DIRECTORY} bytes", path=self.storage.name, offset=offset)
            pieces.append((size, offset, length))
            data.append(self.storage.read_exact(offset, length, "a directory"))
            size += length
        return b"".join(data), pieces

    def _runs(self, cluster: int, size: int | None) -> t.Iterator[tuple[int, int]]:
        """Where the clusters of a chain lie, as (offset on the volume, bytes).

        :param size: bytes that are wanted; None: all. Clusters behind them are not looked at
        :raises CorruptImage: the chain is damaged, or has fewer
        """
        geometry = self._geometry
        have = 0
        for first, count in self._fat.runs(cluster):
            length = count * geometry.cluster_size
            yield geometry.data_start + (first - 2) * geometry.cluster_size, length
            have += length
            if size is not None and have >= size:
                return
        if size is not None:
            raise CorruptImage(f"a file of {size} bytes has clusters for {have} only", path=self.storage.name, offset=geometry.fat_start)
