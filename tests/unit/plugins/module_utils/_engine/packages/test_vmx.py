# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMware's .vmx files, alone and in Vagrant boxes."""

from __future__ import annotations

import pytest
from ansible_collections.vmimage.prep.plugins.module_utils._engine.errors import AmbiguousImage, InvalidImage, LimitExceeded, UnsafeReference
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.opening import open_package
from ansible_collections.vmimage.prep.plugins.module_utils._engine.packages.vmx import read_system
from build_boxes import VMX, box, box_disks
from package_parts import BUILDERS

MIB = 1 << 20


def read(*lines):
    return read_system("\n".join(lines).encode(), "a.vmx")


def disks(*lines):
    found = []
    for line in lines:
        place, name = line.split(" ")
        found += [f'{place}.fileName = "{name}"', f'{place}.present = "TRUE"']
    return found


def test_all_of_it():
    system = read_system(b"\xef\xbb\xbf" + VMX.replace("\n", "\r\n").encode(), "a.vmx")
    assert (system.name, system.hardware_version, system.firmware, system.secure_boot) == ("debian", "vmx-19", "uefi", False)
    assert system.os[:6] == ("linux", "debian", "x86_64", "11", "high", "guestOS")
    assert system.os.vmware == "debian11-64"
    hardware = system.hardware
    assert (hardware.cpus, hardware.cpu_sockets, hardware.cpu_cores, hardware.memory) == (4, 2, 2, 1024 * MIB)
    assert [(drive.reference, drive.controller.bus, drive.controller.model, drive.address) for drive in hardware.drives] == [
        ("disk-000001.vmdk", "scsi", "pvscsi", 0),
        ("data.vmdk", "sata", "ahci", 1),
    ]
    assert [(drive.device, drive.reference) for drive in hardware.removable] == [("cdrom", "")]
    assert [(card.models, card.network, card.mac) for card in hardware.adapters] == [(["vmxnet3"], "nat", "00:0c:29:01:02:03")]


def test_next_to_nothing():
    system = read('config.version = "8"')
    assert (system.name, system.hardware_version, system.firmware, system.secure_boot, system.os.source) == ("", None, None, None, None)
    assert (system.hardware.cpus, system.hardware.memory, system.hardware.drives, system.hardware.tpm) == (1, None, [], False)


ORDER = {
    "by address": (disks("scsi0:10 c", "scsi0:2 b", "scsi0:0 a"), ["a", "b", "c"]),
    "the bus that comes first": (disks("nvme0:0 a", "scsi0:0 b", "nvme0:1 c"), ["a", "c", "b"]),
    "by controller": (disks("scsi1:0 b", "scsi0:5 a"), ["a", "b"]),
    "as the BIOS is told": ([*disks("scsi0:0 b", "scsi0:1 c", "ide0:0 a"), 'bios.hddOrder = "IDE0:0, scsi0:0"'], ["a", "b", "c"]),
    "only what is there": ([*disks("scsi0:1 a"), 'scsi0:0.fileName = "b"', 'scsi0:2.fileName = "c"', 'scsi0:2.present = "FALSE"'], ["a"]),
    "no disks": ([*disks("ide1:0 a"), 'ide1:0.deviceType = "atapi-cdrom"', 'floppy0.fileName = "b"', 'serial0.fileName = "c"'], []),
    "escaped": (disks("scsi0:0 a|20|22b|22|7C"), ['a "b"|']),
}


@pytest.mark.parametrize("name", ORDER)
def test_the_order_of_the_disks(name):
    lines, expected = ORDER[name]
    assert [drive.reference for drive in read(*lines).hardware.drives] == expected


@pytest.mark.parametrize(
    ("line", "model"),
    [("lsilogic", "lsilogic"), ("LSISAS1068", "lsilogicsas"), ("buslogic", "buslogic"), ("pvscsi", "pvscsi"), ("new", None), ("", None)],
)
def test_models_of_controllers(line, model):
    (drive,) = read(*disks("scsi0:0 a"), f'scsi0.virtualDev = "{line}"').hardware.drives
    assert (drive.controller.bus, drive.controller.model) == ("scsi", model)


@pytest.mark.parametrize(
    ("guest", "known"),
    [
        ("ubuntu-64", ("linux", "ubuntu", "x86_64", None)),
        ("arm-debian12-64", ("linux", "debian", "aarch64", None)),
        ("windows9-64", ("windows", "windows", "x86_64", "10")),
        ("rhel8-64", ("linux", "rhel", "x86_64", "8")),
        ("windows2019srv-64", ("windows", "windows", "x86_64", "2019")),
        ("freebsd12", (None, "freebsd", None, "12")),
        ("other", (None, None, None, None)),
    ],
)
def test_operating_systems(guest, known):
    assert read(f'guestOS = "{guest}"').os[:4] == known


@pytest.mark.parametrize(("cpus", "cores", "sockets"), [("4", "2", 2), ("4", "3", None), ("4", "0", None), ("99999999", "1", None), ("x", "1", 1)])
def test_processors(cpus, cores, sockets):
    hardware = read(f'numvcpus = "{cpus}"', f'cpuid.coresPerSocket = "{cores}"').hardware
    assert (hardware.cpus, hardware.cpu_sockets) == (int(cpus) if cpus.isdigit() else 1, sockets)


REFUSED = {
    "nothing": (b"", InvalidImage, "no line"),
    "no settings": (b"\0" * 1000, InvalidImage, "no line"),
    "two values": (b'a.b = "1"\nA.B = "1"\n', InvalidImage, "two values of 'a.b'"),
    "large": (b"#" * (MIB + 1), LimitExceeded, "the most that is read"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    data, error, message = REFUSED[name]
    with pytest.raises(error, match=message) as caught:
        read_system(data, "a.vmx")
    assert caught.value.path == "a.vmx"


def open_box(folder, files, *, paths=("disk.vmdk",), **metadata):
    made = box(
        folder / "debian.box",
        "vmware_desktop",
        box_disks("vmdk", *paths),
        others={name: "\n".join(lines).encode() for name, lines in files.items()},
        **metadata,
    )
    return open_package(str(made.path))


def test_what_a_box_has_without_one(tmp_path):
    """Its disks by their names, in the archive's order."""
    with open_box(tmp_path, {"sub/other.vmx": disks("scsi0:0 x.vmdk")}, paths=("b.vmdk", "a.vmdk"), architecture="amd64") as package:
        assert [(disk.file, disk.bus) for disk in package.disks()] == [("b.vmdk", None), ("a.vmdk", None)]
        assert (package.systems[0].name, package.systems[0].os.source) == ("debian", "metadata.json")


def test_the_architecture_of_the_metadata(tmp_path):
    """Counts where the .vmx file tells none."""
    for guest, expected in (("other-64", ("x86_64", "guestOS")), ("freebsd12", ("aarch64", "guestOS")), ("", ("aarch64", "metadata.json"))):
        with open_box(tmp_path, {"a.vmx": [*disks("scsi0:0 disk.vmdk"), f'guestOS = "{guest}"']}, architecture="arm64") as package:
            assert (package.systems[0].os.architecture, package.systems[0].os.source) == expected
            assert package.systems[0].name == "debian"


def test_what_a_snapshot_needs_belongs_to_the_box(tmp_path):
    with open_package(str(BUILDERS["box_vmware"](tmp_path).path)) as package:
        assert package.contents() == ["metadata.json", "disk-000001.vmdk", "data.vmdk", "disk.vmdk"]


@pytest.mark.parametrize("name", ["../secret.vmdk", "/secret.vmdk"])
def test_disks_outside(tmp_path, name):
    (tmp_path / "secret.vmdk").write_bytes(b"secret")
    with open_box(tmp_path, {"a.vmx": disks(f"scsi0:0 {name}")}) as package:
        (disk,) = package.disks()
        assert disk.bus == "scsi"
        with pytest.raises(UnsafeReference):
            package.open_disk(disk)


def test_boxes_that_are_refused(tmp_path):
    for files, error, message in (
        ({"a.vmx": disks("scsi0:0 a"), "b.vmx": disks("scsi0:0 b")}, AmbiguousImage, r"2 \.vmx files"),
        ({"a.vmx": ["displayName = no quotes"]}, InvalidImage, "no line"),
        ({"a.vmx": ['displayName = "no disks"']}, InvalidImage, "no disk"),
        ({"a.vmx": ["#" * MIB, "#"]}, LimitExceeded, "the most that is read"),
        ({"a.vmx": disks(*(f"scsi{number % 100}:{number // 100} {number}" for number in range(1001)))}, LimitExceeded, "more than 1000 disks"),
    ):
        with pytest.raises(error, match=message):
            open_box(tmp_path, files)
