# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The descriptor beside a data file that somebody took for the disk: which it is, for messages."""

from __future__ import annotations

import os
import re

from ...errors import ImageError, printable
from ...limits import MAX_DESCRIPTOR
from ...storage.base import Storage
from ...storage.file import FileStorage

_DATA_FILE = re.compile(r"(.+)-(?:flat|delta|sesparse|rdmp?|[fs][0-9]{3,5})(\.vmdk)", re.ASCII | re.IGNORECASE)


def descriptor_of(storage: Storage) -> str | None:
    """The path of the descriptor that names a file as a part of its disk; None where the name tells of none or none is there.

    Nothing of it is followed: a small file in the same folder, of the name that VMware would give it, is searched for the
    file's own.
    """
    found = _DATA_FILE.fullmatch(os.path.basename(storage.name))
    if not found or not isinstance(storage, FileStorage):
        return None
    path = os.path.join(os.path.dirname(storage.name), found[1] + found[2])
    try:
        other = FileStorage(path, beneath=True)
    except ImageError:
        return None
    try:
        names = other.size <= MAX_DESCRIPTOR and b'"' + os.fsencode(found[0]) + b'"' in other.read_at(0, other.size)
    except ImageError:
        return None
    finally:
        other.close()
    return path if names else None


def advice(storage: Storage) -> str:
    """What to name instead of a data file."""
    path = descriptor_of(storage)
    return f"name '{printable(path)}' instead" if path else "name the disk's descriptor, the small .vmdk, instead"
