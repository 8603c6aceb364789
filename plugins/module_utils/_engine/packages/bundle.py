# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Manifests of EC2 bundles: an image that is compressed, encrypted and cut into parts beside the manifest.

Source: the manifest of version 2007-10-10, as euca2ools (bundle/manifest.py) and Amazon's ec2-ami-tools write it. Nothing of its
signature is looked at: it says who made the bundle, which nobody here has a list of.
"""

from __future__ import annotations

import re
import typing as t

from ..errors import CorruptImage, LimitExceeded, UnsupportedImage, printable
from ..limits import MAX_OVF, MAX_VIRTUAL_SIZE
from ..storage.base import Storage
from .ovf.xml import Element, parse

VERSION = "2007-10-10"
MAX_PARTS = 100_000
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,254}", re.ASCII)
"""names of files beside the manifest"""
_DIGITS = re.compile(r"[0-9]{1,15}", re.ASCII)
_SHA1 = re.compile(r"[0-9a-f]{40}", re.ASCII)
_HEX = re.compile(r"(?:[0-9a-f]{2}){1,2048}", re.ASCII)
_ARCHITECTURES = {"x86_64": "x86_64", "i386": "i686", "arm64": "aarch64"}
"""Glance's names"""


class Part(t.NamedTuple):
    """A file with a piece of the encrypted image."""

    filename: str
    digest: str
    """SHA-1, hexadecimal"""


class Manifest(t.NamedTuple):
    """What a manifest says of its image."""

    path: str
    image_name: str
    type: str
    """``machine``, ``kernel`` or ``ramdisk``"""
    architecture: str | None
    digest: str
    """SHA-1 of the tar archive that the image is in, hexadecimal"""
    size: int
    """bytes of the image"""
    bundled_size: int
    """bytes of all parts"""
    key: bytes
    """of AES-128, encrypted with the user's RSA key"""
    iv: bytes
    """initialisation vector of AES, the same way"""
    parts: tuple[Part, ...]
    bundler: str
    kernel_id: str | None
    ramdisk_id: str | None

    def describe(self) -> dict[str, t.Any]:
        """Safe for JSON and for logs."""
        texts = {name: value and printable(value) for name, value in self._asdict().items() if name in ("bundler", "kernel_id", "ramdisk_id")}
        return {
            "image_name": self.image_name,
            "type": self.type,
            "architecture": self.architecture,
            "length": self.size,
            "bundled_length": self.bundled_size,
            "parts": len(self.parts),
            **texts,
        }


def read_manifest(storage: Storage) -> Manifest | None:
    """Read a bundle's manifest; None when the storage is something else.

    :raises InvalidImage: not well-formed
    :raises UnsupportedImage: another version, or another cipher
    :raises CorruptImage: what is needed is missing, or no possible value
    :raises LimitExceeded: it is too large
    """
    start = storage.read_at(0, 512).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not start.startswith(b"<") or storage.size > MAX_OVF or b"<manifest" not in storage.read_at(0, 4096):
        return None
    root = parse(storage.read_exact(0, storage.size, "the manifest"), storage.name).root
    image = root.find("image")
    if root.tag != "manifest" or image is None:
        return None
    return _Reading(storage.name).manifest(root, image)


class _Reading:
    def __init__(self, path: str) -> None:
        self._path = path

    def manifest(self, root: Element, image: Element) -> Manifest:
        version = root.child_text("version")
        if version != VERSION:
            raise UnsupportedImage(f"bundles of version {printable(version)!r} are not read, only those of {VERSION}", path=self._path)
        machine = root.find("machine_configuration") or image
        bundler = root.find("bundler") or image
        parts = self._parts(image)
        key = image.find("user_encrypted_key")
        if key is not None and key.get("algorithm") not in ("", "AES-128-CBC"):
            raise UnsupportedImage(f"the bundle is encrypted with {printable(key.get('algorithm'))!r}, and not with AES-128-CBC", path=self._path)
        return Manifest(
            self._path,
            self._matching(_PLAIN, image.child_text("name"), "name of the image"),
            image.child_text("type") or "machine",
            _ARCHITECTURES.get(machine.child_text("architecture")),
            self._matching(_SHA1, image.child_text("digest").lower(), "SHA-1 digest of the image"),
            self._size(image, "size"),
            self._size(image, "bundled_size"),
            bytes.fromhex(self._matching(_HEX, image.child_text("user_encrypted_key").lower(), "encrypted key")),
            bytes.fromhex(self._matching(_HEX, image.child_text("user_encrypted_iv").lower(), "encrypted initialisation vector")),
            parts,
            f"{bundler.child_text('name')} {bundler.child_text('version')}".strip(),
            machine.child_text("kernel_id") or None,
            machine.child_text("ramdisk_id") or None,
        )

    def _parts(self, image: Element) -> tuple[Part, ...]:
        """In the order of their index, which must be all numbers from 0."""
        element = image.find("parts")
        found: dict[int, Part] = {}
        for part in element.find_all("part") if element is not None else ():
            index = int(self._matching(_DIGITS, part.get("index"), "number of a part"))
            if index in found or index >= MAX_PARTS:
                raise CorruptImage(f"the manifest has the part {index} twice, or too many", path=self._path)
            name = self._matching(_PLAIN, part.child_text("filename"), "name of a part")
            found[index] = Part(name, self._matching(_SHA1, part.child_text("digest").lower(), "SHA-1 digest of a part"))
        if not found or max(found) != len(found) - 1:
            raise CorruptImage(f"the manifest does not have all of its parts: {len(found)} are there", path=self._path)
        return tuple(found[index] for index in range(len(found)))

    def _size(self, image: Element, name: str) -> int:
        size = int(self._matching(_DIGITS, image.child_text(name), f"{name} of the image"))
        if size > MAX_VIRTUAL_SIZE:
            raise LimitExceeded(f"the manifest declares a {name} of {size} bytes; {MAX_VIRTUAL_SIZE} is the most that is taken", path=self._path)
        return size

    def _matching(self, pattern: re.Pattern[str], text: str, what: str) -> str:
        if not pattern.fullmatch(text):
            raise CorruptImage(f"the manifest's {what} is missing or not a possible one: {printable(text)!r}", path=self._path)
        return text
