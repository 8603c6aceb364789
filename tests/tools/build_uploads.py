# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small files that somebody may want to upload to a cloud, good ones and others: by the usual programs, and by our writers.

A file is made when it is first asked for, by its name. The disk in all of them is that of ``mbr``, unless the name says otherwise.
"""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "module_utils"))

from _engine.formats import registry  # noqa: E402
from _engine.produce import produce  # noqa: E402
from _engine.source import Request, open_source  # noqa: E402
from _engine.storage.sink import Sink  # noqa: E402
from build_uec import build_kernel, build_ramdisk  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
DISK = 2 * MIB
SECRET = ("--object", "secret,id=s,data=secret")
ISO_DESCRIPTOR = b"\1CD001\1"
OVF = b'<?xml version="1.0"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"/>'

QEMU: dict[str, tuple[str, ...]] = {
    "qcow2": ("qcow2",),
    "qcow2-compressed": ("qcow2", "-c"),
    "qcow2-zstd": ("qcow2", "-c", "-o", "compression_type=zstd"),
    "qcow2-v2": ("qcow2", "-o", "compat=0.10"),
    "qcow2-lazy": ("qcow2", "-o", "lazy_refcounts=on"),
    "qcow2-extended": ("qcow2", "-o", "extended_l2=on"),
    "qcow2-4k": ("qcow2", "-o", "cluster_size=4k"),
    "qcow2-2m": ("qcow2", "-o", "cluster_size=2M"),
    "qcow2-refcount1": ("qcow2", "-o", "refcount_bits=1"),
    "vmdk": ("vmdk",),
    "vmdk-stream": ("vmdk", "-o", "subformat=streamOptimized"),
    "vmdk-flat": ("vmdk", "-o", "subformat=monolithicFlat"),
    "vmdk-split": ("vmdk", "-o", "subformat=twoGbMaxExtentSparse"),
    "vmdk-splitflat": ("vmdk", "-o", "subformat=twoGbMaxExtentFlat"),
    "vmdk-v6": ("vmdk", "-o", "compat6=on"),
    "vdi": ("vdi",),
    "vdi-static": ("vdi", "-o", "static=on"),
    "vhd": ("vpc", "-o", "force_size=on"),
    "vhd-rounded": ("vpc",),
    "vhd-fixed": ("vpc", "-o", "subformat=fixed,force_size=on"),
    "vhd-fixed-rounded": ("vpc", "-o", "subformat=fixed"),
    "vhdx": ("vhdx",),
    "vhdx-fixed": ("vhdx", "-o", "subformat=fixed"),
    "qcow1": ("qcow",),
    "qed": ("qed",),
    "parallels": ("parallels",),
    "luks": ("luks", *SECRET, "-o", "key-secret=s,iter-time=10"),
    "qcow2-luks": ("qcow2", *SECRET, "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10"),
}
"""name → qemu-img convert's format and options"""

INSIDE: dict[str, tuple[str, str]] = {
    "qcow2-of-qcow2": ("qcow2", "qcow2"),
    "qcow2-of-iso": ("qcow2", "iso"),
    "qcow2-of-iso-mbr": ("qcow2", "iso-mbr"),
    "qcow2-of-bad-mbr": ("qcow2", "mbr-bad-flag"),
    "vmdk-of-luks": ("vmdk", "luks"),
}
"""name → qemu-img convert's format, and another file, whose bytes are the disk in it"""

OURS: dict[str, tuple[str, str | None, bool, dict[str, str]]] = {
    "our-raw": ("raw", None, False, {}),
    "our-qcow2": ("qcow2", None, False, {}),
    "our-qcow2-compressed": ("qcow2", None, True, {}),
    "our-qcow2-zstd": ("qcow2", None, True, {"compression_type": "zstd"}),
    "our-qcow2-v2": ("qcow2", None, False, {"compat": "0.10"}),
    "our-qcow2-4k": ("qcow2", None, False, {"cluster_size": "4k"}),
    "our-qcow2-lazy": ("qcow2", None, False, {"lazy_refcounts": "on"}),
    "our-qcow2-refcount64": ("qcow2", None, False, {"refcount_bits": "64"}),
    "our-qcow2-extended": ("qcow2", None, False, {"extended_l2": "on"}),
    "our-qcow2-metadata": ("qcow2", None, False, {"preallocation": "metadata"}),
    "our-qcow2-backing": ("qcow2", None, False, {"backing_file": "mbr", "backing_fmt": "raw"}),
    "our-vmdk": ("vmdk", "monolithicSparse", False, {}),
    "our-vmdk-stream": ("vmdk", "streamOptimized", True, {}),
    "our-vmdk-flat": ("vmdk", "monolithicFlat", False, {}),
    "our-vmdk-split": ("vmdk", "twoGbMaxExtentSparse", False, {}),
    "our-vmdk-splitflat": ("vmdk", "twoGbMaxExtentFlat", False, {}),
    "our-vmdk-v6": ("vmdk", "monolithicSparse", False, {"compat6": "on"}),
    "our-vmdk-zeroed": ("vmdk", "monolithicSparse", False, {"zeroed_grain": "on"}),
    "our-vmdk-ide": ("vmdk", "streamOptimized", True, {"adapter_type": "ide", "hwversion": "13", "toolsversion": "11269"}),
    "our-vdi": ("vdi", "dynamic", False, {}),
    "our-vdi-fixed": ("vdi", "fixed", False, {}),
    "our-vhd": ("vhd", "dynamic", False, {}),
    "our-vhd-rounded": ("vhd", "dynamic", False, {"force_size": "off"}),
    "our-vhd-512k": ("vhd", "dynamic", False, {"block_size": "512K"}),
    "our-vhd-fixed": ("vhd", "fixed", False, {}),
    "our-vhdx": ("vhdx", "dynamic", False, {}),
    "our-vhdx-4k": ("vhdx", "dynamic", False, {"logical_sector_size": "4096", "block_size": "1M", "block_state_zero": "on"}),
    "our-vhdx-fixed": ("vhdx", "fixed", False, {}),
}
"""name → format, subformat, compressed, and options of our writer"""

CREATED: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "qcow2-backing": ("qcow2", ("mbr",), ("-b", "mbr", "-F", "raw")),
    "qcow2-v2-backing": ("qcow2", ("mbr",), ("-o", "compat=0.10", "-b", "mbr", "-F", "raw")),
    "qcow2-data": ("qcow2", (), ("-o", "data_file=qcow2-data.bin")),
    "qcow2-data-raw": ("qcow2", (), ("-o", "data_file=qcow2-data-raw.bin,data_file_raw=on")),
    "vmdk-child": ("vmdk", ("vmdk",), ("-b", "vmdk", "-F", "vmdk")),
}
"""name → qemu-img create's format, the files that are to be there, and options"""

PATCHED: dict[str, tuple[str, int, bytes]] = {
    "mbr-bad-flag": ("mbr", 446, b"\x13"),
    "mbr-no-partition": ("mbr", 446, bytes(64)),
    "mbr-no-signature": ("mbr", 510, b"\0\0"),
    "mbr-overlapping": ("mbr", 462, struct.pack("<B3sB3sII", 0, b"\0\2\0", 0x83, b"\0\0\0", 2048, 100)),
    "gpt-chs": ("gpt", 447, b"\1\1\0"),
    "gpt-lba": ("gpt", 454, b"\2"),
    "gpt-active": ("gpt", 446, b"\x80"),
    "gpt-second": ("gpt", 446, bytes(16) + struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, DISK // 512 - 1)),
    "gpt-cut": ("gpt", 512, bytes(512)),
    "fat-no-signature": ("fat", 510, b"\0\0"),
    "qcow2-v4": ("qcow2", 4, b"\0\0\0\4"),
    "qcow2-dirty": ("qcow2", 79, b"\1"),
    "qcow2-corrupt": ("qcow2", 79, b"\2"),
    "qcow2-bit5": ("qcow2", 79, b"\x20"),
    "qcow2-bit63": ("qcow2", 72, b"\x80"),
    "qcow2-autoclear": ("qcow2", 88, b"\x80"),
    "qcow2-and-iso": ("qcow2", 32768, ISO_DESCRIPTOR),
    "vdi-and-mbr": ("vdi", 510, b"\x55\xaa"),
    "vhdx-and-iso": ("vhdx", 32768, ISO_DESCRIPTOR),
    "vhdx-no-region": ("vhdx", 192 * KIB, bytes(4)),
    "vmdk-footer-descriptor": ("our-vmdk-stream", -1024 + 28, b"\5"),
    "vmdk-footer-version": ("our-vmdk-stream", -1024 + 4, b"\7"),
    "vmdk-no-end-marker": ("our-vmdk-stream", -512, b"\1"),
    "luks-v3": ("luks", 6, b"\0\3"),
}
"""name → another file, and bytes to put there at an offset (below 0: from its end)"""

CUT: dict[str, tuple[str, int]] = {
    "qcow2-300-bytes": ("qcow2", 300),
    "qcow2-512-bytes": ("qcow2", 512),
    "qcow2-cut": ("qcow2", 100_000),
    "vmdk-header": ("vmdk", 512),
    "vmdk-stream-cut": ("vmdk-stream", -1024),
    "vhdx-head": ("vhdx", 100_000),
    "vdi-head": ("vdi", 512),
    "iso-cut": ("iso", 32768),
    "mbr-sector": ("mbr", 512),
    "mbr-511-bytes": ("mbr", 511),
}
"""name → another file, and how many of its bytes (below 0: how many fewer)"""

DESCRIPTORS: dict[str, tuple[bytes, bytes]] = {
    "vmdk-path": (b'"vmdk"', b'"/etc/shadow"'),
    "vmdk-type": (b"monolithicSparse", b"monolithicFlat"),
    "vmdk-type-small": (b"monolithicSparse", b"MONOLITHICSPARSE"),
    "vmdk-no-extent": (b"\nRW ", b"\n#W "),
    "vmdk-strange-line": (b"# Extent description", b"strange"),
    "vmdk-not-ascii": (b"# Extent", b"# \xc3\xa4xtent"),
    "vmdk-remains": (b'"ide"\n', b'"ide"\n\0\n'),
}
"""name → what to put in place of what in the descriptor of ``vmdk``"""


class Uploads:
    """Makes the files in a folder."""

    def __init__(self, folder: Path, qemu_img: str) -> None:
        self.folder, self.qemu_img = folder, qemu_img

    def path(self, name: str) -> Path:
        """The file of this name; see the tables above and :data:`BUILT`.

        :raises KeyError: there is none of that name
        """
        path = self.folder / name
        if not path.exists():
            try:
                self._make(name, path)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
        return path

    def _make(self, name: str, path: Path) -> None:
        if name in QEMU:
            # Where the CPU's time is not to be had, making LUKS fails at random.
            self.tool(self.qemu_img, "convert", "-q", "-f", "raw", "-O", *QEMU[name], str(self.path("mbr")), name, tries=6 if "luks" in name else 1)
        elif name in INSIDE:
            kind, other = INSIDE[name]
            self.tool(self.qemu_img, "convert", "-q", "-f", "raw", "-O", kind, str(self.path(other)), name)
        elif name in CREATED:
            kind, others, options = CREATED[name]
            for other in others:
                self.path(other)
            self.tool(self.qemu_img, "create", "-q", "-f", kind, *options, name, *([] if others else [str(DISK)]))
        elif name in OURS:
            self._convert(path, registry.target(*OURS[name]))
        elif name in PATCHED:
            other, at, new = PATCHED[name]
            data = bytearray(self.path(other).read_bytes())
            at %= len(data)
            data[at : at + len(new)] = new
            path.write_bytes(data)
        elif name in CUT:
            other, length = CUT[name]
            path.write_bytes(self.path(other).read_bytes()[:length])
        elif name in DESCRIPTORS:
            path.write_bytes(edit_descriptor(self.path("vmdk").read_bytes(), *DESCRIPTORS[name]))
        elif name in PARTS:
            self.path(PARTS[name])
        else:
            BUILT[name](self, path)

    def _convert(self, path: Path, target: registry.Target) -> None:
        with open_source(Request(str(self.path("mbr")))) as source, Sink(str(path), mode=0o644) as sink:
            produce(source, target, sink, base_folder=str(self.folder))
            sink.commit()

    def tool(self, *command: str, text: str = "", tries: int = 1) -> None:
        """Run a program in the folder.

        :raises RuntimeError: it fails, each time
        """
        for _attempt in range(tries):
            done = subprocess.run(command, cwd=self.folder, input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            if done.returncode == 0:
                return
        raise RuntimeError(f"{' '.join(command)}: {done.stdout.decode(errors='replace')}")

    def blank(self, path: Path, size: int = DISK) -> str:
        """Make a file of zeros, and return its name."""
        with open(path, "wb") as file:
            file.truncate(size)
        return path.name


def edit_descriptor(image: bytes, old: bytes, new: bytes) -> bytes:
    """A sparse VMDK with another text in its descriptor, which keeps its place and its size."""
    sector, sectors = struct.unpack_from("<QQ", image, 28)
    start, end = sector * 512, (sector + sectors) * 512
    text = image[start:end].rstrip(b"\0")
    if old not in text:
        raise ValueError(f"the descriptor has no {old!r}")
    return image[:start] + text.replace(old, new).ljust(end - start, b"\0") + image[end:]


def _mbr(uploads: Uploads, path: Path) -> None:
    name = uploads.blank(path)
    uploads.tool("sfdisk", "-q", name, text="label: dos\nstart=2048,type=83,bootable\n")
    with open(path, "r+b") as file:
        file.seek(MIB)
        file.write(random.Random(1).randbytes(100_000))


def _table(text: str) -> t.Callable[[Uploads, Path], None]:
    return lambda uploads, path: uploads.tool("sfdisk", "-q", uploads.blank(path), text=text)


def _made_by(*command: str, size: int = DISK) -> t.Callable[[Uploads, Path], None]:
    return lambda uploads, path: uploads.tool(*command, uploads.blank(path, size))


def _parted(uploads: Uploads, path: Path) -> None:
    uploads.tool("parted", "-s", uploads.blank(path, 4 * MIB), "mklabel", "gpt", "mkpart", "a", "1MiB", "2MiB")


def _written(data: t.Callable[[], bytes]) -> t.Callable[[Uploads, Path], None]:
    return lambda _uploads, path: path.write_bytes(data()) and None


def _hybrid(uploads: Uploads, path: Path) -> None:
    _made_by("sgdisk", "-n", "1:2048:3000", "-n", "2:3072:3900")(uploads, path)
    uploads.tool("sgdisk", "-h", "1:2", path.name)


def _packed(program: str, other: str) -> t.Callable[[Uploads, Path], None]:
    def build(uploads: Uploads, path: Path) -> None:
        with open(path, "wb") as file:
            subprocess.run([program, "-c", uploads.path(other)], stdout=file, check=True)

    return build


def _iso(*options: str) -> t.Callable[[Uploads, Path], None]:
    def build(uploads: Uploads, path: Path) -> None:
        (uploads.folder / "tree").mkdir(exist_ok=True)
        (uploads.folder / "tree/letter.txt").write_text("dear me\n")
        uploads.path("fat")
        uploads.tool("xorriso", "-as", "mkisofs", "-quiet", "-V", "TEST", *options, "-o", path.name, "tree")

    return build


def _grub(uploads: Uploads, path: Path) -> None:
    (uploads.folder / "grub").mkdir()
    uploads.tool("grub-mkrescue", "--install-modules=normal linux", "--locales=", "--fonts=", "--themes=", "-o", path.name, "grub")


def _snapshot(uploads: Uploads, path: Path) -> None:
    path.write_bytes(uploads.path("qcow2").read_bytes())
    uploads.tool(uploads.qemu_img, "snapshot", "-c", "one", path.name)


def _ova(uploads: Uploads, path: Path) -> None:
    (uploads.folder / "guest.ovf").write_bytes(OVF)
    uploads.path("vmdk-stream")
    uploads.tool("tar", "--format=ustar", "-cf", path.name, "guest.ovf", "vmdk-stream")


PARTS = {"vmdk-flat-flat": "vmdk-flat", "vmdk-split-s001": "vmdk-split", "qcow2-data.bin": "qcow2-data"}
"""a file that is made with another"""

BUILT: dict[str, t.Callable[[Uploads, Path], None]] = {
    "mbr": _mbr,
    "mbr-four": _table("label: dos\nsize=100\nsize=100\nsize=100\nsize=100\n"),
    "mbr-extended": _table("label: dos\nsize=100\ntype=5\nsize=100\n"),
    "gpt": _table("label: gpt\nstart=64,size=1024\n"),
    "gpt-empty": _table("label: gpt\n"),
    "gpt-sgdisk": _made_by("sgdisk", "-n", "1:2048:3000"),
    "gpt-parted": _parted,
    "gpt-hybrid": _hybrid,
    "ext4": _made_by("mkfs.ext4", "-q", "-F"),
    "fat": _made_by("mkfs.vfat", size=8 * MIB),
    "fat-one-copy": _made_by("mkfs.vfat", "-f", "1", size=8 * MIB),
    "ntfs": _made_by("mkntfs", "-q", "-F", "-f", size=8 * MIB),
    "squashfs": lambda uploads, path: (uploads.path("mbr"), uploads.tool("mksquashfs", "mbr", path.name, "-quiet", "-no-progress"))[1],
    "udf": _made_by("mkudffs", "--label=TEST", "--blocksize=2048"),
    "zeros": lambda uploads, path: uploads.blank(path) and None,
    "empty": _written(lambda: b""),
    "random": _written(lambda: random.Random(2).randbytes(100)),
    "text": _written(lambda: b"This is no disk image, but a letter.\n" * 40),
    "kernel": _written(build_kernel),
    "ramdisk": _written(build_ramdisk),
    "qcow2-snapshot": _snapshot,
    "iso": _iso(),
    "iso-mbr": _iso("--protective-msdos-label"),
    "iso-gpt": _iso("-append_partition", "2", "0xef", "fat", "-appended_part_as_gpt"),
    "iso-grub": _grub,
    "ova": _ova,
    "mbr.gz": _packed("gzip", "mbr"),
    "mbr.xz": _packed("xz", "mbr"),
    "qcow2.gz": _packed("gzip", "qcow2"),
}
