# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Image properties that are proposed: each with the value, what it is known from, and how sure it is."""

from __future__ import annotations

import typing as t

from ..packages.ovf.guest import HIGH, LOW, MEDIUM
from .vocabulary import require_known

RANK = {LOW: 0, MEDIUM: 1, HIGH: 2}
_BUSES = ("hw_disk_bus", "hw_cdrom_bus")


class Proposals:
    """Properties, and notes on what no property says."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, t.Any]] = {}
        """property → ``value``, a text as Glance has them, ``source``, and ``confidence``: ``high`` where the source says just this, ``medium``
        or ``low`` where it is concluded"""
        self.notes: list[dict[str, str]] = []
        """``code``, for programs, and ``message`` of each"""
        self.min_ram: int | None = None
        """MiB of memory that the machine had"""

    def value(self, name: str) -> str | None:
        """The value that is proposed for a property."""
        entry = self.found.get(name)
        return None if entry is None else entry["value"]

    def propose(self, name: str, value: str | None, source: str, confidence: str | None) -> None:
        """Note a value, if there is one.

        :raises InvalidImage: Nova does not take it
        """
        if value is not None:
            require_known(name, value)
            self.found[name] = {"value": value, "source": source, "confidence": confidence}

    def note(self, code: str, message: str) -> None:
        """Note what no property says."""
        self.notes.append({"code": code, "message": message})

    def replace_ide(self) -> None:
        """Propose SATA instead of IDE where the proposed machine type has none."""
        machine = self.value("hw_machine_type")
        for name in _BUSES:
            if self.value(name) == "ide" and machine in ("q35", "virt"):
                self.note("no_ide", f"the machine type {machine} has no IDE; {name} is sata instead, which most guests with AHCI drivers take")
                self.propose(name, "sata", f"{self.found[name]['source']}; the machine type {machine} has no IDE", MEDIUM)

    def replace_scsi(self, bus: str = "sata") -> None:
        """Propose another bus instead of a SCSI controller that UEFI does not start from.

        OVMF, QEMU's firmware, has drivers for others than virtio-scsi when it is built with them (OvmfPkg, LSI_SCSI_ENABLE, MPT_SCSI_ENABLE,
        PVSCSI_ENABLE); Debian's is not.

        :param bus: ``sata``, which most guests have drivers for, or ``virtio``
        """
        model = self.value("hw_scsi_model")
        if self.value("hw_firmware_type") == "uefi" and self.value("hw_disk_bus") == "scsi" and model != "virtio-scsi":
            source = self.found["hw_disk_bus"]["source"]
            controller = f"the SCSI controller {model}" if model else "Nova's default SCSI controller"
            self.note("no_uefi_driver", f"UEFI may have no driver for {controller}, and then does not start from the disk; hw_disk_bus is {bus} instead")
            self.propose("hw_disk_bus", bus, f"{source}; UEFI may have no driver for {controller}", MEDIUM)
            self.found.pop("hw_scsi_model", None)


def applied(proposals: t.Mapping[str, t.Mapping[str, t.Any]]) -> dict[str, str]:
    """The properties that an image gets: not those of low confidence."""
    return {name: entry["value"] for name, entry in sorted(proposals.items()) if entry["confidence"] != LOW}
