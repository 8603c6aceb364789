# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Verifying RSA signatures. It takes no secret, so it takes no library either: one power, and one comparison.

Source: RFC 8017, 8.2.2 (RSASSA-PKCS1-v1_5 verification) and 9.2 (EMSA-PKCS1-v1_5 encoding). The encoding is made and
compared as a whole; who parses it instead accepts forged ones (CVE-2006-4339).
"""

from __future__ import annotations

import hashlib

from .certificate import RsaKey

MIN_BITS = 512
MAX_BITS = 16384
_MAX_EXPONENT_BITS = 256
"""FIPS 186-5; a longer one only takes longer"""

# DigestInfo up to the digest (RFC 8017, 9.2, note 1).
_DIGEST_INFO = {
    "sha1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "sha224": bytes.fromhex("302d300d06096086480165030402040500041c"),
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}


def unusable(key: RsaKey) -> str | None:
    """Why a key cannot be used; None when it can."""
    bits = key.modulus.bit_length()
    if key.modulus < 0 or not MIN_BITS <= bits <= MAX_BITS:
        return f"the RSA key has {bits} bits; {MIN_BITS} to {MAX_BITS} are supported"
    if key.exponent < 3 or key.exponent % 2 == 0 or key.exponent.bit_length() > _MAX_EXPONENT_BITS or key.modulus % 2 == 0:
        return "the RSA key is none that could have been made for signing"
    return None


def agrees(key: RsaKey, algorithm: str, data: bytes, signature: bytes) -> bool:
    """Whether a signature of some data was made with the private key that belongs to a usable public key.

    :param algorithm: hashlib's name of the digest
    """
    length = (key.modulus.bit_length() + 7) // 8
    number = int.from_bytes(signature, "big")
    if len(signature) != length or number >= key.modulus:
        return False
    digest = _DIGEST_INFO[algorithm] + hashlib.new(algorithm, data).digest()
    padding = length - len(digest) - 3
    if padding < 8:
        return False
    return pow(number, key.exponent, key.modulus).to_bytes(length, "big") == b"\0\1" + b"\xff" * padding + b"\0" + digest
