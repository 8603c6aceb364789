# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""systemd-boot, entries of the Boot Loader Specification as kernel-install writes them, and unified kernel images as objcopy builds them."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import CorruptImage, ImageError
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.boot.boot import boot_configurations, boot_entries
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.boot.pe import read_pe
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.boot.uki import read_uki
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

MACHINE = "0123456789abcdef0123456789abcdef"
PE_HEADER = 0x80
"""where pe() puts it"""


def pe(*sections, machine=0x8664):
    """A program with sections of (name, content), each filled up to 512 bytes."""
    header = bytearray(b"MZ".ljust(0x3C, b"\0") + PE_HEADER.to_bytes(4, "little")).ljust(PE_HEADER, b"\0")
    header += b"PE\0\0" + machine.to_bytes(2, "little") + len(sections).to_bytes(2, "little") + bytes(12) + (16).to_bytes(2, "little") + bytes(2) + bytes(16)
    body = b""
    start = 0x1000
    for name, content in sections:
        size = -(-len(content) // 512) * 512
        header += name.encode().ljust(8, b"\0") + b"".join(number.to_bytes(4, "little") for number in (len(content), 0, size, start + len(body))) + bytes(16)
        body += content.ljust(size, b"\0")
    return bytes(header.ljust(start, b"\0")) + body


def uki(name="1", options="root=LABEL=x ro", release='ID=test\nPRETTY_NAME="Test OS"\n', kernel=b"kernel", initrd=b"initrd"):
    return pe((".osrel", release.encode()), (".cmdline", options.encode() + b"\n"), (".uname", name.encode()), (".linux", kernel), (".initrd", initrd))


def entry(title="x", linux="/vmlinuz", **fields):
    return f"title {title}\nlinux {linux}\n" + "".join(f"{key.replace('_', '-')} {value}\n" for key, value in fields.items())


@pytest.fixture
def with_esp(guest_tree, dict_filesystem):
    """with_esp({path: content}, **more of the guest) gives a Tree with the EFI system partition at /efi."""

    def with_esp(files, **more):
        return guest_tree({"/efi": None, **more}, mounts={"/efi": dict_filesystem(files, "vfat", "ABCD-1234")})

    return with_esp


@pytest.mark.parametrize("separate", [False, True])
def test_what_kernel_install_writes(program, tmp_path, guest_tree, dict_filesystem, separate):
    program("systemd-analyze")  # of the same package
    boot, kernel = tmp_path / "boot", tmp_path / "vmlinuz"
    boot.mkdir()
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/install.conf").write_text("layout=bls\n")
    (tmp_path / "conf/cmdline").write_text("root=UUID=1 rw console=ttyS0\n")
    (tmp_path / "conf/entry-token").write_text(f"{MACHINE}\n")
    kernel.write_bytes(b"kernel")
    (tmp_path / "initrd.img").write_bytes(b"initrd")
    environment = {**os.environ, "KERNEL_INSTALL_CONF_ROOT": str(tmp_path / "conf"), "BOOT_ROOT": str(boot), "MACHINE_ID": MACHINE}
    plugin = Path("/usr/lib/kernel/install.d/90-loaderentry.install")
    environment["KERNEL_INSTALL_PLUGINS"] = str(plugin)
    for version in ("6.1.0-9-amd64", "6.1.0-10-amd64"):
        folder = boot / MACHINE / version
        folder.mkdir(parents=True)
        subprocess.run([program("kernel-install"), "add", version, str(kernel), str(tmp_path / "initrd.img")], env=environment, check=True)
    # The entries have the paths below the mount point, which is not the guest's here.
    mounted = next(str(parent) for parent in boot.parents if os.path.ismount(parent)).rstrip("/")
    mount_point = str(boot if separate else tmp_path)[len(mounted) :].encode()
    files = {f"/{path.relative_to(boot)}": path.read_bytes().replace(mount_point, b"") for path in boot.rglob("*") if path.is_file()}
    assert len(files) == 6
    if separate:
        tree = guest_tree({}, mounts={"/boot": dict_filesystem(files, "vfat")})
    else:
        tree = guest_tree({f"/boot{path}": content for path, content in files.items()})
    found = boot_entries(tree)
    assert found.loader == "bls"
    assert found.default.kernel == f"/boot/{MACHINE}/6.1.0-10-amd64/linux"
    assert found.default.initrds == (f"/boot/{MACHINE}/6.1.0-10-amd64/initrd.img",)
    assert found.default.options == "root=UUID=1 rw console=ttyS0 systemd.machine_id=" + MACHINE
    assert found.default.open_kernel(tree).read_at(0, 99) == b"kernel"
    assert [storage.read_at(0, 99) for storage in found.default.open_initrds(tree)] == [b"initrd"]
    assert len(found.entries) == 2


@pytest.mark.parametrize(
    ("files", "order"),
    [
        (["a-1", "a-10", "a-9"], ["a-10", "a-9", "a-1"]),
        (["6.1~rc1", "6.1", "6.1.1"], ["6.1.1", "6.1", "6.1~rc1"]),
        (["a+3", "b+0-3", "c"], ["c", "a+3", "b+0-3"]),
    ],
)
def test_the_order_by_name(with_esp, files, order):
    found = boot_entries(with_esp({"/loader/loader.conf": "", **{f"/loader/entries/{name}.conf": entry() for name in files}}))
    assert [one.id for one in found.entries] == order
    assert found.default.id == order[0]


def test_the_order_by_sort_key(with_esp):
    keys = {
        "z-none": {},
        "b-2": {"sort_key": "b", "machine_id": "m", "version": "2"},
        "b-10": {"sort_key": "b", "machine_id": "m", "version": "10"},
        "b-other": {"sort_key": "b", "machine_id": "n", "version": "99"},
        "a": {"sort_key": "a"},
    }
    found = boot_entries(with_esp({f"/loader/entries/{name}.conf": entry(**fields) for name, fields in keys.items()}))
    assert [one.id for one in found.entries] == ["a", "b-10", "b-2", "b-other", "z-none"]


@pytest.mark.parametrize(
    ("settings", "chosen"),
    [
        ("timeout 3\ndefault a-*\n", "a-9"),
        ("default A-1.conf", "a-1"),
        ("default b+3", "b+3-1"),
        ("default b.conf", "b+3-1"),
        ("default nothing", "b+3-1"),
        ("#default a-1", "b+3-1"),
        ("default @saved", "b+3-1"),
        ("preferred a-1*\ndefault a-9*", "a-1"),
    ],
)
def test_the_default_of_loader_conf(with_esp, settings, chosen):
    names = ("a-1", "a-9", "b+3-1")
    found = boot_entries(with_esp({"/loader/loader.conf": settings, **{f"/loader/entries/{name}.conf": entry() for name in names}}))
    assert (found.loader, found.source) == ("systemd-boot", "/efi/loader/loader.conf")
    assert found.default.id == chosen
    assert bool(found.warnings) == ("@" in settings)


def test_entries_with_several_lines(with_esp):
    text = "# comment\n\ntitle\tA  b\nlinux   /v\ninitrd /ucode.img\ninitrd /i.img\noptions root=x\noptions  quiet\nunknown\n"
    found = boot_entries(with_esp({"/loader/entries/a.conf": text})).default
    assert (found.title, found.initrds, found.options) == ("A  b", ("/efi/ucode.img", "/efi/i.img"), "root=x quiet")


def test_unified_kernel_images(with_esp):
    files = {
        "/EFI/Linux/a-1.efi": uki("6.1"),
        "/EFI/Linux/a-2+3.efi": uki("6.2", initrd=b"second"),
        "/EFI/Linux/other.efi": pe((".text", b"x")),
        "/EFI/systemd": None,
    }
    tree = with_esp(files)
    found = boot_entries(tree)
    assert (found.loader, [one.id for one in found.entries]) == ("systemd-boot", ["a-2", "a-1"])
    assert found.default.kernel == "/efi/EFI/Linux/a-2+3.efi"
    assert (found.default.title, found.default.options, found.default.uki.version) == ("Test OS", "root=LABEL=x ro", "6.2")
    assert found.default.uki.machine == "x86_64"
    assert found.default.open_kernel(tree).read_at(0, 99) == b"kernel"
    assert [storage.read_at(0, 99) for storage in found.default.open_initrds(tree)] == [b"second"]


def test_the_unified_kernel_image_that_the_firmware_starts(with_esp):
    tree = with_esp({"/EFI/BOOT/BOOTX64.EFI": uki(), "/EFI/BOOT/other.txt": b""}, **{"/boot/grub/grub.cfg": "menuentry g {\n linux /boot/k\n}\n"})
    assert [one.loader for one in boot_configurations(tree)] == ["uki", "grub2"]
    assert boot_entries(tree).default.open_kernel(tree).size == 6
    tree = with_esp({"/EFI/BOOT/BOOTX64.EFI": uki()}, **{"/boot/grub/grub.cfg": "menuentry g {\n linux /boot/k\n}\n", "/boot/grub/i386-pc": None})
    assert [one.loader for one in boot_configurations(tree)] == ["grub2", "uki"]


def test_a_unified_kernel_image_chosen_by_grub(guest_tree):
    tree = guest_tree({"/boot/grub/grub.cfg": "menuentry u {\n chainloader /EFI/Linux/a.efi\n}\n", "/EFI/Linux/a.efi": uki()})
    found = boot_entries(tree).default
    assert (found.kernel, found.options) == ("/EFI/Linux/a.efi", "root=LABEL=x ro")


def test_profiles(with_esp):
    """The first profile is what boots."""
    image = pe((".cmdline", b"base"), (".linux", b"k"), (".profile", b"ID=main"), (".cmdline", b"first"), (".profile", b"ID=other"), (".cmdline", b"second"))
    assert read_uki(Memory(image)).cmdline == "first"


def test_a_real_unified_kernel_image(program, installed, tmp_path):
    stub = installed("/usr/lib/systemd/boot/efi/linuxx64.efi.stub")
    chance = random.Random(1)
    parts = {
        ".osrel": b'PRETTY_NAME="Marker 1"\n',
        ".cmdline": b"console=ttyS0 root=x",
        ".linux": chance.randbytes(70_001),
        ".initrd": chance.randbytes(30_003),
    }
    command = [program("objcopy")]
    for number, (name, content) in enumerate(parts.items(), 1):
        (tmp_path / name).write_bytes(content)
        command += ["--add-section", f"{name}={tmp_path / name}", "--change-section-vma", f"{name}={number * 0x1000000:#x}"]
    subprocess.run([*command, str(stub), str(tmp_path / "uki.efi")], check=True, stderr=subprocess.DEVNULL)
    storage = Memory((tmp_path / "uki.efi").read_bytes())
    found = read_uki(storage)
    assert (found.cmdline, found.release["PRETTY_NAME"], found.machine) == ("console=ttyS0 root=x", "Marker 1", "x86_64")
    for name, content in parts.items():
        section = found.sections[name]
        assert storage.read_at(section.offset, section.size) == content


def test_damaged_programs():
    """Each gives the sections or a typed error."""
    good = uki()
    chance = random.Random(3)
    refused = 0
    for _number in range(400):
        data = bytearray(good)
        for _change in range(chance.randint(1, 4)):
            data[chance.choice((chance.randrange(0x40), PE_HEADER + chance.randrange(0x110)))] = chance.randrange(256)
        storage = Memory(bytes(data[: chance.choice((len(data), chance.randrange(len(data))))]))
        try:
            read_uki(storage)
        except ImageError:
            refused += 1
    assert refused > 20
    with pytest.raises(CorruptImage, match="sections, 96 can be"):
        read_pe(Memory(good[: PE_HEADER + 6] + b"\xff\xff" + good[PE_HEADER + 8 :]))


def test_one_damaged_image_of_several(with_esp):
    found = boot_entries(with_esp({"/EFI/Linux/a.efi": uki()[:0x1200], "/EFI/Linux/b.efi": uki()}))
    assert [one.id for one in found.entries] == ["b"]
    assert "/efi/EFI/Linux/a.efi could not be read" in found.warnings[0]
