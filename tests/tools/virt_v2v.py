# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask virt-v2v what is in a package, and compare its answer with ours.

usage: virt_v2v.py PACKAGE...            compare packages
       virt_v2v.py --descriptors FOLDER  compare every .ovf in a folder, with disks made for it

virt-v2v reads a package (`-i ova`) and hands each disk to qemu-nbd, before it looks for a guest in them. With
--print-source it ends there, and tells the hardware. A qemu-nbd of ours that comes first on PATH notes the content of
what it is to serve, so order and content of the disks are known without a guest that virt-v2v could convert.
"""

from __future__ import annotations

import collections
import concurrent.futures
import gzip
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import typing as t
from pathlib import Path

NOTES = """#!/bin/sh
# qemu-nbd [OPTION]... IMAGE: notes the content of the image, and seems to serve it.
while [ $# -gt 1 ]; do
    [ "$1" != --pid-file ] || pid=$2
    [ "$1" != --socket ] || : >"$2"
    shift
done
number=$(ls "$NOTES" | wc -l)
qemu-img convert -O raw "$1" "$NOTES/$number" 2>"$NOTES.failed" || exit 1
echo $$ >"$pid"
exec sleep 60
"""
DEFAULT_MEMORY = 1 << 20
"""MiB that virt-v2v tells when a descriptor says nothing"""


class Source(t.NamedTuple):
    """What virt-v2v reads in a package."""

    name: str
    memory: int
    """MiB"""
    cpus: int
    topology: tuple[int, int, int] | None
    """sockets, cores of each, threads of each"""
    firmware: str
    """bios or uefi; bios, too, when the descriptor does not say"""
    buses: list[str | None]
    """of the disks"""
    removable: list[str]
    """cdrom or floppy"""
    networks: list[tuple[str | None, list[str]]]
    """the network's name, and the adapter's models in lower case"""
    digests: list[str]
    """sha256 of the disks' content"""


class Refused(Exception):
    """virt-v2v does not take the package. The message is its own."""


def read(package: Path | str, folder: Path | str) -> Source:
    """Have virt-v2v read a package.

    :param folder: for what it leaves
    :raises Refused: it does not
    """
    folder = Path(folder)
    notes, programs, temporary = folder / "notes", folder / "bin", folder / "tmp"
    for made in (notes, programs, temporary):
        made.mkdir(parents=True)
    (programs / "qemu-nbd").write_text(NOTES)
    (programs / "qemu-nbd").chmod(0o755)
    environment = {
        **os.environ,
        "LC_ALL": "C.UTF-8",
        "LIBGUESTFS_BACKEND": "direct",  # no libvirt, whose user would have to be able to read the package
        "NOTES": str(notes),
        "PATH": f"{programs}:{os.environ['PATH']}",
        "TMPDIR": str(temporary),
        "VIRT_V2V_TMPDIR": str(temporary),
    }
    done = subprocess.run(
        ["virt-v2v", "-i", "ova", str(package), "--print-source"],
        env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode:
        failed = Path(f"{notes}.failed")
        raise Refused(" ".join(f"{done.stderr} {failed.read_text() if failed.exists() else ''}".split()))
    digests = []
    for number in range(len(list(notes.iterdir()))):
        with open(notes / str(number), "rb") as disk:
            digests.append(digest(disk))
    return parse(done.stdout, digests)


def digest(disk: t.BinaryIO) -> str:
    found = hashlib.sha256()
    for data in iter(lambda: disk.read(1 << 20), b""):
        found.update(data)
    return found.hexdigest()


def parse(said: str, digests: list[str]) -> Source:
    """What --print-source prints."""
    facts = {key.strip(): value.strip() for key, _colon, value in (line.partition(":") for line in said.splitlines()) if value.strip()}
    topology = re.search(r"sockets: (\d+) cores/socket: (\d+) threads/core: (\d+)", said)
    lists = dict(re.findall(r"^(disks|removable media|NICs):\n((?:\t.*\n)*)", said, re.MULTILINE))
    buses = [
        found and {"virtio-blk": "virtio", "virtio-scsi": "scsi"}.get(found, found) for found in re.findall(r"^\t\S+(?: \[(.*)\])?$", lists["disks"], re.M)
    ]
    removable = ["floppy" if text.startswith("Floppy") else "cdrom" for text in lists["removable media"].split("\t")[1:]]
    networks = [
        (name or None, re.split(r"[ ,]+", model.lower()) if model else []) for name, model in re.findall(r'^\t\w+ "(.*?)"(?:.*\[(.*)\])?', lists["NICs"], re.M)
    ]
    return Source(
        name=facts.get("source name", ""),
        memory=int(facts["memory"].split()[0]) >> 20,
        cpus=int(facts["nr vCPUs"]),
        topology=t.cast("tuple[int, int, int]", tuple(map(int, topology.groups()))) if topology else None,
        firmware=facts["firmware"],
        buses=[bus or None for bus in buses],
        removable=removable,
        networks=networks,
        digests=digests,
    )


def differences(theirs: Source, system: dict[str, t.Any], digests: list[str]) -> dict[str, tuple[t.Any, t.Any]]:
    """What virt-v2v reads otherwise than we: for each such thing, theirs and ours.

    :param system: of the package's facts
    :param digests: of our disks
    """
    ours: dict[str, t.Any] = {
        "name": system["name"] if system["name"] != system["id"] else theirs.name,  # that of the descriptor's file, when it gives none
        "memory": system["memory_mib"] or DEFAULT_MEMORY,
        "cpus": system["cpus"] or 1,
        "firmware": system["firmware"] or "bios",
        # virt-v2v does not find a controller by the InstanceId that older descriptors have.
        "buses": [bus and disk["bus"] for bus, disk in zip(theirs.buses, system["disks"])] + [disk["bus"] for disk in system["disks"][len(theirs.buses) :]],
        "removable": [drive["device"] for drive in system["removable_drives"]],
        "networks": [(network["network"], network["models"]) for network in system["networks"]],
        "digests": digests,
    }
    if theirs.topology:
        ours["topology"] = (system["cpu_sockets"], system["cpu_cores"], system["cpu_threads"] or 1)
    return {key: (getattr(theirs, key), value) for key, value in ours.items() if getattr(theirs, key) != value}


def make_package(descriptor: Path, folder: Path, qemu_img: str = "qemu-img") -> None:
    """A folder with a copy of a descriptor and small disks of different contents for the files that it names.

    What it names above its own folder, which we refuse, is made to lie in it.
    """
    folder.mkdir(parents=True)
    content = re.sub(rb"""(href\s*=\s*["'])(?:\.\./)+""", rb"\1", descriptor.read_bytes())
    (folder / "package.ovf").write_bytes(content)
    text = content.decode("utf-8", "replace")
    for number, element in enumerate(re.findall(r"<(?:\w+:)?File\s[^>]*>", text)):
        href = re.search(r"""href\s*=\s*["']([^"']*)["']""", element)
        path = folder / (href.group(1) if href else "")
        if path == folder or not path.resolve().is_relative_to(folder.resolve()) or path.exists() or len(path.name) > 200:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        raw = folder / "raw"
        raw.write_bytes((b"disk %06d" % number * 50).ljust(1 << 20, b"\0"))
        subprocess.run([qemu_img, "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", raw, path], check=True)
        raw.unlink()
        if re.search(r"""compression\s*=\s*["']gzip""", element):
            path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))


def ours(path: str) -> tuple[dict[str, t.Any], list[str]]:
    """(facts of the package, digests of the disks of its only system)."""
    from _engine.packages.opening import open_package
    from _engine.source import Request, open_source
    from _engine.transfer.digest import content_digests

    with open_package(path) as package:
        facts = package.describe()
        digests = []
        if len(package.systems) == 1:
            for number, disk in enumerate(package.disks(package.systems[0])):
                if disk.located is None and disk.problem is None:
                    digests.append("empty")
                    continue
                with open_source(Request(path, disk=str(number))) as source:
                    digests.append(content_digests(source.reader, ["sha256"])["sha256"])
    return facts, digests


def compare(path: Path, folder: Path) -> str:
    """One line of what came out."""
    from _engine.errors import ImageError

    facts: dict[str, t.Any] = {}
    try:
        facts, digests = ours(str(path))
    except ImageError as error:
        problem = f"{error.kind}: {error}"
    else:
        problem = "" if len(facts["systems"]) == 1 else f"{len(facts['systems'])} systems"
    try:
        theirs = read(path, folder)
    except Refused as error:
        return f"neither     {problem} | {error}" if problem and len(facts.get("systems", [])) < 2 else f"only ours   {problem}{error}"
    if theirs.memory == DEFAULT_MEMORY and not theirs.digests and not theirs.networks:
        return f"neither     {problem} | virt-v2v sees nothing in it" if problem else "only ours   virt-v2v sees nothing in it"
    if problem:
        return f"only theirs {problem}"
    found = differences(theirs, facts["systems"][0], digests)
    return f"different   {found}" if found else "the same"


def main(arguments: list[str]) -> int:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "module_utils"))
    if not arguments or arguments[0] in ("-h", "--help"):
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        packages = {name: Path(name) for name in arguments}
        if arguments[0] == "--descriptors":
            top = Path(arguments[1])
            packages = {str(path.relative_to(top)): path for path in sorted(top.rglob("*.ovf"))}

        def one(number: int, name: str) -> str:
            path = packages[name]
            if arguments[0] == "--descriptors":
                path = work / f"package{number}"
                make_package(packages[name], path)
            return compare(path, work / str(number))

        counts: collections.Counter[str] = collections.Counter()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for name, line in zip(packages, pool.map(one, range(len(packages)), packages)):
                print(f"{name}: {line}", flush=True)
                counts[line[:12].strip()] += 1
    print(dict(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
