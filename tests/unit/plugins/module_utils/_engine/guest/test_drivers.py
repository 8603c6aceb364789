# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which drivers a kernel has for its disk: those for virtio, and when there are none, those for other buses."""

from __future__ import annotations

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.drivers import find_drivers
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.files import Files
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory

VERSION = "6.1.0"
VIRTIO = ["virtio_blk", "virtio_pci", "virtio_scsi"]


def ramdisk(modules):
    """A cpio archive (newc) of empty files in this order."""
    data = b""
    for name in [*(f"lib/modules/{VERSION}/{module}.ko" for module in modules), "TRAILER!!!"]:
        fields = [0, 0o100644, 0, 0, 1, 0, 0, 0, 0, 0, 0, len(name) + 1, 0]
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        data += head + bytes(-len(head) % 4)
    return Memory(data, "/boot/initrd.img")


@pytest.fixture
def found(guest_tree):
    """found(installed, brought) gives where the drivers are, by module."""

    def found(installed, brought, builtin=()):
        folder = f"/lib/modules/{VERSION}"
        lists = {name: "".join(f"kernel/{module}.ko:\n" for module in modules) for name, modules in (("dep", installed), ("builtin", builtin))}
        files = Files(guest_tree({f"{folder}/modules.dep": lists["dep"], f"{folder}/modules.builtin": lists["builtin"].replace(":", "")}))
        return find_drivers(files, VERSION, [("/boot/initrd.img", ramdisk(brought))]).status

    return found


def test_with_virtio_nobody_looks_for_more(found):
    status = found([*VIRTIO, "ahci", "mptspi"], [*VIRTIO, "ahci"])
    assert [status[module] for module in (*VIRTIO, "ahci", "mptspi", "vmw_pvscsi")] == [*["initramfs"] * 3, "modules", "modules", "missing"]


@pytest.mark.parametrize("brought", [["ahci", "vmw_pvscsi"], ["vmw_pvscsi", "usbhid", "ahci"]])
@pytest.mark.parametrize(
    "installed", [["ahci", "vmw_pvscsi", "mptspi"], [*VIRTIO, "ahci", "vmw_pvscsi", "mptspi"], ["virtio_blk", "ahci", "vmw_pvscsi", "mptspi"]]
)
def test_without_it_the_drivers_for_other_buses_are_found(found, installed, brought):
    status = found(installed, brought)
    assert [status[module] for module in ("ahci", "vmw_pvscsi", "mptspi", "mptsas")] == ["initramfs", "initramfs", "modules", "missing"]
    assert {status[module] for module in VIRTIO} <= {"modules", "missing"}


def test_what_is_built_in_need_not_be_brought(found):
    status = found(["ahci"], [], [*VIRTIO, "e1000"])
    assert [status[module] for module in (*VIRTIO, "e1000", "ahci")] == [*["builtin"] * 4, "modules"]
