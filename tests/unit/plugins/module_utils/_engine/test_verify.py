# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate: images that another program wrote, held against what is expected of them."""

from __future__ import annotations

import hashlib
import random
import subprocess

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import ImageError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source
from ansible_collections.vmimage.prep.plugins.module_utils._engine.transfer.digest import content_digests
from ansible_collections.vmimage.prep.plugins.module_utils._engine.verify import Expectation, verify

SIZE = 3 << 20


def run(*command, **kwargs):
    subprocess.run([str(part) for part in command], check=True, **kwargs)


@pytest.fixture
def folder(tmp_path, qemu_img):
    (tmp_path / "disk.raw").write_bytes(random.Random(3).randbytes(SIZE - 4096) + bytes(4096))
    run(qemu_img, "convert", "-O", "qcow2", tmp_path / "disk.raw", tmp_path / "disk.qcow2")
    run(qemu_img, "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", tmp_path / "disk.raw", tmp_path / "disk.vmdk")
    run(qemu_img, "create", "-q", "-f", "qcow2", "-b", "disk.qcow2", "-F", "qcow2", tmp_path / "overlay.qcow2", cwd=tmp_path)
    return tmp_path


def look(path, **expected):
    with open_source(Request(str(path))) as source:
        return verify(source, Expectation(**expected))


def test_as_expected(folder):
    checksum = "sha256:" + hashlib.sha256((folder / "disk.qcow2").read_bytes()).hexdigest()
    passed, difference = look(
        folder / "disk.qcow2",
        format="qcow2",
        virtual_size=SIZE,
        standalone=True,
        openstack=True,
        checksum=checksum,
        same_as=Request(str(folder / "disk.vmdk")),
    )
    assert difference is None
    assert len(passed) == 7


def test_openstack_is_glance_and_the_services_of_a_profile(folder):
    assert "Glance accepts it as vmdk" in look(folder / "disk.vmdk", openstack=True)[0]
    passed, difference = look(folder / "disk.qcow2", openstack=True, upload={"profile": "openstack"})
    assert difference is None
    assert "Glance and Nova and Cinder accept it as qcow2" in passed
    assert "the use by Ironic of an upload as vmdk is refused" in look(folder / "disk.vmdk", openstack=True, upload={"profile": "ironic"})[1].reason


def test_names_are_the_field_s_own(folder):
    assert look(folder / "disk.vmdk", format="VMDK", subformat="streamoptimized")[1] is None


@pytest.mark.parametrize(
    ("name", "expected", "aspect", "found"),
    [
        ("disk.qcow2", {"format": "vmdk"}, "format", "qcow2"),
        ("disk.vmdk", {"format": "vmdk", "subformat": "monolithicSparse"}, "subformat", "streamOptimized"),
        ("disk.qcow2", {"virtual_size": SIZE + 512}, "virtual_size", SIZE),
        ("overlay.qcow2", {"standalone": True}, "standalone", ["disk.qcow2"]),
        ("overlay.qcow2", {"openstack": True}, "openstack", "refused"),
        ("disk.qcow2", {"openstack": True, "upload": {"disk_format": "raw"}}, "openstack", "accepted, with a warning"),
        ("disk.qcow2", {"openstack": True, "upload": {"profile": "ceph"}}, "openstack", "accepted, with a warning"),
        ("disk.vmdk", {"openstack": True, "upload": {"profile": "ironic"}}, "openstack", "refused"),
        ("disk.qcow2", {"checksum": "md5:" + "0" * 32}, "checksum", None),
        # The first difference is the cheapest to find, whatever else there is.
        ("overlay.qcow2", {"standalone": True, "format": "raw", "checksum": "md5:" + "0" * 32}, "format", "qcow2"),
    ],
)
def test_the_first_difference(folder, name, expected, aspect, found):
    difference = look(folder / name, **expected)[1]
    assert (difference.aspect, difference.found) == (aspect, found)


def test_other_content(folder, qemu_io):
    run(qemu_io, "-f", "qcow2", "-c", "write -P 7 1000k 512", folder / "disk.qcow2", stdout=subprocess.DEVNULL)
    difference = look(folder / "disk.vmdk", same_as=Request(str(folder / "disk.qcow2")))[1]
    assert (difference.aspect, difference.found) == ("same_as", 1000 << 10)
    assert "0xfa000" in difference.reason


@pytest.mark.parametrize("name", ["disk.raw", "disk.qcow2", "disk.vmdk"])
@pytest.mark.parametrize("algorithm", ["md5", "sha512"])
def test_the_checksum_of_what_the_guest_sees(folder, name, algorithm):
    digest = hashlib.new(algorithm, (folder / "disk.raw").read_bytes()).hexdigest()
    assert look(folder / name, content_checksum=f"{algorithm}:{digest}")[1] is None
    with open_source(Request(str(folder / name))) as source:
        assert content_digests(source.reader, ["sha1", algorithm])[algorithm] == digest


def test_the_checksum_of_another_content(folder):
    assert look(folder / "disk.qcow2", content_checksum="md5:" + "0" * 32)[1].aspect == "content_checksum"


def test_the_checksum_of_a_disk_with_holes(tmp_path, qemu_img, qemu_io):
    run(qemu_img, "create", "-q", "-f", "qcow2", tmp_path / "disk.qcow2", "100M")
    run(qemu_io, "-f", "qcow2", "-c", "write -P 7 33000k 3M", "-c", "write -P 9 104857088 512", tmp_path / "disk.qcow2", stdout=subprocess.DEVNULL)
    run(qemu_img, "convert", "-O", "raw", tmp_path / "disk.qcow2", tmp_path / "disk.raw")
    with open_source(Request(str(tmp_path / "disk.qcow2"))) as source:
        for threads in (1, 3):
            assert content_digests(source.reader, ["sha1"], threads=threads)["sha1"] == hashlib.sha1((tmp_path / "disk.raw").read_bytes()).hexdigest()


def test_another_size_is_another_disk(folder, qemu_img):
    run(qemu_img, "resize", "-q", "-f", "qcow2", folder / "disk.qcow2", "+1M")
    difference = look(folder / "disk.vmdk", same_as=Request(str(folder / "disk.qcow2")))[1]
    assert (difference.aspect, difference.expected, difference.found) == ("same_as", SIZE + (1 << 20), SIZE)


def test_leaks_are_not_clean(folder, qemu_io):
    raw = bytearray((folder / "disk.qcow2").read_bytes())
    (folder / "leak.qcow2").write_bytes(raw + bytes(65536))
    block = int.from_bytes(raw[int.from_bytes(raw[48:56], "big") :][:8], "big")
    with (folder / "leak.qcow2").open("r+b") as file:  # a refcount for the cluster behind the last one
        file.seek(block + len(raw) // 65536 * 2)
        file.write(b"\0\1")
    assert subprocess.run([qemu_io.replace("qemu-io", "qemu-img"), "check", "-f", "qcow2", str(folder / "leak.qcow2")], check=False).returncode == 3
    difference = look(folder / "leak.qcow2", clean=True)[1]
    assert difference.aspect == "clean"
    assert len(difference.found) == 1
    assert look(folder / "leak.qcow2")[1] is None


def test_corruption_is_not_sound(folder, qemu_img):
    raw = bytearray((folder / "disk.qcow2").read_bytes())
    block = int.from_bytes(raw[int.from_bytes(raw[48:56], "big") :][:8], "big")
    raw[block + 10 : block + 12] = b"\0\0"  # a cluster that is used is said to be free
    (folder / "bad.qcow2").write_bytes(raw)
    assert subprocess.run([qemu_img, "check", "-f", "qcow2", str(folder / "bad.qcow2")], check=False, capture_output=True).returncode == 2
    assert look(folder / "bad.qcow2")[1].aspect == "sound"
    assert look(folder / "bad.qcow2", sound=False)[1] is None


def test_what_cannot_be_read_is_an_error(folder):
    with pytest.raises(ImageError):
        look(folder / "overlay.qcow2")
    with pytest.raises(ImageError):
        look(folder / "disk.qcow2", same_as=Request(str(folder / "missing")))
