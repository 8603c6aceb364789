# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Extraction: what the package has, and nothing outside of the folder. tar is the judge."""

from __future__ import annotations

import filecmp
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError, CorruptImage, InvalidImage, UnsafeReference
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extract import extract, plan
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.opening import open_package
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.provenance import file_identity

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "tools"))

from build_ova import build_ova, pack  # noqa: E402

NAMES = ["appliance.ovf", "appliance.mf", "appliance-disk1.vmdk"]


@pytest.fixture(scope="module")
def ova(tmp_path_factory):
    path = tmp_path_factory.mktemp("ova") / "appliance.ova"
    build_ova(path)
    return path


@pytest.fixture(scope="module")
def theirs(ova):
    folder = ova.parent / "theirs"
    folder.mkdir()
    subprocess.run(["tar", "-C", folder, "-xf", ova], check=True)
    return folder


def unpack(source, folder, **options):
    with open_package(str(source)) as package:
        planned = plan(package, str(folder), **options)
        extract(package, str(folder), planned)
    return {file.name: file.reason for file in planned}


@pytest.mark.parametrize("kind", ["ova", "folder", "descriptor"])
def test_the_same_as_tar(ova, theirs, tmp_path, kind):
    source = {"ova": ova, "folder": theirs, "descriptor": theirs / "appliance.ovf"}[kind]
    assert unpack(source, tmp_path) == dict.fromkeys(NAMES, "does not exist")
    assert filecmp.cmpfiles(theirs, tmp_path, NAMES, shallow=False) == (NAMES, [], [])
    assert sorted(os.listdir(tmp_path)) == sorted(NAMES)
    assert unpack(source, tmp_path) == dict.fromkeys(NAMES)


def test_only_what_differs_is_written(ova, theirs, tmp_path):
    unpack(ova, tmp_path)
    with open(tmp_path / "appliance-disk1.vmdk", "r+b") as file:
        file.seek(70000)
        file.write(b"altered")
    (tmp_path / "appliance.ovf").write_bytes(b"short")
    reasons = unpack(ova, tmp_path)
    assert reasons["appliance-disk1.vmdk"] == "differs at byte 0x11170"
    assert reasons["appliance.ovf"].startswith("has 5 bytes instead of ")
    assert reasons["appliance.mf"] is None
    assert filecmp.cmpfiles(theirs, tmp_path, NAMES, shallow=False) == (NAMES, [], [])


def test_files_that_are_known_are_not_read(ova, tmp_path):
    unpack(ova, tmp_path)
    path = os.path.realpath(tmp_path / "appliance.mf")
    Path(path).write_bytes(b"altered behind our back")
    assert unpack(ova, tmp_path, known={path: file_identity(path)})["appliance.mf"] is None
    assert unpack(ova, tmp_path)["appliance.mf"] is not None


def test_patterns(ova, tmp_path):
    assert list(unpack(ova, tmp_path, include=["*.ovf", "*.mf"], exclude=["*.mf"])) == ["appliance.ovf"]
    with pytest.raises(InvalidImage, match="no file 'nothing'"):
        unpack(ova, tmp_path, include=["nothing"])


def test_a_file_that_is_missing(theirs, tmp_path):
    pack(tmp_path / "cut.ova", [("appliance.ovf", (theirs / "appliance.ovf").read_bytes())])
    (tmp_path / "out").mkdir()
    with pytest.raises(CorruptImage, match=r"no file 'appliance-disk1\.vmdk'"):
        unpack(tmp_path / "cut.ova", tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []
    assert unpack(tmp_path / "cut.ova", tmp_path / "out", exclude=["*.vmdk"]) == {"appliance.ovf": "does not exist"}


def test_nothing_leads_out_of_the_folder(theirs, tmp_path):
    descriptor = (theirs / "appliance.ovf").read_text().replace("appliance-disk1.vmdk", "sub/disk.vmdk").encode()
    disk = (theirs / "appliance-disk1.vmdk").read_bytes()
    pack(tmp_path / "sub.ova", [("appliance.ovf", descriptor), ("sub/disk.vmdk", disk)])
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    unpack(tmp_path / "sub.ova", tmp_path / "out")
    assert (tmp_path / "out/sub/disk.vmdk").read_bytes() == disk
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap/sub").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafeReference, match="outside"):
        unpack(tmp_path / "sub.ova", tmp_path / "trap")
    assert os.listdir(tmp_path / "elsewhere") == []
    hostile = descriptor.replace(b"sub/disk.vmdk", b"../disk.vmdk")
    pack(tmp_path / "hostile.ova", [("appliance.ovf", hostile), ("../disk.vmdk", disk)])
    with pytest.raises(UnsafeReference):
        unpack(tmp_path / "hostile.ova", tmp_path / "out")


def test_what_is_in_the_way(ova, tmp_path):
    with pytest.raises(AccessError, match="not a folder"):
        unpack(ova, tmp_path / "missing")
    (tmp_path / "appliance.mf").mkdir()
    with pytest.raises(AccessError, match="not a regular file"):
        unpack(ova, tmp_path)
    (tmp_path / "appliance.mf").rmdir()
    (tmp_path / "appliance.mf").symlink_to("/etc/hostname")
    with pytest.raises(AccessError, match="not a regular file"):
        unpack(ova, tmp_path)
