# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The header of ELF files: for which processor a program is made.

Source: System V ABI, chapter 4 "Object Files", and the registry of e_machine values.
"""

from __future__ import annotations

import typing as t

from ..storage.base import Storage
from ..structure import Structure

MAGIC = b"\x7fELF"
IDENT = Structure("<", ("magic", "4s"), ("ei_class", "B"), ("ei_data", "B"), ("_", "10s"))
_REST = (("e_type", "H"), ("e_machine", "H"), ("e_version", "I"))
HEADERS = {1: Structure("<", *_REST), 2: Structure(">", *_REST)}
"""what follows the 16 bytes of IDENT, by EI_DATA: ELFDATA2LSB, ELFDATA2MSB"""
ET_EXEC, ET_DYN = 2, 3
_CLASS_64 = 2

# (e_machine, bits, EI_DATA) → Nova's word (nova/objects/fields.py, Architecture), or the kernel's own where Nova has none.
_MACHINES = {
    (3, 32, 1): "i686",
    (62, 64, 1): "x86_64",
    (62, 32, 1): "x86_64",  # x32
    (40, 32, 1): "armv7l",
    (183, 64, 1): "aarch64",
    (20, 32, 2): "ppc",
    (21, 64, 1): "ppc64le",
    (21, 64, 2): "ppc64",
    (22, 64, 2): "s390x",
    (22, 32, 2): "s390",
    (243, 64, 1): "riscv64",
    (258, 64, 1): "loongarch64",
    (8, 64, 1): "mips64el",
    (8, 32, 1): "mipsel",
    (8, 32, 2): "mips",
    (2, 32, 2): "sparc",
    (43, 64, 2): "sparc64",
}


class Elf(t.NamedTuple):
    """What the header says."""

    type: int
    """e_type"""
    architecture: str | None
    """``x86_64``, ``aarch64``, …; None for one that has no name here"""


def read_elf(storage: Storage) -> Elf | None:
    """The header of a file; None when it is not of ELF."""
    head = storage.read_at(0, IDENT.size + HEADERS[1].size)
    if len(head) < IDENT.size + HEADERS[1].size or not head.startswith(MAGIC):
        return None
    ident = IDENT.unpack(head)
    if ident.ei_data not in HEADERS:
        return None
    header = HEADERS[ident.ei_data].unpack(head, IDENT.size)
    bits = 64 if ident.ei_class == _CLASS_64 else 32
    return Elf(header.e_type, _MACHINES.get((header.e_machine, bits, ident.ei_data)))
