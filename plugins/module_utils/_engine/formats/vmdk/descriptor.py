# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The text that describes a VMDK: a file of its own, or embedded in a sparse extent.

Source: VMware, "Virtual Disk Format 5.0", section "The Descriptor File"; what real writers make of it is noted where it
matters. Keys and keywords are not case-sensitive.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ...errors import CorruptImage, LimitExceeded, UnsupportedImage
from ...identity import ContentIdentity
from ...limits import SECTOR
from ..base import Target
from ..options import impossible, switch

NO_PARENT = 0xFFFFFFFF
EXTENT_NAME = "disk.vmdk"
"""The name that our images give to themselves. Every reader takes the file it was told to open, and a name that followed
the file's would make equal disks differ."""

MAX_EXTENTS = 10_000

_ASSIGNMENT = re.compile(r"([A-Za-z][\w.\-]*)\s*=\s*(.*)", re.ASCII | re.DOTALL)
_EXTENT = re.compile(
    r"""(RW|RDONLY|NOACCESS)\s+([0-9]{1,20})\s+([A-Z0-9]{1,16})
    (?:\s+"([^"]*)"(?:\s+([0-9]{1,20}))?(?:\s+partitionUUID\s.*)?)?""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
_VERSIONS = ("1", "2", "3", "4")
_ENCODING = re.compile(rb'^[ \t]*encoding[ \t]*=[ \t]*"?([\w.\-]{1,40})"?[ \t\r]*$', re.IGNORECASE | re.MULTILINE | re.ASCII)
_CODE_PAGE = re.compile(r"(?:windows|ibm|cp)-?([0-9]{3,4})")
_PRINTABLE = bytes(range(0x20, 0x7F))
_ENCODINGS = ("gbk", "gb2312", "gb18030", "big5", "shift_jis", "euc-jp", "euc-kr", *(f"iso-8859-{part}" for part in range(1, 16)))
"""names of encodings that are taken at their word, beside Windows' code pages by number"""
_CID = re.compile(r"[0-9a-f]{1,8}", re.ASCII | re.IGNORECASE)
_WITHOUT_FILE = ("ZERO",)
_RAW = ("FLAT", "VMFS", "VMFSRAW", "VMFSRDM")


@dataclasses.dataclass
class ExtentLine:
    """One line of the extent description."""

    access: str
    sectors: int
    type: str
    """FLAT, SPARSE, ZERO, VMFS, VMFSSPARSE, SESPARSE, VMFSRDM, VMFSRAW"""
    name: str | None = None
    """file or device, as stored; None for ZERO"""
    offset: int | None = None
    """sectors into that file"""

    @property
    def format(self) -> str:
        """What the named file is, in the registry's words."""
        return "raw" if self.type in _RAW else "vmdk"

    def __str__(self) -> str:
        """The line as it is written."""
        name = f' "{self.name}"' if self.name is not None else ""
        return f"{self.access} {self.sectors} {self.type}{name}{f' {self.offset}' if self.offset is not None else ''}"


@dataclasses.dataclass
class Descriptor:
    """A parsed descriptor."""

    text: str
    values: dict[str, str]
    """by key in lower case, without the quotes"""
    extents: list[ExtentLine]
    cid: int
    parent_cid: int

    @property
    def create_type(self) -> str | None:
        return self.values.get("createtype") or None

    @property
    def parent_name(self) -> str | None:
        return self.values.get("parentfilenamehint") or None

    @property
    def has_parent(self) -> bool:
        """The disk is a delta: what is not in it is in the parent."""
        return self.parent_cid != NO_PARENT or self.parent_name is not None

    @property
    def encrypted(self) -> bool:
        """What is in the files is ciphertext: of vSphere's encryption filter, or of Workstation's encrypted machines."""
        keys = ("encryptionkeys", "encryption.keysafe", "encryption.data")
        return any(key in self.values for key in keys) or "vmwarevmcrypt" in self.values.get("ddb.iofilters", "").lower()

    @property
    def sectors(self) -> int:
        return sum(extent.sectors for extent in self.extents)


def parse(data: bytes, path: str, start: int = 0) -> Descriptor:
    """Read a descriptor; it ends at the first NUL.

    :param data: the text, perhaps padded with NULs
    :param path: for messages, and ``start`` the byte offset of ``data`` in that file
    :raises CorruptImage: a line is of no known form, or a value that must be there is missing or contradicts itself
    :raises UnsupportedImage: a version that is not known
    :raises LimitExceeded: too many extents
    """
    raw = data.split(b"\0", 1)[0].removeprefix(b"\xef\xbb\xbf") if data else b""
    values: dict[str, str] = {}
    extents: list[ExtentLine] = []
    position = start
    encoding = _declared_encoding(raw)
    for line in raw.split(b"\n"):
        text = _decode(line, encoding).strip()
        if text and not text.startswith("#"):
            _take(text, values, extents, path, position)
        position += len(line) + 1
    if values.get("version", "1") not in _VERSIONS:
        raise UnsupportedImage(f"VMDK descriptors of version {values['version'][:20]!r} are not known (1 to 4 are)", path=path, offset=start)
    return Descriptor(_decode(raw, encoding), values, extents, _cid(values, "CID", path, start), _cid(values, "parentCID", path, start))


def _take(text: str, values: dict[str, str], extents: list[ExtentLine], path: str, position: int) -> None:
    """Enter one line where it belongs."""
    found = _EXTENT.fullmatch(text)
    if found:
        access, sectors, kind, name, offset = found.groups()
        if (name is None) != (kind.upper() in _WITHOUT_FILE):
            raise CorruptImage(f"the extent line {text!r} {'lacks' if name is None else 'must not have'} a file name", path=path, offset=position)
        extents.append(ExtentLine(access.upper(), int(sectors), kind.upper(), name, int(offset) if offset else None))
        if len(extents) > MAX_EXTENTS:
            raise LimitExceeded(f"the descriptor names more than {MAX_EXTENTS} extents", path=path, offset=position)
        return
    found = _ASSIGNMENT.fullmatch(text)
    if not found:
        raise CorruptImage(f"the descriptor has a line of no known form: {text[:80]!r}", path=path, offset=position)
    key, value = found[1].lower(), _unquote(found[2])
    # Readers differ in which of two they take: refuse rather than pick another disk than they.
    if values.setdefault(key, value) != value and not key.startswith("ddb."):
        raise CorruptImage(f"the descriptor says {found[1]} twice, differently", path=path, offset=position)


def _unquote(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def _declared_encoding(raw: bytes) -> str:
    """What the descriptor says of itself, in Python's words: the code page of the host that wrote it."""
    found = _ENCODING.search(raw)
    name = found[1].decode("ascii").lower() if found else "utf-8"
    page = _CODE_PAGE.fullmatch(name)
    name = f"cp{page[1]}" if page else name
    if not page and name not in _ENCODINGS:
        return "utf-8"
    try:
        return name if _PRINTABLE.decode(name) == _PRINTABLE.decode("ascii") else "utf-8"  # no EBCDIC: the keys are ASCII
    except (UnicodeDecodeError, LookupError):
        return "utf-8"


def _decode(raw: bytes, encoding: str) -> str:
    """By the encoding that is declared; else UTF-8 as of today, or the usual code page of Windows; latin-1 takes any byte."""
    for name in (encoding, "utf-8", "cp1252"):
        try:
            return raw.decode(name)
        except UnicodeDecodeError:
            pass
    return raw.decode("latin-1")


def _cid(values: t.Mapping[str, str], key: str, path: str, start: int) -> int:
    text = values.get(key.lower())
    if text is None or not _CID.fullmatch(text):
        what = "has no" if text is None else f"has an invalid ({text[:20]!r})"
        raise CorruptImage(f"the VMDK descriptor {what} {key}: damaged or missing", path=path, offset=start)
    return int(text, 16)


_ADAPTERS = ("ide", "lsilogic", "buslogic", "legacyESX", "pvscsi")
"""qemu-img's, and one that it does not have but ESXi does"""
_UNDEFINED = "undefined"
_HW_VERSION = "7"
_HW_VERSION_COMPAT6 = "6"


class Options(t.NamedTuple):
    """The creation options of VMDK, as qemu-img calls them."""

    adapter_type: str
    hwversion: str
    toolsversion: str | None = None
    """None: nothing is said of the guest's tools, as in what ovftool writes"""
    zeroed_grain: bool = False
    """whoever writes to the disk may mark a grain as zeros instead of writing them"""

    @classmethod
    def of(cls, target: Target) -> Options:
        """:raises UnsupportedImage: a value that no virtual machine knows, or values that exclude each other"""
        given = target.options
        adapter, version, tools = given["adapter_type"], given["hwversion"], given["toolsversion"]
        if adapter not in _ADAPTERS:
            raise impossible(target, "adapter_type", f"{', '.join(_ADAPTERS[:-1])} or {_ADAPTERS[-1]}")
        if version != _UNDEFINED and not re.fullmatch(r"[1-9][0-9]?", version, re.ASCII):
            raise impossible(target, "hwversion", "a number from 1 to 99")
        if tools != _UNDEFINED and not re.fullmatch(r"[0-9]{1,10}", tools, re.ASCII):
            raise impossible(target, "toolsversion", "a number of at most 10 digits")
        if switch(target, "compat6"):
            if version != _UNDEFINED:
                raise UnsupportedImage(f"vmdk option compat6 means hwversion {_HW_VERSION_COMPAT6}", hint="Leave one of the two out")
            version = _HW_VERSION_COMPAT6
        zeroed_grain = switch(target, "zeroed_grain")
        if zeroed_grain and target.subformat not in ("monolithicSparse", "twoGbMaxExtentSparse"):
            raise UnsupportedImage(
                f"vmdk option zeroed_grain is for monolithicSparse and twoGbMaxExtentSparse; {target.subformat} has no grains that could be rewritten"
            )
        return cls(adapter, _HW_VERSION if version == _UNDEFINED else version, None if tools == _UNDEFINED else tools, zeroed_grain)


def build(
    create_type: str, sectors: int, options: Options, identity: ContentIdentity, extents: t.Sequence[ExtentLine] = (), encoding: str | None = None
) -> bytes:
    """The descriptor of a disk.

    Its form is what Glance's inspector takes: no space before "=", no "/" in the extent's name.

    :param sectors: guest size
    :param extents: the disk's files; without any, the disk is in the file that the descriptor is embedded in
    :param encoding: of the names in it, ``UTF-8``; None where it is ASCII
    """
    # Readers may take the two highest CIDs for "no parent" and "disk full of zeros"; the last digits of both IDs agree.
    content = identity.derive("longContentID")
    if content[-4:] in (b"\xff\xff\xff\xff", b"\xff\xff\xff\xfe"):
        content = content[:-1] + b"\xfd"
    heads, most = (16, 16383) if options.adapter_type == "ide" else (255, 65535)
    cylinders = min(max(1, -(-sectors // (heads * 63))), most)
    named = f'encoding="{encoding}"\n' if encoding else ""
    lines = "\n".join(map(str, extents or [ExtentLine("RW", sectors, "SPARSE", EXTENT_NAME)]))
    tools = f'ddb.toolsVersion = "{options.toolsversion}"\n' if options.toolsversion is not None else ""
    text = f"""\
# Disk DescriptorFile
version=1
{named}CID={content[-4:].hex()}
parentCID=ffffffff
createType="{create_type}"

# Extent description
{lines}

# The Disk Data Base
#DDB

ddb.adapterType = "{options.adapter_type}"
ddb.geometry.cylinders = "{cylinders}"
ddb.geometry.heads = "{heads}"
ddb.geometry.sectors = "63"
ddb.longContentID = "{content.hex()}"
{tools}ddb.virtualHWVersion = "{options.hwversion}"
"""
    return text.encode(encoding or "ascii")


def pad(raw: bytes) -> bytes:
    """Up to a whole sector."""
    return raw + bytes(-len(raw) % SECTOR)
