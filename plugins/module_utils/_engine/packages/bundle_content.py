# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""The image in an EC2 bundle: parts, joined, decrypted, decompressed, and the one member of a tar archive.

Sources: euca2ools (bundle/pipes), ec2-ami-tools: the user's RSA key (RFC 8017, 7.2, PKCS #1 v1.5) gives key and initialisation
vector as hexadecimal text; AES-128 in CBC mode with the padding of PKCS #7 (RFC 5652, 6.3) is OpenSSL's ``enc``.
"""

from __future__ import annotations

import contextlib
import os
import re
import typing as t

from ..errors import CorruptImage, IntegrityFailure, InvalidImage, UnsupportedImage, printable
from ..storage.base import Storage
from ..storage.folder import Folder
from ..storage.hashed import HashedStorage
from ..storage.joined import JoinedStorage
from ..storage.stream import open_stream
from .bundle import Manifest
from .container import Archive, Container

_BLOCK = 16
_KEY = re.compile(rb"[0-9a-fA-F]{32}")
_SHA1 = "sha1"
_INSTALL = "Install the Python package cryptography on this node"


class Bundle(Container):
    """A container of one file: the image. It is opened, and all parts are verified, when it is first asked for.

    :param private_key: of the user that the bundle was made for: PEM
    :param max_size: bytes that may come out; None: as many as are plausible
    """

    def __init__(self, path: str, manifest: Manifest, private_key: bytes | None, max_size: int | None) -> None:
        self.path = path
        self.manifest = manifest
        self._private_key = private_key
        self._max_size = max_size
        self._folder: Folder | None = None
        self._archive: Archive | None = None
        self._stream: HashedStorage | None = None

    def names(self) -> list[str]:
        return [self.manifest.image_name]

    def has(self, name: str) -> bool:
        return name == self.manifest.image_name

    def open(self, name: str) -> Storage:
        """:raises UnsupportedImage: there is no key, or this Python cannot decrypt
        :raises InvalidImage: the key is none, or not the one that the bundle was made for
        :raises IntegrityFailure: a part is not what the manifest says
        :raises CorruptImage: what comes out is no image
        """
        if self._archive is None:
            self._open_archive()
        archive = t.cast("Archive", self._archive)
        found = archive.names()
        if len(found) != 1:
            raise CorruptImage(f"there are {len(found)} files in the bundle instead of one", path=self.path)
        return archive.open(found[0])

    def size(self, name: str) -> int:
        storage = self.open(name)
        storage.close()
        return storage.size

    def verify(self) -> list[str]:
        """Compare all that came out with the manifest. What was read in its order is not read again.

        :return: the names of the image and of the parts, when it was opened at all
        :raises IntegrityFailure: it differs
        """
        if self._stream is None:
            return []
        digest = self._stream.digests()[_SHA1]
        if digest != self.manifest.digest:
            raise IntegrityFailure(f"the image is not what the manifest says: its SHA-1 is {digest}, not {self.manifest.digest}", path=self.path)
        return [self.manifest.image_name, *(part.filename for part in self.manifest.parts)]

    def close(self) -> None:
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def _open_archive(self) -> None:
        key, iv = self._keys()
        self._folder = Folder(os.path.dirname(self.path) or ".")
        parts = [_Part(self._folder, part.filename, self.path) for part in self.manifest.parts]
        for part, expected in zip(parts, self.manifest.parts):
            digest = HashedStorage(part, [_SHA1]).digests()[_SHA1]
            if digest != expected.digest:
                raise IntegrityFailure(f"is not what the manifest says: its SHA-1 is {digest}, not {expected.digest}", path=part.name)
        joined = JoinedStorage(parts, self.path)
        if joined.size != self.manifest.bundled_size:
            raise CorruptImage(f"the parts have {joined.size} bytes instead of {self.manifest.bundled_size}", path=self.path)
        stream = open_stream(DecryptedStorage(joined, key, iv), "gzip")
        stream.limit(self._max_size, plausible=True)
        self._stream = HashedStorage(stream, [_SHA1])
        self._archive = Archive(self._stream, self._max_size)

    def _keys(self) -> tuple[bytes, bytes]:
        """The key and the initialisation vector of AES."""
        if self._private_key is None:
            raise UnsupportedImage(
                f"an EC2 bundle of {printable(self.manifest.image_name)!r}, which is encrypted", path=self.path, hint="Give the private_key of its user"
            )
        try:
            from cryptography.exceptions import UnsupportedAlgorithm
            from cryptography.hazmat.primitives.asymmetric import padding, rsa
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
        except ImportError as error:
            raise _cannot_decrypt(self.path) from error
        try:
            key = load_pem_private_key(self._private_key, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: it needs a password
            raise InvalidImage(f"the private key cannot be read: {printable(str(error))}", path=self.path, hint="A PEM file without a password") from error
        if not isinstance(key, rsa.RSAPrivateKey):
            raise InvalidImage("the private key is not one of RSA", path=self.path)
        found = []
        for encrypted in (self.manifest.key, self.manifest.iv):
            try:
                text = key.decrypt(encrypted, padding.PKCS1v15())
            except ValueError as error:
                raise _wrong_key(self.path) from error
            if not _KEY.fullmatch(text):  # newer libraries give random bytes for a wrong key
                raise _wrong_key(self.path)
            found.append(bytes.fromhex(text.decode("ascii")))
        return found[0], found[1]


class _Part(Storage):
    """A part, which is open only while it is read: there may be more of them than a process may have open.

    That nobody changes it in between is seen by the digest of what all of them give.
    """

    def __init__(self, folder: Folder, name: str, manifest: str) -> None:
        self._open = lambda: contextlib.closing(folder.open((name,), manifest))
        with self._open() as file:
            self.name = file.name
            self.size = file.size

    def read_at(self, offset: int, length: int) -> bytes:
        with self._open() as file:
            return file.read_at(offset, length)


class DecryptedStorage(Storage):
    """AES-128-CBC, read anywhere: each block needs but the one before it.

    :param parent: the encrypted bytes
    :param key: 16 bytes
    :param iv: 16 bytes
    :raises CorruptImage: no whole blocks, or the last one has no padding
    :raises UnsupportedImage: this Python cannot decrypt
    """

    def __init__(self, parent: Storage, key: bytes, iv: bytes) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
        except ImportError as error:
            raise _cannot_decrypt(parent.name) from error
        self.name = parent.name
        self._parent = parent
        self._iv = iv
        self._decryptor = lambda before: Cipher(algorithms.AES(key), modes.CBC(before)).decryptor()
        if not parent.size or parent.size % _BLOCK:
            raise CorruptImage(f"the encrypted image has {parent.size} bytes, no multiple of {_BLOCK}", path=self.name)
        last = self._decrypt(parent.size - _BLOCK, _BLOCK)
        padding = last[-1]
        if not 1 <= padding <= _BLOCK or last[-padding:] != bytes((padding,)) * padding:
            raise CorruptImage("the encrypted image does not end as one that was decrypted with the right key", path=self.name)
        self.size = parent.size - padding

    def read_at(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        start = offset - offset % _BLOCK
        return self._decrypt(start, -(-end // _BLOCK) * _BLOCK - start)[offset - start : end - start]

    def _decrypt(self, start: int, length: int) -> bytes:
        """Whole blocks."""
        before = self._parent.read_exact(start - _BLOCK, _BLOCK, "a part") if start else self._iv
        data: bytes = self._decryptor(before).update(self._parent.read_exact(start, length, "a part"))
        return data


def _cannot_decrypt(path: str) -> UnsupportedImage:
    return UnsupportedImage("an EC2 bundle is encrypted, and Python cannot decrypt by itself", path=path, hint=_INSTALL)


def _wrong_key(path: str) -> InvalidImage:
    return InvalidImage("the bundle was not made for this private key", path=path)
