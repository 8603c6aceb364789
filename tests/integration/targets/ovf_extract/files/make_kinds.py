# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pack the appliance in a folder in every way that people do: make_kinds.py FOLDER makes FOLDER/kinds/*,
and in FOLDER/kinds.out a folder for what is extracted of each."""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import tarfile
import zipfile

NAMES = ("appliance.ovf", "appliance.mf", "appliance-disk1.vmdk")
DISK = NAMES[2]
PIECE = 100_000


def main() -> None:
    folder = sys.argv[1]
    out = os.path.join(folder, "kinds")
    os.makedirs(out, exist_ok=True)
    files = {}
    for name in NAMES:
        with open(os.path.join(folder, name), "rb") as file:
            files[name] = file.read()

    write_folder(os.path.join(out, "folder"), files)
    for suffix in ("", ".gz", ".xz", ".bz2"):
        write_tar(os.path.join(out, f"ova{suffix}"), suffix[1:], files)
    for kind, method in (("zip", zipfile.ZIP_STORED), ("deflated.zip", zipfile.ZIP_DEFLATED)):
        write_zip(os.path.join(out, kind), method, files)
    with open(os.path.join(out, "ova"), "rb") as file:
        write_zip(os.path.join(out, "ova.zip"), zipfile.ZIP_DEFLATED, {"x/appliance.ova": file.read()})

    write_folder(os.path.join(out, "pieces"), pieces(files))
    write_tar(os.path.join(out, "pieces.ova"), "", pieces(files))
    packed = gzip.compress(files[DISK], 1)
    attributes = f' ovf:size="{len(packed)}" ovf:compression="gzip"'
    descriptor = files[NAMES[0]].replace(b' ovf:size="2856960"', attributes.encode())
    write_tar(os.path.join(out, "compressed.ova"), "", with_manifest({NAMES[0]: descriptor, DISK: packed}))

    with open(os.path.join(folder, "disk.raw"), "rb") as file:
        write_tar(os.path.join(out, "plain.gz"), "gz", {"disk.raw": file.read()})
    write_zip(os.path.join(out, "plain.zip"), zipfile.ZIP_DEFLATED, {"readme.txt": b"Read me.\n", "disk.vmdk": files[DISK]})
    for name in os.listdir(out):
        os.makedirs(os.path.join(f"{out}.out", f"{name} files"))
    os.makedirs(os.path.join(f"{out}.out", "appliance.ovf files"))


def pieces(files: dict) -> dict:
    """The package with its disk cut, as the standard has it; the manifest lists the pieces."""
    disk = files[DISK]
    attributes = f' ovf:size="{len(disk)}" ovf:chunkSize="{PIECE}"'
    cut = {f"{DISK}.{at // PIECE:09d}": disk[at : at + PIECE] for at in range(0, len(disk), PIECE)}
    return with_manifest({NAMES[0]: files[NAMES[0]].replace(b' ovf:size="2856960"', attributes.encode()), **cut})


def with_manifest(files: dict) -> dict:
    lines = [f"SHA256({name})= {hashlib.sha256(data).hexdigest()}\n" for name, data in files.items()]
    return {NAMES[0]: files[NAMES[0]], NAMES[1]: "".join(lines).encode(), **files}


def write_folder(path: str, files: dict) -> None:
    os.makedirs(path, exist_ok=True)
    for name, data in files.items():
        with open(os.path.join(path, name), "wb") as file:
            file.write(data)


def write_tar(path: str, compression: str, files: dict) -> None:
    folder = f"{path}.parts"
    write_folder(folder, files)
    with tarfile.open(path, f"w:{compression}") as archive:
        for name in files:
            archive.add(os.path.join(folder, name), name)
    for name in files:
        os.unlink(os.path.join(folder, name))
    os.rmdir(folder)


def write_zip(path: str, method: int, files: dict) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


main()
