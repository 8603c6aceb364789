# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""For which processor a program is."""

from __future__ import annotations

import platform
import re
import struct
import subprocess
import sys

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.architecture import architecture_of_programs
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.elf import ET_DYN, read_elf
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.files import Files
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.file import FileStorage


def elf(machine, bits=64, order="<", kind=3):
    """The first 64 bytes of a program."""
    ident = b"\x7fELF" + bytes([bits // 32, 1 if order == "<" else 2, 1]) + bytes(9)
    return (ident + struct.pack(order + "HHI", kind, machine, 1)).ljust(64, b"\0")


MACHINES = {
    "x86_64": ((62,), "X86-64"),
    "i686": ((3, 32), "Intel 80386"),
    "aarch64": ((183,), "AArch64"),
    "armv7l": ((40, 32), "ARM"),
    "ppc64le": ((21,), "PowerPC64"),
    "ppc64": ((21, 64, ">"), "PowerPC64"),
    "s390x": ((22, 64, ">"), "S/390"),
    "riscv64": ((243,), "RISC-V"),
    "loongarch64": ((258,), "LoongArch"),
}


@pytest.mark.parametrize("name", MACHINES)
def test_machines_as_readelf_names_them(tmp_path, program, name):
    arguments, words = MACHINES[name]
    path = tmp_path / "program"
    path.write_bytes(elf(*arguments))
    said = subprocess.run([program("readelf"), "-h", path], check=False, capture_output=True, text=True).stdout
    assert words in re.search(r"Machine: *(.*)", said)[1]
    assert read_elf(Memory(elf(*arguments))).architecture == name


def test_this_python():
    if not sys.platform.startswith("linux"):
        pytest.skip("programs here are not of ELF")
    storage = FileStorage(sys.executable)
    found = read_elf(storage)
    storage.close()
    assert found.architecture == platform.machine()
    assert found.type in (2, ET_DYN)


@pytest.mark.parametrize("data", [b"", b"\x7fELF", elf(62)[:23], b"#!/bin/sh\n" * 10, b"\x7fELF\2\7" + bytes(60)])
def test_no_program(data):
    assert read_elf(Memory(data)) is None


def test_the_first_program_that_tells(guest_tree):
    tree = guest_tree({"/bin": "-> usr/bin", "/usr/bin/sh": b"#!/bin/x", "/usr/bin/ls": elf(183)})
    assert architecture_of_programs(Files(tree)) == ("aarch64", "/bin/ls")
    assert architecture_of_programs(Files(guest_tree({"/etc/fstab": ""}))) is None
