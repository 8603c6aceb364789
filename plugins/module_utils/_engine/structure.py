# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""On-disk structures declared once, field by field, with the names of their specification."""

from __future__ import annotations

import struct
import typing as t


class Structure:
    """A packed structure: ``Structure('>', ('magic', '4s'), ('version', 'I'))``.

    The format characters are those of the struct module; a field named ``_`` is padding or reserved
    (written as zeros, not read).

    :param order: ``<`` little endian or ``>`` big endian
    :param fields: (name, format) pairs in their order on disk
    """

    def __init__(self, order: str, *fields: tuple[str, str]) -> None:
        parts = [form if name != "_" else _as_padding(form) for name, form in fields]
        self._struct = struct.Struct(order + "".join(parts))
        self.names = tuple(name for name, _form in fields if name != "_")
        self.size = self._struct.size

    def unpack(self, data: bytes, offset: int = 0) -> Fields:
        """Read the structure at ``offset`` of ``data``; the caller has made sure that the bytes are there."""
        return Fields(zip(self.names, self._struct.unpack_from(data, offset)))

    def pack(self, **fields: t.Any) -> bytes:
        """The structure's bytes; every field must be given."""
        return self._struct.pack(*(fields[name] for name in self.names))


class Fields(dict[str, t.Any]):
    """The values of a structure, by the specification's names, as attributes."""

    def __getattr__(self, name: str) -> t.Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def _as_padding(form: str) -> str:
    return f"{struct.calcsize('<' + form)}x"
