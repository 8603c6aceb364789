# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The block tables out of a UDIF's property list.

Not the standard library's plistlib: it converts every value of a list, and a number of millions of digits alone keeps it
busy for hours. Only what is needed is kept here; size, depth and counts are bounded, and there are no entities.
"""

from __future__ import annotations

import base64
import typing as t
from xml.parsers import expat

from ...errors import CorruptImage, ImageError, LimitExceeded, UnsupportedImage, printable
from ...limits import MAX_XML_DEPTH, MAX_XML_ELEMENTS


class BlockTable(t.NamedTuple):
    """An entry of ``resource-fork``/``blkx``: a run of the disk, in most images a partition."""

    name: str
    data: bytes


def block_tables(xml: bytes, path: str) -> list[BlockTable]:
    """The tables in the order of the list.

    :param xml: the property list
    :param path: of the image, for messages
    :raises CorruptImage: not a property list, or one without block tables
    :raises LimitExceeded: too deep, or too many elements
    :raises UnsupportedImage: it defines entities
    """
    builder = _Builder(path)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.EntityDeclHandler = builder.refuse
    parser.ExternalEntityRefHandler = builder.refuse
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    try:
        parser.Parse(xml, True)
    except ImageError:
        raise
    except (expat.ExpatError, ValueError, LookupError) as error:  # the latter: an encoding that Python does not know
        raise CorruptImage(f"the property list of the disk image cannot be read ({printable(str(error))})", path=path) from error
    if not builder.tables:
        raise CorruptImage("the property list of the disk image has no block tables (resource-fork, blkx)", path=path)
    return builder.tables


class _Builder:
    """What expat tells, as block tables."""

    def __init__(self, path: str) -> None:
        self.tables: list[BlockTable] = []
        self._image = path
        self._open: list[str] = []
        self._keys: list[str] = []
        """the last key in each open element"""
        self._text: list[str] = []
        self._entry: dict[str, str] = {}
        self._elements = 0

    def refuse(self, *_unused: object) -> t.NoReturn:
        raise UnsupportedImage("the property list of the disk image defines entities, which are not followed", path=self._image)

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > MAX_XML_ELEMENTS or len(self._open) >= MAX_XML_DEPTH:
            raise LimitExceeded("the property list of the disk image has too many elements, or too deep ones", path=self._image)
        self._open.append(tag)
        self._keys.append("")
        self._text.clear()
        if self._is_table():
            self._entry = {}

    def characters(self, text: str) -> None:
        if self._open[-1:] in (["key"], ["data"], ["string"]):
            self._text.append(text)

    def end(self, tag: str) -> None:
        if self._is_table() and "Data" in self._entry:
            try:
                data = base64.b64decode(self._entry["Data"].encode("ascii", "replace"))
            except ValueError as error:
                raise CorruptImage(f"a block table in the property list of the disk image is no base64 ({error})", path=self._image) from error
            self.tables.append(BlockTable(self._entry.get("Name") or self._entry.get("CFName", ""), data))
            self._entry = {}
        self._open.pop()
        self._keys.pop()
        if tag == "key" and self._keys:
            self._keys[-1] = "".join(self._text)
        elif tag in ("data", "string") and self._is_table():
            self._entry[self._keys[-1]] = "".join(self._text)
        self._text.clear()

    def _is_table(self) -> bool:
        """Whether the innermost open element is the dictionary of a block table."""
        if self._open != ["plist", "dict", "dict", "array", "dict"]:
            return False
        return self._keys[1] == "resource-fork" and self._keys[2] == "blkx"
