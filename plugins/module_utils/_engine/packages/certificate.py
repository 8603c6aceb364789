# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""X.509 certificates: whom they are about, and the public key. Nobody is trusted here.

Sources: RFC 5280, 4.1 (Certificate); RFC 4514 (names as text); RFC 3279, RFC 5480, RFC 8410 (keys).
"""

from __future__ import annotations

import datetime
import hashlib
import re
import typing as t

from ..errors import CorruptImage
from .der import EXPLICIT_0, INTEGER, OBJECT_IDENTIFIER, SEQUENCE, SET, Value, single

RSA = "rsa"
EC = "ec"

_KEYS = {
    "1.2.840.113549.1.1.1": RSA,
    "1.2.840.113549.1.1.10": "rsa-pss",
    "1.2.840.10040.4.1": "dsa",
    "1.2.840.10045.2.1": EC,
    "1.3.101.112": "ed25519",
    "1.3.101.113": "ed448",
}
_BITS = {
    # elliptic curves
    "1.2.840.10045.3.1.1": 192,
    "1.3.132.0.33": 224,
    "1.2.840.10045.3.1.7": 256,
    "1.3.132.0.10": 256,
    "1.3.132.0.34": 384,
    "1.3.132.0.35": 521,
    # keys
    "1.3.101.112": 256,
    "1.3.101.113": 456,
}
_SIGNATURES = {
    "1.2.840.113549.1.1.4": "md5WithRSAEncryption",
    "1.2.840.113549.1.1.5": "sha1WithRSAEncryption",
    "1.2.840.113549.1.1.10": "rsassaPss",
    "1.2.840.113549.1.1.11": "sha256WithRSAEncryption",
    "1.2.840.113549.1.1.12": "sha384WithRSAEncryption",
    "1.2.840.113549.1.1.13": "sha512WithRSAEncryption",
    "1.2.840.113549.1.1.14": "sha224WithRSAEncryption",
    "1.2.840.10040.4.3": "dsa-with-SHA1",
    "1.2.840.10045.4.1": "ecdsa-with-SHA1",
    "1.2.840.10045.4.3.1": "ecdsa-with-SHA224",
    "1.2.840.10045.4.3.2": "ecdsa-with-SHA256",
    "1.2.840.10045.4.3.3": "ecdsa-with-SHA384",
    "1.2.840.10045.4.3.4": "ecdsa-with-SHA512",
    "1.3.101.112": "ED25519",
    "1.3.101.113": "ED448",
    "2.16.840.1.101.3.4.3.2": "dsa_with_SHA256",
}
_ATTRIBUTES = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "street",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.42": "GN",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
}
_TEXTS = {0x0C: "utf-8", 0x12: "ascii", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1A: "ascii", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}
"""encodings of the string types"""
_UTC_TIME = 0x17
_GENERALIZED_TIME = 0x18
_TIME = re.compile(rb"[0-9]+Z")


class RsaKey(t.NamedTuple):
    """The numbers of an RSA public key (RFC 8017, 3.1)."""

    modulus: int
    exponent: int


class Certificate(t.NamedTuple):
    """What a certificate says of itself."""

    fingerprint: str
    """SHA-256 of the whole certificate, hexadecimal"""
    subject: str
    issuer: str
    serial: str
    """hexadecimal"""
    not_before: str
    """ISO 8601, UTC"""
    not_after: str
    key: str
    """rsa, ec, ed25519 …, or an object identifier"""
    key_bits: int | None
    signature_algorithm: str
    """as OpenSSL calls it, or an object identifier"""
    self_issued: bool
    """issuer and subject are the same (RFC 5280, 3.2)"""
    public_key: bytes
    """SubjectPublicKeyInfo, DER"""
    rsa: RsaKey | None
    """the public key, when it is one of RSA"""

    def facts(self) -> dict[str, t.Any]:
        """Safe for JSON."""
        return {name: value for name, value in self._asdict().items() if name not in ("public_key", "rsa")}


def read_certificate(data: bytes) -> Certificate:
    """Read a certificate.

    :param data: DER
    :raises CorruptImage: it is none, or damaged
    """
    parts = single(data).inner(SEQUENCE, "the certificate")
    if len(parts) != 3:
        raise CorruptImage(f"the certificate has {len(parts)} parts instead of 3")
    fields = parts[0].inner(SEQUENCE, "the certificate's content")
    if fields and fields[0].tag == EXPLICIT_0:  # the version
        fields = fields[1:]
    if len(fields) < 6:
        raise CorruptImage("the certificate's content is not complete")
    serial, _signature, issuer, validity, subject, public_key = fields[:6]
    not_before, not_after = _pair(validity, "validity")
    key, bits, rsa = _public_key(public_key)
    algorithm = _algorithm(parts[1])[0]
    number = serial.number("serial number")
    return Certificate(
        fingerprint=hashlib.sha256(data).hexdigest(),
        subject=_name(subject),
        issuer=_name(issuer),
        serial=f"{number:x}",
        not_before=_time(not_before),
        not_after=_time(not_after),
        key=key,
        key_bits=bits,
        signature_algorithm=_SIGNATURES.get(algorithm, algorithm),
        self_issued=issuer.encoded == subject.encoded,
        public_key=public_key.encoded,
        rsa=rsa,
    )


def _pair(value: Value, what: str) -> list[Value]:
    found = value.inner(SEQUENCE, what)
    if len(found) != 2:
        raise CorruptImage(f"the certificate's {what} has {len(found)} parts instead of 2")
    return found


def _algorithm(value: Value) -> tuple[str, Value | None]:
    """AlgorithmIdentifier: the object identifier, and the parameter."""
    found = value.inner(SEQUENCE, "an algorithm")
    if not 1 <= len(found) <= 2:
        raise CorruptImage("the certificate names an algorithm wrongly")
    return found[0].identifier("algorithm"), found[1] if len(found) == 2 else None


def _public_key(value: Value) -> tuple[str, int | None, RsaKey | None]:
    """SubjectPublicKeyInfo: kind of key, its bits, the key if it is of RSA."""
    algorithm, key = _pair(value, "public key")
    identifier, parameter = _algorithm(algorithm)
    kind = _KEYS.get(identifier, identifier)
    bits = key.bits("public key")
    if kind in (RSA, "rsa-pss"):
        modulus, exponent = (number.number("RSA key") for number in _pair(single(bits), "RSA key"))
        return kind, modulus.bit_length(), RsaKey(modulus, exponent) if kind == RSA else None
    if kind == "dsa" and parameter is not None and parameter.tag == SEQUENCE:
        numbers = parameter.inner(SEQUENCE, "parameters")
        return kind, numbers[0].number("prime").bit_length() if numbers and numbers[0].tag == INTEGER else None, None
    if kind == EC and parameter is not None and parameter.tag == OBJECT_IDENTIFIER:
        identifier = parameter.identifier("curve")
    return kind, _BITS.get(identifier), None


def _name(value: Value) -> str:
    """A name as text: the last part first (RFC 4514, 2)."""
    parts = []
    for relative in value.inner(SEQUENCE, "a name"):
        attributes = []
        for attribute in relative.inner(SET, "a part of a name"):
            kind, text = _pair(attribute, "name")
            identifier = kind.identifier("name")
            attributes.append(f"{_ATTRIBUTES.get(identifier, identifier)}={_text(text, identifier)}")
        parts.append("+".join(attributes))
    return ",".join(reversed(parts))


def _text(value: Value, identifier: str) -> str:
    encoding = _TEXTS.get(value.tag)
    if encoding is None or identifier not in _ATTRIBUTES:
        return f"#{value.encoded.hex().upper()}"
    text = value.content.decode(encoding, "replace")
    text = re.sub(r'([,+"\\<>;])', r"\\\1", text)
    if text[:1] in ("#", " "):
        text = "\\" + text
    return text[:-1] + "\\ " if text.endswith(" ") and len(text) > 1 else text


def _time(value: Value) -> str:
    """UTCTime with a year of two digits up to 2049, GeneralizedTime for others (RFC 5280, 4.1.2.5)."""
    text = value.content
    length = {_UTC_TIME: 13, _GENERALIZED_TIME: 15}.get(value.tag)
    if length != len(text) or not _TIME.fullmatch(text):
        raise CorruptImage("the certificate's validity has no time")
    if value.tag == _UTC_TIME:
        text = (b"20" if text < b"50" else b"19") + text
    try:
        return datetime.datetime.strptime(text.decode("ascii"), "%Y%m%d%H%M%SZ").isoformat() + "Z"
    except ValueError:
        raise CorruptImage("the certificate's validity has a time that does not exist") from None
