# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The data files of ESX snapshots, described: COWD (``-delta.vmdk``) and space-efficient sparse (``-sesparse.vmdk``).

Sources: VMware, "Virtual Disk Format 5.0", section "ESX Server Sparse Extents"; qemu, block/vmdk.c
(VMDK3Header, VMDKSESparseConstHeader). Little endian; offsets and sizes are in sectors of 512 bytes.
"""

from __future__ import annotations

import typing as t

from ...errors import CorruptImage, UnsupportedImage
from ...extents import Extent
from ...limits import SECTOR
from ...storage.base import Storage
from ...structure import Structure
from ..base import ImageInfo, Reader, check_virtual_size

COWD_MAGIC = b"COWD"
COWD_HEADER = Structure(
    "<",
    ("magicNumber", "4s"),
    ("version", "I"),
    ("flags", "I"),
    ("numSectors", "I"),
    ("grainSize", "I"),
    ("gdOffset", "I"),
    ("numGDEntries", "I"),
    ("freeSector", "I"),
)
SESPARSE_MAGIC = b"\xbe\xba\xfe\xca\0\0\0\0"
SESPARSE_VERSION = 0x0000000200000001
SESPARSE_HEADER = Structure("<", ("magic", "8s"), ("version", "Q"), ("capacity", "Q"), ("grain_size", "Q"), ("grain_table_size", "Q"), ("flags", "Q"))


class EsxReader(Reader):
    """One data file of an ESX snapshot."""

    format = "vmdk"

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        raw = storage.read_exact(0, SECTOR, "the VMDK header")
        if raw.startswith(COWD_MAGIC):
            self._subformat = "vmfsSparse"
            fields = COWD_HEADER.unpack(raw)
            version, sectors, grain = fields.version, fields.numSectors, fields.grainSize
            supported = version == 1
        else:
            self._subformat = "seSparse"
            fields = SESPARSE_HEADER.unpack(raw)
            version, sectors, grain = fields.version, fields.capacity, fields.grain_size
            supported = version == SESPARSE_VERSION
        if not supported:
            raise UnsupportedImage(f"{self._subformat} extents of version {version:#x} are not supported", path=storage.name, offset=4)
        if not 0 < grain <= sectors:
            raise CorruptImage(f"a disk of {sectors} sectors in grains of {grain} is not possible", path=storage.name)
        self.virtual_size = check_virtual_size(sectors * SECTOR, storage.name)
        self._grain = grain * SECTOR

    def describe(self) -> ImageInfo:
        return ImageInfo(self.format, self.virtual_size, self._subformat, cluster_size=self._grain, writer="VMware ESX")

    def unreadable_reason(self) -> str | None:
        return f"a data file ({self._subformat}) of an ESX snapshot; the disk also needs its descriptor and the parent's files, which is not supported yet"

    def extents(self, start: int = 0, length: int | None = None) -> t.Iterator[Extent]:
        self.require_readable()
        return iter(())
