# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configurations as GRUB's own scripts write them, with the environment block of grub-editenv."""

from __future__ import annotations

import functools
import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.boot.boot import boot_entries

ROOT = "11111111-2222-3333-4444-000000000001"
BOOT = "11111111-2222-3333-4444-000000000002"
KERNELS = ("6.1.0-9-amd64", "6.1.0-10-amd64", "5.10.0-30-amd64")
GRUB_D = Path("/etc/grub.d")
OPTIONS = f"root=UUID={ROOT} ro console=tty0 console=ttyS0,115200n8 quiet"
PROBE = """#!/bin/sh
for word; do
    case $word in --target=*) target=${word#*=} ;; -t | --device) ;; *) target=${target:-$word} ;; esac
done
case $target in
    fs_uuid) echo %(uuid)s ;;
    fs) echo ext2 ;;
    partmap) echo gpt ;;
    compatibility_hint) echo hd0,gpt2 ;;
    hints_string) echo --hint-bios=hd0,gpt2 --hint-efi=hd0,gpt2 ;;
esac
"""


@pytest.fixture(scope="module")
def mkconfig(program, tmp_path_factory):
    """mkconfig(separate_boot, GRUB_…="…") gives grub.cfg of a Debian with three kernels."""
    program("grub-mkconfig")
    tmp_path = tmp_path_factory.mktemp("mkconfig")
    boot = tmp_path / "boot"
    boot.mkdir()
    for kernel in KERNELS:
        (boot / f"vmlinuz-{kernel}").touch()
        (boot / f"initrd.img-{kernel}").touch()

    @functools.cache
    def mkconfig(separate_boot, **settings):
        probe, relative = tmp_path / "probe", tmp_path / "mkrelpath"
        probe.write_text(PROBE % {"uuid": BOOT if separate_boot else ROOT})
        relative.write_text(f'#!/bin/sh\necho "${{1#{tmp_path}{"/boot" if separate_boot else ""}}}"\n')
        probe.chmod(0o755)
        relative.chmod(0o755)
        environment = {
            **os.environ,
            "pkgdatadir": "/usr/share/grub",
            "grub_probe": str(probe),
            "grub_mkrelpath": str(relative),
            "GRUB_DEVICE": "/dev/disk/by-id/root",
            "GRUB_DEVICE_UUID": ROOT,
            "GRUB_DEVICE_BOOT": "/dev/disk/by-id/boot",
            "GRUB_DEVICE_BOOT_UUID": BOOT if separate_boot else ROOT,
            "GRUB_FS": "ext2",
            "GRUB_DISTRIBUTOR": "Debian",
            "GRUB_TIMEOUT": "5",
            "GRUB_CMDLINE_LINUX": "console=tty0 console=ttyS0,115200n8",
            "GRUB_CMDLINE_LINUX_DEFAULT": "quiet",
            **settings,
        }
        written = ""
        for name in ("00_header", "10_linux"):
            script = tmp_path / name
            # The scripts look for kernels in the folders of the running system.
            script.write_text((GRUB_D / name).read_text().replace("/boot/", f"{boot}/").replace(" /vmlinu", " /nowhere"))
            # A UUID is only written for a device that is there.
            script.write_text(script.read_text().replace('test -e "/dev/disk/by-uuid/', 'test -n "/dev/disk/by-uuid/'))
            done = subprocess.run(["sh", str(script)], env=environment, check=True, capture_output=True, text=True)
            written += done.stdout
        (tmp_path / "grub.cfg").write_text(written)
        subprocess.run([program("grub-script-check"), str(tmp_path / "grub.cfg")], check=True)
        return written

    return mkconfig


@pytest.fixture
def grubenv(program, tmp_path):
    """grubenv("name=value", …) gives an environment block."""

    def grubenv(*settings):
        path = tmp_path / "grubenv"
        subprocess.run([program("grub-editenv"), str(path), "create"], check=True)
        subprocess.run([program("grub-editenv"), str(path), "set", *settings], check=True)
        return path.read_bytes()

    return grubenv


@pytest.fixture
def debian(guest_tree, dict_filesystem):
    """debian(configuration, separate_boot, environment block) gives the Tree."""

    def debian(configuration, separate_boot, block=b""):
        files = {f"/{kind}-{kernel}": b"" for kernel in KERNELS for kind in ("vmlinuz", "initrd.img")}
        files.update({"/grub/grub.cfg": configuration, "/grub/grubenv": block, "/grub/i386-pc": None})
        if separate_boot:
            return guest_tree({}, uuid=ROOT, mounts={"/boot": dict_filesystem(files, uuid=BOOT)})
        return guest_tree({f"/boot{path}": content for path, content in files.items()}, uuid=ROOT)

    return debian


@pytest.mark.parametrize("separate_boot", [False, True])
def test_what_boots_by_default(mkconfig, debian, separate_boot):
    configuration = mkconfig(separate_boot, GRUB_DEFAULT="0")
    found = boot_entries(debian(configuration, separate_boot))
    assert (found.loader, found.source, found.warnings) == ("grub2", "/boot/grub/grub.cfg", [])
    assert found.default.kernel == "/boot/vmlinuz-6.1.0-10-amd64"
    assert found.default.initrds == ("/boot/initrd.img-6.1.0-10-amd64",)
    assert found.default.options == OPTIONS
    assert found.default.title == "Debian GNU/Linux"
    assert configuration.splitlines()[found.default.line - 1].split()[:1] == ["linux"]
    assert [entry.number for entry in found.entries] == ["0", "1>0", "1>1", "1>2", "1>3", "1>4", "1>5"]
    assert [entry.kernel[len("/boot/vmlinuz-") :] for entry in found.entries[1::2]] == ["6.1.0-10-amd64", "6.1.0-9-amd64", "5.10.0-30-amd64"]
    assert all(" single " in f"{entry.options} " for entry in found.entries[2::2])


@pytest.mark.parametrize(
    ("saved", "kernel", "reason"),
    [
        (f"saved_entry=gnulinux-advanced-{BOOT}>gnulinux-6.1.0-9-amd64-advanced-{BOOT}", "6.1.0-9-amd64", "saved_entry in /boot/grub/grubenv"),
        ("saved_entry=1>4", "5.10.0-30-amd64", "saved_entry in /boot/grub/grubenv"),
        ("saved_entry=Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux 5.10.0-30-amd64", "5.10.0-30-amd64", "saved_entry"),
        ("next_entry=1>2", "6.1.0-9-amd64", "next_entry in /boot/grub/grubenv"),
        ("saved_entry=gone", "6.1.0-10-amd64", "is 'gone', which is not in the menu"),
        ("other=1", "6.1.0-10-amd64", "the first entry, as no default is set"),
    ],
)
def test_the_saved_entry(mkconfig, grubenv, debian, saved, kernel, reason):
    configuration = mkconfig(True, GRUB_DEFAULT="saved", GRUB_SAVEDEFAULT="true")
    found = boot_entries(debian(configuration, True, grubenv(saved)))
    assert found.default.kernel == f"/boot/vmlinuz-{kernel}"
    assert reason in found.reason


def test_a_menu_without_submenu(mkconfig, debian):
    found = boot_entries(debian(mkconfig(False, GRUB_DEFAULT="2", GRUB_DISABLE_SUBMENU="y", GRUB_DISABLE_RECOVERY="true"), False))
    assert [entry.number for entry in found.entries] == ["0", "1", "2"]
    assert found.default.kernel == "/boot/vmlinuz-5.10.0-30-amd64"


def test_values_with_backslashes(grubenv, guest_tree):
    block = grubenv("saved_entry=a\\b", "other=x=y", "saved_entry=with \\ in it")
    found = boot_entries(guest_tree({"/boot/grub/grubenv": block, "/boot/grub/grub.cfg": 'load_env\nmenuentry "<$saved_entry|$other>" {\n linux /k\n}\n'}))
    assert found.default.title == "<with \\ in it|x=y>"
