# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kernel, which ramdisk and which command line a trio has; the guests are dictionaries."""

from __future__ import annotations

import gzip

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.ami.files import TrioFiles
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import (
    AmbiguousImage,
    CorruptImage,
    InvalidImage,
    UnsupportedImage,
)
from ansible_collections.vmimage.prep.plugins.module_utils._engine.filesystems.base import Signature
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest import guest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.volumes import Volume

from ..guest.test_elf import elf
from ..guest.test_kernel import bzimage, uki
from ..guest.test_risks import cpio
from ..guest.test_roots import Subvolumes

NEW, OLD, OTHER = "6.1.0-2-amd64", "6.1.0-1-amd64", "5.10.0-9-amd64"
ROOT = "root=UUID=uuid-vda1 ro console=ttyS0"
MODULES = "/usr/lib/modules/6.1.0-2-amd64"
MENU = f"""DEFAULT new
LABEL new
  MENU LABEL Newest
  KERNEL /boot/vmlinuz-{NEW}
  INITRD /boot/initrd.img-{NEW}
  APPEND {ROOT} quiet
LABEL old
  MENU LABEL Older
  KERNEL /boot/vmlinuz-{OLD}
  INITRD /boot/initrd.img-{OLD}
  APPEND {ROOT} single
"""


def kernel(version):
    return bzimage(version.encode())


def ramdisk(version):
    return gzip.compress(cpio("init", version), mtime=0)


GUEST = {
    "/etc/os-release": "ID=debian\nVERSION_ID=12\n",
    "/etc/fstab": "UUID=uuid-vda1 / ext4 defaults 0 1\n",
    "/bin/sh": elf(62),
    "/boot/extlinux/extlinux.conf": MENU,
    "/vmlinuz.old": f"-> boot/vmlinuz-{OLD}",
    f"{MODULES}/modules.builtin": "kernel/drivers/virtio/virtio_pci.ko\n",
    f"{MODULES}/modules.dep": "kernel/drivers/block/virtio_blk.ko:\nkernel/fs/ext4/ext4.ko:\n",
    **{f"/boot/vmlinuz-{version}": kernel(version) for version in (NEW, OLD, OTHER)},
    **{f"/boot/initrd.img-{version}": ramdisk(version) for version in (NEW, OLD, OTHER)},
}


def changed(**files):
    """The guest with other files; ``boot_x`` is /boot/x, and None takes a file away."""
    made = {**GUEST, **{f"/{name.replace('_', '/', 1)}": content for name, content in files.items()}}
    return {path: content for path, content in made.items() if content is not None}


def content(trio, role):
    storage = trio.contents[role]
    return storage.read_exact(0, storage.size, role)


def codes(trio):
    return [risk.code for risk in trio.risks]


def test_what_boots_by_default(take, volume):
    trio = take([volume("vda1", GUEST)])
    assert content(trio, "kernel") == kernel(NEW)
    assert content(trio, "ramdisk") == ramdisk(NEW)
    assert (trio.kernel_source, trio.ramdisk_sources) == (f"/boot/vmlinuz-{NEW}", [f"/boot/initrd.img-{NEW}"])
    assert (trio.command_line.text, trio.command_line.changes) == (f"{ROOT} quiet", [])
    assert (trio.architecture, trio.kernel.version) == ("x86_64", NEW)
    assert trio.root.name == "vda1"


@pytest.mark.parametrize("name", [OLD, f"/boot/vmlinuz-{OLD}", "/vmlinuz.old", "Older", "old"])
def test_a_kernel_by_its_version_path_link_title_or_label(take, volume, name):
    trio = take([volume("vda1", GUEST)], guest_kernel=name)
    assert content(trio, "kernel") == kernel(OLD)
    assert content(trio, "ramdisk") == ramdisk(OLD)
    assert trio.command_line.text == f"{ROOT} single"


@pytest.mark.parametrize("name", [OTHER, f"/boot/vmlinuz-{OTHER}"])
def test_a_kernel_that_is_in_no_menu_boots_as_the_default_one_does(take, volume, name):
    trio = take([volume("vda1", GUEST)], guest_kernel=name)
    assert content(trio, "kernel") == kernel(OTHER)
    assert content(trio, "ramdisk") == ramdisk(OTHER)
    assert trio.command_line.text == f"{ROOT} quiet"


@pytest.mark.parametrize("name", ["6.9", "/boot/vmlinuz-6.9", "/boot", "\ud800", "/\ud800", "/" * 5000])
def test_a_kernel_that_is_not_there(take, volume, name):
    with pytest.raises(InvalidImage, match=f"has no kernel .*vmlinuz-{OTHER}"):
        take([volume("vda1", GUEST)], guest_kernel=name)


def test_a_title_that_several_entries_have(take, volume):
    menu = MENU.replace("Older", "Newest")
    with pytest.raises(AmbiguousImage, match="several kernels"):
        take([volume("vda1", changed(**{"boot_extlinux/extlinux.conf": menu}))], guest_kernel="Newest")


def test_a_version_that_two_kernels_have(take, volume):
    files = changed(**{f"boot_vmlinuz-{OTHER}.copy": kernel(OTHER)})
    with pytest.raises(AmbiguousImage, match="several kernels"):
        take([volume("vda1", files)], guest_kernel=OTHER)
    assert take([volume("vda1", files)], guest_kernel=f"/boot/vmlinuz-{OTHER}").kernel_source == f"/boot/vmlinuz-{OTHER}"


@pytest.mark.parametrize("count", range(4))
def test_several_ramdisks_are_one_behind_the_other_where_the_kernel_looks_for_them(take, volume, count):
    """An archive that is not packed has to begin at a multiple of four bytes; what is packed ends anywhere."""
    first = ramdisk(NEW)
    first += bytes((count - len(first)) % 4)
    second = cpio("early/microcode")
    files = changed(boot_first=first, boot_second=second)
    menu = MENU.replace(f"/boot/initrd.img-{NEW}", f"/boot/first,/boot/second,/boot/initrd.img-{NEW}")
    trio = take([volume("vda1", {**files, "/boot/extlinux/extlinux.conf": menu})])
    assert trio.ramdisk_sources == ["/boot/first", "/boot/second", f"/boot/initrd.img-{NEW}"]
    assert content(trio, "ramdisk") == first + bytes(-count % 4) + second + ramdisk(NEW)


def test_an_entry_without_a_ramdisk_gets_the_one_of_its_name(take, volume):
    trio = take([volume("vda1", changed(**{"boot_extlinux/extlinux.conf": MENU.replace(f"  INITRD /boot/initrd.img-{NEW}\n", "")}))])
    assert trio.ramdisk_sources == [f"/boot/initrd.img-{NEW}"]


def test_no_ramdisk_anywhere(take, volume):
    menu = MENU.replace(f"  INITRD /boot/initrd.img-{NEW}\n", "")
    trio = take([volume("vda1", changed(**{"boot_extlinux/extlinux.conf": menu, f"boot_initrd.img-{NEW}": None}))])
    assert ("ramdisk" in trio.contents, trio.ramdisk_sources, trio.command_line.text) == (False, [], "root=/dev/vda ro console=ttyS0 quiet")


def test_without_the_ramdisk(take, volume):
    trio = take([volume("vda1", GUEST)], with_ramdisk=False)
    assert list(trio.contents) == ["kernel", "image"]
    assert trio.command_line.text == "root=/dev/vda ro console=ttyS0 quiet"
    (risk,) = [risk for risk in trio.risks if risk.code == "no_root_driver"]
    assert risk.level == "error"
    assert risk.text.endswith(": virtio_blk, ext4")


def test_without_the_ramdisk_when_all_is_in_the_kernel(take, volume):
    builtin = "kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/block/virtio_blk.ko\nkernel/fs/ext4/ext4.ko\n"
    trio = take([volume("vda1", {**GUEST, f"{MODULES}/modules.builtin": builtin})], with_ramdisk=False)
    assert "no_root_driver" not in codes(trio)


def test_a_unified_kernel_image(take, volume):
    image = uki(linux=kernel("6.9.1"), initrd=ramdisk("6.9.1"), cmdline=b"root=UUID=uuid-vda1 rw console=ttyS0\0", uname=b"6.9.1")
    esp = {"/EFI/Linux/debian.efi": image, "/EFI/systemd/systemd-bootx64.efi": b"MZ", "/loader/loader.conf": ""}
    files = changed(**{"boot_extlinux/extlinux.conf": None})
    root = volume("vda1", {**files, "/efi": None, "/etc/fstab": "UUID=uuid-vda1 / ext4\nUUID=uuid-vda2 /efi vfat\n"})
    trio = take([root, volume("vda2", esp, "vfat")])
    assert content(trio, "kernel") == kernel("6.9.1")
    assert content(trio, "ramdisk") == ramdisk("6.9.1")
    assert (trio.kernel_source, trio.ramdisk_sources) == ("/efi/EFI/Linux/debian.efi", ["/efi/EFI/Linux/debian.efi"])
    assert trio.command_line.text == "root=UUID=uuid-vda1 rw console=ttyS0"


def test_a_kernel_and_a_ramdisk_that_are_given(take, volume, tmp_path):
    (tmp_path / "kernel").write_bytes(kernel("6.6.6"))
    (tmp_path / "ramdisk").write_bytes(ramdisk("6.6.6"))
    trio = take([volume("vda1", GUEST)], kernel=str(tmp_path / "kernel"), ramdisk=str(tmp_path / "ramdisk"))
    assert content(trio, "kernel") == kernel("6.6.6")
    assert content(trio, "ramdisk") == ramdisk("6.6.6")
    assert trio.command_line.text == f"{ROOT} quiet"  # as the guest's own kernel has it
    assert "no_modules" in codes(trio)


def test_a_given_kernel_does_not_get_the_ramdisk_of_another_one(take, volume, tmp_path):
    (tmp_path / "kernel").write_bytes(kernel(NEW))
    trio = take([volume("vda1", GUEST)], kernel=str(tmp_path / "kernel"))
    assert list(trio.contents) == ["kernel", "image"]
    assert trio.command_line.text == "root=/dev/vda ro console=ttyS0 quiet"
    assert "no_modules" not in codes(trio)


def test_a_kernel_is_given_to_a_guest_that_has_none(take, volume, tmp_path):
    (tmp_path / "kernel").write_bytes(kernel(NEW))
    files = {path: data for path, data in GUEST.items() if not path.startswith(("/boot", "/vmlinuz"))}
    trio = take([volume("vda1", files)], kernel=str(tmp_path / "kernel"))
    assert trio.command_line.text == "root=/dev/vda ro console=tty0 console=ttyS0"
    assert not {"no_kernel", "no_boot_entry"}.intersection(codes(trio))
    with pytest.raises(InvalidImage, match=r"no kernel boots by default.*has to be given with kernel"):
        take([volume("vda1", files)])


@pytest.mark.parametrize("role", ["kernel", "ramdisk"])
def test_what_is_given_is_something_else(take, volume, tmp_path, role):
    path = tmp_path / "given"
    path.write_bytes(b"text\n" * 1000)
    with pytest.raises(InvalidImage, match=f"{path}: is no .*Name another one with {role}"):
        take([volume("vda1", GUEST)], **{role: str(path)})


def test_the_command_line_is_given(take, volume):
    trio = take([volume("vda1", GUEST)], command_line="root=/dev/sda init=/x")
    assert (trio.command_line.text, trio.command_line.changes) == ("root=/dev/sda init=/x", ["given"])


def test_a_kernel_that_is_cut_off(take, volume):
    with pytest.raises(CorruptImage, match="the kernel is cut off: it has 65536 bytes, the file 30000"):
        take([volume("vda1", changed(**{f"boot_vmlinuz-{NEW}": kernel(NEW)[:30000]}))])


@pytest.mark.parametrize("name", [f"vmlinuz-{NEW}", f"initrd.img-{NEW}"])
def test_a_file_of_the_menu_that_is_missing(take, volume, name):
    with pytest.raises(UnsupportedImage, match=f"/boot/{name} that the boot loader names is not in the guest"):
        take([volume("vda1", changed(**{f"boot_{name}": None}))])


def test_several_systems(take, volume):
    volumes = [volume("vda1", GUEST), volume("vda2", GUEST, label="second")]
    with pytest.raises(AmbiguousImage, match="vda1, vda2"):
        take(volumes)
    for name in ("vda2", "uuid-vda2", "second", "LABEL=second"):
        trio = take(volumes, root=name)
        assert (trio.root.name, trio.command_line.text) == ("vda2", "root=UUID=uuid-vda2 ro console=ttyS0 quiet")
        assert "several_systems" not in codes(trio)


def test_no_system(take, volume):
    with pytest.raises(InvalidImage, match="no operating system"):
        take([volume("vda1", {"/data": b""})])
    with pytest.raises(InvalidImage, match=r"no volume is called 'vda7'.*The disk has vda1"):
        take([volume("vda1", GUEST)], root="vda7")


def test_a_system_that_is_named_and_damaged(take, volume, monkeypatch):
    """What is wrong with it is said, not that there are others."""

    def damaged(_root, _volumes):
        raise CorruptImage("the root directory is damaged")

    monkeypatch.setattr(guest, "examine_system", damaged)
    with pytest.raises(CorruptImage, match="vda2 cannot be read: the root directory is damaged"):
        take([volume("vda1", GUEST), volume("vda2", GUEST)], root="vda2")


def test_an_encrypted_root(take, volume):
    locked = volume("vda2", {})
    locked.signature, locked.filesystem = Signature("crypto_LUKS", "crypto", None, "uuid-vda2", "2"), None
    with pytest.raises(UnsupportedImage, match="vda2 is encrypted: crypto_LUKS"):
        take([volume("vda1", {"/vmlinuz": kernel(NEW)}), locked])
    with pytest.raises(InvalidImage, match="vda2 cannot be read: it holds crypto_LUKS"):
        take([locked], root="vda2")


def test_a_root_on_a_logical_volume(take, volume):
    line = "root=/dev/mapper/vg-root ro rd.lvm.lv=vg/root resume=/dev/mapper/vg-swap console=ttyS0 quiet"
    files = changed(**{"boot_extlinux/extlinux.conf": MENU.replace(f"{ROOT} quiet", line), "etc_fstab": "/dev/mapper/vg-root / ext4\n"})
    trio = take([volume("vg/root", files, logical=True)])
    assert trio.command_line.text == "root=UUID=uuid-vg/root ro console=ttyS0 quiet"
    assert trio.command_line.changes == [
        "left out rd.lvm.lv=vg/root, which is not in the image",
        "left out resume=/dev/mapper/vg-swap, which is not in the image",
        "root=UUID=uuid-vg/root instead of root=/dev/mapper/vg-root",
    ]
    assert "lvm_root" not in codes(trio)


@pytest.mark.parametrize(
    ("options", "flags"), [("quiet", "quiet rootflags=subvol=@"), ("rootflags=compress=zstd,subvol=@ quiet", "rootflags=compress=zstd,subvol=@ quiet")]
)
def test_a_subvolume_of_btrfs(take, volume, options, flags):
    files = changed(**{"boot_extlinux/extlinux.conf": MENU.replace("quiet", options)})
    found = volume("vda1", {}, "btrfs")
    found.filesystem = Subvolumes({"": found.filesystem, "@": volume("vda1", files, "btrfs").filesystem}, "")
    trio = take([found])
    assert (trio.root.name, trio.command_line.text) == ("vda1:@", f"{ROOT} {flags}")
    assert "subvolume_without_ramdisk" not in codes(trio)
    assert "subvolume_without_ramdisk" in codes(take([found], with_ramdisk=False))


TABLE = """UUID=uuid-vda1 / ext4 defaults 0 1
UUID=uuid-vda2 {path} ext4 {options} 0 2
UUID=uuid-vda1 /again ext4
proc /proc proc
"""


@pytest.mark.parametrize(
    ("path", "options", "expected"),
    [
        ("/srv", "defaults", ("volume_left_out", "warning")),
        ("/srv", "defaults,nofail", ("volume_left_out", "note")),
        ("/srv", "noauto", None),
        ("/usr", "defaults", ("needed_volume_left_out", "error")),
        ("/var", "nofail", ("needed_volume_left_out", "error")),
        ("/var/lib/docker", "defaults", ("volume_left_out", "warning")),
        ("/usr2", "defaults", ("volume_left_out", "warning")),
        (r"/a\012b", "defaults", ("volume_left_out", "warning")),
    ],
)
def test_volumes_that_are_not_in_the_image(take, volume, path, options, expected):
    files = {**GUEST, "/etc/fstab": TABLE.format(path=path, options=options)}
    trio = take([volume("vda1", files), volume("vda2", {"/x": b""})])
    found = [risk for risk in trio.risks if "left_out" in risk.code]
    assert [(risk.code, risk.level) for risk in found] == ([expected] if expected else [])
    assert all("vda2" in risk.text for risk in found)
    assert all(risk.text.isprintable() for risk in found)


def test_swap_that_is_not_in_the_image(take, volume):
    swap = volume("vda2", {})
    swap.signature, swap.filesystem = Signature("swap", "other", None, "uuid-vda2"), None
    trio = take([volume("vda1", {**GUEST, "/etc/fstab": "UUID=uuid-vda1 / ext4\nUUID=uuid-vda2 none swap sw\n"}), swap])
    assert "swap_left_out" in codes(trio)


def test_usr_on_a_volume_of_its_own(take, volume):
    """It is there for what is read, and left out of the image: that does not start."""
    files = {path: data for path, data in GUEST.items() if not path.startswith("/usr")}
    table = "UUID=uuid-vda1 / ext4\nUUID=uuid-vda2 /usr ext4\n"
    usr = {path[4:]: data for path, data in GUEST.items() if path.startswith("/usr")}
    trio = take([volume("vda1", {**files, "/usr": None, "/etc/fstab": table}), volume("vda2", usr)])
    assert trio.guest.system.kernel.modules == MODULES
    assert "needed_volume_left_out" in codes(trio)
    assert "separate_usr" not in codes(trio)


def test_a_boot_partition(take, volume):
    """What the boot loader names begins at its own file system; absolute links lead to where the guest has it."""
    boot = {path[5:]: data for path, data in GUEST.items() if path.startswith("/boot")}
    boot["/extlinux/extlinux.conf"] = MENU.replace("/boot/", "/").replace(f"/vmlinuz-{NEW}", "/vmlinuz")
    boot["/vmlinuz"] = f"-> /boot/vmlinuz-{NEW}"
    files = {path: data for path, data in GUEST.items() if not path.startswith("/boot")}
    table = "UUID=uuid-vda1 / ext4\nUUID=uuid-vda2 /boot ext4 nofail\n"
    trio = take([volume("vda1", {**files, "/boot": None, "/etc/fstab": table}), volume("vda2", boot)])
    assert content(trio, "kernel") == kernel(NEW)
    assert content(trio, "ramdisk") == ramdisk(NEW)
    assert trio.guest.system.kernel.path == f"/boot/vmlinuz-{NEW}"


def test_the_names_of_the_files(take, volume):
    trio = take([volume("vda1", GUEST)])

    class Source:
        path, package = "disk.raw", None

    taken = TrioFiles(Source(), trio, "server")
    assert taken.roles == {"server-vmlinuz": "kernel", "server-initrd": "ramdisk", "server.img": "image"}
    assert taken.open_name("server-vmlinuz").read_at(0, 1 << 20) == kernel(NEW)
    with pytest.raises(InvalidImage, match="for the kernel"):
        TrioFiles(Source(), trio, "a-vmlinuz")


def test_a_volume_that_cannot_be_had(take, volume):
    missing = volume("vg/root", {}, logical=True)
    missing.volume = Volume("vg/root", None, None, missing.volume.logical_volume, "it is a thin volume")
    missing.signature = missing.filesystem = None
    missing.problem = "it is a thin volume"
    with pytest.raises(UnsupportedImage, match="vg/root: it is a thin volume"):
        take([missing])
