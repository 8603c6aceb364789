# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Signatures of manifests: the .cert file of a package.

Sources: DMTF DSP0243, "Integrity and authenticity of OVF packages" (``SHA256(package.mf)= <hexadecimal>``, then the
certificate); RFC 7468 (PEM: what stands between the blocks is for people). The signature is what ``openssl dgst -sign``
makes of the manifest.

A signature that agrees says that who had the certificate's key has signed this manifest. Who that is, and whether the
certificate is still valid, is not looked at: that takes a list of whom to trust, and a clock.
"""

from __future__ import annotations

import binascii
import re
import typing as t

from ..errors import CorruptImage, LimitExceeded
from . import rsa
from .certificate import EC, Certificate, read_certificate
from .manifest import parse_line

MAX_CERTIFICATES = 32

_MAX_CERTIFICATE = 1 << 16
"""bytes of one"""
_BEGIN = re.compile(r"-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----")
_END = re.compile(r"-----END (?:X509 |TRUSTED )?CERTIFICATE-----")


class Verification(t.NamedTuple):
    """What came of verifying a signature."""

    verified: bool | None
    """None: it could not be tried"""
    reason: str


class Signature(t.NamedTuple):
    """A parsed .cert file."""

    algorithm: str
    """of the digest that is signed: hashlib's name"""
    manifest_name: str
    """as written"""
    value: bytes
    certificates: tuple[Certificate, ...]
    """the signer's, then those above it"""

    def verify(self, manifest: bytes) -> Verification:
        """Whether the manifest was signed with the key of the first certificate.

        :param manifest: the .mf file's bytes
        """
        signer = self.certificates[0]
        if signer.rsa is not None:
            problem = rsa.unusable(signer.rsa)
            if problem is not None:
                return Verification(None, problem)
            return _result(rsa.agrees(signer.rsa, self.algorithm, manifest, self.value))
        if signer.key == EC:
            return _verify_ec(signer.public_key, self.algorithm, manifest, self.value)
        return Verification(None, f"signatures with keys of the kind {signer.key} are not supported")

    def facts(self) -> dict[str, t.Any]:
        """Safe for JSON."""
        return {
            "algorithm": self.algorithm,
            "manifest": self.manifest_name,
            "certificates": [certificate.facts() for certificate in self.certificates],
        }


def read_signature(data: bytes, name: str) -> Signature:
    """Read a .cert file.

    :param data: its bytes
    :param name: for messages
    :raises CorruptImage: there is no signature in it, more than one, no certificate, or a damaged one
    :raises LimitExceeded: too many certificates, or too large ones
    """
    signed = None
    certificates: list[Certificate] = []
    block: list[str] | None = None
    for line in re.split(r"\r\n|\r|\n", data.decode("utf-8-sig", "surrogateescape")):
        line = line.strip(" \t\0")
        if block is not None:
            if _END.fullmatch(line):
                certificates.append(_certificate(block, name))
                block = None
            else:
                block.append(line)
        elif _BEGIN.fullmatch(line):
            if len(certificates) >= MAX_CERTIFICATES:
                raise LimitExceeded(f"more than {MAX_CERTIFICATES} certificates", path=name)
            block = []
        else:
            entry = parse_line(line)
            if entry is not None and signed is not None:
                raise CorruptImage("more than one signature", path=name)
            signed = entry or signed
    if block is not None:
        raise CorruptImage("a certificate is cut: it has no END line", path=name)
    if signed is None or len(signed.digest) % 2:
        raise CorruptImage("no signature of a manifest", path=name, hint="It begins with a line as SHA256(package.mf)= 0123abcd")
    if not certificates:
        raise CorruptImage("no certificate behind the signature", path=name)
    return Signature(signed.algorithm, signed.file, bytes.fromhex(signed.digest), tuple(certificates))


def _certificate(block: list[str], name: str) -> Certificate:
    text = "".join("".join(block).split())
    if len(text) > _MAX_CERTIFICATE * 4 // 3:
        raise LimitExceeded(f"a certificate of more than {_MAX_CERTIFICATE} bytes", path=name)
    try:
        # With wrong characters, decoders do not agree on what is there.
        if not re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", text):
            raise CorruptImage("a certificate is not in base64", path=name)
        return read_certificate(binascii.a2b_base64(text))
    except binascii.Error as error:
        raise CorruptImage("a certificate's base64 is cut", path=name) from error
    except CorruptImage as error:
        error.path = name
        raise


def _verify_ec(public_key: bytes, algorithm: str, data: bytes, value: bytes) -> Verification:
    try:
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import load_der_public_key
    except ImportError:
        return Verification(None, "signatures with keys of elliptic curves need the Python library cryptography, which is not there")
    try:
        key = load_der_public_key(public_key)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return Verification(None, "the key is none of an elliptic curve")
        key.verify(value, data, ec.ECDSA(getattr(hashes, algorithm.upper())()))
    except InvalidSignature:
        return _result(False)
    except (ValueError, UnsupportedAlgorithm) as error:
        return Verification(None, f"the key cannot be used: {error}")
    return _result(True)


def _result(agrees: bool) -> Verification:
    if agrees:
        return Verification(True, "the manifest was signed with the certificate's key")
    return Verification(False, "the signature is not one of this manifest with the certificate's key")
