# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge how the engine reads a corpus of published OVF descriptors, by the notes in its MANIFEST.tsv.

For the tool `descriptors` and for the unit test of the same corpus, which import the engine in different ways, and so hand it in.
"""

from __future__ import annotations

import re
import typing
from pathlib import Path

NOTED_DISKS = re.compile(r" \| disks=\[(.*?)\] ?(?:\||$)")
DISK = re.compile(r"(.*?):(expr:[^:]*|[0-9]+|\?|-)B:(.*?):(?:https?://[^:]*|[^:/]*)")
SYSTEM = re.compile(r"cpu=(\S+) mem=(\S+)MiB os=(\S+) vst=.*?(?: fw=(\S+))? buses=\[(.*?)\] nics=\[(.*?)\]")
BUS = re.compile(r"(scsi|ide|sata|nvme|\?)(?::(.*?))?@(None|[0-9]+)(?:,|$)")
NOTED_BUSES = 4
"""the notes end after so many"""
MODELS = {
    "lsilogic": "lsilogic",
    "someother, lsilogic": "lsilogic",
    "buslogic": "buslogic",
    "buslogic,lsilogic": "buslogic",
    "buslogic, lsilogic": "buslogic",
    "buslogic lsilogic": "buslogic",
    "lsilogicsas": "lsilogicsas",
    "VirtualSCSI": "pvscsi",
    "virtio": "virtio",
    "virtio lsilogic": "virtio",
    "PIIX3": "piix3",
    "PIIX4": "piix4",
    "ICH6": "ich6",
    "AHCI": "ahci",
    "ahci": "ahci",
    "vmware.sata.ahci": "ahci",
}
"""the notes' ResourceSubType → the engine's name of the controller"""

BY_CONFIGURATION = "the Items of the default configuration, which the notes leave out, are hardware"
SECTION_IN_A_SYSTEM = "a DiskSection inside of a system is not valid and not read"
SOCKETS = "sockets times cores is the number of processors, BiosType the firmware; oVirt names files by href and systems by ovirt:id"
_TEMPLATES = "govmomi/external/OVFToolTemplates/OVF/xmltestfiles/"
DIFFERENT = {
    "cot/input.ovf": BY_CONFIGURATION,
    "cot/invalid.ovf": BY_CONFIGURATION,
    "govmomi/deployment-configs.ovf": BY_CONFIGURATION,
    f"{_TEMPLATES}DiskSection/Neg/dup_diskid.ovf": "both disks of one id are kept, and refused when used",
    f"{_TEMPLATES}DiskSection/Neg/inside_content.ovf": SECTION_IN_A_SYSTEM,
    f"{_TEMPLATES}DiskSection_1_0/Neg/inside_content.ovf": SECTION_IN_A_SYSTEM,
    f"{_TEMPLATES}DiskSection_1_0/Neg/no_diskid.ovf": "a disk without an id is kept",
    f"{_TEMPLATES}DiskSection_1_0/Pos/make_delta.ovf": BY_CONFIGURATION,
    f"{_TEMPLATES}VirtualHardware_1_0/Neg/maxwith_nonormal.ovf": "the first of two memory Items counts",
    "govmomi/external/csruthi_ovf_deploy_bug/VMware-vCenter-Server-Appliance-6.5.0.5100-3945287_OVF10.ovf": BY_CONFIGURATION,
    "govmomi/external/vcsa65.ovf": BY_CONFIGURATION,
    "govmomi/vmware/Operations-Appliance-9.1.0.0.25262067.ovf": BY_CONFIGURATION,
    "govmomi/vmware/Operations-Cloud-Proxy-9.1.0.0.25262086.ovf": BY_CONFIGURATION,
    "govmomi/vmware/VMware-vCenter-Server-Appliance-9.1.0.0.25262036_OVF10.ovf": BY_CONFIGURATION,
    "govmomi/virtualsystemcollection.ovf": "a drive of ResourceType 31, on no controller, is a drive",
    "virt-v2v/test-o-ovirt.ovf.expected": SOCKETS,
    "virt-v2v/test-o-vdsm-options.ovf.expected": SOCKETS,
}
"""Where the engine reads a descriptor in another way than the notes, on purpose."""


class Verdict(typing.NamedTuple):
    """What became of a descriptor."""

    name: str
    kind: str
    """right, different (on purpose), refused (as it should be), wrong, or crashed"""
    said: str


def rows(folder: Path) -> typing.Iterator[tuple[str, str]]:
    """Name and notes of each descriptor."""
    for line in (folder / "MANIFEST.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        name, _sum, _origin, _licence, _writer, notes = line.split("\t")
        if name.lower().endswith((".ovf", ".ovf.expected")):
            yield name, notes


def judge_all(folder: Path, parse_envelope, open_package, refusal: type[Exception]) -> list[Verdict]:
    """Read each descriptor, and the package around it, with the engine's functions."""
    return [judge(folder / name, name, notes, parse_envelope, open_package, refusal) for name, notes in rows(folder)]


def judge(path: Path, name: str, notes: str, parse_envelope, open_package, refusal: type[Exception]) -> Verdict:
    """Read one descriptor."""
    must_be_refused = "REJECT" in notes or "root is" in notes
    try:
        found = parse_envelope(path.read_bytes(), name)
        with open_package(str(path)) as package:
            package.describe()
    except refusal as error:
        return Verdict(name, "refused" if must_be_refused else "wrong", str(error))
    except Exception as error:  # a defect, which is what is looked for
        return Verdict(name, "crashed", f"{type(error).__name__}: {error}")
    if must_be_refused:
        return Verdict(name, "wrong", "accepted")
    said = "" if notes.startswith("TEMPLATE") else "; ".join(differences(found, notes))
    if not said:
        return Verdict(name, "right", "")
    return Verdict(name, "different" if name in DIFFERENT else "wrong", said)


def differences(found, notes: str) -> typing.Iterator[str]:
    """What is not as the notes have it; empty when all is."""
    version, systems = re.search(r"ovf=(\S+)", notes)[1], int(re.search(r"vs=(\d+)", notes)[1])
    if (found.version if found.version != "unknown" else "unkn") != version[: len(found.version)][:4] and found.version != version[:3]:
        yield f"version {found.version}"
    if len(found.systems) != systems:
        yield f"{len(found.systems)} systems"
    noted = NOTED_DISKS.search(notes)
    wanted = [DISK.fullmatch(entry) for entry in re.sub(r" \+\d+$", "", noted[1]).split("; ")] if noted else []
    more = re.search(r" \+(\d+)$", noted[1]) if noted else None
    if len(found.disks) != len(wanted) + (int(more[1]) if more else 0):
        yield f"{len(found.disks)} disks"
    for disk, match in zip(found.disks, wanted):
        yield from disk_differences(found, disk, match)
    for system, match in zip(found.systems, SYSTEM.finditer(notes)):
        yield from system_differences(system, *match.groups())


def disk_differences(found, disk, match: re.Match[str]) -> typing.Iterator[str]:
    """A disk's id, capacity and file."""
    if disk.id != match[1]:
        yield f"disk id {disk.id}"
    if (disk.capacity is None) if match[2].startswith("expr") else (match[2] != "?" and str(disk.capacity) != match[2]):
        yield f"capacity {disk.capacity} of {match[0]}"
    hrefs = [file.href for file in found.files if file.id == disk.file_ref] or [file.href for file in found.files if file.href == disk.file_ref]
    noted = re.sub(r"\\u([0-9a-f]{4})", lambda escape: chr(int(escape[1], 16)), match[3])
    if noted not in ([href or "-" for href in hrefs] or ["-" if disk.file_ref else "(empty)"]):
        yield f"file {hrefs} of {match[0]}"


def system_differences(system, cpus: str, memory: str, guest: str, firmware: str | None, buses: str, adapters: str) -> typing.Iterator[str]:
    """A system's processors, memory, operating system as written, firmware, controllers of disks, and network adapters."""
    hardware, told = system.hardware, system.os
    said = (str(hardware.cpus), str(system.memory_mib), {"uefi": "efi"}.get(system.firmware, system.firmware))
    if said != (cpus, memory, firmware):
        yield f"{said} instead of {(cpus, memory, firmware)}"
    names = [told.ovf_id or "", told.vmware or (f"vbox:{told.virtualbox}" if told.virtualbox else "")]
    if guest.rstrip("/") != ("/".join(filter(None, names)) or "None"):
        yield f"operating system {names} instead of {guest}"
    wanted, tokens = set(), BUS.findall(buses)
    for bus, model, address in tokens:
        known = MODELS[model] if model else None
        kind = "virtio" if known == "virtio" else None if bus == "?" else bus
        wanted.add((kind, known, address))
    there = set()
    for drive in hardware.drives:
        bus, model = (drive.controller.bus, drive.controller.model) if drive.controller else (None, None)
        there.add((bus, model, str(drive.address)))
    if there != wanted and not (len(tokens) == NOTED_BUSES and wanted < there):
        yield f"buses {sorted(map(str, there))} instead of [{buses}]"
    models = ",".join(" ".join(adapter.models) or "?" for adapter in hardware.adapters)
    if models != adapters.lower():
        yield f"adapters {models} instead of {adapters}"
