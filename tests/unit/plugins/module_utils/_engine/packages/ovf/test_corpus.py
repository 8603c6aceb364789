# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Descriptors and packages that VMware, VirtualBox, oVirt and others published, against what is known of each."""

from __future__ import annotations

import collections
import hashlib
import subprocess

import judge_descriptors
import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.ovf.envelope import parse_envelope
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.opening import open_package


def test_all_descriptors(shared):
    """Right, different for a known reason, or refused as the notes say: and nothing but ImageErrors. tests/tools/descriptors shows it."""
    verdicts = judge_descriptors.judge_all(shared / "ovf-corpus", parse_envelope, open_package, ImageError)
    counts = collections.Counter(verdict.kind for verdict in verdicts)
    assert [verdict for verdict in verdicts if verdict.kind in ("wrong", "crashed")] == []
    assert {verdict.name for verdict in verdicts if verdict.kind == "different"} == set(judge_descriptors.DIFFERENT)
    assert counts == {"right": 667, "refused": 15, "different": 17}


@pytest.mark.parametrize("name", ["govmomi/ttylinux-pc_i486-16.1.ova", "cot/input.ovf", "cot/ubuntu.2.0.ovf"])
def test_published_manifests_agree(shared, name):
    with open_package(str(shared / "ovf-corpus" / name)) as package:
        found = package.verify_manifest("require")
        assert {package.descriptor, package.disks()[0].file} <= set(found.files)


def test_the_published_ova_is_read_in_place(shared, tmp_path):
    """Member by member what GNU tar extracts. (The disk in it was cut to 1 MiB by its publisher, so it is no sound VMDK.)"""
    path = shared / "ovf-corpus/govmomi/ttylinux-pc_i486-16.1.ova"
    subprocess.run(["tar", "-xf", path], cwd=tmp_path, check=True)
    with open_package(str(path)) as package:
        names = package.contents()
        assert sorted(names) == sorted(entry.name for entry in tmp_path.iterdir())
        for name in names:
            storage = package.open_name(name)
            assert hashlib.sha1(storage.read_at(0, storage.size)).digest() == hashlib.sha1((tmp_path / name).read_bytes()).digest()
        assert [warning.code for warning in package.warnings] == ["file_size_mismatch", "manifest_grammar", "weak_digest"]
        facts = package.describe()["systems"][0]
        assert (facts["name"], facts["cpus"], facts["memory_mib"], facts["firmware"]) == ("ttylinux-pc_i486-16.1", 1, 32, "uefi")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("testserver-bad-ovf.ova", "not well-formed"),
        ("testserver-no-ovf.ova", "no .ovf file"),
        ("testserver-not-tar.ova", "not a package"),
        ("testserver-no-disk.ova", "no file 'testserver-disk1.vmdk'"),
    ],
)
def test_what_glance_tests_refusals_with(shared, name, message):
    with pytest.raises(ImageError, match=message), open_package(str(shared / "ovf-corpus/glance" / name)) as package:
        package.open_disk(package.disks()[0])


def test_what_glance_tests_success_with(shared):
    with open_package(str(shared / "ovf-corpus/glance/testserver.ova")) as package:
        (disk,) = package.disks()
        assert (package.writer, disk.bus, disk.controller, package.open_disk(disk).size) == ("VirtualBox", "sata", "ahci", 4)


def test_a_cut_disk_is_refused_by_its_own_reader(shared):
    from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source

    with pytest.raises(CorruptImage):
        open_source(Request(str(shared / "ovf-corpus/govmomi/ttylinux-pc_i486-16.1.ova")))
