# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks are read where they lie in a package, and hashed while they are read. qemu-img and hashlib are the judges.

Where nothing may be unpacked, the folder for that does not exist.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import subprocess
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine import unwrap
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AccessError, IntegrityFailure, SpaceError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extract import extract, plan
from ansible_collections.vmimage.prep.plugins.module_utils._engine.formats.registry import target
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.opening import open_package
from ansible_collections.vmimage.prep.plugins.module_utils._engine.produce import produce
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.sink import Sink
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.provenance import file_identity

TOOLS = Path(__file__).resolve().parents[4] / "tools"
sys.path.insert(0, str(TOOLS))

from build_ova import descriptor, make_disk, manifest, pack, write_vmdk  # noqa: E402

MIB = 1 << 20
SIZE = 8 * MIB
LARGE = 48 * MIB
NOWHERE = "/nonexistent/folder"
IMAGES = ("raw", "streamOptimized", "vmdk", "qcow2", "qcow2, compressed")


def make_images(folder, qemu_img, size):
    """The same disk as several images: name → bytes; and the raw one as a file."""
    raw = folder / "disk.raw"
    make_disk(raw, size)
    dice = random.Random(9)
    with open(raw, "r+b") as file:
        for offset in range(4 * MIB, size // 4, MIB):
            file.seek(offset)
            file.write(dice.randbytes(700_000))
    write_vmdk(raw, folder / "stream.vmdk")
    for name, options in {"disk.vmdk": ["-O", "vmdk"], "disk.qcow2": ["-O", "qcow2"], "c.qcow2": ["-c", "-O", "qcow2"]}.items():
        subprocess.run([qemu_img, "convert", "-f", "raw", *options, raw, folder / name], check=True)
    names = ("disk.raw", "stream.vmdk", "disk.vmdk", "disk.qcow2", "c.qcow2")
    return types.SimpleNamespace(raw=raw, size=size, data={image: (folder / name).read_bytes() for image, name in zip(IMAGES, names)})


@pytest.fixture(scope="module")
def images(tmp_path_factory, qemu_img):
    return make_images(tmp_path_factory.mktemp("images"), qemu_img, SIZE)


@pytest.fixture(scope="module")
def large_images(tmp_path_factory, qemu_img):
    return make_images(tmp_path_factory.mktemp("large"), qemu_img, LARGE)


def files_of(data, *, chunk=0, listed=None, spoil=None, algorithm="sha256"):
    """The files of a package: name → bytes.

    :param chunk: bytes of a piece; 0: whole
    :param listed: ``whole``, ``pieces`` or ``both``: what of the disk the manifest lists; None: there is no manifest
    :param spoil: the name whose digest is to be wrong
    """
    attributes = f'ovf:chunkSize="{chunk}"' if chunk else ""
    disk = {f"disk.img.{at // chunk:09d}": data[at : at + chunk] for at in range(0, len(data), chunk)} if chunk else {"disk.img": data}
    files = {"vm.ovf": descriptor("disk.img", size=len(data), capacity=SIZE, file_attributes=attributes)}
    if listed is not None:
        lines = {**files, **({"disk.img": data} if listed in ("whole", "both") else {}), **(disk if listed in ("pieces", "both") else {})}
        text = manifest(lines, algorithm).decode()
        if spoil:
            right = hashlib.new(algorithm, lines[spoil]).hexdigest()
            text = text.replace(right, right[:-1] + ("0" if right[-1] != "0" else "1"))
        files["vm.mf"] = text.encode()
    return {**files, **disk}


def build(folder, wrapping, files):
    """Path of the package."""
    path = folder / "package"
    if wrapping == "folder":
        path.mkdir()
        for name, data in files.items():
            (path / name).write_bytes(data)
    elif wrapping == "ova":
        pack(path, list(files.items()))
    elif wrapping == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(zipfile.ZipInfo(name), data)
    else:
        assert wrapping == "tar.gz"
        with gzip.GzipFile(path, "wb", 1, mtime=0) as stream, tarfile.open(fileobj=stream, mode="w|") as archive:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return str(path)


def convert(path, dest, *, manifest_policy="ignore", threads=None, spool_folder=NOWHERE, form="qcow2"):
    """Convert the package's disk; returns the bytes that were read again for the manifest, by file."""
    before = len(os.listdir("/proc/self/fd"))
    try:
        with open_source(Request(path, manifest=manifest_policy, spool_folder=spool_folder)) as source, Sink(dest) as sink:
            produce(source, target(form), sink, threads=threads)
            sink.commit()
            return {name: storage.read_again for name, storage in source.package._check._watched.items()}
    finally:
        assert len(os.listdir("/proc/self/fd")) == before


def judge(qemu_img, images, dest):
    subprocess.run([qemu_img, "compare", "-f", "raw", "-F", "qcow2", images.raw, dest], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([qemu_img, "check", "-q", "-f", "qcow2", dest], check=True)


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize(("wrapping", "chunk"), [("ova", 0), ("folder", 0), ("zip", 0), ("ova", 1_000_000), ("folder", 1_000_000)])
def test_nothing_is_unpacked(tmp_path, qemu_img, images, wrapping, chunk, image):
    listed = "both" if chunk else "whole"
    path = build(tmp_path, wrapping, files_of(images.data[image], chunk=chunk, listed=listed))
    convert(path, tmp_path / "dest.qcow2", manifest_policy="require")
    judge(qemu_img, images, tmp_path / "dest.qcow2")


WATCH = """
import os, runpy, sys
def hook(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        name, mode, _flags = arguments
        # tempfile says os.open(), and then open() of the same: of the descriptor or the folder.
        if mode is None or isinstance(name, str) and not os.path.isdir(name):
            sys.stderr.write(f"{name}\\n")
sys.dont_write_bytecode = True
sys.addaudithook(hook)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    ("wrapping", "image", "unpacked"),
    [("ova", "streamOptimized", 0), ("folder", "qcow2", 0), ("tar.gz", "raw", 0), ("tar.gz", "streamOptimized", 1), ("tar.gz", "qcow2", 1)],
)
def test_what_python_is_told_to_write(tmp_path, images, wrapping, image, unpacked):
    """Python's own audit tells every file that is opened to be written: the result, and what is unpacked beside it."""
    path = build(tmp_path, wrapping, files_of(images.data[image], listed="whole"))
    out = tmp_path / "out"
    out.mkdir()
    command = [sys.executable, "-c", WATCH, TOOLS / "engine", "convert", "--format", "raw", "--manifest", "require", path, out / "dest"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines().count(str(out)) == len(done.stderr.splitlines()) == 1 + unpacked
    assert (out / "dest").read_bytes() == images.raw.read_bytes()
    assert os.listdir(out) == ["dest"]


@pytest.mark.parametrize("image", [image for image in IMAGES if image != "raw"])
def test_only_the_disk_itself_is_unpacked(tmp_path, qemu_img, images, image, monkeypatch):
    files = files_of(images.data[image], listed="whole")
    files["other"] = random.Random(1).randbytes(5 * MIB)
    path = build(tmp_path, "tar.gz", files)
    spool = tmp_path / "spool"
    spool.mkdir()
    seen = []

    def watched(storage, fd, **kwargs):
        found = unwrap_spool(storage, fd, **kwargs)
        seen.append((os.fstat(fd).st_size, os.stat(fd).st_nlink, os.path.dirname(os.readlink(f"/proc/self/fd/{fd}"))))
        return found

    unwrap_spool = unwrap.spool
    monkeypatch.setattr(unwrap, "spool", watched)
    convert(path, tmp_path / "dest.qcow2", manifest_policy="verify", spool_folder=str(spool))
    judge(qemu_img, images, tmp_path / "dest.qcow2")
    # A file without a name, which nobody has to remove
    assert seen == [(len(images.data[image]), 0, str(spool))]
    assert os.listdir(spool) == []


def test_raw_in_a_compressed_archive_is_not_unpacked(tmp_path, qemu_img, images):
    path = build(tmp_path, "tar.gz", files_of(images.data["raw"], listed="whole"))
    again = convert(path, tmp_path / "dest.qcow2", manifest_policy="require")
    judge(qemu_img, images, tmp_path / "dest.qcow2")
    assert again["disk.img"] == 0


def test_no_room_to_unpack(tmp_path, images, monkeypatch):
    path = build(tmp_path, "tar.gz", files_of(images.data["qcow2"]))
    with pytest.raises(AccessError, match="unpack the compressed image there"):
        convert(path, tmp_path / "dest")
    monkeypatch.setattr(unwrap.os, "statvfs", lambda _path: types.SimpleNamespace(f_bavail=1000, f_frsize=1024))
    with pytest.raises(SpaceError, match="1024000 free"):
        convert(path, tmp_path / "dest", spool_folder=str(tmp_path))
    assert os.listdir(tmp_path) == ["package"]


# Headers of grains and clusters, tables in front of the data: bytes in the file that the reader does not ask for, or not in their turn.
MOST = {"raw": 0, "streamOptimized": 0.02, "vmdk": 0.01, "qcow2": 0.02, "qcow2, compressed": 0.05}


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("image", IMAGES)
def test_what_is_hashed_is_not_read_again(tmp_path, qemu_img, large_images, image, threads):
    data = large_images.data[image]
    path = build(tmp_path, "ova", files_of(data, listed="whole", algorithm="sha512"))
    again = convert(path, tmp_path / "dest.qcow2", manifest_policy="require", threads=threads)
    assert again["disk.img"] <= MOST[image] * len(data), again["disk.img"] / len(data)
    judge(qemu_img, large_images, tmp_path / "dest.qcow2")


WRONG = [
    *(("ova", 0, "whole", name) for name in ("disk.img", "vm.ovf")),
    ("folder", 0, "whole", "disk.img"),
    ("tar.gz", 0, "whole", "disk.img"),
    ("zip", 0, "whole", "disk.img"),
    ("ova", 500_000, "pieces", "disk.img.000000001"),
    ("folder", 500_000, "whole", "disk.img"),
    ("ova", 500_000, "both", "disk.img.000000000"),
    ("folder", 500_000, "both", "disk.img"),
]


@pytest.mark.parametrize(("wrapping", "chunk", "listed", "name"), WRONG)
@pytest.mark.parametrize("policy", ["require", "verify"])
def test_a_digest_that_is_wrong(tmp_path, qemu_img, images, wrapping, chunk, listed, name, policy):
    path = build(tmp_path, wrapping, files_of(images.data["streamOptimized"], chunk=chunk, listed=listed, spoil=name))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(IntegrityFailure, match=f"'{name}' is not what the manifest says"):
        convert(path, out / "dest.qcow2", manifest_policy=policy, spool_folder=str(out))
    assert os.listdir(out) == []
    convert(path, out / "dest.qcow2", manifest_policy="ignore", spool_folder=str(out))
    judge(qemu_img, images, out / "dest.qcow2")
    (out / "dest.qcow2").write_bytes(b"what was there before")
    with pytest.raises(IntegrityFailure):
        convert(path, out / "dest.qcow2", manifest_policy=policy, spool_folder=str(out))
    assert (out / "dest.qcow2").read_bytes() == b"what was there before"


def test_what_a_policy_asks_for(tmp_path, images):
    files = files_of(images.data["qcow2"], listed="whole")
    no_manifest = {name: data for name, data in files.items() if name != "vm.mf"}
    disk_unlisted = {**files, "vm.mf": manifest({"vm.ovf": files["vm.ovf"]})}
    ovf_unlisted = {**files, "vm.mf": manifest({"disk.img": files["disk.img"]})}
    for number, (found, message) in enumerate(((no_manifest, "no manifest"), (disk_unlisted, "does not list 'disk"), (ovf_unlisted, "does not list 'vm"))):
        (tmp_path / str(number)).mkdir()
        path = build(tmp_path / str(number), "ova", found)
        convert(path, tmp_path / "dest", manifest_policy="verify")
        (tmp_path / "dest").unlink()
        with pytest.raises(IntegrityFailure, match=message):
            convert(path, tmp_path / "dest", manifest_policy="require")
        assert not (tmp_path / "dest").exists()
    (tmp_path / "damaged").mkdir()
    path = build(tmp_path / "damaged", "ova", {**files, "vm.mf": b"This is no manifest.\n"})
    with pytest.raises(IntegrityFailure, match="line 1"):
        convert(path, tmp_path / "dest", manifest_policy="verify")
    convert(path, tmp_path / "dest", manifest_policy="ignore")


def test_a_file_that_is_not_read_is_not_verified(tmp_path, images):
    """Of a package with several files, only what is used is read and hashed."""
    files = files_of(images.data["qcow2"], listed="whole")
    files["vm.mf"] += manifest({"other": b"something else"})
    files["other"] = bytes(MIB)
    again = convert(build(tmp_path, "ova", files), tmp_path / "dest", manifest_policy="require")
    assert sorted(again) == ["disk.img", "vm.ovf"]


def unpack(path, folder, policy, known=None):
    with open_package(path) as package:
        package.expect_manifest(policy)
        package.require_complete_manifest()
        planned = plan(package, str(folder), known=known)
        verified = extract(package, str(folder), planned)
        return verified, {name: storage.read_again for name, storage in package._check._watched.items()}


@pytest.mark.parametrize(("wrapping", "chunk", "listed", "name"), WRONG)
def test_an_extraction_with_a_wrong_digest(tmp_path, images, wrapping, chunk, listed, name):
    path = build(tmp_path, wrapping, files_of(images.data["vmdk"], chunk=chunk, listed=listed, spoil=name))
    out = tmp_path / "out"
    out.mkdir()
    for policy in ("require", "verify"):
        with pytest.raises(IntegrityFailure, match=f"'{name}' is not what the manifest says"):
            unpack(path, out, policy)
        assert os.listdir(out) == []
    unpack(path, out, "ignore")
    assert len(os.listdir(out)) > 2


@pytest.mark.parametrize(
    ("wrapping", "chunk", "listed"), [("ova", 0, "whole"), ("tar.gz", 0, "whole"), ("folder", 500_000, "pieces"), ("ova", 500_000, "both")]
)
def test_an_extraction_hashes_while_it_writes(tmp_path, images, wrapping, chunk, listed):
    files = files_of(images.data["vmdk"], chunk=chunk, listed=listed)
    path = build(tmp_path, wrapping, files)
    out = tmp_path / "out"
    out.mkdir()
    verified, again = unpack(path, out, "require")
    assert {name: (out / name).read_bytes() for name in os.listdir(out)} == files
    whole = {"disk.img"} if listed == "both" else set()
    assert set(verified) == whole | set(files) - {"vm.mf"}
    assert sum(count for name, count in again.items() if name not in whole) == 0
    # What is known to be there is not read, and what is compared is hashed on the way.
    names = [name for name in files if name != "vm.ovf"]
    known = {os.path.realpath(out / name): file_identity(str(out / name)) for name in names}
    (out / "vm.ovf").unlink()
    assert list(unpack(path, out, "require", known)[1]) == ["vm.ovf"]
    again = unpack(path, out, "require")[1]
    assert sum(count for name, count in again.items() if name not in whole | {"vm.ovf"}) == 0
