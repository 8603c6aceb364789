# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What the files of a disk in several files are called.

Sources: VMware, "Virtual Disk Format 5.0", section "The Extent Description"; qemu, block/vmdk.c (vmdk_co_create_opts_cb,
filename_decompose), whose names and split size these are.
"""

from __future__ import annotations

import os
import re

from ...errors import LimitExceeded, UnsupportedImage, printable
from ...limits import GIB
from .descriptor import MAX_EXTENTS

MONOLITHIC_FLAT = "monolithicFlat"
SPLIT_FLAT = "twoGbMaxExtentFlat"
SPLIT_SPARSE = "twoGbMaxExtentSparse"
IN_SEVERAL_FILES = (MONOLITHIC_FLAT, SPLIT_FLAT, SPLIT_SPARSE)

SPLIT_SIZE = 2 * GIB
"""bytes of the disk in each file of a split one"""

_PART = re.compile(r"-(?:flat|[fs][0-9]{3,5})", re.ASCII)


def extent_names(path: str, subformat: str, virtual_size: int) -> list[str]:
    """The names of the files beside a descriptor, in the order of the guest's bytes.

    :param path: of the descriptor
    :param subformat: one of IN_SEVERAL_FILES
    :param virtual_size: bytes
    :raises UnsupportedImage: the descriptor's name cannot stand in a descriptor as a part of theirs
    :raises LimitExceeded: there would be too many
    """
    name = os.path.basename(path)
    require_usable(name)
    if subformat == MONOLITHIC_FLAT:
        return [_own(name, "-flat")]
    count = -(-virtual_size // SPLIT_SIZE)
    if count > MAX_EXTENTS:
        raise LimitExceeded(f"the disk would be split into {count} files; {MAX_EXTENTS} are the most", path=path, hint="Choose another subformat")
    letter = "f" if subformat == SPLIT_FLAT else "s"
    return [_own(name, f"-{letter}{number:03d}") for number in range(1, count + 1)]


def require_usable(name: str) -> None:
    """:raises UnsupportedImage: readers would not find a file of that name: a descriptor knows no escapes, quotes end a
    name in it, qemu takes what is before a colon for a protocol, and Windows' programs a backslash for a separator"""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnsupportedImage("a disk in several files needs a name in UTF-8", path=name, hint="Choose another name") from error
    for char in name:
        if char in '":\\' or not char.isprintable():
            raise UnsupportedImage(
                f"the name of a disk in several files cannot have {printable(char)!r}: other programs would not find the files",
                path=name,
                hint="Choose another name, or a subformat in one file",
            )


def is_own(path: str, name: str) -> bool:
    """Whether a file's name is one that a further file of the disk at ``path`` would have, of whatever subformat."""
    stem, ending = _cut(os.path.basename(path))
    return name.startswith(stem) and name.endswith(ending) and _PART.fullmatch(name[len(stem) : len(name) - len(ending)]) is not None


def _own(name: str, part: str) -> str:
    stem, ending = _cut(name)
    return f"{stem}{part}{ending}"


def _cut(name: str) -> tuple[str, str]:
    """A name at its last dot, which belongs to the ending."""
    stem, dot, ending = name.rpartition(".")
    return (stem, dot + ending) if dot else (name, "")
