# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The conformance list: a package for each code, which has this defect and no other; and what VMware's own tests call valid."""

from __future__ import annotations

import gzip
import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import ImageError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.codes import ERRORS, NOTES
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.opening import open_package
from build_ova import NAME, descriptor, manifest, pack

GUIDE = Path(__file__).resolve().parents[6] / "docs/docsite/rst/guide_packages.rst"
PACKAGES = Path(__file__).resolve().parents[6] / "plugins/module_utils/_engine/packages"
HREF = f"{NAME}-disk1.vmdk"
DATA = b"not really a disk" * 100
NOTES_TXT = b"read me"
NEVER_HERE = {
    "capacity_mismatch": "takes a look at the disks: test_images.py",
    "format_mismatch": "the same",
    "manifest_missing_file": "is found by verifying: test_package.py",
    "manifest_unlisted_file": "the same",
    "digest_mismatch": "verifying fails with it",
    "signature_invalid": "takes a certificate: below",
    "signature_not_tried": "the same",
}


def ovf(*changes, **arguments):
    """The descriptor with texts in it replaced."""
    text = descriptor(**{"size": len(DATA), **arguments}).decode()
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text.encode()


def more_files(*files):
    return "</References>", "".join(f'<File ovf:id="{name}" ovf:href="{href}" ovf:size="{size}"/>' for name, href, size in files) + "</References>"


def more_disks(*disks):
    form = 'ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"'
    return "</DiskSection>", "".join(f'<Disk ovf:diskId="{name}" ovf:capacity="1" {form} {rest}/>' for name, rest in disks) + "</DiskSection>"


def item(number, host, kind=17):
    return (
        f"<Item><rasd:ElementName>x</rasd:ElementName><rasd:HostResource>{host}</rasd:HostResource>"
        f"<rasd:InstanceID>{number}</rasd:InstanceID><rasd:ResourceType>{kind}</rasd:ResourceType></Item>"
    )


def between(start, end):
    """A change that takes a part of the descriptor out."""
    text = descriptor(size=len(DATA)).decode()
    return text[text.index(start) : text.index(end) + len(end)], ""


def parts(text=None, *files, mf=None, mf_name=f"{NAME}.mf", algorithm="sha256"):
    """Descriptor, manifest, files."""
    text = ovf() if text is None else text
    files = files or ((HREF, DATA),)
    return [(f"{NAME}.ovf", text), (mf_name, manifest({f"{NAME}.ovf": text, **dict(files)}, algorithm) if mf is None else mf), *files]


SOUND = parts()
LISTED = SOUND[1][1]
TWO = parts(ovf(more_files(("notes", "notes.txt", len(NOTES_TXT)))), (HREF, DATA), ("notes.txt", NOTES_TXT))
HARDWARE = between("<VirtualHardwareSection>", "</VirtualHardwareSection>")[0]
SYSTEM = between("<VirtualSystem ", "</VirtualSystem>")[0]
PRODUCT = '<ProductSection><Info>x</Info><Property ovf:key="{}" ovf:type="string"/><Property ovf:key="{}" ovf:type="string"/></ProductSection>'
NAMESPACE = '<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"'


def pieces(size, numbering, data=DATA):
    return [(HREF + numbering.format(number), data[at : at + size]) for number, at in enumerate(range(0, len(data), size))]


def link(name, target):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info, None


# Code → members of the archive, or a descriptor.
CASES = {
    "ovf_not_first": [*SOUND[1:], SOUND[0]],
    "manifest_misplaced": [TWO[0], TWO[2], TWO[1], TWO[3]],
    "files_out_of_order": [TWO[0], TWO[1], TWO[3], TWO[2]],
    "unsafe_member_name": [*SOUND, ("../out", b"")],
    "duplicate_member": [*SOUND, ("twice", b"1"), ("twice", b"2")],
    "appledouble_ignored": [*SOUND, (f"._{NAME}.ovf", b"")],
    "unlisted_file": [*SOUND, ("stray", b"")],
    "missing_file": SOUND[:2],
    "unsafe_href": parts(ovf(href="../x.vmdk"))[:2],
    "unusable_file": [*TWO[:2], link(HREF, "notes.txt"), TWO[3]],
    "href_differs_in_case": ovf(href=HREF.upper()),
    "href_not_a_uri": parts(ovf(href="a disk.vmdk"), ("a disk.vmdk", DATA)),
    "file_size_mismatch": ovf(size=5),
    "duplicate_file_id": parts(ovf(more_files(("file1", "notes.txt", len(NOTES_TXT)))), (HREF, DATA), ("notes.txt", NOTES_TXT)),
    "duplicate_href": ovf(more_files(("file2", HREF, len(DATA)))),
    "manifest_in_references": ovf(more_files(("mf", f"{NAME}.mf", len(LISTED)))),
    "unknown_compression": ovf(file_attributes='ovf:compression="bzip2"'),
    "chunks_damaged": parts(ovf(file_attributes='ovf:chunkSize="500"'), *pieces(500, ".{:09d}")[:-1]),
    "chunks_undeclared": parts(ovf(), *pieces(500, ".{:09d}")),
    "chunks_absent": ovf(file_attributes='ovf:chunkSize="500"'),
    "chunks_misnumbered": parts(ovf(file_attributes='ovf:chunkSize="500"'), *pieces(500, ".{:d}")),
    "manifest_malformed": parts(mf=b"rubbish"),
    "manifest_grammar": parts(mf=LISTED.replace(b"(", b" (")),
    "manifest_duplicate": parts(mf=LISTED + LISTED.splitlines()[0]),
    "manifest_lists_itself": parts(mf=LISTED + b"SHA256(appliance.mf)= " + b"0" * 64),
    "manifest_extra_file": [*parts(mf=LISTED + manifest({"stray": b""})), ("stray", b"")],
    "base_name_differs": parts(mf_name="other.mf"),
    "certificate_without_manifest": [SOUND[0], (f"{NAME}.cert", b"x"), SOUND[2]],
    "signature_malformed": [*SOUND[:2], (f"{NAME}.cert", b"x"), SOUND[2]],
    "unknown_namespace": ovf((NAMESPACE, NAMESPACE.replace("envelope/1", "envelope/3"))),
    "required_section_unknown": ovf(extra_sections="<vmw:StrangeSection><Info>x</Info></vmw:StrangeSection>"),
    "required_value_missing": ovf(extra_sections='<ProductSection><Info>x</Info><Property ovf:key="k"/></ProductSection>'),
    "bad_number": ovf((f'ovf:size="{len(DATA)}"', 'ovf:size="-1"')),
    "nonstandard_unit": ovf(("byte * 2^20", "MegaBytes")),
    "capacity_unknown": ovf(capacity="x"),
    "populated_size_too_large": ovf(disk_attributes=f'ovf:populatedSize="{(64 << 20) + 1}"'),
    "format_missing": ovf(('ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"', "")),
    "format_unknown": ovf(("http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized", "nofmt")),
    "duplicate_disk_id": ovf(more_disks(("vmdisk1", ""))),
    "dangling_file_ref": ovf(('ovf:fileRef="file1"', 'ovf:fileRef="file9"')),
    "dangling_disk_ref": ovf(extra_items=item(9, "ovf:/disk/vmdisk9")),
    "dangling_parent_ref": ovf(disk_attributes='ovf:parentRef="vmdisk9"'),
    "disk_file_shared": ovf(more_disks(("two", 'ovf:fileRef="file1"')), extra_items=item(9, "ovf:/disk/two")),
    "disks_out_of_order": parts(
        ovf(
            ('ovf:fileRef="file1"', 'ovf:fileRef="two"'),
            more_files(("two", "two", 1)),
            more_disks(("2", 'ovf:fileRef="file1"')),
            extra_items=item(9, "/disk/2"),
        ),
        (HREF, DATA),
        ("two", b"2"),
    ),
    "no_system": ovf((SYSTEM, "")),
    "duplicate_system_id": ovf((SYSTEM, SYSTEM + SYSTEM)),
    "duplicate_instance_id": ovf(extra_items=item(5, "", kind=1)),
    "dangling_item_parent": ovf(("<rasd:Parent>3<", "<rasd:Parent>9<")),
    "duplicate_property": ovf(extra_sections=PRODUCT.format("k", "k")),
    "undefined_network": ovf(("<rasd:Connection>VM Network<", "<rasd:Connection>LAN<")),
    "os_unknown": ovf(('ovf:id="101"', 'ovf:id="999"')),
    "more_warnings": [*SOUND, *((f"stray{number}", b"") for number in range(600))],
    "no_manifest": [SOUND[0], SOUND[2]],
    "weak_digest": parts(algorithm="sha1"),
    "remote_file": parts(ovf(href="http://example.com/disk.vmdk"))[:2],
    "file_size_absent": ovf(size=None),
    "disk_not_attached": ovf(more_disks(("two", ""))),
    "system_type_absent": ovf(("<vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType>", "")),
    "several_hardware_sections": ovf((HARDWARE, HARDWARE + HARDWARE)),
    "os_absent": ovf(between("<OperatingSystemSection", "</OperatingSystemSection>")),
}
COME_WITH_IT = {
    "duplicate_member": {"unlisted_file"},
    "manifest_extra_file": {"unlisted_file"},
    "bad_number": {"file_size_absent"},
    "more_warnings": {"unlisted_file"},
}


def codes(path):
    with open_package(str(path)) as package:
        return [warning.code for warning in package.warnings]


def packed(path, members, form=tarfile.USTAR_FORMAT):
    pack(path, members, form)
    return path


@pytest.mark.parametrize("code", CASES)
def test_a_defect_and_no_other(code, tmp_path):
    members = CASES[code] if isinstance(CASES[code], list) else parts(CASES[code])
    found = codes(packed(tmp_path / "test.ova", members))
    assert set(found) == {code, *COME_WITH_IT.get(code, ())}
    assert found.count(code) == 1


def test_a_sound_package_in_every_shape_has_no_warning(tmp_path):
    assert codes(packed(tmp_path / "1.ova", SOUND)) == []
    assert codes(packed(tmp_path / "2.ova", TWO)) == []
    assert codes(packed(tmp_path / "manifest last.ova", [TWO[0], *TWO[2:], TWO[1]])) == []
    assert codes(packed(tmp_path / "pieces.ova", parts(ovf(file_attributes='ovf:chunkSize="500"'), *pieces(500, ".{:09d}")))) == []
    gz = parts(ovf(file_attributes='ovf:compression="gzip"'))
    assert codes(packed(tmp_path / "gzip.ova", gz)) == []
    for name, data in SOUND:
        (tmp_path / name).write_bytes(data)
    assert codes(tmp_path / f"{NAME}.ovf") == []


@pytest.mark.parametrize("version", ["1.1", "2.1"])
def test_what_the_standard_allows_is_not_reported(version, tmp_path):
    """Ranges and configurations repeat an InstanceID; sections may be marked to be ignored; units may have spaces or none."""
    items = "".join(
        f"<Item {attribute}><rasd:ElementName>x</rasd:ElementName><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>3</rasd:ResourceType></Item>"
        for attribute in ('ovf:bound="min"', 'ovf:bound="max"', 'ovf:configuration="big"')
    )
    text = ovf(
        ("byte * 2^20", "byte*2 ^ 20"),
        more_disks(("child", 'ovf:parentRef="vmdisk1"')),
        extra_items=items + item(8, "ovf:/disk/child"),
        extra_sections='<vmw:Strange ovf:required="false"/>' + PRODUCT.format("a", "b"),
    )
    if version == "2.1":
        text = text.replace(b"ovf/envelope/1", b"ovf/envelope/2")
    assert codes(packed(tmp_path / "test.ova", parts(text))) == []


@pytest.mark.parametrize("form", ["gnu", "pax", "v7", "ustar"])
def test_only_ustar_is_ustar(form, tmp_path, program):
    """GNU tar writes them all."""
    for name, data in SOUND:
        (tmp_path / name).write_bytes(data)
    subprocess.run([program("tar"), f"--format={form}", "-cf", "test.ova", *(name for name, _data in SOUND)], cwd=tmp_path, check=True)
    assert codes(tmp_path / "test.ova") == ["not_ustar"] * (form != "ustar")


def test_large_members_and_long_names_are_not_ustar(tmp_path):
    long = "d/" * 140 + HREF
    assert codes(packed(tmp_path / "long.ova", parts(ovf(href=long), (long, DATA)), tarfile.PAX_FORMAT)) == ["not_ustar"]


def test_compressed_archives(tmp_path):
    packed(tmp_path / "test.ova", SOUND)
    (tmp_path / "test.ova.gz").write_bytes(gzip.compress((tmp_path / "test.ova").read_bytes()))
    assert codes(tmp_path / "test.ova.gz") == ["compressed_archive"]
    with zipfile.ZipFile(tmp_path / "test.zip", "w") as archive:
        for name, data in SOUND:
            archive.writestr(name, data)
    assert codes(tmp_path / "test.zip") == ["compressed_archive"]


@pytest.fixture(scope="module")
def signed(program, tmp_path_factory):
    """A function that gives a .cert file for a manifest."""
    folder = tmp_path_factory.mktemp("signed")

    def sign(data, key="rsa:2048", algorithm="sha256", name=f"{NAME}.mf"):
        if not (folder / f"{key}.key").exists():
            run = [program("openssl"), "req", "-x509", "-newkey", key, "-nodes", "-subj", "/CN=x", "-keyout", f"{key}.key", "-out", f"{key}.cert"]
            subprocess.run(run, cwd=folder, check=True, stderr=subprocess.DEVNULL)
        (folder / "mf").write_bytes(data)
        value = b"\1" * 64
        if key != "ed25519":
            value = subprocess.run(
                [program("openssl"), "dgst", f"-{algorithm}", "-sign", f"{key}.key", "mf"], cwd=folder, check=True, stdout=subprocess.PIPE
            ).stdout
        return f"{algorithm.upper()}({name})= {value.hex()}\n".encode() + (folder / f"{key}.cert").read_bytes()

    return sign


def test_signatures(signed, tmp_path):
    cert = signed(LISTED)
    for number, (how, code) in enumerate(
        (
            (cert, None),
            (signed(LISTED + b"\n"), "signature_invalid"),
            (signed(LISTED, key="ed25519"), "signature_not_tried"),
            (signed(LISTED, algorithm="sha1"), "weak_digest"),
            (signed(LISTED, name="other.mf"), "base_name_differs"),
        )
    ):
        members = [*SOUND[:2], (f"{NAME}.cert", how), SOUND[2]]
        assert codes(packed(tmp_path / f"{number}.ova", members)) == [code] * (code is not None)
    assert codes(packed(tmp_path / "last.ova", [*SOUND, (f"{NAME}.cert", cert)])) == []
    assert codes(packed(tmp_path / "both last.ova", [SOUND[0], SOUND[2], SOUND[1], (f"{NAME}.cert", cert)])) == []
    assert codes(packed(tmp_path / "turned.ova", [SOUND[0], SOUND[2], (f"{NAME}.cert", cert), SOUND[1]])) == ["manifest_misplaced"]


def test_all_codes_are_tested_and_no_others_are_used():
    assert not set(ERRORS) & set(NOTES)
    assert {*CASES, *NEVER_HERE, "not_ustar", "compressed_archive"} == {*ERRORS, *NOTES}
    used = set()
    for path in PACKAGES.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        used |= set(re.findall(r'(?:PackageWarning\(|_warn\(|yield )\s*"([a-z_]+)"', text))
    assert len(used) > 40
    assert used <= {*ERRORS, *NOTES}


def test_the_guide_lists_exactly_these():
    tables = re.split(r"^Notes\n", GUIDE.read_text(encoding="utf-8").partition("\nErrors\n")[2], flags=re.MULTILINE)
    assert len(tables) == 2
    for table, wanted in zip(tables, (ERRORS, NOTES)):
        rows = re.findall(r"^   \* - ``([a-z_]+)``\n     - (.+(?:\n       .+)*)", table, re.MULTILINE)
        assert [code for code, _meaning in rows] == list(wanted)
        assert {code: " ".join(meaning.split()) for code, meaning in rows} == wanted


def test_what_vmware_tests_its_own_tools_with(shared):
    """Of OVF 1 descriptors that ovftool has to accept (Pos), none breaks a rule but those that only its lax mode takes."""
    root = shared / "ovf-corpus/govmomi/external/OVFToolTemplates/OVF/xmltestfiles"
    not_there = {"missing_file", "unsafe_href", "unusable_file", "remote_file"}  # the disks are not in the corpus
    lax = {"nonstandard_unit", "href_not_a_uri"}
    told = {"Pos": [], "Neg": []}
    for path in sorted(root.rglob("*.ovf")):
        try:
            with open_package(str(path)) as package:
                if package.envelope.version != "0.9" and path.parent.name in told:
                    told[path.parent.name].append({warning.code for warning in package.warnings} & set(ERRORS) - not_there - lax)
        except ImageError:
            continue
    assert len(told["Pos"]) > 50
    assert [codes for codes in told["Pos"] if codes] == []
    assert len([codes for codes in told["Neg"] if codes]) >= 25
