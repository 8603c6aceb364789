# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict on uploads beside what a real Glance 33 answered to such files, and what oslo.utils says of these."""

from __future__ import annotations

import io
import struct
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.openstack.verdict import RELEASES, judge
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source

from .conftest import IMPOSSIBLE, LINUX, PROTECTIVE, disk

YES, NO = "accept", "refuse"
# File, disk_format, container_format; the answer to an upload, and to an import that converts to raw.
ANSWERS = """
mbr raw bare yes yes
mbr qcow2 bare no
gpt raw bare yes yes
four raw bare yes yes
zeros raw bare yes yes
few raw bare yes yes
empty raw bare yes yes
fat raw bare yes yes
fat-one raw bare no
bad-flag raw bare no
unpartitioned raw bare no
hybrid raw bare no
bad-start raw bare no
bad-chs raw bare no
second raw bare no
qcow2 qcow2 bare yes yes
qcow2-compressed qcow2 bare yes yes
qcow2-zstd qcow2 bare yes yes
qcow2-v2 qcow2 bare yes yes
qcow2-lazy qcow2 bare yes yes
qcow2-4k qcow2 bare yes yes
qcow2-cut qcow2 bare yes yes
qcow2-secret qcow2 bare yes no
qcow2-hybrid qcow2 bare yes no
qcow2-extended qcow2 bare no
qcow2-backing qcow2 bare no
qcow2-backing raw bare no
qcow2-v2-backing qcow2 bare no
qcow2-data qcow2 bare no
qcow2-300 qcow2 bare no
qcow2 raw bare yes no
qcow2 vmdk bare no
qcow qcow2 bare no
qcow raw bare no
vmdk vmdk bare yes yes
vmdk-v3 vmdk bare yes yes
vmdk-stream vmdk bare yes yes
vmdk-footer vmdk bare yes yes
vmdk-footer-other vmdk bare no
vmdk-child vmdk bare yes no
vmdk-flat vmdk bare no
vmdk-split vmdk bare no
vmdk-split-flat vmdk bare no
vmdk-flat raw bare yes yes
vmdk-flat-flat vmdk bare no
vmdk-split-s001 vmdk bare no
vmdk-stream raw bare yes no
vdi vdi bare yes yes
vdi-static vdi bare yes yes
vdi raw bare yes no
vhd vhd bare yes no
vhd-geometry vhd bare yes no
vhd raw bare yes no
vhd vpc bare no
vhd-fixed vhd bare no
vhd-fixed raw bare yes yes
vhdx vhdx bare yes yes
vhdx-fixed vhdx bare yes yes
vhdx raw bare yes no
vhdx vhd bare no
qed raw bare no
qed qcow2 bare no
parallels ploop bare yes no
parallels raw bare yes yes
luks luks bare no
luks raw bare yes no
luks2 raw bare no
iso iso bare yes yes
iso-hybrid iso bare yes no
iso-gpt iso bare yes no
iso raw bare yes no
iso-hybrid raw bare no
iso qcow2 bare no
qcow2-iso qcow2 bare no
qcow2-iso iso bare no
kernel aki aki yes no
ramdisk ari ari yes no
zeros ami ami yes no
gpt ami ami yes no
qcow2 ami ami yes no
qcow2-backing ami ami yes no
kernel aki bare no
kernel ari bare no
kernel raw bare no
kernel ami ami yes no
kernel qcow2 aki yes no
ramdisk ari bare yes no
zeros ami bare yes no
zeros aki bare yes no
zeros raw ami yes yes
gpt ami bare no
mbr ami bare no
qcow2 ami bare no
ova vmdk ova yes no
ova raw ova yes yes
ova raw bare yes yes
ova vmdk bare no
ova ova ova no
mbr.gz raw compressed yes yes
mbr.gz raw bare yes yes
qcow2.gz qcow2 compressed yes no
mbr raw box no
text raw bare yes yes
text-vmdk vmdk bare no
"""
ROWS = [tuple(line.split()) for line in ANSWERS.strip().splitlines()]


def glance(inspector, path, disk_format, container_format):
    """What Glance's code makes of oslo.utils' answers."""
    if container_format != "bare":
        return True
    wrapper = inspector.InspectWrapper(io.BytesIO(path.read_bytes()))
    while wrapper.read(64 << 10):
        pass
    wrapper.close()
    try:
        found = {str(each): each for each in wrapper.formats}
        seen = found["iso"] if found.keys() == {"iso", "gpt"} else wrapper.format
        name = str(seen)
        if name == disk_format:
            seen.virtual_size  # noqa: B018  # pylint: disable=pointless-statement
        elif name != "raw" or disk_format in inspector.ALL_FORMATS:
            if disk_format != "raw" or wrapper.format is None:
                return False
        seen.safety_check()
    except AttributeError:
        return True
    except (inspector.ImageFormatError, inspector.SafetyCheckFailed, KeyError, struct.error):
        return False
    return True


def outcome(verdict, service):
    return next(gate.outcome for gate in verdict.gates if gate.service == service)


@pytest.mark.parametrize("row", ROWS, ids="-".join)
def test_answers(uploads, row):
    name, disk_format, container_format, *answers = row
    verdict = judge(str(uploads.folder / name), disk_format=disk_format, container_format=container_format)
    assert verdict.accepted == (answers[0] == "yes")
    if verdict.accepted:
        assert (outcome(verdict, "glance_import") != NO) == (answers[1] == "yes")
        assert {gate.service for gate in verdict.gates} == {"glance", "glance_import", "nova", "cinder", "ironic"}
    else:
        assert [(gate.service, gate.outcome) for gate in verdict.gates] == [("glance", NO)]


def test_every_file_as_every_format(uploads, oslo_inspector):
    accepted = 0
    for name in uploads.names:
        for disk_format in ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"):
            for container_format in ("bare", "ovf"):
                verdict = judge(str(uploads.folder / name), disk_format=disk_format, container_format=container_format)
                assert verdict.accepted == glance(oslo_inspector, uploads.folder / name, disk_format, container_format), (name, disk_format)
                accepted += verdict.accepted
    assert accepted > 500


@pytest.mark.parametrize(
    ("partitions", "safe"),
    [
        ([LINUX], True),
        ([PROTECTIVE], True),
        ([PROTECTIVE, LINUX], False),
        ([bytes(16), PROTECTIVE], False),
        ([PROTECTIVE[:8] + b"\2" + PROTECTIVE[9:]], False),
        ([PROTECTIVE[:2] + b"\1" + PROTECTIVE[3:]], False),
        ([IMPOSSIBLE], False),
        ([LINUX, LINUX, LINUX, LINUX], True),
        ([], False),
    ],
)
def test_boot_records(tmp_path, partitions, safe):
    (tmp_path / "disk").write_bytes(disk(*partitions))
    verdict = judge(str(tmp_path / "disk"))
    assert (verdict.disk_format, verdict.seen_as) == ("raw", ["gpt"])
    assert verdict.accepted == safe
    assert safe or verdict.objection.check == "safety"


@pytest.mark.parametrize(
    ("name", "disk_format", "container_format", "check"),
    [
        ("mbr.gz", None, "bare", "format_match"),
        ("mbr.gz", "raw", "ami", "format_match"),
        ("ova", "raw", "bare", "format_match"),
        ("mbr", "raw", "ova", "format_match"),
        ("mbr", "raw", "compressed", "format_match"),
        ("qcow2", "raw", "bare", "format_match"),
        ("vhd-fixed", "raw", "bare", "format_match"),
        ("parallels", "raw", "bare", "format_match"),
        ("vmdk-flat", "raw", "bare", "format_match"),
        ("mbr", "aki", "aki", None),
        ("qcow2", "aki", "aki", "format_match"),
        ("zeros", "ploop", "bare", "format_match"),
        ("text", "raw", "bare", "format_match"),
        ("text-accents", "qcow2", "bare", "format_match"),
        ("vmdk-child", None, "bare", "references"),
        ("qcow2-secret", None, "bare", "encrypted"),
        ("qcow2-cut", None, "bare", "damaged"),
        ("empty", None, "bare", "damaged"),
        ("qcow2-backing", "qcow2", "ami", "references"),
    ],
)
def test_accepted_and_should_not_be(uploads, name, disk_format, container_format, check):
    verdict = judge(str(uploads.folder / name), disk_format=disk_format, container_format=container_format)
    assert verdict.accepted
    assert (verdict.objection and verdict.objection.check) == check
    assert check is None or verdict.objection.outcome == "warn"


@pytest.mark.parametrize("name", ["mbr", "gpt", "fat", "zeros", "qcow2", "qcow2-zstd", "vmdk", "vmdk-stream", "vdi", "vhd", "vhdx", "iso", "iso-gpt"])
def test_nothing_against_it(uploads, name):
    assert judge(str(uploads.folder / name)).objection is None


# What Nova, Cinder and Ironic say, where it is not what Glance says.
@pytest.mark.parametrize(
    ("name", "disk_format", "expected"),
    [
        ("qcow2", "qcow2", {"nova": YES, "cinder": YES, "ironic": YES}),
        ("mbr", "raw", {"nova": YES, "cinder": YES, "ironic": YES}),
        ("vhd", "vhd", {"nova": NO, "cinder": NO, "ironic": NO}),
        ("vhdx", "vhdx", {"nova": YES, "cinder": YES, "ironic": NO}),
        ("vmdk-stream", "vmdk", {"nova": YES, "cinder": YES, "ironic": NO}),
        ("vmdk-footer", "vmdk", {"nova": YES, "cinder": NO, "ironic": NO}),
        ("vmdk-child", "vmdk", {"nova": NO, "cinder": NO, "ironic": NO}),
        ("vmdk-flat", "raw", {"nova": NO, "cinder": "warn", "ironic": "warn"}),
        ("qcow2", "raw", {"nova": NO, "cinder": NO, "ironic": NO}),
        ("qcow2-secret", "qcow2", {"nova": NO, "cinder": NO, "ironic": NO}),
        ("mbr.gz", "raw", {"nova": "warn", "cinder": "warn", "ironic": "warn"}),
        ("iso", "iso", {"nova": YES, "cinder": YES, "ironic": YES}),
        ("iso-gpt", "iso", {"nova": YES, "cinder": YES, "ironic": YES}),
        ("parallels", "ploop", {"nova": NO, "cinder": NO, "ironic": NO}),
    ],
)
def test_other_services(uploads, name, disk_format, expected):
    verdict = judge(str(uploads.folder / name), disk_format=disk_format)
    assert {service: outcome(verdict, service) for service in expected} == expected


def test_compressed_container(uploads):
    verdict = judge(str(uploads.folder / "qcow2.gz"), disk_format="qcow2", container_format="compressed")
    assert [outcome(verdict, service) for service in ("glance", "nova", "cinder")] == [YES, NO, YES]


@pytest.mark.parametrize("release", RELEASES)
def test_hybrid_discs_by_release(uploads, release):
    verdict = judge(str(uploads.folder / "iso-hybrid"), disk_format="iso", release=release)
    assert verdict.accepted == (release >= "2026.1")
    assert judge(str(uploads.folder / "iso"), disk_format="iso", release=release).accepted
    assert ("iso" in judge(str(uploads.folder / "iso-hybrid"), disk_format="raw", release=release).objection.cure) == verdict.accepted


@pytest.mark.parametrize("release", RELEASES)
def test_boot_records_by_release(uploads, release):
    """Compared with Glance 30 to 33."""
    verdict = judge(str(uploads.folder / "bad-flag"), disk_format="raw", release=release)
    assert (verdict.accepted, verdict.objection.check) == (release < "2026.2", "safety")
    if verdict.accepted:
        assert [outcome(verdict, service) for service in ("glance_import", "nova", "cinder", "ironic")] == [YES, NO, YES, NO]


@pytest.mark.parametrize(
    ("name", "profile", "expected"),
    [
        ("qcow2", "openstack", {"glance": YES, "nova": YES, "cinder": YES}),
        ("qcow2", "ceph", {"glance": YES, "glance_import": YES, "nova": "warn", "cinder": "warn"}),
        ("mbr", "ceph", {"glance": YES, "glance_import": YES, "nova": YES, "cinder": YES}),
        ("vhd", "ceph", {"glance": YES, "glance_import": NO, "nova": NO, "cinder": NO}),
        ("qcow2", "esxi", {"glance": YES, "nova": NO}),
        ("vmdk-stream", "esxi", {"glance": YES, "nova": YES}),
        ("iso", "esxi", {"glance": YES, "nova": YES}),
        ("qcow2", "ironic", {"glance": YES, "ironic": YES}),
        ("vmdk", "ironic", {"glance": YES, "ironic": NO}),
        ("qcow2-backing", "ironic", {"glance": NO}),
    ],
)
def test_profiles(uploads, name, profile, expected):
    verdict = judge(str(uploads.folder / name), profile=profile)
    assert {gate.service: gate.outcome for gate in verdict.gates} == expected


def test_cures(uploads, tmp_path, qemu_img):
    """What is to be converted is accepted then; what is to be uploaded in another way, too."""
    cured = 0
    for name, disk_format, container_format, *_answers in ROWS:
        verdict = judge(str(uploads.folder / name), disk_format=disk_format, container_format=container_format)
        cure = verdict.objection.cure or "" if verdict.objection else ""
        if cure.startswith("Upload it with the disk_format "):
            assert judge(str(uploads.folder / name), disk_format=cure.rpartition(" ")[2]).accepted, (name, disk_format)
            cured += 1
        elif cure.startswith("Upload it with the container_format "):
            assert judge(str(uploads.folder / name), disk_format=disk_format, container_format=cure.rpartition(" ")[2]).accepted, (name, disk_format)
            cured += 1
        elif "qcow2" in cure and name in ("hybrid", "bad-flag", "bad-chs", "qcow2-extended", "vhd-fixed", "vmdk-flat", "qed", "qcow"):
            driver = {"qcow2-extended": "qcow2", "vhd-fixed": "vpc", "vmdk-flat": "vmdk", "qed": "qed", "qcow": "qcow"}.get(name, "raw")
            subprocess.run([qemu_img, "convert", "-f", driver, "-O", "qcow2", uploads.folder / name, tmp_path / "cured"], check=True)
            assert judge(str(tmp_path / "cured")).objection is None
            cured += 1
    assert cured > 20


@pytest.mark.parametrize(
    ("name", "disk_format", "word"),
    [
        ("kernel", "aki", "container_format aki"),
        ("kernel", "qcow2", "aki as"),
        ("parallels", "qcow2", "Convert"),
        ("vhd", "qcow2", "disk_format vhd"),
        ("vhd-fixed", "vhd", "footer"),
        ("mbr.gz", "qcow2", "Unpack"),
        ("qcow2-300", "qcow2", "Convert"),
        ("text", "qcow2", None),
        ("luks", "qcow2", None),
    ],
)
def test_cure_of_a_mismatch(uploads, name, disk_format, word):
    objection = judge(str(uploads.folder / name), disk_format=disk_format).objection
    assert objection.check == "format_match"
    assert objection.cure is None if word is None else word in objection.cure


def test_the_image_that_is_open(uploads):
    with open_source(Request(str(uploads.folder / "vmdk-child"))) as source:
        assert judge(source.path, source) == judge(source.path)


def test_folder(tmp_path):
    verdict = judge(str(tmp_path))
    assert (verdict.accepted, verdict.objection.check) == (False, "file")
