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
    def sectors(self) -> int:
        return sum(extent.sectors for extent in self.extents)


def parse(data: bytes, path: str, start: int = 0) -> Descriptor:
    """Read a descriptor; it ends at the first NUL.

    :param data: the text, perhaps padded with NULs
    :param path: for messages, and ``start`` the byte offset of ``data`` in that file
    :raises CorruptImage: a line is of no known form, or a value that must be there is missing or contradicts itself
    :raises LimitExceeded: too many extents
    """
    raw = data.split(b"\0", 1)[0].removeprefix(b"\xef\xbb\xbf") if data else b""
    values: dict[str, str] = {}
    extents: list[ExtentLine] = []
    position = start
    for line in raw.split(b"\n"):
        text = _decode(line).strip()
        if text and not text.startswith("#"):
            _take(text, values, extents, path, position)
        position += len(line) + 1
    return Descriptor(_decode(raw), values, extents, _cid(values, "CID", path, start), _cid(values, "parentCID", path, start))


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


def _decode(raw: bytes) -> str:
    """UTF-8 as of today, or the code page of a Windows host; latin-1 takes any byte."""
    for encoding in ("utf-8", "cp1252"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            pass
    return raw.decode("latin-1")


def _cid(values: t.Mapping[str, str], key: str, path: str, start: int) -> int:
    text = values.get(key.lower())
    if text is None or not _CID.fullmatch(text):
        what = "has no" if text is None else f"has an invalid ({text[:20]!r})"
        raise CorruptImage(f"the VMDK descriptor {what} {key}: damaged or missing", path=path, offset=start)
    return int(text, 16)


class Options(t.NamedTuple):
    """The creation options of VMDK, as qemu-img calls them."""

    adapter_type: str
    hwversion: str

    @classmethod
    def of(cls, target: Target) -> Options:
        """:raises UnsupportedImage: a value that no virtual machine knows"""
        adapter, version = target.options["adapter_type"], target.options["hwversion"]
        if adapter not in ("ide", "lsilogic", "buslogic", "legacyESX"):
            raise UnsupportedImage(f"vmdk option adapter_type is ide, lsilogic, buslogic or legacyESX, not {adapter!r}")
        if not re.fullmatch(r"[1-9][0-9]?", version, re.ASCII):
            raise UnsupportedImage(f"vmdk option hwversion is a number from 1 to 99, not {version!r}")
        return cls(adapter, version)


def build(create_type: str, sectors: int, options: Options, identity: ContentIdentity) -> bytes:
    """The descriptor of a disk in a single file, ASCII.

    Its form is what Glance's inspector takes: no space before "=", no "/" in the extent's name.

    :param create_type: monolithicSparse or streamOptimized
    :param sectors: guest size
    """
    # Readers may take the two highest CIDs for "no parent" and "disk full of zeros"; the last digits of both IDs agree.
    content = identity.derive("longContentID")
    if content[-4:] in (b"\xff\xff\xff\xff", b"\xff\xff\xff\xfe"):
        content = content[:-1] + b"\xfd"
    heads, most = (16, 16383) if options.adapter_type == "ide" else (255, 65535)
    cylinders = min(max(1, -(-sectors // (heads * 63))), most)
    text = f"""\
# Disk DescriptorFile
version=1
CID={content[-4:].hex()}
parentCID=ffffffff
createType="{create_type}"

# Extent description
RW {sectors} SPARSE "{EXTENT_NAME}"

# The Disk Data Base
#DDB

ddb.adapterType = "{options.adapter_type}"
ddb.geometry.cylinders = "{cylinders}"
ddb.geometry.heads = "{heads}"
ddb.geometry.sectors = "63"
ddb.longContentID = "{content.hex()}"
ddb.virtualHWVersion = "{options.hwversion}"
"""
    return text.encode("ascii")


def pad(raw: bytes) -> bytes:
    """Up to a whole sector."""
    return raw + bytes(-len(raw) % SECTOR)
