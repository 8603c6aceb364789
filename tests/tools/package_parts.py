# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What packages are made of: disks whose content is known, images of them, elements of descriptors, archives.

The same bytes every time (of one version of Python and zlib), from nothing but Python and the engine's writers.
build_packages.py puts them together.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import hashlib
import io
import lzma
import random
import struct
import sys
import tarfile
import tempfile
import typing as t
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

ENGINE = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SECTOR = 512
GRAIN = 64 * KIB
SIZE = 3 * MIB
DEFAULT_FORMATS = {"vmdk": "streamOptimized", "vhd": "dynamic", "vhdx": "dynamic", "qcow2": None, "raw": None}
QEMU_NAMES = {"vhd": "vpc"}
"""formats that qemu-img calls otherwise"""
VMDK_URI = "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"
ENVELOPE = "http://schemas.dmtf.org/ovf/envelope/1"
RASD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
VSSD = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData"
VMW = "http://www.vmware.com/schema/ovf"
Files = t.Mapping[str, bytes]


class Disk(t.NamedTuple):
    """A disk, as it has to come out of a package."""

    id: str
    content: bytes
    """what the guest sees"""
    files: tuple[str, ...] = ()
    """those in the package that make it up; none: it is to be made new"""
    format: str = "vmdk"
    """of the image; the engine's name"""
    bus: str | None = None
    parent: str = ""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


class Package(t.NamedTuple):
    """A package that was built, and what has to be found in it."""

    path: Path
    kind: str
    """ova, ovf, vagrant, archive"""
    writer: str | None
    systems: dict[str, list[Disk]]
    """id, or name where there is none → disks in boot order"""
    configuration: str | None = None

    def facts(self) -> dict[str, t.Any]:
        """The same for JSON, with checksums instead of the contents."""
        systems = {
            name: [{**disk._asdict(), "content": None, "virtual_size": len(disk.content), "sha256": disk.sha256} for disk in disks]
            for name, disks in self.systems.items()
        }
        return {**self._asdict(), "path": self.path.name, "systems": systems}


Builder = t.Callable[[Path], Package]
BUILDERS: dict[str, Builder] = {}
"""by name; each makes one package in a folder, the same bytes every time"""


def builder(make: Builder) -> Builder:
    BUILDERS[make.__name__] = make
    return make


def package(path: Path, data: bytes, kind: str, writer: str | None, systems: dict[str, list[Disk]], configuration: str | None = None) -> Package:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return Package(path, kind, writer, systems, configuration)


@functools.cache
def content(seed: int = 1, size: int = SIZE) -> bytes:
    """A guest's disk: a partition table, noise, a hole, text, and a last sector that is not empty."""
    disk = bytearray(size)
    disk[440:444] = seed.to_bytes(4, "little")
    disk[446:462] = bytes.fromhex("80feffff83feffff") + struct.pack("<II", 128, size // SECTOR - 128)
    disk[510:512] = b"\x55\xaa"
    noise = random.Random(seed).randbytes(256 * KIB)
    disk[128 * SECTOR : 128 * SECTOR + len(noise)] = noise
    text = b"".join(b"%02d %05d A line as there are many in a guest's files.\n" % (seed, number) for number in range(5000))
    start = size // 2 + 12345  # begins and ends within a cluster of any format
    disk[start : start + len(text)] = text
    disk[-SECTOR:] = (b"The end of disk %d." % seed).ljust(SECTOR, b".")
    return bytes(disk)


@functools.cache
def image(disk: bytes, form: str = "vmdk", subformat: str | None = None) -> bytes:
    """A disk in a format, written by the engine.

    :param subformat: the usual one in packages when None
    """
    if str(ENGINE) not in sys.path:
        sys.path.insert(0, str(ENGINE))
    from _engine.formats import registry
    from _engine.storage.file import FileStorage
    from _engine.storage.sink import Sink
    from _engine.transfer.convert import convert

    if form == "raw":
        return disk
    with tempfile.TemporaryDirectory() as folder:
        raw, made = Path(folder, "disk"), Path(folder, "image")
        raw.write_bytes(disk)
        reader = registry.open_reader("raw", FileStorage(raw))
        with Sink(made) as sink:
            convert(reader, registry.create_writer(registry.target(form, subformat or DEFAULT_FORMATS[form]), sink, len(disk)))
            sink.commit()
        reader.close()
        return made.read_bytes()


def overlay(base: bytes, changes: t.Mapping[int, bytes]) -> bytes:
    """A disk with other bytes in some places.

    :param changes: offset → bytes
    """
    disk = bytearray(base)
    for offset, data in changes.items():
        disk[offset : offset + len(data)] = data
    return bytes(disk)


def delta_vmdk(base: bytes, changed: bytes, parent: bytes, parent_name: str) -> bytes:
    """A streamOptimized VMDK with only the grains that differ from another disk's; none of them is empty.

    :param base: what the guest saw
    :param changed: what it sees now
    :param parent: the VMDK of ``base``
    """
    grains = bytearray(len(base))
    for at in range(0, len(base), GRAIN):
        if base[at : at + GRAIN] != changed[at : at + GRAIN]:
            grains[at : at + GRAIN] = changed[at : at + GRAIN]
    vmdk = bytearray(image(bytes(grains)))
    cid = parent.partition(b"\nCID=")[2][:8]
    old, size, room = _embedded_descriptor(vmdk)
    named = b'parentFileNameHint="%s"\n' % parent_name.encode()
    text = old.replace(b"parentCID=ffffffff\n", b"parentCID=%s\n" % cid).replace(b"\n# Extent", b"%s\n# Extent" % named, 1)
    sectors = -(-len(text) // SECTOR)
    if sectors > room or text.count(cid) != 1 or named not in text:
        raise ValueError("the descriptor of the delta is not what it was taken for")
    vmdk[SECTOR : SECTOR + max(size, sectors) * SECTOR] = text.ljust(max(size, sectors) * SECTOR, b"\0")
    for header in (0, len(vmdk) - 2 * SECTOR):  # the second in the footer, in front of the end-of-stream marker
        if vmdk[header : header + 4] != b"KDMV":
            raise ValueError("there is no header where one was taken for granted")
        struct.pack_into("<Q", vmdk, header + 36, sectors)  # descriptorSize
    return bytes(vmdk)


def _embedded_descriptor(vmdk: bytes) -> tuple[bytes, int, int]:
    """The text, the sectors that it has, and those that it could have (overHead)."""
    offset, size = struct.unpack_from("<QQ", vmdk, 28)
    (overhead,) = struct.unpack_from("<Q", vmdk, 64)
    return bytes(vmdk[offset * SECTOR : (offset + size) * SECTOR]).rstrip(b"\0"), size, overhead - offset


def pieces(name: str, data: bytes, size: int, numbering: str = ".{:09d}") -> dict[str, bytes]:
    """A file cut into pieces (DSP0243, "References")."""
    return {name + numbering.format(at // size): data[at : at + size] for at in range(0, len(data), size)}


def attributes(prefix: str = "ovf", /, **values: t.Any) -> str:
    return "".join(f" {prefix}:{name.replace('_', '-')}={quoteattr(str(value))}" for name, value in values.items() if value is not None)


def file_element(file_id: str, href: str, data: bytes | None = None, **more: t.Any) -> str:
    size = len(data) if data is not None else None
    return f"    <File{attributes(href=href, id=file_id, size=size, **more)}/>\n"


def disk_element(disk_id: str, capacity: object, file_ref: str | None = None, units: str | None = None, uri: str = VMDK_URI, more: str = "") -> str:
    known = attributes(capacity=capacity, capacityAllocationUnits=units, diskId=disk_id, fileRef=file_ref, format=uri)
    return f"    <Disk{known}{more}/>\n"


def item(kind: int, instance: object, name: str, *, extra: str = "", item_attributes: str = "", **elements: object) -> str:
    """An Item; its elements in the schema's order, which is that of the alphabet."""
    all_of_them = {"ElementName": name, "InstanceID": instance, "ResourceType": kind, **elements}
    lines = "".join(f"        <rasd:{key}>{escape(str(value))}</rasd:{key}>\n" for key, value in sorted(all_of_them.items()))
    return f"      <Item{item_attributes}>\n{lines}{extra}      </Item>\n"


def hardware(*storage: str, cpus: int = 1, memory: int = 256, kind: str = "vmx-13", extra: str = "") -> str:
    """A VirtualHardwareSection.

    :param storage: Items of controllers and disks
    :param memory: MiB
    :param kind: VirtualSystemType
    :param extra: elements behind the Items
    """
    identity = {"ElementName": "Virtual Hardware Family", "InstanceID": 0, "VirtualSystemType": kind}
    about = "".join(f"<vssd:{key}>{value}</vssd:{key}>" for key, value in identity.items())
    processors = item(3, 1, f"{cpus} virtual CPU", VirtualQuantity=cpus)
    mebibytes = item(4, 2, f"{memory} MiB of memory", AllocationUnits="byte * 2^20", VirtualQuantity=memory)
    items = processors + mebibytes + "".join(storage)
    start = f"    <VirtualHardwareSection>\n      <Info>Virtual hardware</Info>\n      <System>{about}</System>\n"
    return f"{start}{items}{extra}    </VirtualHardwareSection>\n"


def guest(number: int = 101, description: str = "Other Linux (64-bit)", more: str = "") -> str:
    """An OperatingSystemSection, by CIM's number."""
    return f'    <OperatingSystemSection ovf:id="{number}"{more}><Info>Guest</Info><Description>{description}</Description></OperatingSystemSection>\n'


def scsi(instance: int = 3, model: str = "lsilogic", address: int = 0) -> str:
    return item(6, instance, f"SCSI controller {address}", Address=address, ResourceSubType=model)


def drive(disk_id: str, place: int = 0, instance: int = 10, parent: int = 3, **more: t.Any) -> str:
    return item(17, instance + place, f"Hard disk {place}", AddressOnParent=place, HostResource=f"ovf:/disk/{disk_id}", Parent=parent, **more)


def system(name: str, section: str, extra: str = "", os: str | None = None) -> str:
    """A VirtualSystem.

    :param extra: sections in front of the hardware
    """
    start = f'  <VirtualSystem ovf:id="{name}">\n    <Info>A machine</Info>\n    <Name>{name}</Name>\n'
    return f"{start}{guest() if os is None else os}{extra}{section}  </VirtualSystem>\n"


def envelope(files: str, disks: str, body: str, sections: str = "", namespaces: str = f' xmlns:vmw="{VMW}"', uri: str = ENVELOPE) -> bytes:
    """A descriptor.

    :param body: systems or a collection
    :param sections: of the whole package
    """
    names = f'xmlns="{uri}" xmlns:ovf="{uri}" xmlns:rasd="{RASD}" xmlns:vssd="{VSSD}"{namespaces}'
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<Envelope {names}>
  <References>
{files}  </References>
  <DiskSection>
    <Info>Virtual disks</Info>
{disks}  </DiskSection>
{sections}{body}</Envelope>
""".encode()


def with_manifest(descriptor: str, files: Files, algorithm: str = "sha256", listed: Files | None = None) -> dict[str, bytes]:
    """The files of a package in the order that DSP0243 wants, with a manifest.

    :param descriptor: the name of one of the files
    :param listed: what the manifest lists; the files when None
    """
    lines = (f"{algorithm.upper()}({name})= {hashlib.new(algorithm, data).hexdigest()}\n" for name, data in (listed or files).items())
    found = {descriptor: files[descriptor], descriptor[: -len(".ovf")] + ".mf": "".join(lines).encode()}
    return {**found, **files}


def tar(files: Files, form: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(files: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    """A zstd frame of blocks that are stored as they are (RFC 8878, 3.1.1), as Python knows no zstd before 3.14."""
    block = 128 * KIB
    out = struct.pack("<IBBQ", 0xFD2FB528, 0b11000000, 0x38, len(data))  # content size of 8 bytes; a window of 128 KiB
    for at in range(0, len(data), block):
        part = data[at : at + block]
        out += (len(part) << 3 | (at + block >= len(data))).to_bytes(3, "little") + part
    return out


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, 1, mtime=0)


ARCHIVES: dict[str, t.Callable[[Files], bytes]] = {
    "tar": tar,
    "tar.gz": lambda files: gzipped(tar(files)),
    "tar.xz": lambda files: lzma.compress(tar(files), preset=0),
    "tar.bz2": lambda files: bz2.compress(tar(files), 1),
    "tar.zst": lambda files: zstd(tar(files)),
    "zip": zipped,
    "stored.zip": lambda files: zipped(files, zipfile.ZIP_STORED),
}


def write_folder(folder: Path, files: Files) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
