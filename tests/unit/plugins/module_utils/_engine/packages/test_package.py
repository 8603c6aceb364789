# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages as a whole, sound ones: archives and folders, every way to name a file, manifests, facts, warnings."""

from __future__ import annotations

import json
import os
import shutil
import tarfile

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AmbiguousImage, CorruptImage, IntegrityFailure
from ansible_collections.vmimage.prep.plugins.module_utils._engine.inspect import describe_package
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.opening import open_package
from build_ova import descriptor, manifest, pack

DATA = b"not really a disk" * 100
HREF = "appliance-disk1.vmdk"
OVIRT = """<ovf:Envelope xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1/" xmlns:ovirt="http://www.ovirt.org/ovf" xmlns:rasd="urn:rasd">
  <References><File ovf:href="guid-1" ovf:id="guid-1" ovf:size="1"/><File ovf:href="guid-2" ovf:id="guid-2" ovf:size="1"/></References>
  <DiskSection>
    <Disk ovf:diskId="one" ovf:capacity="1" ovf:capacityAllocationUnits="byte * 2^30" ovf:fileRef="guid-1" ovf:disk-interface="IDE" ovf:boot="false"/>
    <Disk ovf:diskId="two" ovf:capacity="2" ovf:capacityAllocationUnits="byte * 2^30" ovf:fileRef="guid-2" ovf:disk-interface="VirtIO" ovf:boot="true"/>
  </DiskSection>
  <VirtualSystem ovf:id="vm"><VirtualHardwareSection>
    <Item><rasd:InstanceID>guid-1</rasd:InstanceID><rasd:ResourceType>17</rasd:ResourceType><rasd:HostResource>one/guid-1</rasd:HostResource></Item>
    <Item><rasd:InstanceID>guid-2</rasd:InstanceID><rasd:ResourceType>17</rasd:ResourceType><rasd:HostResource>two/guid-2</rasd:HostResource></Item>
    <Item><rasd:InstanceID>n</rasd:InstanceID><rasd:ResourceType>10</rasd:ResourceType><rasd:ResourceSubType>3</rasd:ResourceSubType></Item>
  </VirtualHardwareSection></VirtualSystem></ovf:Envelope>"""


def ova(tmp_path, members, **kwargs):
    path = str(tmp_path / "test.ova")
    pack(path, members, **kwargs)
    return open_package(path)


def codes(package):
    return [warning.code for warning in package.warnings]


def read(package, disk=None):
    storage = package.open_disk(disk or package.disks()[0])
    try:
        return storage.read_at(0, storage.size)
    finally:
        storage.close()


def members(ovf=None, name=HREF, algorithm="sha256"):
    files = {"appliance.ovf": ovf or descriptor(size=len(DATA)), name: DATA}
    return [("appliance.ovf", files["appliance.ovf"]), ("appliance.mf", manifest(files, algorithm)), (name, DATA)]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_an_ova(tmp_path, form, algorithm):
    with ova(tmp_path, members(algorithm=algorithm), form=form) as package:
        (disk,) = package.disks()
        storage = package.open_disk(disk)
        assert storage.name == f"{package.path}!{HREF}"
        assert storage.read_at(0, storage.size) == DATA
        assert package.verify_manifest("require").files == ["appliance.ovf", HREF]
        assert (package.kind, package.name, package.writer, package.ovf_version, package.certificate_file) == ("ova", "appliance", "VMware", "1.x", None)
        assert (disk.disk_id, disk.file, disk.capacity, disk.bus, disk.controller, disk.address, disk.boot) == (
            *("vmdisk1", HREF, 64 << 20, "scsi", "lsilogic", 0, True),
        )
        assert codes(package) == ["not_ustar"] * (form == tarfile.GNU_FORMAT) + ["weak_digest"] * (algorithm == "sha1")
        assert package.contents() == ["appliance.ovf", "appliance.mf", HREF]


def test_a_folder_by_its_name_by_the_descriptor_and_by_a_link_to_it(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    for name, data in members():
        (folder / name).write_bytes(data)
    (folder / "._appliance.ovf").write_bytes(b"AppleDouble")
    (tmp_path / "link").symlink_to(folder / "appliance.ovf")
    for path in (folder, folder / "appliance.ovf", tmp_path / "link"):
        with open_package(str(path)) as package:
            assert (package.kind, package.name) == ("ovf", "appliance")
            assert read(package) == DATA
            assert package.verify_manifest("require").files == ["appliance.ovf", HREF]
    here = os.getcwd()
    os.chdir(folder)
    try:
        with open_package("appliance.ovf") as package:
            assert read(package) == DATA
    finally:
        os.chdir(here)


def test_a_folder_inside_of_the_archive(tmp_path):
    with ova(tmp_path, [(f"./top/{name}", data) for name, data in members()]) as package:
        assert read(package) == DATA
        assert package.verify_manifest("require").files == ["top/appliance.ovf", f"top/{HREF}"]


@pytest.mark.parametrize(
    ("href", "stored"),
    [
        ("a b.vmdk", "a b.vmdk"),
        ("a%20b.vmdk", "a b.vmdk"),
        ("a%20b.vmdk", "a%20b.vmdk"),
        ("url%24encoded%a-1.vmdk", "url%24encoded%a-1.vmdk"),
        ("%e8%99%9a.vmdk", "\u865a.vmdk"),
        ("\u865a.vmdk", "\u865a.vmdk"),
        ("disks/./a.vmdk", "disks/a.vmdk"),
        ("./a.vmdk", "a.vmdk"),
        ("x/../a.vmdk", "a.vmdk"),
        ("a.vmdk", "A.VMDK"),
        ("a.vmdk", "a.vmdk.000000000"),
    ],
)
@pytest.mark.parametrize("kind", ["ova", "folder"])
def test_the_spellings_of_an_href(tmp_path, href, stored, kind):
    if kind == "ova":
        package = ova(tmp_path, [("vm.ovf", descriptor(href)), (stored, DATA)])
    else:
        (tmp_path / "vm.ovf").write_bytes(descriptor(href))
        (tmp_path / stored).parent.mkdir(exist_ok=True)
        (tmp_path / stored).write_bytes(DATA)
        package = open_package(str(tmp_path))
    with package:
        (disk,) = package.disks()
        assert (disk.href, disk.file) == (href, stored)
        assert read(package) == DATA
        assert ("href_differs_in_case" in codes(package)) == (stored == "A.VMDK")


def test_the_literal_name_comes_before_the_decoded_one(tmp_path):
    with ova(tmp_path, [("vm.ovf", descriptor("a%20b")), ("a b", b"decoded"), ("a%20b", b"literal")]) as package:
        assert read(package) == b"literal"


def test_two_names_in_other_cases_are_ambiguous(tmp_path):
    with ova(tmp_path, [("vm.ovf", descriptor("a")), ("A", b""), ("vm.mf", b"")]) as package:
        assert package.disks()[0].file == "A"
    with (
        ova(tmp_path, [("vm.ovf", descriptor("aa")), ("Aa", b""), ("aA", b"")]) as package,
        pytest.raises(AmbiguousImage, match="no file 'aa', but: 'Aa', 'aA'"),
    ):
        package.open_disk(package.disks()[0])


def test_gzip_is_told_and_given_as_it_is_stored(tmp_path):
    with ova(tmp_path, [("vm.ovf", descriptor("d.gz", file_attributes='ovf:compression="gzip"')), ("d.gz", DATA)]) as package:
        (disk,) = package.disks()
        assert (disk.compression, read(package)) == ("gzip", DATA)
    with ova(tmp_path, [("vm.ovf", descriptor("d", file_attributes='ovf:compression="identity"')), ("d", DATA)]) as package:
        assert package.disks()[0].compression == ""


@pytest.mark.parametrize(
    ("kwargs", "stored", "kind", "message"),
    [
        ({"file_attributes": 'ovf:chunkSize="9"'}, [f"{HREF}.00000000{n}" for n in (0, 1)], CorruptImage, "has 1700 bytes instead of 9"),
        ({}, ["other.vmdk"], CorruptImage, f"no file '{HREF}'. It has: 'other.vmdk'"),
    ],
)
def test_disks_that_cannot_be_opened_say_why(tmp_path, kwargs, stored, kind, message):
    with ova(tmp_path, [("vm.ovf", descriptor(**kwargs)), *((name, DATA) for name in stored)]) as package:
        (disk,) = package.disks()
        for _twice in range(2):
            with pytest.raises(kind, match=message):
                package.open_disk(disk)
        assert message.split("'")[0] in package.describe()["systems"][0]["disks"][0]["problem"]


@pytest.mark.parametrize(
    ("old", "new", "kind", "message"),
    [
        ('ovf:fileRef="file1"', 'ovf:fileRef="file9"', CorruptImage, "names the file 'file9', which References does not have"),
        ("ovf:/disk/vmdisk1", "ovf:/disk/vmdisk9", CorruptImage, "names the disk 'vmdisk9', which DiskSection does not have"),
        ("ovf:/disk/vmdisk1", "ovf:/file/file9", CorruptImage, "names the file 'file9', which References does not have"),
    ],
)
def test_broken_references_are_told(tmp_path, old, new, kind, message):
    with ova(tmp_path, [("vm.ovf", descriptor().replace(old.encode(), new.encode())), (HREF, DATA)]) as package, pytest.raises(kind, match=message):
        package.open_disk(package.disks()[0])


def test_an_item_may_name_a_file_itself_and_a_disk_is_given_once(tmp_path):
    ovf = descriptor().replace(b"ovf:/disk/vmdisk1", b"ovf:/file/file1")
    with ova(tmp_path, [("vm.ovf", ovf), (HREF, DATA)]) as package:
        assert [(disk.disk_id, read(package, disk)) for disk in package.disks()] == [("file1", DATA)]
    again = "<Item><rasd:InstanceID>9</rasd:InstanceID><rasd:ResourceType>17</rasd:ResourceType><rasd:HostResource>/disk/vmdisk1</rasd:HostResource></Item>"
    with ova(tmp_path, [("vm.ovf", descriptor(extra_items=again)), (HREF, DATA)]) as package:
        assert len(package.disks()) == 1


def test_ovirt_names_disks_in_its_own_way(tmp_path):
    padded = [("vm.ovf", OVIRT.encode()), ("pad", b"0" * 100), ("guid-1", b"1"), ("pad", b"0" * 9), ("guid-2", b"2"), ("nvram.dat", b"")]
    with ova(tmp_path, padded, form=tarfile.GNU_FORMAT) as package:
        assert [(disk.disk_id, disk.file, disk.bus, disk.boot, read(package, disk)) for disk in package.disks()] == [
            ("two", "guid-2", "virtio", True, b"2"),
            ("one", "guid-1", "ide", False, b"1"),
        ]
        assert codes(package) == ["not_ustar", "unlisted_file", "no_manifest"]
        assert describe_package(package)["systems"][0]["properties"]["hw_vif_model"]["value"] == "virtio"


def test_policies_of_the_manifest(tmp_path):
    ovf, mf, disk = members()
    with ova(tmp_path, [ovf, disk]) as package:
        assert package.verify_manifest() is package.verify_manifest("ignore") is None
        with pytest.raises(IntegrityFailure, match="no manifest, and one is required"):
            package.verify_manifest("require")
    with ova(tmp_path, [ovf, mf, (HREF, DATA[:-1] + b"X")]) as package:
        assert package.verify_manifest("ignore") is None
        for policy in ("verify", "require"):
            with pytest.raises(IntegrityFailure, match=f"'{HREF}' is not what the manifest says: its SHA256 is [0-9a-f]{{64}}, not [0-9a-f]{{64}}"):
                package.verify_manifest(policy)
        assert package.describe()["manifest"]["verified"] is False


def test_what_a_manifest_lists_too_much_and_too_little(tmp_path):
    ovf, _mf, disk = members()
    listed = manifest(dict([disk])) + manifest({"gone.vmdk": b"", "vm.mf": b"", "http://example.com/x": b""})
    with ova(tmp_path, [ovf, ("other name.mf", listed.replace(b"vm.mf", b"other name.mf")), disk]) as package:
        found = package.verify_manifest()
        assert (found.files, found.missing, found.unlisted) == ([HREF], ["gone.vmdk", "http://example.com/x"], ["appliance.ovf"])
        package.verify_manifest()
        assert codes(package) == [
            *("base_name_differs", "manifest_lists_itself"),
            *("manifest_missing_file", "manifest_missing_file", "manifest_unlisted_file"),
        ]
        with pytest.raises(IntegrityFailure, match="lists 'gone.vmdk', which the package does not have"):
            package.verify_manifest("require")
    with ova(tmp_path, [ovf, ("appliance.mf", manifest(dict([disk]))), disk]) as package:
        with pytest.raises(IntegrityFailure, match="does not list 'appliance.ovf'"):
            package.verify_manifest("require")


def test_the_conformance_list(tmp_path):
    extra = '<Disk ovf:diskId="unused" ovf:capacity="1"/></DiskSection>'
    ovf = descriptor(size=5).replace(b"</DiskSection>", extra.encode()).replace(b"  </References>", b'<File ovf:id="f2" ovf:href="http://x/y"/></References>')
    link = tarfile.TarInfo("link")
    link.type, link.linkname = tarfile.SYMTYPE, "vm.ovf"
    with ova(
        tmp_path,
        [(HREF, DATA), ("vm.ovf", ovf), ("vm.cert", b"x"), ("stray", b""), ("twice", b"1"), ("twice", b"2"), ("../out", b""), ("._vm.ovf", b""), (link, None)],
    ) as package:
        assert package.certificate_file == "vm.cert"
        assert sorted(codes(package)) == sorted(
            ["file_size_mismatch", "remote_file", "disk_not_attached", "ovf_not_first", "unsafe_member_name", "duplicate_member", "appledouble_ignored"]
            + ["unlisted_file"] * 3
            + ["file_size_absent", "manifest_misplaced", "certificate_without_manifest"]
        )
        assert all(warning["message"] and warning["location"] for warning in package.describe()["warnings"])


def test_facts_are_json_without_passwords_and_control_characters(tmp_path):
    product = '<ProductSection><Property ovf:key="pw" ovf:value="s3cret" ovf:password="true"/><Property ovf:key="host" ovf:value="a&#10;b"/></ProductSection>'
    with ova(tmp_path, [("vm.ovf", descriptor("d\u202e.vmdk", extra_sections=product)), ("d\u202e.vmdk", DATA), (os.fsdecode(b"\xff"), b"")]) as package:
        facts = describe_package(package)
        text = json.dumps(facts)
        assert "s3cret" not in text
        assert [(item["key"], item["value"], item["password"]) for item in facts["settings"]] == [("pw", None, True), ("host", "a\\nb", False)]
        assert facts["files"][0]["file"] == "d\\u202e.vmdk"
        assert (facts["systems"][0]["cpus"], facts["systems"][0]["min_ram"]) == (1, 256)
        assert {name: item["value"] for name, item in facts["systems"][0]["properties"].items()} == {
            "hw_disk_bus": "scsi",
            "hw_scsi_model": "lsilogic",
            "hw_vif_model": "e1000",
            "hw_firmware_type": "bios",
            "architecture": "x86_64",
            "os_type": "linux",
        }


@pytest.mark.parametrize(
    ("controller", "wanted"),
    [
        ("VirtualSCSI", {"hw_disk_bus": "scsi", "hw_scsi_model": "vmpvscsi"}),
        ("lsilogicsas", {"hw_disk_bus": "scsi", "hw_scsi_model": "lsisas1068"}),
        ("VirtioSCSI", {"hw_disk_bus": "scsi", "hw_scsi_model": "virtio-scsi"}),
        ("virtio lsilogic", {"hw_disk_bus": "virtio"}),
        ("unheard-of", {"hw_disk_bus": "scsi"}),
    ],
)
def test_proposed_buses(tmp_path, controller, wanted):
    with ova(tmp_path, [("vm.ovf", descriptor(controller=controller)), (HREF, DATA)]) as package:
        found = describe_package(package)["systems"][0]["properties"]
        assert {name: found[name]["value"] for name in ("hw_disk_bus", "hw_scsi_model") if name in found} == wanted


def test_a_second_manifest_by_another_name_is_not_taken_when_there_are_several_packages(tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.ovf").write_bytes(descriptor())
    shutil.copy(tmp_path / "one.ovf", tmp_path / HREF)
    (tmp_path / "one.mf").write_bytes(manifest({"one.ovf": b"wrong"}))
    with open_package(str(tmp_path / "two.ovf")) as package:
        assert package.manifest_file is None
    with pytest.raises(AmbiguousImage, match="2 OVF descriptors: 'one.ovf', 'two.ovf'"):
        open_package(str(tmp_path))
