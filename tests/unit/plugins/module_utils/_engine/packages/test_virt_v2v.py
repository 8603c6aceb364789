# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virt-v2v reads the same in a package: hardware, the disks in their order, and every byte of them."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import subprocess
import tarfile

import pytest
import virt_v2v
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.opening import open_package
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.digest import content_digests
from build_ova import NAME, build_ova, descriptor, manifest
from build_packages import BUILDERS

HREF = f"{NAME}-disk1.vmdk"
SECOND = f"{NAME}-disk2.vmdk"
TWO_DISKS = {
    "</References>": f'<File ovf:href="{SECOND}" ovf:id="file2"/></References>',
    "</DiskSection>": '<Disk ovf:capacity="3145728" ovf:diskId="vmdisk2" ovf:fileRef="file2" ovf:format="x"/></DiskSection>',
}
SECOND_DISK = """
<Item>
  <rasd:AddressOnParent>1</rasd:AddressOnParent><rasd:ElementName>Hard disk 2</rasd:ElementName>
  <rasd:HostResource>ovf:/disk/vmdisk2</rasd:HostResource><rasd:InstanceID>9</rasd:InstanceID>
  <rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType>
</Item>
<Item>
  <rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>CD</rasd:ElementName><rasd:InstanceID>10</rasd:InstanceID>
  <rasd:Parent>3</rasd:Parent><rasd:ResourceType>15</rasd:ResourceType>
</Item>"""


@pytest.fixture(scope="module")
def v2v(program):
    program("virt-v2v")


@pytest.fixture(scope="module")
def files(tmp_path_factory, v2v, qemu_img):
    """Descriptor and disks of a package: their bytes by name."""
    folder = tmp_path_factory.mktemp("files")
    found = {}
    for number, name in enumerate((HREF, SECOND)):
        chance = random.Random(number)
        content = bytearray(3 << 20)
        content[510:512] = b"\x55\xaa"
        for at in range(4096, len(content), 400_000):
            content[at : at + 100_000] = chance.randbytes(50_000) + b"REPEATED." * 5_555 + bytes(5)
        (folder / "raw").write_bytes(content)
        subprocess.run([qemu_img, "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", folder / "raw", folder / "vmdk"], check=True)
        found[name] = (folder / "vmdk").read_bytes()
    text = descriptor(capacity=3 << 20, extra_items=SECOND_DISK).decode()
    for old, new in TWO_DISKS.items():
        text = text.replace(old, new)
    return {f"{NAME}.ovf": text.encode(), **found}


def same(path, folder):
    """Whether both read the same; virt-v2v's answer, to see that it is one."""
    theirs = virt_v2v.read(path, folder)
    with open_package(str(path)) as package:
        system = package.describe()["systems"][0]
    digests = [ours(path, number) for number in range(len(system["disks"]))]
    assert virt_v2v.differences(theirs, system, digests) == {}
    return theirs


def ours(path, number):
    """sha256 of a disk."""
    with open_source(Request(str(path), disk=str(number))) as source:
        return content_digests(source.reader, ["sha256"])["sha256"]


def test_the_appliance(tmp_path, v2v):
    build_ova(tmp_path / "test.ova")
    theirs = same(tmp_path / "test.ova", tmp_path / "v2v")
    assert theirs[:7] == (NAME, 256, 1, None, "bios", ["scsi"], [])
    assert theirs.networks == [("VM Network", ["e1000"])]
    assert len(theirs.digests) == 1


@pytest.mark.parametrize(("wrapper", "algorithm"), [("folder", "sha1"), ("tar", "sha256"), ("tar.gz", "sha1"), ("tar.xz", "sha256"), ("zip", "sha256")])
def test_what_it_may_be_wrapped_in(tmp_path, files, wrapper, algorithm):
    place = tmp_path / "package"
    place.mkdir()
    for name, data in {**files, f"{NAME}.mf": manifest(files, algorithm)}.items():
        (place / name).write_bytes(data)
    path = place
    if wrapper == "zip":
        path = shutil.make_archive(str(tmp_path / "test"), "zip", place)
    elif wrapper != "folder":
        path = tmp_path / "test.ova"
        with tarfile.open(path, f"w:{wrapper[4:]}") as archive:
            for name in sorted(os.listdir(place), reverse=True):
                archive.add(place / name, name)
    theirs = same(path, tmp_path / "v2v")
    assert theirs.buses == ["scsi", "scsi"]
    assert theirs.removable == ["cdrom"]
    assert len(set(theirs.digests)) == 2


@pytest.mark.parametrize("wrapper", ["folder", "tar"])
def test_compressed_disks(tmp_path, files, wrapper):
    place = tmp_path / "package"
    place.mkdir()
    for name, data in files.items():
        packed = gzip.compress(data, mtime=0) if name == HREF else data
        (place / name).write_bytes(packed.replace(f'ovf:href="{HREF}"'.encode(), f'ovf:href="{HREF}" ovf:compression="gzip"'.encode()))
    path = place
    if wrapper == "tar":
        path = tmp_path / "test.ova"
        with tarfile.open(path, "w") as archive:
            for name in sorted(files, reverse=True):
                archive.add(place / name, name)
    assert len(set(same(path, tmp_path / "v2v").digests)) == 2


@pytest.mark.parametrize(
    "name",
    [
        "virt-v2v/test-i-ova-gz.ovf",
        "virt-v2v/test-i-ova-two-disks.ovf",
        "cot/csr1000v_2017.ovf",
        "govmomi/external/OVFToolTemplates/OVF/xmltestfiles/BAT/nvapp-disks-2-flat.ovf",
        "govmomi/external/published_lib/MicroCoreLinuxSigned/MicroCore-Linux-signed.ovf",
        "pve-storage/Win_2008_R2_two-disks.ovf",
    ],
)
def test_published_descriptors(tmp_path, shared, v2v, qemu_img, name):
    virt_v2v.make_package(shared / "ovf-corpus" / name, tmp_path / "package", qemu_img)
    same(tmp_path / "package", tmp_path / "v2v")


def test_pieces(tmp_path, files):
    """virt-v2v takes the last piece of a disk for the whole. What it reads where the disks are whole is what we read in the pieces."""
    whole, pieces = tmp_path / "whole", tmp_path / "pieces"
    for place in (whole, pieces):
        place.mkdir()
        for name, data in files.items():
            (place / name).write_bytes(data)
    ovf = pieces / f"{NAME}.ovf"
    ovf.write_bytes(ovf.read_bytes().replace(f'ovf:href="{HREF}"'.encode(), f'ovf:href="{HREF}" ovf:chunkSize="65536"'.encode()))
    (pieces / HREF).unlink()
    for start in range(0, len(files[HREF]), 65536):
        (pieces / f"{HREF}.{start // 65536:09}").write_bytes(files[HREF][start : start + 65536])
    theirs = virt_v2v.read(whole, tmp_path / "v2v")
    assert [ours(pieces, number) for number in range(2)] == theirs.digests


# What virt-v2v 2.2 makes of the packages that nobody publishes; what the builder says of each is tested elsewhere.
KINDS = {
    **dict.fromkeys(
        ["box_virtualbox", "compressed", "one_piece_without_number", "solaris", "snapshots", "in_tar", "in_tar_gz", "in_tar_xz", "in_zip", "in_stored_zip"],
        "the same",
    ),
    **dict.fromkeys(
        ["box_libvirt", "box_libvirt_disks", "box_qemu_zip", "box_hyperv", "box_vmware", "gce", "images_in_zip", "ova_in_zip"], "no .ovf file was found"
    ),
    **dict.fromkeys(["chunked", "one_piece"], "unsupported file format"),  # a descriptor; of the folder it reads the last piece
    **dict.fromkeys(["in_tar_bz2", "in_tar_zst"], "unsupported file format"),
    **dict.fromkeys(["empty_disk", "property_capacity"], "error parsing disk fileRef"),
    "names": "which was not found in the OVA archive",  # it does not decode percent escapes
    "ovirt": "expecting XML expression to return an integer",
    "compressed_chunked": "error uncompressing",
    "parent_ref": "qemu-nbd did not start up",
    "collection": "virt-v2v sees nothing in it",
    "xenserver": "different",  # it sees no disks
    "powervc": "different",  # it takes the disks in the order of their Items, not of their addresses
    "chunked_listed_whole": "different",  # it takes the last piece for the whole
    "configurations": "different",  # it takes the memory of another configuration than the default
}


@pytest.mark.parametrize("name", BUILDERS)
def test_what_nobody_publishes(tmp_path, v2v, name):
    built = BUILDERS[name](tmp_path)
    (tmp_path / "theirs").mkdir()
    assert KINDS[name] in virt_v2v.compare(built.path, tmp_path / "theirs")
