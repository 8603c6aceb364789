# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of a package as images: with their parents and extents, empty ones, compressed ones. qemu-img is the judge."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import (
    AccessError,
    AmbiguousImage,
    CorruptImage,
    ImageError,
    InvalidImage,
    LimitExceeded,
    UnsafeReference,
    UnsupportedImage,
)
from ansible_collections.vmimage.prep.plugins.module_utils._engine.inspect import describe_package, look_at_disks
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.opening import open_package
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from build_ova import descriptor, pack

MIB = 1 << 20
SIZE = 4 * MIB
HREF = "top.vmdk"


def ovf(files, disks):
    """A descriptor; the system has the first disk.

    :param files: hrefs; each has itself as id
    :param disks: (id, file's id or None, further attributes)
    """
    text = descriptor("HREF", capacity=SIZE).decode()
    line = next(line for line in text.split("\n") if "<File " in line)
    text = text.replace(line, "\n".join(f'<File ovf:href="{href}" ovf:id="{href}"/>' for href in files))
    start, end = text.index("<Disk "), text.index("</DiskSection>")
    made = "\n".join(
        f'<Disk ovf:diskId="{name}" ovf:capacity="{SIZE}" ' + (f'ovf:fileRef="{file}" ' if file else "") + f"{more}/>" for name, file, more in disks
    )
    return (text[:start] + made + text[end:]).replace("ovf:/disk/vmdisk1", f"ovf:/disk/{disks[0][0]}").encode()


def build(folder, kind, files):
    if kind == "ova":
        pack(folder / "test.ova", list(files.items()))
        return str(folder / "test.ova")
    (folder / "package").mkdir()
    for name, data in files.items():
        (folder / "package" / name).write_bytes(data)
    return str(folder / "package")


def content(path, disk=None, **options):
    before = len(os.listdir("/proc/self/fd"))
    with open_source(Request(path, disk=disk, spool_folder="/nonexistent", **options)) as source:
        found = source.reader.read_at(0, source.reader.virtual_size)
    assert len(os.listdir("/proc/self/fd")) == before
    return found


@pytest.fixture(scope="module")
def chains(tmp_path_factory, qemu_img, qemu_io):
    """By format: a chain of three images in a folder, base, middle and top; and its content as qemu-img reads it."""
    made = {}
    for form in ("vmdk", "qcow2"):
        folder = tmp_path_factory.mktemp(form)

        def run(program, *arguments, folder=folder):
            subprocess.run([program, *arguments], cwd=folder, check=True, stdout=subprocess.DEVNULL)

        (folder / "base.raw").write_bytes(random.Random(7).randbytes(MIB) + bytes(MIB) + b"base" * (MIB // 4) + bytes(MIB))
        run(qemu_img, "convert", "-O", form, "base.raw", f"base.{form}")
        run(qemu_img, "create", "-q", "-f", form, "-b", f"base.{form}", "-F", form, f"middle.{form}")
        run(qemu_io, "-f", form, "-c", "write -P 17 64k 300k", "-c", "write -P 18 3M 64k", f"middle.{form}")
        run(qemu_img, "create", "-q", "-f", form, "-b", f"middle.{form}", "-F", form, f"top.{form}")
        run(qemu_io, "-f", form, "-c", "write -P 33 256k 256k", "-c", "write -P 34 2M 64k", f"top.{form}")
        run(qemu_img, "convert", "-f", form, "-O", "raw", f"top.{form}", "expected.raw")
        made[form] = folder, (folder / "expected.raw").read_bytes()
    return made


@pytest.mark.parametrize("kind", ["ova", "folder"])
@pytest.mark.parametrize("form", ["vmdk", "qcow2"])
def test_a_disk_that_holds_differences_to_others(tmp_path, chains, form, kind):
    folder, expected = chains[form]
    names = [f"{name}.{form}" for name in ("top", "middle", "base")]
    data = {name: (folder / name).read_bytes() for name in names}
    disks = [("top", names[0], 'ovf:parentRef="middle"'), ("middle", names[1], 'ovf:parentRef="base"'), ("base", names[2], "")]
    path = build(tmp_path, kind, {"vm.ovf": ovf(names, disks), **data})
    assert content(path) == expected
    with open_package(path) as package:
        look_at_disks(package)
        assert (package.disks()[0].problem, package.disks()[0].virtual_size) == (None, SIZE)


def test_the_descriptor_counts_before_the_names_in_the_image(tmp_path, chains):
    folder, expected = chains["qcow2"]
    renamed = {"a": "top.qcow2", "b": "middle.qcow2", "c": "base.qcow2"}
    files = {"vm.ovf": ovf(renamed, [("1", "a", 'ovf:parentRef="2"'), ("2", "b", 'ovf:parentRef="3"'), ("3", "c", "")])}
    files.update({name: (folder / stored).read_bytes() for name, stored in renamed.items()})
    # A trap: what the image calls its parent is another disk here.
    files["middle.qcow2"] = files["c"]
    assert content(build(tmp_path, "ova", files)) == expected


def test_a_delta_that_does_not_name_its_parent(tmp_path, chains):
    folder, expected = chains["vmdk"]
    names = ["top.vmdk", "middle.vmdk", "base.vmdk"]
    data = {name: (folder / name).read_bytes().replace(b"parentFileNameHint", b"#arentFileNameHint") for name in names}
    assert data["top.vmdk"] != (folder / "top.vmdk").read_bytes()
    parents = [("top", names[0], 'ovf:parentRef="middle"'), ("middle", names[1], 'ovf:parentRef="base"'), ("base", names[2], "")]
    assert content(build(tmp_path, "ova", {"vm.ovf": ovf(names, parents), **data})) == expected
    with pytest.raises(UnsupportedImage, match="no file name"):
        content(build(tmp_path, "ova", {"vm.ovf": ovf(names, [("top", names[0], "")]), **data}))


def test_without_parents_in_the_descriptor_the_names_in_the_image_count(tmp_path, chains):
    folder, expected = chains["qcow2"]
    names = ["top.qcow2", "middle.qcow2", "base.qcow2"]
    files = {"vm.ovf": ovf(names, [("top", names[0], "")]), **{name: (folder / name).read_bytes() for name in names}}
    assert content(build(tmp_path, "ova", files)) == expected
    with pytest.raises(ImageError):
        content(build(tmp_path, "ova", {name: data for name, data in files.items() if name != names[2]}))


def test_a_parent_that_the_image_knows_by_another_machines_path(tmp_path, chains):
    folder, expected = chains["vmdk"]
    names = ["top.vmdk", "middle.vmdk", "base.vmdk"]
    files = {name: (folder / name).read_bytes() for name in names}
    for name, path in (("top.vmdk", b'"/vm/middle.vmdk"'), ("middle.vmdk", b'"C:\\vm\\base.vmdk"')):
        old = files[name]
        at = old.index(b"parentFileNameHint=")
        end = old.index(b"\n", at)
        room = old.index(b"\0", at) - end
        files[name] = old[:at] + b"parentFileNameHint=" + path + old[end : end + room] + old[end + room + len(path) + 19 - (end - at) :]
    assert content(build(tmp_path, "ova", {"vm.ovf": ovf(names, [("top", names[0], "")]), **files})) == expected


def test_a_parent_outside_of_the_package_is_not_opened(tmp_path, chains):
    folder, _expected = chains["qcow2"]
    top = tmp_path / "top.qcow2"
    shutil.copy(folder / "top.qcow2", top)
    data = bytearray(top.read_bytes())
    at, length = int.from_bytes(data[8:16], "big"), int.from_bytes(data[16:20], "big")
    assert data[at : at + length] == b"middle.qcow2"
    for name in (b"../x.qcow2", b"/etc/passwd", b"http://x/y"):
        data[at : at + 12] = name.ljust(12, b"x")
        data[16:20] = len(name).to_bytes(4, "big")
        (tmp_path / "x.qcow2").write_bytes((folder / "middle.qcow2").read_bytes())
        for kind in ("ova", "folder"):
            shutil.rmtree(tmp_path / "package", ignore_errors=True)
            with pytest.raises(ImageError) as raised:
                content(build(tmp_path, kind, {"vm.ovf": ovf(["top.qcow2"], [("top", "top.qcow2", "")]), "top.qcow2": bytes(data)}))
            assert isinstance(raised.value, (UnsafeReference, UnsupportedImage, CorruptImage)), raised.value
            assert not isinstance(raised.value, AccessError)


BAD = {
    "its own parent": ([("top", "top.qcow2", 'ovf:parentRef="top"')], LimitExceeded, "its own parent"),
    "a ring": ([("top", "top.qcow2", 'ovf:parentRef="b"'), ("b", "middle.qcow2", 'ovf:parentRef="top"')], LimitExceeded, "its own parent"),
    "no such parent": ([("top", "top.qcow2", 'ovf:parentRef="nothing"')], CorruptImage, "no disk 'nothing'"),
    "two such parents": ([("top", "top.qcow2", 'ovf:parentRef="b"'), ("b", "base.qcow2", ""), ("b", "middle.qcow2", "")], CorruptImage, "2 disks with the id"),
    "a parent without its file": ([("top", "top.qcow2", 'ovf:parentRef="b"'), ("b", "gone", "")], CorruptImage, "'gone'"),
    "a parent of another format": ([("top", "top.qcow2", 'ovf:parentRef="b"'), ("b", "base.raw", "")], InvalidImage, "qcow2"),
}


@pytest.mark.parametrize("name", BAD)
def test_parents_that_cannot_be(tmp_path, chains, name):
    disks, error, message = BAD[name]
    folder, _expected = chains["qcow2"]
    names = ["top.qcow2", "middle.qcow2", "base.qcow2", "base.raw"]
    path = build(tmp_path, "ova", {"vm.ovf": ovf(names, disks), **{name: (folder / name).read_bytes() for name in names}})
    with pytest.raises(error, match=message):
        content(path)
    with open_package(path) as package:
        look_at_disks(package)
        assert package.disks()[0].problem is not None
        assert describe_package(package)["systems"][0]["disks"][0]["problem"]


def test_a_chain_that_is_too_long(tmp_path, chains):
    folder, _expected = chains["qcow2"]
    disks = [(str(number), "top.qcow2", f'ovf:parentRef="{number + 1}"') for number in range(100)] + [("100", "base.qcow2", "")]
    files = {name: (folder / name).read_bytes() for name in ("top.qcow2", "base.qcow2")}
    with pytest.raises(LimitExceeded, match="in a chain"):
        content(build(tmp_path, "ova", {"vm.ovf": ovf(["top.qcow2", "base.qcow2"], disks), **files}))


@pytest.mark.parametrize("kind", ["ova", "folder"])
@pytest.mark.parametrize("subformat", ["monolithicFlat", "twoGbMaxExtentSparse"])
def test_extents_in_the_package(tmp_path, chains, qemu_img, subformat, kind):
    folder, _expected = chains["vmdk"]
    made = tmp_path / "made"
    made.mkdir()
    subprocess.run([qemu_img, "convert", "-O", "vmdk", "-o", f"subformat={subformat}", folder / "base.raw", made / HREF], check=True)
    names = sorted(os.listdir(made))
    files = {"vm.ovf": ovf(names, [("top", HREF, "")]), **{name: (made / name).read_bytes() for name in names}}
    assert content(build(tmp_path, kind, files)) == (folder / "base.raw").read_bytes()
    (extent,) = set(names) - {HREF}
    shutil.rmtree(tmp_path / "package", ignore_errors=True)
    with pytest.raises(CorruptImage, match="no file"):
        content(build(tmp_path, kind, {name: data for name, data in files.items() if name != extent}))


def test_an_empty_disk(tmp_path):
    path = build(tmp_path, "ova", {"vm.ovf": ovf([], [("empty", None, "")])})
    assert content(path) == bytes(SIZE)
    assert content(path, disk="empty", manifest="verify") == bytes(SIZE)
    with open_source(Request(path)) as source:
        assert (source.reader.format, list(source.reader.extents())[-1].is_zero, source.reader.storage.allocated()) == ("raw", True, 0)
    with pytest.raises(LimitExceeded):
        content(path, max_size=MIB)


@pytest.mark.parametrize(
    ("capacity", "error"),
    [("0", ImageError), ("1000000000000000000000", CorruptImage), ("99999999999999999", LimitExceeded), ("x", CorruptImage), ("-5", CorruptImage)],
)
def test_an_empty_disk_of_a_size_that_cannot_be(tmp_path, capacity, error):
    text = ovf([], [("empty", None, "")]).replace(f'ovf:capacity="{SIZE}"'.encode(), f'ovf:capacity="{capacity}"'.encode())
    with pytest.raises(error):
        content(build(tmp_path, "ova", {"vm.ovf": text}))


@pytest.mark.parametrize("kind", ["ova", "folder"])
@pytest.mark.parametrize("pieces", [False, True])
def test_a_compressed_disk(tmp_path, chains, kind, pieces):
    folder, _expected = chains["vmdk"]
    raw = (folder / "base.raw").read_bytes()
    packed = gzip.compress(raw, 1)
    attributes = f'ovf:compression="gzip" ovf:size="{len(packed)}"' + (' ovf:chunkSize="500000"' if pieces else "")
    text = ovf(["d.gz"], [("d", "d.gz", "")]).replace(b'ovf:id="d.gz"', f'ovf:id="d.gz" {attributes}'.encode())
    cut = {f"d.gz.{at // 500_000:09d}": packed[at : at + 500_000] for at in range(0, len(packed), 500_000)}
    path = build(tmp_path, kind, {"vm.ovf": text, **(cut if pieces else {"d.gz": packed})})
    assert content(path) == raw
    with open_package(path) as package:
        assert {warning.code for warning in package.warnings} <= {"format_missing", "no_manifest"}
        look_at_disks(package)
        assert (package.disks()[0].problem, package.disks()[0].virtual_size, package.disks()[0].image_format) == (None, SIZE, "raw")


def test_what_the_image_knows_better_is_told(tmp_path, chains):
    folder, _expected = chains["vmdk"]
    text = ovf(["d"], [("d", "d", 'ovf:format="http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"')])
    path = build(tmp_path, "ova", {"vm.ovf": text.replace(b"4194304", b"4194816"), "d": (folder / "base.raw").read_bytes()})
    with open_package(path) as package:
        look_at_disks(package)
        look_at_disks(package)
        assert [warning.code for warning in package.warnings if "mismatch" in warning.code] == ["capacity_mismatch", "format_mismatch"]
        assert package.disks()[0].virtual_size == SIZE
        assert describe_package(package)["systems"][0]["min_disk"] == 1


def test_which_disk(tmp_path):
    disks = {name: bytes([number]) * MIB for number, name in enumerate(("0", "b", "c"), 1)}
    text = ovf(list(disks), [(f"id-{name}", name, "") for name in disks])
    item = text[text.index(b"<rasd:AddressOnParent>0<") :]
    item = b"      <Item>\n        " + item[: item.index(b"</Item>") + 7]
    more = b"".join(b"\n" + item.replace(b"id-0", name).replace(b">4<", b">%d<" % number) for number, name in enumerate((b"id-c", b"id-b"), 40))
    path = build(tmp_path, "ova", {"vm.ovf": text.replace(item, item + more), **disks})
    with open_package(path) as package:
        assert [disk.disk_id for disk in package.disks()] == ["id-0", "id-c", "id-b"]
    for wanted, name in (("c", "c"), ("id-b", "b"), ("1", "c"), ("2", "b"), ("0", "0")):
        assert content(path, disk=wanted) == disks[name]
    for wanted in ("3", "id", "-1", "", "99999999999999999999", "\u0661"):
        with pytest.raises(InvalidImage, match=r"no disk .* it has: 0 \(id-0\), c \(id-c\), b \(id-b\)"):
            content(path, disk=wanted)
    with pytest.raises(AmbiguousImage, match="3 disks"):
        content(path)
