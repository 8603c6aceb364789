# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What a system starts with: its firmware and chipset, which OVF has no words for and every program its own."""

from __future__ import annotations

import typing as t

from .units import integer
from .xml import Element

I440FX = "i440fx"
Q35 = "q35"

# VirtualBox's ICH9 is modelled on the chipset that QEMU's q35 is named after, its PIIX3 on the one of QEMU's pc.
_VIRTUALBOX_CHIPSETS = {"piix3": I440FX, "ich9": Q35}


class Platform(t.NamedTuple):
    """Firmware and chipset."""

    firmware: str | None = None
    """``bios`` or ``uefi``; None when the descriptor does not say"""
    secure_boot: bool | None = None
    chipset: str | None = None
    """``i440fx`` or ``q35``, or what comes next to it"""


# oVirt's BiosType (ovirt-engine, BiosType.java); 0 is the cluster's default.
_OVIRT = {
    1: Platform("bios", None, I440FX),
    2: Platform("bios", None, Q35),
    3: Platform("uefi", None, Q35),
    4: Platform("uefi", True, Q35),
}


def read_platform(system: Element, hardware: Element) -> Platform:
    """What VMware (Config, ExtraConfig), VirtualBox (Machine/Hardware) and oVirt (BiosType) say.

    :param system: VirtualSystem
    :param hardware: its VirtualHardwareSection
    """
    config = {child.get("key").lower(): child.get("value").lower() for child in hardware.find_all("Config", "ExtraConfig")}
    secure = config.get("bootoptions.efisecurebootenabled", config.get("uefi.secureboot.enabled"))
    secure_boot = None if secure is None else secure.strip() in ("true", "1")
    firmware = {"efi": "uefi", "bios": "bios"}.get(config.get("firmware", ""))
    if firmware is not None:
        return Platform(firmware, secure_boot)
    machine = system.find("Machine")
    if machine is not None:
        return _virtualbox(machine)._replace(secure_boot=secure_boot)
    ovirt = _OVIRT.get(integer(system.child_text("BiosType")) or 0, Platform())
    return ovirt if ovirt.secure_boot is not None else ovirt._replace(secure_boot=secure_boot)


def _virtualbox(machine: Element) -> Platform:
    """Firmware and Chipset stand in Hardware; since VirtualBox 7.1 the chipset stands in Platform."""
    found = {child.tag: child.get("type").lower() for part in machine.find_all("Hardware", "Platform") for child in part.walk()}
    kind = found.get("Firmware", "")
    firmware = "uefi" if kind.startswith("efi") else "bios" if kind == "bios" else None
    return Platform(firmware, None, _VIRTUALBOX_CHIPSETS.get(found.get("Chipset", "")))
