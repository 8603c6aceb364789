# Copyright (c) 2026, vmimage.prep contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This module is PRIVATE to the collection. It can have breaking changes at any time.

"""What a package's descriptor and the guest itself propose, put together.

The descriptor knows the machine that the guest ran on; the guest knows what it is. A contradiction is noted.
"""

from __future__ import annotations

import typing as t

from ..packages.ovf.guest import HIGH, LOW
from .proposals import RANK, Proposals

if t.TYPE_CHECKING:  # pragma: no cover
    from .guest_properties import GuestProposals

_OS = ("os_type", "os_distro", "os_version")


def combine(descriptor: Proposals, guest: GuestProposals) -> Proposals:
    """One set of proposals out of two.

    :param descriptor: by the virtual hardware
    :param guest: by what is installed
    """
    result = Proposals()
    result.found = {**guest.found, **descriptor.found}
    result.min_ram = descriptor.min_ram
    result.notes = [*descriptor.notes, *guest.notes]
    _os(result, descriptor, guest)
    _architecture(result, descriptor, guest)
    _firmware(result, descriptor, guest)
    _disk(result, descriptor, guest)
    _card(result, descriptor, guest)
    result.replace_ide()
    result.replace_scsi("virtio" if guest.finds_disk("virtio", None) and not guest.finds_disk("sata", None) else "sata")
    return result


def _os(result: Proposals, descriptor: Proposals, guest: Proposals) -> None:
    """What is installed wins over what the descriptor says is, unless it is only a guess."""
    ours, theirs = (next((found[name] for name in reversed(_OS) if name in found), None) for found in (guest.found, descriptor.found))
    if ours is None or (theirs is not None and RANK[ours["confidence"]] < RANK[HIGH] and RANK[ours["confidence"]] < RANK[theirs["confidence"] or LOW]):
        winner, other = descriptor, guest
    else:
        winner, other = guest, descriptor
    for name in _OS:
        result.found.pop(name, None)
        if name in winner.found:
            result.found[name] = winner.found[name]
    for name in ("os_type", "os_distro"):
        if None not in (winner.value(name), other.value(name)) and winner.value(name) != other.value(name):
            _note(result, "os_differs", name, descriptor, guest, winner)
            return


def _architecture(result: Proposals, descriptor: Proposals, guest: Proposals) -> None:
    name = "architecture"
    if name not in guest.found:
        return
    result.found[name] = guest.found[name]
    if descriptor.value(name) not in (None, guest.value(name)):
        _note(result, "architecture_differs", name, descriptor, guest, guest)
        _take(result, guest, "hw_machine_type")


def _firmware(result: Proposals, descriptor: Proposals, guest: Proposals) -> None:
    """The descriptor's, with the machine type that goes with it: a disk can have more than one loader, or one that is not used."""
    name = "hw_firmware_type"
    if descriptor.value(name) is None:
        return
    if guest.value(name) not in (None, descriptor.value(name)):
        _note(result, "firmware_differs", name, descriptor, guest, descriptor)
        if guest.value("hw_machine_type") == "q35":
            _take(result, descriptor, "hw_machine_type")


def _disk(result: Proposals, descriptor: Proposals, guest: GuestProposals) -> None:
    """The descriptor's bus, unless the guest has no driver for it; its model goes with it."""
    bus, model = descriptor.value("hw_disk_bus"), descriptor.value("hw_scsi_model")
    if bus is None:
        return
    possible = guest.finds_disk("virtio", None)
    found = guest.finds_disk(bus, model)
    winner: Proposals = descriptor
    if found is False and (possible or "hw_disk_bus" in guest.found):
        winner = guest
        text = f"the guest has no driver for its disk on {model or bus}, as the descriptor has it: that is left out"
        result.note("no_disk_driver", text)
    elif possible and bus != "virtio":
        result.note("virtio_disk", f"the guest has drivers for disks on virtio, which is faster than {model or bus}: set hw_disk_bus=virtio to use it")
    _take(result, winner, "hw_disk_bus")
    _take(result, winner, "hw_scsi_model")


def _card(result: Proposals, descriptor: Proposals, guest: GuestProposals) -> None:
    model = descriptor.value("hw_vif_model")
    if model is None:
        return
    possible = guest.has_card("virtio")
    if guest.has_card(model) is False and (possible or "hw_vif_model" in guest.found):
        result.note("no_card_driver", f"the guest has no driver for the network card {model}, as the descriptor has it: that is left out")
        _take(result, guest, "hw_vif_model")
    elif possible and model != "virtio":
        result.note("virtio_card", f"the guest has a driver for network cards on virtio, which is faster than {model}: set hw_vif_model=virtio to use it")


def _take(result: Proposals, winner: Proposals, name: str) -> None:
    """Have a property as one of the two has it, or not at all."""
    result.found.pop(name, None)
    if name in winner.found:
        result.found[name] = winner.found[name]


def _note(result: Proposals, code: str, name: str, descriptor: Proposals, guest: Proposals, winner: Proposals) -> None:
    said, found = descriptor.found[name], guest.found[name]
    taken = "the guest" if winner is guest else "the descriptor"
    text = f"{name} is {said['value']} by the descriptor ({said['source']}), and {found['value']} by the guest ({found['source']}); {taken} is believed"
    result.note(code, text)
