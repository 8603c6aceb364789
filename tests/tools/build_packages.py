# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages as programs make them, of kinds that nobody publishes: build_packages.py OUTDIR [NAME...]

Each builder of BUILDERS leaves one package in a folder, and tells the disks that it has, in boot order, with what the
guest sees of them. The command makes them all, with an expected.json beside each. How oVirt and XenServer lay out
theirs is read off their sources (pack_ova.py and OvfOvaWriter; readers of XenCenter's OVF).
"""

from __future__ import annotations

import json
import sys
import tarfile
import typing as t
from pathlib import Path

from build_boxes import BUILDERS  # with those of boxes and plain archives, to which ours are added
from package_parts import (
    ARCHIVES,
    GIB,
    GRAIN,
    KIB,
    MIB,
    Builder,
    Disk,
    Package,
    attributes,
    builder,
    content,
    delta_vmdk,
    disk_element,
    drive,
    envelope,
    file_element,
    guest,
    gzipped,
    hardware,
    image,
    item,
    overlay,
    package,
    pieces,
    scsi,
    system,
    tar,
    with_manifest,
    write_folder,
    zipped,
)

BLOCK, PAGE = 512, 4096
PIECE = 100_000


def one_disk(href: str = "vm-disk1.vmdk", stored: bytes | None = None, **more: t.Any) -> bytes:
    """VMware's descriptor of a system with one disk.

    :param stored: the file, for its size
    :param more: attributes of the File
    """
    hard = hardware(scsi(), drive("vmdisk1"))
    return envelope(file_element("file1", href, stored, **more), disk_element("vmdisk1", len(content()), "file1"), system("vm", hard))


# Programs' own dialects


def guid(number: int) -> str:
    return f"{number:08x}-1111-4222-8333-444444444444"


@builder
def ovirt(folder: Path) -> Package:
    """oVirt's OVA: written by hand in GNU's dialect, data at multiples of 4 KiB behind members `pad`, no end padding.

    The disks are qcow2 written into members of a size that was an upper bound; GiB are rounded up; the second boots.
    """
    disks = [Disk(guid(10), content(1), (guid(1),), "qcow2", "virtio"), Disk(guid(11), content(2), (guid(2),), "qcow2", "scsi")]
    stored = [image(disk.content, "qcow2") + bytes(MIB + number * BLOCK) for number, disk in enumerate(disks)]
    allocated = 3 * MIB // 2
    files = "".join(file_element(disk.files[0], disk.files[0]).replace("/>", f"{attributes(size=allocated)}/>") for disk in disks)
    said = [
        ("http://www.gnome.org/~markmc/qcow-image-format.html", "COW", "VirtIO"),
        ("http://www.vmware.com/specifications/vmdk.html#sparse", "RAW", "VirtIO_SCSI"),
    ]
    sections = ""
    for disk, (uri, volume, interface), boot in zip(disks, said, ("false", "true")):
        more = attributes(
            populatedSize=allocated, parentRef="", volume_format=volume, volume_type="Sparse", disk_interface=interface, boot=boot, disk_alias="vm_Disk"
        )
        sections += disk_element(disk.id, -(-len(disk.content) // GIB), disk.files[0], "byte * 2^30", uri, more)
    items = [
        item(17, disk.files[0], "vm_Disk", HostResource=f"ovf:/disk/{disk.id}", Parent=guid(0), extra="        <Type>disk</Type><BootOrder>0</BootOrder>\n")
        for disk in disks
    ]
    monitor = item(20, guid(5), "Graphical Controller", extra="        <Type>video</Type><Device>qxl</Device>\n", VirtualQuantity=1)
    body = system("vm", hardware(*items, monitor, kind="ENGINE 4.5.0.0"), os=guest(80, "rhel_8x64", ' ovirt:id="30" ovf:required="false"'))
    ovf = envelope(files, sections, body, namespaces=' xmlns:ovirt="http://www.ovirt.org/ovf"')

    out = bytearray()
    for name, data in (("vm.ovf", ovf), *((disk.files[0], data) for disk, data in zip(disks, stored))):
        rest = (len(out) + BLOCK) % PAGE
        if name != "vm.ovf" and rest:
            out += _gnu_member("pad", bytes(PAGE - rest - BLOCK))
        out += _gnu_member(name, data)
    return package(folder / "vm.ova", bytes(out + bytes(2 * BLOCK)), "ova", "oVirt", {"vm": disks[::-1]})


def _gnu_member(name: str, data: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info.tobuf(format=tarfile.GNU_FORMAT) + data + bytes(-len(data) % BLOCK)


@builder
def xenserver(folder: Path) -> Package:
    """XenCenter's OVA: VHDs, storage extents (19) that are called as the disks, and their place in Connection."""
    disks = [Disk(guid(number), content(number + 1), (f"{guid(number)}.vhd",), "vhd") for number in range(2)]
    stored = {disk.files[0]: image(disk.content, "vhd") for disk in disks}
    files = "".join(file_element(disk.files[0], disk.files[0], data) for disk, data in zip(disks, stored.values()))
    said = "".join(
        disk_element(disk.id, len(disk.content), disk.files[0], "byte", "http://www.microsoft.com/technet/virtualserver/downloads/vhdspec.mspx", more)
        for disk, more in zip(disks, (attributes("xenovf", isBootable="true"), attributes("xenovf", isBootable="false")))
    )
    items = [
        item(19, disk.id, f"Hard Disk {place}", Connection=f"device={place},bootable={place == 0},mode=w", Description="Hard Disk Image").replace(
            "<Item>", '<Item ovf:required="false">'
        )
        for place, disk in reversed(list(enumerate(disks)))
    ]
    other = '      <xenovf:VirtualSystemOtherConfigurationData ovf:required="false" Name="HVM_boot_policy"><xenovf:Value>BIOS order</xenovf:Value>'
    hard = hardware(*items, kind="hvm-3.0-unknown", extra=f"{other}</xenovf:VirtualSystemOtherConfigurationData>\n")
    ovf = envelope(files, said, system("vm", hard), namespaces=' xmlns:xenovf="http://schemas.citrix.com/ovf/envelope/1"')
    return package(folder / "vm.ova", tar({"vm.ovf": ovf, **stored}), "ova", "XenServer", {"vm": disks})


@builder
def powervc(folder: Path) -> Package:
    """IBM PowerVC's OVA: raw disks, whose place is an Address of libvirt's; the first in the descriptor is the second."""
    disks = [Disk(f"disk{number}", content(number), (f"volume{number}",), "raw") for number in (1, 2)]
    files = "".join(file_element(f"file_{disk.id}", disk.files[0], disk.content) for disk in disks)
    said = "".join(disk_element(disk.id, len(disk.content), f"file_{disk.id}", "byte", "http://en.wikipedia.org/wiki/Byte") for disk in disks)
    items = [
        item(17, 10 + target, disk.id, Address=f"{{type=drive,bus=0,controller=0,target={target},unit=0}}", HostResource=f"ovf:/disk/{disk.id}")
        for target, disk in reversed(list(enumerate(disks)))
    ]
    ovf = envelope(files, said, system("vm", hardware(*items)), namespaces=' xmlns:vim="http://www.ibm.com/xmlns/ovf/extension/vim/2"')
    return package(folder / "vm.ova", tar({"vm.ovf": ovf, **{disk.files[0]: disk.content for disk in disks}}), "ova", "IBM", {"vm": disks})


# Files in pieces, compressed, or both


def in_pieces(
    folder: Path, stored: bytes, href: str, parts: dict[str, bytes], *, archive: bool, listed: dict[str, bytes] | None = None, **more: t.Any
) -> Package:
    """A package whose disk is in pieces, as an OVA or a folder."""
    ovf = {"vm.ovf": one_disk(href=href, stored=stored, **more)}
    files = with_manifest("vm.ovf", {**ovf, **parts}, listed={**ovf, **(listed or parts)})
    systems = {"vm": [Disk("vmdisk1", content(), tuple(parts), bus="scsi")]}
    if archive:
        return package(folder / "vm.ova", tar(files), "ova", "VMware", systems)
    return Package(write_folder(folder / "vm", files) / "vm.ovf", "ovf", "VMware", systems)


@builder
def chunked(folder: Path) -> Package:
    """A folder with a disk in pieces; the manifest lists the pieces."""
    stored = image(content())
    return in_pieces(folder, stored, "vm-disk1.vmdk", pieces("vm-disk1.vmdk", stored, PIECE), archive=False, chunkSize=PIECE)


@builder
def chunked_listed_whole(folder: Path) -> Package:
    """An OVA with a disk in pieces; the manifest lists the pieces, and the whole file that is not there."""
    stored = image(content())
    parts = pieces("vm-disk1.vmdk", stored, PIECE)
    return in_pieces(folder, stored, "vm-disk1.vmdk", parts, archive=True, listed={**parts, "vm-disk1.vmdk": stored}, chunkSize=PIECE)


@builder
def compressed(folder: Path) -> Package:
    """An OVA with a disk that is compressed as a whole."""
    stored = gzipped(image(content()))
    return in_pieces(folder, stored, "vm-disk1.vmdk.gz", {"vm-disk1.vmdk.gz": stored}, archive=True, compression="gzip")


@builder
def compressed_chunked(folder: Path) -> Package:
    """Compressed first, then cut; the manifest lists the pieces."""
    stored = gzipped(image(content()))
    parts = pieces("vm-disk1.vmdk.gz", stored, PIECE)
    return in_pieces(folder, stored, "vm-disk1.vmdk.gz", parts, archive=True, compression="gzip", chunkSize=PIECE)


@builder
def one_piece(folder: Path) -> Package:
    """A disk smaller than a piece is one, with a number."""
    stored = image(content())
    return in_pieces(folder, stored, "vm-disk1.vmdk", pieces("vm-disk1.vmdk", stored, 7 * GIB), archive=False, chunkSize=7 * GIB)


@builder
def one_piece_without_number(folder: Path) -> Package:
    """The same, but without one, as ovftool does."""
    stored = image(content())
    return in_pieces(folder, stored, "vm-disk1.vmdk", {"vm-disk1.vmdk": stored}, archive=True, chunkSize=7 * GIB)


@builder
def solaris(folder: Path) -> Package:
    """A Unified Archive of Solaris: compressed, the piece's number is short, its largest size is the most that ustar takes."""
    stored = gzipped(content())
    ovf = one_disk(href="vm-disk1.raw.gz", stored=stored, compression="gzip", chunkSize=8 * GIB - 1)
    data = tar({"vm.ovf": ovf, **pieces("vm-disk1.raw.gz", stored, 8 * GIB, ".{:d}")})
    return package(folder / "vm.uar", data, "ova", "VMware", {"vm": [Disk("vmdisk1", content(), ("vm-disk1.raw.gz.0",), "raw", "scsi")]})


@builder
def snapshots(folder: Path) -> Package:
    """VMware's export of a machine with snapshots: numbers as of pieces, but each is a whole disk, and the last one counts."""
    states = {f"vm-disk1.vmdk.{number:09d}": image(content(number + 1)) for number in range(3)}
    data = tar({"vm.ovf": one_disk(), **states})
    return package(folder / "vm.ova", data, "ova", "VMware", {"vm": [Disk("vmdisk1", content(3), (list(states)[-1],), bus="scsi")]})


# Disks that are not a file each


@builder
def parent_ref(folder: Path) -> Package:
    """A disk, one with the differences to it, and one with those to the latter (ovftool --makeDeltaDisks)."""
    first = content()
    second = overlay(first, {0x1000: b"second" * 1000, 2 * MIB + GRAIN: b"new" * GRAIN})
    third = overlay(second, {2 * MIB + 3 * GRAIN: b"third, the newest", 40 * KIB: b"and more"})
    stored = {"base.vmdk": image(first)}
    stored["delta1.vmdk"] = delta_vmdk(first, second, stored["base.vmdk"], "base.vmdk")
    stored["delta2.vmdk"] = delta_vmdk(second, third, stored["delta1.vmdk"], "delta1.vmdk")
    files = "".join(file_element(name, name, data) for name, data in stored.items())
    parents = {"base": "", "delta1": "base", "delta2": "delta1"}
    said = "".join(disk_element(name, len(first), f"{name}.vmdk", more=attributes(parentRef=parent or None)) for name, parent in parents.items())
    hard = hardware(scsi(), drive("delta2", 0), drive("base", 1))
    ovf = envelope(files, said, system("vm", hard))
    disks = [Disk("delta2", third, ("delta2.vmdk",), bus="scsi", parent="delta1"), Disk("base", first, ("base.vmdk",), bus="scsi")]
    return package(folder / "vm.ova", tar(with_manifest("vm.ovf", {"vm.ovf": ovf, **stored})), "ova", "VMware", {"vm": disks})


@builder
def empty_disk(folder: Path) -> Package:
    """A disk without a file, behind one that has one."""
    stored = {"vm-disk1.vmdk": image(content())}
    said = disk_element("system", len(content()), "file1") + disk_element("scratch", 5, units="byte * 2^20")
    ovf = envelope(file_element("file1", "vm-disk1.vmdk", stored["vm-disk1.vmdk"]), said, system("vm", hardware(scsi(), drive("system"), drive("scratch", 1))))
    disks = [Disk("system", content(), ("vm-disk1.vmdk",), bus="scsi"), Disk("scratch", bytes(5 * MIB), (), "raw", "scsi")]
    return package(folder / "vm.ova", tar({"vm.ovf": ovf, **stored}), "ova", "VMware", {"vm": disks})


@builder
def property_capacity(folder: Path) -> Package:
    """An empty disk as large as a property says."""
    product = (
        "    <ProductSection><Info>Settings</Info>"
        '<Property ovf:key="disksize" ovf:type="uint32" ovf:userConfigurable="true" ovf:value="7"><Label>MiB</Label></Property></ProductSection>\n'
    )
    said = disk_element("system", len(content()), "file1") + disk_element("data", "${disksize}", units="byte * 2^20")
    hard = hardware(scsi(), drive("system"), drive("data", 1))
    stored = image(content())
    ovf = envelope(file_element("file1", "vm-disk1.vmdk", stored), said, system("vm", hard, product))
    disks = [Disk("system", content(), ("vm-disk1.vmdk",), bus="scsi"), Disk("data", bytes(7 * MIB), (), "raw", "scsi")]
    return package(folder / "vm.ova", tar({"vm.ovf": ovf, "vm-disk1.vmdk": stored}), "ova", "VMware", {"vm": disks})


# Several systems, several sizes


@builder
def collection(folder: Path) -> Package:
    """Three systems, one of them in an inner collection, with two disks."""
    owners = {"web": [1], "shop": [2], "database": [3, 4]}
    stored = {f"disk{number}.vmdk": image(content(number)) for number in range(1, 5)}
    files = "".join(file_element(name, name, data) for name, data in stored.items())
    said = "".join(disk_element(f"vmdisk{number}", len(content(number)), f"disk{number}.vmdk") for number in range(1, 5))
    made = {
        name: system(name, hardware(scsi(), *(drive(f"vmdisk{number}", place) for place, number in enumerate(numbers)))) for name, numbers in owners.items()
    }
    inner = f'  <VirtualSystemCollection ovf:id="backend">\n    <Info>Inner</Info>\n{made["database"]}  </VirtualSystemCollection>\n'
    outer = f'  <VirtualSystemCollection ovf:id="all">\n    <Info>Outer</Info>\n{made["web"]}{inner}{made["shop"]}  </VirtualSystemCollection>\n'
    systems = {
        name: [Disk(f"vmdisk{number}", content(number), (f"disk{number}.vmdk",), bus="scsi") for number in owners[name]] for name in ("web", "database", "shop")
    }
    files_there = with_manifest("vm.ovf", {"vm.ovf": envelope(files, said, outer), **stored}, "sha512")
    return package(folder / "vm.ova", tar(files_there), "ova", "VMware", systems)


@builder
def configurations(folder: Path) -> Package:
    """Two sizes: the default one has another controller than the other, and a second disk."""
    options = (
        "  <DeploymentOptionSection><Info>Sizes</Info>\n"
        '    <Configuration ovf:id="small"><Label>Small</Label><Description>Small</Description></Configuration>\n'
        '    <Configuration ovf:id="large" ovf:default="true"><Label>Large</Label><Description>Large</Description></Configuration>\n'
        "  </DeploymentOptionSection>\n"
    )
    large = {"item_attributes": ' ovf:configuration="large"'}
    hard = hardware(
        scsi(),
        item(6, 3, "SCSI controller", Address=0, ResourceSubType="VirtualSCSI", **large),
        drive("system"),
        drive("data", 1, **large),
        item(4, 2, "1 GiB of memory", AllocationUnits="byte * 2^20", VirtualQuantity=1024, **large),
    )
    stored = {f"disk{number}.vmdk": image(content(number)) for number in (1, 2)}
    files = "".join(file_element(name, name, data) for name, data in stored.items())
    said = disk_element("system", len(content(1)), "disk1.vmdk") + disk_element("data", len(content(2)), "disk2.vmdk")
    ovf = envelope(files, said, system("vm", hard), options)
    disks = [Disk("system", content(1), ("disk1.vmdk",), bus="scsi"), Disk("data", content(2), ("disk2.vmdk",), bus="scsi")]
    return package(folder / "vm.ova", tar({"vm.ovf": ovf, **stored}), "ova", "VMware", {"vm": disks}, "large")


# Names


@builder
def names(folder: Path) -> Package:
    """Spaces and percent signs as they are, escapes (RFC 3986), letters that are not ASCII, and a folder."""
    hrefs = {"my disk 1.vmdk": "my disk 1.vmdk", "two words.vmdk": "two%20words.vmdk", "50%.vmdk": "50%.vmdk", "größe/Ж.vmdk": "gr%C3%B6%C3%9Fe/Ж.vmdk"}
    stored = {name: image(content(number)) for number, name in enumerate(hrefs, 1)}
    files = "".join(file_element(f"file{number}", href, stored[name]) for number, (name, href) in enumerate(hrefs.items(), 1))
    said = "".join(disk_element(f"vmdisk{number}", len(content(number)), f"file{number}") for number in range(1, 5))
    hard = hardware(scsi(), *(drive(f"vmdisk{place + 1}", place) for place in range(4)))
    disks = [Disk(f"vmdisk{number}", content(number), (name,), bus="scsi") for number, name in enumerate(hrefs, 1)]
    data = tar(with_manifest("my vm.ovf", {"my vm.ovf": envelope(files, said, system("vm", hard)), **stored}), tarfile.PAX_FORMAT)
    return package(folder / "my vm.ova", data, "ova", "VMware", {"vm": disks})


# Around a package


def wrapped(kind: str) -> Builder:
    """The same package in one kind of archive."""

    def make(folder: Path) -> Package:
        stored = image(content())
        files = with_manifest("vm.ovf", {"vm.ovf": one_disk(stored=stored), "vm-disk1.vmdk": stored})
        found = "ovf" if kind.endswith("zip") else "ova"
        return package(folder / f"vm.{kind}", ARCHIVES[kind](files), found, "VMware", {"vm": [Disk("vmdisk1", content(), ("vm-disk1.vmdk",), bus="scsi")]})

    return make


for _kind in ARCHIVES:
    BUILDERS[f"in_{_kind.replace('.', '_')}"] = wrapped(_kind)


@builder
def ova_in_zip(folder: Path) -> Package:
    inner = wrapped("tar")(folder)
    inner.path.rename(folder / "vm.ova")
    data = zipped({"download/readme.txt": b"Unpack me.\n", "download/vm.ova": (folder / "vm.ova").read_bytes()})
    (folder / "vm.ova").unlink()
    return package(folder / "vm.zip", data, "ova", "VMware", inner.systems)


def main(out: str, *wanted: str) -> None:
    for name in wanted or BUILDERS:
        folder = Path(out, name)
        made = BUILDERS[name](folder)
        (folder / "expected.json").write_text(json.dumps(made.facts(), indent=1) + "\n")
        print(made.path)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1].startswith("-") or not set(sys.argv[2:]) <= set(BUILDERS):
        sys.exit(__doc__)
    main(*sys.argv[1:])
