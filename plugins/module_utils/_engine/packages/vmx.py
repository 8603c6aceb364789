# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""VMware's own description of a machine: the .vmx file of lines ``key = "value"``, as Vagrant boxes for VMware have it.

Sources: the files that Workstation, Fusion and Packer write (keys in any case, ``|xx`` for a character by its number).
"""

from __future__ import annotations

import re

from ..errors import InvalidImage, LimitExceeded, printable
from ..limits import MAX_DESCRIPTOR, MIB
from .model import System
from .ovf.addresses import mac_address
from .ovf.guest import GuestSystem, identify
from .ovf.hardware import MAX_PROCESSORS, Adapter, Controller, Drive, Hardware, in_boot_order
from .ovf.units import integer

_LINE = re.compile(r'\s*([A-Za-z0-9_.:]+)\s*=\s*"([^"]*)"\s*')
_CHARACTER = re.compile(r"\|([0-9A-Fa-f]{2})")
_DEVICE = re.compile(r"((ide|sata|scsi|nvme)([0-9]{1,2})):([0-9]{1,3})", re.ASCII)
_ADAPTER = re.compile(r"ethernet([0-9]{1,2})\.present", re.ASCII)
_SCSI_MODELS = {"lsilogic": "lsilogic", "lsisas1068": "lsilogicsas", "buslogic": "buslogic", "pvscsi": "pvscsi"}
_MODELS = {"sata": "ahci", "nvme": "nvme"}
_FIRMWARE = {"efi": "uefi", "bios": "bios"}


class Settings:
    """The lines of a .vmx file.

    :raises InvalidImage: not such a file; two lines have the same key, which VMware refuses, too
    :raises LimitExceeded: too large
    """

    def __init__(self, data: bytes, name: str) -> None:
        if len(data) > MAX_DESCRIPTOR:
            raise LimitExceeded(f"the file has {len(data)} bytes; {MAX_DESCRIPTOR} is the most that is read", path=name)
        self._values: dict[str, str] = {}
        for line in data.decode("utf-8-sig", "replace").split("\n"):
            match = _LINE.fullmatch(line)
            if match is not None:
                key = match[1].lower()
                if key in self._values:
                    raise InvalidImage(f"there are two values of {printable(key)!r}", path=name)
                self._values[key] = _CHARACTER.sub(lambda found: chr(int(found[1], 16)), match[2])
        if not self._values:
            raise InvalidImage("no line is a setting of a virtual machine", path=name)

    def keys(self) -> list[str]:
        """All keys, in lower case and their order."""
        return list(self._values)

    def text(self, key: str) -> str:
        """A value; empty when there is none."""
        return self._values.get(key, "")

    def is_true(self, key: str) -> bool:
        return self.text(key).strip().lower() == "true"

    def number(self, key: str) -> int | None:
        return integer(self.text(key)) or None


def read_system(data: bytes, name: str) -> System:
    """The machine. Its drives refer to disks by the names of their files, relative to the .vmx file.

    :param data: the .vmx file
    :param name: of that file, for messages
    :raises ImageError: as :class:`Settings`
    """
    settings = Settings(data, name)
    version = settings.number("virtualhw.version")
    return System(
        id="",
        name=settings.text("displayname"),
        collection=[],
        hardware_version=f"vmx-{version:02d}" if version else None,
        firmware=_FIRMWARE.get(settings.text("firmware").lower()),
        secure_boot=settings.is_true("uefi.secureboot.enabled") if settings.text("uefi.secureboot.enabled") else None,
        os=_guest(settings.text("guestos")),
        hardware=_hardware(settings),
    )


def _guest(name: str) -> GuestSystem:
    """``ubuntu-64`` is what descriptors call ``ubuntu64Guest`` or ``ubuntu_64Guest``."""
    found = identify("", re.sub("-64$", "_64Guest", name), "", "", ovirt=False)
    return found._replace(vmware=name or None, source="guestOS" if found.source else None)


def _hardware(settings: Settings) -> Hardware:
    memory = settings.number("memsize")
    found = Hardware(cpus=settings.number("numvcpus") or 1, memory=memory * MIB if memory else None, adapters=_adapters(settings))
    cores = settings.number("cpuid.corespersocket")
    if cores and found.cpus and found.cpus % cores == 0 and found.cpus <= MAX_PROCESSORS:
        found.cpu_sockets, found.cpu_cores = found.cpus // cores, cores
    if settings.is_true("vtpm.present"):
        found.tpm, found.tpm_version = True, "2.0"
    drives = _drives(settings)
    found.drives = in_boot_order([drive for drive in drives if drive.device == "disk"])
    found.removable = [drive for drive in drives if drive.device != "disk"]
    return found


def _drives(settings: Settings) -> list[Drive]:
    """The drives that are there; those for CDs refer to files of VMware's host, which are no part of the machine."""
    controllers: dict[str, Controller] = {}
    order = [place.strip().lower() for place in settings.text("bios.hddorder").split(",")]
    drives: list[Drive] = []
    for key in settings.keys():
        place, dot, setting = key.rpartition(".")
        match = _DEVICE.fullmatch(place)
        if match is None or not dot or setting != "filename" or not settings.is_true(f"{place}.present"):
            continue
        bus, number = match[2], int(match[3])
        model = _SCSI_MODELS.get(settings.text(f"{match[1]}.virtualdev").lower()) if bus == "scsi" else _MODELS.get(bus)
        controller = controllers.setdefault(match[1], Controller(bus, model, number, len(controllers)))
        device = "cdrom" if "cdrom" in settings.text(f"{place}.devicetype").lower() else "disk"
        boot_index = order.index(place) if place in order else None
        reference = settings.text(key) if device == "disk" else ""
        drives.append(Drive(place, "disk", reference, controller, int(match[4]), boot_index, len(drives), device))
    return drives


def _adapters(settings: Settings) -> list[Adapter]:
    found = []
    for key in settings.keys():
        match = _ADAPTER.fullmatch(key)
        if match is not None and settings.is_true(key):
            card = f"ethernet{match[1]}"
            model = settings.text(f"{card}.virtualdev").lower()
            network = settings.text(f"{card}.networkname") or settings.text(f"{card}.connectiontype")
            mac = mac_address(settings.text(f"{card}.address") or settings.text(f"{card}.generatedaddress"))
            found.append(Adapter([model] if model else [], network or None, mac))
    return found
