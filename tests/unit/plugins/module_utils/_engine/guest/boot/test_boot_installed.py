# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel of a guest without boot loader, by its name."""

from __future__ import annotations

import random

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import UnsupportedImage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.boot.boot import boot_entries
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.boot.installed import installed_kernels


@pytest.mark.parametrize(
    ("files", "kernel", "initrds"),
    [
        (["vmlinuz-6.1.0-9-amd64", "vmlinuz-6.1.0-10-amd64", "initrd.img-6.1.0-10-amd64"], "vmlinuz-6.1.0-10-amd64", ["initrd.img-6.1.0-10-amd64"]),
        (
            ["vmlinuz-5.14.0-70.el9.x86_64", "vmlinuz-0-rescue-1", "initramfs-5.14.0-70.el9.x86_64.img"],
            "vmlinuz-5.14.0-70.el9.x86_64",
            ["initramfs-5.14.0-70.el9.x86_64.img"],
        ),
        (["vmlinuz-6.4.0-default", "initrd-6.4.0-default"], "vmlinuz-6.4.0-default", ["initrd-6.4.0-default"]),
        (["vmlinuz-linux", "initramfs-linux.img", "initramfs-linux-fallback.img"], "vmlinuz-linux", ["initramfs-linux.img"]),
        (["vmlinuz-virt", "initramfs-virt"], "vmlinuz-virt", ["initramfs-virt"]),
        (["kernel-genkernel-x86_64-6.1", "initramfs-genkernel-x86_64-6.1"], "kernel-genkernel-x86_64-6.1", ["initramfs-genkernel-x86_64-6.1"]),
        (["Image-6.4.0-default", "initrd-6.4.0-default"], "Image-6.4.0-default", ["initrd-6.4.0-default"]),
        (["vmlinuz-6.1+debug", "vmlinuz-6.0"], "vmlinuz-6.0", []),
        (["vmlinuz-6.1", ".vmlinuz-6.1.hmac", "vmlinuz-6.1.hmac"], "vmlinuz-6.1", []),
        (["vmlinuz", "initrd.img"], "vmlinuz", ["initrd.img"]),
    ],
)
def test_the_newest(guest_tree, files, kernel, initrds):
    names = list(files)
    random.Random(1).shuffle(names)
    found = boot_entries(guest_tree({f"/boot/{name}": b"" for name in names}))
    assert (found.loader, found.reason) == ("none", "the newest kernel by its name")
    assert found.default.kernel == f"/boot/{kernel}"
    assert list(found.default.initrds) == [f"/boot/{name}" for name in initrds]


@pytest.mark.parametrize(
    "links", [{"/vmlinuz": "-> boot/vmlinuz-5"}, {"/boot/vmlinuz": "-> vmlinuz-5", "/boot/initrd": "-> initrd-5"}, {"/boot/vmlinuz": "-> /boot/vmlinuz-5"}]
)
def test_the_link(guest_tree, links):
    """Where a distribution keeps a link to it, the kernel is what this says."""
    tree = guest_tree({"/boot/vmlinuz-5": b"five", "/boot/vmlinuz-6": b"six", "/boot/initrd-5": b"", "/etc/kernel/cmdline": "root=x\nquiet\n", **links})
    found = boot_entries(tree)
    assert (found.default.kernel, found.default.initrds, found.default.options) == ("/boot/vmlinuz-5", ("/boot/initrd-5",), "root=x quiet")
    assert found.default.open_kernel(tree).read_at(0, 9) == b"five"
    assert [one.kernel for one in found.entries] == ["/boot/vmlinuz-5", "/boot/vmlinuz-6"]
    assert [one.path for one in installed_kernels(tree)] == ["/boot/vmlinuz-6", "/boot/vmlinuz-5"]


@pytest.mark.parametrize("link", ["-> vmlinuz", "-> boot/gone", "-> /"])
def test_links_to_nowhere(guest_tree, link):
    assert boot_entries(guest_tree({"/vmlinuz": link, "/boot/vmlinuz-5": b""})).default.kernel == "/boot/vmlinuz-5"


def test_nothing_at_all(guest_tree):
    found = boot_entries(guest_tree({"/boot": None}))
    assert (found.loader, found.default, found.entries) == ("none", None, [])


def test_a_kernel_that_is_not_there(guest_tree):
    tree = guest_tree({"/boot/grub/grub.cfg": "menuentry x {\n linux /boot/gone\n initrd /boot/gone\n}\n"})
    found = boot_entries(tree).default
    with pytest.raises(UnsupportedImage, match="the kernel /boot/gone that the boot loader names is not in the guest"):
        found.open_kernel(tree)
    with pytest.raises(UnsupportedImage, match="initramfs"):
        found.open_initrds(tree)
