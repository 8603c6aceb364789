# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Command lines of boot loaders, as a kernel without its disk has to have them."""

from __future__ import annotations

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.ami.command_line import command_line

CONSOLES = "added console=tty0 console=ttyS0, so that Nova has a log of the console"


def adapt(options, uuid="abc", subvolume=None, ramdisk=True, architecture="x86_64"):
    return command_line(options, uuid=uuid, subvolume=subvolume, ramdisk=ramdisk, architecture=architecture)


@pytest.mark.parametrize(
    ("options", "text", "changes"),
    [
        # Debian: nothing but the kernel's name, which the boot loader adds, is too much
        ("BOOT_IMAGE=/boot/vmlinuz-6.1 root=UUID=abc ro console=ttyS0", "root=UUID=abc ro console=ttyS0", []),
        # Ubuntu's cloud images, which boot without a ramdisk by the UUID of the partition
        ("root=PARTUUID=1-2 ro console=ttyS0", "root=UUID=abc ro console=ttyS0", ["root=UUID=abc instead of root=PARTUUID=1-2"]),
        # Fedora on LVM
        (
            "root=/dev/mapper/fedora-root ro resume=/dev/mapper/fedora-swap rd.lvm.lv=fedora/root rd.lvm.lv=fedora/swap rhgb console=ttyS0",
            "root=UUID=abc ro rhgb console=ttyS0",
            [
                "left out resume=/dev/mapper/fedora-swap, which is not in the image",
                "left out rd.lvm.lv=fedora/root, which is not in the image",
                "left out rd.lvm.lv=fedora/swap, which is not in the image",
                "root=UUID=abc instead of root=/dev/mapper/fedora-root",
            ],
        ),
        # the initramfs that systemd-boot's stub is told of is given apart
        (r"initrd=\a\initrd root=LABEL=x rw console=ttyS0", "root=UUID=abc rw console=ttyS0", ["root=UUID=abc instead of root=LABEL=x"]),
        # the last one counts, and all others go as well
        ("root=LABEL=a root=LABEL=b console=ttyS0", "root=UUID=abc ro console=ttyS0", ["root=UUID=abc instead of root=LABEL=b"]),
        ("", "root=UUID=abc ro console=tty0 console=ttyS0", ["added root=UUID=abc", CONSOLES]),
        ("root=UUID=abc quiet", "root=UUID=abc ro quiet console=tty0 console=ttyS0", [CONSOLES]),
        # Debian with systemd-boot
        (
            "root=UUID=abc ro console=ttyS0 systemd.machine_id=0123",
            "root=UUID=abc ro console=ttyS0",
            ["left out systemd.machine_id=0123, which would be the same for all instances"],
        ),
        # what is quoted is one word
        ('root=UUID=abc dyndbg="file a.c +p; root=x" console=ttyS0', 'root=UUID=abc ro dyndbg="file a.c +p; root=x" console=ttyS0', []),
        # what the first program gets stays last
        ("root=UUID=abc quiet -- single", "root=UUID=abc ro quiet console=tty0 console=ttyS0 -- single", [CONSOLES]),
    ],
)
def test_adapted(options, text, changes):
    found = adapt(options)
    assert (found.text, found.changes) == (text, changes)


def test_a_kernel_alone_knows_no_uuid():
    found = adapt("root=UUID=abc ro console=ttyS0", ramdisk=False)
    assert (found.text, found.changes) == ("root=/dev/vda ro console=ttyS0", ["root=/dev/vda instead of root=UUID=abc"])


def test_a_file_system_without_a_uuid():
    assert adapt("root=LABEL=x ro console=ttyS0", uuid=None).text == "root=/dev/vda ro console=ttyS0"


def test_a_subvolume_is_named():
    found = adapt("root=UUID=abc ro console=ttyS0", subvolume="@")
    assert (found.text, found.changes) == ("root=UUID=abc ro console=ttyS0 rootflags=subvol=@", ["added rootflags=subvol=@"])


@pytest.mark.parametrize(("subvolume", "flags"), [("my root", 'rootflags="subvol=my root"'), ("a\nb", r"rootflags=subvol=a\nb")])
def test_a_subvolume_stays_one_word(subvolume, flags):
    assert adapt("root=UUID=abc ro console=ttyS0", subvolume=subvolume).text == f"root=UUID=abc ro console=ttyS0 {flags}"


def test_a_subvolume_that_is_named_already():
    found = adapt("root=UUID=abc ro rootflags=noatime,subvol=root console=ttyS0", subvolume="root")
    assert (found.text, found.changes) == ("root=UUID=abc ro rootflags=noatime,subvol=root console=ttyS0", [])


@pytest.mark.parametrize(
    ("architecture", "consoles"), [("aarch64", "console=tty0 console=ttyAMA0"), ("ppc64le", "console=hvc0"), ("s390x", "console=ttysclp0")]
)
def test_consoles_of_other_architectures(architecture, consoles):
    assert adapt("root=UUID=abc ro", architecture=architecture).text == f"root=UUID=abc ro {consoles}"


@pytest.mark.parametrize("architecture", [None, "m68k"])
def test_no_console_is_guessed(architecture):
    found = adapt("root=UUID=abc ro", architecture=architecture)
    assert (found.text, found.changes) == ("root=UUID=abc ro", [])
