# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EC2 bundles: tar, gzip and openssl have made them, as Amazon's tools do."""

from __future__ import annotations

import random
import re
import os
import resource
import subprocess
import sys

import pytest
from build_uec import MIB, build_filesystem, bundle, make_key
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import (
    AccessError,
    CorruptImage,
    ImageError,
    IntegrityFailure,
    InvalidImage,
    LimitExceeded,
    UnsafeReference,
    UnsupportedImage,
)
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extract import extract, plan
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.bundle import read_manifest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.uec import open_uec, source_files
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory


@pytest.fixture(scope="module")
def keys(program, tmp_path_factory):
    program("openssl")
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ours", "others"):
        make_key(folder / name)
    return folder


@pytest.fixture
def made(program, keys, tmp_path):
    """A bundle's manifest."""
    program("tar")
    program("gzip")
    image = tmp_path / "server.img"
    image.write_bytes(build_filesystem(MIB))
    (tmp_path / "bundle").mkdir()
    return bundle(image, tmp_path / "bundle", keys / "ours", part_size=20_000)


def unpack(manifest, key, folder):
    folder.mkdir(exist_ok=True)
    with open_uec(str(manifest), private_key=key.read_bytes() if key else None) as uec:
        planned = plan(uec, str(folder))
        return uec, extract(uec, str(folder), planned)


def edit(manifest, pattern, text):
    found = manifest.read_text()
    assert re.search(pattern, found)
    manifest.write_text(re.sub(pattern, text, found, count=1))


@pytest.fixture
def cryptography():
    return pytest.importorskip("cryptography")


def test_the_image_comes_out(cryptography, made, keys, tmp_path):
    uec, verified = unpack(made, keys / "ours", tmp_path / "out")
    assert (tmp_path / "out/server.img").read_bytes() == build_filesystem(MIB)
    parts = len(list(made.parent.glob("*.part.*")))
    assert parts > 2
    assert len(verified) == parts + 1
    assert (uec.trio()["image"].name, uec.name) == ("server.img", "server.img")
    assert uec.architecture(None) == "x86_64"
    assert uec.describe()["bundle"] == {
        "image_name": "server.img",
        "type": "machine",
        "architecture": "x86_64",
        "length": MIB,
        "bundled_length": sum(path.stat().st_size for path in made.parent.glob("*.part.*")),
        "parts": parts,
        "bundler": "test 1.0",
        "kernel_id": "aki-1",
        "ramdisk_id": None,
    }
    assert len(source_files(str(made))) == parts + 1


def test_more_parts_than_files_may_be_open(cryptography, program, keys, tmp_path):
    (tmp_path / "server.img").write_bytes(build_filesystem(MIB))
    (tmp_path / "bundle").mkdir()
    made = bundle(tmp_path / "server.img", tmp_path / "bundle", keys / "ours", part_size=20)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = 80 + max(int(name) for name in os.listdir("/proc/self/fd"))  # other tests may have files open
    assert len(list(made.parent.glob("*.part.*"))) > few
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, limits[1]))
    try:
        unpack(made, keys / "ours", tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert (tmp_path / "out/server.img").read_bytes() == build_filesystem(MIB)


def test_an_old_key(cryptography, made, keys, program, tmp_path):
    """PKCS #1, as people have them from then."""
    subprocess.run([program("openssl"), "rsa", "-in", keys / "ours", "-traditional", "-out", tmp_path / "old"], check=True, stderr=subprocess.DEVNULL)
    assert (tmp_path / "old").read_bytes().startswith(b"-----BEGIN RSA PRIVATE KEY-----")
    unpack(made, tmp_path / "old", tmp_path / "out")


def test_the_wrong_key(cryptography, made, keys, program, tmp_path):
    with pytest.raises(InvalidImage, match="not made for this"):
        unpack(made, keys / "others", tmp_path / "out")
    (tmp_path / "none").write_bytes(b"nothing")
    with pytest.raises(InvalidImage, match="cannot be read"):
        unpack(made, tmp_path / "none", tmp_path / "out")
    for name, options in (
        ("ec", ["ecparam", "-name", "prime256v1", "-genkey", "-noout"]),
        ("locked", ["rsa", "-aes128", "-passout", "pass:x", "-in", keys / "ours"]),
    ):
        subprocess.run([program("openssl"), *options, "-out", tmp_path / name], check=True, stderr=subprocess.DEVNULL)
        with pytest.raises(InvalidImage, match="RSA|password"):
            unpack(made, tmp_path / name, tmp_path / "out")
    with pytest.raises(UnsupportedImage, match="encrypted.*private_key"):
        unpack(made, None, tmp_path / "out")


def test_without_the_library(made, keys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(UnsupportedImage, match="Install the Python package cryptography"):
        unpack(made, keys / "ours", tmp_path / "out")


def test_damaged_parts(cryptography, made, keys, tmp_path):
    parts = sorted(made.parent.glob("*.part.*"))
    whole = parts[1].read_bytes()
    parts[1].write_bytes(bytes((whole[0] ^ 1,)) + whole[1:])
    with pytest.raises(IntegrityFailure, match=r"part\.01: is not what the manifest says"):
        unpack(made, keys / "ours", tmp_path / "out")
    parts[1].unlink()
    with pytest.raises(AccessError, match="no such file"):
        unpack(made, keys / "ours", tmp_path / "out")
    parts[1].symlink_to("/etc/hostname")
    with pytest.raises(UnsafeReference):
        unpack(made, keys / "ours", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_another_content_than_was_signed(cryptography, made, keys, tmp_path):
    edit(made, r'(<digest algorithm="SHA1">)[0-9a-f]{40}', r"\g<1>" + "0" * 40)
    with pytest.raises(IntegrityFailure, match="its SHA-1 is"):
        unpack(made, keys / "ours", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("pattern", "text", "error"),
    [
        ("2007-10-10", "2100-01-01", UnsupportedImage),
        ('user_encrypted_key algorithm="AES-128-CBC"', 'user_encrypted_key algorithm="DES"', UnsupportedImage),
        ("<name>server.img</name>", "<name>../server.img</name>", CorruptImage),
        ("<name>server.img</name>", "", CorruptImage),
        (r"<filename>server.img.part.01", "<filename>/etc/passwd", CorruptImage),
        ('part index="1"', 'part index="0"', CorruptImage),
        ('part index="1"', 'part index="900000"', CorruptImage),
        ('part index="1"', 'part index="-1"', CorruptImage),
        ("<size>[0-9]+", "<size>99999999999999", LimitExceeded),
        ("<bundled_size>[0-9]", "<bundled_size>x", CorruptImage),
        ("<user_encrypted_iv>..", "<user_encrypted_iv>xx", CorruptImage),
        ("</image>", "", InvalidImage),
        ("<manifest>", '<!DOCTYPE a [<!ENTITY b "c">]><manifest>', UnsupportedImage),
    ],
)
def test_manifests_that_cannot_be_right(made, pattern, text, error):
    edit(made, pattern, text)
    with pytest.raises(error):
        read_manifest(Memory(made.read_bytes()))


def test_a_size_that_is_not_the_parts(cryptography, made, keys, tmp_path):
    edit(made, "<bundled_size>[0-9]+", "<bundled_size>16")
    with pytest.raises(CorruptImage, match="instead of 16"):
        unpack(made, keys / "ours", tmp_path / "out")


def test_what_is_no_manifest():
    for data in (b"", b"text", b"<a/>", b"<manifest/>", b"<manifests><image/></manifests>", b"<?xml version='1.0'?><other><manifest/></other>"):
        assert read_manifest(Memory(data)) is None


def test_changed_manifests_give_errors_of_ours(made):
    whole = made.read_bytes()
    choose = random.Random(3)
    refused = 0
    for _number in range(300):
        data = bytearray(whole)
        data[choose.randrange(len(data))] = choose.randrange(256)
        try:
            read_manifest(Memory(bytes(data)))
        except ImageError:
            refused += 1
    assert refused > 20
