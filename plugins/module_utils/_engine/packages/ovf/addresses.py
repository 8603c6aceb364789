# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""Where a device hangs, by the Item of it: the many ways in which programs write an address.

Sources: CIM_ResourceAllocationSettingData.AddressOnParent and .Address; libvirt's domain XML, "address"; XenServer's Connection.
"""

from __future__ import annotations

import re

from .xml import Element

_ADDRESS = re.compile(r"[0-9]{1,6}", re.ASCII)
_LIBVIRT_ADDRESS = re.compile(r"\{\s*type\s*=\s*drive\s*,(.*)\}", re.DOTALL)
_LIBVIRT_PART = re.compile(r"\b(controller|bus|target|unit)\s*=\s*([0-9]{1,6})(?![0-9])", re.ASCII)
_XEN_DEVICE = re.compile(r"\bdevice=([0-9]{1,6})(?![0-9])", re.ASCII)
_MAC = re.compile(r"[0-9a-f]{12}", re.ASCII)


def drive_place(item: Element) -> tuple[int, int | None]:
    """Controller (where it is no Item of its own) and address on it.

    oVirt and PowerVC write libvirt's ``{type=drive, controller=0, bus=0, target=0, unit=1}`` into Address, of which only IDE
    uses the bus (of two units), and few use the target; XenServer writes ``device=1`` into one of several Connections.
    """
    text = item.child_text("AddressOnParent")
    if _ADDRESS.fullmatch(text):
        return 0, int(text)
    match = _LIBVIRT_ADDRESS.fullmatch(item.child_text("Address"))
    parts = {name: int(number) for name, number in _LIBVIRT_PART.findall(match[1])} if match is not None else {}
    if "unit" in parts:
        return parts.get("controller", 0), 2 * parts.get("bus", 0) + parts.get("target", 0) + parts["unit"]
    device = next(filter(None, (_XEN_DEVICE.search(child.text) for child in item.find_all("Connection"))), None)
    return 0, int(device[1]) if device else None


def mac_address(text: str) -> str | None:
    """A hardware address in the usual way of writing; None when it is none."""
    digits = text.strip().lower().replace(":", "").replace("-", "")
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2)) if _MAC.fullmatch(digits) else None


def adapter_mac(item: Element) -> str | None:
    """oVirt has an element for it; CIM says that it is an Ethernet adapter's Address."""
    return mac_address(item.child_text("MACAddress")) or mac_address(item.child_text("Address"))
