# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which firmware boots a disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.firmware import examine_firmware
from ansible_collections.vmimage.prep.plugins.module_utils._engine.guest.roots import GuestVolume
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.base import Memory
from ansible_collections.vmimage.prep.plugins.module_utils._engine.storage.zeros import ZeroStorage
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.table import Partition, PartitionTable
from ansible_collections.vmimage.prep.plugins.module_utils._engine.volumes.volumes import Volume

ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
GRUB_WORDS = b"GRUB \0Geom\0Hard Disk\0Read\0 Error\r\n\0"


def mbr(words=b"", sector=1, core=b"core", code=True):
    """A disk of four sectors with boot code of these words, whose second part is in a sector."""
    head = bytearray(512)
    if code:
        head[:3] = b"\xeb\x63\x90"
        head[0x180 - len(words) : 0x180] = words
        head[0x5C:0x64] = sector.to_bytes(8, "little")
    head[510:] = b"\x55\xaa"
    disk = bytes(head) + bytes(512 * 3)
    return Memory(disk[: sector * 512] + core + disk[sector * 512 + len(core) :])


def table(bootable=False):
    return PartitionTable("dos", 512, None, [Partition(1, 512, 512, "83", "Linux", bootable=bootable)])


@pytest.fixture
def esp(dict_filesystem):
    def esp(*paths, kind=ESP):
        files = dict_filesystem(dict.fromkeys(paths, b""), "vfat")
        return GuestVolume(Volume("vda1", ZeroStorage(512, "vda1"), Partition(1, 512, 512, kind, None)), files.signature, files, None)

    return esp


@pytest.mark.parametrize(
    ("disk", "bootable", "bios"),
    [
        (mbr(GRUB_WORDS), False, "GRUB"),
        (mbr(GRUB_WORDS, core=b""), False, None),
        (mbr(GRUB_WORDS, sector=3), False, "GRUB"),
        (mbr(b"Missing operating system.\r\n"), True, "SYSLINUX"),
        (mbr(b"Missing operating system.\r\n"), False, None),
        (mbr(b"Invalid partition table\0Error loading operating system"), True, "Windows"),
        (mbr(b"something"), False, "unknown boot code"),
        (mbr(code=False, core=b""), True, None),
        (Memory(bytes(2048)), True, None),
        (Memory(b"\x55\xaa"), True, None),
    ],
)
def test_bios(disk, bootable, bios):
    found = examine_firmware(disk, table(bootable), [])
    assert found.bios == bios
    assert found.value == ("bios" if bios else None)
    assert found.inactive == (not bootable and b"Missing" in disk.read_at(0, 512))


def test_uefi(esp):
    found = examine_firmware(mbr(code=False, core=b""), table(), [esp("/EFI/BOOT/BOOTX64.EFI", "/EFI/debian/grubx64.efi")])
    assert (found.value, found.uefi, found.uefi_architectures, found.vendor_only) == ("uefi", ["vda1:EFI/BOOT/BOOTX64.EFI"], ["x86_64"], [])


def test_both(esp):
    assert examine_firmware(mbr(GRUB_WORDS), table(), [esp("/efi/boot/bootaa64.efi")]).value == "both"


def test_only_what_entries_lead_to(esp):
    found = examine_firmware(mbr(code=False, core=b""), table(), [esp("/EFI/debian/shimx64.efi", "/EFI/BOOT/other.efi", "/EFI/empty/a.txt")])
    assert (found.value, found.vendor_only) == (None, ["debian"])


def test_a_file_system_is_no_boot_code(esp):
    volume = esp("/a")
    assert examine_firmware(mbr(b"This is not a bootable disk."), None, [volume]).bios is None


def test_grub_of_this_machine():
    """GRUB's own first sector, if its package is there."""
    image = Path("/usr/lib/grub/i386-pc/boot.img")
    if not image.is_file():
        pytest.skip("no GRUB for BIOS on this machine")
    code = image.read_bytes()
    assert examine_firmware(Memory(code[:510] + b"\x55\xaa" + b"core".ljust(1024, b"\0")), table(), []).bios == "GRUB"
