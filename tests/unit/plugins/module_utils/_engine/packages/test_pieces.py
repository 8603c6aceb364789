# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files in pieces: every numbering, in archives and folders; what is missing or too much; what the manifest says of them."""

from __future__ import annotations

import os
import random
import tarfile

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import (
    AmbiguousImage,
    CorruptImage,
    IntegrityFailure,
    LimitExceeded,
    UnsafeReference,
)
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages import pieces
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.opening import open_package
from build_ova import descriptor, manifest, pack

SIZE = 10_000
DATA = random.Random(3).randbytes(SIZE)
HREF = "disk.raw"
CHUNK = 3000


def cut(data, size, numbering="{}.{:09d}", name=HREF):
    return {numbering.format(name, number): data[at : at + size] for number, at in enumerate(range(0, len(data), size))}


def ovf(chunk=CHUNK, size=SIZE, href=HREF):
    return descriptor(href, size=size, capacity=1 << 20, file_attributes=f'ovf:chunkSize="{chunk}"' if chunk else "")


def build(folder, kind, files):
    """An OVA or a folder with these files; members may also be TarInfos."""
    if kind == "ova":
        pack(folder / "test.ova", list(files.items()))
        return open_package(str(folder / "test.ova"))
    target = folder / "package"
    for name, data in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(data)
    return open_package(str(target))


def read(package):
    storage = package.open_disk(package.disks()[0])
    try:
        return storage.read_at(0, storage.size + 1)
    finally:
        storage.close()


def descriptors():
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("kind", ["ova", "folder"])
@pytest.mark.parametrize("numbering", ["{}.{:09d}", "{}.{:d}"])
@pytest.mark.parametrize(("chunk", "size"), [(CHUNK, CHUNK), (5000, 5000), (10_000, 10_000), (None, CHUNK), (909, 909), (1 << 40, 1 << 40)])
def test_every_numbering(tmp_path, kind, numbering, chunk, size):
    before = descriptors()
    names = cut(DATA, size, numbering)
    with build(tmp_path, kind, {"vm.ovf": ovf(chunk), **names}) as package:
        assert read(package) == DATA
        (located,) = package.located
        assert (located.names, located.exact, located.problem, located.snapshots) == (tuple(names), True, None, ())
        assert located.name == next(iter(names))
        assert not {"missing_file", "unusable_file", "chunks_damaged", "file_size_mismatch"} & {warning.code for warning in package.warnings}
        assert package.contents() == ["vm.ovf", *names]
        storage = package.open_disk(package.disks()[0])
        assert storage.name.endswith(("/package/", "/test.ova!")[kind == "ova"] + (next(iter(names)) if len(names) == 1 else HREF))
        assert storage.name.startswith(str(tmp_path))
        storage.close()
    assert descriptors() == before


@pytest.mark.parametrize("kind", ["ova", "folder"])
def test_names_with_folders_escapes_and_another_case(tmp_path, kind):
    names = cut(DATA, CHUNK, name="a b.raw")
    files = {"vm.ovf": ovf(href="a%20b.raw"), **names}
    if kind == "ova":
        files = {f"sub/{name}": data for name, data in files.items()}
    with build(tmp_path, kind, files) as package:
        assert read(package) == DATA
    with build(tmp_path / "2" if kind == "folder" else tmp_path, kind, {"vm.ovf": ovf(href="A B.RAW"), **names}) as package:
        assert read(package) == DATA
        assert "href_differs_in_case" in [warning.code for warning in package.warnings]


def without(files, *missing):
    return {name: data for name, data in files.items() if name not in missing}


WHOLE = {"vm.ovf": ovf(), **cut(DATA, CHUNK)}
NO_SIZE = {**WHOLE, "vm.ovf": ovf(size=None)}
BROKEN = {
    "the last is missing": (without(WHOLE, f"{HREF}.000000003"), "1000 bytes short"),
    "one in between is missing": (without(NO_SIZE, f"{HREF}.000000002"), r"piece 2 of 'disk\.raw' is missing"),
    "the first is missing": (without(WHOLE, f"{HREF}.000000000"), "no file"),
    "one is short": ({**NO_SIZE, f"{HREF}.000000001": b"x" * 2999}, "2999 bytes instead of 3000"),
    "the last is too large": ({**NO_SIZE, f"{HREF}.000000003": b"x" * 3001}, "more than the others"),
    "another size than declared": ({**WHOLE, "vm.ovf": ovf(2999)}, "3000 bytes instead of 2999"),
    "no size is declared, and they differ": ({**WHOLE, "vm.ovf": ovf(None), f"{HREF}.000000001": b""}, "0 bytes instead of 3000"),
}


@pytest.mark.parametrize("kind", ["ova", "folder"])
@pytest.mark.parametrize("name", BROKEN)
def test_pieces_that_do_not_fit(tmp_path, kind, name):
    files, message = BROKEN[name]
    before = descriptors()
    with build(tmp_path, kind, files) as package:
        assert package.warnings
        with pytest.raises(CorruptImage, match=message):
            read(package)
    assert descriptors() == before


def test_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "MAX_PIECES", 10)
    with build(tmp_path, "ova", {"vm.ovf": ovf(None), **cut(DATA, 1000)}) as package:
        assert read(package) == DATA
    with build(tmp_path, "ova", {"vm.ovf": ovf(None), **cut(DATA, 900)}) as package:
        with pytest.raises(LimitExceeded, match="more than 10 pieces"):
            read(package)


def test_a_piece_that_leads_elsewhere(tmp_path):
    before = descriptors()
    (tmp_path / "secret").write_bytes(b"x" * CHUNK)
    with build(tmp_path, "folder", WHOLE) as package:
        (tmp_path / "package" / f"{HREF}.000000001").unlink()
        (tmp_path / "package" / f"{HREF}.000000001").symlink_to(tmp_path / "secret")
        with pytest.raises(UnsafeReference):
            read(package)
    link = tarfile.TarInfo(f"{HREF}.000000001")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    pack(tmp_path / "link.ova", [(link, None) if name == link.name else (name, data) for name, data in WHOLE.items()])
    with open_package(str(tmp_path / "link.ova")) as package, pytest.raises(UnsafeReference):
        read(package)
    pack(tmp_path / "twice.ova", [*WHOLE.items(), (f"{HREF}.000000002", b"y" * CHUNK)])
    with open_package(str(tmp_path / "twice.ova")) as package, pytest.raises(AmbiguousImage):
        read(package)
    assert descriptors() == before


def test_snapshots_of_vmware(tmp_path):
    """Pieces that are a whole disk each: the last is the current state."""
    disks = {f"{HREF}.{number:09d}": b"KDMV" + bytes([number]) * 600 for number in range(3)}
    with build(tmp_path, "ova", {"vm.ovf": descriptor(HREF), **disks}) as package:
        assert read(package) == b"KDMV" + b"\2" * 600
        (located,) = package.located
        assert (located.names, located.snapshots) == ((f"{HREF}.000000002",), (f"{HREF}.000000000", f"{HREF}.000000001"))
        assert package.contents() == ["vm.ovf", *disks]
    # With a chunk size they are pieces, whatever they look like.
    with build(tmp_path, "ova", {"vm.ovf": ovf(604, size=3 * 604), **disks}) as package:
        assert read(package) == b"".join(disks.values())


LISTED = {"pieces": cut(DATA, CHUNK), "whole": {HREF: DATA}, "both": {HREF: DATA, **cut(DATA, CHUNK)}}
WRONG = {
    "pieces": {**cut(DATA, CHUNK), f"{HREF}.000000003": b"x"},
    "whole": {HREF: DATA[:-1] + b"x"},
    "both, a piece": {HREF: DATA, **cut(DATA, CHUNK), f"{HREF}.000000003": b"x"},
    "both, the whole": {HREF: DATA[:-1] + b"x", **cut(DATA, CHUNK)},
}


@pytest.mark.parametrize("kind", ["ova", "folder"])
@pytest.mark.parametrize("policy", ["require", "verify"])
@pytest.mark.parametrize("algorithm", ["sha1", "sha512"])
@pytest.mark.parametrize("listed", LISTED)
def test_what_the_manifest_lists(tmp_path, kind, policy, algorithm, listed):
    files = {**WHOLE, "vm.mf": manifest({"vm.ovf": WHOLE["vm.ovf"], **LISTED[listed]}, algorithm)}
    with build(tmp_path, kind, files) as package:
        assert sorted(package.verify_manifest(policy).files) == sorted(["vm.ovf", *LISTED[listed]])
        assert (package.verified.missing, package.verified.unlisted) == ([], [])
        package.expect_manifest(policy)
        assert read(package) == DATA
        assert sorted(package.verify_used().files) == sorted(["vm.ovf", *LISTED[listed]])


@pytest.mark.parametrize("kind", ["ova", "folder"])
@pytest.mark.parametrize("wrong", WRONG)
def test_what_the_manifest_lists_otherwise(tmp_path, kind, wrong):
    before = descriptors()
    files = {**WHOLE, "vm.mf": manifest({"vm.ovf": WHOLE["vm.ovf"], **WRONG[wrong]})}
    with build(tmp_path, kind, files) as package:
        for policy in ("require", "verify"):
            with pytest.raises(IntegrityFailure, match="is not what the manifest says"):
                package.verify_manifest(policy)
            package.expect_manifest(policy)
            assert read(package) == DATA
            with pytest.raises(IntegrityFailure, match="is not what the manifest says"):
                package.verify_used()
            # Pieces that are read one by one, as an extraction does it
            package.expect_manifest(policy)
            package.open_name(f"{HREF}.000000000").close()
            if wrong in ("whole", "both, the whole"):
                with pytest.raises(IntegrityFailure, match="is not what the manifest says"):
                    package.verify_used()
        package.expect_manifest("ignore")
        assert read(package) == DATA
        assert package.verify_used() is None
    assert descriptors() == before


def test_a_piece_that_is_not_listed(tmp_path):
    files = {**WHOLE, "vm.mf": manifest(without(WHOLE, f"{HREF}.000000002"))}
    with build(tmp_path, "ova", files) as package:
        assert package.verify_manifest("verify").unlisted == [f"{HREF}.000000002"]
        assert "manifest_unlisted_file" in [warning.code for warning in package.warnings]
        with pytest.raises(IntegrityFailure, match=r"does not list 'disk\.raw\.000000002'"):
            package.verify_manifest("require")
        package.expect_manifest("require")
        assert read(package) == DATA
        with pytest.raises(IntegrityFailure, match=r"does not list 'disk\.raw\.000000002'"):
            package.verify_used()
