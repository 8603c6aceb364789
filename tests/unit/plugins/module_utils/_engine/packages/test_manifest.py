# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests: their grammar, and that a wrong byte is found. The digests are judged by openssl."""

from __future__ import annotations

import hashlib
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, IntegrityFailure
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.manifest import Check, Entry, parse_manifest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

ABC = {name: hashlib.new(name, b"abc").hexdigest() for name in ("sha1", "sha224", "sha256", "sha384", "sha512")}


def entries(data):
    return [tuple(entry) for entry in parse_manifest(data, "vm.mf").entries]


@pytest.mark.parametrize(
    "line",
    [
        "SHA256(vm.ovf)= {sha256}",
        "SHA256 (vm.ovf) = {sha256}",
        "sha256(vm.ovf)={sha256}",
        "SHA-256(vm.ovf)= {sha256}\r",
        "\ufeff  SHA256(vm.ovf)=   {sha256}   ",
        "\n\nSHA256( vm.ovf )= {sha256}\n\n",
        "SHA2-256(vm.ovf)= {sha256}",
        "SHA256(vm.ovf)= {sha256}\n\0\0\0\0\0",
        "{sha256}  vm.ovf",
        "{sha256} *vm.ovf\r",
    ],
)
def test_the_spellings_of_one_line(line):
    assert entries((line.format(**ABC) + "\n").encode()) == [("vm.ovf", "sha256", ABC["sha256"])]
    assert entries(line.format(**{name: digest.upper() for name, digest in ABC.items()}).encode())[0][2] == ABC["sha256"]


def test_algorithms_and_names_mix():
    data = "".join(f"{name.upper()}(a file (1).vmdk)= {digest}\r\n" for name, digest in ABC.items()).encode() + b"SHA1(\xff\xe4.mf)= " + b"0" * 40
    found = parse_manifest(data, "vm.mf")
    assert found.algorithms == sorted(ABC)
    assert {entry.file for entry in found.entries} == {"a file (1).vmdk", "\udcff\udce4.mf"}


def test_only_lines_as_the_standard_has_them_are_standard():
    lines = [
        *("SHA256(vm.ovf)= {sha256}", "SHA1(a (1) b.vmdk)= {sha1}", "", "SHA512(x)= {sha512}\r", "SHA384(y)= {sha384}"),
        *("SHA256 (vm.ovf) = {sha256}", "SHA256(vm.ovf)={sha256}", "sha256(vm.ovf)= {sha256}", "SHA2-256(vm.ovf)= {sha256}", "{sha1}  vm.ovf"),
        *("SHA256(vm.ovf)= {sha256} ", "\tSHA256(vm.ovf)= {sha256}", "SHA256( vm.ovf)= {sha256}", "SHA256(vm.ovf)=  {sha256}"),
    ]
    found = parse_manifest("\n".join(lines).format(**ABC).encode(), "vm.mf")
    assert len(found.entries) == 13
    assert found.nonstandard == list(range(6, 15))


@pytest.mark.parametrize("form", [[], ["--tag"], ["--binary"]])
@pytest.mark.parametrize("algorithm", ["sha1", "sha224", "sha256", "sha384", "sha512"])
def test_what_coreutils_write_is_read(form, algorithm, tmp_path, program):
    (tmp_path / "disk (1) = x.vmdk").write_bytes(b"abc")
    said = subprocess.run([program(f"{algorithm}sum"), *form, "disk (1) = x.vmdk"], cwd=tmp_path, check=True, stdout=subprocess.PIPE).stdout
    assert entries(said) == [("disk (1) = x.vmdk", algorithm, ABC[algorithm])]


def test_two_lines_for_one_file_are_both_kept():
    data = "".join(f"SHA1(a)= {digest}\n" for digest in (ABC["sha1"], ABC["sha1"], "0" * 40)).encode()
    assert [digest for _file, _algorithm, digest in entries(data)] == [ABC["sha1"], ABC["sha1"], "0" * 40]


def test_an_empty_manifest_lists_nothing():
    assert entries(b"") == entries(b"\r\n\n \n") == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"MD5(vm.ovf)= 900150983cd24fb0d6963f7d28e17f72", "line 2 .* no SHA digest"),
        (b"SHA256(vm.ovf)", "line 2 .* no SHA digest"),
        (b"vm.ovf " + ABC["sha256"].encode(), "line 2 .* no SHA digest"),
        (b"SHA256(vm.ovf)= 12", "line 2 .* has 2 digits"),
        (b"SHA1(vm.ovf)= " + ABC["sha256"].encode(), "line 2 .* has 64 digits"),
        (b"\xff\xfeS\0H\0A\0", "line 2 .* no SHA digest"),
        (ABC["sha1"].encode() + b" vm.ovf", "line 2 .* no SHA digest"),
        (b"0" * 41 + b"  vm.ovf", "line 2 .* no SHA digest"),
        (b"\\" + ABC["sha1"].encode() + b"  vm\\n.ovf", "line 2 .* no SHA digest"),
        (b"SHA256()= " + ABC["sha256"].encode(), "line 2 .* no SHA digest"),
    ],
)
def test_what_cannot_be_verified_is_not_taken_for_verified(line, message):
    with pytest.raises(IntegrityFailure, match=message):
        parse_manifest(b"\n" + line, "vm.mf")


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_openssl_says_the_same(algorithm, tmp_path, program):
    data = bytes(range(256)) * 40_000  # more than one piece
    path = tmp_path / "disk (1).vmdk"
    path.write_bytes(data)
    said = subprocess.run([program("openssl"), "dgst", f"-{algorithm}", path.name], cwd=tmp_path, check=True, stdout=subprocess.PIPE).stdout
    (entry,) = parse_manifest(said, "openssl").entries
    assert (entry.file, entry.algorithm) == (path.name, algorithm)
    check = Check({entry.file: [entry]})
    assert check.watch(entry.file, lambda: Memory(data)).read_at(0, 10) == data[:10]
    assert check.finish() == [entry.file]


def test_verifying_names_file_and_both_digests_and_tells_its_progress():
    files = {"a": b"abc", "b": bytes(9 << 20)}
    lines = "".join(f"SHA1({name})= {hashlib.sha1(data).hexdigest()}\nSHA256({name})= {hashlib.sha256(data).hexdigest()}\n" for name, data in files.items())
    listed = {}
    for entry in parse_manifest(lines.encode(), "vm.mf").entries:
        listed.setdefault(entry.file, []).append(entry)

    def watched():
        check = Check(listed)
        for name, data in files.items():
            check.watch(name, lambda name=name, data=data: Memory(data, name))
        return check

    said = []
    total = sum(map(len, files.values()))
    assert watched().finish(lambda *told: said.append(told)) == ["a", "b"]
    assert said[-1] == ("verify", total, total)
    assert len(said) == 4
    files["b"] = files["b"][:-1] + b"\1"
    with pytest.raises(IntegrityFailure) as caught:
        watched().finish()
    for part in ("'b'", hashlib.sha1(files["b"]).hexdigest(), hashlib.sha1(bytes(9 << 20)).hexdigest()):
        assert part in str(caught.value)


def test_a_file_that_is_cut_meanwhile_is_an_error():
    storage = Memory(b"abc")
    storage.size = 4
    check = Check({"a": [Entry("a", "sha1", "0" * 40)]})
    check.watch("a", lambda: storage)
    with pytest.raises(CorruptImage, match="being cut"):
        check.finish()
