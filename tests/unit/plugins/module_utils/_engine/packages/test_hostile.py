# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages made to do harm: each is refused in words, fast, with little memory, and nothing outside is read."""

from __future__ import annotations

import gzip
import os
import random
import tarfile
import time
import tracemalloc

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import (
    AccessError,
    AmbiguousImage,
    CorruptImage,
    ImageError,
    InvalidImage,
    LimitExceeded,
    UnsafeReference,
    UnsupportedImage,
)
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.opening import open_package
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from build_ova import descriptor, manifest, pack

SECRET = b"what nobody may read"
HREF = "appliance-disk1.vmdk"


@pytest.fixture
def place(tmp_path):
    """A folder for packages, beside a file that is none of theirs."""
    (tmp_path / "secret").write_bytes(SECRET)
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


def ova(place, *members):
    path = str(place / "test.ova")
    pack(path, list(members))
    return path


def special(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, None


def refuse_disk(path, kind, message):
    with open_package(path) as package:
        package.describe()
        with pytest.raises(kind, match=message):
            package.open_disk(package.disks()[0])


@pytest.mark.parametrize(
    ("href", "message"),
    [
        ("../secret", "leads out of the package's folder"),
        ("..%2fsecret", "leads out of the package's folder"),
        ("x/../../secret", "leads out of the package's folder"),
        ("%2e%2e/secret", "leads out of the package's folder"),
        ("/etc/hostname", "leads out of the package's folder"),
        ("%2fetc%2fhostname", "leads out of the package's folder"),
        ("..", "leads out of the package's folder"),
        ("", "leads out of the package's folder"),
        ("http://example.com/disk.vmdk", "is on a network"),
        ("file:///etc/hostname", "is on a network"),
        ("ftp://h/d", "is on a network"),
    ],
)
@pytest.mark.parametrize("kind", ["ova", "folder"])
def test_hrefs_that_lead_out(place, href, message, kind):
    if kind == "ova":
        path = ova(place, ("vm.ovf", descriptor(href)), ("../secret", SECRET), ("/etc/hostname", SECRET))
    else:
        (place / "vm.ovf").write_bytes(descriptor(href))
        path = str(place)
    refuse_disk(path, UnsafeReference, message)


def test_a_folder_that_only_begins_with_the_same_name_is_another(place):
    sibling = place.parent / "in-other"
    sibling.mkdir()
    (sibling / "d").write_bytes(SECRET)
    (place / "link").symlink_to(sibling)
    (place / "vm.ovf").write_bytes(descriptor("link/d"))
    refuse_disk(str(place), UnsafeReference, "leads through a symbolic link")


def test_links_and_devices_in_a_folder(place):
    (place / "vm.ovf").write_bytes(descriptor("d"))
    (place / "d").symlink_to(place.parent / "secret")
    refuse_disk(str(place), UnsafeReference, "is a symbolic link")
    (place / "d").unlink()
    os.mkfifo(place / "d")
    refuse_disk(str(place), UnsafeReference, "not a regular file")
    (place / "d").unlink()
    (place / "d").mkdir()
    refuse_disk(str(place), UnsafeReference, "not a regular file")


def test_a_manifest_that_names_a_file_outside(place):
    (place / "vm.ovf").write_bytes(descriptor(HREF))
    (place / HREF).write_bytes(b"")
    (place / "vm.mf").write_bytes(manifest({"../secret": SECRET}))
    with open_package(str(place)) as package, pytest.raises(UnsafeReference, match="leads out"):
        package.verify_manifest()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_members_that_are_no_files(place, kind):
    refuse_disk(ova(place, ("vm.ovf", descriptor()), special(HREF, kind, "/etc/hostname")), UnsafeReference, "is no file, but a ")
    with pytest.raises(UnsafeReference, match="'vm.ovf' is no file"):
        open_package(ova(place, special("vm.ovf", kind, "/etc/hostname")))


def test_members_of_one_name(place):
    refuse_disk(ova(place, ("vm.ovf", descriptor()), (HREF, b"1"), (f"./{HREF}", b"2")), AmbiguousImage, "2 members called")
    refuse_disk(ova(place, ("vm.ovf", descriptor()), (HREF, b"1"), special(HREF, tarfile.SYMTYPE, "x")), AmbiguousImage, "2 members called")
    with pytest.raises(AmbiguousImage, match="2 members called 'vm.ovf'"):
        open_package(ova(place, ("vm.ovf", descriptor()), ("vm.ovf", descriptor())))
    with pytest.raises(AmbiguousImage, match="2 OVF descriptors: 'vm.ovf', 'b.OVF'"):
        open_package(ova(place, ("vm.ovf", descriptor()), ("b.OVF", descriptor())))
    with open_package(ova(place, ("vm.ovf", descriptor()), ("vm.mf", b""), ("vm.mf", b""))) as package, pytest.raises(AmbiguousImage, match="'vm.mf'"):
        package.verify_manifest()


def test_what_is_no_package(place):
    for content, kind, message in (
        (b"", InvalidImage, "an empty file, not a package"),
        (b"text", InvalidImage, "not a package"),
        (b"<html/>", InvalidImage, "root element is 'html'"),
        (b"\xef\xbb\xbf <Envelope", InvalidImage, "not well-formed"),
        (b"\xff\xfe<\0E\0", InvalidImage, "not well-formed"),
    ):
        (place / "x").write_bytes(content)
        with pytest.raises(kind, match=message) as caught:
            open_package(str(place / "x"))
        assert caught.value.path == str(place / "x")
    for members, message in (([("a", b"text")], "no .ovf file"), ([("metadata.json", b"{}"), ("box.img", b"")], "names no provider")):
        with pytest.raises(InvalidImage, match=message):
            open_package(ova(place, *members))
    (place / "x").unlink()
    (place / "test.ova").unlink()
    with pytest.raises(InvalidImage, match="no .ovf file"):
        open_package(str(place))
    with pytest.raises(AccessError, match="no such file"):
        open_package(str(place / "none"))


def test_sparse_members_and_cut_archives(place):
    sparse = tarfile.TarInfo(HREF)
    sparse.type = tarfile.GNUTYPE_SPARSE
    with pytest.raises(UnsupportedImage, match="sparse file in the format of star"):
        open_package(ova(place, ("vm.ovf", descriptor()), (sparse, None)))
    path = ova(place, ("vm.ovf", descriptor()), (HREF, b"1" * 5000))
    with open(path, "r+b") as archive:
        archive.truncate(archive.read().index(b"1" * 5000) + 1000)
    with pytest.raises(CorruptImage, match="4000 of the 5000 bytes of member 'appliance-disk1.vmdk' are missing"):
        open_package(path)


def test_huge_descriptors_and_manifests_are_not_read(place):
    with pytest.raises(LimitExceeded, match="5242880 bytes"):
        open_package(ova(place, ("vm.ovf", bytes(5 << 20))))
    with open_package(ova(place, ("vm.ovf", descriptor()), ("vm.mf", bytes(5 << 20)))) as package, pytest.raises(LimitExceeded):
        package.verify_manifest()


def test_a_compressed_disk_of_zeros_ends_when_it_is_no_longer_plausible(place):
    zeros = gzip.compress(bytes(16 << 20), mtime=0) * 64
    path = ova(place, ("vm.ovf", descriptor(file_attributes='ovf:compression="gzip"')), (HREF, zeros))
    with pytest.raises(LimitExceeded, match="more than 250 times as many"):
        open_source(Request(path))
    with open_source(Request(path, max_size=1 << 30)) as source:
        assert source.reader.virtual_size == 1 << 30


NOTHING = "<rasd:InstanceID>1</rasd:InstanceID>"
FLOODS = {
    "Items with equal ids": descriptor(extra_items=f"<Item>{NOTHING}<rasd:ResourceType>17</rasd:ResourceType></Item>" * 9000),
    "Items that name what is not there": descriptor(
        extra_items="".join(f"<Item><rasd:ResourceType>17</rasd:ResourceType><rasd:HostResource>/disk/{n}</rasd:HostResource></Item>" for n in range(9000))
    ),
    "missing files": descriptor().replace(b"</References>", "".join(f'<File ovf:id="i{n}" ovf:href="h{n}"/>' for n in range(9000)).encode() + b"</References>"),
    "disks with equal ids": descriptor().replace(b"</DiskSection>", b'<Disk ovf:diskId="d" ovf:capacity="x"/>' * 9000 + b"</DiskSection>"),
    "systems": descriptor().replace(b"</Envelope>", b'<VirtualSystem ovf:id="x"/>' * 9000 + b"</Envelope>"),
    "properties": descriptor(extra_sections="<ProductSection>" + "<Property ovf:key='k' ovf:value='v'/>" * 9000 + "</ProductSection>"),
    "boot orders": descriptor(extra_sections="".join(f'<BootOrderSection type="disk" instanceId="{n}"/>' for n in range(40000))),
    "one long name": descriptor("n" * 4_000_000),
}


@pytest.mark.parametrize("name", FLOODS)
def test_floods_cost_neither_time_nor_memory(place, name):
    path = ova(place, ("vm.ovf", FLOODS[name]), *((f"m{number}", b"") for number in range(100)))
    start = time.process_time()
    with open_package(path) as package:
        package.describe()
    assert time.process_time() - start < 2
    tracemalloc.start()
    try:
        with open_package(path) as package:
            package.describe()
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()


def test_many_members_are_listed_fast(place):
    path = ova(place, ("vm.ovf", descriptor()), *((f"m{number}", b"") for number in range(20_000)))
    start = time.process_time()
    with open_package(path) as package:
        assert package.warnings[-1].code == "more_warnings"
        assert len(package.describe()["warnings"]) < 1000
    assert time.process_time() - start < 3


def test_random_damage_never_crashes(place):
    """Flipped bytes anywhere in headers, descriptor and manifest: a package or an ImageError, nothing else."""
    chance = random.Random(1)
    ovf = descriptor(size=4, extra_sections='<ProductSection><Property ovf:key="a" ovf:value="b"/></ProductSection>')
    path = ova(place, ("vm.ovf", ovf), ("vm.mf", manifest({"vm.ovf": ovf, HREF: b"disk"})), (HREF, b"disk"))
    with open(path, "rb") as archive:
        sound = archive.read()
    for _round in range(300):
        data = bytearray(sound)
        for _flip in range(chance.choice((1, 1, 2, 8))):
            data[chance.randrange(len(data) - 4096)] = chance.choice((0, 32, 34, 47, 60, 128, 255, chance.randrange(256)))
        if chance.random() < 0.1:
            del data[chance.randrange(len(data)) :]
        with open(path, "wb") as archive:
            archive.write(data)
        try:
            with open_package(path) as package:
                package.describe()
                package.verify_manifest()
                for disk in package.disks():
                    package.open_disk(disk)
        except ImageError:
            pass
