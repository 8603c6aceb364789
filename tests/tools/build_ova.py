# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make a small real appliance: build_ova.py OUT.ova [MARKER]

Its disk boots by BIOS, says MARKER on the first serial line (it reads that from the disk's last sector, so the end of
the disk has arrived, too) and switches the machine off. Needs nothing but Python and the engine, and gives the same
bytes every time. The tests make broken packages with the parts: make_disk, descriptor, manifest, pack.
"""

from __future__ import annotations

import hashlib
import io
import sys
import tarfile
import tempfile
from pathlib import Path

ENGINE = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"

MARKER = "VMIMAGE-PREP BOOT OK"
MIB = 1 << 20
SECTOR = 512
DISK_SIZE = 64 * MIB
NAME = "appliance"

# A boot sector of our own, assembled by hand: address, bytes, instruction. The BIOS loads it to 0000:7C00 and calls it
# with the disk's number in DL.
LISTING = """
00  fa                cli
01  fc                cld
02  31c0              xor   ax, ax
04  8ed8              mov   ds, ax
06  8ec0              mov   es, ax
08  8ed0              mov   ss, ax
0a  bc007c            mov   sp, 7C00h
0d  fb                sti
0e  ea137c0000        jmp   0000h:7C13h       ; some BIOSes come with CS = 07C0h
13  b442              mov   ah, 42h           ; extended read
15  be507c            mov   si, 7C50h         ; by the packet below
18  cd13              int   13h
1a  be007e            mov   si, 7E00h         ; the sector that was read
1d  7303              jnc   next
1f  be427c            mov   si, 7C42h         ; the error's text
22  ac          next: lodsb
23  84c0              test  al, al
25  7411              jz    off
27  88c4              mov   ah, al
29  bafd03            mov   dx, 3FDh          ; COM1, line status
2c  ec          wait: in    al, dx
2d  a820              test  al, 20h           ; transmitter empty?
2f  74fb              jz    wait
31  88e0              mov   al, ah
33  b2f8              mov   dl, 0F8h          ; COM1, data
35  ee                out   dx, al
36  ebea              jmp   next
38  ba0406      off:  mov   dx, 604h          ; QEMU: ACPI PM1a control
3b  b80020            mov   ax, 2000h         ; sleep enable, type 0: power off
3e  ef                out   dx, ax
3f  f4          halt: hlt
40  ebfd              jmp   halt
42  524541442d4552524f520d0a00                "READ-ERROR" CR LF NUL
4f  00
50  10000100007e0000  16 bytes, read 1 sector, to 0000:7E00; behind this, the sector's number
"""
BOOT_CODE = bytes.fromhex("".join(line.split()[1] for line in LISTING.split("\n") if line))


def boot_sector(sectors: int) -> bytes:
    """The first sector of a bootable disk: the program above and one active Linux partition."""
    code = BOOT_CODE + (sectors - 1).to_bytes(8, "little")
    first = 2048
    # 80h: active; C/H/S out of range, so the numbers of the sectors count; 83h: Linux
    partition = bytes.fromhex("80feffff83feffff") + first.to_bytes(4, "little") + (sectors - 1 - first).to_bytes(4, "little")
    return code.ljust(0x1B8, b"\0") + b"PREP\0\0" + partition + bytes(48) + b"\x55\xaa"


def make_disk(path: Path | str, size: int = DISK_SIZE, marker: str = MARKER) -> None:
    """Write a sparse raw disk: boot sector, some MiB that compress badly, some that compress well, marker at the end."""
    noise = hashlib.shake_128(b"vmimage.prep").digest(2 * MIB)
    text = b"".join(b"%06d A line of text as there are many in a guest's files.\n" % number for number in range(50_000))
    with open(path, "wb") as disk:
        disk.truncate(size)
        for offset, data in (
            (0, boot_sector(size // SECTOR)),
            (1 * MIB, noise),
            (size // 4 + 12345, text),  # begins and ends within a cluster of any format
            (size // 2, noise[: MIB // 2]),
            (size - SECTOR, marker.encode("ascii") + b"\r\n\0"),
        ):
            disk.seek(offset)
            disk.write(data)


def write_vmdk(raw: Path | str, vmdk: Path | str) -> None:
    """Convert a raw disk to a streamOptimized VMDK with the engine."""
    if str(ENGINE) not in sys.path:
        sys.path.insert(0, str(ENGINE))
    from _engine.formats import registry
    from _engine.storage.file import FileStorage
    from _engine.storage.sink import Sink
    from _engine.transfer.convert import convert

    reader = registry.open_reader("raw", FileStorage(raw))
    with Sink(vmdk, mode=0o644) as sink:
        convert(reader, registry.create_writer(registry.target("vmdk", "streamOptimized"), sink, reader.virtual_size))
        sink.commit()
    reader.close()


def descriptor(
    href: str = f"{NAME}-disk1.vmdk",
    *,
    size: int | None = None,
    capacity: int = DISK_SIZE,
    file_attributes: str = "",
    disk_attributes: str = "",
    controller: str = "lsilogic",
    extra_items: str = "",
    extra_sections: str = "",
) -> bytes:
    """An OVF 1.1 descriptor of a system with one disk, as VMware writes them.

    :param size: bytes of the file, for References
    :param file_attributes: and the others: XML that is put in as it is
    """
    attributes = f' ovf:size="{size}"' if size is not None else ""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" \
xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData" \
xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData" xmlns:vmw="http://www.vmware.com/schema/ovf">
  <References>
    <File ovf:href="{href}" ovf:id="file1"{attributes} {file_attributes}/>
  </References>
  <DiskSection>
    <Info>Virtual disks</Info>
    <Disk ovf:capacity="{capacity}" ovf:capacityAllocationUnits="byte" ovf:diskId="vmdisk1" ovf:fileRef="file1" \
ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized" {disk_attributes}/>
  </DiskSection>
  <NetworkSection>
    <Info>Logical networks</Info>
    <Network ovf:name="VM Network"/>
  </NetworkSection>
  <VirtualSystem ovf:id="{NAME}">
    <Info>A small machine that boots</Info>
    <Name>{NAME}</Name>
    <OperatingSystemSection ovf:id="101" vmw:osType="otherLinux64Guest">
      <Info>The guest's operating system</Info>
      <Description>Other Linux (64-bit)</Description>
    </OperatingSystemSection>
    <VirtualHardwareSection>
      <Info>Virtual hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemIdentifier>{NAME}</vssd:VirtualSystemIdentifier>
        <vssd:VirtualSystemType>vmx-13</vssd:VirtualSystemType>
      </System>
      <Item>
        <rasd:ElementName>1 virtual CPU</rasd:ElementName>
        <rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceType>3</rasd:ResourceType>
        <rasd:VirtualQuantity>1</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:AllocationUnits>byte * 2^20</rasd:AllocationUnits>
        <rasd:ElementName>256 MiB of memory</rasd:ElementName>
        <rasd:InstanceID>2</rasd:InstanceID>
        <rasd:ResourceType>4</rasd:ResourceType>
        <rasd:VirtualQuantity>256</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:Address>0</rasd:Address>
        <rasd:ElementName>SCSI controller 0</rasd:ElementName>
        <rasd:InstanceID>3</rasd:InstanceID>
        <rasd:ResourceSubType>{controller}</rasd:ResourceSubType>
        <rasd:ResourceType>6</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AddressOnParent>0</rasd:AddressOnParent>
        <rasd:ElementName>Hard disk 1</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/vmdisk1</rasd:HostResource>
        <rasd:InstanceID>4</rasd:InstanceID>
        <rasd:Parent>3</rasd:Parent>
        <rasd:ResourceType>17</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AddressOnParent>7</rasd:AddressOnParent>
        <rasd:Connection>VM Network</rasd:Connection>
        <rasd:ElementName>Ethernet 1</rasd:ElementName>
        <rasd:InstanceID>5</rasd:InstanceID>
        <rasd:ResourceSubType>E1000</rasd:ResourceSubType>
        <rasd:ResourceType>10</rasd:ResourceType>
      </Item>{extra_items}
      <vmw:Config ovf:required="false" vmw:key="firmware" vmw:value="bios"/>
    </VirtualHardwareSection>{extra_sections}
  </VirtualSystem>
</Envelope>
""".encode()


def manifest(files: dict[str, bytes], algorithm: str = "sha256") -> bytes:
    """The manifest of some files, as DSP0243 has it."""
    return "".join(f"{algorithm.upper()}({name})= {hashlib.new(algorithm, data).hexdigest()}\n" for name, data in files.items()).encode()


def pack(path: Path | str, members: list, form: int = tarfile.USTAR_FORMAT) -> None:
    """Write a tar archive, the same bytes every time.

    :param members: (name, bytes) for files, (TarInfo, bytes or None) for all else
    :param form: tarfile's format
    """
    with tarfile.open(path, "w", format=form) as archive:
        for entry, data in members:
            info = entry
            if not isinstance(entry, tarfile.TarInfo):
                info = tarfile.TarInfo(entry)
                info.mode = 0o644
            if data is not None:
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data) if data is not None else None)


def build_ova(path: Path | str, marker: str = MARKER, size: int = DISK_SIZE) -> None:
    """Write the appliance: descriptor, SHA-256 manifest and disk in an OVA."""
    with tempfile.TemporaryDirectory() as folder:
        raw, vmdk = Path(folder, "disk.raw"), Path(folder, "disk.vmdk")
        make_disk(raw, size, marker)
        write_vmdk(raw, vmdk)
        disk = vmdk.read_bytes()
    files = {f"{NAME}.ovf": descriptor(size=len(disk), capacity=size), f"{NAME}-disk1.vmdk": disk}
    listed = manifest(files)
    pack(path, [(f"{NAME}.ovf", files[f"{NAME}.ovf"]), (f"{NAME}.mf", listed), (f"{NAME}-disk1.vmdk", disk)])


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    build_ova(*sys.argv[1:])
