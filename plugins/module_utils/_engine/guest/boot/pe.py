# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Programs for UEFI: the sections of a Portable Executable and where they lie in its file.

Source: Microsoft, "PE Format", "MS-DOS Stub", "COFF File Header", "Section Table (Section Headers)".
"""

from __future__ import annotations

import dataclasses

from ...errors import CorruptImage
from ...limits import MIB
from ...storage.base import Storage
from ...structure import Structure

COFF_HEADER = Structure(
    "<",
    ("Machine", "H"),
    ("NumberOfSections", "H"),
    ("TimeDateStamp", "I"),
    ("PointerToSymbolTable", "I"),
    ("NumberOfSymbols", "I"),
    ("SizeOfOptionalHeader", "H"),
    ("Characteristics", "H"),
)
SECTION_HEADER = Structure(
    "<",
    ("Name", "8s"),
    ("VirtualSize", "I"),
    ("VirtualAddress", "I"),
    ("SizeOfRawData", "I"),
    ("PointerToRawData", "I"),
    ("_", "12s"),  # relocations and line numbers, which programs do not have
    ("Characteristics", "I"),
)
MACHINES = {
    0x014C: "i686",
    0x01C0: "armv7l",
    0x01C2: "armv7l",
    0x01C4: "armv7l",
    0x5032: "riscv32",
    0x5064: "riscv64",
    0x6232: "loongarch32",
    0x6264: "loongarch64",
    0x8664: "x86_64",
    0xAA64: "aarch64",
}
"""COFF machine types, in the words of uname(1)"""

LFANEW = 0x3C
"""where the offset of the PE header stands"""
MAX_HEADER_OFFSET = 1 * MIB
MAX_SECTIONS = 96
"""as many as Windows loads"""


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of a program, in bytes of its file."""

    name: str
    offset: int
    size: int


@dataclasses.dataclass(frozen=True)
class PortableExecutable:
    """What is known of a program."""

    machine: str | None
    """architecture as uname(1) says it; None when it is none that Linux runs on"""
    sections: tuple[Section, ...]
    """in their order; several may have the same name"""


def read_pe(storage: Storage) -> PortableExecutable | None:
    """The sections of a program; None when the file is no Portable Executable.

    :raises CorruptImage: the headers or a section do not lie in the file
    """
    start = storage.read_at(0, 64)
    if len(start) < 64 or start[:2] != b"MZ":
        return None
    at = int.from_bytes(start[LFANEW : LFANEW + 4], "little")
    if at > MAX_HEADER_OFFSET or storage.read_at(at, 4) != b"PE\0\0":
        return None
    header = COFF_HEADER.unpack(storage.read_exact(at + 4, COFF_HEADER.size, "the COFF header"))
    if header.NumberOfSections > MAX_SECTIONS:
        raise CorruptImage(f"the program has {header.NumberOfSections} sections, {MAX_SECTIONS} can be", path=storage.name, offset=at)
    table = at + 4 + COFF_HEADER.size + header.SizeOfOptionalHeader
    data = storage.read_exact(table, header.NumberOfSections * SECTION_HEADER.size, "the section table")
    sections = []
    for number in range(header.NumberOfSections):
        fields = SECTION_HEADER.unpack(data, number * SECTION_HEADER.size)
        name = fields.Name.rstrip(b"\0").decode("ascii", "replace")
        # The raw size is rounded up; the part behind the virtual size is filling.
        size = min(fields.VirtualSize, fields.SizeOfRawData) if fields.VirtualSize else fields.SizeOfRawData
        storage.require(fields.PointerToRawData, size, f"the section {name!r}")
        sections.append(Section(name, fields.PointerToRawData, size))
    return PortableExecutable(MACHINES.get(header.Machine), tuple(sections))
