# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures of manifests. OpenSSL makes keys, certificates and signatures, and says what is in them and whether they agree."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import random
import re
import subprocess
import sys

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError, LimitExceeded
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages import rsa
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.certificate import RsaKey, read_certificate
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.signature import MAX_CERTIFICATES, read_signature

MANIFEST = b"SHA256(vm.ovf)= " + b"0f" * 32 + b"\nSHA256(disk.vmdk)= " + b"1e" * 32 + b"\r\n"
KEYS = {
    "rsa1024": ["rsa:1024"],
    "rsa2048": ["rsa:2048"],
    "rsa3072": ["rsa:3072"],
    "p256": ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "p384": ["ec", "-pkeyopt", "ec_paramgen_curve:P-384"],
    "ed25519": ["ed25519"],
}
RSA_KEYS = ["rsa1024", "rsa2048", "rsa3072"]
SUBJECT = "/C=DE/O=Example, Inc. + Sons/OU= spaces /CN=Größe #1\\/2/emailAddress=a@example.com"


class OpenSsl:
    """Runs openssl in a folder that has a key and a certificate by each of the names of KEYS, as they are asked for."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def run(self, *arguments, fails=False):
        done = subprocess.run([self.program, *arguments], cwd=self.folder, capture_output=True, check=False)
        assert (done.returncode != 0) == fails, done.stderr
        return done.stdout

    def certificate(self, name):
        if not (self.folder / f"{name}.pem").exists():
            options = ["-subj", SUBJECT, "-utf8", "-set_serial", "0x80ff01", "-days", "30"]
            self.run("req", "-x509", "-newkey", *KEYS[name], "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem", *options)
        return (self.folder / f"{name}.pem").read_bytes()

    def sign(self, name, algorithm, data=MANIFEST):
        self.certificate(name)
        (self.folder / "vm.mf").write_bytes(data)
        self.run("dgst", f"-{algorithm}", "-sign", f"{name}.key", "-out", "vm.sig", "vm.mf")
        return (self.folder / "vm.sig").read_bytes()

    def agrees(self, name, algorithm, data, value):
        (self.folder / "vm.mf").write_bytes(data)
        (self.folder / "vm.sig").write_bytes(value)
        if not (self.folder / f"{name}.pub").exists():
            (self.folder / f"{name}.pub").write_bytes(self.run("x509", "-in", f"{name}.pem", "-noout", "-pubkey"))
        done = subprocess.run(
            [self.program, "dgst", f"-{algorithm}", "-verify", f"{name}.pub", "-signature", "vm.sig", "vm.mf"],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            check=False,
        )
        assert done.stdout in (b"Verified OK\n", b"Verification failure\n", b"Verification Failure\n", b"")
        return done.stdout == b"Verified OK\n"

    def der(self, name):
        self.certificate(name)
        return self.run("x509", "-in", f"{name}.pem", "-outform", "DER")


@pytest.fixture(scope="module")
def openssl(program, tmp_path_factory):
    return OpenSsl(program("openssl"), tmp_path_factory.mktemp("openssl"))


def cert(algorithm, value, *certificates):
    return f"{algorithm.upper()}(vm.mf)= {value.hex()}\n".encode() + b"".join(certificates)


def outcome(data, manifest=MANIFEST):
    return read_signature(data, "vm.cert").verify(manifest).verified


@pytest.mark.parametrize("algorithm", ["sha1", "sha224", "sha256", "sha384", "sha512"])
@pytest.mark.parametrize("key", [*RSA_KEYS, "p256", "p384"])
def test_openssl_agrees_on_good_and_tampered_ones(openssl, key, algorithm):
    if not key.startswith("rsa"):
        pytest.importorskip("cryptography")
    value = openssl.sign(key, algorithm)
    pem = openssl.certificate(key)
    signature = read_signature(cert(algorithm, value, pem), "vm.cert")
    assert (signature.algorithm, signature.manifest_name, signature.value) == (algorithm, "vm.mf", value)
    other = "sha256" if algorithm != "sha256" else "sha512"
    cases = [
        (algorithm, MANIFEST, value),
        (algorithm, MANIFEST + b"\n", value),
        (algorithm, MANIFEST[:-1], value),
        (other, MANIFEST, value),
        (algorithm, MANIFEST, value[:-1]),
        (algorithm, MANIFEST, b"\0" + value),
        (algorithm, MANIFEST, value[:-1] + bytes([value[-1] ^ 1])),
        (algorithm, MANIFEST, bytes(len(value))),
        (algorithm, MANIFEST, b"\xff" * len(value)),
    ]
    cases = cases if algorithm in ("sha1", "sha512") else cases[:4]
    found = [outcome(cert(how, signed, pem), manifest) for how, manifest, signed in cases]
    assert found == [openssl.agrees(key, how, manifest, signed) for how, manifest, signed in cases]
    assert found == [True] + [False] * (len(cases) - 1)


def test_the_key_of_the_first_certificate_counts(openssl):
    value = openssl.sign("rsa2048", "sha256")
    first, second = openssl.certificate("rsa2048"), openssl.certificate("rsa3072")
    assert outcome(cert("sha256", value, first, second)) is True
    assert outcome(cert("sha256", value, second, first)) is False


@pytest.mark.parametrize("key", KEYS)
def test_openssl_says_the_same_of_certificates(openssl, key):
    der = openssl.der(key)
    found = read_certificate(der)
    form = "RFC2253,utf8,-esc_msb"
    wanted = ["-subject", "-issuer", "-serial", "-fingerprint", "-sha256", "-nameopt", form]
    said = openssl.run("x509", "-in", f"{key}.pem", "-noout", *wanted).decode().splitlines()
    assert [f"subject={found.subject}", f"issuer={found.issuer}", f"serial={found.serial.upper()}"] == said[:3]
    assert found.fingerprint == said[3].partition("=")[2].replace(":", "").lower()
    dates = openssl.run("x509", "-in", f"{key}.pem", "-noout", "-startdate", "-enddate").decode().splitlines()
    for line, ours in zip(dates, (found.not_before, found.not_after)):
        said_time = datetime.datetime.strptime(line.partition("=")[2], "%b %d %H:%M:%S %Y %Z")
        assert ours == said_time.isoformat() + "Z"
    text = openssl.run("x509", "-in", f"{key}.pem", "-noout", "-text").decode()
    assert f"Signature Algorithm: {found.signature_algorithm}\n" in text
    bits = re.search(r"Public-Key: \((\d+) bit\)", text)
    assert found.key_bits == (int(bits[1]) if bits else 256)
    assert found.key == {"r": "rsa", "p": "ec", "e": "ed25519"}[key[0]]
    assert found.self_issued is True
    assert json.loads(json.dumps(found.facts()))["fingerprint"] == found.fingerprint


def test_a_certificate_of_an_authority_and_far_dates(openssl):
    openssl.certificate("rsa2048")
    openssl.run("req", "-new", "-newkey", "rsa:1024", "-nodes", "-keyout", "leaf.key", "-out", "leaf.csr", "-subj", "/CN=leaf")
    openssl.run("x509", "-req", "-in", "leaf.csr", "-CA", "rsa2048.pem", "-CAkey", "rsa2048.key", "-set_serial", "1", "-days", "36500", "-out", "leaf.pem")
    found = read_certificate(openssl.run("x509", "-in", "leaf.pem", "-outform", "DER"))
    assert (found.subject, found.self_issued, found.serial) == ("CN=leaf", False, "1")
    assert found.issuer == read_certificate(openssl.der("rsa2048")).subject
    assert found.not_after > "2100"


def test_other_spellings(openssl):
    value, pem = openssl.sign("rsa2048", "sha256"), openssl.certificate("rsa2048")
    plain = cert("sha256", value, pem)
    for data in (
        plain.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf\n\n" + plain + b"\n\0\0\0",
        plain.replace(b"SHA256(vm.mf)= ", b"SHA2-256 (vm.mf) = "),
        pem + plain.splitlines()[0],
        plain.replace(b"-----BEGIN", b"subject=CN = somebody\n-----BEGIN"),
        plain.replace(b" CERTIFICATE", b" X509 CERTIFICATE"),
        plain.upper().splitlines()[0].replace(b"VM.MF", b"vm.mf") + b"\n" + pem,
    ):
        signature = read_signature(data, "vm.cert")
        assert signature.manifest_name == "vm.mf"
        assert signature.verify(MANIFEST).verified is True
    facts = json.loads(json.dumps(read_signature(plain, "vm.cert").facts()))
    assert (facts["algorithm"], facts["manifest"], len(facts["certificates"])) == ("sha256", "vm.mf", 1)


def test_what_dgst_hex_prints_is_a_signature_line(openssl):
    """The first line of a .cert file is made with openssl dgst -hex -sign by many."""
    openssl.sign("rsa2048", "sha256")
    said = openssl.run("dgst", "-sha256", "-hex", "-sign", "rsa2048.key", "vm.mf").decode()
    line = re.sub(r"^RSA-SHA2?-?256", "SHA256", said)
    assert outcome(line.encode() + openssl.certificate("rsa2048")) is True


def test_keys_that_are_not_tried(openssl):
    signature = read_signature(cert("sha256", b"\1" * 64, openssl.certificate("ed25519")), "vm.cert")
    assert signature.verify(MANIFEST) == (None, "signatures with keys of the kind ed25519 are not supported")


def test_elliptic_curves_without_the_library(openssl, monkeypatch):
    signature = read_signature(cert("sha256", openssl.sign("p256", "sha256"), openssl.certificate("p256")), "vm.cert")
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    assert signature.verify(MANIFEST).verified is None
    assert "cryptography" in signature.verify(MANIFEST).reason


BROAD = (1 << 2048) - 1
UNUSABLE = {
    "short": ((1 << 511) - 1, 65537, "has 511 bits"),
    "long": ((1 << 16385) - 1, 65537, "has 16385 bits"),
    "negative": (-BROAD, 65537, "bits"),
    "zero": (0, 3, "has 0 bits"),
    "exponent 1": (BROAD, 1, "none that could"),
    "even exponent": (BROAD, 4, "none that could"),
    "negative exponent": (BROAD, -3, "none that could"),
    "long exponent": (BROAD, (1 << 300) + 1, "none that could"),
    "even modulus": (BROAD - 1, 65537, "none that could"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_keys_that_cannot_be(name):
    modulus, exponent, reason = UNUSABLE[name]
    assert reason in rsa.unusable(RsaKey(modulus, exponent))


def test_encodings_that_only_look_right_are_refused():
    """With exponent 3 anybody can make a cube that begins as the encoding does (CVE-2006-4339). The encoding must be whole."""
    bits = 3072
    modulus = (1 << bits) - (1 << 1024) + 1
    length = bits // 8
    digest = rsa._DIGEST_INFO["sha256"] + hashlib.sha256(MANIFEST).digest()
    wanted = int.from_bytes((b"\0\1" + b"\xff" * 8 + b"\0" + digest).ljust(length, b"\0"), "big")
    root = 1 << (wanted.bit_length() // 3 + 1)
    while root**3 > wanted:
        root = (2 * root + wanted // root**2) // 3
    forged = root + 1
    encoded = (forged**3).to_bytes(length, "big")
    assert encoded.startswith(b"\0\1" + b"\xff" * 8 + b"\0" + digest)
    assert rsa.unusable(RsaKey(modulus, 3)) is None
    assert rsa.agrees(RsaKey(modulus, 3), "sha256", MANIFEST, forged.to_bytes(length, "big")) is False


PEM = b"-----BEGIN CERTIFICATE-----\n%s\n-----END CERTIFICATE-----\n"
LINE = b"SHA256(vm.mf)= 00ff\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no signature"),
        (b"\xff\xfe\0\0", "no signature"),
        (LINE, "no certificate"),
        (LINE + LINE, "more than one signature"),
        (b"SHA256(vm.mf)= 00f\n" + PEM % b"MAA=", "."),
        (PEM % b"", "the certificate is cut"),
        (LINE + PEM % b"MAA=", "0 parts instead of 3"),
        (LINE + PEM % b"MA", "base64"),
        (LINE + PEM % b"M*AA=", "not in base64"),
        (LINE + PEM % base64.b64encode(b"\x30\x80\0\0"), "length that is not DER"),
        (LINE + PEM % base64.b64encode(b"\x30\x81\x01\0"), "length that is not DER"),
        (LINE + PEM % base64.b64encode(b"\x30\x85\0\0\0\0\1\0"), "length that is not DER"),
        (LINE + PEM % base64.b64encode(b"\x30\x84\xff\xff\xff\xff"), "is cut"),
        (LINE + PEM % base64.b64encode(b"\x1f\x01\0"), "type that certificates do not have"),
        (LINE + PEM % base64.b64encode(b"\x30\0\0"), "1 bytes behind"),
        (LINE + PEM % base64.b64encode(b"\x04\0"), "type 0x04 where the certificate"),
        (LINE + b"-----BEGIN CERTIFICATE-----\nMAA=\n", "no END line"),
    ],
)
def test_damaged_files(data, message):
    with pytest.raises(CorruptImage, match=message):
        read_signature(data, "vm.cert")


def test_too_much(openssl):
    pem = openssl.certificate("rsa1024")
    assert len(read_signature(LINE + pem * MAX_CERTIFICATES, "vm.cert").certificates) == MAX_CERTIFICATES
    with pytest.raises(LimitExceeded, match="more than 32 certificates"):
        read_signature(LINE + pem * (MAX_CERTIFICATES + 1), "vm.cert")
    with pytest.raises(LimitExceeded, match="more than 65536 bytes"):
        read_signature(LINE + PEM % (b"A" * 90_000), "vm.cert")


def test_random_damage_never_crashes(openssl):
    chance = random.Random(5)
    sound = [openssl.der(name) for name in KEYS]
    refused = 0
    for _round in range(1500):
        data = bytearray(chance.choice(sound))
        for _flip in range(chance.choice((1, 1, 2, 6))):
            data[chance.randrange(len(data))] = chance.choice((0, 2, 3, 6, 48, 127, 128, 129, 255, chance.randrange(256)))
        if chance.random() < 0.1:
            del data[chance.randrange(len(data)) :]
        try:
            signature = read_signature(cert("sha256", b"\1" * 128, PEM % base64.b64encode(bytes(data))), "vm.cert")
            json.dumps(signature.facts())
            assert signature.verify(MANIFEST).verified in (False, None)
        except ImageError:
            refused += 1
    assert 0 < refused < 1500
