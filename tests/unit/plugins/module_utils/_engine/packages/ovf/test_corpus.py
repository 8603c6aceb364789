# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Descriptors and packages that VMware, VirtualBox, oVirt and others published, against what is known of each."""

from __future__ import annotations

import hashlib
import re
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.ovf.envelope import parse_envelope
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.package import open_package

NOTED = re.compile(r" \| disks=\[(.*?)\] ?(?:\||$)")
DISK = re.compile(r"(.*?):(expr:[^:]*|[0-9]+|\?|-)B:(.*):[^:]*")
SYSTEM = re.compile(r"cpu=(\S+) mem=(\S+)MiB .*?vst=.*?(?: fw=(\S+))? buses=")

# Where we read a descriptor in another way than the notes, on purpose.
SECTION_IN_A_SYSTEM = "a DiskSection inside of a system is not valid and not read"
BY_CONFIGURATION = "the Items of the default configuration, which the notes leave out, are hardware"
DIFFERENT = {
    "cot/input.ovf": BY_CONFIGURATION,
    "cot/invalid.ovf": BY_CONFIGURATION,
    "govmomi/deployment-configs.ovf": BY_CONFIGURATION,
    "govmomi/external/OVFToolTemplates/OVF/xmltestfiles/DiskSection/Neg/dup_diskid.ovf": "both disks of one id are kept, and refused when used",
    "govmomi/external/OVFToolTemplates/OVF/xmltestfiles/DiskSection/Neg/inside_content.ovf": SECTION_IN_A_SYSTEM,
    "govmomi/external/OVFToolTemplates/OVF/xmltestfiles/DiskSection_1_0/Neg/inside_content.ovf": SECTION_IN_A_SYSTEM,
    "govmomi/external/OVFToolTemplates/OVF/xmltestfiles/DiskSection_1_0/Neg/no_diskid.ovf": "a disk without an id is kept",
    "govmomi/external/OVFToolTemplates/OVF/xmltestfiles/DiskSection_1_0/Pos/make_delta.ovf": BY_CONFIGURATION,
    "govmomi/external/OVFToolTemplates/OVF/xmltestfiles/VirtualHardware_1_0/Neg/maxwith_nonormal.ovf": "the first of two memory Items counts",
    "govmomi/external/csruthi_ovf_deploy_bug/VMware-vCenter-Server-Appliance-6.5.0.5100-3945287_OVF10.ovf": BY_CONFIGURATION,
    "govmomi/external/vcsa65.ovf": BY_CONFIGURATION,
    "govmomi/vmware/Operations-Appliance-9.1.0.0.25262067.ovf": BY_CONFIGURATION,
    "govmomi/vmware/Operations-Cloud-Proxy-9.1.0.0.25262086.ovf": BY_CONFIGURATION,
    "govmomi/vmware/VMware-vCenter-Server-Appliance-9.1.0.0.25262036_OVF10.ovf": BY_CONFIGURATION,
    "virt-v2v/test-o-ovirt.ovf.expected": "sockets times cores is the number of processors, BiosType the firmware",
    "virt-v2v/test-o-vdsm-options.ovf.expected": "sockets times cores is the number of processors, BiosType the firmware",
}


def rows(shared):
    lines = (shared / "ovf-corpus/MANIFEST.tsv").read_text(encoding="utf-8").splitlines()[1:]
    for name, _sum, _origin, _licence, _writer, notes in (line.split("\t") for line in lines):
        if name.lower().endswith((".ovf", ".ovf.expected")):
            yield name, shared / "ovf-corpus" / name, notes


def differences(found, notes):
    """What is not as the notes have it; empty when all is."""
    version, systems = re.search(r"ovf=(\S+)", notes)[1], int(re.search(r"vs=(\d+)", notes)[1])
    if (found.version if found.version != "unknown" else "unkn") != version[: len(found.version)][:4] and found.version != version[:3]:
        yield f"version {found.version}"
    if len(found.systems) != systems:
        yield f"{len(found.systems)} systems"
    noted = NOTED.search(notes)
    wanted = [DISK.fullmatch(entry) for entry in re.sub(r" \+\d+$", "", noted[1]).split("; ")] if noted else []
    more = re.search(r" \+(\d+)$", noted[1]) if noted else None
    if len(found.disks) != len(wanted) + (int(more[1]) if more else 0):
        yield f"{len(found.disks)} disks"
    for disk, match in zip(found.disks, wanted):
        if disk.id != match[1]:
            yield f"disk id {disk.id}"
        if (disk.capacity is None) if match[2].startswith("expr") else (match[2] != "?" and str(disk.capacity) != match[2]):
            yield f"capacity {disk.capacity} of {match[0]}"
    for machine, match in zip(found.systems, SYSTEM.finditer(notes)):
        said = (str(machine.hardware.cpus), str(machine.memory_mib), {"uefi": "efi", None: None}.get(machine.firmware, machine.firmware))
        if said != match.groups():
            yield f"{said} instead of {match.groups()}"


def test_all_descriptors(shared):
    """Right, different for a known reason, or refused as the notes say: and nothing but ImageErrors."""
    right, refused, different, wrong = 0, 0, {}, {}
    for name, path, notes in rows(shared):
        must_be_refused = "REJECT" in notes or "root is" in notes
        try:
            found = parse_envelope(path.read_bytes(), name)
            with open_package(str(path)) as package:
                package.describe()
        except ImageError as error:
            refused += 1
            if not must_be_refused:
                wrong[name] = str(error)
            continue
        if must_be_refused:
            wrong[name] = "accepted"
        said = [] if notes.startswith("TEMPLATE") else list(differences(found, notes))
        if not said:
            right += 1
        else:
            (different if name in DIFFERENT else wrong)[name] = said
    assert wrong == {}
    assert set(different) == set(DIFFERENT)
    assert (right, refused, len(different)) == (668, 15, 16)


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
        assert [warning.code for warning in package.warnings] == ["file_size_mismatch"]
        facts = package.describe()["systems"][0]
        assert (facts["name"], facts["cpus"], facts["memory_mib"], facts["firmware"]) == ("ttylinux-pc_i486-16.1", 1, 32, "uefi")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("testserver-bad-ovf.ova", "not well-formed"),
        ("testserver-no-ovf.ova", "no .ovf file"),
        ("testserver-not-tar.ova", "not a tar archive"),
        ("testserver-no-disk.ova", "no file 'testserver-disk1.vmdk'"),
    ],
)
def test_what_glance_tests_refusals_with(shared, name, message):
    with pytest.raises(ImageError, match=message), open_package(str(shared / "ovf-corpus/glance" / name)) as package:
        package.disks()[0].open()


def test_what_glance_tests_success_with(shared):
    with open_package(str(shared / "ovf-corpus/glance/testserver.ova")) as package:
        (disk,) = package.disks()
        assert (package.writer, disk.bus, disk.controller, disk.open().size) == ("VirtualBox", "sata", "ahci", 4)


def test_a_cut_disk_is_refused_by_its_own_reader(shared):
    from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source

    with pytest.raises(CorruptImage):
        open_source(Request(str(shared / "ovf-corpus/govmomi/ttylinux-pc_i486-16.1.ova")))
