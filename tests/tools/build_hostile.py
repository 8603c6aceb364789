# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages made to do harm, one for each trick: build_hostile.py OUTDIR [GROUP...]

measure_hostile.py has the modules open them. Everything is built with Python's own tarfile, zipfile and zlib; names that
lead out point to a file `evil` in the folder around, where nothing may appear, or to `secret`, which nobody may read.
"""

from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import os
import stat
import struct
import sys
import tarfile
import typing as t
import warnings
import zipfile
from pathlib import Path

from build_ova import descriptor, manifest, write_vmdk

MIB = 1 << 20
HREF = "appliance-disk1.vmdk"
SECRET = b"what nobody may read"
FILE, LINK, HARD, CHARACTER, BLOCK, FIFO = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE
_MODES = {LINK: stat.S_IFLNK, CHARACTER: stat.S_IFCHR, BLOCK: stat.S_IFBLK, FIFO: stat.S_IFIFO}
"""how Info-ZIP stores what is no file; it has no hard links"""


class Entry(t.NamedTuple):
    """Something in an archive."""

    name: str
    data: bytes = b""
    kind: bytes = FILE
    target: str = ""
    """of a link"""


class Case(t.NamedTuple):
    """A hostile package."""

    build: t.Callable[[Path], Path]
    """given an empty folder, in which it may write all it likes; gives the package"""
    extract: str
    """the kind of error by which ovf_extract refuses it; ``done`` when it has nothing to do with what is wrong"""
    convert: str
    """and image_convert"""


Entries = t.Sequence[Entry]
CASES: dict[str, Case] = {}


def tar(entries: Entries, path: Path) -> Path:
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.name)
            info.type, info.linkname, info.size, info.mode = entry.kind, entry.target, len(entry.data), 0o644
            info.devmajor, info.devminor = (1, 3) if entry.kind in (CHARACTER, BLOCK) else (0, 0)
            archive.addfile(info, io.BytesIO(entry.data))
    return path


def targz(entries: Entries, path: Path) -> Path:
    path.write_bytes(gzip.compress(tar(entries, path).read_bytes(), 1, mtime=0))
    return path


def zipped(entries: Entries, path: Path, level: int = 1) -> Path:
    """
    :param level: 0: not compressed
    """
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as archive:
        warnings.simplefilter("ignore")  # of two members with one name
        for entry in entries:
            info = zipfile.ZipInfo("placeholder")
            info.filename, info.create_system = entry.name, 3
            info.external_attr = (_MODES.get(entry.kind, stat.S_IFREG) | 0o644) << 16
            kind = zipfile.ZIP_DEFLATED if level else zipfile.ZIP_STORED
            archive.writestr(info, entry.data or entry.target.encode(), kind, level)
    return path


def folder(entries: Entries, path: Path) -> Path:
    path.mkdir()
    for entry in entries:
        place = path / entry.name
        place.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind == LINK:
            place.symlink_to(entry.target)
        elif entry.kind == FIFO:
            os.mkfifo(place)
        else:
            place.write_bytes(entry.data)
    return path


ARCHIVES = {"tar": tar, "tar.gz": targz, "zip": zipped}
CONTAINERS = {**ARCHIVES, "folder": folder}
_disk = b""


def disk() -> bytes:
    """A sound streamOptimized VMDK of 1 MiB."""
    global _disk
    if not _disk:
        import tempfile

        with tempfile.TemporaryDirectory() as place:
            raw, vmdk = Path(place, "raw"), Path(place, "vmdk")
            raw.write_bytes(b"\x33" * 512 + bytes(MIB - 512))
            write_vmdk(raw, vmdk)
            _disk = vmdk.read_bytes()
    return _disk


def differences(backing: str) -> bytes:
    """A qcow2 image of 1 MiB with nothing in it but the name of the image below it (docs/interop/qcow2.txt)."""
    clusters = [b"", bytes(512), (3 << 16).to_bytes(8, "big"), b"\0\1" * 4]  # header, L1 table, refcount table, refcounts
    name = backing.encode()
    clusters[0] = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 72, len(name), 16, MIB, 0, 1, 1 << 16, 2 << 16, 1, 0, 0) + name
    return b"".join(cluster.ljust(1 << 16, b"\0") for cluster in clusters)


def case(name: str, entries: t.Callable[[Path], Entries], extract: str, convert: str, containers: t.Iterable[str] = ("tar",)) -> None:
    """The same trick in several containers.

    :param entries: given the folder that nothing may be written to
    """

    def build(container: str) -> t.Callable[[Path], Path]:
        return lambda place: CONTAINERS[container](entries(place.parent), place / "package")

    for container in containers:
        CASES[f"{name} ({container})"] = Case(build(container), extract, convert)


def descriptor_case(name: str, content: t.Callable[[], bytes], extract: str, convert: str, containers: t.Iterable[str] = ("tar",)) -> None:
    case(name, lambda _root: [Entry("vm.ovf", content()), Entry(HREF, disk())], extract, convert, containers)


def paths() -> None:
    """Names that lead out, links, devices."""
    unsafe = "unsafe_reference", "unsafe_reference"
    for name, href in {
        "parent folder": "../evil",
        "parent folder below another": "x/../../evil",
        "parent folder, percent-encoded": "..%2fevil",
        "dots, percent-encoded": "%2e%2e/evil",
    }.items():
        case(name, lambda _root, href=href: [Entry("vm.ovf", descriptor(href)), Entry(href.replace("%2f", "/").replace("%2e", "."), disk())], *unsafe, ARCHIVES)
        case(name, lambda _root, href=href: [Entry("vm.ovf", descriptor(href))], *unsafe, ["folder"])
    case("absolute name", lambda root: [Entry("vm.ovf", descriptor(f"{root}/evil")), Entry(f"{root}/evil", disk())], *unsafe, ARCHIVES)
    case("absolute name", lambda root: [Entry("vm.ovf", descriptor(f"{root}/secret"))], *unsafe, ["folder"])
    case("file URL", lambda root: [Entry("vm.ovf", descriptor(f"file://{root}/secret"))], *unsafe, CONTAINERS)
    case("network", lambda _root: [Entry("vm.ovf", descriptor("http://127.0.0.1:9/disk"))], *unsafe, CONTAINERS)
    case("descriptor above", lambda _root: [Entry("../vm.ovf", descriptor()), Entry(HREF, disk())], "done", "done", ARCHIVES)
    through = [Entry("link", kind=LINK, target=".."), Entry("link/evil", disk()), Entry("vm.ovf", descriptor("link/evil"))]
    case("file through a link", lambda _root: through, "done", "done", ARCHIVES)
    behind = [Entry("link", kind=LINK, target="../.."), Entry("vm.ovf", descriptor("link/secret"))]
    case("folder behind a link", lambda _root: behind, *unsafe, ["folder"])
    for kind, name in ((LINK, "link"), (HARD, "hard link"), (CHARACTER, "character device"), (BLOCK, "block device"), (FIFO, "pipe")):
        where = ["tar", "tar.gz"] if kind == HARD else ARCHIVES
        target = "../secret" if kind in (LINK, HARD) else ""
        case(
            f"disk is a {name}", lambda _root, kind=kind, target=target: [Entry("vm.ovf", descriptor()), Entry(HREF, kind=kind, target=target)], *unsafe, where
        )
    case("disk is a link", lambda _root: [Entry("vm.ovf", descriptor()), Entry(HREF, kind=LINK, target="../../secret")], *unsafe, ["folder"])
    case("disk is a pipe", lambda _root: [Entry("vm.ovf", descriptor()), Entry(HREF, kind=FIFO)], *unsafe, ["folder"])
    case("descriptor is a link", lambda _root: [Entry("vm.ovf", kind=LINK, target="../../secret")], *unsafe, CONTAINERS)
    case("backslashes", lambda _root: [Entry("vm.ovf", descriptor("..\\evil")), Entry("..\\evil", disk())], "done", "done", ARCHIVES)
    listed = manifest({"../secret": SECRET})
    case("manifest names a file above", lambda _root: [Entry("vm.ovf", descriptor()), Entry("vm.mf", listed), Entry(HREF, disk())], *unsafe, CONTAINERS)


def names() -> None:
    """Two of a name, and names that are hard to write."""
    ambiguous = "ambiguous", "ambiguous"
    case("two disks of a name", lambda _root: [Entry("vm.ovf", descriptor()), Entry(HREF, disk()), Entry(HREF, SECRET)], *ambiguous, ARCHIVES)
    case("two spellings of a name", lambda _root: [Entry("vm.ovf", descriptor()), Entry(HREF, disk()), Entry(f"./x/../{HREF}", SECRET)], *ambiguous, ARCHIVES)
    case("two descriptors", lambda _root: [Entry("vm.ovf", descriptor()), Entry("VM.OVF", descriptor()), Entry(HREF, disk())], *ambiguous, CONTAINERS)
    case("a descriptor twice", lambda _root: [Entry("vm.ovf", descriptor()), Entry("vm.ovf", descriptor("x")), Entry(HREF, disk())], *ambiguous, ARCHIVES)
    tricks = [Entry("vm.ovf", descriptor()), Entry(HREF.upper(), disk()), Entry(HREF.title(), disk())]
    case("names that differ in case", lambda _root: tricks, *ambiguous, CONTAINERS)
    long = "d" * 300 + ".vmdk"
    case("name too long for a file", lambda _root: [Entry("vm.ovf", descriptor(long)), Entry(long, disk())], "access", "done", ARCHIVES)
    deep = "d/" * 3000 + "disk.vmdk"
    case("three thousand folders", lambda _root: [Entry("vm.ovf", descriptor(deep)), Entry(deep, disk())], "access", "done", ARCHIVES)
    case("file and folder of a name", lambda _root: [Entry("vm.ovf", descriptor("vm.ovf/d")), Entry("vm.ovf/d", disk())], "access", "done", ARCHIVES)
    odd = "a&#10;b&#27;[31m&#8238;.vmdk"
    real = "a\nb\x1b[31m\u202e.vmdk"
    case("control characters", lambda _root: [Entry("vm.ovf", descriptor(odd)), Entry(real, disk())], "invalid", "invalid", ARCHIVES)


def texts() -> None:
    """Descriptors, manifests and metadata that want time or memory, or other files."""

    def doctype(content: str, href: str = HREF) -> bytes:
        return descriptor(href).replace(b"?>", f"?><!DOCTYPE e [{content}]>".encode(), 1)

    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    unsupported = "unsupported", "unsupported"
    descriptor_case("entities in entities", lambda: doctype(f'<!ENTITY l0 "ha">{laughs}', "&l9;"), *unsupported, CONTAINERS)
    descriptor_case("one long entity", lambda: doctype(f'<!ENTITY a "{"a" * 50_000}">', "&a;" * 50_000), *unsupported)
    descriptor_case("entity from a file", lambda: doctype('<!ENTITY x SYSTEM "file:///etc/passwd">', "&x;"), *unsupported, CONTAINERS)
    descriptor_case("document type from a network", lambda: descriptor().replace(b"?>", b'?><!DOCTYPE e SYSTEM "http://127.0.0.1:9/">', 1), *unsupported)
    limit, unsafe = ("limit_exceeded", "limit_exceeded"), "unsafe_reference"
    descriptor_case("deep XML", lambda: b"<Envelope>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</Envelope>", *limit)
    descriptor_case("wide XML", lambda: descriptor(extra_sections="<a/>" * 900_000), *limit)
    descriptor_case("many attributes", lambda: descriptor(file_attributes=" ".join(f"a{n}='v'" for n in range(150_000))), *limit)
    descriptor_case("five megabytes", lambda: descriptor(extra_sections=f"<!--{'x' * 5_000_000}-->"), *limit, CONTAINERS)
    descriptor_case("another encoding", lambda: descriptor().decode().replace("UTF-8", "UTF-7").encode(), "invalid", "invalid")
    cycle = 'ovf:parentRef="vmdisk1"'
    descriptor_case("disk is its own parent, but complete", lambda: descriptor(disk_attributes=cycle), "done", "done", CONTAINERS)
    overlay = [Entry("vm.ovf", descriptor(disk_attributes=cycle)), Entry(HREF, differences("base"))]
    case("disk is its own parent", lambda _root: overlay, "done", "limit_exceeded", CONTAINERS)
    circle = [Entry("vm.ovf", descriptor("a")), Entry("a", differences("b")), Entry("b", differences("a"))]
    case("images that name each other", lambda _root: circle, "done", "limit_exceeded", CONTAINERS)
    case("image on a file above", lambda _root: [Entry("vm.ovf", descriptor("a")), Entry("a", differences("../secret"))], "done", unsafe, CONTAINERS)
    case("image on a file elsewhere", lambda root: [Entry("vm.ovf", descriptor("a")), Entry("a", differences(f"{root}/secret"))], "done", unsafe, CONTAINERS)
    huge = descriptor(capacity=1 << 70).replace(b' ovf:fileRef="file1"', b"")
    descriptor_case("empty disk of a zettabyte", lambda: huge, "done", "corrupt", CONTAINERS)
    descriptor_case("capacity is a lie", lambda: descriptor(capacity=1 << 62), "done", "done")
    descriptor_case("size of the file is a lie", lambda: descriptor(size=1 << 62), "done", "done", CONTAINERS)

    def lines(count: int) -> bytes:
        return b"".join(b"SHA1(f%d)= %040d\n" % (n, n) for n in range(count))

    contents: dict[str, tuple[t.Callable[[], bytes], str]] = {
        "manifest of a million lines": (lambda: lines(1) * 1_000_000, "limit_exceeded"),
        "manifest of many lines": (lambda: lines(20_000), "done"),
        "manifest of one line": (lambda: b"SHA256(" + b"x" * 4_000_000, "integrity"),
    }
    for name, (content, kind) in contents.items():
        case(
            name, lambda _root, content=content: [Entry("vm.ovf", descriptor()), Entry("vm.mf", content()), Entry(HREF, disk())], kind, kind, ["tar", "folder"]
        )
    contents = {
        "deep metadata": (lambda: b"[" * 1_000_000, "invalid"),
        "metadata with a long number": (lambda: b'{"provider": "libvirt", "virtual_size": ' + b"9" * 1_000_000 + b"}", "invalid"),
        "wide metadata": (lambda: b'{"provider": "libvirt", "disks": [' + b'{"path": "box.img"},' * 45_000 + b"{}]}", "invalid"),
        "metadata with a path that leads out": (
            lambda: b'{"provider": "libvirt", "format": "qcow2", "disks": [{"path": "../secret"}]}',
            "unsafe_reference",
        ),
        "metadata of five megabytes": (lambda: b'{"a": "' + b"x" * 5_000_000 + b'"}', "limit_exceeded"),
    }
    for name, (content, kind) in contents.items():
        case(name, lambda _root, content=content: [Entry("metadata.json", content()), Entry("box.img", disk())], kind, kind, ["tar", "tar.gz"])


def compressed() -> None:
    """Little that becomes a lot."""

    def repeated(compress: t.Callable[[bytes], bytes], head: bytes = b"") -> bytes:
        """4 GiB of zeros as 256 streams one behind the other, or with something before them."""
        return (compress(head) if head else b"") + compress(bytes(16 * MIB)) * 256

    def zeros(data: bytes) -> bytes:
        return gzip.compress(data, 6, mtime=0)

    limit = "limit_exceeded", "limit_exceeded"
    inside = 'ovf:compression="gzip"'
    case(
        "disk of zeros in gzip", lambda _root: [Entry("vm.ovf", descriptor(file_attributes=inside)), Entry(HREF, repeated(zeros))], "done", limit[1], CONTAINERS
    )
    for name, compress in (("gzip", zeros), ("bzip2", bz2.compress), ("xz", lzma.compress)):

        def build(place: Path, compress: t.Callable[[bytes], bytes] = compress) -> Path:
            head = tar([Entry("vm.ovf", descriptor()), Entry(HREF)], place / "head").read_bytes()
            (place / "head").unlink()
            archive = bytearray(head[: head.index(b"\0" * 1024)])
            size = archive.rindex(HREF.encode()) + 124  # of the disk, in base 256
            archive[size : size + 12] = b"\x80" + (1 << 50).to_bytes(11, "big")
            start = size - 124
            archive[start + 148 : start + 156] = b" " * 8
            archive[start + 148 : start + 156] = b"%06o\0 " % sum(archive[start : start + 512])
            (place / "package").write_bytes(repeated(compress, bytes(archive)))
            return place / "package"

        CASES[f"archive of zeros in {name}"] = Case(build, *limit)

    def nested(place: Path, pack: t.Callable[[Entries, Path], Path], depth: int) -> Path:
        path = tar([Entry("vm.ovf", descriptor()), Entry(HREF, disk())], place / "package")
        for _level in range(depth):
            path = pack([Entry("inner", path.read_bytes())], path)
        return path

    for name, pack, kinds in (
        ("tar", tar, limit),
        ("tar.gz", targz, limit),
        ("zip", functools.partial(zipped, level=0), limit),
        ("zip, deflated", zipped, ("unsupported", "unsupported")),
    ):
        CASES[f"ten archives inside of each other ({name})"] = Case(lambda place, pack=pack: nested(place, pack, 10), *kinds)

    def often(place: Path) -> Path:
        path = tar([Entry("vm.ovf", descriptor()), Entry(HREF, disk())], place / "package")
        for _level in range(20):
            path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        return path

    CASES["compressed twenty times"] = Case(often, "invalid", "unsupported")


def sizes() -> None:
    """Sizes, numbers and maps that lie."""

    def changed(entries: Entries, change: t.Callable[[bytearray, int], None]) -> t.Callable[[Path], Path]:
        """A tar archive; ``change`` gets it and where its last member's header begins, the checksum follows."""

        def build(place: Path) -> Path:
            path = tar(entries, place / "package")
            archive = bytearray(path.read_bytes())
            start = archive.rindex(entries[-1].name.encode())
            change(archive, start)
            archive[start + 148 : start + 156] = b" " * 8
            archive[start + 148 : start + 156] = b"%06o\0 " % sum(archive[start : start + 512])
            path.write_bytes(archive)
            return path

        return build

    def put(offset: int, data: bytes) -> t.Callable[[bytearray, int], None]:
        def change(archive: bytearray, start: int) -> None:
            archive[start + offset : start + offset + len(data)] = data

        return change

    def octal(number: int) -> bytes:
        """A number as GNU tar writes it: large and negative ones in base 256."""
        return b"%011o\0" % number if 0 <= number < 1 << 33 else bytes([0x80 if number >= 0 else 0xFF]) + number.to_bytes(11, "big", signed=True)

    plain = [Entry("vm.ovf", descriptor()), Entry(HREF, disk())]
    corrupt = "corrupt", "corrupt"
    CASES["member of a petabyte"] = Case(changed(plain, put(124, b"\x80" + (1 << 50).to_bytes(11, "big"))), *corrupt)
    CASES["member of a negative size"] = Case(changed(plain, put(124, b"\xff" * 12)), *corrupt)
    CASES["member whose size is no number"] = Case(changed(plain, put(124, b"99999999999\0")), *corrupt)
    sparse = [Entry("vm.ovf", descriptor()), Entry(HREF, bytes(510) + b"\x55\xaa", tarfile.GNUTYPE_SPARSE)]
    for name, ranges, real, kinds in (
        ("60 TiB", [(0, 512)], 60 << 40, ("space", "done")),
        ("an exbibyte", [(0, 512)], 1 << 60, ("limit_exceeded", "limit_exceeded")),
        ("of a negative size", [(0, 512)], -1, corrupt),
        ("backwards", [(1 << 20, 256), (0, 256)], 2 << 20, corrupt),
        ("one over another", [(0, 512), (256, 0)], 2 << 20, corrupt),
        ("behind its end", [(1 << 20, 512)], 1 << 20, corrupt),
        ("more than is there", [(0, 1 << 40)], 1 << 40, corrupt),
    ):
        table = b"".join(octal(offset) + octal(length) for offset, length in ranges)

        def change(archive: bytearray, start: int, table: bytes = table, real: int = real) -> None:
            put(386, table)(archive, start)
            put(483, octal(real))(archive, start)

        CASES[f"sparse member, {name}"] = Case(changed(sparse, change), *kinds)
    CASES["sparse member whose map never ends"] = Case(changed(sparse, put(482, b"\1")), *corrupt)
    case("long names without end", lambda _root: [Entry("n" * 100_000 + str(n)) for n in range(200)], "invalid", "invalid", ["tar", "tar.gz"])

    def many(place: Path) -> Path:
        member = tar([Entry("x")], place / "package").read_bytes()[:512]
        (place / "package").write_bytes(member * 150_000 + bytes(1024))
        return place / "package"

    CASES["archive of many members"] = Case(many, "limit_exceeded", "limit_exceeded")
    for name, size, parts, kinds in (
        ("pieces of no size", 0, [disk()], ("done", "done")),
        ("pieces of one byte", 1, [b"x"] * 11_000, ("limit_exceeded", "limit_exceeded")),
        ("pieces of different sizes", 1024, [disk()[:1024], disk()[:100], disk()[:1024]], corrupt),
        ("last pieces missing", 1024, [disk()[:1024]] * 2, corrupt),
        ("pieces of a zettabyte", 1 << 70, [disk()[:1024]] * 2, ("done", "corrupt")),
    ):
        text = descriptor(size=len(disk()), file_attributes=f'ovf:chunkSize="{size}"')
        entries = [Entry("vm.ovf", text), *(Entry(f"{HREF}.{n:09}", part) for n, part in enumerate(parts))]
        case(name, lambda _root, entries=entries: entries, *kinds, ["tar"] if len(parts) > 100 else CONTAINERS)
    lying = bytearray(disk())
    lying[12:20] = (1 << 60).to_bytes(8, "little")
    case("image of a zettabyte", lambda _root: [Entry("vm.ovf", descriptor()), Entry(HREF, bytes(lying))], "done", "limit_exceeded", CONTAINERS)


def zips() -> None:
    """What only zip archives can do. Offsets are those of APPNOTE.TXT 4.3."""
    plain = [Entry("vm.ovf", descriptor()), Entry(HREF, disk())]

    def changed(change: t.Callable[[bytearray, int, int], None]) -> t.Callable[[Path], Path]:
        """``change`` gets the archive, and where the disk's local and central headers begin."""

        def build(place: Path) -> Path:
            path = zipped(plain, place / "package")
            archive = bytearray(path.read_bytes())
            change(archive, archive.index(HREF.encode()) - 30, archive.rindex(HREF.encode()) - 46)
            path.write_bytes(archive)
            return path

        return build

    def both(offset: int, data: bytes) -> t.Callable[[bytearray, int, int], None]:
        def change(archive: bytearray, local: int, central: int) -> None:
            archive[local + offset : local + offset + len(data)] = data
            archive[central + offset + 2 : central + offset + 2 + len(data)] = data

        return change

    def central(offset: int, data: bytes) -> t.Callable[[bytearray, int, int], None]:
        def change(archive: bytearray, _local: int, start: int) -> None:
            archive[start + offset : start + offset + len(data)] = data

        return change

    corrupt = "corrupt", "corrupt"
    CASES["zip: less comes out than it says"] = Case(changed(both(22, struct.pack("<I", 1 << 30))), *corrupt)
    CASES["zip: more comes out than it says"] = Case(changed(both(22, struct.pack("<I", 1000))), *corrupt)
    CASES["zip: member longer than the archive"] = Case(changed(both(18, struct.pack("<I", 1 << 30))), *corrupt)
    CASES["zip: member begins behind the end"] = Case(changed(central(42, struct.pack("<I", 1 << 30))), *corrupt)
    CASES["zip: headers of two opinions"] = Case(changed(central(24, struct.pack("<I", 1000))), *corrupt)
    CASES["zip: another name in the local header"] = Case(changed(lambda archive, local, _central: both_names(archive, local)), *corrupt)
    CASES["zip: encrypted"] = Case(changed(both(6, b"\1\0")), "unsupported", "unsupported")

    def both_names(archive: bytearray, local: int) -> None:
        archive[local + 30 : local + 34] = b"evil"

    def overlapping(place: Path) -> Path:
        """A directory of members that all are the same bytes (as "a better zip bomb" by David Fifield, without the quoting)."""
        data = bytes(10 * MIB)
        path = zipped([Entry("vm.ovf", descriptor()), Entry("0000", data)], place / "package")
        archive = path.read_bytes()
        start = archive.index(b"PK\1\2")
        second = archive.index(b"PK\1\2", start + 4)
        end = archive.index(b"PK\5\6")
        entry = archive[second:end]
        entries = archive[start:second] + b"".join(entry.replace(b"0000", b"%04d" % number) for number in range(5000))
        tail = archive[end : end + 8] + struct.pack("<HHII", 5001, 5001, len(entries), start) + b"\0\0"
        path.write_bytes(archive[:start] + entries + tail)
        return path

    CASES["zip: members that overlap"] = Case(overlapping, *corrupt)

    def zeros(place: Path) -> Path:
        return zipped([Entry("vm.ovf", descriptor()), Entry(HREF, bytes(300 * MIB))], place / "package", 6)

    CASES["zip: a member of zeros"] = Case(zeros, "limit_exceeded", "limit_exceeded")


GROUPS: dict[str, t.Callable[[], None]] = {group.__name__: group for group in (paths, names, texts, compressed, sizes, zips)}


def cases(groups: t.Iterable[str] = ()) -> dict[str, Case]:
    """The packages of some groups, or of all."""
    CASES.clear()
    for group in groups or GROUPS:
        GROUPS[group]()
    return dict(CASES)


def main(arguments: list[str]) -> None:
    if not arguments or arguments[0].startswith("-"):
        sys.exit(__doc__)
    for name, hostile in cases(arguments[1:]).items():
        place = Path(arguments[0], name.replace("/", " "), "in")
        place.mkdir(parents=True)
        print(hostile.build(place))


if __name__ == "__main__":
    main(sys.argv[1:])
