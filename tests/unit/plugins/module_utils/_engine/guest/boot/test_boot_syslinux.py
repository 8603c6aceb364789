# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SYSLINUX, EXTLINUX, ISOLINUX, and GRUB Legacy."""

from __future__ import annotations

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.boot.boot import boot_entries

EXTLINUX = """
SERIAL 0 115200
DEFAULT menu.c32
PROMPT 0
MENU TITLE Alpine/Linux Boot Menu
TIMEOUT 10
# comment
LABEL virt
  MENU LABEL Linux ^virt
  LINUX vmlinuz-virt
  INITRD intel-ucode.img,initramfs-virt
  FDTDIR dtbs-virt
  APPEND root=UUID=1 modules=ext4 quiet
TEXT HELP
 label of no meaning
 LABEL neither
ENDTEXT
label lts
  menu label Linux lts
  menu default
  kernel /boot/vmlinuz-lts
  append initrd=/boot/initramfs-lts root=UUID=2 INITRD=/boot/second
LABEL old
  KERNEL vmlinuz-old single
LABEL hdt
  KERNEL hdt.c32
"""


@pytest.fixture
def entries(guest_tree):
    """entries(text, path, **more files) gives the BootConfiguration."""

    def entries(text, path="/boot/extlinux.conf", more=None):
        return boot_entries(guest_tree({path: text, **(more or {})}))

    return entries


def test_extlinux(entries):
    found = entries(EXTLINUX)
    assert (found.loader, found.source) == ("extlinux", "/boot/extlinux.conf")
    assert [one.id for one in found.entries] == ["virt", "lts", "old", "hdt"]
    assert found.default == found.entries[1]
    virt, lts, old, other = found.entries
    assert (virt.title, virt.kernel, virt.initrds) == ("Linux virt", "/boot/vmlinuz-virt", ("/boot/intel-ucode.img", "/boot/initramfs-virt"))
    assert virt.options == "root=UUID=1 modules=ext4 quiet"
    assert (lts.kernel, lts.initrds, lts.options) == ("/boot/vmlinuz-lts", ("/boot/initramfs-lts", "/boot/second"), "root=UUID=2")
    assert (old.kernel, old.options) == ("/boot/vmlinuz-old", "single")
    assert other.kernel is None
    assert EXTLINUX.splitlines()[virt.line - 1] == "LABEL virt"


@pytest.mark.parametrize(
    ("head", "chosen"),
    [
        ("DEFAULT b", "b"),
        ("default B x=y", "b"),
        ("DEFAULT a\nONTIMEOUT b", "b"),
        ("DEFAULT menu.c32", "a"),
        ("", "a"),
        ("DEFAULT c\nUI menu.c32", "a"),
    ],
)
def test_the_default(entries, head, chosen):
    found = entries(f"{head}\nLABEL a\n KERNEL a\nLABEL b\n KERNEL b\n", "/isolinux/isolinux.cfg")
    assert (found.loader, found.default.id) == ("isolinux", chosen)


def test_the_first_label_of_a_name_counts(entries):
    assert entries("DEFAULT a\nLABEL a\n KERNEL 1\nLABEL a\n KERNEL 2\n").default.kernel == "/boot/1"


def test_options_for_all(entries):
    found = entries("APPEND console=ttyS0\nDEFAULT a\nLABEL a\n KERNEL a\nLABEL b\n KERNEL b\n APPEND quiet\nLABEL c\n KERNEL c\n APPEND -\n")
    assert [one.options for one in found.entries] == ["console=ttyS0", "quiet", ""]


def test_a_kernel_instead_of_a_label(entries):
    found = entries("DEFAULT vmlinuz initrd=initrd.img root=/dev/vda1\n", "/syslinux.cfg").default
    assert (found.kernel, found.initrds, found.options) == ("/vmlinuz", ("/initrd.img",), "root=/dev/vda1")


def test_included_files(entries):
    more = {"/isolinux/menu.cfg": "INCLUDE txt.cfg\nMENU INCLUDE /isolinux/loop.cfg\n", "/isolinux/txt.cfg": "LABEL install\n KERNEL /install/vmlinuz\n"}
    more["/isolinux/loop.cfg"] = "INCLUDE loop.cfg\nINCLUDE missing.cfg\n"
    found = entries("DEFAULT install\nINCLUDE menu.cfg\n", "/isolinux/isolinux.cfg", more)
    assert (found.default.kernel, found.default.source) == ("/install/vmlinuz", "/isolinux/txt.cfg")
    assert any("more than 50 files" in text for text in found.warnings)


def test_on_a_partition_of_its_own(guest_tree, dict_filesystem):
    boot = dict_filesystem(
        {"/extlinux/extlinux.conf": "DEFAULT l\nLABEL l\n LINUX ../vmlinuz\n INITRD /initrd.img\n APPEND root=x\n", "/vmlinuz": b"", "/initrd.img": b""}
    )
    found = boot_entries(guest_tree({}, mounts={"/boot": boot})).default
    assert (found.kernel, found.initrds) == ("/boot/vmlinuz", ("/boot/initrd.img",))


MENU_LST = """
# comment
default={default}
timeout 3
hiddenmenu
color cyan/blue white/blue
title  Amazon Linux (4.14)
root (hd0)
kernel /boot/vmlinuz-4.14 root=LABEL=/ console=hvc0
initrd /boot/initramfs-4.14.img
title older
  root (hd0,0)
  kernel --no-mem-option (hd0,0)/boot/vmlinuz-3.10 ro
  initrd (hd0,0)/boot/initrd-3.10
title Xen
  kernel /boot/xen.gz dom0_mem=1G
  module /boot/vmlinuz-4.14 root=x
  module /boot/initramfs-4.14.img
title windows
  rootnoverify (hd0,1)
  chainloader +1
"""


@pytest.mark.parametrize(
    ("default", "saved", "title"), [("0", "", "Amazon Linux (4.14)"), ("1", "", "older"), ("9", "", "Amazon Linux (4.14)"), ("saved", "1\n#\n", "older")]
)
def test_grub_legacy(entries, default, saved, title):
    found = entries(MENU_LST.format(default=default), "/boot/grub/menu.lst", {"/boot/grub/default": saved})
    assert (found.loader, found.default.title) == ("grub-legacy", title)
    first, second, xen, windows = found.entries
    assert (first.kernel, first.options) == ("/boot/vmlinuz-4.14", "root=LABEL=/ console=hvc0")
    assert (second.kernel, second.initrds, second.options) == ("/boot/vmlinuz-3.10", ("/boot/initrd-3.10",), "ro")
    assert (xen.kernel, xen.initrds, xen.options) == ("/boot/vmlinuz-4.14", ("/boot/initramfs-4.14.img",), "root=x")
    assert windows.kernel is None


def test_grub_legacy_with_its_own_boot(guest_tree, dict_filesystem):
    menu = "title x\nuuid aaaa-1\nkernel /vmlinuz root=x\ninitrd /initrd\n"
    boot = dict_filesystem({"/grub/grub.conf": menu, "/vmlinuz": b"", "/initrd": b""}, uuid="AAAA-1")
    found = boot_entries(guest_tree({}, mounts={"/boot": boot})).default
    assert (found.kernel, found.initrds) == ("/boot/vmlinuz", ("/boot/initrd",))
