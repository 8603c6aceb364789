# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""OVF descriptors as a tree of elements, from an XML parser that can do nothing but parse.

No document type, no entity beyond XML's five, nothing from outside; size, depth and counts are bounded (limits.py).
Writers disagree on namespaces (DMTF's with and without a slash, VMware's, none), so elements and attributes are found
by their local names.
"""

from __future__ import annotations

import typing as t
from xml.parsers import expat

from ...errors import ImageError, InvalidImage, LimitExceeded, UnsupportedImage, printable
from ...limits import MAX_OVF, MAX_XML_DEPTH, MAX_XML_ELEMENTS

MAX_ATTRIBUTES = 256
"""of one element"""
MAX_NAMESPACES = 1000

_SEPARATOR = "\x1f"
"""between namespace and local name: a character that XML does not allow. With a space, expat refuses URIs that have
one, and govmomi has a descriptor with such a URI"""


class Element:
    """An XML element: ``tag`` is its local name, ``namespace`` the URI (empty when none), ``text`` its own text, stripped."""

    __slots__ = ("namespace", "tag", "attributes", "children", "text")

    def __init__(self, namespace: str, tag: str, attributes: dict[tuple[str, str], str]) -> None:
        self.namespace = namespace
        self.tag = tag
        self.attributes = attributes
        self.children: list[Element] = []
        self.text = ""

    def get(self, name: str, default: str = "") -> str:
        """An attribute by its local name: the one in the element's own vocabulary or in OVF's before a vendor's."""
        found = default
        for (namespace, local), value in self.attributes.items():
            if local == name:
                if namespace in ("", self.namespace) or is_ovf(namespace):
                    return value
                found = value
        return found

    def vendor(self, name: str, vendor: str) -> str:
        """An attribute of a vendor's namespace: one that contains ``vendor``."""
        for (namespace, local), value in self.attributes.items():
            if local == name and vendor in namespace:
                return value
        return ""

    def find_all(self, *tags: str) -> t.Iterator[Element]:
        """The children with one of these local names, in order."""
        return (child for child in self.children if child.tag in tags)

    def find(self, tag: str) -> Element | None:
        return next(self.find_all(tag), None)

    def child_text(self, *tags: str) -> str:
        """The text of the first child with one of these names; empty when there is none."""
        return next((child.text for child in self.find_all(*tags)), "")

    def walk(self) -> t.Iterator[Element]:
        """This element and all below it, in document order."""
        yield self
        for child in self.children:
            yield from child.walk()


class Document(t.NamedTuple):
    """A parsed descriptor."""

    root: Element
    namespaces: frozenset[str]
    """all URIs that are declared anywhere"""


def is_ovf(namespace: str) -> bool:
    """Whether a namespace is one of OVF's own, of any version, with the slash that oVirt adds or without."""
    return "/ovf/envelope/" in namespace or namespace.rstrip("/") == "http://www.vmware.com/schema/ovf/1/envelope"


def parse(data: bytes, name: str) -> Document:
    """Parse a descriptor.

    :param data: the file's bytes
    :param name: for messages
    :raises InvalidImage: not well-formed XML, or in an encoding that is not known
    :raises UnsupportedImage: it has a document type (DTD), which OVF does not use and attacks do
    :raises LimitExceeded: too large, too deep or too many elements
    """
    if len(data) > MAX_OVF:
        raise LimitExceeded(f"the descriptor has {len(data)} bytes; {MAX_OVF} is the most that is read", path=name)
    builder = _Builder(name)
    parser = expat.ParserCreate(namespace_separator=_SEPARATOR)
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = builder.refuse
    parser.EntityDeclHandler = builder.refuse
    parser.ExternalEntityRefHandler = builder.refuse
    parser.StartNamespaceDeclHandler = builder.namespace
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.characters
    try:
        # In one piece: old expat takes quadratic time for a long token that comes in parts (CVE-2023-52425).
        parser.Parse(data, True)
    except ImageError:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:  # the last two: encodings
        raise InvalidImage(f"the descriptor is not well-formed XML: {printable(str(error))}", path=name) from error
    if builder.root is None:
        raise InvalidImage("the descriptor has no element", path=name)
    return Document(builder.root, frozenset(builder.namespaces))


class _Builder:
    """Handlers that grow the tree, within bounds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._open: list[Element] = []
        self._texts: list[list[str]] = []
        self._count = 0
        self.root: Element | None = None
        self.namespaces: set[str] = set()

    def refuse(self, *_arguments: object) -> int:
        raise UnsupportedImage("the descriptor declares a document type or an entity; OVF has none", path=self._name)

    def namespace(self, _prefix: str | None, uri: str | None) -> None:
        if len(self.namespaces) >= MAX_NAMESPACES:
            raise LimitExceeded(f"the descriptor declares more than {MAX_NAMESPACES} namespaces", path=self._name)
        self.namespaces.add(uri or "")

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > MAX_XML_ELEMENTS:
            raise LimitExceeded(f"the descriptor has more than {MAX_XML_ELEMENTS} elements", path=self._name)
        if len(self._open) >= MAX_XML_DEPTH:
            raise LimitExceeded(f"the descriptor's elements are nested more than {MAX_XML_DEPTH} deep", path=self._name)
        if len(attributes) > MAX_ATTRIBUTES:
            raise LimitExceeded(f"an element of the descriptor has more than {MAX_ATTRIBUTES} attributes", path=self._name)
        namespace, tag = _split(name)
        element = Element(namespace, tag, {_split(key): value for key, value in attributes.items()})
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)
        self._texts.append([])

    def characters(self, text: str) -> None:
        self._texts[-1].append(text)

    def end(self, _name: str) -> None:
        self._open.pop().text = "".join(self._texts.pop()).strip()


def _split(name: str) -> tuple[str, str]:
    namespace, _separator, local = name.rpartition(_SEPARATOR)
    return namespace, local
