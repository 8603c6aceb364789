# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lists of checksums as programs write them and people publish them."""

from __future__ import annotations

import hashlib
import random
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AmbiguousImage, ImageError, InvalidImage, LimitExceeded
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.checksums import MAX_PUBLISHED, published, read
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

CONTENT = b"what is in the disk"
NAMES = ["disk.img", "a disk.img", "(disk) = 1.img", "a*b.img", "back\\slash.img", "two\nlines.img"]
COMMANDS = [
    (["md5sum"], "md5"),
    (["sha1sum"], "sha1"),
    (["sha224sum", "--tag"], "sha224"),
    (["sha256sum"], "sha256"),
    (["sha256sum", "--binary"], "sha256"),
    (["sha512sum", "--tag"], "sha512"),
    (["sha384sum", "--text"], "sha384"),
    (["shasum", "-a", "256"], "sha256"),
    (["shasum", "-a", "512", "--tag"], "sha512"),
    (["cksum", "-a", "sha256"], "sha256"),
    (["cksum", "-a", "md5", "--untagged"], "md5"),
    (["openssl", "dgst", "-sha256"], "sha256"),
    (["openssl", "dgst", "-md5", "-r"], "md5"),
    (["openssl", "sha1"], "sha1"),
]


def digest(algorithm, content=CONTENT):
    return hashlib.new(algorithm, content).hexdigest()


@pytest.mark.parametrize(("command", "algorithm"), COMMANDS)
def test_what_programs_write(tmp_path, program, command, algorithm):
    # openssl escapes nothing: a name with a new line is more than a line there.
    names = [name for name in NAMES if command[0] != "openssl" or "\n" not in name]
    for name in names:
        (tmp_path / name).write_bytes(name.encode() + CONTENT)
    said = subprocess.run([program(command[0]), *command[1:], *names], cwd=tmp_path, stdout=subprocess.PIPE, check=True).stdout
    for ending in (b"\n", b"\r\n"):
        for name in names:
            found = published(said.replace(b"\n", ending), "SUMS", name)
            assert (found.algorithm, found.digest) == (algorithm, digest(algorithm, name.encode() + CONTENT))


def test_signed():
    """As Fedora and CentOS publish theirs: BSD's lines, comments with the length, and a signature around it."""
    other = "AB" * 32
    text = f"""-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

# Fedora-Cloud-Base-Generic-43-1.6.x86_64.qcow2: 583532544 bytes
SHA256 (Fedora-Cloud-Base-Generic-43-1.6.x86_64.qcow2) = {digest("sha256")}
- -- and others
# other.raw.xz: 1 bytes
SHA256 (other.raw.xz) = {other}
-----BEGIN PGP SIGNATURE-----

{digest("sha512")}  Fedora-Cloud-Base-Generic-43-1.6.x86_64.qcow2
-----END PGP SIGNATURE-----
"""
    path = "/pub/fedora/Fedora-Cloud-Base-Generic-43-1.6.x86_64.qcow2"
    assert published(text.encode(), "CHECKSUM", path)[1:] == ("sha256", digest("sha256"))
    assert published(text.encode(), "CHECKSUM", "other.raw.xz").digest == other.lower()


@pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha256", "sha512"])
@pytest.mark.parametrize("form", ["{}", "{}\n", "\ufeff{}\r\n", "# of the disk\n{}\n", "{}  -\n"])
def test_a_digest_alone(algorithm, form):
    if form.strip().endswith("-"):  # sha256sum < disk.img
        with pytest.raises(InvalidImage, match=r"has no checksum of disk\.img; it has those of -"):
            published(form.format(digest(algorithm)).encode(), "disk.img.sum", "disk.img")
        return
    assert published(form.format(digest(algorithm)).encode(), "disk.img.sum", "disk.img")[1:] == (algorithm, digest(algorithm))


def test_which_one_is_taken():
    sums = "".join(f"{digest(name)}  ./cloud/disk.img\n" for name in ("sha512", "md5", "sha256"))
    sums += f"MD5 (old/disk.img) = {'0' * 32}\nBLAKE2b (disk.img) = {'0' * 128}\nSHA256 (disk.img.xz) = {'1' * 64}\n"
    find = sums.encode(), "SUMS"
    assert published(*find, "/x/cloud/disk.img").algorithm == "sha512"
    assert published(*find, "/x/cloud/disk.img", algorithm="md5").digest == digest("md5")
    assert published(*find, "/x/old/disk.img", algorithm="md5").digest == "0" * 32
    with pytest.raises(AmbiguousImage, match=r"has several md5 checksums of disk\.img"):
        published(*find, "/elsewhere/disk.img", algorithm="md5")
    assert published(*find, "/download", "disk.img.xz").digest == "1" * 64
    with pytest.raises(InvalidImage, match=r"has no sha1 checksum of disk\.img"):
        published(*find, "disk.img", algorithm="sha1")
    with pytest.raises(InvalidImage, match=r"has no checksum of isk\.img or x; it has those of \./cloud/disk\.img, old/disk\.img, disk\.img\.xz$"):
        published(*find, "isk.img", "x")


@pytest.mark.parametrize("data", [b"", b"<html><h1>Not found</h1></html>", bytes(1000), b"\xff\xfe" + "0".encode("utf-16"), b"0" * 31, b"0" * 129])
def test_no_list(data):
    with pytest.raises(InvalidImage, match="lists no checksums"):
        published(data, "SUMS", "disk.img")


def test_bounds():
    with pytest.raises(LimitExceeded):
        published(bytes(MAX_PUBLISHED + 1), "SUMS", "disk.img")
    many = "".join(f"{number:032x}  file{number}.img\n" for number in range(20_000)).encode()
    assert published(many, "SUMS", "file19999.img").digest == f"{19999:032x}"
    with pytest.raises(InvalidImage, match="file9.img and 19990 more"):
        published(many, "SUMS", "disk.img")


def test_damaged():
    """Whatever is done to a list, it gives a checksum or a typed error."""
    chance = random.Random(5)
    lines = f"{digest('sha256')} *disk.img\nSHA1 (disk.img) = {digest('sha1')}\n\\{digest('md5')}  a\\nb\n"
    base = b"-----BEGIN PGP SIGNED MESSAGE-----\r\n" + lines.encode() * 3
    outcomes = set()
    for _round in range(500):
        data = bytearray(base)
        for _change in range(chance.randrange(1, 40)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            outcomes.add(published(bytes(data), "SUMS", "disk.img").algorithm)
        except ImageError as error:
            outcomes.add(error.kind)
    assert outcomes <= {"md5", "sha1", "sha256", "invalid", "ambiguous"}
    assert "sha256" in outcomes


def test_a_member_is_a_list_or_is_none():
    """Inside a package, a file is a list only if every line of it is a checksum."""
    line = f"MD5 (disk.img) = {digest('md5')}\n".encode()
    assert [entry.file for entry in read(Memory(line * 2 + b"# and more\n"), "MD5SUMS")] == ["disk.img"] * 2
    assert read(Memory(line + b"and more\n"), "MD5SUMS") == []
    assert [entry.file for entry in read(Memory(digest("sha1").encode()), "x/disk.img.sha1")] == ["disk.img"]
