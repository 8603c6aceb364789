# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The image of a trio out of disks that the usual tools made, and kernels out of an ISO."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.ami.files import TrioFiles
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, InvalidImage, UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.extract import extract, plan
from ansible_collections.vmimage.prep.plugins.module_utils._engine.source import Request, open_source

from .conftest import MIB
from .test_trio import GUEST, MODULES, NEW, OLD, changed, content, kernel, ramdisk

UUID = "11111111-2222-3333-4444-000000000001"
FILES = {path: data.replace("UUID=uuid-vda1", f"UUID={UUID}") if isinstance(data, str) else data for path, data in GUEST.items()}


@pytest.fixture
def ext4(make_folder, tmp_path, program):
    """ext4(files, size in MiB) gives the bytes of a file system."""

    def ext4(files, size=6):
        path = tmp_path / "ext4"
        path.unlink(missing_ok=True)
        subprocess.run([program("mkfs.ext4"), "-q", "-U", UUID, "-d", make_folder("files", files), path, f"{size}M"], check=True, capture_output=True)
        return path.read_bytes()

    return ext4


@pytest.mark.parametrize("form", ["raw", "qcow2", "vmdk"])
def test_the_image_has_the_bytes_of_the_file_system(ext4, make_disk, take_file, qemu_img, tmp_path, form):
    """All of them, and nothing of the partition behind it."""
    filesystem = ext4(FILES)
    disk = make_disk("disk", 12, {1: (filesystem + b"rest" * 1000, 9), 10: bytes(MIB)})
    subprocess.run([qemu_img, "convert", "-O", form, disk, tmp_path / "source"], check=True)
    trio = take_file(tmp_path / "source")
    assert trio.root.name == "vda1"
    assert content(trio, "image") == filesystem
    assert content(trio, "kernel") == kernel(NEW)
    assert content(trio, "ramdisk") == ramdisk(NEW)
    assert trio.command_line.text == f"root=UUID={UUID} ro console=ttyS0 quiet"
    stored = sum(length for _offset, length in trio.contents["image"].data_ranges())
    assert stored < len(filesystem)  # holes stay holes


def test_a_file_system_without_a_partition_table(ext4, take_file, tmp_path):
    path = tmp_path / "alone"
    path.write_bytes(ext4(FILES))
    trio = take_file(path)
    assert (trio.root.name, content(trio, "image")) == ("vda", path.read_bytes())


def test_a_partition_that_is_shorter_than_its_file_system(ext4, make_disk, take_file):
    disk = make_disk("disk", 12, {1: (ext4(FILES), 5)})
    with pytest.raises(CorruptImage, match=f"the file system on vda1 is cut off: it has {6 * MIB} bytes, the volume {5 * MIB}"):
        take_file(disk)


def test_a_disk_that_is_shorter_than_its_partition(ext4, make_disk, take_file):
    disk = make_disk("disk", 8, {1: ext4(FILES)})
    with disk.open("r+b") as file:
        file.truncate(6 * MIB)
    with pytest.raises(CorruptImage, match=f"cut off: it has {6 * MIB} bytes, the volume {5 * MIB}"):
        take_file(disk)


def test_a_root_in_luks(make_disk, take_file, tmp_path, program):
    path = tmp_path / "luks"
    path.write_bytes(bytes(20 * MIB))
    command = [program("cryptsetup"), "luksFormat", "-q", "--type", "luks2", "--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000", path, "-"]
    subprocess.run(command, input=b"secret", check=True, capture_output=True)
    with pytest.raises(UnsupportedImage, match="vda1 is encrypted: crypto_LUKS"):
        take_file(make_disk("disk", 22, {1: path.read_bytes()}))


def test_without_the_ramdisk_of_ext4(ext4, make_disk, take_file):
    disk = make_disk("disk", 8, {1: ext4({**FILES, f"{MODULES}/modules.builtin": "fs/ext4/ext4.ko\nvirtio_blk.ko\nvirtio_pci.ko\n"})})
    trio = take_file(disk, with_ramdisk=False)
    assert trio.command_line.text == "root=/dev/vda ro console=ttyS0 quiet"
    assert [risk.level for risk in trio.risks if risk.level == "error"] == []


@pytest.fixture
def iso(make_folder, tmp_path, program):
    """iso(files) gives the path of a disc with Rock Ridge."""

    def iso(files):
        path = tmp_path / "disc.iso"
        command = [program("xorriso"), "-as", "mkisofs", "-quiet", "-R", "-V", "DISC", "-o", path, make_folder("disc", files)]
        subprocess.run(command, check=True, capture_output=True)
        return path

    return iso


ISOLINUX = f"""default new
label new
  menu label ^Install
  kernel /boot/vmlinuz-{NEW}
  append initrd=/boot/initrd.img-{NEW},/boot/more quiet ---
label old
  menu label Rescue
  kernel /boot/vmlinuz-{OLD}
  append initrd=/boot/initrd.img-{OLD} rescue
"""
DISC = {**changed(**{"boot_extlinux/extlinux.conf": None}), "/isolinux/isolinux.cfg": ISOLINUX, "/boot/more": ramdisk("more")}


def test_a_disc(iso, take_file):
    trio = take_file(iso(DISC))
    first = ramdisk(NEW)
    assert list(trio.contents) == ["kernel", "ramdisk"]
    assert content(trio, "kernel") == kernel(NEW)
    assert content(trio, "ramdisk") == first + bytes(-len(first) % 4) + ramdisk("more")
    assert (trio.kernel_source, trio.ramdisk_sources) == (f"/boot/vmlinuz-{NEW}", [f"/boot/initrd.img-{NEW}", "/boot/more"])
    assert (trio.command_line.text, trio.architecture, trio.risks) == ("quiet ---", "x86_64", [])


@pytest.mark.parametrize("name", [OLD, f"/boot/vmlinuz-{OLD}", "Rescue"])
def test_another_kernel_of_a_disc(iso, take_file, name):
    trio = take_file(iso(DISC), guest_kernel=name)
    assert content(trio, "kernel") == kernel(OLD)
    assert content(trio, "ramdisk") == ramdisk(OLD)
    assert trio.command_line.text == "rescue"


def test_what_is_given_for_a_disc(iso, take_file, tmp_path):
    disc = iso(DISC)
    (tmp_path / "given").write_bytes(ramdisk("given"))
    trio = take_file(disc, ramdisk=str(tmp_path / "given"), command_line="auto")
    assert content(trio, "ramdisk") == ramdisk("given")
    assert (trio.command_line.text, trio.command_line.changes) == ("auto", ["given"])
    assert list(take_file(disc, with_ramdisk=False).contents) == ["kernel"]


def test_what_a_disc_does_not_have(iso, take_file, tmp_path):
    disc = iso(DISC)
    with pytest.raises(InvalidImage, match=rf"the disc has no kernel '7\.0'.*/boot/vmlinuz-{NEW} \({NEW}\)"):
        take_file(disc, guest_kernel="7.0")
    for options in ({"root": "vda1"}, {"kernel": str(tmp_path / "x")}):
        with pytest.raises(UnsupportedImage, match="an ISO has no root file system"):
            take_file(disc, **options)


def test_a_disc_without_a_kernel(iso, take_file):
    disc = iso({"/boot/text": "there is no kernel\n"})
    with pytest.raises(InvalidImage, match="no kernel was found on the disc"):
        take_file(disc)


def test_a_large_file_system(tmp_path, make_folder, take_file, program):
    """Its holes are neither read nor written."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(256 << 30)
    command = [program("mkfs.ext4"), "-q", "-O", "^has_journal", "-E", "lazy_itable_init=1", "-d", make_folder("files", FILES), path]
    subprocess.run(command, check=True, capture_output=True)
    (tmp_path / "out").mkdir()
    with open_source(Request(str(path), any_order=True)) as source:
        files = TrioFiles(source, take_file(path), "large")
        extract(files, str(tmp_path / "out"), plan(files, str(tmp_path / "out")))
        assert [file.reason for file in plan(files, str(tmp_path / "out"))] == [None, None, None]
    made = (tmp_path / "out/large.img").stat()
    assert made.st_size == path.stat().st_size
    assert made.st_blocks <= path.stat().st_blocks
    check = subprocess.run([program("e2fsck"), "-fn", tmp_path / "out/large.img"], check=False, capture_output=True, text=True)
    assert check.returncode == 0, check.stdout
