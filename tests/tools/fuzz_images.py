# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sound small images for tests/tools/fuzz, and how they are damaged. The same seed gives the same damage."""

from __future__ import annotations

import bz2
import collections
import csv
import gzip
import importlib.util
import lzma
import random
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "module_utils"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import build_others  # noqa: E402
import build_ova  # noqa: E402
import build_variants  # noqa: E402
import build_vmdk  # noqa: E402
from _engine.errors import ImageError  # noqa: E402
from _engine.formats import registry  # noqa: E402
from _engine.formats.vhd import layout as vhd  # noqa: E402
from _engine.formats.vhdx import crc32c  # noqa: E402
from _engine.formats.vhdx import layout as vhdx  # noqa: E402
from _engine.formats.vmdk.cowd import CowdExtent  # noqa: E402
from _engine.formats.vmdk.sesparse import SeSparseExtent  # noqa: E402
from _engine.formats.vmdk.sparse import SparseExtent  # noqa: E402
from _engine.packages import tar  # noqa: E402
from _engine.produce import produce  # noqa: E402
from _engine.source import Request, open_source  # noqa: E402
from _engine.storage.file import FileStorage  # noqa: E402
from _engine.storage.sink import Sink  # noqa: E402
from fuzz_damage import MUTATIONS, Recorder, cut  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
DISK = 3 * MIB + 1536
MAX_CORPUS_FILE = 8 * MIB
MUTANT = "mutant"
"""file name of what was damaged"""


class Image(t.NamedTuple):
    """A sound image."""

    name: str
    family: str
    """what --format selects: a format, ``stream`` or ``package``"""
    path: Path
    content: Path | None
    """the raw disk that it holds; None when that is not known"""
    descriptor: str | None = None
    """the text that names it as a part of a disk in several files, as MUTANT; None: it is opened by itself"""


OURS = {
    "qcow2": ("qcow2", None, False, {}),
    "qcow2-compressed": ("qcow2", None, True, {}),
    "qcow2-v2-4k": ("qcow2", None, False, {"compat": "0.10", "cluster_size": "4k"}),
    "qcow2-compressed-512": ("qcow2", None, True, {"cluster_size": "512"}),
    "vmdk-sparse": ("vmdk", "monolithicSparse", False, {}),
    "vmdk-stream": ("vmdk", "streamOptimized", False, {}),
    "vdi-dynamic": ("vdi", "dynamic", False, {}),
    "vdi-fixed": ("vdi", "fixed", False, {}),
    "vhd-dynamic": ("vhd", "dynamic", False, {}),
    "vhd-512k": ("vhd", "dynamic", False, {"block_size": "512K"}),
    "vhd-fixed": ("vhd", "fixed", False, {}),
    "vhdx-dynamic": ("vhdx", "dynamic", False, {"block_size": "1M"}),
    "vhdx-zero": ("vhdx", "dynamic", False, {"block_size": "1M", "block_state_zero": "on", "log_size": "2M"}),
    "vhdx-fixed": ("vhdx", "fixed", False, {"block_size": "1M"}),
}
QEMU = {
    "qcow2-qemu": ("qcow2", "qcow2", []),
    "qcow2-qemu-c": ("qcow2", "qcow2", ["-c"]),
    "qcow2-qemu-zstd": ("qcow2", "qcow2", ["-c", "-o", "compression_type=zstd"]),
    "qcow2-qemu-64k-rc1": ("qcow2", "qcow2", ["-o", "refcount_bits=1"]),
    "qcow2-qemu-512-rc64": ("qcow2", "qcow2", ["-o", "cluster_size=512,refcount_bits=64"]),
    "qcow2-qemu-2M-v2": ("qcow2", "qcow2", ["-o", "cluster_size=2M,compat=0.10"]),
    "qcow2-qemu-metadata": ("qcow2", "qcow2", ["-o", "preallocation=metadata"]),
    "qcow2-qemu-extl2": ("qcow2", "qcow2", ["-o", "extended_l2=on"]),
    "vmdk-qemu": ("vmdk", "vmdk", []),
    "vmdk-qemu-zeroed": ("vmdk", "vmdk", ["-o", "zeroed_grain=on"]),
    "vmdk-qemu-stream": ("vmdk", "vmdk", ["-o", "subformat=streamOptimized"]),
    "vdi-qemu": ("vdi", "vdi", []),
    "vdi-qemu-static": ("vdi", "vdi", ["-o", "static=on"]),
    "vhd-qemu": ("vhd", "vpc", ["-o", "force_size=on"]),
    "vhd-qemu-fixed": ("vhd", "vpc", ["-o", "subformat=fixed,force_size=on"]),
    "vhdx-qemu": ("vhdx", "vhdx", ["-o", "block_size=1M"]),
    "vhdx-qemu-fixed": ("vhdx", "vhdx", ["-o", "subformat=fixed,block_size=1M"]),
    "qcow-qemu": ("qcow", "qcow", []),
    "qed-qemu": ("qed", "qed", []),
    "qed-qemu-4k": ("qed", "qed", ["-o", "cluster_size=4096,table_size=2"]),
    "parallels-qemu": ("parallels", "parallels", ["-o", "cluster_size=64k"]),
    "parallels-qemu-63": ("parallels", "parallels", ["-o", f"cluster_size={63 * 512}"]),
}
BUILT = {
    "bochs": ("bochs", build_others.bochs, {"extent": 64 * KIB}),
    "bochs-version-1": ("bochs", build_others.bochs, {"version": 1, "seed": 1}),
    "cloop": ("cloop", build_others.cloop, {}),
    "cloop-noise": ("cloop", build_others.cloop, {"block": 4 * KIB, "level": 0}),
    "vdi-old": ("vdi", build_variants.old_vdi, {}),
}


def make_images(folder: Path, family: str | None, qemu_img: str | None, corpus: Path | None) -> list[Image]:
    """Write all images of a family (of every one when None) into a folder."""
    disk = folder / "disk.raw"
    disk.write_bytes(make_disk())
    images = [Image("raw", "raw", disk, disk)]
    for name, (form, subformat, compress, options) in OURS.items():
        if family in (None, form, "stream"):
            convert(disk, folder / name, form, subformat, compress, options)
            images.append(Image(name, form, folder / name, disk))
    if family in (None, "iso"):
        (folder / "iso").write_bytes(make_iso())
        images.append(Image("iso", "iso", folder / "iso", folder / "iso"))
    if family in (None, "stream"):
        raw, qcow2 = disk.read_bytes(), (folder / "qcow2-v2-4k").read_bytes()
        half = len(raw) // 2
        for name, data in (
            ("raw.gz", gzip.compress(raw, 1, mtime=0)),
            ("raw.gz-members", gzip.compress(raw[:half], 1, mtime=0) + gzip.compress(raw[half:], 1, mtime=0) + bytes(512)),
            ("raw.xz", lzma.compress(raw, preset=0)),
            ("raw.xz-streams", lzma.compress(raw[:half], preset=0) + bytes(8) + lzma.compress(raw[half:], preset=0)),
            ("raw.bz2", bz2.compress(raw, 1)),
            ("raw.bz2-streams", bz2.compress(raw[:half], 1) + bz2.compress(raw[half:], 1)),
            ("qcow2.gz", gzip.compress(qcow2, 1, mtime=0)),
            ("qcow2.xz", lzma.compress(qcow2, preset=0)),
        ):
            (folder / name).write_bytes(data)
            images.append(Image(name, "stream", folder / name, disk))
    if family in (None, "package"):
        build_ova.build_ova(folder / "ova", size=8 * MIB)
        build_ova.make_disk(folder / "ova.raw", 8 * MIB)
        images.append(Image("ova", "package", folder / "ova", folder / "ova.raw"))
    for name, (form, build, wishes) in BUILT.items():
        if family in (None, form):
            content = make_disk() if form == "bochs" else make_disk().ljust(-(-DISK // (64 * KIB)) * 64 * KIB, b"\0")
            (folder / f"{name}.raw").write_bytes(content)
            (folder / name).write_bytes(build(content, **wishes))
            images.append(Image(name, form, folder / name, folder / f"{name}.raw"))
    for name, (form, driver, options) in QEMU.items() if qemu_img else ():
        if family in (None, form):
            subprocess.run([qemu_img, "convert", "-f", "raw", "-O", driver, *options, disk, folder / name], check=True)
            images.append(Image(name, form, folder / name, disk))
    if qemu_img and family in (None, "qcow2"):
        with_snapshot = folder / "qcow2-qemu-snapshot"
        shutil.copy(folder / "qcow2-qemu", with_snapshot)
        subprocess.run([qemu_img, "snapshot", "-c", "before", with_snapshot], check=True)
        images.append(Image("qcow2-qemu-snapshot", "qcow2", with_snapshot, disk))
    if qemu_img and family in (None, "qcow"):
        # It writes all of the image and then fails: its last step has no bytes, and the driver takes none.
        subprocess.run([qemu_img, "convert", "-c", "-f", "raw", "-O", "qcow", disk, folder / "qcow-qemu-c"], check=False)
        subprocess.run([qemu_img, "compare", "-q", "-f", "raw", "-F", "qcow", disk, folder / "qcow-qemu-c"], check=True)
        images.append(Image("qcow-qemu-c", "qcow", folder / "qcow-qemu-c", disk))
    if qemu_img and family in (None, "parallels"):
        old = build_others.old_parallels((folder / "parallels-qemu").read_bytes(), keep_data_off=False)
        (folder / "parallels-old").write_bytes(old)
        images.append(Image("parallels-old", "parallels", folder / "parallels-old", disk))
    if family in (None, "vhdx"):
        (folder / "vhdx-dirty").write_bytes(build_variants.dirty_vhdx((folder / "vhdx-dynamic").read_bytes()))
        images.append(Image("vhdx-dirty", "vhdx", folder / "vhdx-dirty", disk))
    if family in (None, "vmdk"):
        images += vmdk_parts(folder)
    if corpus:
        images += corpus_images(folder, family, corpus)
    return [image for image in images if family in (None, image.family)]


def vmdk_parts(folder: Path) -> list[Image]:
    """Data files of ESX, by themselves and through a descriptor, and one part of a disk in two sparse files."""
    disk = make_disk().ljust(DISK // 65536 * 65536 + 65536, b"\0")
    sectors = len(disk) // build_vmdk.SECTOR

    def grains(size: int) -> dict[int, bytes]:
        cut = {number: disk[number * size : (number + 1) * size] for number in range(len(disk) // size)}
        return {number: data for number, data in cut.items() if data.strip(b"\0")}

    geometry = (1, 1, sectors)
    every = {number: disk[number * 4096 : (number + 1) * 4096] for number in range(len(disk) // 4096)}
    files = {
        "vmdk-cowd-root": (build_vmdk.cowd(sectors, grains(512), geometry=geometry), None),
        "vmdk-cowd": (build_vmdk.cowd(sectors, grains(512), seed=1), "VMFSSPARSE"),
        "vmdk-cowd-64k": (build_vmdk.cowd(sectors, grains(65536), grain=128), "VMFSSPARSE"),
        "vmdk-sesparse-full": (build_vmdk.sesparse(sectors, every), None),
        "vmdk-sesparse": (build_vmdk.sesparse(sectors, {**dict.fromkeys(range(40, 60), build_vmdk.UNMAPPED), **grains(4096)}, seed=1), "SESPARSE"),
    }
    convert(folder / "disk.raw", folder / "vmdk-part", "vmdk", "monolithicSparse")
    files["vmdk-part"] = (bytearray((folder / "vmdk-part").read_bytes()), "SPARSE")
    images = []
    for name, (data, kind) in files.items():
        (folder / name).write_bytes(data)
        content = DISK // build_vmdk.SECTOR if kind == "SPARSE" else sectors
        (folder / f"{name}.raw").write_bytes(disk[: content * build_vmdk.SECTOR])
        create_type = {"VMFSSPARSE": "vmfsSparse", "SESPARSE": "seSparse"}.get(kind, "twoGbMaxExtentSparse")
        text = build_vmdk.descriptor(create_type, [f'RW {content} {kind} "{MUTANT}"']) if kind else None
        images.append(Image(name, "vmdk", folder / name, folder / f"{name}.raw", text))
    return images


def corpus_images(folder: Path, family: str | None, corpus: Path) -> list[Image]:
    """The small images of a corpus (MANIFEST.tsv and tool.py), sound or not: only their content is not known here."""
    spec = importlib.util.spec_from_file_location("corpus_tool", corpus / "tool.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    images = []
    with open(corpus / "MANIFEST.tsv", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["role"] == "primary"]
    for row in rows:
        form = registry.canonical(row["format"]) if registry.canonical(row["format"]) in registry.FORMATS else None
        if form and family in (None, form) and (corpus / row["file"]).exists() and int(row["image_bytes"]) <= MAX_CORPUS_FILE:
            path = tool.materialize(row["case"], str(folder / "corpus" / row["case"]))
            images.append(Image(row["case"], form, Path(path), None))
    return images


def make_disk() -> bytes:
    """A disk with an MBR, and parts that are random, repetitive or zero and neither begin nor end at a cluster."""
    chance = random.Random(7)
    content = bytearray(DISK)
    for at in range(100 * KIB, DISK, 389 * KIB):
        part = chance.randbytes(50_001) if chance.random() < 0.5 else b"PAYLOAD." * 9_000
        content[at : at + len(part)] = part[: DISK - at]
    content[-1] = 0x99
    content[446:462] = bytes([0x80, 0, 2, 0, 0x83, 0, 0, 0]) + (2048).to_bytes(4, "little") + (2048).to_bytes(4, "little")
    content[510:512] = b"\x55\xaa"
    return bytes(content)


def make_iso() -> bytes:
    """An ISO 9660 image with a root directory, Rock Ridge's mark and an El Torito catalog; its files are left out."""
    sector, blocks = 2048, 40
    root = bytearray(34)
    root[0], root[2:6], root[10:14], root[25] = 34, (20).to_bytes(4, "little"), sector.to_bytes(4, "little"), 2
    primary = bytearray(sector)
    primary[:7] = b"\1CD001\1"
    primary[40:72] = b"FUZZ".ljust(32)
    primary[80:84], primary[84:88] = blocks.to_bytes(4, "little"), blocks.to_bytes(4, "big")
    primary[128:132] = b"\0\x08\x08\0"
    primary[156:190] = root
    boot = bytearray(sector)
    boot[:7], boot[7:30], boot[71:75] = b"\0CD001\1", b"EL TORITO SPECIFICATION", (21).to_bytes(4, "little")
    catalog = bytearray(sector)
    catalog[0], catalog[30:32] = 1, b"\x55\xaa"
    catalog[28:30] = (-sum(int.from_bytes(catalog[at : at + 2], "little") for at in range(0, 32, 2)) & 0xFFFF).to_bytes(2, "little")
    catalog[32:44] = bytes([0x88, 0, 0, 0, 0, 0, 4, 0]) + (22).to_bytes(4, "little")
    directory = bytes(root) + b"SP\7\1\xbe\xef\0" + b"RR\5\1\x81"
    parts = {16: primary, 17: boot, 18: b"\xffCD001\1", 20: directory, 21: catalog}
    content = b"".join(bytes(parts.get(number, b"")).ljust(sector, b"\0") for number in range(blocks - 8))
    return content + random.Random(9).randbytes(8 * sector)


def convert(src: Path, dest: Path, form: str, subformat: str | None = None, compress: bool = False, options: dict[str, str] | None = None) -> None:
    """Write an image with the engine's own writers."""
    with open_source(Request(str(src))) as source, Sink(dest) as sink:
        produce(source, registry.target(form, subformat, compress, options), sink)
        sink.commit()


def structures(image: Image) -> list[tuple[int, int]]:
    """The (offset, length) ranges of an image's file that describe it, where damage means most."""
    storage = FileStorage(image.path)
    recorder = Recorder(storage)
    try:
        if image.family == "package":
            return [(member.offset - tar.BLOCK, tar.BLOCK + min(member.size, 4 * KIB)) for member in tar.members(storage)]
        if image.family == "stream":
            return [(0, 64), (max(0, storage.size - 64), min(64, storage.size)), (storage.size // 2, 64)]
        if image.descriptor:
            kind = next(word for word in image.descriptor.split() if word in ("VMFSSPARSE", "SESPARSE", "SPARSE"))
            part = {"VMFSSPARSE": CowdExtent, "SESPARSE": SeSparseExtent, "SPARSE": SparseExtent}[kind](recorder)
            collections.deque(part.extents(0, part.size), maxlen=0)
        else:
            reader = registry.open_reader(image.family, recorder)
            reader.describe()
            collections.deque(reader.extents(), maxlen=0)
    except ImageError:
        pass  # a case of the corpus that is bad already
    finally:
        storage.close()
    return sorted({(offset, length) for offset, length in recorder.ranges if length > 0}) or [(0, min(512, storage.size))]


class Mutant(t.NamedTuple):
    """A damaged image."""

    data: bytearray
    story: str
    cut: bool
    """nothing was done to it but to cut its end"""


def mutate(image: Image, data: bytes, hot: list[tuple[int, int]], chance: random.Random) -> Mutant:
    """Damage an image in one to three places; often repair the checksums then, so that what they protect is reached."""
    if chance.random() < 0.12:
        size = cut(data, hot, chance)
        return Mutant(bytearray(data[:size]), f"cut to {size} of {len(data)} bytes", True)
    new = bytearray(data)
    stories = []
    for _count in range(chance.choice((1, 1, 1, 2, 3))):
        stories.append(chance.choice(MUTATIONS)(new, hot, chance))
    if chance.random() < 0.6:
        stories += _reseal(image, new, data)
    return Mutant(new, "; ".join(stories), False)


def _reseal(image: Image, data: bytearray, before: bytes) -> list[str]:
    """Put right the checksums that the format has, of what was changed."""
    places: list[tuple[int, int, t.Callable[[bytes], bytes]]] = []
    if image.family == "vhd":
        places = [(0, 512, _seal_vhd), (len(data) - 512, 512, _seal_vhd), (512, 1024, _seal_vhd)]
    elif image.family == "vhdx":
        places = [(offset, 4096, crc32c.seal) for offset in vhdx.HEADER_OFFSETS]
        places += [(offset, vhdx.REGION_TABLE_SIZE, crc32c.seal) for offset in vhdx.REGION_TABLE_OFFSETS]
        places += [(offset, length, crc32c.seal) for offset, length in build_variants.log_entries(bytes(data))]
    elif image.family == "package":
        places = [(offset, tar.BLOCK, _seal_tar) for offset in range(0, len(data) - tar.BLOCK, tar.BLOCK) if data[offset + 257 : offset + 262] == b"ustar"]
    repaired = []
    for offset, length, seal in places:
        found = bytes(data[max(0, offset) : offset + length])
        if len(found) == length and found != before[offset : offset + length]:
            data[offset : offset + length] = seal(found)
            repaired.append(f"checksum at {offset:#x} repaired")
    return repaired


def _seal_vhd(raw: bytes) -> bytes:
    at = {vhd.FOOTER_COOKIE: vhd.FOOTER_CHECKSUM, vhd.HEADER_COOKIE: vhd.HEADER_CHECKSUM}.get(raw[:8])
    return raw if at is None else raw[:at] + vhd.checksum(raw, at).to_bytes(4, "big") + raw[at + 4 :]


def _seal_tar(raw: bytes) -> bytes:
    total = sum(raw[:148]) + 8 * 32 + sum(raw[156:])
    return raw[:148] + b"%06o\0 " % total + raw[156:]
