# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that the examples of the documentation name: small ones, of the right kind, as /srv has them.

They are made by programs that are not ours, but for the disks inside of packages.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import struct
import subprocess
import sys
import typing as t
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/tools"))

import build_ova  # noqa: E402
import build_uec  # noqa: E402

MIB = 1 << 20
VERSION = "6.1.0-18-cloud-amd64"
UUID = "2d1b1a3c-4ad0-4d52-a29d-ae47f8b0e2a5"
GRUB = f"""\
set default=0
menuentry 'Debian GNU/Linux' {{
\tsearch --no-floppy --fs-uuid --set=root {UUID}
\tlinux /boot/vmlinuz-{VERSION} root=UUID={UUID} ro console=tty0 console=ttyS0
\tinitrd /boot/initrd.img-{VERSION}
}}
"""
BUILT_IN = (
    "virtio_blk",
    "virtio_pci",
    "virtio_net",
    "virtio_scsi",
    "ext4",
    "ahci",
    "ata_piix",
    "mptspi",
    "vmw_pvscsi",
    "vmxnet3",
    "e1000",
    "hv_storvsc",
    "hv_vmbus",
)
"""modules of the guests' kernel"""
OPTIONS = """<DeploymentOptionSection><Info>How large</Info>\
<Configuration ovf:id="small" ovf:default="true"><Label>Small</Label><Description>For tests</Description></Configuration>\
<Configuration ovf:id="large"><Label>Large</Label><Description>For work</Description></Configuration></DeploymentOptionSection>"""

FORMAT = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
SECOND_DISK = """<Item><rasd:AddressOnParent>1</rasd:AddressOnParent><rasd:ElementName>Hard disk 2</rasd:ElementName>\
<rasd:HostResource>ovf:/disk/vmdisk3</rasd:HostResource><rasd:InstanceID>99</rasd:InstanceID><rasd:Parent>3</rasd:Parent>\
<rasd:ResourceType>17</rasd:ResourceType></Item>
"""


def build(srv: Path) -> None:
    """Make the folder that stands for /srv."""
    for name in ("incoming", "images", "images/trio", "images/cirros", "images/server", "archive", "keys", "tftp", "vm", "appliance"):
        (srv / name).mkdir(parents=True)
    work = srv.parent / "work"
    work.mkdir()
    guest = work / "guest.raw"
    _guest(guest, work)
    _packages(srv, guest, work)
    _images(srv, guest)
    _trios(srv, work)
    _disc(srv / "images/debian-12-netinst.iso", work)
    _server(srv.parent / "web", guest)
    shutil.rmtree(work)


def _run(*command: str | Path, **options: t.Any) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)


def _convert(source: Path, dest: Path, form: str, *options: str) -> None:
    _run("qemu-img", "convert", "-f", "raw", "-O", form, *options, source, dest)


def _kernel() -> bytes:
    kernel = bytearray(build_uec.build_kernel())
    kernel[0x500:0x530] = f"{VERSION} (builder@example) #1 SMP".encode().ljust(48, b"\0")
    return bytes(kernel)


def _guest(raw: Path, work: Path) -> None:
    """A disk of 16 MiB with boot code and one partition: a Debian that has what an instance needs, as far as files tell."""
    modules = f"usr/lib/modules/{VERSION}"
    files = {
        "etc/os-release": b'ID=debian\nVERSION_ID="12"\nNAME="Debian GNU/Linux"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_CODENAME=bookworm\n',
        "etc/fstab": f"UUID={UUID} / ext4 errors=remount-ro 0 1\n".encode(),
        "etc/hostname": b"web\n",
        "etc/machine-id": b"",
        "boot/grub/grub.cfg": GRUB.encode(),
        f"boot/vmlinuz-{VERSION}": _kernel(),
        f"boot/initrd.img-{VERSION}": build_uec.build_ramdisk(),
        f"{modules}/modules.builtin": "".join(f"kernel/drivers/{name}.ko\n" for name in BUILT_IN).encode(),
        f"{modules}/modules.dep": b"",
        "usr/bin/cloud-init": b"#!/usr/bin/python3\n",
        "usr/bin/growpart": b"#!/bin/sh\n",
        "usr/sbin/qemu-ga": b"\x7fELF",
        "usr/sbin/init": b"\x7fELF",
    }
    build_uec.write_files(work / "root", files)
    for name in ("bin", "sbin", "lib"):
        (work / "root" / name).symlink_to(f"usr/{name}")
    size = 16 * MIB
    root = work / "root.img"
    _run(
        "mke2fs", "-q", "-F", "-t", "ext4", "-U", UUID, "-L", "root", "-d", work / "root", root, f"{(size - MIB) // 1024 - 4}k"
    )  # the partition ends before the last sector
    with open(raw, "wb") as disk:
        disk.truncate(size)
        disk.write(build_ova.boot_sector(size // 512))
        disk.seek(MIB)
        disk.write(root.read_bytes())


def _packages(srv: Path, guest: Path, work: Path) -> None:
    build_ova.write_vmdk(guest, work / "disk.vmdk")
    disk = (work / "disk.vmdk").read_bytes()

    def package(path: Path, name: str, change: t.Callable[[str], str] = lambda text: text) -> None:
        text = build_ova.descriptor(f"{name}-disk1.vmdk", size=len(disk), capacity=guest.stat().st_size).decode()
        files = {f"{name}.ovf": change(text).encode(), f"{name}-disk1.vmdk": disk}
        build_ova.pack(path, [(f"{name}.ovf", files[f"{name}.ovf"]), (f"{name}.mf", build_ova.manifest(files)), (f"{name}-disk1.vmdk", disk)])

    package(srv / "incoming/appliance.ova", "appliance", lambda text: text.replace("</DiskSection>", f"</DiskSection>\n  {OPTIONS}"))
    shutil.copy(srv / "incoming/appliance.ova", srv / "images/appliance.ova")
    # Somebody has changed the descriptor and not the manifest.
    edited = (srv / "incoming/appliance.ova").read_bytes().replace(b">vmx-13<", b">vmx-10<")
    (srv / "incoming/edited.ova").write_bytes(edited)
    package(srv / "incoming/web.ova", "web")
    package(srv / "incoming/prod-mail.ova", "prod-mail")
    _shop(srv / "incoming/shop.ova", disk, guest.stat().st_size)


def _shop(path: Path, disk: bytes, capacity: int) -> None:
    """Two machines in one package: web with one disk, database with two."""
    text = build_ova.descriptor("web.vmdk", size=len(disk), capacity=capacity).decode()
    start, end = text.index("  <VirtualSystem "), text.index("</Envelope>")
    machine = text[start:end]
    head, references, disks, machines = text[:start], "", "", ""
    names = ("web", "database", "data")
    for number, name in enumerate(names, 1):
        references += f'    <File ovf:href="{name}.vmdk" ovf:id="file{number}" ovf:size="{len(disk)}"/>\n'
        disks += f'    <Disk ovf:capacity="{capacity}" ovf:diskId="vmdisk{number}" ovf:fileRef="file{number}" ovf:format="{FORMAT}"/>\n'
    head = _between(_between(head, "<References>\n", "  </References>", references), "<Info>Virtual disks</Info>\n", "  </DiskSection>", disks)
    for number, name in enumerate(("web", "database"), 1):
        one = machine.replace(f'ovf:id="{build_ova.NAME}"', f'ovf:id="{name}"').replace("ovf:/disk/vmdisk1", f"ovf:/disk/vmdisk{number}")
        one = one.replace(f"<Name>{build_ova.NAME}</Name>", f"<Name>{name}</Name>")
        if name == "database":
            one = one.replace("      <vmw:Config", f"{SECOND_DISK}      <vmw:Config", 1)
        machines += one
    collection = f'  <VirtualSystemCollection ovf:id="shop">\n<Info>A shop</Info>\n{machines}  </VirtualSystemCollection>\n</Envelope>\n'
    files = {"shop.ovf": (head + collection).encode(), **{f"{name}.vmdk": disk for name in names}}
    build_ova.pack(path, [("shop.ovf", files["shop.ovf"]), ("shop.mf", build_ova.manifest(files)), *((f"{name}.vmdk", disk) for name in names)])


def _between(text: str, first: str, last: str, new: str) -> str:
    start = text.index(first) + len(first)
    return text[:start] + new + text[text.index(last, start) :]


def _images(srv: Path, guest: Path) -> None:
    """Single images, of the formats that their names promise."""
    images, incoming = srv / "images", srv / "incoming"
    shutil.copy(guest, images / "disk.raw")
    _convert(guest, images / "debian.qcow2", "qcow2")
    shutil.copy(images / "debian.qcow2", images / "debian-12.qcow2")
    _convert(guest, images / "appliance.vhd", "vpc")
    _convert(guest, incoming / "database.vhdx", "vhdx")
    (incoming / "cut.vhdx").write_bytes((incoming / "database.vhdx").read_bytes()[: 12 * MIB])
    _checkpoint(incoming / "database_5C1F3A2E.avhdx", incoming / "database.vhdx")
    _convert(guest, incoming / "disk.bin", "vdi")
    _convert(guest, incoming / "legacy.vmdk", "vmdk")
    shutil.copy(incoming / "legacy.vmdk", incoming / "old server.vmdk")
    _convert(guest, images / "server.qcow2", "qcow2")
    _run("qemu-img", "snapshot", "-c", "before-upgrade", images / "server.qcow2")
    _run("qemu-io", "-f", "qcow2", "-c", "write -P 7 12M 64k", images / "server.qcow2")
    _run("qemu-img", "create", "-u", "-f", "qcow2", "-b", "/etc/passwd", "-F", "raw", incoming / "gift.qcow2", "1G")
    shutil.copy(images / "debian.qcow2", incoming / "debian.qcow2")
    _convert(guest, images / "base.qcow2", "qcow2")
    _run("qemu-img", "create", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", images / "overlay.qcow2")


def _checkpoint(path: Path, parent: Path) -> None:
    """A differencing VHDX, as Hyper-V writes for a checkpoint; by the builder of the tests of that format."""
    place = ROOT / "tests/unit/plugins/module_utils/_engine/formats/vhdx/conftest.py"
    specification = importlib.util.spec_from_file_location("vhdx_parts", place)
    vhdx = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(vhdx)
    with open(parent, "rb") as file:  # the newer of its two headers, and the DataWriteGuid in it (MS-VHDX 2.2.2)
        start = file.read(0x30000)
    header = max((start[offset : offset + 4096] for offset in (0x10000, 0x20000)), key=lambda data: struct.unpack_from("<Q", data, 8))
    write_guid = uuid.UUID(bytes_le=header[32:48])
    image = vhdx.Image(size=16 * MIB, flags=2, blocks=1, table=[0] * 16)  # has a parent, and no block of its own
    image.items[vhdx.PARENT] = [vhdx.locator({"parent_linkage": f"{{{write_guid}}}", "relative_path": f".\\{parent.name}"}), 4]
    path.write_bytes(image.bytes())


def _trios(srv: Path, work: Path) -> None:
    """Kernels, ramdisks and file systems, apart and together."""
    images = srv / "images"
    (images / "vmlinuz-6.1.0").write_bytes(build_uec.build_kernel())
    (images / "initrd.img-6.1.0").write_bytes(build_uec.build_ramdisk())
    shutil.copy(work / "root.img", images / "server-root.img")
    _convert(images / "server-root.img", images / "server-root.qcow2", "qcow2")
    tarball = work / "tarball"
    build_uec.write_files(tarball, build_uec.layouts()["cirros"])
    build_uec.pack(tarball, srv / "incoming/cirros-0.6.2-x86_64-uec.tar.gz")
    build_uec.make_key(srv / "keys/pk.pem")
    shutil.copy(images / "server-root.img", work / "server.img")
    build_uec.bundle(work / "server.img", srv / "archive", srv / "keys/pk.pem")


def _server(web: Path, guest: Path) -> None:
    """What a server of images has, wherever it is."""
    web.mkdir()
    for name in ("debian-13-genericcloud-amd64.qcow2", "golden.qcow2", "disk.qcow2"):
        _convert(guest, web / name, "qcow2")
    shutil.copy(guest, web / "appliance.raw")
    _run("xz", "-0", web / "appliance.raw")
    names = sorted(path.name for path in web.iterdir())
    for algorithm in ("sha256", "sha512"):
        lines = {name: f"{hashlib.new(algorithm, (web / name).read_bytes()).hexdigest()}  {name}\n" for name in names}
        (web / f"{algorithm.upper()}SUMS").write_text("".join(lines.values()), encoding="utf-8")
        for name in names:
            (web / f"{name}.{algorithm}").write_text(lines[name], encoding="utf-8")
    (web / "SHA256SUMS.gpg").write_bytes(b"no signature")


def _disc(iso: Path, work: Path) -> None:
    """An installer as Debian's are, as far as its files tell."""
    disc = {
        ".disk/info": b'Debian GNU/Linux 12.5.0 "Bookworm" - Official amd64 NETINST with firmware 20240210-11:27',
        "install.amd/vmlinuz": build_uec.build_kernel(),
        "install.amd/initrd.gz": build_uec.build_ramdisk(),
        "isolinux/isolinux.cfg": b"default install\nlabel install\n  kernel /install.amd/vmlinuz\n  append vga=788 initrd=/install.amd/initrd.gz --- quiet\n",
    }
    build_uec.write_files(work / "disc", disc)
    _run("xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-V", "Debian 12.5.0 amd64 n", "-o", iso, work / "disc")
