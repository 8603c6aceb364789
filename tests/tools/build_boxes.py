# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Vagrant boxes, and archives of images without any description; build_packages.py makes these, too.

How boxes are laid out is read off vagrant-libvirt, Vagrant's importers, and its documentation of boxes for VMware.
"""

from __future__ import annotations

import json
import tarfile
import typing as t
from pathlib import Path

from package_parts import (
    ARCHIVES,
    BUILDERS,
    MIB,
    Disk,
    Files,
    Package,
    builder,
    content,
    delta_vmdk,
    disk_element,
    envelope,
    file_element,
    gzipped,
    hardware,
    image,
    item,
    overlay,
    package,
    system,
    tar,
    zipped,
)

__all__ = ["BUILDERS"]  # which has the builders below

VAGRANTFILE = b'Vagrant.configure("2") do |config|\n  raise "this is a program, and nobody runs it"\nend\n'


def box(path: Path, provider: str, made: list[Disk], /, *, archive: str = "tar.gz", others: Files | None = None, **metadata: t.Any) -> Package:
    """A box; the metadata has the provider and what else is given.

    :param others: further files, or other images of the disks
    """
    files = {"./metadata.json": json.dumps({"provider": provider, **metadata}).encode(), "./Vagrantfile": VAGRANTFILE}
    files.update((f"./{disk.files[0]}", image(disk.content, disk.format)) for disk in made)
    files.update((f"./{name}", data) for name, data in (others or {}).items())
    return package(path, ARCHIVES[archive](files), "vagrant", f"Vagrant ({provider})", {path.name.partition(".")[0]: made})


def box_disks(form: str, *paths: str) -> list[Disk]:
    return [Disk(path, content(number), (path,), form) for number, path in enumerate(paths, 1)]


@builder
def box_libvirt(folder: Path) -> Package:
    """The first format: the disk is called box.img, its size in GiB is rounded up."""
    return box(folder / "debian.box", "libvirt", box_disks("qcow2", "box.img"), format="qcow2", virtual_size=1)


@builder
def box_libvirt_disks(folder: Path) -> Package:
    """The second: any number of disks, in the order in which they are attached."""
    disks = box_disks("qcow2", "system.img", "disks/data.img")
    listed = [{"path": "system.img"}, {"path": "disks/data.img", "name": "data"}]
    return box(folder / "debian.box", "libvirt", disks, disks=listed, architecture="arm64")


@builder
def box_qemu_zip(folder: Path) -> Package:
    """A zip archive is allowed, too."""
    return box(folder / "debian.box", "qemu", box_disks("qcow2", "box.img"), archive="zip", architecture="amd64")


@builder
def box_hyperv(folder: Path) -> Package:
    disks = box_disks("vhdx", "Virtual Hard Disks/debian.vhdx")
    return box(folder / "debian.box", "hyperv", disks, others={"Virtual Machines/0F.vmcx": b"", "Virtual Machines/0F.vmgs": b""})


VMX = """.encoding = "UTF-8"
# Written by nobody.
displayName = "debian"
virtualHW.version = "19"
guestOS = "debian11-64"
firmware = "efi"
uefi.secureBoot.enabled = "FALSE"
memsize = "1024"
numvcpus = "4"
cpuid.coresPerSocket = "2"
sata0.present = "TRUE"
sata0:0.present = "TRUE"
sata0:0.deviceType = "cdrom-image"
sata0:0.fileName = "/usr/lib/vmware/isoimages/linux.iso"
sata0:1.present = "TRUE"
sata0:1.fileName = "data.vmdk"
scsi0.present = "TRUE"
scsi0.virtualDev = "pvscsi"
scsi0:0.present = "TRUE"
scsi0:0.fileName = "disk-000001.vmdk"
scsi0:1.present = "FALSE"
scsi0:1.fileName = "disk.vmdk"
bios.hddOrder = "scsi0:0,sata0:1"
ethernet0.present = "TRUE"
ethernet0.virtualDev = "vmxnet3"
ethernet0.connectionType = "nat"
ethernet0.generatedAddress = "00:0c:29:01:02:03"
"""


@builder
def box_vmware(folder: Path) -> Package:
    """A machine of Workstation's with a snapshot: only its .vmx file tells which disks are attached."""
    base, now = content(), overlay(content(), {MIB: b"since the snapshot"})
    stored = image(base, "vmdk", "monolithicSparse")
    others = {"debian.vmx": VMX.encode(), "debian.nvram": b"", "disk.vmdk": stored, "disk-000001.vmdk": delta_vmdk(base, now, stored, "disk.vmdk")}
    disks = [Disk("disk-000001.vmdk", now, ("disk-000001.vmdk",), bus="scsi"), Disk("data.vmdk", content(2), ("data.vmdk",), bus="sata")]
    return box(folder / "debian.box", "vmware_desktop", disks, others=others)


@builder
def box_virtualbox(folder: Path) -> Package:
    """OVF of VirtualBox 7, with the metadata beside."""
    stored = image(content())
    machine = '    <vbox:Machine ovf:required="false" version="1.19-linux" uuid="{1}" name="debian" OSType="Debian_64"/>\n'
    controller = item(20, 3, "sataController0", Address=0, ResourceSubType="AHCI")
    place = item(17, 4, "disk1", AddressOnParent=0, HostResource="/disk/vmdisk1", Parent=3)
    body = system("debian", hardware(controller, place, kind="virtualbox-2.2") + machine)
    names = ' xmlns:vbox="http://www.virtualbox.org/ovf/machine"'
    ovf = envelope(file_element("file1", "box-disk001.vmdk"), disk_element("vmdisk1", len(content()), "file1"), body, namespaces=names)
    files = {"./box.ovf": ovf, "./metadata.json": b'{"provider":"virtualbox"}', "./Vagrantfile": VAGRANTFILE, "./box-disk001.vmdk": stored}
    disks = [Disk("vmdisk1", content(), ("box-disk001.vmdk",), bus="sata")]
    return package(folder / "debian.box", ARCHIVES["tar.gz"](files), "ova", "VirtualBox", {"debian": disks})


@builder
def gce(folder: Path) -> Package:
    """What Google Compute Engine imports: disk.raw in a tar archive of GNU's, compressed."""
    data = gzipped(tar({"disk.raw": content()}, tarfile.GNU_FORMAT))
    return package(folder / "image.tar.gz", data, "archive", None, {"image": box_disks("raw", "disk.raw")})


@builder
def images_in_zip(folder: Path) -> Package:
    """Disks of two formats in a folder of a zip archive, with a text that is none."""
    disks = [*box_disks("vhd", "images/azure.vhd"), Disk("images/kvm.bin", content(2), ("images/kvm.bin",), "qcow2")]
    files = {disk.files[0]: image(disk.content, disk.format) for disk in disks}
    data = zipped({"images/README": b"Two disks, and this text.\n" * 100, **files})
    return package(folder / "image.zip", data, "archive", None, {"image": disks})
